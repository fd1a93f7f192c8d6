"""A tiny base for tuning, loaded anew for every test, and examples."""

import pytest

pytest.importorskip("peft", reason="tuning is an extra")

from tests.lm.hf.tinymodels import llama, qwen2, qwen3  # noqa: E402

from hexarec.lm.base import Prompt  # noqa: E402
from hexarec.lm.hf.weights import load  # noqa: E402
from hexarec.parts.train.examples import Example  # noqa: E402


@pytest.fixture(scope="session")
def llama_dir(tmp_path_factory):
    return llama(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="session")
def qwen2_dir(tmp_path_factory):
    return qwen2(tmp_path_factory.mktemp("models") / "qwen2")


@pytest.fixture(scope="session")
def qwen3_dir(tmp_path_factory):
    return qwen3(tmp_path_factory.mktemp("models") / "qwen3")


@pytest.fixture(params=["llama", "qwen2", "qwen3"])
def any_base(request):
    """Each family in turn."""
    return load(str(request.getfixturevalue(f"{request.param}_dir")), dtype="float32", device="cpu")


@pytest.fixture
def base(llama_dir):
    return load(str(llama_dir), dtype="float32", device="cpu")


@pytest.fixture
def examples():
    """Eight prompts of different lengths; the answer alternates."""
    return [
        Example(Prompt.user(f"Will the user like {'Heat, ' * (n % 5)}film {n}?"), "Yes" if n % 2 else "No")
        for n in range(8)
    ]
