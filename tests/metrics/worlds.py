"""A tiny world with a log, tags and vectors, shared by the tests of run metrics."""

import numpy as np

from hexarec.core import Catalog, Dataset, Features, Interactions, Item
from hexarec.core.dataset import Users
from hexarec.core.ids import IdTable
from hexarec.metrics import Reference

GENRES = [("x",), ("x", "y"), ("y",), ("z",), ()]
VECTORS = [[1, 0], [2, 0], [0, 3], [-1, 0], [0, 0]]


def world():
    """Five items, three users: u liked 0 and 1, v liked 1, w nothing. Training counts 1 2 0 0 0."""
    catalog = Catalog.of([Item(f"i{i}", f"I{i}", attributes={"genre": g}) for i, g in enumerate(GENRES)])
    log = Interactions.of({"user": [0, 0, 1], "item": [0, 1, 1], "time": [1.0, 2.0, 3.0]}, 3)
    data = Dataset(catalog, log, Users(IdTable.of(["u", "v", "w"])))
    return data.with_features("text", Features(np.array(VECTORS, np.float32), np.ones(5, bool)))


def reference(data=None):
    """The world's training data as what runs are held against."""
    data = data or world()
    return Reference.of(data, data.queries(), vectors="text", tags="genre")
