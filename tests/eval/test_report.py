import json
import math

import numpy as np
import pytest

from hexarec.core import DataError, Lists
from hexarec.eval.cells import Cell
from hexarec.eval.report import Report, Row, Value, position_curve, read_report
from hexarec.metrics import Measured


def cell(system, seed=0, **more):
    return Cell(system, seed, Lists.of("k", [[0, 1]] * 40), 1.0, 4.0, {}, {"calls": 80, "cost": 0.5}, **more)


def report(values, baseline=None, simulated=False, seeds=(0,)):
    cells = [cell(name, seed) for name in values for seed in seeds]
    table = {(name, seed): dict(metrics) for name, metrics in values.items() for seed in seeds}
    return Report.of("title", cells, table, baseline, {"data": "d"}, simulated)


def constant(value, n=40):
    return np.full(n, float(value))


def test_the_best_floor_is_the_baseline_unless_one_is_named():
    values = {
        "random": {"recall@10": constant(0.1)},
        "popular": {"recall@10": constant(0.3)},
        "mine": {"recall@10": constant(0.9)},
    }
    assert report(values).baseline == "popular"
    assert report(values, "random").baseline == "random"
    assert report({"a": values["mine"]}).baseline == "a"
    with pytest.raises(DataError, match="'ease' is not among the systems"):
        report(values, "ease")


def test_holm_makes_a_mark_harder_to_earn_with_more_systems():
    draw = np.random.default_rng(0)
    base = draw.random(40)
    better = base + np.where(np.arange(40) < 29, 0.1, -0.13)
    alone = report({"popular": {"ndcg@10": base}, "mine": {"ndcg@10": better}}, "popular")
    others = {f"noise{i}": {"ndcg@10": base + draw.normal(0, 0.3, 40)} for i in range(12)}
    crowd = report({"popular": {"ndcg@10": base}, "mine": {"ndcg@10": better}, **others}, "popular")
    p_alone, p_crowd = (
        next(row for row in made.rows if row.system == "mine").values["ndcg@10"].p for made in (alone, crowd)
    )
    assert p_alone < 0.05 and p_crowd > p_alone
    assert next(row for row in alone.rows if row.system == "popular").values["ndcg@10"].p is None


def test_users_without_a_value_are_left_out_and_a_metric_nobody_has_is_nan():
    values = constant(1.0)
    values[:30] = np.nan
    made = report({"popular": {"ndcg@10": values, "recall@10[cold]": constant(np.nan)}})
    row = made.rows[0].values
    assert row["ndcg@10"].mean == 1.0 and math.isnan(row["recall@10[cold]"].mean)
    assert row["recall@10[cold]"].low is None


def test_the_report_survives_json_and_nan_becomes_null(tmp_path):
    made = report(
        {
            "popular": {"ndcg@10": constant(0.5), "coverage@10": Measured(0.25), "recall@10[cold]": constant(np.nan)},
            "mine": {"ndcg@10": constant(0.7), "coverage@10": Measured(float("nan"))},
        },
        simulated=True,
        seeds=(0, 1),
    )
    made.write(tmp_path)
    text = (tmp_path / "report.json").read_text()
    assert "NaN" not in text and json.loads(text)["rows"][1]["metrics"]["coverage@10"]["mean"] is None
    back = read_report(tmp_path)
    assert back.simulated and back.title == made.title and back.metrics == made.metrics
    assert back.rows[0].values["ndcg@10"] == made.rows[0].values["ndcg@10"]
    assert back.rows[0].costs == made.rows[0].costs
    assert math.isnan(back.rows[1].values["coverage@10"].mean)
    assert math.isnan(back.rows[0].values["recall@10[cold]"].by_seed[0])
    back.write(tmp_path / "again")  # what was read can be drawn
    assert (tmp_path / "again" / "report.json").read_text() == text and not list(tmp_path.glob(".*"))


def test_costs_are_per_list():
    costs = report({"mine": {"ndcg@10": constant(1)}}).rows[0].costs
    assert costs["ms/list"] == 100.0 and costs["calls"] == 2.0 and costs["usd"] == 0.0125 and costs["fit_s"] == 1.0


def test_what_is_no_report_is_named(tmp_path):
    with pytest.raises(DataError, match="there is no report"):
        read_report(tmp_path)
    (tmp_path / "report.json").write_text("[1")
    with pytest.raises(DataError, match="not a report"):
        read_report(tmp_path)
    (tmp_path / "report.json").write_text('{"title": "x"}')
    with pytest.raises(DataError, match="report.json"):
        read_report(tmp_path)


def test_the_position_curve_counts_who_stayed_in_the_top_by_place():
    lists = Lists.of("k", [[5, 6], [7, 6]])
    notes = (
        {"orders": [[5, 9]], "rounds": [[2.0, 1.0]]},
        {"orders": [[9, 7], [7, 9]], "rounds": [[1.0, 2.0], [3.0, 3.0]]},
    )
    curve = position_curve(Lists(**{**vars(lists), "notes": notes}), k=1)
    # the round's own order counts, whatever became of the merged list; equal scores share the place
    assert curve["place"] == [0, 1] and curve["rate"] == [1.5 / 3, 1.5 / 3] and curve["shown"] == [3, 3]
    assert position_curve(lists) == {}


def test_a_report_without_systems_is_still_one():
    assert Report("t", (), "", {}).metrics == []
    assert Report("t", (Row("a", {"x": Value(1.0)}, {}),), "a", {}).metrics == ["x"]


def test_every_two_systems_are_compared_on_the_first_metric():
    draw = np.random.default_rng(0)
    base = draw.random(40)
    values = {
        "popular": {"recall@10": base, "ndcg@10": base},
        "mine": {"recall@10": base, "ndcg@10": base + 0.5},
        "other": {"recall@10": base, "ndcg@10": base},
    }
    made = report(values)
    p = {(a, b): value for a, b, value in made.pairs["p"]}
    assert made.pairs["metric"] == "ndcg@10" and set(p) == {
        ("popular", "mine"),
        ("popular", "other"),
        ("mine", "other"),
    }
    assert p["popular", "mine"] < 0.05 and p["popular", "other"] == 1.0
    assert Report.from_json(json.loads(json.dumps(made.as_json()))).pairs == made.pairs
    assert report({"a": {"coverage@10": Measured(0.5, None)}}).pairs == {}
