import os
import sys

import pytest

from hexarec.cli.shared import typed


@pytest.mark.parametrize(
    ("called", "on_path", "said"),
    [
        (".venv/bin/hexarec", False, ".venv/bin/hexarec init && .venv/bin/hexarec fit --out hexarec-model"),
        (".venv/bin/hexarec", True, "hexarec init && hexarec fit --out hexarec-model"),
        ("pytest", False, "hexarec init && hexarec fit --out hexarec-model"),
    ],
)
def test_next_steps_can_be_typed_as_they_stand(monkeypatch, tmp_path, called, on_path, said):
    if on_path:
        (tmp_path / "hexarec").write_text("#!/bin/sh")
        os.chmod(tmp_path / "hexarec", 0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [called])
    assert typed("hexarec init && hexarec fit --out hexarec-model") == said
