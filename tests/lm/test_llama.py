import os

import pytest

from hexarec.core.errors import MissingExtraError, ModelError
from hexarec.lm import llama


@pytest.mark.parametrize(("busy", "cores", "threads"), [(0.0, 2, 2), (0.7, 2, 2), (1.5, 2, 1), (9.0, 2, 1), (3, 8, 2)])
def test_a_busy_machine_gets_one_thread(monkeypatch, busy, cores, threads):
    monkeypatch.setattr(os, "getloadavg", lambda: (busy, 0.0, 0.0), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert llama.free_threads() == threads


def test_a_system_that_tells_no_load_counts_as_idle(monkeypatch):
    def unknown():
        raise OSError

    monkeypatch.setattr(os, "getloadavg", unknown, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert llama.free_threads() == 2


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    import sys

    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(MissingExtraError, match="local"):
        llama.share(tmp_path / "a.gguf", 256, 1)


def test_a_missing_file_is_named(tmp_path):
    pytest.importorskip("xllamacpp")
    with pytest.raises(ModelError, match="models install"):
        llama.share(tmp_path / "a.gguf", 256, 1)
