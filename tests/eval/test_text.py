import math

import pytest
from rich.console import Console

from hexarec.eval.report import Report, Row, Value
from hexarec.eval.text import cell, cost, markdown, note, number, table

COSTS = {"fit_s": 1.25, "ms/list": 2.5, "calls": 3.0, "tokens_in": 1234.0, "tokens_out": 5.0, "usd": 0.0012345}


def report(simulated=False):
    plain = Row("popular", {"ndcg@10": Value(0.25, 0.2, 0.3), "recall@10[cold]": Value(math.nan)}, COSTS)
    mine = Row("mine", {"ndcg@10": Value(0.5, 0.4, 0.6, 0.01)}, COSTS, 2, {"weight": 0.25, "curve": [[0.0, 0.1]]})
    curves = {"mine": {"place": [0, 1], "rate": [0.5, 0.25], "shown": [4, 4], "k": 10}}
    return Report("a title", (plain, mine), "popular", {"data": "d"}, simulated, {}, curves)


def test_numbers_that_do_not_apply_are_a_dash():
    assert number(None) == number(math.nan) == "–"
    assert number(0.12345) == "0.1235" and number(12345.6) == "12,346"


def test_a_star_only_below_five_percent():
    assert cell(Value(0.5, p=0.049), interval=False) == "0.5000*"
    assert cell(Value(0.5, p=0.05), interval=False) == "0.5000"
    assert cell(Value(0.5, 0.4, 0.6, None), interval=True) == "0.5000 [0.4000, 0.6000]"
    assert cell(Value(0.5, math.nan, math.nan), interval=True) == "0.5000"
    assert cell(None, interval=True) == "–"


def test_costs_have_a_precision_that_suits_them():
    row = report().rows[0]
    made = [cost(row, name) for name in ("fit_s", "ms/list", "tokens_in", "usd")]
    assert made == ["1.25", "2.5", "1,234", "0.00123"]
    assert cost(Row("x", {}, {**COSTS, "usd": 0.0}), "usd") == "0"


def test_the_note_says_what_is_simulated_and_what_a_star_is_against():
    assert "differs from popular" in note(report()) and "simulated" not in note(report())
    assert "simulated" in note(report(simulated=True))


def test_markdown_holds_slices_what_was_learned_and_the_manifest():
    text = markdown(report())
    assert "| popular | 0.2500 [0.2000, 0.3000] |" in text and "| mine | 0.5000* [0.4000, 0.6000] |" in text
    assert "## Slices" in text and "| popular | – |" in text
    assert "- mine: degraded stages: 2; weight = 0.2500; weight: NDCG@10 on validation = 0: 0.1000" in text
    assert "- mine, k = 10: 0.50 0.25" in text and "- data: d" in text


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_no_number_of_the_table_is_cut_in_a_narrow_terminal(width):
    names = [f"{name}@10" for name in ("recall", "ndcg", "mrr", "coverage", "gini", "novelty")]
    values = {name: Value(0.12345, 0.01111, 0.22222, 0.01) for name in names}
    rows = (Row("itemknn-last3", values, COSTS), Row("a pipeline with a name", values, COSTS))
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table(Report("a title", rows, "itemknn-last3", {})))
    text = console.export_text()
    assert "…" not in text and text.count("0.1235*") == 12 and text.count("[0.0111,") == 2
    assert all(name in text for name in [*names, "fit_calls", "tokens_out"])
    assert text.count("a title") == text.count("95 % bootstrap") == 1
    assert max(map(len, text.splitlines())) <= width


def test_the_terminal_table_has_every_system():
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table(report()))
    text = console.export_text()
    assert "a title" in text and "popular" in text and "0.5000*" in text
