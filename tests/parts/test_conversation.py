import numpy as np

import hexarec
from hexarec.core import Dialogue, Lists, Message, Reasons, Reply, Words, run
from hexarec.lm.base import Completion
from hexarec.lm.fake import Overlap
from hexarec.methods.chatrec import PROMPTS
from hexarec.parts.conversation import Conversation
from hexarec.parts.dialoguepage import DialoguePage
from hexarec.parts.known import Known
from hexarec.parts.lastturn import Acquaintance, Listener
from hexarec.parts.promptroom import Room
from hexarec.parts.ratings import Rater, Scale
from hexarec.parts.turn_candidates import Candidates
from hexarec.parts.turnprompt import TurnPrompts

FILMS = hexarec.open_data("films")
CATALOG, USER = FILMS.catalog, FILMS.users.ids.ids[3]
PAGE = DialoguePage(PROMPTS, "film", 5, ("genres",))
PEOPLE = Acquaintance(Known(5).fit(FILMS), CATALOG.key, CATALOG.items.ids, CATALOG.titles)


class Why:
    """Gives a reason that counts the history, and remembers what it was asked with."""

    def explain(self, queries, shown, desk):
        self.history = queries.history.item.tolist()
        return [Reasons(tuple(Words(f"reason {n}") for n, _ in enumerate(shown.items)))]


class Desk:
    catalog = CATALOG


class Opens(Overlap):
    def label(self, prompts, labels):
        return np.tile(np.log(np.array([0.1, 0.1, 0.1, 0.1, 0.6], np.float32)), (len(prompts), 1))

    def answer(self, prompt, within):
        return Completion("Something for you.")


def turns(*said, before=()):
    listener = Listener(Room(Overlap()), PAGE, PEOPLE, "rules")
    return listener.hear([Dialogue((*before, Message("user", one)), {}, USER) for one in said], CATALOG)


def conversation():
    lm = Opens()
    return Conversation(TurnPrompts(Room(lm), PAGE), Rater(lm, "label", Scale(1, 5), PROMPTS), Why(), Desk())


def reply(said, before=()):
    talk = conversation()
    return talk.replies(turns(said, before=before), [])[0], talk.why


def test_replies_come_in_the_order_of_the_turns_and_their_lines_are_emitted():
    lists = [Reply(Words(f"Here:\n{n}"), (), "recommend") for n in range(2)]
    events = []
    with run(emit=events.append):
        made = conversation().replies(turns("a comedy", "why?", "a drama", "hello"), lists)
    assert [one.act for one in made] == ["recommend", "ask", "recommend", "chat"] and made[2] is lists[1]
    words = {place: [] for place in range(4)}
    for event in events:
        if event["kind"] == "words":
            words[event["dialogue"]].append((event["text"], event["listed"]))
    assert words[2] == [("Here:\n", False), ("1", True)]
    assert all("".join(text for text, _ in words[n]).split() == made[n].words.text.split() for n in range(4))


def test_a_list_has_a_reason_an_item_and_says_that_wishes_gave_way():
    found = Candidates(turns("a comedy")[0], Lists.of(CATALOG.key, [[3, 5, 8]]), relaxed=False)
    made = conversation().listed(found, 2, own_words=False)
    assert made.items == tuple(CATALOG.items.ids[[3, 5]]) and made.words.text.endswith("reason 1")
    assert conversation().listed(found, 2, own_words=True).words.text.startswith("Something for you.\n")
    gave = Candidates(found.turn, found.lists, relaxed=True)
    assert conversation().listed(gave, 2, own_words=True).words.text.startswith(PROMPTS.en["relaxed"])
    nothing = Candidates(found.turn, Lists.empty(CATALOG.key, 1), relaxed=False)
    assert conversation().listed(nothing, 2, own_words=True).words.text == PROMPTS.en["none"]


def test_reasons_are_for_what_is_named_else_for_what_was_shown_and_never_the_item_itself():
    shown = Message("assistant", "Here", tuple(CATALOG.items.ids[[4, 7]]))
    assert reply("why?", (shown,))[0].items == shown.items
    assert reply("why the second one?", (shown,))[0].items == shown.items[1:]
    own = turns("why?")[0].query.history.item.tolist()
    made, why = reply(f"why {CATALOG.titles[own[-1]]}?")
    assert made.items == (CATALOG.items.ids[own[-1]],) and why.history == own[:-1]


def test_a_rating_is_for_what_is_named_and_asked_back_for_without():
    made, _ = reply("would I like Alien?")
    assert made.act == "explain" and made.words.text == "I think you would give Alien 4.0 of 5."
    assert reply("would I like it?")[0].words.text == PROMPTS.en["which"]
