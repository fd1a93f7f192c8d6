from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from hexarec.classic import EASE, ItemKNN
from hexarec.core import IdTable, PerUser
from hexarec.eval.experiment import command_line
from hexarec.eval.opening import pipeline_of
from hexarec.eval.told import local_cut, options_told
from hexarec.lm.fake import Overlap
from hexarec.lm.open import open_lm


def test_only_what_is_not_a_default_is_told():
    assert options_told(EASE()) == {"system": "EASE"}
    assert options_told(ItemKNN(last=3)) == {"system": "ItemKNN", "last": "3"}


def test_a_pipeline_by_dotted_names_with_its_models_by_spec():
    config = {"retrieve": [{"use": "popular"}, {"use": "itemknn", "neighbours": 7}],
              "rank": {"use": "llmrank", "lm": "fake:overlap", "rounds": 1}}  # fmt: skip
    made = options_told(pipeline_of(config))
    assert made["retrieve_by.1"] == "Popular" and made["retrieve_by.2.neighbours"] == "7"
    assert made["rank_by"] == "LLMRank" and made["rank_by.lm"] == "fake:overlap" and made["rank_by.rounds"] == "1"
    assert "rank_by.history" not in made


def test_long_values_are_cut():
    class Long:
        id = "x" * 1_000

    assert len(options_told(ItemKNN(similarity=Long()))["similarity"]) == 200


def test_data_that_a_system_holds_is_told_by_its_number_and_never_copied():
    @dataclass
    class Reads:
        lines: tuple[Any, ...] = ()

    @dataclass
    class Line:
        text: str

    lines = tuple(Line(f"words of somebody {n}") for n in range(100))
    one, other = (options_told(Reads(read)) for read in (lines, (*lines[:-1], Line("another"))))
    assert list(one) == ["system", "lines"] and one["lines"].startswith("100 x Line, ")
    assert "somebody" not in str(one) and one != other
    assert options_told(Reads(lines[:2]))["lines.2.text"] == "words of somebody 1"


def test_of_a_path_only_the_last_name_is_told(tmp_path):
    assert options_told(ItemKNN(similarity=str(tmp_path / "made")))["similarity"] == "made"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("/tmp/x.toml", "x.toml"),
        ("/tmp/my own/x.toml", "x.toml"),
        ("--config=/tmp/my own/x.toml", "--config=x.toml"),
        ("-c/abs/x.toml", "-cx.toml"),
        ("gguf:/root/.cache/x.gguf", "gguf:x.gguf"),
        ("hf:/home/me/dir/", "hf:dir"),
        ("hf:C:\\Users\\me\\dir", "hf:dir"),
        ("file:///home/me/x.csv", "file:x.csv"),
        ("~/secret/x", "x"),
        ('{"user": "/home/me/a.csv"}', '{"user": "a.csv"}'),
        ("openai:http://user:pw@host:8000/v1#m", "openai:http://host:8000/v1#m"),
        ("openai:https://host/v1?api_key=SECRET#m", "openai:https://host/v1#m"),
        ("openai:http://host/v1#/models/mine", "openai:http://host/v1#mine"),
        ("hf:smollm2", "hf:smollm2"),
        ("runs/a", "runs/a"),
        ("--seeds=0,1", "--seeds=0,1"),
        ("like or not / neither", "like or not / neither"),
    ],
)
def test_of_paths_the_last_name_and_of_addresses_no_secret(given, told):
    assert local_cut(given) == told
    assert command_line(["/usr/bin/hexarec", given]) == f"hexarec {told}"


@dataclass
class Holds:
    what: Any = None


def told_of(value):
    return options_told(Holds(value))["what"]


def test_models_are_told_without_folders_and_passwords(tmp_path):
    model = Overlap()
    model.spec = f"gguf:{tmp_path}/x.gguf"
    assert told_of(model) == "gguf:x.gguf"
    lm = open_lm("openai:http://user:pw@127.0.0.1:9/v1?api_key=SECRET#m")
    assert told_of(lm) == "openai:http://127.0.0.1:9/v1#m"


def test_paths_inside_containers_are_cut_as_well():
    for value in (["/a/b"], ("/a/b",), {"x": "/a/b"}, {"/a/b"}, {"x": [("file:///a/b",)]}, np.array(["/a/b"])):
        assert "/a" not in told_of(value) and "b" in told_of(value)
    assert told_of((1, 2.5, "x")) == "(1, 2.5, 'x')" and told_of({"a": None}) == "{'a': None}"


def test_data_in_any_container_is_told_by_its_number_and_a_hash():
    words = [f"words of somebody {n}" for n in range(100)]
    kinds = [
        words,
        tuple(words),
        dict.fromkeys(words, 1),
        set(words),
        np.array(words),
        {"all": words},
        [words[:20]] * 2,
    ]
    for value in kinds:
        assert "somebody" not in told_of(value) and " x " in told_of(value)
    assert told_of(words) != told_of(words[::-1]) and told_of(set(words)) == told_of(set(words[::-1]))
    for value in ("\n".join(words).encode(), IdTable.of(words), PerUser.of(IdTable.of(words), np.ones((100, 1)))):
        assert "somebody" not in told_of(value)
