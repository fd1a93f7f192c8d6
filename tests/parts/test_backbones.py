from dataclasses import dataclass

import numpy as np
import pytest
from tests.core.makers import data_of

from hexarec.classic import BPR
from hexarec.core import IdTable, Item, LineageError, Lists, Queries, StateError, forget
from hexarec.parts.backbones import OwnVectors, Paired, drawn_vectors, pair_rows, pair_vectors

DATA = data_of([(0, 0, 1.0), (0, 1, 2.0), (1, 2, 3.0), (2, 0, 4.0)])
LISTS = Lists.of("k", [[2, 0], [1], []])
QUERIES = DATA.queries([0, 1, 2])


@dataclass
class Table:
    """Vectors that name their user and item."""

    known: int = 5

    def users(self, queries):
        return np.array([[10.0 + row, 0.0] for row in queries.user], np.float32)

    def items(self):
        return np.array([[0.0, 1.0 + row] for row in range(self.known)], np.float32)


class ByPair:
    def pairs(self, queries, lists):
        one = np.arange(2 * len(lists.items), dtype=np.float32).reshape(-1, 2)
        return one, -one


def test_a_pair_has_its_users_vector_and_its_items():
    made = pair_vectors(Table(), QUERIES, LISTS)
    assert made.tolist() == [[[10, 0], [0, 3]], [[10, 0], [0, 1]], [[11, 0], [0, 2]]]
    assert pair_vectors(Table(known=2), QUERIES, LISTS)[0].tolist() == [[10, 0], [0, 0]]  # item 2 came later


def test_a_stage_whose_user_depends_on_the_item_is_asked_for_pairs():
    assert isinstance(ByPair(), Paired) and not isinstance(Table(), Paired)
    assert pair_vectors(ByPair(), QUERIES, LISTS).tolist() == [
        [[0, 1], [-0.0, -1]],
        [[2, 3], [-2, -3]],
        [[4, 5], [-4, -5]],
    ]


def test_a_stage_that_is_not_fitted_or_of_another_lineage_says_so():
    with pytest.raises(StateError):
        pair_vectors(BPR(), QUERIES, LISTS)
    with pytest.raises(LineageError):
        pair_vectors(Table(), DATA.onto(IdTable.of(["x"], "other")).queries([0]), LISTS)


def test_drawn_vectors_depend_on_ids_alone():
    made = drawn_vectors(QUERIES, LISTS, 50)
    assert made.shape == (3, 2, 50) and np.array_equal(made[0, 0], made[1, 0]) and abs(made.std() - 1) < 0.1
    later = DATA.with_items([Item("new", "New")])
    again = drawn_vectors(later.queries([1, 0]), Lists.of("k", [[0], [2]]), 50)
    assert np.array_equal(again[1], made[0]) and np.array_equal(again[0, 1], made[1, 1])
    assert not drawn_vectors(Queries.one(DATA.catalog), Lists.of("k", [[0]]), 50)[0, 0].any()


def test_own_vectors_are_those_of_the_rows_that_were_learned():
    rows = pair_rows(DATA, QUERIES, LISTS)
    n = DATA.n_users
    assert rows.tolist() == [[1, 1 + n + 2], [1, 1 + n], [2, 1 + n + 1]]
    assert pair_rows(DATA, Queries.one(DATA.catalog), Lists.of("k", [[3]])).tolist() == [[0, 1 + n + 3]]
    table = np.arange(1.0, 1 + n + DATA.n_items + 1, dtype=np.float32)[:, None] * np.ones((1, 2), np.float32)
    own = OwnVectors.of(DATA, rows, table)
    assert own.users.known.tolist() == [True, True, *[False] * (n - 2)]
    made = own.of_pairs(DATA.queries([0, 2]), Lists.of("k", [[2, 3], [0]]))
    assert made[..., 0].tolist() == [[2, n + 4], [2, 0], [0, n + 2]]
    name = DATA.users.ids.ids[0]
    assert not forget(own, [name]).of_pairs(QUERIES, LISTS)[:2, 0].any()
