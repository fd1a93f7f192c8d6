from hexarec.classic.because import Because
from hexarec.core import Queries
from hexarec.pipeline.pipeline import Pipeline
from hexarec.pipeline.show import TRACE_HEADS, show, trace

from .makers import DATA, QUERIES, Failing, Fixed


def test_an_answer_reads_as_history_items_reasons_and_what_failed():
    answer = Pipeline((Fixed(),), Failing(), (), Because()).fit(DATA).recommend(QUERIES, 3)
    text = show(answer, QUERIES, most=2)
    first = text.split("\n\n")[0].splitlines()
    assert first[0].startswith("u000 liked lately: ") and first[0].count(";") == 4
    assert first[1].startswith("   1. ") and first[1].endswith("(template)") and len(first) == 3
    assert text.splitlines()[-1] == "degraded: rank Failing: ValueError: planted"


def test_somebody_without_history_is_shown_too():
    queries = Queries.one(DATA.catalog)
    lines = show(Pipeline((Fixed(),)).fit(DATA).recommend(queries, 1), queries).splitlines()
    assert lines == ["somebody liked lately: nothing yet", f"   1. {DATA.catalog.titles[41]}"]


def test_a_trace_has_a_row_a_step_and_a_cell_a_heading():
    rows = trace(Pipeline((Fixed(),), Failing()).fit(DATA).recommend(QUERIES, 3))
    assert [row[0] for row in rows] == ["retrieve", "rank"] and rows[1][-1] == "failed"
    assert all(len(row) == len(TRACE_HEADS) for row in rows)
