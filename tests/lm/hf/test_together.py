"""Prompts side by side in a block, as on a GPU, against one after the other."""

import numpy as np
import pytest
import torch

from hexarec.lm.base import Prompt
from hexarec.lm.hf import decode, together
from hexarec.lm.hf.attention import Prefix, Span
from hexarec.lm.hf.engine import HF
from hexarec.lm.hf.stepping import Steps
from hexarec.lm.hf.together import Together

HISTORY = "The user liked these films: " + ", ".join(f"Film {n} ({1950 + n})" for n in range(12)) + ". Next: "
TITLES = ["Toy Story (1995)", "Toy Soldiers (1991)", "Heat (1995)", "The Godfather (1972)", "The Godfather", "Fargo"]
PROMPTS = [Prompt.plain(HISTORY[n:], max_tokens=6) for n in (0, 30, 17, 60)]
CHOICES = [TITLES, TITLES[:2], [], [*TITLES, ""]]


def pair(folder, monkeypatch, **options):
    """An engine that goes from prompt to prompt, one that has them side by side, and how often the latter did."""
    seen = []
    attend = Together.attend
    monkeypatch.setattr(Together, "attend", lambda self, layer, *rest: (seen.append(layer), attend(self, layer, *rest)))
    single, side = (HF(str(folder), dtype="float32", **options) for _ in range(2))
    side.worker.body.side = True
    return single, side, seen


def test_scores_labels_and_states_are_the_same(any_dir, monkeypatch):
    single, side, seen = pair(any_dir, monkeypatch, prefix_mb=0)
    for one, other in zip(single.score(PROMPTS, CHOICES), side.score(PROMPTS, CHOICES), strict=True):
        assert np.allclose(one.logprobs, other.logprobs, atol=1e-4)
    assert set(seen) == set(range(side.worker.body.layers)), "the block was really used"
    asked = [Prompt.plain(f"{p.raw}{title}? Answer Yes or No:") for p in PROMPTS[:2] for title in TITLES]
    assert np.allclose(single.label(asked, ["Yes", "No"]), side.label(asked, ["Yes", "No"]), atol=1e-4)
    for pool in ("mean", "last"):
        assert np.allclose(single.hidden(PROMPTS, pool=pool), side.hidden(PROMPTS, pool=pool), atol=1e-4)


def test_what_goes_on_behind_a_block_is_the_same(any_dir, monkeypatch):
    single, side, seen = pair(any_dir, monkeypatch)
    assert [c.text for c in side.generate(PROMPTS)] == [c.text for c in single.generate(PROMPTS)]
    tries = [engine.trie(TITLES) for engine in (single, side)]
    hits = [engine.search(PROMPTS, trie, k=3, beams=4) for engine, trie in zip((single, side), tries, strict=True)]
    assert [[h.number for h in own] for own in hits[0]] == [[h.number for h in own] for own in hits[1]]
    assert seen


def test_answers_of_unlike_length_go_on_together(any_dir, monkeypatch):
    monkeypatch.setattr(decode, "ROOM", 5)  # the block is made anew
    gathered, stepped = [], []
    gather, attend = decode.gather, Steps.attend
    monkeypatch.setattr(decode, "gather", lambda own, room: (gathered.append(len(own)), gather(own, room)))
    monkeypatch.setattr(Steps, "attend", lambda self, layer, *rest: (stepped.append(layer), attend(self, layer, *rest)))
    single, side, _ = pair(any_dir, monkeypatch)
    prompts = [Prompt.plain(HISTORY[n:], max_tokens=m) for n, m in ((0, 3), (90, 23), (17, 12), (60, 23), (4, 1))]
    prompts += [Prompt.plain(HISTORY, max_tokens=9, temperature=0.8)]
    said = [[(c.text, c.finish, c.tokens_out) for c in engine.generate(prompts)] for engine in (single, side)]
    assert said[0] == said[1]
    assert len(gathered) >= 2 and max(gathered) == 5
    assert len(stepped) >= 20 * side.worker.body.layers, "a step is one product for all"
    again = [[c.text for c in engine.generate(prompts)] for engine in (single, side)]
    assert again[0] == again[1] == [text for text, *_ in said[0]], "what was kept warm is whole"


def test_a_kept_prefix_does_not_hold_the_block(llama_dir, monkeypatch):
    single, side, seen = pair(llama_dir, monkeypatch)
    for engine in (single, side):
        engine.score(PROMPTS, CHOICES)
    assert seen and side.prefixes.size == single.prefixes.size > 0
    for kept in side.prefixes._kept.values():
        for held in (*kept.prefix.keys, *kept.prefix.values):
            assert held.untyped_storage().nbytes() == held.numel() * held.element_size()
    warm = [engine.score(PROMPTS, [TITLES] * 4) for engine in (single, side)]
    for one, other in zip(*warm, strict=True):
        assert np.allclose(one.logprobs, other.logprobs, atol=1e-4)


def test_a_short_warm_beginning_is_read_again_in_the_block(llama_dir, monkeypatch):
    _, side, seen = pair(llama_dir, monkeypatch)
    begin = HISTORY[:60]
    prompts = [Prompt.plain(begin + 60 * end) for end in ("Heat ", "Fargo", "Alien", "Solar")]
    first = side.score(prompts[:2], [TITLES] * 2)
    seen.clear()
    side.score(prompts[2:], [TITLES] * 2)
    assert seen, "their common beginning with the others was warm, and short"
    seen.clear()
    again = side.score(prompts[:2], [TITLES] * 2)
    assert not seen, "whole prompts are warm"
    for one, other in zip(first, again, strict=True):
        assert np.allclose(one.logprobs, other.logprobs, atol=1e-4)


def test_many_nodes_go_in_stretches(llama_dir, monkeypatch):
    single, side, seen = pair(llama_dir, monkeypatch, prefix_mb=0)
    monkeypatch.setattr(together, "SCORES", 2000)
    for one, other in zip(single.score(PROMPTS, [TITLES] * 4), side.score(PROMPTS, [TITLES] * 4), strict=True):
        assert np.allclose(one.logprobs, other.logprobs, atol=1e-4)
    assert seen


def spans(sizes, past=0):
    made, at = [], 0
    for fresh, _ in sizes:
        made.append(Span(Prefix(1), slice(at, at + fresh), slice(0, 0)))
        made[-1].prefix.length = past
        at += fresh
    for span, (_, nodes) in zip(made, sizes, strict=True):
        span.nodes = slice(at, at + nodes)
        at += nodes
    return made


@pytest.mark.parametrize(
    ("sizes", "past", "side"),
    [
        ([(4, 2), (5, 3)], 0, True),
        ([(4, 0), (5, 0)], 0, True),
        ([(4, 2)], 0, False),
        ([(4, 2), (5, 3)], 7, False),
        ([(4, 2), (0, 3)], 0, False),
        ([(90, 2), (2, 3), (2, 3), (2, 2)], 0, False),
        ([(4, 40), (5, 1), (5, 1), (5, 1)], 0, False),
    ],
)
def test_only_fresh_prompts_of_like_length_stand_side_by_side(sizes, past, side):
    made = Together.of(spans(sizes, past), torch.device("cpu"))
    assert (made is not None) == side
    if made is not None:
        rows = np.concatenate([made.fresh.flatten()[made.back], made.nodes.flatten()[made.nodes_back]])
        assert rows.tolist() == list(range(sum(a + b for a, b in sizes)))
