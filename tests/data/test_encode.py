import numpy as np
import polars as pl
import pytest

from hexarec.core import DataError, strings
from hexarec.data.encode import as_json, codes, from_series, kind_of, text_series, to_series


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (np.array([1.0, np.nan, np.inf]), "float"),
        (strings(["a", None, ""]), "text"),
        (strings([None, None]), "text"),
        (strings([True, None, False]), "bool"),
        (strings([("a", "b"), None, ()]), "list"),
        (strings(["a", 1, 2.5, True, None, ("x",), (1, (2,))]), "json"),
        (strings([]), "text"),
    ],
)
def test_columns_come_back_as_they_were(column, kind):
    series, found = to_series("c", column)
    back = from_series(series, found)
    assert found == kind == kind_of(column) and back.dtype == column.dtype
    np.testing.assert_array_equal(back, column)
    assert [type(a) for a in back.tolist()] == [type(a) for a in column.tolist()]


def test_what_cannot_be_stored_says_so():
    with pytest.raises(DataError, match="not valid Unicode"):
        text_series("t", ["\ud800"])
    with pytest.raises(DataError, match="not text"):
        text_series("t", [object()])
    with pytest.raises(DataError, match="cannot be stored"):
        as_json({"a": object()}, "f")
    with pytest.raises(DataError, match="unknown kind"):
        from_series(pl.Series("c", ["a"]), "other")


def test_codes():
    assert codes(pl.Series("c", ["b", None, "a"]), ["a", "b"]).tolist() == [1, -1, 0]
    with pytest.raises(DataError, match="'z' is not in its table"):
        codes(pl.Series("c", ["z"]), ["a"])
