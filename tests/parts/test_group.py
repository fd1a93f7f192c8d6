import pytest

from hexarec.core import Lists, OptionError
from hexarec.parts.group import HOWS, aggregated

TWO = Lists.of("k", [[1, 2, 3, 4], [4, 3, 2, 1]])


def rows(members, how, k=10):
    return aggregated(members, how, k).items.tolist()


def test_one_member_keeps_their_list():
    one = Lists.of("k", [[7, 3, 9]])
    assert all(rows(one, how) == [7, 3, 9] for how in HOWS)


def test_least_misery_avoids_what_one_puts_last_and_pleasure_takes_it():
    assert set(rows(TWO, "least_misery", 2)) == {2, 3}
    assert set(rows(TWO, "most_pleasure", 2)) == {1, 4}
    assert rows(TWO, "average") == [1, 2, 3, 4]  # all equal on average: by row


def test_what_somebody_lacks_counts_nothing():
    made = aggregated(Lists.of("k", [[1, 2], [2, 5], [2, 1]]), "average", 2)
    assert made.items.tolist() == [2, 1] and made.scores[0] == pytest.approx((0.5 + 1 + 1) / 3)
    assert rows(Lists.of("k", [[1], [2]]), "least_misery") == [1, 2]


def test_empty_lists_and_what_is_refused():
    assert rows(Lists.of("k", [[], []]), "average") == []
    for members, how in ((Lists.empty("k", 0), "average"), (TWO, "loudest")):
        with pytest.raises(OptionError):
            aggregated(members, how, 3)
