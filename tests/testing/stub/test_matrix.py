"""The fault matrix: every kind of fault against a pipeline with a deadline."""

from collections import Counter

import numpy as np
import pytest

from hexarec.core import StateError
from hexarec.lm.endpoint import Endpoint
from hexarec.testing.stub import FAULTS, GROUPS, Stub

from .cells import ALL, DATA, QUERIES, asked, patience, pipeline

SIZES = {"connect": 8, "time": 7, "status": 9, "body": 13, "meaning": 11, "stream": 7, "machine": 8}


@pytest.fixture(scope="module", autouse=True)
def good():
    """The lists of the same pipeline with nothing wrong; also pays for first imports."""
    found = {}
    with Stub(answer_as="position") as stub:
        for backend in ("list", "choice"):
            lm = Endpoint(f"{stub.url}#stub", can=ALL)
            found[backend] = pipeline(lm, backend).recommend(QUERIES, 5)
            assert found[backend].degraded == ()
    return found


def test_the_matrix_has_63_kinds_in_7_groups():
    assert Counter(fault.group for fault in FAULTS.values()) == SIZES and list(SIZES) == list(GROUPS)


def valid(lists):
    """Whether every question has its 5 items: of the catalog, alive, each once, none excluded."""
    assert lists.lengths.tolist() == [5, 5] and lists.key == DATA.catalog.key
    for one in lists:
        assert len(set(one.items.tolist())) == 5 and DATA.catalog.alive[one.items].all()
    assert len(lists.permitted(QUERIES).items) == 10
    return True


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_valid_list_comes_in_time_and_nothing_bad_is_kept(fault, tmp_path, good):
    cell = asked(fault, tmp_path)
    answer = cell.answer
    assert valid(answer.items) and cell.seconds < patience(fault)
    if fault.harmless:
        same = good["choice" if fault.asks == "label" else "list"]
        assert answer.degraded == () and np.array_equal(answer.items.items, same.items.items)
        assert cell.failures == []
        if fault.name != "machine.disk_full":
            assert cell.lost == 0
            assert np.array_equal(cell.replayed().items.items, answer.items.items)
        return
    assert [(one.stage, one.method) for one in answer.degraded] == [("rank", "LLMRank")]
    assert len(answer.degraded[0].reason) > 10
    assert answer.trace[-1].status in ("degraded", "failed")
    with pytest.raises(StateError, match="not on the cassette"):
        cell.replayed()
