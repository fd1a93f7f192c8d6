import pytest

from hexarec.core import ModelError
from hexarec.lm.base import LanguageModel, Prompt
from hexarec.lm.fake import Overlap
from hexarec.lm.later import Later

TEXT = frozenset({"text"})


def test_a_model_is_opened_at_its_first_question_and_only_once():
    lm = Later("fake:overlap", can=TEXT, window=9)
    assert isinstance(lm, LanguageModel) and lm.can == TEXT and lm.window == 9 and lm.count(["a b"]).tolist() == [2]
    asked = [Prompt.user("- Alien\n[A] Alien\n[B] Love")]
    assert lm.generate(asked) == Overlap().generate(asked)
    assert lm.open() is lm.open() and lm.can == Overlap().can and lm.window == Overlap().window
    assert lm.label(asked, ["A", "B"]).shape == (1, 2) and len(lm.score(asked, [["a"]])) == 1
    assert "".join(lm.stream(asked[0])) == lm.generate(asked)[0].text and lm.count(["a b"]).tolist() == [2]


def test_a_model_that_does_not_open_fails_its_question_and_may_open_later(tmp_path):
    lm = Later(f"gguf:{tmp_path / 'gone.gguf'}", can=TEXT)
    for _ in range(2):
        with pytest.raises(ModelError):
            lm.generate([Prompt.user("x")])


def test_what_identifies_a_model_opens_it_only_where_its_name_does_not_tell(tmp_path, monkeypatch):
    gone = Later(f"gguf:{tmp_path / 'gone.gguf'}", can=TEXT)
    assert gone.identity(Prompt.user("x")) == gone.name, "a replay needs no model"

    class Told(Overlap):
        def identity(self, prompt):
            return "these weights"

    monkeypatch.setattr("hexarec.lm.open.open_lm", lambda spec: Told())
    assert Later("hf:any", can=TEXT).identity(Prompt.user("x")) == "these weights"


def test_only_hf_tells_its_weights():
    from hexarec.lm.endpoint import Endpoint
    from hexarec.lm.gguf import GGUF
    from hexarec.lm.tiny import Tiny

    assert not any(hasattr(engine, "identity") for engine in (Endpoint, GGUF, Tiny, Overlap)), "Later knows hf: alone"
