"""What only this engine offers, through the wrappers."""

from dataclasses import replace

import numpy as np
import pytest

from hexarec.core import BudgetError, StateError, run
from hexarec.core.run import Budget
from hexarec.lm.base import JsonSchema, Prompt, Sample
from hexarec.lm.cassette import Cassette
from hexarec.lm.fake import Overlap
from hexarec.lm.guard import Guarded, _depth
from hexarec.lm.hf.engine import HF
from hexarec.lm.later import Later
from hexarec.lm.tokentrie import TokenTrie
from hexarec.parts.naming import name_items

TITLES = [f"{name} ({year})" for name in ("Heat", "Fargo", "Toy Story", "Star Wars") for year in range(1990, 2000)]
ASKED = [Prompt.plain(f"The user liked film {n}. Next:") for n in range(3)]


@pytest.fixture(scope="module")
def engine(llama_dir):
    return HF(str(llama_dir), dtype="float32")


def later(engine):
    made = Later("hf:small", can=engine.can)
    made._opened = engine
    return made


WRAPS = [Guarded, Cassette, later, lambda lm: Cassette(Guarded(later(lm)))]


@pytest.mark.parametrize("wrap", WRAPS)
def test_search_slate_and_the_keywords_pass_through(engine, wrap):
    lm = wrap(engine)
    trie, bans = lm.trie(TITLES), [[0], (), [1, 2]]
    wanted = engine.search(ASKED, engine.trie(TITLES), k=3, beams=5, banned=bans)
    for _ in range(2):
        found = lm.search(ASKED, trie, k=3, beams=5, banned=bans)
        assert [[hit.number for hit in own] for own in found] == [[hit.number for hit in own] for own in wanted]
        odds = [[hit.logprob for hit in own] for own in found]
        assert np.allclose(odds, [[hit.logprob for hit in own] for own in wanted], atol=1e-3)
    asked = [replace(one, sample=Sample(max_tokens=5)) for one in ASKED]
    texts = [[one.text for one in own] for own in engine.beam(asked, 3)]
    for _ in range(2):
        assert [[one.text for one in own] for own in lm.beam(asked, 3)] == texts
    numbers = [hit.number for hit in engine.slate(ASKED[0], TITLES, 3)]
    assert [hit.number for hit in lm.slate(ASKED[0], TITLES, 3)] == numbers
    closed = engine.score(ASKED[:1], [["Heat"]], closed=True)[0].tokens
    assert lm.score(ASKED[:1], [["Heat"]])[0].tokens + 1 == lm.score(ASKED[:1], [["Heat"]], closed=True)[0].tokens
    assert closed == lm.score(ASKED[:1], [["Heat"]], closed=True)[0].tokens
    assert np.allclose(lm.label(ASKED, ["Yes", "No"]), engine.label(ASKED, ["Yes", "No"]), atol=1e-3)


@pytest.mark.parametrize("place", range(len(WRAPS)))
def test_titles_are_named_with_one_trie_and_as_the_engine_names_them(engine, place, monkeypatch):
    own = [f"{title} {place}" for title in TITLES]  # the engine knows the tries of titles that were asked before
    built, build = [], TokenTrie.build.__func__
    monkeypatch.setattr(TokenTrie, "build", classmethod(lambda cls, *a: built.append(1) or build(cls, *a)))
    made = name_items(WRAPS[place](engine), ASKED, [own] * 3, k=4, banned=[[n] for n in range(3)])
    wanted = name_items(engine, ASKED, [own] * 3, k=4, banned=[[n] for n in range(3)])
    assert [one.items for one in made] == [one.items for one in wanted] and len(built) == 1


@pytest.mark.parametrize("wrap", [Guarded, Cassette])
def test_a_wrapper_has_no_search_where_its_model_has_none(wrap):
    assert not any(hasattr(wrap(Overlap()), name) for name in ("search", "trie", "slate", "beam"))


def test_a_search_keeps_to_budget_and_deadline(engine):
    lm = Guarded(engine, price_in=1.0, price_out=1.0)
    trie = lm.trie(TITLES)
    with run(budget=Budget(tokens=20_000)) as work:
        lm.search(ASKED, trie, k=2, beams=4)
    assert work.ledger.calls == 3 and work.ledger.cost > 0
    asks = (lambda: lm.search(ASKED, trie, k=2), lambda: lm.slate(ASKED[0], TITLES, 4), lambda: lm.beam(ASKED, 2))
    for ask in asks:
        with run(budget=Budget(tokens=100)) as work, pytest.raises(BudgetError):
            ask()
        with run(budget=Budget(calls=2)), pytest.raises(BudgetError):
            ask()
        assert work.ledger.calls == 0, "nothing was sent"


def test_a_search_takes_no_more_tokens_than_were_set_aside(engine):
    lm, trie = Guarded(engine), engine.trie(TITLES)
    depth = max(len(trie.path(n)) for n in range(len(TITLES)))
    assert _depth(trie) == depth
    with run() as work:
        engine.search(ASKED, trie, k=5, beams=5)
    assert work.ledger.tokens_out <= 3 * 5 * depth
    most = work.ledger.tokens_in + 3 * 5 * depth
    with run(budget=Budget(tokens=most)):
        assert lm.search(ASKED, trie, k=5, beams=5)
    best = [[hit.number for hit in hits] for hits in engine.search(ASKED, trie, k=2)]
    bans = [own[:n] for n, own in enumerate(best)]
    wanted = [[hit.number for hit in hits] for hits in engine.search(ASKED, trie, k=2, banned=bans)]
    with run(budget=Budget(tokens=100_000)):  # in portions, each with its own bans
        made = Guarded(engine).search(ASKED, trie, k=2, banned=bans)
    assert [[hit.number for hit in hits] for hits in made] == wanted


def test_beams_are_replayed_and_their_width_counts(engine, tmp_path):
    path, asked = tmp_path / "tape.jsonl", [replace(ASKED[0], sample=Sample(max_tokens=4))]
    made = Cassette(engine, path).beam(asked, 3)
    again = Cassette(engine, path, "replay")
    assert again.beam(asked, 3) == made and (again.hits, again.misses) == (1, 0)
    with pytest.raises(StateError, match="not on the cassette"):
        again.beam(asked, 2)


def test_json_that_the_length_limit_cut_is_not_good(engine):
    schema = JsonSchema({"type": "array", "items": {"enum": ["Heat", "Fargo"]}, "minItems": 2, "maxItems": 2})
    tape, asked = Cassette(engine), [Prompt.plain("JSON: ", max_tokens=n) for n in (3, 40)]
    for _ in range(2):
        cut, whole = tape.generate(asked, schema)
        assert (cut.finish, cut.good, whole.finish, whole.good) == ("length", False, "stop", True) and cut.text
    assert (tape.misses, tape.hits) == (3, 1)


def test_searches_are_replayed_and_refused(engine, tmp_path):
    path, trie = tmp_path / "tape.jsonl", engine.trie(TITLES)
    made = Cassette(engine, path).search(ASKED, trie, k=2, banned=[[1], [], []])
    again = Cassette(engine, path, "replay")
    assert again.search(ASKED, trie, k=2, banned=[{1}, (), ()]) == made
    for how in ({"k": 3}, {"beams": 5}, {"norm": "local"}, {"banned": [[2], [], []]}):
        with pytest.raises(StateError, match="not on the cassette"):
            again.search(ASKED, trie, **{"k": 2, "banned": [[1], [], []], **how})
    Cassette(engine, path).slate(ASKED[0], TITLES, 2)
    again = Cassette(engine, path, "replay")
    assert len(again.slate(ASKED[0], TITLES, 2)) == 2
    for k, how in ((3, {}), (2, {"beams": 5})):
        with pytest.raises(StateError, match="not on the cassette"):
            again.slate(ASKED[0], TITLES, k, **how)
    with pytest.raises(StateError, match="not on the cassette"):
        again.search(ASKED, engine.trie(TITLES[:-1]), k=2, banned=[[1], [], []])
    with pytest.raises(StateError, match="refused"):
        Cassette(engine, path, "refuse").slate(ASKED[0], TITLES, 2)
