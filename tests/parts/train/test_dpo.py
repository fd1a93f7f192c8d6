from collections import defaultdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hexarec.core import DataError, OptionError
from hexarec.lm.base import Prompt
from hexarec.parts.train.dpo import Preferences, dpo, dpo_loss, encode_pairs, reference
from hexarec.parts.train.examples import Form, Pair
from hexarec.parts.train.kinds import LoRA, PromptTuning
from hexarec.parts.train.loop import Plan
from hexarec.parts.train.tunable import Tunable

POLICY = torch.tensor([[-12.5, -14.25], [-3.0, -2.0], [-40.0, -8.5], [-7.75, -7.75]], dtype=torch.float64)
REFERENCE = torch.tensor([[-13.0, -13.5], [-3.5, -2.5], [-35.0, -9.0], [-9.0, -6.25]], dtype=torch.float64)
# what DPOTrainer._compute_loss of TRL 1.16.0 gives for each row, with loss_type "sigmoid"
TRL = {
    0.1: [0.6325990353171691, 0.6931471805599453, 1.0054924814633377, 0.5650706676896001],
    0.5: [0.42870067827651864, 0.6931471805599453, 2.8119675890031988, 0.22541265160164792],
}
# and for the same rows with chosen and rejected changed round
TRL_SWAPPED = {
    0.1: [0.7575990353171691, 0.6931471805599453, 0.4554924814633376, 0.8400706676896001],
    0.5: [1.0537006782765186, 0.6931471805599453, 0.061967589003198625, 1.600412651601648],
}
TRL_MARGIN, TRL_ACCURACY = -0.0375, 0.5  # "rewards/margins" and "rewards/accuracies" at beta 0.1


@pytest.mark.parametrize("beta", TRL)
def test_losses_are_those_of_trl(beta):
    losses, _ = dpo_loss(POLICY, REFERENCE, beta)
    assert losses.tolist() == pytest.approx(TRL[beta], rel=1e-12)
    smoothed, _ = dpo_loss(POLICY, REFERENCE, beta, 0.2)
    wanted = 0.8 * np.array(TRL[beta]) + 0.2 * np.array(TRL_SWAPPED[beta])
    assert smoothed.tolist() == pytest.approx(wanted.tolist(), rel=1e-12)


def test_margins_and_accuracy_are_those_of_trl():
    _, margins = dpo_loss(POLICY, REFERENCE, 0.1)
    assert margins.mean().item() == pytest.approx(TRL_MARGIN)
    assert (margins > 0).double().mean().item() == TRL_ACCURACY


def trl_loss(trl, policy, given, beta):
    """TRL's own code over log-probabilities that are given: a stub for the model, one for its trainer's settings."""
    n = len(policy)
    mask = torch.tensor([[0, 1]] * (2 * n))
    out = SimpleNamespace(
        log_probs=torch.cat([policy[:, 0], policy[:, 1]])[:, None],
        entropy=torch.zeros(2 * n, 1),
        mean_logits=torch.zeros(2 * n, 1),
        is_top1=torch.zeros(2 * n, 1, dtype=torch.bool),
    )
    trainer = SimpleNamespace(
        model=SimpleNamespace(training=False),
        accelerator=SimpleNamespace(device="cpu", gather=lambda x: x, gather_for_metrics=lambda x: x),
        aux_loss_enabled=False, ld_alpha=None, precompute_ref_logps=True, f_divergence_type="reverse_kl",
        loss_types=["sigmoid"], loss_weights=[1.0], beta=beta, label_smoothing=0.0, use_weighting=False,
        _metrics={"eval": defaultdict(list)}, _total_train_tokens=0, _tp_size=1,
    )  # fmt: skip
    inputs = {"input_ids": torch.zeros(2 * n, 2, dtype=torch.long), "completion_mask": mask, "attention_mask": mask}
    inputs |= {"ref_chosen_logps": given[:, 0], "ref_rejected_logps": given[:, 1]}
    return trl.DPOTrainer._compute_loss(trainer, lambda **more: out, inputs, False).item()


@pytest.mark.parametrize("beta", [0.05, 0.1, 1.0])
def test_the_mean_is_what_an_installed_trl_computes(beta):
    trl = pytest.importorskip("trl")
    if not trl.__version__.startswith("1."):
        pytest.skip(f"the inside of TRL {trl.__version__} is another one")
    policy, given = torch.randn(2, 9, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 5
    assert dpo_loss(policy, given, beta)[0].mean().item() == pytest.approx(trl_loss(trl, policy, given, beta), rel=1e-9)


def test_log_two_where_nothing_moved():
    losses, margins = dpo_loss(POLICY, POLICY, 0.3, 0.1)
    assert losses.tolist() == pytest.approx([np.log(2)] * 4) and margins.tolist() == [0.0] * 4


@pytest.mark.parametrize("wrong", [{"beta": 0.0}, {"smoothing": 0.5}, {"smoothing": -0.1}])
def test_values_out_of_range(wrong):
    with pytest.raises(OptionError, match="impossible"):
        dpo_loss(POLICY, REFERENCE, **wrong)


def test_shapes():
    with pytest.raises(OptionError, match="must both be"):
        dpo_loss(POLICY, REFERENCE[:3])
    with pytest.raises(OptionError, match="must both be"):
        dpo_loss(POLICY[:, :1], REFERENCE[:, :1])


PAIRS = [
    Pair(Prompt.user(f"Next for user {n}?"), *(("Heat", "Toy Story") if n % 2 else ("Star Wars (1977)", "Heat")))
    for n in range(6)
]


def by_hand(base, pair, tokens):
    """The summed log-probabilities of both answers by transformers' plain forward."""
    made = []
    for answer in (pair.chosen, pair.rejected):
        start = tokens.prompt(pair.prompt)
        one = tokens.one(answer)
        ids = [*start, *([one] if one is not None else tokens.text(answer)), tokens.end]
        with torch.no_grad():
            odds = base.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        made.append(sum(odds[at - 1, ids[at]].item() for at in range(len(start), len(ids))))
    return made


@pytest.mark.parametrize("kind", [LoRA(dropout=0.0), PromptTuning(4)], ids=lambda kind: kind.name)
def test_the_reference_is_the_base_without_what_is_tuned(base, kind):
    plain = [by_hand(base, pair, Tunable(base, LoRA()).tokens) for pair in PAIRS]
    tunable = Tunable(base, kind)
    for one in tunable.parameters.values():
        one.data.add_(0.2)
    sides = encode_pairs(PAIRS, tunable)
    assert np.allclose(reference(tunable, *sides, tokens=100), plain, atol=1e-4)
    assert not np.allclose(reference(tunable, *sides, start=True), plain, atol=0.1)


def test_it_learns_to_prefer(base):
    tunable = Tunable(base, LoRA(r=8, dropout=0.0), seed=1)
    chosen, rejected = encode_pairs(PAIRS, tunable)
    curve, told = dpo(tunable, chosen, rejected, plan=Plan(epochs=12, batch=6, rate=0.003), beta=0.5)
    assert curve.losses[0] == pytest.approx(np.log(2), rel=1e-4)
    assert curve.losses[-1] < 0.1 * curve.losses[0]
    assert min(told.margins[-6:]) > 1.0 and 0.5 < told.accuracy <= 1.0


def test_tuning_on_from_a_start_that_is_the_reference(base):
    tunable = Tunable(base, LoRA(r=4, dropout=0.0), seed=1)
    for one in tunable.parameters.values():
        one.data.add_(0.05)
    sides = encode_pairs(PAIRS, tunable)
    start = reference(tunable, *sides, start=True)
    curve, _ = dpo(tunable, *sides, plan=Plan(epochs=1, batch=6), given=start)
    assert curve.losses[0] == pytest.approx(np.log(2), rel=1e-4)


def test_a_pair_of_which_one_answer_does_not_fit_is_dropped(base):
    tunable = Tunable(base, LoRA())
    long = Pair(PAIRS[0].prompt, "Heat", "Toy Story " * 40)
    window = max(len(line.ids) for side in encode_pairs(PAIRS, tunable) for line in side.lines)
    chosen, rejected = encode_pairs([long, *PAIRS], tunable, Form(window=window))
    assert chosen.dropped == rejected.dropped == 1
    assert [one.source for one in chosen.lines] == [one.source for one in rejected.lines] == list(range(1, 7))


def test_sides_must_match(base):
    tunable = Tunable(base, LoRA())
    chosen, rejected = encode_pairs(PAIRS, tunable)
    with pytest.raises(DataError, match="must match"):
        Preferences(tunable, chosen, rejected, np.zeros((5, 2), np.float32))
    assert np.isnan(Preferences(tunable, chosen, rejected, np.zeros((6, 2), np.float32)).accuracy)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_beta_and_smoothing_reach_the_loss(base, smoothing):
    tunable = Tunable(base, LoRA(r=4, dropout=0.0), seed=1)
    pairs = [Pair(Prompt.user(f"Next after {n}?"), "Heat", "The Godfather (1972)") for n in range(4)]
    sides = encode_pairs(pairs, tunable)
    given = np.array([[-3.0, -9.0], [-20.0, -1.0], [-5.0, -5.0], [0.0, -30.0]], np.float32)
    objective = Preferences(tunable, *sides, given, 0.5, smoothing)
    with torch.no_grad():
        wanted, _ = dpo_loss(objective.policy(range(4)), torch.from_numpy(given), 0.5, smoothing)
        assert objective.loss(range(4)).item() == pytest.approx(wanted.sum().item(), rel=1e-5)
        other, _ = dpo_loss(objective.policy(range(4)), torch.from_numpy(given), 0.5, 0.3 - smoothing)
    assert abs(other.sum() - wanted.sum()) > 0.1
    curve, _ = dpo(tunable, *sides, plan=Plan(epochs=1, batch=4), beta=0.5, smoothing=smoothing, given=given)
    assert curve.losses[0] == pytest.approx(wanted.mean().item(), rel=1e-5)
