"""The small models, written once a session."""

import pytest

pytest.importorskip("transformers", reason="the torch engine is an extra")

from .tinymodels import llama, qwen2, qwen3  # noqa: E402


@pytest.fixture(scope="session")
def llama_dir(tmp_path_factory):
    return llama(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="session")
def qwen2_dir(tmp_path_factory):
    return qwen2(tmp_path_factory.mktemp("models") / "qwen2")


@pytest.fixture(scope="session")
def qwen3_dir(tmp_path_factory):
    return qwen3(tmp_path_factory.mktemp("models") / "qwen3")


@pytest.fixture(scope="session", params=["llama", "qwen2", "qwen3"])
def any_dir(request):
    """Each of the three in turn."""
    return request.getfixturevalue(f"{request.param}_dir")
