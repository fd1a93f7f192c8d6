import numpy as np
import pytest

from hexarec.core import DataError, Lists, OptionError
from hexarec.metrics.visits import MEASURES, visit_metrics

SEEN = Lists.of("k", [[1, 2, 3, 4], [5, 6], []])
FIELDS = {"page": [1, 1, 2, 2, 1, 1], "aligned": [1, 1, 0, 0, 1, 0], "watched": [1, 0, 0, 0, 1, 0],
          "liked": [0, 0, 0, 0, 1, np.nan]}  # fmt: skip
for NAME, COLUMN in FIELDS.items():
    SEEN = SEEN.with_field(NAME, np.array(COLUMN, np.float32))


def test_measures_by_hand():
    made = visit_metrics(SEEN, np.array([4.0, 8.0, np.nan]), list(MEASURES))
    assert made["clicks"].values.tolist() == [1, 1, 0] and made["likes"].values.tolist() == [0, 1, 0]
    assert made["yes_rate"].value == 0.5 and made["like_rate"].value == 0.25
    assert made["exit_page"].values[:2].tolist() == [2, 1] and np.isnan(made["exit_page"].values[2])
    assert made["satisfaction"].value == 6.0


def test_rates_divide_by_what_was_looked_at():
    # as released clicks are divided by all pages, seen or not, so who leaves early clicks seldom
    assert visit_metrics(SEEN, np.zeros(3), ["click_rate"])["click_rate"].values[:2].tolist() == [0.25, 0.5]


def test_what_is_not_there_is_refused():
    with pytest.raises(OptionError, match="does not measure visits"):
        visit_metrics(SEEN, np.zeros(3), ["ndcg"])
    with pytest.raises(DataError, match="lack the field"):
        visit_metrics(SEEN.dropping("watched"), np.zeros(3), ["clicks"])
