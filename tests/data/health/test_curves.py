import numpy as np

from hexarec.data.health.curves import curves

from ..makers import log_of


def test_curves_are_monotone_and_thin():
    rows = [(u, i, 1.6e9 + u + i) for u in range(300) for i in range(1 + u % 7)]
    made = curves(log_of(rows, 300, 9))
    ranks, counts = made["events per user"]
    assert ranks[0] == 1 and ranks[-1] == 300 and (np.diff(counts) <= 0).all() and len(ranks) <= 200
    shares, events = made["lorenz"]
    assert events[0] == 0 and events[-1] == 1 and (np.diff(events) >= 0).all() and shares[-1] == 1
    edges, bars = made["events over time"]
    assert len(edges) == len(bars) + 1 and bars.sum() == len(rows)


def test_no_events_no_curves_and_no_clock_no_time():
    assert curves(log_of([], 1, 1)) == {}
    assert "events over time" not in curves(log_of([(0, 0, 1)], 1, 1, clock=False))
