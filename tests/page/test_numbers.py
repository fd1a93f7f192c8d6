"""Numbers as the page writes them."""

import math

import pytest

from hexarec.serve.page import numbers as n

CASES = [
    (n.count, 12345, "12,345"), (n.count, 0, "0"), (n.seconds, 0, "0 ms"), (n.seconds, 0.0005, "0.5 ms"),
    (n.seconds, 0.34, "340 ms"), (n.seconds, 0.9994, "999 ms"), (n.seconds, 0.9996, "1.0 s"), (n.seconds, 1.23, "1.2 s"),
    (n.seconds, 59.96, "1 min 0 s"), (n.seconds, 250, "4 min 10 s"), (n.seconds, 3599.7, "1 h 0 min"),
    (n.seconds, 11_100, "3 h 5 min"), (n.seconds, 187_200, "2 d 4 h"), (n.seconds, 86_399, "1 d 0 h"),
    (n.dollars, 0, "$0"), (n.dollars, 0.0123, "$0.0123"), (n.dollars, 1.2, "$1.20"), (n.dollars, 12_345.6, "$12,346"),
    (n.dollars, 0.00001, "$1.0e-05"), (n.percent, 0.62, "62 %"), (n.percent, 0.003, "0.3 %"), (n.percent, 1, "100 %"),
    (n.number, 0.12345, "0.1235"), (n.number, 1234.5, "1,234"), (n.number, 12.345, "12.35"), (n.number, 1e-9, "1.0e-09"),
    (n.number, -2.5, "-2.500"), (n.number, 1e300, "1.0e+300"), (n.size, 512, "512 B"), (n.size, 12_300, "12.3 kB"),
    (n.size, 4.5e6, "4.5 MB"), (n.size, 9e15, "9000000.0 GB"), (n.moment, 0, "1970-01-01 00:00 UTC"),
    (n.iso, 86_400, "1970-01-02T00:00:00Z"), (n.moment, 1e300, "–"),
]  # fmt: skip


@pytest.mark.parametrize("write, value, text", CASES)
def test_numbers(write, value, text):
    assert write(value) == text


@pytest.mark.parametrize("write", n.FILTERS.values())
@pytest.mark.parametrize("value", [None, math.nan, math.inf, "", "12"])
def test_what_is_missing_is_a_dash(write, value):
    assert write(value) == "–"
