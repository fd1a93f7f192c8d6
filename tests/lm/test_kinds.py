"""The table of engines against the engines themselves."""

import pytest

from hexarec.lm.base import CAPABILITIES
from hexarec.lm.kinds import KINDS
from hexarec.lm.open import _LM, open_lm


def test_every_kind_that_opens_is_in_the_table():
    assert set(KINDS) == set(_LM)
    assert all(kind.can | kind.maybe <= set(CAPABILITIES) for kind in KINDS.values())


def test_doubles_and_endpoints_can_what_the_table_says(monkeypatch, tmp_path):
    monkeypatch.setenv("HEXAREC_MODELS", str(tmp_path))
    assert open_lm("fake:overlap").can == KINDS["fake"].can
    assert open_lm("tiny:x").can == KINDS["tiny"].can
    assert open_lm("openai:x").can == KINDS["openai"].can, "nothing was probed yet"


def test_the_probe_finds_all_that_the_table_leaves_open(monkeypatch, tmp_path):
    from hexarec.lm.probe import probe
    from hexarec.testing.stub import Stub

    monkeypatch.setenv("HEXAREC_MODELS", str(tmp_path))
    with Stub() as stub:
        assert probe(open_lm(f"openai:{stub.url}#stub")) == KINDS["openai"].can | KINDS["openai"].maybe


def test_gguf_and_torch_can_what_the_table_says():
    from hexarec.lm import gguf

    assert gguf.CAN == KINDS["gguf"].can
    pytest.importorskip("torch")
    from hexarec.lm.hf import engine

    assert engine.CAN == KINDS["hf"].can


def test_the_errors_name_the_engines_that_can():
    for name, where in CAPABILITIES.items():
        if "any engine" not in where:
            named = {kind for kind in KINDS if f"{kind}:" in where}
            real = {kind for kind, about in KINDS.items() if name in about.can | about.maybe} - {"fake"}
            assert named == real, name
