import numpy as np
import pytest
import torch

from hexarec.core import OptionError, run
from hexarec.lm.base import SLOT, Prompt
from hexarec.parts.train.bridge import NAME, Bridge, Shape, mapped, taken
from hexarec.parts.train.examples import Example, encode
from hexarec.parts.train.kept import kept
from hexarec.parts.train.kinds import Frozen, LoRA, PromptTuning
from hexarec.parts.train.loop import Plan
from hexarec.parts.train.sft import sft
from hexarec.parts.train.tunable import Tunable

GIVEN = np.random.default_rng(0).normal(0, 3, (4, 2, 5)).astype(np.float32)
ASKED = Prompt.user(f"User {SLOT}, item {SLOT}. Liked?")


def made(base, shape=None, vectors=GIVEN, seed=1):
    return Bridge.of(shape or Shape(5), base.model.get_input_embeddings().weight, vectors, seed)


def pairs(tunable):
    return encode([Example(ASKED, said) for said in ("Yes", "No", "No", "Yes")], tunable.tokens)


def texts(tunable):
    return encode([Example(Prompt.user("Liked?"), said) for said in ("Yes", "No")], tunable.tokens)


def slots(tunable):
    return lambda rows: tunable.extra[NAME](torch.from_numpy(GIVEN)[list(rows)])


def test_vectors_become_as_long_as_embeddings_whatever_their_scale(base):
    small, large = (made(base, vectors=GIVEN * size)(torch.from_numpy(GIVEN * size)) for size in (0.01, 100.0))
    assert small.shape == (8, 64) and torch.allclose(small, large, atol=1e-5)
    usual = base.model.get_input_embeddings().weight.square().mean().sqrt()
    assert 0.1 * usual < small.square().mean().sqrt() < 2 * usual
    assert made(base, vectors=np.zeros_like(GIVEN)).scale == 1.0


@pytest.mark.parametrize(("kind", "count"), [("mlp", 5 * 50 + 50 + 50 * 128 + 128), ("linear", 5 * 128 + 128)])
def test_the_mlp_is_ten_times_as_wide_and_tokens_follow_each_other(base, kind, count):
    bridge = made(base, Shape(5, kind, tokens=2))
    assert sum(one.numel() for one in bridge.parameters()) == count
    both = bridge(torch.from_numpy(GIVEN))
    assert both.shape == (4 * 2 * 2, 64)
    alone = bridge(torch.from_numpy(GIVEN[1:2, 1:]))
    assert torch.allclose(both[6:8], alone, atol=1e-6)


def test_without_a_mapper_the_numbers_stand_first(base):
    bridge = made(base, Shape(5, "none"))
    row = bridge(torch.from_numpy(GIVEN))[3]
    assert torch.allclose(row[:5], torch.from_numpy(GIVEN[1, 1]) * bridge.scale * bridge.gain) and not row[5:].any()
    assert not list(bridge.parameters())
    for wrong in (Shape(65, "none"), Shape(5, "none", tokens=2)):
        with pytest.raises(OptionError, match="no embedding of 64"):
            made(base, wrong)


def test_learned_rows_begin_as_nothing_or_as_draws_and_row_0_stays_nothing(base):
    zero, drawn = (made(base, Shape(5, rows=7, begun=begun)) for begun in ("zero", "drawn"))
    rows = torch.tensor([[0, 3], [6, 0]])
    assert not zero.learned(rows).any() and drawn.learned(rows)[0, 1].any() and not drawn.learned(rows)[0, 0].any()
    assert made(base).learned(rows) is None
    given = torch.from_numpy(GIVEN[:2])
    assert torch.allclose(zero(given, zero.learned(rows)), zero(given))


def test_equal_seeds_draw_equal_bridges_and_the_global_generator_is_left_alone(base):
    before = torch.random.get_rng_state()
    one, same, other = (made(base, seed=seed).map[0].weight for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert torch.equal(before, torch.random.get_rng_state())


def test_gradients_reach_the_bridge_also_where_the_embeddings_are_a_leaf(base):
    """CoLLM writes mapped vectors into the embeddings in place, which fails as soon as these want a gradient."""
    tunable = Tunable(base, Frozen(), extra={NAME: made(base)})
    hook = base.model.get_input_embeddings().register_forward_hook(lambda *parts: parts[2].detach().requires_grad_())
    before = tunable.state()
    curve = sft(tunable, pairs(tunable), bridge=slots(tunable), plan=Plan(epochs=60, rate=0.01))
    hook.remove()
    assert curve.losses[-1] < 0.5 * curve.losses[0]
    assert all(not torch.equal(before[name], one) for name, one in tunable.state().items())


@pytest.mark.parametrize("kind", [LoRA(r=4, dropout=0.5), PromptTuning(4)], ids=lambda kind: kind.name)
def test_a_held_part_stands_in_the_forward_and_learns_nothing(base, tmp_path, kind):
    first = Tunable(base, kind, seed=3)
    sft(first, texts(first), plan=Plan(epochs=2, rate=0.05))
    first.save(tmp_path / "first")
    whole = {name: one.clone() for name, one in first.tensors().items()}
    first.detach()
    weights = {name: one.clone() for name, one in base.model.named_parameters()}
    second = Tunable(base, kind, extra={NAME: made(base)}, start=tmp_path / "first", held=True)
    assert set(second.parameters) == {f"extra.bridge.map.{n}.{part}" for n in (0, 2) for part in ("weight", "bias")}
    sft(second, pairs(second), bridge=slots(second), plan=Plan(epochs=3, rate=0.05, decay=0.1))
    after = {name: one for name, one in second.tensors().items() if not name.startswith("extra.")}
    assert all(torch.equal(whole[name], after[name]) for name in whole) and set(whole) == set(after)
    named = [one for name, one in base.model.named_parameters() if "lora" in name or name in weights]
    assert all(one.grad is None for one in named)
    assert second.trainable == sum(one.numel() for one in second.extra.parameters())
    second.detach()
    assert all(torch.equal(weights[name], one) for name, one in base.model.named_parameters())


def test_another_held_adapter_takes_no_notice_of_the_checkpoint(base, tmp_path):
    losses = []
    for seed in (1, 2):
        first = Tunable(base, LoRA(r=4), seed=seed)
        with torch.no_grad():
            for one in first.parameters.values():
                one.add_(0.1)
        first.save(tmp_path / f"lora{seed}")
        first.detach()
        with run(scratch=tmp_path / "scratch"):
            tunable = Tunable(base, LoRA(r=4), extra={NAME: made(base)}, start=tmp_path / f"lora{seed}", held=True)
            losses.append(sft(tunable, pairs(tunable), bridge=slots(tunable), plan=Plan(epochs=1), key="k").losses)
            tunable.detach()
    assert losses[0] != losses[1] and len(list((tmp_path / "scratch").iterdir())) == 2


def test_what_is_kept_maps_as_what_was_tuned(base):
    tunable = Tunable(base, LoRA(r=4), extra={NAME: made(base, Shape(5, rows=9, begun="drawn", tokens=2))})
    bridge = tunable.extra[NAME]
    more = bridge.learned(torch.tensor([[1, 2]] * 4))
    want = bridge(torch.from_numpy(GIVEN), more).detach().numpy().reshape(4, 4, 64)
    state = kept(tunable, method="test")
    own, rows = taken(state, bridge.shape)
    assert rows.shape == (9, 5) and not any(name.startswith("extra") for name in state["tensors"]) and state["tensors"]
    assert own["about"]["method"] == "test" and own["shape"]["rows"] == 0
    assert np.allclose(mapped(own, GIVEN, more.detach().numpy()), want, atol=1e-6)
    alone = mapped(own, None, more.detach().numpy())
    assert np.allclose(alone, bridge(None, more).detach().numpy().reshape(4, 4, 64), atol=1e-6)
    assert mapped(own, GIVEN[:0], None).shape == (0, 4, 64)
