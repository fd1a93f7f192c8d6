from dataclasses import replace

from hexarec.eval.html import html, plots
from hexarec.eval.report import Report, Row, Value

COSTS = {"fit_s": 0.0, "ms/list": 1.0, "calls": 0.0, "tokens_in": 0.0, "tokens_out": 0.0, "usd": 0.0}
NASTY = '<script>alert("x")</script>'


def report(**more):
    values = {name: Value(0.5, 0.4, 0.6) for name in ("ndcg@10", "recall@10[cold]", "recall@10[warm]")}
    rows = (Row(NASTY, values, COSTS), Row("popular", values, COSTS))
    return replace(Report(f"title {NASTY}", rows, "popular", {"data": NASTY}), **more)


def test_nothing_of_the_data_is_ever_markup():
    page = html(report(), [(NASTY, [f"1. {NASTY}"])])
    assert "<script" not in page and page.count("&lt;script&gt;") >= 5


def test_the_badge_stands_only_where_users_are_simulated():
    assert "simulated: true" not in html(report())
    assert "simulated: true" in html(report(simulated=True))


def test_the_page_needs_nothing_else_and_is_the_same_every_time():
    page = html(report())
    assert "default-src 'none'" in page and 'src="http' not in page and 'href="http' not in page
    assert page == html(report())


def test_a_plot_for_cost_segments_and_position():
    curves = {"mine": {"place": [0, 1], "rate": [0.5, 0.2], "shown": [4, 4], "k": 10}}
    titles = [title for title, _ in plots(report(curves=curves))]
    assert titles == ["accuracy against cost", "by segment: cold and warm", "position bias"]
    assert plots(Report("t", (), "", {})) == []
