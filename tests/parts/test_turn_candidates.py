from dataclasses import replace

import numpy as np
import pytest

import hexarec
from hexarec.core import Dialogue, Lists, Message
from hexarec.lm.fake import Overlap
from hexarec.lm.open import open_encoder
from hexarec.methods.chatrec import PROMPTS
from hexarec.parts.ask import NEEDS, Ask, Asked
from hexarec.parts.dialoguepage import DialoguePage
from hexarec.parts.ground import ParseReport
from hexarec.parts.known import Known
from hexarec.parts.lastturn import Acquaintance, Listener
from hexarec.parts.promptroom import Room
from hexarec.parts.textspace import TextSpace
from hexarec.parts.turn_candidates import Candidates, CandidateSources, longest
from hexarec.parts.turnprompt import TurnPrompts

FILMS = hexarec.open_data("films")
CATALOG = FILMS.catalog
PAGE = DialoguePage(PROMPTS, "film", 5, ("genres",))
PEOPLE = Acquaintance(Known(5).fit(FILMS), CATALOG.key, CATALOG.items.ids, CATALOG.titles)
SPACE = TextSpace(open_encoder("tfidf"), ("title", "text")).fit(CATALOG)


class Desk:
    """A recommender that answers with the first permitted rows."""

    catalog = CATALOG

    def retrieve(self, queries, k):
        rows = np.flatnonzero(~queries.forbidden(len(self.catalog))[0])[:k]
        return Lists.of(self.catalog.key, [rows.tolist()])


def turn(said):
    listener = Listener(Room(Overlap()), PAGE, PEOPLE, "rules")
    return listener.hear([Dialogue((Message("user", said),))], CATALOG)[0]


def genres(found):
    return [set(CATALOG.attributes["genres"][row]) for row in found.lists.items.tolist()]


def test_wishes_and_refusals_hold_while_anything_is_left():
    found = CandidateSources(Desk(), None, 8, 5).candidates(turn("a comedy, no romance"))
    assert not found.relaxed and len(found.lists.items) == 8
    assert all("comedy" in own and "romance" not in own for own in genres(found))


def test_wishes_give_way_and_refusals_do_not():
    found = CandidateSources(Desk(), None, 8, 5).candidates(turn("a western made before 1900, no horror"))
    assert found.relaxed and len(found.lists.items) == 8 and not any("horror" in own for own in genres(found))


def test_where_nothing_is_found_at_all_nothing_gave_way():
    class Empty(Desk):
        def retrieve(self, queries, k):
            return Lists.empty(self.catalog.key, len(queries))

    found = CandidateSources(Empty(), None, 8, 5).candidates(turn("a comedy"))
    assert not len(found.lists.items) and not found.relaxed


def test_the_store_brings_in_what_the_recommender_does_not_know():
    row = next(r for r in range(len(CATALOG) - 1, -1, -1) if len(CATALOG.texts[r].split()) > 8)
    said = turn(str(CATALOG.texts[row]))
    assert row in CandidateSources(Desk(), SPACE, 8, 5).candidates(said).lists.items
    assert row not in CandidateSources(Desk(), None, 8, 5).candidates(said).lists.items


def asking(said):
    return found_for(said).asking(TurnPrompts(Room(Overlap()), PAGE), Ask("choice"), 7)


def found_for(said):
    return Candidates(turn(said), Lists.of(CATALOG.key, [[3, 5, 8]]), relaxed=False)


def test_the_closed_list_has_the_candidates_with_their_facts_behind_the_condition():
    asked = asking("a comedy").question
    assert asked.options == tuple(PAGE.lines(CATALOG, [3, 5, 8], "en")) and (asked.seed, asked.whose) == (7, -1)
    assert "The person wants: comedy." in asked.wording.choice("OPTIONS")
    assert asking("a drama").question.words != asked.words


@pytest.mark.parametrize(("fault", "rows"), [("", [8, 3, 5]), ("the model refused", [3, 5, 8])])
def test_an_answer_orders_and_one_of_no_use_leaves_what_was_found(fault, rows):
    scores = np.array([2.0, 1.0, 3.0])
    answer = replace(Asked(scores, (), scores[None], ParseReport(3)), fault=fault)
    made = found_for("a comedy").ordered(answer, "x")
    assert made.lists.items.tolist() == rows
    assert made.notes["fault"] == fault and made.notes["parse"]["fallback"] == int(bool(fault))
    assert made.notes["parse"]["requested"] == 3


def test_what_a_prompt_has_no_room_for_stands_behind_in_the_order_found():
    scores = np.array([1.0, 2.0])
    made = found_for("a comedy").ordered(Asked(scores, (), scores[None], ParseReport(2)), "x")
    assert made.lists.items.tolist() == [5, 3, 8]
    none = found_for("a comedy").ordered(None, "x")
    assert none.lists.items.tolist() == [3, 5, 8] and none.notes["parse"]["fallback"] == 1


@pytest.mark.parametrize("backend", sorted(NEEDS))
def test_the_longest_text_of_a_back_end_is_as_long_as_the_longest_prompt_it_asks(backend):
    class Kept(Overlap):
        asked = []

        def _kept(self, prompts, more=("",)):
            self.asked += [prompt.text + one for prompt in prompts for one in more]

        def generate(self, prompts, within=None):
            self._kept(prompts)
            return super().generate(prompts, within)

        def label(self, prompts, labels):
            self._kept(prompts)
            return super().label(prompts, labels)

        def score(self, prompts, choices):
            for prompt, own in zip(prompts, choices, strict=True):
                self._kept([prompt], own)
            return super().score(prompts, choices)

    lm = Kept()
    ask = Ask(backend, opponents=None, retries=0)
    question = asking("a comedy").question
    ask(lm, [question])
    told = longest(ask, question, lm.count)
    assert max(lm.count(told)) == max(lm.count(lm.asked))


def test_a_spread_picks_from_more_than_are_put_before_the_model():
    class Two:
        """Of two genres, in blocks: as fused the first eight are all of one."""

        asked = []

        def control(self, queries, ranked, k):
            self.asked.append((len(ranked.items), k))
            return ranked.at(np.arange(len(ranked.items))[::-1][:k], np.array([0, k]))

    spread = Two()
    found = CandidateSources(Desk(), None, 8, 5, spread).candidates(turn("something"))
    plain = CandidateSources(Desk(), None, 16, 5).candidates(turn("something"))
    assert spread.asked == [(16, 8)] and found.lists.items.tolist() == plain.lists.items[::-1][:8].tolist()


def test_candidates_are_the_recommenders_and_the_stores():
    said = turn("a film about a clock")
    theirs = set(Desk().retrieve(said.query, 8).items[:4].tolist())
    near = CandidateSources(Desk(), SPACE, 8, 5)._near(said.query, 8).items[:3].tolist()
    assert not theirs & set(near)
    both = CandidateSources(Desk(), SPACE, 8, 5).candidates(said).lists.items.tolist()
    assert theirs <= set(both) and set(near) <= set(both) and len(both) == 8
