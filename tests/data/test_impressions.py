import numpy as np
import polars as pl

from hexarec.data.impressions import build_exposures

from .makers import log_of

SHOWN = {"user": ["u0", "u1"], "time": ["1700000000", "bad"], "items": [["i0", "i1", "i0"], ["i1"]],
         "gains": [[0.0, 1.0, 1.0], [1.0]], "history": [["i2"], []]}  # fmt: skip


def test_rows_without_a_time_are_left_out_and_repeats_keep_the_larger_gain():
    made, notes = build_exposures(log_of([(0, 0, 1)], 2, 3), pl.DataFrame(SHOWN))
    assert len(made) == 1 and notes == ["1 impressions have no readable time and are left out"]
    assert made.shown.items.tolist() == [0, 1] and made.shown.fields["gain"].tolist() == [1.0, 1.0]
    assert made.queries.history.item.tolist() == [2] and (made.queries.history.time < made.queries.now).all()
    assert np.isnan(made.shown.scores).all()


def test_none_left():
    frame = pl.DataFrame(SHOWN).with_columns(pl.lit("bad").alias("time"))
    assert build_exposures(log_of([(0, 0, 1)], 2, 3), frame)[0] is None
