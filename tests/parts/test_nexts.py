import numpy as np
import pytest
from tests.core.makers import data_of

from hexarec.core import DataError
from hexarec.parts.nexts import liked_next


def test_what_was_liked_after_something_liked_oldest_first():
    events = [(0, 0, 1.0), (0, 1, 2.0), (0, 2, 3.0), (1, 3, 1.0), (1, 4, 2.5), (0, 0, 4.0), (2, 1, 1.0), (2, 2, 1.0)]
    liked = [True, False, True, True, True, True, True, True]
    made = liked_next(data_of(events, liked=liked))
    # 0: item 1 was not liked, item 0 was met before; 2: both at one moment, nothing before either
    assert made.item.tolist() == [4, 2] and made.queries.user.tolist() == [1, 0]
    assert made.queries.history.item.tolist() == [3, 0, 1] and made.queries.now.tolist() == [2.5, 3.0]
    assert made.take(np.array([1])).item.tolist() == [2]


@pytest.mark.parametrize(
    ("events", "liked"),
    [
        ([(0, 0, 1.0), (1, 1, 2.0)], None),
        ([(0, 0, 1.0), (0, 1, 2.0)], [False, True]),
        ([(0, 0, 1.0), (0, 0, 2.0)], None),
    ],
)
def test_a_log_without_any_is_refused(events, liked):
    with pytest.raises(DataError, match="no user who liked one item after another"):
        liked_next(data_of(events, liked=liked))
