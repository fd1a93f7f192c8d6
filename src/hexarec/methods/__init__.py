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


def _tiny_frozen_encoder() -> Any:
    from hexarec.lm.open import open_encoder
    from hexarec.methods.frozen_encoder import FrozenEncoder

    return FrozenEncoder(open_encoder("tfidf"), dim=16)


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
