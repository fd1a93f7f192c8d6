"""Data sets small enough to check by hand."""

import numpy as np

from hexarec.core import Catalog, Dataset, IdTable, Interactions, Item, Users


def catalog_of(n=5, key="k", **columns):
    """n items i0, i1, ...; each column holds one attribute value per item."""
    items = [Item(f"i{row}", f"Title {row}", f"Text {row}", {name: v[row] for name, v in columns.items()})
             for row in range(n)]  # fmt: skip
    return Catalog.of(items, key=key)


def data_of(events, n_users=3, n_items=5, *, liked=None, clock=True, key="k"):
    """events: (user row, item row, time)."""
    user, item, time = zip(*events, strict=True) if events else ((), (), ())
    columns = {"user": np.array(user), "item": np.array(item), "time": np.array(time, float)}
    if liked is not None:
        columns["liked"] = np.array(liked)
    log = Interactions.of(columns, n_users, clock=clock)
    return Dataset(catalog_of(n_items, key), log, Users(IdTable.of(f"u{row}" for row in range(n_users))))


def cut(offsets, values):
    """The segments of a ragged batch as Python lists."""
    values = np.asarray(values).tolist()
    return [values[a:b] for a, b in zip(offsets[:-1], offsets[1:], strict=True)]
