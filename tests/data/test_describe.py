from hexarec.data.describe import describe

from .makers import log_of


def test_facts_in_lines():
    said = describe(log_of([(0, 0, 86400), (0, 1, 172800), (1, 0, 86400)], 2, 3))
    assert said.splitlines()[0] == "tiny" and "2 users, 3 items, 3 events" in said
    assert "1970-01-02 to 1970-01-03" in said and "click 3" in said and "100% titles" in said


def test_order_empty_and_huge_times():
    assert "no clock" in describe(log_of([(0, 0, 1)], 1, 1, clock=False))
    assert "0 events" in describe(log_of([], 0, 0))
    assert "1e+18 s" in describe(log_of([(0, 0, 1e18)], 1, 1))
