from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given as having
from hypothesis import strategies as st

from hexarec.classic import Popular
from hexarec.core import Lists, OptionError, fuse, ragged, run
from hexarec.core.options import clear_memo
from hexarec.pipeline import combine
from hexarec.pipeline.combine import ASKED_AT_ONCE, Blend, Cascade, Fuse, Window, stacked, z_scores
from hexarec.testing import strategies

from .makers import DATA, QUERIES, Fixed, Oracle, given, rows_of


def test_fuse_is_reciprocal_rank_fusion_of_what_it_holds():
    made = Fuse((Fixed(1.0), Fixed(-1.0)), (1.0, 3.0), depth=8).fit(DATA)
    parts = [one.retrieve(QUERIES, 8) for one in made.retrievers_]
    assert rows_of(made.retrieve(QUERIES, 5)) == rows_of(fuse(parts, (1.0, 3.0), 5))


def test_window_orders_the_head_and_keeps_the_tail():
    made = Window(Fixed(), size=3).fit(DATA)
    ranked = made.rank(QUERIES.take(slice(0, 1)), given([5, 1, 9, 2, 30]))
    assert rows_of(ranked) == [[9, 5, 1, 2, 30]] and ranked.scores.tolist() == pytest.approx(
        [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5]
    )


def test_a_cascade_narrows_from_cheap_to_dear():
    made = Cascade((Fixed(1.0), Fixed(-1.0)), (4, 2)).fit(DATA)
    assert rows_of(made.rank(QUERIES.take(slice(0, 1)), given([5, 1, 9, 2, 30]))) == [[5, 9, 2, 1, 30]]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Fuse(()),
        lambda: Fuse((Fixed(),), (1.0, 2.0)),
        lambda: Cascade((), ()),
        lambda: Cascade((Fixed(),), (1, 2)),
        lambda: Blend(Fixed(), Fixed(), grid=(0.5, 1.0)),
        lambda: Blend(Fixed(), Fixed(), grid=(0.0, 1.5)),
        lambda: Blend(Fixed(), Fixed(), window=0),
        lambda: Cascade((Fixed(),), (0,)),
        lambda: Window(Fixed(), -1),
        lambda: Fuse((Fixed(),), depth=0),
    ],
)
def test_combinators_that_cannot_work_are_refused(make):
    with pytest.raises(OptionError):
        make()


@having(strategies.lists(3, 7), st.integers(0, 5))
def test_stacked_is_head_then_tail_with_falling_scores_and_all_fields(lists, k):
    head = lists.top_k(k)
    turned = head.scored(-np.arange(len(head.items), dtype=np.float32)).with_field(
        "only", np.ones(len(head.items), int)
    )
    made = stacked(turned, lists)
    for row, first, whole in zip(rows_of(made), rows_of(turned), rows_of(lists), strict=True):
        assert row == first + [item for item in whole if item not in first]
    assert np.array_equal(made.fields["mark"], 7 * made.items.astype(int) + 1)
    assert sorted(set(made.fields["only"].tolist())) in ([], [-1], [1], [-1, 1])
    assert (made.fields["only"] == 1).sum() == len(turned.items)
    assert made.scores.tolist() == pytest.approx((1 / (1 + ragged.positions(made.offsets))).tolist())


@having(strategies.lists(3, 7))
def test_z_scores_centre_and_scale_each_list_alone(lists):
    made = z_scores(lists, lists.scores)
    assert np.isfinite(made).all()
    for values, own in zip(
        np.split(made, lists.offsets[1:-1]), np.split(lists.scores, lists.offsets[1:-1]), strict=True
    ):
        known = ~np.isnan(own)
        if known.sum() > 1 and np.ptp(own[known]) > 0:
            assert abs(values[known].mean()) < 1e-6 and values[known].std() == pytest.approx(1.0)
        elif known.any():
            assert (values[known] == 0).all()
        if known.any() and not known.all():
            assert (values[~known] == min(values[known].min(), 0.0) - 1.0).all()


def blended(ranker):
    return Blend(ranker, Popular(), window=20, share=0.3).fit(DATA)


def test_blend_gives_a_ranker_that_knows_a_weight_and_then_asks_it():
    made = blended(Oracle())
    assert made.weight_ > 0.5 and made.gain_ > made.error_ > 0
    ranked = made.rank(QUERIES, given(*[[41, 40, 0, 1, 2, 3, 4, 5]] * len(QUERIES)))
    assert [row[0] for row in rows_of(ranked)] == [int(user) % 6 for user in QUERIES.user]
    assert {"score.retrieval", "score.ranker"} <= set(ranked.fields)


@pytest.mark.parametrize("ranker", [Oracle(worth=-1.0), Oracle(worth=0.0)], ids=["harmful", "useless"])
def test_blend_gives_a_ranker_that_does_not_help_no_weight_and_never_asks_it_again(ranker):
    made = blended(ranker)
    asked = len(made.ranker_.calls)
    candidates = given(*[[41, 40, 0, 1]] * len(QUERIES))
    assert made.weight_ == 0.0 and made.rank(QUERIES, candidates) is candidates
    assert len(made.ranker_.calls) == asked


def test_blend_asks_only_questions_whose_candidates_hold_an_answer_and_at_most_the_sample():
    ranker = Oracle()
    made = Blend(ranker, Popular(), window=20, sample=5, share=0.3).fit(DATA)
    assert made.asked_ == 5 and ranker.calls == [5]
    assert [weight for weight, _ in made.curve_] == list(made.grid)


def test_blend_ranks_the_tail_behind_its_window():
    made = Blend(Oracle(), Popular(), window=2, share=0.3).fit(DATA)
    made.weight_ = 1.0
    query = QUERIES.take(slice(0, 1))
    row = rows_of(made.rank(query, given([41, 0, 40, 6])))[0]
    assert sorted(row[:2]) == [0, 41] and row[2:] == [40, 6] and row[0] == 0


def test_blend_with_nothing_to_validate_on_gives_weight_0():
    class Nothing:
        def retrieve(self, queries, k):
            return Lists.empty(queries.catalog.key, len(queries))

    made = Blend(Oracle(), Nothing()).fit(DATA)
    assert made.weight_ == 0.0 and made.asked_ == 0 and made.curve_ == []


@dataclass
class Recording:
    """Keeps the newest time of every data set it was fitted on."""

    seen: list

    def fit(self, data, *, seed=0):
        self.seen.append(float(data.interactions.time.max()))
        return self

    def rank(self, queries, candidates):
        self.asked_ = float(queries.now.min())
        self.seen.append(("asked", self.asked_, len(self.seen)))
        return candidates

    def retrieve(self, queries, k):
        return Popular().fit(DATA).retrieve(queries, k)


def test_what_a_blend_validates_with_was_fitted_before_the_cut():
    from hexarec.core import holdout
    from hexarec.core.options import clear_memo

    clear_memo()
    cut = holdout(DATA, 0.2)
    ranker, source = Recording([]), Recording([])
    Blend(ranker, source, share=0.2, sample=5).fit(DATA)
    moment = float(cut.queries.now.min())
    asked = [entry for entry in ranker.seen if isinstance(entry, tuple)]
    fits = [entry for entry in ranker.seen[: asked[0][2]] if not isinstance(entry, tuple)]
    assert asked and asked[0][1] == moment
    assert fits[-1] < moment  # the fit that answered the validation questions knew nothing from the cut on
    assert source.seen[-1] < moment


def test_a_blend_without_a_log_gives_the_ranker_no_weight():
    empty = DATA.with_log(DATA.interactions.where(np.zeros(len(DATA.interactions), bool)))
    assert Blend(Fixed(), Popular()).fit(empty).weight_ == 0.0


def test_validation_tells_how_far_it_is_and_asks_the_same_in_parts(monkeypatch):
    events = []
    with run(emit=events.append):
        parts = Blend(Oracle(), Popular(), window=20, share=0.3).fit(DATA)
    told = [one["done"] for one in events if one.get("label") == "ask validation users"]
    assert told == list(range(len(told))) and len(told) == 1 + -(-parts.asked_ // ASKED_AT_ONCE) > 2
    monkeypatch.setattr(combine, "ASKED_AT_ONCE", 10_000)
    clear_memo()
    whole = Blend(Oracle(), Popular(), window=20, share=0.3).fit(DATA)
    assert (parts.curve_, parts.weight_) == (whole.curve_, whole.weight_)
