from dataclasses import dataclass
from typing import Any

from hexarec.classic import EASE, ItemKNN
from hexarec.eval.opening import pipeline_of
from hexarec.eval.told import options_told


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
