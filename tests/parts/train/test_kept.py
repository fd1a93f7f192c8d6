import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")

import torch  # noqa: E402

from hexarec.core import CapabilityError, ModelError  # noqa: E402
from hexarec.lm.base import Prompt  # noqa: E402
from hexarec.lm.fake import Overlap  # noqa: E402
from hexarec.lm.open import open_lm  # noqa: E402
from hexarec.parts.train.kept import kept, placed, tunable_base  # noqa: E402
from hexarec.parts.train.kinds import LoRA  # noqa: E402
from hexarec.parts.train.tunable import Tunable  # noqa: E402

ASKED = [Prompt.user("Will the user like Heat?"), Prompt.user("And Fargo?")]


@pytest.fixture
def lm(tmp_path, monkeypatch):
    monkeypatch.setenv("HEXAREC_MODELS", str(tmp_path))
    return open_lm("hf:tiny", dtype="float32", prefix_mb=0.0)


def state_of(lm, seed=1):
    tunable = Tunable(tunable_base(lm), LoRA(r=4), seed=seed)
    with torch.no_grad():
        for one in tunable.parameters.values():
            one.add_(0.05 * torch.randn(one.shape, generator=torch.Generator().manual_seed(seed)).to(one))
    made = kept(tunable, note="test")
    tunable.detach()
    return made


def with_adapter(path):
    return [Prompt(turns=p.turns, adapter=path) for p in ASKED]


def test_state_becomes_a_folder_the_engine_reads_and_the_base_stays(lm):
    before = lm.label(ASKED, ["Yes", "No"])
    path = placed(state_of(lm))
    tuned = lm.label(with_adapter(path), ["Yes", "No"])
    assert np.abs(tuned - before).max() > 1e-3
    assert np.array_equal(lm.label(ASKED, ["Yes", "No"]), before)


def test_equal_state_is_one_folder_also_after_it_was_saved(lm):
    state = state_of(lm)
    as_read = {**state, "options": {**state["options"], "targets": list(state["options"]["targets"])}}
    assert placed(state) == placed(as_read) == placed(state_of(lm))
    assert placed(state_of(lm, seed=2)) != placed(state)


def test_a_folder_that_was_lost_is_written_again(lm):
    import shutil

    state = state_of(lm)
    first = lm.label(with_adapter(placed(state)), ["Yes", "No"])
    shutil.rmtree(placed(state))
    assert np.array_equal(lm.label(with_adapter(placed(state)), ["Yes", "No"]), first)


def test_weights_that_are_not_numbers_are_refused(lm):
    state = state_of(lm)
    name = next(iter(state["tensors"]))
    state["tensors"][name] = np.full_like(state["tensors"][name], np.nan)
    with pytest.raises(ModelError, match="not finite"):
        placed(state)


def test_a_model_without_weights_cannot_be_tuned():
    with pytest.raises(CapabilityError, match="no weights") as caught:
        tunable_base(Overlap())
    assert "hf:" in caught.value.hint
