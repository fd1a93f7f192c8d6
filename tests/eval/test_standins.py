from hexarec.classic import EASE, Popular
from hexarec.classic.because import Because
from hexarec.core.options import stages_inside
from hexarec.data.worlds import world
from hexarec.eval.standins import is_encoder, is_lm, swapped
from hexarec.lm.fake import Overlap
from hexarec.lm.guard import Guarded
from hexarec.lm.open import open_encoder, open_lm
from hexarec.methods.frozen_encoder import FrozenEncoder
from hexarec.methods.llmrank import LLMRank
from hexarec.pipeline.combine import Window
from hexarec.pipeline.pipeline import Pipeline

DATA = world("cold").data


def pipeline(lm, encoder):
    retrievers = [EASE(), FrozenEncoder(encoder)]
    return Pipeline(retrievers, Window(LLMRank(lm, rounds=2), 5), explain_by=Because(lm))


def test_swapping_reaches_every_model_once_and_shares_it():
    lm = open_lm("fake:overlap")
    system = pipeline(lm, open_encoder("tfidf"))
    swaps = []

    def swap(model):
        swaps.append(model)
        return Guarded(model) if is_lm(model) else model

    made = swapped(system, swap)
    assert len(swaps) == 2 and sum(map(is_encoder, swaps)) == 1
    assert made.rank_by.ranker.lm is made.explain_by.lm and isinstance(made.explain_by.lm, Guarded)
    assert system.explain_by.lm is lm and made.retrieve_by[0] is not None


def test_what_was_learned_is_kept_or_dropped():
    fitted = Pipeline([Popular()], Window(LLMRank(Overlap()), 5)).fit(DATA)
    kept = swapped(fitted, Guarded)
    assert isinstance(kept.rank_.ranker_.lm, Guarded) and len(kept.recommend(DATA.queries([0]), 3).items.items) == 3
    assert not hasattr(swapped(fitted, Guarded, keep=False), "rank_")
    names = [type(one).__name__ for one in stages_inside(fitted)]
    assert names[0] == "Pipeline" and {"Popular", "Window", "LLMRank"} <= set(names)
