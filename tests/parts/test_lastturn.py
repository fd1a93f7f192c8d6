import numpy as np
import pytest

import hexarec
from hexarec.core import Catalog, Dialogue, Item, Message, run
from hexarec.lm.fake import Overlap
from hexarec.methods.chatrec import PROMPTS
from hexarec.parts.dialoguepage import DialoguePage
from hexarec.parts.intent import by_model
from hexarec.parts.known import Known
from hexarec.parts.lastturn import Acquaintance, Listener
from hexarec.parts.promptroom import Room
from hexarec.parts.topics import Topics

FILMS = hexarec.open_data("films")
CATALOG, USER = FILMS.catalog, FILMS.users.ids.ids[3]
PAGE = DialoguePage(PROMPTS, "film", 5, ())
PEOPLE = Acquaintance(Known(5).fit(FILMS), CATALOG.key, CATALOG.items.ids, CATALOG.titles)
BOOKS = Catalog.of([Item("b", "A book about dragons")])


class Chats(Overlap):
    """Says of every turn that it is talk, and sums up in the same words."""

    def label(self, prompts, labels):
        return np.tile(np.log(np.array([0.1, 0.1, 0.1, 0.7], np.float32)), (len(prompts), 1))


def heard(*said, gate="rules", user=None, catalog=CATALOG, state=None, topics=None):
    turns = tuple(Message("user", one) if isinstance(one, str) else one for one in said)
    listener = Listener(Room(Chats()), PAGE, PEOPLE, gate, topics or Topics())
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
        assert any(line.startswith(str(CATALOG.titles[row])) for line in turn.told.past)


class Subjects:
    """Texts about films in one direction, all others in another; "?" is nothing."""

    name = spec = "subjects"
    dim = 2

    def encode(self, texts):
        return np.array([[0, 0] if "?" in one else [1, 0] if "film" in one else [0, 1] for one in texts], np.float32)


@pytest.mark.parametrize(
    ("said", "reset"),
    [
        (["a quiet film", "a film about clocks"], ""),
        (["a quiet film", "walking boots for wet ground"], "topic"),
        (["walking boots", "a quiet film", "boots for wet ground"], ""),
        (["a quiet film", "more please"], ""),
        (["a quiet film", "no horror, no boots"], ""),
        (["a quiet film", "why?"], ""),
        (["hello", "walking boots for wet ground"], ""),
        (["walking boots for wet ground"], ""),
        (["a quiet film", "boots for wet ground?"], ""),
        (["a quiet film", "start over, boots for wet ground"], "afresh"),
    ],
)
def test_a_turn_unlike_all_that_was_asked_for_begins_a_new_topic(said, reset):
    assert heard(*said, topics=Topics(Subjects(), 0.5)).reset == reset
    assert heard(*said, topics=Topics(Subjects(), -1.0)).reset in ("", "afresh")
    assert heard(*said, topics=Topics(None, 0.5)).reset in ("", "afresh")


def test_what_was_talked_about_before_a_new_topic_is_talked_about_no_more():
    said = ["a quiet film", "boots for wet ground", "a film about clocks"]
    assert heard(*said, topics=Topics(Subjects(), 0.5)).reset == ""
    assert heard(*said, topics=Topics(Subjects(), 0.5), state={"talk": {"left": 1, "read": 2}}).reset == "topic"


def test_an_encoder_that_learns_from_the_catalog_judges_no_topics():
    class Learns(Subjects):
        def fit(self, texts):
            return self

    assert heard("a quiet film", "walking boots", topics=Topics(Learns(), 0.5)).reset == ""


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


def test_of_a_long_turn_the_model_is_told_as_much_as_there_is_room_for_and_else_the_rules_decide():
    class Dear(Chats):
        asked = []

        def count(self, texts):
            return np.array([len(text) for text in texts], np.int32)

        def label(self, prompts, labels):
            self.asked += [prompt.text for prompt in prompts]
            return super().label(prompts, labels)

    said = "a quiet film of ships " * 30
    for hard, asked in ((600, 1), (60, 0)):
        lm, told = Dear(), []
        lm.asked, room = [], Room(lm, 50, hard)
        with run(complain=told.append):
            act = by_model(room, [said], ["en"])
        assert act == (["chat"] if asked else ["recommend"]) and len(lm.asked) == asked and bool(told) == (not asked)
        assert all(room.fits([one]) and "a quiet film" in one for one in lm.asked)
