import numpy as np
import pytest

import hexarec
from hexarec.core import Catalog, Dialogue, Item, Message
from hexarec.lm.base import Completion
from hexarec.lm.fake import Overlap
from hexarec.methods.chatrec import PROMPTS
from hexarec.parts.dialoguepage import DialoguePage
from hexarec.parts.known import Known
from hexarec.parts.lastturn import Acquaintance, Listener

FILMS = hexarec.open_data("films")
CATALOG, USER = FILMS.catalog, FILMS.users.ids.ids[3]
PAGE = DialoguePage(PROMPTS, "film", 5, ())
PEOPLE = Acquaintance(Known(5).fit(FILMS), CATALOG.key, CATALOG.items.ids, CATALOG.titles)
BOOKS = Catalog.of([Item("b", "A book about dragons")])


class Chats(Overlap):
    """Says of every turn that it is talk, and sums up in the same words."""

    def label(self, prompts, labels):
        return np.tile(np.log(np.array([0.1, 0.1, 0.1, 0.7], np.float32)), (len(prompts), 1))

    def answer(self, prompt, within):
        return Completion("Likes it long.")


def heard(*said, gate="rules", memory=600, summary=False, user=None, catalog=CATALOG, state=None):
    turns = tuple(Message("user", one) if isinstance(one, str) else one for one in said)
    listener = Listener(Chats(), PAGE, PEOPLE, gate, memory, summary)
    return listener.hear([Dialogue(turns, state or {}, user)], catalog)[0]


@pytest.mark.parametrize(("gate", "act"), [("rules", "explain"), ("none", "recommend"), ("model", "chat")])
def test_what_a_turn_wants_is_for_the_gate_to_say(gate, act):
    assert heard("why these?", gate=gate).act == act


def test_a_silent_turn_is_not_put_before_the_model():
    assert heard("why?", "  ", gate="model").act == "chat" and heard("  ", gate="model").said == "  "


def test_the_question_has_what_was_done_then_what_was_said_and_hides_both():
    turn = heard("I loved Spirited Away, but I hated Alien. A comedy", user=USER)
    names = CATALOG.titles[turn.query.history.item].tolist()
    assert len(names) == 7 and names[-2:] == ["Spirited Away", "Alien"]
    assert turn.query.history.liked.tolist()[-2:] == [True, False]
    assert turn.query.forbidden(len(CATALOG))[0][turn.query.history.item].all() and "comedy" in turn.query.text[0]


def test_a_turn_names_titles_or_points_to_what_was_shown_last():
    ids = tuple(CATALOG.items.ids[[4, 7, 9]])
    shown = Message("assistant", "Here", ids)
    assert heard(shown, "why the second one?").named == (7,) and heard(shown, "why?").last == (4, 7, 9)
    assert CATALOG.titles[list(heard(shown, "why Spirited Away?").named)].tolist() == ["Spirited Away"]
    gone = CATALOG.remove([ids[0]])
    assert heard(shown, "why?", catalog=gone).last == (7, 9)


def test_in_a_second_domain_the_person_is_told_of_and_no_event_is_asked_with():
    turn = heard("something with dragons", user=USER, catalog=BOOKS)
    assert len(turn.query.history.item) == 0
    past = [event.item for event in PEOPLE.known.events(USER, PEOPLE.ids)]
    for row in CATALOG.rows(past):
        assert str(CATALOG.titles[row]) in turn.condition


def test_what_no_longer_fits_is_counted_and_summed_up_where_that_is_asked_for():
    long = ["I want something long and slow, with many words in it"] * 4
    plain, summed = heard(*long, memory=30), heard(*long, memory=30, summary=True)
    assert plain.talk.left == summed.talk.left > 0 and plain.talk.summary == ""
    assert summed.talk.summary == "Likes it long." and "Said before: Likes it long." in summed.condition
    assert heard(*long, memory=30, state={"talk": {"left": 99}}).talk.left == 3


def test_the_language_is_that_of_the_last_thing_said():
    assert heard("a comedy", "想看喜剧").lang == "zh" and heard("想看喜剧", "a comedy").lang == CATALOG.lang


@pytest.mark.parametrize(
    ("said", "lang"),
    [
        (["a quiet one please"], "en"),
        (["想看喜剧", "a comedy"], "en"),
        (["a comedy", "想看 comedy"], "zh"),
        (["a comedy", "90?"], "en"),
        (["想看喜剧", "👍"], "zh"),
        (["?!"], "zh"),
    ],
)
def test_in_a_chinese_catalog_each_turn_is_answered_in_its_own_language(said, lang):
    assert heard(*said, catalog=Catalog.of([Item("a", "春光")], lang="zh")).lang == lang
