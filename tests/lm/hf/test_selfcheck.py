import pytest

from hexarec.lm import models
from hexarec.lm.hf import selfcheck
from hexarec.lm.hf.engine import HF
from hexarec.lm.hf.selfcheck import LENGTH, PROMPTS, Agreement, comparable, compare, told
from hexarec.lm.open import open_lm


def test_common_tokens_and_their_line():
    one = Agreement(PROMPTS[0], True, (1, 2, 3), (1, 2, 4))
    other = Agreement(PROMPTS[1], False, (1, 2), (1, 2))
    assert one.common == 2 and other.common == 2 and Agreement(PROMPTS[0], True, (), (1,)).common == 0
    assert told([one, other]) == "token ids equal in 1 of 2 prompts; greedy tokens in common: 2 of 3, 2 of 2"


def test_only_what_llama_cpp_opens_is_compared(llama_dir, monkeypatch):
    lm = HF(str(llama_dir), dtype="float32")
    monkeypatch.setattr(selfcheck, "find_spec", lambda name: object())
    assert not comparable(lm), "a directory has no gguf beside it"
    lm.name = "hf:smollm2"
    assert comparable(lm)
    monkeypatch.setattr(selfcheck, "find_spec", lambda name: None)
    assert not comparable(lm)


@pytest.mark.slow
def test_ids_and_the_first_greedy_tokens_are_those_of_llama_cpp():
    pytest.importorskip("xllamacpp")
    if "smollm2" not in models.installed():
        pytest.skip("the model smollm2 is not installed: hexarec models install")
    found = compare(open_lm("hf:smollm2", dtype="float32"))
    assert [one.ids_equal for one in found] == [True, True, True]
    assert [one.common for one in found] == [LENGTH] * 3
