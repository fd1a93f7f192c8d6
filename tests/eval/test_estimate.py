import copy
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from hexarec.classic import EASE, Popular
from hexarec.classic.because import Because
from hexarec.core import CapabilityError, run
from hexarec.core.options import clear_memo
from hexarec.data import films
from hexarec.data.worlds import world
from hexarec.eval.estimate import estimate
from hexarec.eval.tasks import answered
from hexarec.lm.fake import Overlap
from hexarec.lm.guard import Guarded
from hexarec.lm.open import open_encoder, open_lm
from hexarec.methods.frozen_encoder import FrozenEncoder
from hexarec.methods.llmrank import LLMRank
from hexarec.methods.llmtreerec import LLMTreeRec
from hexarec.pipeline.combine import Blend, Window
from hexarec.pipeline.pipeline import Pipeline

DATA = world("cold").data


class Never(Overlap):
    """A model that must not be asked."""

    name = "gguf:never"

    def generate(self, prompts, within=None):
        raise AssertionError("asked")

    label = score = generate


class Mute:
    """An encoder that must not be used."""

    name = spec = "minilm"
    dim = 7

    def encode(self, texts):
        raise AssertionError("encoded")


def pipeline(lm, encoder=None):
    retrievers = [EASE()] if encoder is None else [EASE(), FrozenEncoder(encoder)]
    return Pipeline(retrievers, Window(LLMRank(lm, rounds=2), 5), explain_by=Because(lm))


def test_no_model_is_asked_and_the_given_system_is_left_as_it_was():
    system = pipeline(Never(), Mute())
    before = copy.deepcopy(vars(system))
    made = estimate(system, DATA, 100)
    assert made.calls > 200 and made.texts == len(DATA.catalog)
    assert set(vars(system)) == set(before) and system.rank_by.ranker.lm.name == "gguf:never"
    assert not hasattr(system, "retrieve_")


def test_the_calls_of_ranking_are_counted_exactly():
    system = Pipeline([Popular()], Window(LLMRank(Overlap(), rounds=3), 5))
    made = estimate(system, DATA, 40, explain=False)
    assert made.calls == 3 * 40 and made.fit_calls == 0 and made.tokens_out == 120
    ready = system.fit(DATA)
    with run() as work:
        answered(ready, DATA.queries(np.arange(40)), None, 10)
    assert work.ledger.calls == made.calls
    assert 0.7 < made.tokens_in / work.ledger.tokens_in < 1.4


def test_fitting_a_blend_is_counted_and_its_model_is_taken_to_be_asked():
    blend = Blend(LLMRank(Overlap(), rounds=2), Popular(), window=5, sample=7)
    made = estimate(Pipeline([Popular()], blend), DATA, 10, explain=False)
    with run() as work:
        fitted = copy.deepcopy(blend).fit(DATA)
    assert made.fit_calls == work.ledger.calls == 2 * fitted.asked_
    assert made.calls == made.fit_calls + 2 * 10
    assert any("weight 0" in said for said in made.assumptions)


def test_seconds_follow_the_rate_and_dollars_the_price():
    guarded = Guarded(Never(), price_in=1.0, price_out=10.0)
    system = Pipeline([Popular()], Window(LLMRank(guarded, rounds=1), 5))
    slow, fast = (estimate(system, DATA, 1000, explain=False, tokens_per_second=r) for r in ((100.0, 10.0), (1e9, 1e9)))
    expected = slow.tokens_in / 100.0 + slow.tokens_out / 10.0
    assert math.isclose(slow.seconds - fast.seconds, expected, rel_tol=0.2)
    assert math.isclose(slow.usd, (slow.tokens_in * 1.0 + slow.tokens_out * 10.0) / 1e6)
    by_engine = estimate(system, DATA, 1000, explain=False, tokens_per_second={"gguf": (100.0, 10.0)})
    assert any("reads 100 and writes 10" in said for said in by_engine.assumptions)


def test_the_assumptions_are_sentences_and_speak_of_what_is_there():
    without = estimate(Pipeline([Popular()]), DATA, 5)
    assert without.calls == 0 and without.usd == 0.0 and not any("token" in said for said in without.assumptions)
    made = estimate(pipeline(Never(), Mute()), DATA, 5)
    assert all(said.endswith(".") for said in made.assumptions)
    assert any("gguf:never reads 250 and writes 40" in said for said in made.assumptions)
    assert any("minilm encodes" in said for said in made.assumptions)


def test_a_bare_ranker_is_estimated_on_given_candidates():
    asked = world("order")
    from hexarec.eval.tasks import sampled

    drawn = sampled(asked, 4, 0)
    made = estimate(LLMRank(Never(), rounds=1), asked.data, 80, queries=asked.queries, candidates=drawn, explain=False)
    assert made.calls == 80 and made.memory_mb > 1


def test_seeds_multiply_everything_but_memory():
    made = estimate(Pipeline([Popular()], Window(LLMRank(Never(), rounds=1), 5)), DATA, 10, explain=False)
    three = made.times(3)
    assert three.calls == 3 * made.calls and three.n == 30 and three.memory_mb == made.memory_mb


def test_a_capability_the_model_lacks_is_missed_before_anything_runs():
    class Plain(Never):
        @property
        def can(self):
            return frozenset({"text"})

    with pytest.raises(CapabilityError):
        estimate(Pipeline([Popular()], Window(Labels(Plain()), 5)), DATA, 5)


@dataclass
class Labels:
    """A ranker that only finds out late that it needs labels."""

    lm: Any

    def rank(self, queries, candidates):
        from hexarec.lm.base import Prompt

        self.lm.label([Prompt.user("A or B?")], ("A", "B"))
        return candidates


def asked_to_fit(system, data):
    clear_memo()
    with run() as work:
        system.fit(data)
    clear_memo()
    return work.ledger.calls


def test_fitting_over_text_is_counted_at_its_most_and_says_so():
    """Which validation questions hold an answer, vectors decide that a dry run does not compute."""
    data = films.load()
    text = FrozenEncoder(open_encoder("tfidf"))
    ranker = LLMRank(open_lm("fake:overlap"), backend="pointwise", rounds=1)
    system = Pipeline((text,), Blend(ranker, text, window=5, sample=40), depth=10)
    told = estimate(system, data, 1, sample=1)
    assert 0 < asked_to_fit(system, data) <= told.fit_calls == 40 * 5
    assert "taken to validate on as many questions as it may" in " ".join(told.assumptions)
    plain = Pipeline((Popular(),), Blend(ranker, Popular(), window=5, sample=40), depth=10)
    told = estimate(plain, data, 1, sample=1)
    assert told.fit_calls == asked_to_fit(plain, data) and "as it may" not in " ".join(told.assumptions)


def test_names_of_groups_are_counted_with_some_to_spare_and_it_is_said():
    data = films.load()
    tree = LLMTreeRec(open_encoder("tfidf"), open_lm("fake:overlap"), naming="model", levels=())
    told = estimate(tree, data, 1, sample=1)
    real = asked_to_fit(tree, data)
    assert real <= told.fit_calls < 2 * real
    assert "calls are counted in case there are more of them" in " ".join(told.assumptions)
