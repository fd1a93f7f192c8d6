import numpy as np

from hexarec.core import Lists
from hexarec.parts.greedy import blocks, flattened, greedy, relevance, reordered


class Falling:
    """Values as given; remembers what was taken."""

    def __init__(self, values):
        self.values, self.taken = np.array(values, np.float32), []

    def value(self):
        return self.values.copy()

    def take(self, pick):
        self.taken.append(pick.tolist())


class Never:
    """A rule that keeps place 0 back while anything else is free."""

    def __init__(self):
        self.seen = []

    def allowed(self, free):
        held = free.copy()
        held[:, 0] &= ~free[:, 1:].any(1)
        return held

    def take(self, pick, taken):
        self.seen.append((pick.tolist(), taken.tolist()))


LISTS = Lists.of("k", [[7, 3, 5], [], [2]], [[3.0, 2.0, 1.0], [], [0.0]]).with_field("slot", np.arange(4))


def test_blocks_cover_the_batch_in_order():
    whole = list(blocks(LISTS, 10**6))
    assert len(whole) == 1 and whole[0].items.tolist() == [[7, 3, 5], [0, 0, 0], [2, 0, 0]]
    assert whole[0].real.sum(1).tolist() == [3, 0, 1]
    single = list(blocks(LISTS, 1))
    assert [(b.place.start, b.place.stop) for b in single] == [(0, 1), (1, 2), (2, 3)]
    assert [b.items.tolist() for b in single] == [[[7, 3, 5]], [[0, 0, 0]], [[2, 0, 0]]]


def test_relevance_is_scaled_by_list_and_never_rises():
    made = relevance(np.array([[4.0, 3.0, 2.0], [1.0, np.nan, np.nan], [2.0, 2.0, 2.0]], np.float32))
    np.testing.assert_allclose(made, [[1, 0.5, 0], [1, 2 / 3, 1 / 3], [1, 2 / 3, 1 / 3]], atol=1e-6)


def test_greedy_takes_the_largest_and_the_earlier_of_equals():
    block = next(blocks(LISTS, 10**6))
    objective = Falling([[1, 5, 5], [9, 9, 9], [0, 8, 8]])
    assert greedy(block, 5, objective).tolist() == [[1, 2, 0], [-1, -1, -1], [0, -1, -1]]
    assert len(objective.taken) == 2, "nothing asks what would follow the last pick"
    assert greedy(block, 0, Falling(np.zeros((3, 3)))).shape == (3, 0)


def test_a_rule_decides_what_may_be_picked_and_is_told():
    block, rule = next(blocks(LISTS, 10**6)), Never()
    assert greedy(block, 3, Falling([[9, 1, 2], [0, 0, 0], [1, 0, 0]]), rule)[0].tolist() == [2, 1, 0]
    assert [taken for _, taken in rule.seen] == [[True, False, True], [True, False, False], [True, False, False]]


def test_reordered_keeps_old_scores_and_drops_what_is_untrue():
    picks = [np.array([[2, 0], [-1, -1], [0, -1]])]
    made = reordered(LISTS, *flattened(LISTS, picks), "x")
    assert made.items.tolist() == [5, 7, 2] and made.lengths.tolist() == [2, 0, 1]
    assert made.scores.tolist() == [1.0, 0.5, 1.0] and made.fields["score.before_x"].tolist() == [1.0, 3.0, 0.0]
    assert "slot" not in made.fields
