from dataclasses import replace

import numpy as np
import pytest

import hexarec
from hexarec.core import Dialogue, Message, run
from hexarec.lm.base import Completion
from hexarec.lm.fake import Overlap
from hexarec.methods.chatrec import PROMPTS
from hexarec.parts.dialoguepage import DialoguePage, Told
from hexarec.parts.known import Known
from hexarec.parts.lastturn import Acquaintance, Listener
from hexarec.parts.promptroom import KEPT, Room
from hexarec.parts.ratings import Rater, Scale
from hexarec.parts.turnprompt import TurnPrompts, rating_prompts

FILMS = hexarec.open_data("films")
CATALOG, USER = FILMS.catalog, FILMS.users.ids.ids[3]
PAGE = DialoguePage(PROMPTS, "film", 10, ("year", "genres", "director"))
PEOPLE = Acquaintance(
    Known(10, tuple(FILMS.users.attributes)).fit(FILMS), CATALOG.key, CATALOG.items.ids, CATALOG.titles
)
ROWS = list(range(20))


class Sums(Overlap):
    """Counts letters, so that bounds are easily reached, and sums up in JSON."""

    def count(self, texts):
        return np.array([-(-len(text) // 4) for text in texts], np.int32)

    def answer(self, prompt, within):
        return Completion('{"likes": ["clocks"], "must_not": ["horror"]}')


def texts(condition, lines):
    return [condition + "".join(f"\n[{n}] {line}" for n, line in enumerate(lines))]


def turn(*said, state=None):
    turns = tuple(Message("assistant" if n % 2 else "user", one) for n, one in enumerate(said))
    return Listener(Room(Sums()), PAGE, PEOPLE, "none").hear([Dialogue(turns, state or {}, USER)], CATALOG)[0]


def composed(one, rows=ROWS, *, summary=False, **bounds):
    told = []
    with run(complain=told.append):
        made = TurnPrompts(Room(Sums(), **bounds), PAGE, summary).composed(one, rows, texts)
    return made, told


LONG = ["No horror. Something with clocks, number " + str(n) + " of many words" * 6 for n in range(21)]


def test_within_the_soft_bound_all_of_it_stands():
    made, told = composed(turn("a comedy"), soft=5000, hard=5000)
    assert made.fits and len(made.lines) == 20 and all("(" in line for line in made.lines) and not told
    assert made.condition.count("\n10. ") == 1 and made.turn.talk.forgotten == ()


@pytest.mark.parametrize(
    "bounds", [{"soft": 900, "hard": 9000, "memory": 9000}, {"soft": 9000, "hard": 9000, "memory": 400}]
)
def test_beyond_the_soft_bound_or_the_memory_the_older_turns_leave_and_stay_out(bounds):
    one = turn(*LONG)
    made, told = composed(one, **bounds)
    assert made.turn.talk.left == len(LONG) - KEPT and LONG[-KEPT][:40] in made.condition and not told
    assert LONG[-KEPT - 1][:50] not in made.condition and made.turn.talk.unwanted == one.talk.unwanted != ()
    assert made.turn.talk.forgotten == ((21, "soft", "turns", len(LONG) - KEPT),)
    again, _ = composed(made.turn, **bounds)
    assert again.turn == made.turn and again.condition == made.condition, "compaction is idempotent"


@pytest.mark.parametrize("hard", [1300, 1000, 800, 600, 400, 300])
def test_no_prompt_is_beyond_the_hard_bound_and_what_is_left_out_is_told(hard):
    made, told = composed(turn(*LONG), soft=300, hard=hard)
    room = Room(Sums(), 300, hard)
    assert made.fits and room.fits(texts(made.condition, made.lines)) and "clocks, number 20" in made.condition
    lost = {what: n for _, why, what, n in made.turn.talk.forgotten if why == "hard"}
    assert len(made.lines) == 20 - lost.get("options", 0) and bool(told) == bool(set(lost) - {"turns"})
    order = ["turns", "facts", "past", "profile", "options", "slots", "letters"]
    assert list(lost) == order[: len(lost)]


def test_facts_go_before_candidates_and_the_first_candidates_keep_them_longest():
    made, _ = composed(turn("a comedy"), soft=300, hard=420)
    with_facts = ["(" in line for line in made.lines]
    assert len(made.lines) == 20 and with_facts == sorted(with_facts, reverse=True) and 0 < sum(with_facts) < 20


def test_where_not_even_the_shortest_fits_the_model_is_not_asked():
    none, told = composed(turn("a comedy"), soft=60, hard=60)
    assert not none.fits and none.lines == () and "the model was not asked" in told[-1]


def test_turns_that_leave_are_summed_up_once_and_the_summary_has_its_room():
    made, _ = composed(turn(*LONG), summary=True, soft=1300, hard=1300)
    gist = made.turn.talk.gist
    assert gist.must_not == ("horror",) and gist.likes == ("clocks",)
    assert "Said before: does not want: horror; likes: clocks" in made.condition
    assert Room(Sums(), 1300, 1300).fits(texts(made.condition, made.lines))
    plain, _ = composed(turn(*LONG), soft=1300, hard=1300)
    assert not plain.turn.talk.gist


def test_a_new_topic_leaves_the_turns_before_it_and_sums_them_up():
    said = turn(*LONG)
    began = TurnPrompts(Room(Sums()), PAGE, summary=True).begun(replace(said, reset="topic"))
    assert began.talk.left == 20 and began.talk.gist.likes == ("clocks",)
    assert began.talk.forgotten == ((21, "topic", "turns", 20),) and began.talk.unwanted == said.talk.unwanted
    assert TurnPrompts(Room(Sums()), PAGE).begun(said) is said


def test_a_rating_is_asked_for_with_as_much_of_the_history_as_there_is_room_for():
    rater = Rater(Sums(), "label", Scale(1, 5), PROMPTS)
    told = Told("age: 24", tuple(f"A film with quite a long title, number {n}: 4" for n in range(40)))
    for hard in (400, 250, 120):
        prompts = TurnPrompts(Room(Sums(), 60, hard), PAGE)
        heard = []
        with run(complain=heard.append):
            made = rating_prompts(rater, prompts, told, ["Alien", "Heat"], "en", 0)
        assert len(made) == 2 and prompts.room.fits([one.text for one in made]) and "left out: past" in heard[0]
    with run(complain=heard.append):
        assert rating_prompts(rater, TurnPrompts(Room(Sums(), 10, 10), PAGE), told, ["Alien"], "en", 0) == []
    assert "not asked" in heard[-1]
