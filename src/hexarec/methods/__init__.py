"""The table of contents: one row per method, in the order of the survey. Importing it imports no method."""

from __future__ import annotations

from typing import Any

from hexarec.core import Card


def _tiny_llmrank() -> Any:
    from hexarec.lm.open import open_lm
    from hexarec.methods.llmrank import LLMRank

    return LLMRank(open_lm("fake:overlap"), backend="list", rounds=2)


def _tiny_nir() -> Any:
    from hexarec.lm.open import open_lm
    from hexarec.methods.nir import NIR

    return NIR(open_lm("fake:overlap"), picks=4)


def _tiny_llmtreerec() -> Any:
    from hexarec.lm.open import open_encoder, open_lm
    from hexarec.methods.llmtreerec import LLMTreeRec

    lm = open_lm("fake:overlap")
    return LLMTreeRec(open_encoder("tfidf"), lm, choose="model", leaf=6, branch=4, width=3, per_leaf=2, dim=16)


def _tiny_chatrec() -> Any:
    from hexarec.lm.open import open_encoder, open_lm
    from hexarec.methods.chatrec import ChatRec

    return ChatRec(open_lm("fake:overlap"), open_encoder("tfidf"), candidates=8, shown=3, history=4)


def _tiny_agent4rec() -> Any:
    from hexarec.lm.open import open_lm
    from hexarec.methods.agent4rec import Agent4Rec

    return Agent4Rec(open_lm("fake:overlap"), history=6, recall=2)


def _tiny_tallrec() -> Any:
    from hexarec.lm.open import open_lm
    from hexarec.methods.tallrec import TALLRec

    return TALLRec(
        open_lm("hf:tiny", dtype="float32", prefix_mb=0.0),
        shots=8,
        epochs=1,
        history=3,
        most_valid=8,
        negatives="drawn",
    )


def _tiny_collm() -> Any:
    from hexarec.classic import BPR
    from hexarec.lm.open import open_lm
    from hexarec.methods.collm import CoLLM

    return CoLLM(
        open_lm("hf:tiny", dtype="float32", prefix_mb=0.0),
        BPR(factors=4, epochs=2),
        shots=8,
        negatives="drawn",
        history=3,
        tuning="T1",
        epochs=1,
        map_epochs=1,
        most_valid=8,
    )


def _tiny_gpt4rec() -> Any:
    from hexarec.lm.open import open_lm
    from hexarec.methods.gpt4rec import GPT4Rec

    lm = open_lm("hf:tiny", dtype="float32", prefix_mb=0.0)
    return GPT4Rec(lm, queries=2, history=2, length=8, epochs=1, examples=8, valid=4)


def _tiny_genrec() -> Any:
    from hexarec.lm.open import open_lm
    from hexarec.methods.genrec import GenRec

    lm = open_lm("hf:tiny", dtype="float32", prefix_mb=0.0)
    return GenRec(lm, beams=4, history=2, length=12, epochs=1, examples=8, valid=4)


def _tiny_frozen_encoder() -> Any:
    from hexarec.lm.open import open_encoder
    from hexarec.methods.frozen_encoder import FrozenEncoder

    return FrozenEncoder(open_encoder("tfidf"), dim=16)


def _tiny_sprec() -> Any:
    from hexarec.lm.open import open_lm
    from hexarec.methods.sprec import SPRec

    lm = open_lm("hf:tiny", dtype="float32", prefix_mb=0.0)
    return SPRec(lm, shots=8, epochs=1, rounds=1, pairs=4, history=2, r=2, targets=("q_proj",))


def _tiny_towers() -> Any:
    from hexarec.lm.open import open_encoder
    from hexarec.methods.learn_towers import LearnTowers

    return LearnTowers(open_encoder("tfidf"), width=8, layers=1, out=8, history=8, epochs=2, batch=32)


def _tiny_adaptor() -> Any:
    from hexarec.methods.learn_adaptor import LearnAdaptor

    return LearnAdaptor(_tiny_towers(), width=8, fusion=4, epochs=2)


def _tiny_filterllm() -> Any:
    from hexarec.classic import IALS
    from hexarec.lm.open import open_encoder
    from hexarec.methods.filterllm import FilterLLM

    return FilterLLM(encoder=open_encoder("tfidf"), cf=IALS(factors=8, sweeps=2), epochs=2, most=5)


def _tiny_coldllm() -> Any:
    from hexarec.classic import IALS
    from hexarec.lm.open import open_encoder, open_lm
    from hexarec.methods.coldllm import ColdLLM

    return ColdLLM(open_lm("fake:overlap"), open_encoder("tfidf"), IALS(factors=8, sweeps=2), kept=6, most=3)


METHODS: tuple[Card, ...] = (
    Card(
        name="llmrank",
        where="hexarec.methods.llmrank:LLMRank",
        paper="Hou et al. 2023, ECIR 2024, arXiv:2305.08845",
        title="Zero-shot ranking by a language model",
        stages=("rank",),
        sections=("1.1", "1.2", "1.3"),
        paradigms=frozenset({1}),
        needs=frozenset({"text"}),
        fidelity="paper",
        tiny=_tiny_llmrank,
    ),
    Card(
        name="nir",
        where="hexarec.methods.nir:NIR",
        paper="Wang and Lim 2023, arXiv:2304.03153",
        title="Filtered candidates, three questions, pairs",
        stages=("retrieve", "rank", "explain"),
        sections=("1.1",),
        paradigms=frozenset({1}),
        needs=frozenset({"ratings", "text"}),
        fidelity="paper",
        tiny=_tiny_nir,
    ),
    Card(
        name="llmtreerec",
        where="hexarec.methods.llmtreerec:LLMTreeRec",
        paper="Zhang et al. 2024, COLING 2025, arXiv:2404.00702",
        title="A catalog as a tree whose branches the model chooses",
        stages=("retrieve",),
        sections=("1.3",),
        paradigms=frozenset({1}),
        needs=frozenset({"text", "encoder"}),
        fidelity="paper",
        tiny=_tiny_llmtreerec,
    ),
    Card(
        name="frozen_encoder",
        where="hexarec.methods.frozen_encoder:FrozenEncoder",
        paper="the common part of arXiv:2405.03988, 2305.06566, 2306.10933",
        title="Item text through an encoder nobody trains",
        stages=("enrich", "backbone", "retrieve", "rank"),
        sections=("2.1",),
        paradigms=frozenset({2}),
        needs=frozenset({"text", "encoder"}),
        fidelity="inferred",
        tiny=_tiny_frozen_encoder,
    ),
    Card(
        name="learn_towers",
        where="hexarec.methods.learn_towers:LearnTowers",
        paper="Jia et al. 2024, AAAI 2025, arXiv:2405.03988",
        title="Frozen text vectors, aligned with preference by twin towers",
        stages=("backbone", "retrieve", "rank"),
        sections=("2.1",),
        paradigms=frozenset({2}),
        needs=frozenset({"ratings", "text", "encoder", "torch"}),
        fidelity="reduced",
        tiny=_tiny_towers,
    ),
    Card(
        name="learn_adaptor",
        where="hexarec.methods.learn_adaptor:LearnAdaptor",
        paper="Jia et al. 2024, AAAI 2025, arXiv:2405.03988",
        title="Vectors of towers fused into a ranking score",
        stages=("rank",),
        sections=("2.1",),
        paradigms=frozenset({2}),
        needs=frozenset({"ratings", "torch"}),
        fidelity="inferred",
        tiny=_tiny_adaptor,
    ),
    Card(
        name="filterllm",
        where="hexarec.methods.filterllm:FilterLLM",
        paper="2025, arXiv:2502.16924",
        title="A new item's text to all users in one pass",
        stages=("enrich", "backbone", "retrieve", "rank"),
        sections=("2.1",),
        paradigms=frozenset({2}),
        needs=frozenset({"ratings", "text", "torch"}),
        fidelity="inferred",
        tiny=_tiny_filterllm,
    ),
    Card(
        name="coldllm",
        where="hexarec.methods.coldllm:ColdLLM",
        paper="2024, arXiv:2402.09176",
        title="New items by users that a model judges one by one",
        stages=("enrich", "backbone", "retrieve", "rank"),
        sections=("2.1",),
        paradigms=frozenset({2}),
        needs=frozenset({"ratings", "text", "encoder", "label"}),
        fidelity="inferred",
        tiny=_tiny_coldllm,
    ),
    Card(
        name="tallrec",
        where="hexarec.methods.tallrec:TALLRec",
        paper="Bao et al. 2023, RecSys, arXiv:2305.00447",
        title="A low-rank adapter from a few labelled histories",
        stages=("rank",),
        sections=("3.1",),
        paradigms=frozenset({3}),
        needs=frozenset({"ratings", "text", "label", "weights", "torch"}),
        fidelity="paper",
        tiny=_tiny_tallrec,
    ),
    Card(
        name="collm",
        where="hexarec.methods.collm:CoLLM",
        paper="Zhang et al. 2023, TKDE 2025, arXiv:2310.19488",
        title="Collaborative vectors as input tokens, tuned in two steps",
        stages=("rank",),
        sections=("3.2",),
        paradigms=frozenset({3}),
        needs=frozenset({"ratings", "text", "label", "vectors", "weights", "torch"}),
        fidelity="paper",
        tiny=_tiny_collm,
    ),
    Card(
        name="gpt4rec",
        where="hexarec.methods.gpt4rec:GPT4Rec",
        paper="Li et al. 2023, arXiv:2304.03879",
        title="Search queries from a tuned model, answered by BM25",
        stages=("retrieve", "explain"),
        sections=("4.1",),
        paradigms=frozenset({4}),
        needs=frozenset({"ratings", "text", "weights", "torch"}),
        fidelity="reduced",
        tiny=_tiny_gpt4rec,
    ),
    Card(
        name="genrec",
        where="hexarec.methods.genrec:GenRec",
        paper="Ji et al. 2023, ECIR 2024, arXiv:2307.00457",
        title="The next title, written in the catalog, freely or grounded",
        stages=("retrieve",),
        sections=("4.3",),
        paradigms=frozenset({4}),
        needs=frozenset({"ratings", "text", "weights", "torch"}),
        fidelity="reduced",
        tiny=_tiny_genrec,
    ),
    Card(
        name="chatrec",
        where="hexarec.methods.chatrec:ChatRec",
        paper="Gao et al. 2023, arXiv:2303.14524",
        title="A model in front of a recommender: talk, reasons, ratings",
        stages=("rank", "converse"),
        sections=("5.1",),
        paradigms=frozenset({5}),
        needs=frozenset({"text"}),
        fidelity="inferred",
        tiny=_tiny_chatrec,
    ),
    Card(
        name="agent4rec",
        where="hexarec.methods.agent4rec:Agent4Rec",
        paper="Zhang et al. 2024, SIGIR, arXiv:2310.10108",
        title="Simulated users who look through a recommender page by page",
        stages=("react",),
        sections=("5.4",),
        paradigms=frozenset({5}),
        needs=frozenset({"ratings", "text"}),
        fidelity="paper",
        tiny=_tiny_agent4rec,
    ),
    Card(
        name="sprec",
        where="hexarec.methods.sprec:SPRec",
        paper="Gao et al. 2025, WWW, arXiv:2412.09243",
        title="Self-play: imitates what came next, prefers it to its own answer",
        stages=("retrieve",),
        sections=("6",),
        paradigms=frozenset({6}),
        needs=frozenset({"ratings", "text", "trie", "weights", "torch"}),
        fidelity="paper",
        tiny=_tiny_sprec,
    ),
    Card(
        name="diversity",
        where="hexarec.methods.diversity:Diversity",
        paper="Chen et al. 2018, NeurIPS, arXiv:1709.05135; Steck 2018, RecSys",
        title="Varied lists under a strength per user, with quotas",
        stages=("control", "learn"),
        sections=("6",),
        paradigms=frozenset({6}),
        needs=frozenset({"ratings"}),
        fidelity="inferred",
    ),
)
"""One row per method."""
