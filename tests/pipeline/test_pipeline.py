from dataclasses import dataclass

import numpy as np
import pytest

from hexarec.classic import Calibrated
from hexarec.classic.because import Because
from hexarec.core import (
    BudgetError,
    CancelledError,
    DataError,
    Features,
    Item,
    OptionError,
    Queries,
    StateError,
    fuse,
    run,
)
from hexarec.lm.open import open_encoder, open_lm
from hexarec.methods.frozen_encoder import FrozenEncoder
from hexarec.methods.llmrank import LLMRank
from hexarec.pipeline.pipeline import Pipeline, name_of

from .makers import DATA, QUERIES, WORLD, Failing, FirstOnly, Fixed, Inventing, Oracle, given, rows_of


def fitted_pipeline(*retrievers, **slots):
    return Pipeline(retrievers or (Fixed(),), **slots).fit(DATA)


def test_a_pipeline_retrieves_ranks_controls_explains_and_says_each_step():
    made = fitted_pipeline(Fixed(), rank_by=Oracle(), control_by=(FirstOnly(),), explain_by=Because(), depth=40)
    answer = made.recommend(QUERIES, 3)
    assert [step.stage for step in answer.trace] == ["retrieve", "rank", "control", "explain"]
    assert [step.method for step in answer.trace] == ["Fixed", "Oracle", "FirstOnly", "Because"]
    assert [step.n_out for step in answer.trace][2:] == [6, 6] and answer.degraded == ()
    assert (answer.items.lengths == 1).all() and len(answer.reasons) == len(QUERIES)
    assert all(item % 6 == user % 6 for item, user in zip(answer.items.items, QUERIES.user, strict=True))


def test_several_retrievers_are_fused_by_rank_with_their_weights():
    up, down = Fixed(1.0), Fixed(-1.0)
    made = fitted_pipeline(up, down, weights=(1.0, 2.0), depth=10)
    parts = [stage.retrieve(QUERIES, 10) for stage in made.retrieve_]
    assert rows_of(made.retrieve(QUERIES, 5)) == rows_of(fuse(parts, (1.0, 2.0), 5))
    assert rows_of(made.recommend(QUERIES, 5).items)[0][0] == rows_of(parts[1])[0][0]


def test_a_retriever_that_fails_is_missing_from_the_fusion_and_the_answer_says_why():
    made = fitted_pipeline(Failing(), Fixed())
    answer = made.recommend(QUERIES, 4)
    assert rows_of(answer.items) == rows_of(fuse([made.retrieve_[1].retrieve(QUERIES, 100)], [1.0], 4))
    assert [(d.stage, d.method, d.reason) for d in answer.degraded] == [("retrieve", "Failing", "ValueError: planted")]
    assert [step.status for step in answer.trace] == ["failed", "ok"]


def test_when_every_retriever_fails_there_is_no_answer_to_give():
    with pytest.raises(StateError, match="every retriever failed: ValueError: planted; KeyError: 'planted'"):
        fitted_pipeline(Failing(), Failing(KeyError)).recommend(QUERIES)


@pytest.mark.parametrize(
    ("slot", "value"), [("rank_by", Failing()), ("control_by", (Failing(),)), ("explain_by", Failing())]
)
def test_a_later_stage_that_fails_passes_its_input_through_and_the_answer_says_why(slot, value):
    whole = fitted_pipeline().recommend(QUERIES, 4)
    answer = fitted_pipeline(**{slot: value}).recommend(QUERIES, 4)
    assert rows_of(answer.items) == rows_of(whole.items) and answer.reasons is None
    assert [(d.stage, d.reason) for d in answer.degraded] == [(slot.removesuffix("_by"), "ValueError: planted")]
    assert len(whole.degraded) == 0


def test_a_ranker_that_invents_items_is_refused_and_its_list_not_used():
    answer = fitted_pipeline(rank_by=Inventing()).recommend(QUERIES, 4)
    assert rows_of(answer.items) == rows_of(fitted_pipeline().recommend(QUERIES, 4).items)
    assert "DataError: Inventing returned other items than it was given" in answer.degraded[0].reason


def test_a_ranker_that_doubles_an_item_is_refused_too():
    class Doubling:
        def rank(self, queries, candidates):
            from dataclasses import replace

            items = candidates.items.copy()
            items[candidates.offsets[:-1] + 1] = items[candidates.offsets[:-1]]
            return replace(candidates, items=items)

    assert fitted_pipeline(rank_by=Doubling()).recommend(QUERIES, 4).degraded


def test_a_controller_that_invents_items_is_refused_too():
    class Adding:
        def control(self, queries, ranked, k):
            return given(*[[41]] * len(queries))

    assert fitted_pipeline(control_by=(Adding(),), depth=3).recommend(QUERIES, 4).degraded


def test_strict_raises_what_a_stage_raised():
    with pytest.raises(ValueError, match="planted"):
        fitted_pipeline(Failing(), Fixed(), strict=True).recommend(QUERIES)
    with pytest.raises(DataError, match="returned other items"):
        fitted_pipeline(rank_by=Inventing(), strict=True).recommend(QUERIES)


def test_cancelling_is_not_a_failure_of_a_stage():
    with pytest.raises(CancelledError):
        fitted_pipeline(rank_by=Failing(CancelledError)).recommend(QUERIES)


def test_a_spent_budget_degrades_the_ranker_and_the_answer_still_comes():
    class Dear:
        def rank(self, queries, candidates):
            raise BudgetError("the budget of 0 calls is used up")

    answer = fitted_pipeline(rank_by=Dear()).recommend(QUERIES, 4)
    assert (answer.items.lengths == 4).all() and "budget" in answer.degraded[0].reason


def test_what_a_stage_spends_stands_in_its_step_and_in_the_run():
    ranker = LLMRank(open_lm("fake:overlap"), backend="list", rounds=2)
    made = fitted_pipeline(rank_by=ranker, depth=5)
    with run() as work:
        steps = {step.stage: step for step in made.recommend(QUERIES, 3).trace}
    assert steps["rank"].lm_calls == 12 == work.ledger.calls and steps["rank"].tokens_in > 0
    assert steps["retrieve"].lm_calls == 0


def test_a_stage_in_two_slots_is_fitted_once():
    both = Fixed()
    made = Pipeline((both,), rank_by=both).fit(DATA)
    assert made.retrieve_[0] is made.rank_ and made.rank_.calls.count("fit") == 1
    assert not hasattr(both, "n_")


def test_enrichers_run_before_the_others_are_fitted():
    class Marking:
        def enrich(self, data):
            return data.with_features(
                "mark", Features(np.ones((data.n_items, 1), np.float32), np.ones(data.n_items, bool))
            )

    made = Pipeline((Fixed(),), enrich_by=(Marking(),)).fit(DATA)
    assert "mark" in made.data.features and made.data.key == made.data_key_ != DATA.key


def test_before_fit_there_is_nothing_to_serve():
    for use in (
        lambda p: p.recommend(QUERIES),
        lambda p: p.data,
        lambda p: p.rank(QUERIES, given()),
        lambda p: p.attach(DATA),
    ):
        with pytest.raises(StateError, match="not fitted"):
            use(Pipeline((Fixed(),)))


@pytest.mark.parametrize(
    ("slots", "words"),
    [
        ({"retrieve_by": ()}, "at least one retriever"),
        ({"retrieve_by": (Fixed(),), "weights": (1.0, 2.0)}, "2 weights for 1"),
    ],
)
def test_a_pipeline_that_cannot_work_is_refused(slots, words):
    with pytest.raises(OptionError, match=words):
        Pipeline(**slots)


def test_new_items_are_found_after_attach_without_training():
    made = Pipeline((FrozenEncoder(open_encoder("tfidf"), dim=16), Fixed())).fit(DATA)
    grown = DATA.with_items(
        [Item("fresh", "Ocean story 99", "A ocean tale about the ocean and its people.", {"genres": ("ocean",)})]
    )
    later = made.attach(grown)
    answer = later.recommend(grown.queries([0, 6]), 100)
    assert all("fresh" in later.catalog.ids(row) for row in rows_of(answer.items))
    assert "fresh" not in made.catalog.items and later.retrieve_[0] is not made.retrieve_[0]
    assert later.retrieve_[1] is made.retrieve_[1]


def test_new_items_are_found_through_a_combinator_too():
    from hexarec.pipeline.combine import Fuse

    made = Pipeline((Fuse((FrozenEncoder(open_encoder("tfidf"), dim=16),)),)).fit(DATA)
    grown = DATA.with_items([Item("fresh", "Ocean story 99", "A ocean tale about the ocean and its people.")])
    later = made.attach(grown)
    assert "fresh" in later.catalog.ids(later.recommend(grown.queries([0]), 100).items.items)


def test_one_stage_in_two_slots_is_extended_once():
    both = FrozenEncoder(open_encoder("tfidf"), dim=16)
    later = Pipeline((both,), rank_by=both).fit(DATA).attach(DATA.with_items([Item("fresh", "Ocean")]))
    assert later.retrieve_[0] is later.rank_ and len(later.rank_.items()) == DATA.n_items + 1


def test_learning_gives_a_new_pipeline_and_leaves_the_old_one():
    class Learning(Fixed):
        def learn(self, exposures):
            made = Learning(-self.sign)
            made.n_ = self.n_
            return made

    made = fitted_pipeline(Learning(), rank_by=Fixed())
    later = made.learn(None)
    assert later.retrieve_[0].sign == -1.0 and made.retrieve_[0].sign == 1.0 and later.rank_ is made.rank_


def test_forgetting_reaches_every_slot():
    made = fitted_pipeline(Fixed(), control_by=(Calibrated(),))
    user = DATA.users.ids.ids[0]
    assert user in made.control_[0].users_.users
    later = made.forget([user])
    assert user not in later.control_[0].users_.users and user in made.control_[0].users_.users


def test_a_desk_looks_items_up_and_names_the_one_it_lacks():
    made = fitted_pipeline()
    assert [item.id for item in made.lookup(["i003", "i001"])] == ["i003", "i001"] and made.graph is None
    with pytest.raises(DataError, match="'nope'"):
        made.lookup(["nope"])


def test_without_a_conversationalist_there_is_no_conversation():
    with pytest.raises(StateError, match="no conversationalist"):
        fitted_pipeline().converse([])


def test_an_answer_can_leave_the_reasons_out_and_serve_somebody_never_seen():
    made = fitted_pipeline(explain_by=Because())
    assert made.recommend(QUERIES, 2, explain=False).reasons is None
    answer = made.recommend(Queries.one(DATA.catalog, user="never seen"), 2)
    assert rows_of(answer.items) == [[41, 40]] and answer.degraded == ()


def test_names_in_a_trace_say_what_a_combinator_holds():
    from hexarec.pipeline.combine import Window

    assert name_of(Window(Window(Fixed()))) == "Window(Window(Fixed))" and name_of(Fixed()) == "Fixed"


def test_depth_is_what_the_ranker_sees_and_k_what_the_caller_gets():
    seen = []

    class Watching:
        def rank(self, queries, candidates):
            seen.append(candidates.lengths.max())
            return candidates

    assert fitted_pipeline(rank_by=Watching(), depth=7).recommend(QUERIES, 3).items.lengths.max() == 3
    assert seen == [7] and WORLD.name == "trap"


@pytest.mark.parametrize("k", [-1, 0, 2.5, float("nan"), "5", None, True])
def test_a_length_that_is_no_whole_number_above_0_is_refused(k):
    made = fitted_pipeline(control_by=(FirstOnly(),))
    with pytest.raises(OptionError, match=r"k is .*, no whole number of at least 1\n  -> k is the length"):
        made.recommend(QUERIES, k)


def test_a_length_may_be_a_number_of_numpy():
    assert (fitted_pipeline().recommend(QUERIES, np.int32(2)).items.lengths == 2).all()


def test_lists_longer_than_the_depth_are_as_long_as_asked():
    @dataclass
    class Cutting:
        def control(self, queries, ranked, k):
            return ranked.top_k(k)

    for more in ({}, {"rank_by": Oracle()}, {"control_by": (Cutting(), Cutting())}):
        made = fitted_pipeline(depth=5, **more).recommend(QUERIES, 12)
        assert (made.items.lengths == 12).all() and made.degraded == ()
