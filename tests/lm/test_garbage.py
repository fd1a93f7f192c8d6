import numpy as np
import pytest

from hexarec.lm.base import Choice, Prompt
from hexarec.lm.garbage import KINDS, Garbage


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_made_and_encodes_as_utf8(kind):
    made = Garbage(kind).generate([Prompt.user("- a\n[A] one\n[B] two")])[0]
    made.text.encode("utf-8")
    assert made.finish == {"refusal": "refused", "error": "error", "very long": "length"}.get(kind, "stop")


def test_kinds_vary_by_prompt_and_repeat_by_prompt():
    prompts = [Prompt.user(f"question {n}") for n in range(300)]
    first = Garbage().generate(prompts)
    assert first == Garbage().generate(prompts)
    assert {made.finish for made in first} == {"stop", "length", "refused", "error"}
    assert len({made.text for made in first}) > 10


def test_garbage_ignores_constraints_and_its_numbers_are_bad():
    prompts = [Prompt.user(f"question {n}") for n in range(50)]
    assert any(made.text not in ("Yes", "No") for made in Garbage().generate(prompts, Choice(("Yes", "No"))))
    odds = Garbage().label(prompts, ["Yes", "No"])
    assert np.isnan(odds).any() and np.isneginf(odds).any() and np.isfinite(odds).any()
    assert len(Garbage().score(prompts, [["a", "b"]] * 50)) == 50
