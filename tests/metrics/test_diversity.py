"""Distances against loops over pairs, calibration by hand."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hexarec.core import Features, Lists
from hexarec.metrics import Reference, Tags, calibration, ild, ild_tags, measure, unexpectedness
from hexarec.metrics import diversity as D

from .worlds import GENRES, VECTORS, reference, world

ROWS = st.lists(st.lists(st.integers(0, 4), unique=True, max_size=5), min_size=3, max_size=3)


def cosine(a, b):
    a, b = np.array(VECTORS[a], float), np.array(VECTORS[b], float)
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else math.nan


@given(ROWS)
@settings(max_examples=80, deadline=None)
def test_ild_and_unexpectedness_against_loops(rows):
    ref = reference()
    lists = Lists.of(ref.queries.catalog.key, rows)
    known = [[i for i in row if i != 4] for row in rows]  # item 4 has a zero vector
    want = [mean(1 - cosine(a, b) for a, b in itertools.combinations(row, 2)) for row in known]
    np.testing.assert_allclose(ild(lists, ref, 5).values, want, atol=1e-6)
    past = [[0, 1], [1], []]
    want = [mean(1 - cosine(a, b) for a in row for b in seen) for row, seen in zip(known, past, strict=True)]
    np.testing.assert_allclose(unexpectedness(lists, ref, 5).values, want, atol=1e-6)


@given(ROWS)
@settings(max_examples=80, deadline=None)
def test_jaccard_against_loops(rows):
    ref = reference()
    sets = [[set(GENRES[i]) for i in row if GENRES[i]] for row in rows]
    want = [mean(1 - len(a & b) / len(a | b) for a, b in itertools.combinations(row, 2)) for row in sets]
    np.testing.assert_allclose(ild_tags(Lists.of(ref.queries.catalog.key, rows), ref, 5).values, want)


def test_masked_vectors_are_left_out_and_blocks_agree(monkeypatch):
    data, ref = world(), reference()
    rng = np.random.default_rng(0)
    mask = np.array([True, False, True, True, True])
    table = Features(rng.normal(size=(5, 4)).astype(np.float32), mask)
    ref = Reference(ref.queries, ref.counts, table, ref.tags)
    lists = Lists.of(data.catalog.key, [[0, 1, 2], [3, 1], [2, 3, 4]])
    unit = table.rows / np.linalg.norm(table.rows, axis=1, keepdims=True)
    whole = ild(lists, ref, 3)
    assert whole.values[0] == pytest.approx(1 - unit[0] @ unit[2], abs=1e-6) and np.isnan(whole.values[1])
    other = [metric(lists, ref, 3).values for metric in (calibration, ild_tags)]
    monkeypatch.setattr(D, "BUDGET", 2)
    np.testing.assert_allclose(ild(lists, ref, 3).values, whole.values)
    for metric, values in zip((calibration, ild_tags), other, strict=True):
        np.testing.assert_allclose(metric(lists, ref, 3).values, values)


def test_calibration_by_hand():
    ref = reference()
    # u liked x and (x, y): p = 3/4 x, 1/4 y. v liked (x, y): 1/2, 1/2. w has no history.
    found = calibration(Lists.of(ref.queries.catalog.key, [[0, 1], [3], [0]]), ref, 2).values
    assert found[0] == pytest.approx(0, abs=1e-12)
    assert found[1] == pytest.approx(math.log(100)) and np.isnan(found[2])
    only_x = calibration(Lists.of(ref.queries.catalog.key, [[0], [4], []]), ref, 2).values
    assert only_x[0] == pytest.approx(0.75 * math.log(0.75 / (0.99 + 0.0075)) + 0.25 * math.log(100))
    assert np.isnan(only_x[1]) and np.isnan(only_x[2])


def test_tags_of_columns():
    column = np.empty(4, object)
    column[:] = [("b", "a", "a"), "a", None, ()]
    tags = Tags.of(column)
    assert tags.names == ("a", "b")
    np.testing.assert_array_equal(tags.matrix.toarray(), [[1, 1], [1, 0], [0, 0], [0, 0]])
    np.testing.assert_array_equal(tags.shares().toarray(), [[0.5, 0.5], [1, 0], [0, 0], [0, 0]])
    assert Tags.of(np.array([1994.0, np.nan])).names == ("1994.0",)


def test_more_than_64_tags():
    column = np.empty(2, object)
    column[:] = [tuple(f"t{i:03d}" for i in range(130)), tuple(f"t{i:03d}" for i in range(100, 200))]
    data = world()
    ref = Reference(data.queries(), np.zeros(5, np.int64), None, Tags.of(column))
    found = ild_tags(Lists.of(data.catalog.key, [[0, 1], [1, 0], [0]]), ref, 2).values
    np.testing.assert_allclose(found, [1 - 30 / 200, 1 - 30 / 200, np.nan])


@given(ROWS)
@settings(max_examples=80, deadline=None)
def test_tag_coverage_against_loops(rows):
    ref = reference()
    past = ref.queries.history.where(ref.queries.history.liked)
    want = []
    for i, row in enumerate(rows):
        known = {tag for item in past.item[slice(*past.offsets[i : i + 2])] for tag in GENRES[item] or ()}
        shown = {tag for item in row for tag in GENRES[item] or ()}
        want.append(len(known & shown) / len(known) if known else math.nan)
    found = measure(Lists.of(ref.queries.catalog.key, rows), ref, ["tag_coverage@5"])["tag_coverage@5"]
    np.testing.assert_allclose(found.values, want)
