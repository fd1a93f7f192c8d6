import polars as pl
import pytest

from hexarec.data.times import parse_times

NOW = 1_800_000_000.0


def read(values, **options):
    return parse_times(pl.Series("t", values, dtype=pl.String), now=NOW, **options)


@pytest.mark.parametrize(
    ("scale", "unit"), [(1, "seconds"), (10**3, "milliseconds"), (10**6, "microseconds"), (10**9, "nanoseconds")]
)
def test_the_unit_is_guessed_from_the_whole_column(scale, unit):
    made = read([str(1_700_000_000 * scale), str(1_600_000_000 * scale)])
    assert made.unit == unit and made.seconds.to_list() == [1_700_000_000.0, 1_600_000_000.0]


@pytest.mark.parametrize(
    "text",
    ["2023-11-14T22:13:20Z", "2023-11-14 22:13:20", "2023-11-14T23:13:20+01:00", "2023-11-14T22:13:20.000+0000",
     "2023/11/14 22:13:20", " 2023-11-14T22:13:20 UTC"],
)  # fmt: skip
def test_iso_8601(text):
    made = read([text])
    assert made.unit == "ISO 8601" and made.seconds.to_list() == [1_700_000_000.0]


def test_days_and_minutes():
    assert read(["2023-11-14", "2023-11-14 00:01"]).seconds.to_list() == [1_699_920_000.0, 1_699_920_060.0]
    made = read(["20231114", "20231201"])
    assert made.unit == "dates (YYYYMMDD)" and made.seconds[0] == 1_699_920_000.0


def test_every_wrong_time_has_its_reason():
    made = read(["1700000000", None, "", "soon", "nan", "inf", "-5", "1900000000", "1700000000000"])
    assert made.reason.to_list() == [
        None, "missing time", "missing time", "time cannot be read", "time is not a finite number",
        "time is not a finite number", "time is negative", "time lies in the future", "time is in milliseconds, the column in seconds",
    ]  # fmt: skip
    assert made.seconds.null_count() == 8


def test_a_day_of_grace_for_clocks_that_run_ahead():
    assert read([str(NOW + 80_000)]).reason.to_list() == [None]
    assert read([str(NOW + 90_000)]).reason.to_list() == ["time lies in the future"]


def test_an_order_is_taken_as_it_is_and_small_seconds_are_suspicious():
    assert read(["-1", "2", "9e15"], clock=False).reason.to_list() == [None] * 3
    assert "order=" in read(["1", "2", "3"]).note


def test_nothing_at_all():
    assert read([]).seconds.to_list() == [] and read([None, ""]).reason.to_list() == ["missing time"] * 2


S, MS = [str(1_600_000_000 + n) for n in range(3)], [str(1_600_000_000_000 + n) for n in range(3)]


@pytest.mark.parametrize(
    ("most", "few", "said"),
    [
        (S, MS[:1], "time is in milliseconds, the column in seconds"),
        (MS, S[:1], "time is in seconds, the column in milliseconds"),
        (S, [MS[0] + "000"], "time is in microseconds, the column in seconds"),
    ],
)
def test_times_of_another_unit_are_refused_and_noted(most, few, said):
    made = read(most + few)
    assert made.reason.to_list() == [None] * 3 + [said] and made.seconds[3] is None
    assert "time units are mixed" in made.note and "1 are not" in made.note
    assert made.seconds[0] == pytest.approx(1_600_000_000, abs=3)


def test_old_moments_and_orders_are_no_other_unit():
    # 1971 among milliseconds is a moment of its own; small numbers are an order
    assert read([*MS, "40000000000"]).reason.to_list() == [None] * 4
    assert read(["1", "2", "3"]).reason.to_list() == [None] * 3 and "mixed" not in read(["1", "2", "3"]).note
