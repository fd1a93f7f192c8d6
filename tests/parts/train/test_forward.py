import numpy as np
import pytest
import torch
from tests.lm.hf.tinymodels import saved
from transformers import MistralConfig, MistralForCausalLM

from hexarec.core import DataError, ModelError
from hexarec.lm.base import SLOT, Prompt, Turn
from hexarec.lm.hf.weights import load
from hexarec.parts.train import forward
from hexarec.parts.train.examples import Example, Form, encode
from hexarec.parts.train.kinds import Frozen, LoRA, PrefixTuning, PromptTuning
from hexarec.parts.train.sft import Supervised
from hexarec.parts.train.tunable import Tunable


def padded(model, lines, **more):
    """The logits of each line from one padded batch of transformers' own forward."""
    width = max(len(line.ids) for line in lines)
    ids = torch.zeros(len(lines), width, dtype=torch.long)
    mask = torch.zeros(len(lines), width, dtype=torch.long)
    for n, line in enumerate(lines):
        ids[n, : len(line.ids)] = torch.from_numpy(line.ids)
        mask[n, : len(line.ids)] = 1
    return model(input_ids=ids, attention_mask=mask, **more).logits


def read(logits, lines, shift=0):
    return torch.cat([one[shift + np.flatnonzero(line.loss) - 1] for one, line in zip(logits, lines, strict=True)])


def test_it_equals_transformers_padded_forward(any_base, examples):
    tunable = Tunable(any_base, Frozen())
    lines = encode(examples, tunable.tokens, Form(loss_on="all")).lines
    with torch.no_grad():
        found, targets = forward.states(tunable, lines)
        ours = any_base.model.lm_head(found)
        theirs = read(padded(any_base.model, lines), lines)
    assert targets.tolist() == [token for line in lines for token in line.ids[line.loss]]
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max()


def test_gradients_equal_those_of_the_padded_forward(any_base, examples):
    tunable = Tunable(any_base, LoRA(r=4, dropout=0.0), seed=3)
    lines = encode(examples, tunable.tokens).lines
    with torch.no_grad():
        for one in tunable.parameters.values():
            one.add_(torch.ones_like(one), alpha=0.02)
    grads = []
    for ours in (True, False):
        with tunable.on():
            if ours:
                found, targets = forward.states(tunable, lines)
                logits = any_base.model.lm_head(found)
            else:
                logits = read(padded(any_base.model, lines), lines)
            loss = torch.nn.functional.cross_entropy(logits, targets)
        grads.append(torch.autograd.grad(loss, tuple(tunable.parameters.values())))
    for one, other in zip(*grads, strict=True):
        assert other.abs().max() > 0
        assert (one - other).abs().max() < 1e-5 * max(1.0, float(other.abs().max()))


@pytest.mark.parametrize("short", [0, 512])
@pytest.mark.parametrize("kind", [Frozen(), LoRA(dropout=0.0), PromptTuning(5), PrefixTuning(5)], ids=lambda k: k.name)
def test_a_batch_equals_its_singletons(base, examples, kind, short, monkeypatch):
    monkeypatch.setattr(forward, "SHORT", short)  # both ways of attending
    tunable = Tunable(base, kind)
    lines = encode(examples, tunable.tokens).lines
    with torch.no_grad(), tunable.on():
        batch, _ = forward.states(tunable, lines)
        alone = torch.cat([forward.states(tunable, [line])[0] for line in lines])
    assert (batch - alone).abs().max() < 1e-5


@pytest.mark.parametrize("goal", ["tokens", "labels", "first"])
def test_the_loss_of_a_batch_is_the_mean_over_examples(base, examples, goal):
    tunable = Tunable(base, LoRA(dropout=0.0))
    data = encode(examples, tunable.tokens, Form(labels=("Yes", "No")))
    whole = Supervised(tunable, data, goal, "examples")
    rows = range(len(data))
    alone = [(whole.loss([row]) / whole.weight([row])).item() for row in rows]
    assert whole.loss(rows).item() / whole.weight(rows) == pytest.approx(np.mean(alone), rel=1e-5)
    assert np.std(alone) > 0.01


@pytest.mark.parametrize("weigh", ["tokens", "examples"])
def test_eight_times_one_is_one_times_eight(base, weigh):
    tunable = Tunable(base, LoRA(dropout=0.0))
    answers = ["Yes", "Toy Story", "No", "The Godfather (1972)", "Heat", "No", "Star Wars (1977)", "Fargo"]
    rows = [Example(Prompt.user(f"Next {n}?"), answer) for n, answer in enumerate(answers)]
    objective = Supervised(tunable, encode(rows, tunable.tokens), "tokens", weigh)
    weight, grads = objective.weight(range(8)), []
    for parts in ([range(8)], [[row] for row in range(8)], [[0, 1, 2], [3, 4, 5, 6, 7]]):
        with tunable.on():
            total = sum(objective.loss(part) / weight for part in parts)
        grads.append(torch.cat([g.flatten() for g in torch.autograd.grad(total, tuple(tunable.parameters.values()))]))
    for other in grads[1:]:
        assert (grads[0] - other).abs().max() < 1e-5 * max(1.0, float(grads[0].abs().max()))


def test_vectors_fill_slots_and_receive_gradients(base):
    tunable = Tunable(base, Frozen())
    word = base.model.get_input_embeddings().weight.detach()
    ids = [300, 320]
    text = Prompt(turns=(Turn("user", f"liked {SLOT} and {SLOT}?"),), vectors=word[ids].numpy())
    line = encode([Example(text, "Yes")], tunable.tokens).lines[0]
    plain = line.ids.copy()
    plain[line.slots] = ids
    with torch.no_grad():
        given, _ = forward.states(tunable, [line])
        said = base.model(input_ids=torch.from_numpy(plain[None])).logits[0, -3:-1]
    assert torch.allclose(base.model.lm_head(given), said, atol=1e-4)
    vectors = word[ids].clone().requires_grad_()
    found, _ = forward.states(tunable, [line], vectors)
    assert torch.equal(found, given)
    found.sum().backward()
    assert (vectors.grad.abs().sum(1) > 0).all()


def test_slots_without_vectors_are_refused(base):
    tunable = Tunable(base, Frozen())
    lines = encode([Example(Prompt.user(f"liked {SLOT}?"), "Yes")], tunable.tokens).lines
    with pytest.raises(DataError, match="slots but no vectors"):
        forward.states(tunable, lines)
    with pytest.raises(DataError, match="1 slots for 2"):
        forward.states(tunable, lines, torch.zeros(2, 64))


def test_the_model_is_left_as_it_was(base, examples):
    before = base.model.config._attn_implementation
    tunable = Tunable(base, LoRA())
    lines = encode(examples, tunable.tokens).lines
    with tunable.on():
        forward.states(tunable, lines)
    assert base.model.config._attn_implementation == before


def test_a_sequence_beyond_the_sliding_window_is_refused(examples, tmp_path):
    sizes = {"vocab_size": 512, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "bos_token_id": None, "eos_token_id": 2}
    config = MistralConfig(**sizes, **heads, sliding_window=64)
    windowed = load(str(saved(MistralForCausalLM, config, tmp_path / "mistral")), dtype="float32", device="cpu")
    tunable = Tunable(windowed, Frozen())
    lines = encode(examples, tunable.tokens).lines
    longest = max(len(line.ids) - 1 for line in lines)
    assert longest <= 64
    with torch.no_grad():
        found, _ = forward.states(tunable, lines)
        theirs = read(padded(windowed.model, lines), lines)
        assert (windowed.model.lm_head(found) - theirs).abs().max() < 1e-5 * theirs.abs().max()
        long = Example(Prompt.user("Heat, " * 30), "Yes")
        with pytest.raises(ModelError, match="cannot be tuned without padding"):
            forward.states(tunable, encode([examples[0], long], tunable.tokens).lines)


@pytest.mark.parametrize("heads", [2, 4])
def test_sequences_beside_each_other_give_the_same_with_the_same_gradients(heads):
    draw = torch.Generator().manual_seed(0)
    lengths = [5, 3, 7]
    q, k, v = (
        torch.randn(h, 15, 8, generator=draw, dtype=torch.float64, requires_grad=True) for h in (4, heads, heads)
    )
    made = forward._together(q, k, v, forward.Segments(lengths, beside=torch.device("cpu")).block, 0.3)
    parts = zip(*(one.split(lengths, 1) for one in (q, k, v)), strict=True)
    wanted = torch.cat([forward._causal(*(one[None] for one in own), None, 0.3)[0] for own in parts], 1).transpose(0, 1)
    assert torch.allclose(made, wanted, atol=1e-12)
    slope = torch.randn(made.shape, generator=draw, dtype=torch.float64)
    for one, other in zip(*(torch.autograd.grad(o, (q, k, v), slope) for o in (made, wanted)), strict=True):
        assert torch.allclose(one, other, atol=1e-12)


@pytest.mark.parametrize("kind", [LoRA(dropout=0.0), PromptTuning(5), PrefixTuning(5)], ids=lambda k: k.name)
def test_where_sequences_stand_beside_each_other_the_states_are_the_same(base, examples, kind, monkeypatch):
    tunable, seen = Tunable(base, kind), []
    lines = encode(examples, tunable.tokens).lines
    with torch.no_grad(), tunable.on():
        wanted, _ = forward.states(tunable, lines)
        together = forward._together
        monkeypatch.setattr(forward, "_beside", lambda device: device)
        monkeypatch.setattr(forward, "_together", lambda *rest: (seen.append(1), together(*rest))[1])
        found, _ = forward.states(tunable, lines)
    assert (found - wanted).abs().max() < 1e-5
    assert bool(seen) == (kind.name != "prefix"), "behind a prefix each goes by itself"


def test_mostly_padding_goes_one_by_one():
    place = torch.device("cpu")
    assert forward.Segments([90, 1, 2, 1], beside=place).block is None
    assert forward.Segments([9, 7], beside=place).block is not None and forward.Segments([9, 7]).block is None
