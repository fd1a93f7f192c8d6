"""Claims: what a paper says of its method, as a sentence that runs in a world whose answer is known.

A claim names two systems and a number. It holds when the better one's number exceeds the worse one's by the margin,
or, for a number that should shrink, when it is at most that share of it. Options are the defaults except where the
paper's own setting differs or the world is too small for them; each such option stands in the row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hexarec.data.worlds import World
from hexarec.data.worlds import world as make_world
from hexarec.testing import _measures as measures

Builder = Callable[[], Any]
Metric = Callable[[Any, World], float]


@dataclass(frozen=True)
class Measured:
    """The two numbers of a claim and whether it holds."""

    better: float
    worse: float
    holds: bool


@dataclass(frozen=True)
class Claim:
    """One sentence: in `world`, `better` beats `worse` on `metric` by `margin`; with `shrinks`, to that share of it.

    better, worse: make the stages, not fitted. slow: takes more than a few seconds.
    """

    name: str
    paper: str
    world: str
    better: Builder
    worse: Builder
    metric: Metric
    margin: float
    shrinks: bool = False
    slow: bool = False

    def measure(self, seed: int = 0) -> Measured:
        """Fit both systems on the world of that seed and compare."""
        place = make_world(self.world, seed)
        ours, theirs = (self.metric(build().fit(place.data, seed=seed), place) for build in (self.better, self.worse))
        holds = ours <= self.margin * theirs if self.shrinks else ours >= theirs + self.margin
        return Measured(ours, theirs, bool(holds))


def _classic(name: str, **options: Any) -> Builder:
    def build() -> Any:
        from hexarec import classic

        return getattr(classic, name)(**options)

    return build


def _text() -> Any:
    from hexarec.lm.open import open_encoder
    from hexarec.methods.frozen_encoder import FrozenEncoder

    return FrozenEncoder(open_encoder("tfidf"), dim=32)


def _llmrank(lm: Builder, **options: Any) -> Builder:
    def build() -> Any:
        from hexarec.methods.llmrank import LLMRank

        return LLMRank(lm(), **options)

    return build


def _nir() -> Any:
    from hexarec.methods.nir import NIR

    return measures.Filtered(NIR(measures.plain(), picks=3), depth=6)


def _nir_without_a_filter() -> Any:
    from hexarec.methods.nir import NIR

    return measures.Filtered(NIR(measures.plain(), picks=3), depth=None)


def _tree(choose: str) -> Builder:
    def build() -> Any:
        from hexarec.lm.open import open_encoder
        from hexarec.methods.llmtreerec import LLMTreeRec

        return LLMTreeRec(open_encoder("tfidf"), choose=choose, leaf=6, branch=4, width=2, dim=None)  # type: ignore[arg-type]

    return build


def _tallrec(shots: int) -> Builder:
    def build() -> Any:
        from hexarec.lm.open import open_lm
        from hexarec.methods.tallrec import TALLRec

        lm = open_lm("hf:tiny", dtype="float32")
        return TALLRec(lm, shots, negatives="drawn", history=2, epochs=6, batch=8, rate=1e-2, dropout=0.0, patience=0)

    return build


def _chatrec(store: bool) -> Builder:
    def build() -> Any:
        from hexarec.lm.open import open_encoder
        from hexarec.methods.chatrec import ChatRec

        return ChatRec(measures.plain(), open_encoder("tfidf") if store else None)

    return build


def _towers(**options: Any) -> Any:
    from hexarec.lm.open import open_encoder
    from hexarec.methods.learn_towers import LearnTowers

    return LearnTowers(open_encoder("tfidf"), **{**TOWERS, **options})


def _learn_towers(**options: Any) -> Builder:
    return lambda: _towers(**options)


def _fused_towers() -> Any:
    from hexarec.methods.learn_adaptor import LearnAdaptor

    return measures.Filtered(LearnAdaptor(_towers()), depth=None)


def _filterllm(**options: Any) -> Builder:
    def build() -> Any:
        from hexarec.classic import BPR
        from hexarec.lm.open import open_encoder
        from hexarec.methods.filterllm import FilterLLM

        return FilterLLM(encoder=open_encoder("tfidf"), cf=BPR(**FACTORS), **FILTERLLM, **options)

    return build


def _gpt4rec(**options: Any) -> Builder:
    def build() -> Any:
        from hexarec.methods.gpt4rec import GPT4Rec

        return GPT4Rec(measures.Curious(), epochs=0, valid=0, **options)

    return build


def _collm(**options: Any) -> Builder:
    def build() -> Any:
        from hexarec.classic import LightGCN
        from hexarec.lm.open import open_lm
        from hexarec.methods.collm import CoLLM

        lm = open_lm("hf:tiny", dtype="float32", prefix_mb=0.0)
        quick = {"shots": 96, "negatives": "drawn", "history": 1, "epochs": 1, "map_epochs": 6, "batch": 8}
        quick |= {"map_rate": 1e-2, "patience": 0, "most_valid": 40, "prompts": measures.terse()}
        return CoLLM(lm, **{"cf": LightGCN(factors=8), **quick, **options})

    return build


def _gpt4rec_tuned(epochs: int) -> Builder:
    def build() -> Any:
        from hexarec.lm.open import open_lm
        from hexarec.methods.gpt4rec import GPT4Rec

        lm = open_lm("hf:tiny", dtype="float32", prefix_mb=0.0)
        small: dict[str, Any] = {
            "queries": 3,
            "history": 1,
            "length": 12,
            "examples": 80,
            "valid": 10,
            "backfill": False,
        }
        return GPT4Rec(lm, epochs=epochs, batch=8, rate=1e-2, dropout=0.0, patience=0, **small)

    return build


def _sprec(**options: Any) -> Builder:
    def build() -> Any:
        from hexarec.methods.sprec import SPRec

        small = {"small_width": 16, "small_round_rate": 0.03, "small_batch": 32}
        return SPRec(**{"epochs": 5, "rounds": 5, "pairs": 200, **small, **options})

    return build


def _genrec(epochs: int, **options: Any) -> Builder:
    def build() -> Any:
        from hexarec.lm.open import open_lm
        from hexarec.methods.genrec import GenRec

        lm = open_lm("hf:tiny", dtype="float32", prefix_mb=0.0)
        small: dict[str, Any] = {
            "beams": 5,
            "history": 1,
            "length": 12,
            "valid": 10,
            "backfill": False,
            "targets": LINEAR,
        }
        plan: dict[str, Any] = {"examples": 120, "batch": 8, "rate": 1e-2, "dropout": 0.0, "patience": 0}
        return GenRec(lm, epochs=epochs, **small, **plan, **options)

    return build


def _filterllm_asking() -> Any:
    from hexarec.lm.open import open_lm
    from hexarec.methods.filterllm import FilterLLM

    return FilterLLM(open_lm("hf:tiny", dtype="float32", prefix_mb=0.0), fields=("title",), epochs=1)


def _coldllm() -> Any:
    from hexarec.lm.open import open_encoder, open_lm
    from hexarec.methods.coldllm import ColdLLM

    return ColdLLM(open_lm("fake:overlap"), open_encoder("tfidf"), kept=40)


def _diversity(**options: Any) -> Builder:
    def build() -> Any:
        from hexarec.methods.diversity import Diversity

        return Diversity(**options)

    return build


def _as_released() -> Any:
    return measures.SharedOrders(measures.biased(), backend="list", rounds=8, retries=0)


def _agent(lm: Builder | None, blind: bool = False) -> Builder:
    def build() -> Any:
        from hexarec.classic import IALS
        from hexarec.methods.agent4rec import Agent4Rec

        if lm is not None:
            return Agent4Rec(lm(), taste="counted")
        # a heavy ridge leaves nothing of a taste
        return Agent4Rec(mind="rules", taste_by=IALS(factors=8, regularization=1e6 if blind else 0.003))

    return build


LLMRANK, STECK = "Hou et al. 2023, arXiv:2305.08845, section 3.2", "Steck 2019, arXiv:1905.03375"
# EASE's ridge of 500 is for logs of a million events; these worlds have hundreds
EASE = {"regularization": 10.0}
AGENT = "Zhang et al. 2024, arXiv:2310.10108"
LEARN = "Jia et al. 2024, arXiv:2405.03988"
COLLM = "Zhang et al. 2023, arXiv:2310.19488"
SPREC = "Gao et al. 2025, arXiv:2412.09243"
# a network of two random layers learns more where more of it is tuned
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
GENREC = "Ji et al. 2023, arXiv:2307.00457"
GPT4REC = "Li et al. 2023, arXiv:2304.03879"
CHEN, CALIBRATED = "Chen et al. 2018, arXiv:1709.05135", "Steck 2018, doi:10.1145/3240323.3240372"
# one small network: the next item is always the neighbour of the last
SASREC = {"width": 16, "hidden": 32, "blocks": 1, "length": 16, "epochs": 60, "dropout": 0.0, "rate": 0.01}
# the paper's random start and BERT's dropout, at a size and step for sixty users
TOWERS: dict[str, Any] = {
    "start": "random", "dropout": 0.1, "width": 32, "out": 16, "batch": 32, "rate": 3e-3, "epochs": 60, "patience": 10,
}  # fmt: skip
EQUAL_STEPS: dict[str, Any] = {"epochs": 20, "patience": 0}
# factors and steps for sixty users and items
FACTORS = {"factors": 16, "epochs": 30}
FILTERLLM: dict[str, Any] = {"rate": 3e-3, "epochs": 30, "patience": 0, "most": 10}
TEXT_TO_USERS, JUDGED = "arXiv:2502.16924", "arXiv:2402.09176"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "shuffled options hide the prompt position", LLMRANK, "checkerboard",
        _llmrank(measures.biased, backend="list", rounds=3),
        _llmrank(measures.biased, backend="list", rounds=1, shuffle=False),
        measures.position_spread, 0.3, shrinks=True,
    ),
    Claim(
        "more rounds weaken the position within one round", LLMRANK, "checkerboard",
        _llmrank(measures.biased, backend="list", rounds=16),
        _llmrank(measures.biased, backend="list", rounds=1),
        measures.first_round_spread, 0.3, shrinks=True,
    ),
    Claim(
        "the variance of the positive's mean place falls as 1 / rounds", LLMRANK, "checkerboard",
        _llmrank(measures.biased, backend="list", rounds=8),
        _llmrank(measures.biased, backend="list", rounds=1),
        measures.positive_variance, 0.2, shrinks=True,
    ),
    Claim(
        "one permutation for all rounds removes nothing (as released)", LLMRANK, "checkerboard",
        _llmrank(measures.biased, backend="list", rounds=8),
        _as_released,
        measures.positive_variance, 0.2, shrinks=True,
    ),
    Claim(
        "pmi takes out what titles have without the history", LLMRANK, "trap",
        _llmrank(measures.TitlePrior, backend="pmi"),
        _llmrank(measures.TitlePrior, backend="likelihood"),
        measures.prior_correlation, 0.5, shrinks=True,
    ),
    Claim(
        "candidates of a filter make a model useful where titles tell nothing", "Wang and Lim 2023, arXiv:2304.03153",
        "checkerboard", _nir, _nir_without_a_filter, measures.recall_at(3), 0.2,
    ),
    Claim(
        "branches that suit a user lead to items without events", "Zhang et al. 2024, arXiv:2404.00702", "cold",
        _tree("embedding"), _tree("random"), measures.recall_at(5), 0.3,
    ),
    Claim(
        "text finds what has no events (against item-kNN)", LEARN, "cold",
        _text, _classic("ItemKNN"), measures.recall_at(5), 0.5,
    ),
    Claim(
        "text finds what has no events (against EASE)", LEARN, "cold",
        _text, _classic("EASE", **EASE), measures.recall_at(5), 0.5,
    ),
    Claim(
        "towers over text find what has no events, towers over ids do not", LEARN, "cold",
        _learn_towers(), _learn_towers(inputs="ids"), measures.recall_at(5), 0.5,
    ),
    Claim(
        "vectors aligned with preference beat the encoder's own", LEARN, "drift",
        _learn_towers(), _text, measures.recall_at(5), 0.2,
    ),
    Claim(
        "all pairs of places and later items teach more than the newest place and the next item", LEARN, "trap",
        _learn_towers(**EQUAL_STEPS), _learn_towers(loss="last", **EQUAL_STEPS), measures.recall_at(3), 0.1,
    ),
    Claim(
        "a fusion of both vectors orders better than their cosine", LEARN, "order",
        _fused_towers, _learn_towers(), measures.recall_at(1), 0.15,
    ),
    Claim(
        "text to users places new items where the same collaborative model finds them", TEXT_TO_USERS, "cold",
        _filterllm(), _classic("BPR", **FACTORS), measures.recall_at(5), 0.5,
    ),
    Claim(
        "a user vocabulary that begins as collaborative vectors learns sooner than a random one", TEXT_TO_USERS, "cold",
        _filterllm(), _filterllm(init="random"), measures.audience_recall(10), 0.2,
    ),
    Claim(
        "without the released ReLU the guidance can be met", TEXT_TO_USERS, "cold",
        _filterllm(), _filterllm(relu=True), measures.guidance_gap, 0.4, shrinks=True,
    ),
    Claim(
        "one forward places a new item where judgement takes one per kept user", TEXT_TO_USERS, "cold",
        _filterllm_asking, _coldllm, measures.calls_per_new_item, 1 / 30, shrinks=True,
    ),
    Claim(
        "judged users place new items where the same collaborative model finds them", JUDGED, "cold",
        _coldllm, _classic("IALS"), measures.recall_at(5), 0.5,
    ),
    Claim(
        "neighbours see a pattern that popularity cannot", "Deshpande and Karypis 2004", "checkerboard",
        _classic("ItemKNN"), _classic("Popular"), measures.recall_at(3), 0.3,
    ),
    Claim(
        "ids tell twins apart that read alike", STECK, "twins",
        _classic("EASE", **EASE), _text, measures.recall_at(6), 0.3,
    ),
    Claim(
        "the last item decides, co-occurrence does not see it", "Rendle et al. 2010", "order",
        _classic("Markov"), _classic("EASE", **EASE), measures.recall_at(1), 0.3,
    ),
    Claim(
        "the popular is wrong (EASE)", STECK, "trap",
        _classic("EASE", **EASE), _classic("Popular"), measures.recall_at(3), 0.3,
    ),
    Claim(
        "the popular is wrong (item-kNN)", "Deshpande and Karypis 2004", "trap",
        _classic("ItemKNN"), _classic("Popular"), measures.recall_at(3), 0.3,
    ),
    Claim(
        "what goes with an item is not what reads like it", "Rendle et al. 2010", "complements",
        _classic("Markov"), _text, measures.recall_at(4), 0.3,
    ),
    Claim(
        "where taste turned, only recent events count", "Ludewig and Jannach 2018, arXiv:1803.09587", "drift",
        _classic("ItemKNN", last=3), _classic("ItemKNN"), measures.recall_at(5), 0.2,
    ),
    Claim(
        "self-play spreads what supervised tuning gave to a few items", SPREC, "trap",
        _sprec(), _sprec(rounds=0), measures.concentration, 0.75, shrinks=True,
    ),
    Claim(
        "preferring over random items does not", SPREC, "trap",
        _sprec(), _sprec(negatives="uniform"), measures.concentration, 0.75, shrinks=True,
    ),
    Claim(
        "a determinant shows more kinds than relevance alone", CHEN, "drift",
        _diversity(direction="fixed", strength=0.5), _diversity(direction="fixed", strength=0.0),
        measures.kinds_shown, 2.0,
    ),
    Claim(
        "following taste varies the lists of broad users most, exploring those of narrow ones", CALIBRATED, "drift",
        _diversity(direction="follow", ridge=0.1), _diversity(direction="explore", ridge=0.1),
        measures.kinds_for_broad_taste, 1.5,
    ),
    Claim(
        "a calibrated list has the history's mix", CALIBRATED, "drift",
        _diversity(how="calibrated", direction="fixed", strength=0.9),
        _diversity(how="calibrated", direction="fixed", strength=0.0),
        measures.miscalibration, 0.3, shrinks=True,
    ),
    Claim(
        "a transformer reads the order", "Kang and McAuley 2018, arXiv:1808.09781", "order",
        _classic("SASRec", **SASREC), _classic("EASE", **EASE), measures.recall_at(1), 0.3,
    ),
    Claim(
        "a store of texts brings items into a talk that the recommender never saw", "Gao et al. 2023, arXiv:2303.14524",
        "cold", _chatrec(True), _chatrec(False), measures.found_in_talk, 0.3,
    ),
    Claim(
        "a candidate finds in the history what speaks for it", "Zhou et al. 2018, arXiv:1706.06978", "checkerboard",
        _classic("DIN", batch=32, rate=0.005), _classic("Popular"), measures.auc_of_later_cases, 0.25,
    ),
    Claim(
        "simulated users tell what suits them from what does not", AGENT, "cold",
        _agent(measures.plain), _agent(measures.biased), measures.told_apart, 0.3,
    ),
    Claim(
        "the rule-based twin tells what suits it from what does not", AGENT, "checkerboard",
        _agent(None), _agent(None, blind=True), measures.told_apart, 0.3,
    ),
    Claim(
        "simulated users are happier with a recommender that knows them", AGENT, "checkerboard",
        _classic("ItemKNN"), _classic("Random"), measures.satisfaction_of_twins, 1.0,
    ),
    Claim(
        "64 labelled histories teach a model what it did not know", "Bao et al. 2023, arXiv:2305.00447", "order",
        _tallrec(64), _tallrec(0), measures.auc_of_later_cases, 0.2,
    ),
    Claim(
        "mapped collaborative vectors tell twins apart that read alike", COLLM, "twins",
        _collm(), _collm(cf=None), measures.auc_of_later_cases, 0.12,
    ),
    Claim(
        "what is mapped must be known: as many random numbers tell nothing", COLLM, "twins",
        _collm(), _collm(vectors="random"), measures.auc_of_later_cases, 0.12,
    ),
    Claim(
        "queries of a tuned model find what those of the same model as it is do not", GPT4REC, "order",
        _gpt4rec_tuned(4), _gpt4rec_tuned(0), measures.recall_at(5), 0.4,
    ),
    Claim(
        "more queries show more kinds", GPT4REC, "drift", _gpt4rec(queries=4), _gpt4rec(queries=1),
        measures.kinds_found, 0.5,
    ),
    Claim(
        "a model tuned on next titles knows which comes next", GENREC, "order",
        _genrec(5), _genrec(0), measures.recall_at(5), 0.25,
    ),
    Claim(
        "inside the catalog the same weights find what they miss in free words", "RecLM-cgen, arXiv:2505.03336",
        "order", _genrec(3), _genrec(3, decode="free"), measures.recall_at(5), 0.15,
    ),
)  # fmt: skip
"""One row per claim."""
