"""Prompts side by side in a block, as on a GPU, against one after the other."""

import numpy as np
import pytest
import torch

from hexarec.lm.base import SLOT, Prompt
from hexarec.lm.hf import decode, padded
from hexarec.lm.hf.attention import Prefix, Span
from hexarec.lm.hf.engine import HF, ROWS
from hexarec.lm.hf.padded import Padded, block
from hexarec.lm.hf.stepping import Steps, gather, groups

HISTORY = "The user liked these films: " + ", ".join(f"Film {n} ({1950 + n})" for n in range(12)) + ". Next: "
TITLES = ["Toy Story (1995)", "Toy Soldiers (1991)", "Heat (1995)", "The Godfather (1972)", "The Godfather", "Fargo"]
PROMPTS = [Prompt.plain(HISTORY[n:], max_tokens=6) for n in (0, 30, 17, 60)]
CHOICES = [TITLES, TITLES[:2], [], [*TITLES, ""]]


def counted(monkeypatch, kind):
    """The layers in which attention of this kind was asked for."""
    seen, attend = [], kind.attend
    monkeypatch.setattr(kind, "attend", lambda self, layer, *rest: (seen.append(layer), attend(self, layer, *rest)))
    return seen


def pair(folder, monkeypatch, **options):
    """An engine that goes from prompt to prompt, one that has them side by side, and how often the latter did."""
    seen = counted(monkeypatch, Padded)
    single, beside = (HF(str(folder), dtype="float32", **options) for _ in range(2))
    beside.worker.body.beside = True
    return single, beside, seen


def test_scores_labels_and_states_are_the_same(any_dir, monkeypatch):
    single, beside, seen = pair(any_dir, monkeypatch, prefix_mb=0)
    for one, other in zip(single.score(PROMPTS, CHOICES), beside.score(PROMPTS, CHOICES), strict=True):
        assert np.allclose(one.logprobs, other.logprobs, atol=1e-4)
    assert set(seen) == set(range(beside.worker.body.layers)), "the block was really used"
    asked = [Prompt.plain(f"{p.raw}{title}? Answer Yes or No:") for p in PROMPTS[:2] for title in TITLES]
    assert np.allclose(single.label(asked, ["Yes", "No"]), beside.label(asked, ["Yes", "No"]), atol=1e-4)
    for pool in ("mean", "last"):
        assert np.allclose(single.hidden(PROMPTS, pool=pool), beside.hidden(PROMPTS, pool=pool), atol=1e-4)


def test_what_goes_on_behind_a_block_is_the_same(any_dir, monkeypatch):
    single, beside, seen = pair(any_dir, monkeypatch)
    assert [c.text for c in beside.generate(PROMPTS)] == [c.text for c in single.generate(PROMPTS)]
    tries = [engine.trie(TITLES) for engine in (single, beside)]
    hits = [engine.search(PROMPTS, trie, k=3, beams=4) for engine, trie in zip((single, beside), tries, strict=True)]
    assert [[h.number for h in own] for own in hits[0]] == [[h.number for h in own] for own in hits[1]]
    assert seen


def test_answers_of_unlike_length_go_on_together(any_dir, monkeypatch):
    monkeypatch.setattr(decode, "ROOM", 5)  # the block is made anew
    gathered, stepped, gather = [], counted(monkeypatch, Steps), decode.gather
    monkeypatch.setattr(decode, "gather", lambda own, room: (gathered.append(len(own)), gather(own, room)))
    single, beside, _ = pair(any_dir, monkeypatch)
    prompts = [Prompt.plain(HISTORY[n:], max_tokens=m) for n, m in ((0, 3), (90, 23), (17, 12), (60, 23), (4, 1))]
    prompts += [Prompt.plain(HISTORY, max_tokens=9, temperature=0.8)]
    said = [[(c.text, c.finish, c.tokens_out) for c in engine.generate(prompts)] for engine in (single, beside)]
    assert said[0] == said[1]
    assert len(gathered) >= 2 and max(gathered) == 5
    assert len(stepped) >= 20 * beside.worker.body.layers, "a step is one product for all"
    again = [[c.text for c in engine.generate(prompts)] for engine in (single, beside)]
    assert again[0] == again[1] == [text for text, *_ in said[0]], "what was kept warm is whole"


def test_a_kept_prefix_does_not_hold_the_block(llama_dir, monkeypatch):
    single, beside, seen = pair(llama_dir, monkeypatch)
    for engine in (single, beside):
        engine.score(PROMPTS, CHOICES)
    assert seen and beside.prefixes.size == single.prefixes.size > 0
    for kept in beside.prefixes._kept.values():
        for held in (*kept.prefix.keys, *kept.prefix.values):
            assert held.untyped_storage().nbytes() == held.numel() * held.element_size()
    warm = [engine.score(PROMPTS, [TITLES] * 4) for engine in (single, beside)]
    for one, other in zip(*warm, strict=True):
        assert np.allclose(one.logprobs, other.logprobs, atol=1e-4)


def test_a_short_warm_beginning_is_read_again_in_the_block(llama_dir, monkeypatch):
    _, beside, seen = pair(llama_dir, monkeypatch)
    begin = HISTORY[:60]
    prompts = [Prompt.plain(begin + 60 * end) for end in ("Heat ", "Fargo", "Alien", "Solar")]
    first = beside.score(prompts[:2], [TITLES] * 2)
    seen.clear()
    beside.score(prompts[2:], [TITLES] * 2)
    assert seen, "their common beginning with the others was warm, and short"
    seen.clear()
    again = beside.score(prompts[:2], [TITLES] * 2)
    assert not seen, "whole prompts are warm"
    for one, other in zip(first, again, strict=True):
        assert np.allclose(one.logprobs, other.logprobs, atol=1e-4)


def test_many_nodes_go_in_stretches(llama_dir, monkeypatch):
    single, beside, seen = pair(llama_dir, monkeypatch, prefix_mb=0)
    monkeypatch.setattr(padded, "SCORES", 20_000)
    joined, join = [], Padded._joined
    monkeypatch.setattr(Padded, "_joined", lambda self, *rest: (joined.append(rest[-1].shape[1]), join(self, *rest))[1])
    for one, other in zip(single.score(PROMPTS, [TITLES] * 4), beside.score(PROMPTS, [TITLES] * 4), strict=True):
        assert np.allclose(one.logprobs, other.logprobs, atol=1e-4)
    assert len(joined) > len(seen) > 0, "the nodes of a layer went in several stretches"


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
    ("sizes", "past", "stands"),
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
def test_only_fresh_prompts_of_like_length_stand_side_by_side(sizes, past, stands):
    made = Padded.of(spans(sizes, past), torch.device("cpu"))
    assert (made is not None) == stands
    if made is not None:
        rows = np.concatenate([made.fresh.flatten()[made.back], made.nodes.flatten()[made.nodes_back]])
        assert rows.tolist() == list(range(sum(a + b for a, b in sizes)))


def test_others_stand_beside_each_other_when_one_cannot():
    own = spans([(4, 2), (5, 3), (6, 1), (4, 0)])
    own[2].prefix.length = 9
    made, inside = groups(own, torch.device("cpu"))
    assert inside == {0, 1, 3} and [type(one) for one in made] == [Padded]
    assert made[0].fresh.flatten()[made[0].back].tolist() == [*range(9), *range(15, 19)]


def test_padding_repeats_the_own_prompt():
    rows, back = block(np.array([2, 4, 0]), np.array([5, 10, 7]))
    assert rows.tolist() == [[5, 6, 5, 5], [10, 11, 12, 13], [0, 0, 0, 0]] and back.tolist() == [0, 1, 4, 5, 6, 7]


def test_numbers_that_are_none_stay_with_their_prompt(llama_dir, monkeypatch):
    monkeypatch.setattr(
        "hexarec.lm.hf.engine._finite", lambda vectors: True
    )  # numbers that are none may also come of weights
    single, beside, seen = pair(llama_dir, monkeypatch, prefix_mb=0)
    width = single.worker.body.width
    torn = Prompt(raw=SLOT + " x", vectors=np.full((1, width), np.nan, np.float32))
    good = [Prompt(raw=SLOT + more, vectors=np.full((1, width), 0.1, np.float32)) for more in (" y, and", " z and z")]
    wanted = [row.logprobs for row in single.score(good, [TITLES] * 2)]
    found = beside.score([torn, *good], [TITLES] * 3)
    assert seen and np.isnan(found[0].logprobs).all()
    for one, row in zip(wanted, found[1:], strict=True):
        assert np.allclose(one, row.logprobs, atol=1e-4)


def test_one_long_answer_among_short_ones_makes_no_block(llama_dir, monkeypatch):
    stepped = counted(monkeypatch, Steps)
    single, beside, _ = pair(llama_dir, monkeypatch)
    prompts = [Prompt.plain(6 * HISTORY, max_tokens=3), *(Prompt.plain(f"x{n}", max_tokens=3) for n in range(4))]
    assert [c.text for c in beside.generate(prompts)] == [c.text for c in single.generate(prompts)]
    assert not stepped


def test_steps_of_two_blocks_and_of_a_full_one():
    made = [Prefix(1) for _ in range(5)]
    for prefix in made:
        prefix.add(0, torch.zeros(2, 3, 4), torch.zeros(2, 3, 4))
        prefix.length = 3
    gather(made[:2], 1), gather(made[2:4], 1)
    own = [Span(prefix, slice(n, n + 1), slice(5, 5)) for n, prefix in enumerate(made)]
    found, inside = groups(own, torch.device("cpu"))
    assert inside == {0, 1, 2, 3} and [one.rows.tolist() for one in found] == [[0, 1], [2, 3]]
    for prefix in made[:2]:
        prefix.length = 4
    assert groups(own, torch.device("cpu"))[1] == {2, 3}, "a full block takes no token"


def test_a_prefix_in_a_block_of_others_is_copied_when_it_is_kept():
    made = Prefix(1)
    made.keys, made.values = [torch.zeros(2, 3, 4)], [torch.zeros(2, 3, 4)]
    made.length, made.lent = 3, True
    assert made.head(2).own().keys[0].data_ptr() != made.keys[0].data_ptr()
    assert made.head(2).lent
    made.add(0, torch.zeros(2, 1, 4), torch.zeros(2, 1, 4))
    assert not made.lent, "it has moved to memory of its own"


def test_what_fits_a_forward_follows_the_device(llama_dir):
    assert HF(str(llama_dir), dtype="float32").worker.rows == ROWS["cpu"] < ROWS["cuda"]
    assert HF(str(llama_dir), dtype="float32", rows=99).worker.rows == 99
