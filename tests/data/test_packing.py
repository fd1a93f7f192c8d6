from dataclasses import replace

import numpy as np

from hexarec.core import Exposures, Filter, Graph, Lists, strings
from hexarec.data import packing

from .makers import log_of

WITHIN = {"field": "year", "op": "in", "value": [1, 2]}
DATA = log_of([(0, 0, 1, 5), (0, 1, 2, 3), (1, 2, 2, 4)], 3, 4)


def shown(data=DATA):
    queries = data.queries(now=3.0)
    queries = replace(
        queries,
        text=strings(["some film", None, "的"]),
        context=strings([None, {"shop": 1}, {}]),
        seed=np.array([1, 2, 3]),
        filters=(Filter.parse({"and": [WITHIN, {"not": {"field": "a", "op": "exists"}}]}),),
        where=np.array([0, -1, -1], np.int32),
    )  # fmt: skip
    lists = Lists.of(data.catalog.key, [[3, 2], [], [1]])
    fields = {"gain": np.array([1, 0, np.nan], np.float32), "slot": np.arange(3), "source": strings(["a", None, "b"])}
    return Exposures(queries, replace(lists, fields={**fields, "why": np.arange(3)}), "p", "sim:x")


def test_exposures_come_back_whole():
    made = shown()
    back = packing.unpack_exposures(*packing.pack_exposures(made), DATA.users, DATA.catalog)
    assert (back.policy, back.source) == ("p", "sim:x") and set(back.shown.fields) == {"gain", "slot", "source"}
    for name in ("items", "scores", "offsets"):
        np.testing.assert_array_equal(getattr(back.shown, name), getattr(made.shown, name))
    for name, column in back.shown.fields.items():
        np.testing.assert_array_equal(column, made.shown.fields[name])
    for name in ("user", "exclude", "exclude_offsets", "now", "text", "where", "context", "lang", "seed"):
        np.testing.assert_array_equal(getattr(back.queries, name), getattr(made.queries, name), err_msg=name)
    for name in ("offsets", "item", "time", "kind", "value", "liked"):
        np.testing.assert_array_equal(getattr(back.queries.history, name), getattr(made.queries.history, name))
    assert back.queries.filters == made.queries.filters and back.queries.users.key == DATA.users.ids.key


def test_no_exposures_at_all():
    made = shown()
    none = Exposures(made.queries.take(slice(0, 0)), made.shown.take(slice(0, 0)))
    back = packing.unpack_exposures(*packing.pack_exposures(none), DATA.users, DATA.catalog)
    assert len(back) == 0 and back.shown.fields["gain"].dtype == np.float32


def test_a_graph_comes_back_whole():
    made = Graph(
        head=np.array([0, 5], np.int32), tail=np.array([1, 2], np.int32), relation=np.array([0, 1], np.int16),
        p=np.array([0.5, 1], np.float32), reason=strings(["x", None]), source=strings(["kg", "lm"]),
        relations=("like", "by"), entities=("A. Director", "导演"), key="k", n_items=4,
    )  # fmt: skip
    back = packing.unpack_graph(*packing.pack_graph(made))
    assert (back.relations, back.entities, back.key, back.n_items) == (made.relations, made.entities, "k", 4)
    for name in ("head", "tail", "relation", "p", "reason", "source"):
        np.testing.assert_array_equal(getattr(back, name), getattr(made, name))
