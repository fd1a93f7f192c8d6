import pytest
from tests.cli.calls import answer, call, fails

from hexarec.classic import MMR
from hexarec.methods.llmrank import LLMRank
from hexarec.pipeline.build import cards
from hexarec.pipeline.described import field_docs, options_of


def names(*words):
    return {row["name"] for row in answer("methods", "list", *words)}


def test_the_list_holds_everything_and_can_be_narrowed():
    assert names() == set(cards())
    assert names("--paradigm", 1) >= {"llmrank"} and "ease" not in names("--paradigm", 1)
    assert names("--stage", "control") >= {"mmr", "calibrated"}
    assert names("--needs", "encoder") >= {"frozen_encoder"} and "ease" not in names("--needs", "encoder")
    classic = names("--classic")
    assert {"random", "sasrec"} <= classic and not {"llmrank", "fuse"} & classic
    text = call("methods", "list").stdout
    assert "arXiv:2305.08845" in text and "llmrank" in text


def test_unknown_filters_are_refused_with_a_guess():
    assert "did you mean 'control'" in fails("methods", "list", "--stage", "contrl")
    assert "known:" in fails("methods", "list", "--needs", "money")
    assert "did you mean 'llmrank'" in fails("methods", "show", "llmrnk")


@pytest.mark.parametrize("name", sorted(cards()))
def test_every_method_can_be_shown(name):
    made = answer("methods", "show", name)
    assert made["doc"] and made["where"] and all(one["type"] and one["default"] for one in made["options"])


def test_options_have_types_defaults_and_what_the_source_says():
    by_name = {one["name"]: one for one in options_of(LLMRank)}
    assert by_name["lm"]["default"] == "required" and by_name["backend"]["default"] == "'choice'"
    assert by_name["prompts"]["default"].startswith("llmrank")
    assert by_name["history"]["doc"].startswith("events read, newest last")
    assert field_docs(MMR)["share"].startswith("Weight of relevance")
    text = call("methods", "show", "mmr").stdout
    assert "Source: Carbonell" in text and "Literal['log', 'attribute', 'feature']" in text


def test_a_combinator_is_of_no_paper():
    made = {row["name"]: row for row in answer("methods", "list")}
    assert made["fuse"]["fidelity"] == "" and made["fuse"]["title"] == "Several retrievers as one"
    assert made["ease"]["fidelity"] == "paper"
    assert "fidelity" not in call("methods", "show", "blend").stdout


def test_the_grid_is_markdown():
    assert call("methods", "grid").stdout.startswith("| paradigm | ")
