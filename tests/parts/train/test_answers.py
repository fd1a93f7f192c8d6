import numpy as np

from hexarec.eval.standins import Meter
from hexarec.lm.base import Prompt
from hexarec.lm.open import open_lm
from hexarec.parts.train.answers import Taught, tune_answers
from hexarec.parts.train.kinds import LoRA
from hexarec.parts.train.loop import Plan

LM = open_lm("hf:tiny", dtype="float32", prefix_mb=0.0)
PROMPTS = [Prompt.user(f"{name}?", max_tokens=4) for name in ("Heat", "Fargo", "Toy", "War")]
TAUGHT = Taught(PROMPTS, ["Yes", "No", "No", "Yes"])
NONE = Taught([], [])
PLAN = Plan(epochs=20, batch=4, rate=0.02)


def tuned(train=TAUGHT, valid=NONE, **more):
    return tune_answers(LM, LoRA(dropout=0.0), train, valid, **{"plan": PLAN, "about": {"method": "test"}, **more})


def test_what_was_taught_is_answered_through_the_adapter():
    from hexarec.parts.train.kept import placed

    state = tuned()
    asked = [Prompt(turns=one.turns, adapter=placed(state), sample=one.sample) for one in PROMPTS]
    assert [one.text for one in LM.generate(asked)] == list(TAUGHT.answers)
    assert all(np.abs(one).max() > 0 for name, one in state["tensors"].items() if name.endswith(".B"))
    about = state["about"]
    assert (about["examples"], about["dropped"], about["method"], about["valid"]["metric"]) == (4, 0, "test", "none")


def test_validation_is_the_loss_on_held_answers():
    about = tuned(valid=TAUGHT, plan=Plan(epochs=2, batch=4, rate=0.02))["about"]
    assert about["valid"]["metric"] == "-loss" and about["valid"]["cases"] == 4
    assert -about["valid"]["value"] < about["losses"][0]


def test_the_epoch_is_chosen_by_the_held_answers_and_not_by_those_learned_from():
    """Held answers that contradict the learned ones get worse in the end: an epoch before the last one is kept."""
    against = Taught(PROMPTS, ["No", "Yes", "Yes", "No"])
    about = tuned(valid=against, plan=Plan(epochs=12, batch=4, rate=0.02))["about"]
    losses, held = about["losses"], -about["valid"]["value"]
    assert losses == sorted(losses, reverse=True), "learning goes on"
    assert held > 1.5 * losses[-1] and about["valid"]["cases"] == 4


def test_the_loss_is_on_the_answer_alone_unless_all_is_asked_for():
    plan = Plan(epochs=1, batch=4, rate=1e-6)
    answer, everything = (tuned(plan=plan, loss_on=what)["about"]["losses"][0] for what in ("answer", "all"))
    scored = LM.score(PROMPTS, [[one] for one in TAUGHT.answers], closed=True)
    assert np.isclose(answer, -sum(row.logprobs[0] for row in scored) / sum(row.tokens[0] for row in scored), atol=1e-3)
    assert not np.isclose(answer, everything, atol=1e-2)


def test_a_double_only_counts():
    meter = Meter()
    double = meter.stand_in(LM)
    assert tune_answers(double, LoRA(), TAUGHT, NONE, plan=Plan(epochs=3), about={}) is None
    assert next(iter(meter.taken().values())).calls == 12
