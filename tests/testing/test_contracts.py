import sys

import pytest

from hexarec.classic import CLASSIC
from hexarec.core import variant
from hexarec.data.worlds import world
from hexarec.lm.fake import Overlap
from hexarec.lm.open import open_lm
from hexarec.methods import METHODS
from hexarec.pipeline.pipeline import Pipeline
from hexarec.testing import CONTRACTS, Broken, check, contracts_of

from . import broken
from .broken import BREAKS
from .planted import Good, Speaking

# options that keep a row's contracts under a second; everything else is the card's own
SMALL = {
    "sasrec": {"epochs": 2, "width": 8, "hidden": 8, "blocks": 1, "length": 8},
    "lightgcn": {"epochs": 2},
    "din": {"epochs": 2, "width": 8, "attention": (8,), "hidden": (8,)},
    "bpr": {"epochs": 2},
}
STAGES = {card.name: variant(card.make_tiny(), **SMALL.get(card.name, {})) for card in (*METHODS, *CLASSIC)}
WORLDS = {name: world(name) for name in ("trap", "checkerboard")}

# faults of the source that these nets found; each entry goes when the fault does (strict: a mended row fails here)
KNOWN: dict[tuple[str, str], str] = {}


# rows that tune weights keep their contracts in the first world; the second is a slow test
TUNED = frozenset({"collm", "genrec", "gpt4rec", "sprec", "tallrec"})


def rows():
    for where in WORLDS:
        for name, stage in STAGES.items():
            for contract in contracts_of(stage):
                fault = KNOWN.get((name, contract))
                marks = [pytest.mark.xfail(reason=fault, strict=True, raises=Exception)] if fault else []
                marks += [pytest.mark.slow] if name in TUNED and where != "trap" else []
                id_ = f"{where}-{name}-{contract.replace(' ', '_')}"
                yield pytest.param(where, stage, contract, id=id_, marks=marks)


@pytest.mark.parametrize(("where", "stage", "contract"), list(rows()))
def test_every_row_keeps_its_contracts(stage, contract, where):
    CONTRACTS[contract](stage, WORLDS[where])


@pytest.mark.parametrize("backend", ["constrained", "choice", "pointwise", "pairwise", "likelihood", "pmi"])
@pytest.mark.parametrize("contract", ["permutation", "nothing given", "nobody asks", "batch is single", "same seed"])
def test_every_way_of_asking_keeps_the_ranking_contracts(backend, contract):
    CONTRACTS[contract](variant(STAGES["llmrank"], backend=backend, rounds=2), WORLDS["trap"])


@pytest.mark.parametrize("backend", ["constrained", "choice", "pointwise", "pairwise", "likelihood", "pmi"])
def test_every_way_of_asking_survives_any_words(backend):
    CONTRACTS["any words"](variant(STAGES["llmrank"], backend=backend, rounds=1), WORLDS["trap"])


PIPELINE = ("catalog rows", "at most k", "best first", "permutation", "picks", "exclusions", "filters", "tombstones",
            "not yet out", "strangers", "user rows", "nothing given", "nobody asks", "batch is single", "same seed",
            "input untouched", "comes back", "forgets", "no future", "no future at fit")  # fmt: skip


@pytest.mark.parametrize("contract", PIPELINE)
def test_a_pipeline_keeps_the_contracts_of_its_verbs(contract):
    whole = Pipeline((STAGES["ease"], STAGES["popular"]), STAGES["itemknn"], (STAGES["mmr"],), depth=20, strict=True)
    CONTRACTS[contract](whole, WORLDS["trap"])


@pytest.fixture
def loadable(monkeypatch):
    """The planted stages under a name that saved state may load from."""
    monkeypatch.setitem(sys.modules, "hexarec.planted", broken)
    for one in (Good, Speaking, *(cls for group in BREAKS.values() for cls in group)):
        monkeypatch.setattr(one, "__module__", "hexarec.planted")


def planted_stage(cls):
    return cls(open_lm("fake:overlap")) if issubclass(cls, Speaking) else cls()


def test_the_planted_stages_break_nothing_by_themselves(loadable):
    for stage in (Good(), Speaking(Overlap())):
        assert [str(verdict) for verdict in check(stage, WORLDS["trap"]) if not verdict.kept] == []
    assert {*contracts_of(Good()), *contracts_of(Speaking(Overlap()))} == set(CONTRACTS)


@pytest.mark.parametrize("contract", CONTRACTS)
def test_every_contract_finds_the_violation_planted_for_it(contract, loadable):
    for cls in BREAKS[contract]:
        with pytest.raises((Broken, KeyError, IndexError, ValueError, AssertionError)):
            CONTRACTS[contract](planted_stage(cls), WORLDS["trap"])


def test_a_verdict_names_contract_and_reason_and_errors_break_only_their_contract():
    verdicts = {verdict.contract: verdict for verdict in check(broken.Hungry(), WORLDS["trap"])}
    assert not verdicts["nothing given"].kept and "ValueError" in verdicts["nothing given"].reason
    assert str(verdicts["nothing given"]).startswith("BROKEN  nothing given: ")
    assert verdicts["permutation"].kept and str(verdicts["permutation"]) == "kept    permutation"


def test_contracts_follow_the_verbs_a_stage_has():
    names = contracts_of(STAGES["mmr"])
    assert "picks" in names and "fields follow" in names
    assert not {"permutation", "exclusions", "backbone", "explains", "any words"} & set(names)
    assert "extends" in contracts_of(STAGES["popular"]) and "extends" not in contracts_of(STAGES["ease"])
    assert "any words" in contracts_of(STAGES["because"])
