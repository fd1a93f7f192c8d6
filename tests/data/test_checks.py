import polars as pl

from hexarec.data.checks import check_events, check_table, known_kinds
from hexarec.data.tables import event_frame
from hexarec.data.times import parse_times


def checked(**columns):
    frame = event_frame(columns, "f.csv", list(range(2, 2 + len(columns["user"]))))
    return check_events(frame, parse_times(frame["time"]))


def test_one_reason_per_row_with_file_line_column_and_value():
    good, bad = checked(
        user=["a", None, "b", "c" * 1025, "e\0", " f ", "g", "h"],
        item=["x", "x", "", "x", "x", "x", "x", "x"],
        time=["1", "1", "1", "1", "1", "1", "1", "no"],
        value=["1", "1", "1", "1", "1", "abc", "inf", "1e300"],
    )
    assert good["user"].to_list() == ["a"]
    assert bad.select("_line", "column", "reason").rows() == [
        (3, "user", "missing user"), (4, "item", "missing item"), (5, "user", "user id is longer than 1024 bytes"),
        (6, "user", "user id contains a NUL character"), (7, "value", "value is not a number"),
        (8, "value", "value is not a finite number"), (9, "time", "time cannot be read"),
    ]  # fmt: skip
    assert bad["value"][2] == "c" * 77 + "..." and set(bad["_file"]) == {"f.csv"}


def test_ids_are_stripped_and_bytes_are_counted_not_letters():
    good, bad = checked(user=[" a ", "🎬" * 256, "🎬" * 257], item=["x"] * 3, time=["1"] * 3)
    assert good["user"].to_list() == ["a", "🎬" * 256] and len(bad) == 1


def test_first_of_several_rows_with_one_id_is_kept():
    table = pl.DataFrame({"item": ["a", "a", " a", "b", None], "title": ["A", "A", "B", "", ""],
                          "_file": ["f"] * 5, "_line": [1, 2, 3, 4, 5]})  # fmt: skip
    good, bad, repeats = check_table(table, "item")
    assert good["item"].to_list() == ["a", "b"] and good["title"].to_list() == ["A", ""] and repeats == 1
    assert sorted(bad.select("_line", "reason").rows()) == [
        (3, "duplicate item id with other content; the first is kept"), (5, "missing item"),
    ]  # fmt: skip


def test_unknown_kinds_are_clicks_and_counted():
    frame, strange = known_kinds(event_frame({"kind": ["Buy", "teleport", None, "view", "teleport"]}, "f", range(5)))
    assert frame["kind"].to_list() == ["purchase", "click", "click", "view", "click"] and strange == {"teleport": 2}
