"""Promises about lists: what a retriever, a ranker and a controller may answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from hexarec.core import History, IdTable, Lists, Queries, ragged
from hexarec.data.worlds import World
from hexarec.testing._asking import (
    K,
    ask,
    elsewhere,
    end_of,
    few,
    grown,
    hold,
    nobody,
    pool,
    ready,
    same,
    verbs,
    well_formed,
)


def catalog_rows(stage: Any, world: World) -> None:
    """Lists hold rows of the catalog, once each, in columns of one length."""
    made, queries = ready(stage, world.data), few(world)
    for verb in verbs(made):
        well_formed(ask(made, verb, queries), queries)
        well_formed(ask(made, verb, queries, len(queries.catalog) + 7), queries)


def at_most_k(stage: Any, world: World) -> None:
    """At most k items, also for a k of 0 and one beyond the catalog."""
    made, queries = ready(stage, world.data), few(world)
    for verb in verbs(made):
        for k in (0, 1, 3, len(queries.catalog) + 7):
            longest = int(ask(made, verb, queries, k).lengths.max(initial=0))
            hold(verb == "rank" or longest <= k, f"{verb}: {longest} items where at most {k} were asked for")


def best_first(stage: Any, world: World) -> None:
    """Scores never rise along a list; unscored items (NaN) stand last."""
    made, queries = ready(stage, world.data), few(world)
    for verb in verbs(made):
        for i, one in enumerate(ask(made, verb, queries, 10)):
            known = ~np.isnan(one.scores)
            hold(not (np.diff(known.astype(int)) > 0).any(), f"{verb}: list {i} has a score behind an unscored item")
            hold((np.diff(one.scores[known]) <= 0).all(), f"{verb}: the scores of list {i} rise: {one.scores}")


def permutation(stage: Any, world: World) -> None:
    """A ranker returns exactly the candidates it was given."""
    made, queries = ready(stage, world.data), few(world)
    given = pool(queries)
    for k in (1, 2, 12):
        part = given.top_k(k)
        for i, one in enumerate(ask(made, "rank", queries, given=part)):
            hold(
                sorted(one.items.tolist()) == sorted(part[i].items.tolist()),
                f"rank: list {i} holds {one.items.tolist()}, given were {part[i].items.tolist()}",
            )


def picks(stage: Any, world: World) -> None:
    """A controller picks from what it was given, at most k, each once."""
    made, queries = ready(stage, world.data), few(world)
    given = pool(queries)
    for k in (1, K, 50):
        lists = ask(made, "control", queries, k, given)
        well_formed(lists, queries)
        for i, one in enumerate(lists):
            new = set(one.items.tolist()) - set(given[i].items.tolist())
            hold(not new, f"control: list {i} got {sorted(new)}, which were not given")
            hold(len(one.items) <= k, f"control: {len(one.items)} items where at most {k} were asked for")


def fields_follow(stage: Any, world: World) -> None:
    """A field that stays true survives, and stays beside its item."""
    made, queries = ready(stage, world.data), few(world)
    for verb in [verb for verb in verbs(made) if verb != "retrieve"]:
        lists = ask(made, verb, queries)
        hold("mark" in lists.fields, f"{verb}: the field 'mark' is lost")
        right = np.array_equal(lists.fields["mark"], 7 * lists.items.astype(np.int64) + 1)
        hold(right, f"{verb}: the field 'mark' stands beside other items")


def exclusions(stage: Any, world: World) -> None:
    """A retriever answers nothing that the question excludes, and hides nothing else."""
    made, queries = ready(stage, world.data), few(world)
    first = ask(made, "retrieve", queries)
    hold(len(first.items), "retrieve: nothing is found even without further exclusions")
    both = [
        np.concatenate([queries.exclude[slice(*queries.exclude_offsets[i : i + 2])], first[i].items])
        for i in range(len(queries))
    ]
    offsets = ragged.offsets_of(np.array([len(one) for one in both]))
    again = ask(made, "retrieve", queries.excluding(np.concatenate(both), offsets))
    _permitted(again, queries.excluding(np.concatenate(both), offsets), "an excluded item")


def _permitted(lists: Lists, queries: Queries, what: str) -> None:
    bad = lists.items[~queries.permits(lists.offsets, lists.items)]
    hold(not len(bad), f"retrieve: {what} was answered (rows {bad[:5].tolist()})")


def filters(stage: Any, world: World) -> None:
    """A retriever answers only what passes the typed filter."""
    made, queries = ready(stage, world.data), few(world)
    shelf = np.arange(len(queries.catalog), dtype=np.float64) % 3
    catalog = replace(queries.catalog, attributes={**queries.catalog.attributes, "contract_shelf": shelf})
    for value in (0.0, 2.0):
        where = {"field": "contract_shelf", "op": "=", "value": value}
        asked = replace(queries, catalog=catalog).filtered(where)
        lists = ask(made, "retrieve", asked)
        hold((shelf[lists.items] == value).all(), f"retrieve: an item outside the filter {where} was answered")
        hold(len(lists.items), "retrieve: nothing is found under a filter that many items pass")


def tombstones(stage: Any, world: World) -> None:
    """An item that left the catalog is not answered, though the stage learned it."""
    made, queries = ready(stage, world.data), few(world)
    gone = np.unique(ask(made, "retrieve", queries).items)[: len(queries.catalog) // 2]
    left = replace(queries, catalog=queries.catalog.remove(queries.catalog.ids(gone)))
    _permitted(ask(made, "retrieve", left), left, "a gone item")


def not_yet_out(stage: Any, world: World) -> None:
    """An item that comes out after the question is asked is not answered."""
    made, queries = ready(stage, world.data), few(world)
    since = queries.catalog.since.copy()
    since[np.unique(ask(made, "retrieve", queries).items)[: len(since) // 2]] = end_of(world.data) + 1e6
    asked = replace(queries, catalog=replace(queries.catalog, since=since))
    _permitted(ask(made, "retrieve", asked), asked, "an item that is not out yet")


def strangers(stage: Any, world: World) -> None:
    """Unknown users and empty histories are served, in English and Chinese; a retriever may find nothing for them."""
    made, catalog = ready(stage, world.data), world.data.catalog
    past = catalog.ids(np.arange(2))
    asked = {
        "an unknown user": Queries.one(catalog, user="contract:stranger", now=0.0),
        "nobody": Queries.one(catalog, lang="zh"),
        "an unknown user with a history": Queries.one(catalog, user="contract:stranger", history=past),
        "a known user without a history": nobody(few(world)),
        "a history nobody liked": _disliked(few(world)),
    }
    for who, queries in asked.items():
        for verb in verbs(made):
            lists = ask(made, verb, queries)
            well_formed(lists, queries)
            hold(verb == "retrieve" or (lists.lengths > 0).all(), f"{verb}: {who} gets an empty list")


def _disliked(queries: Queries) -> Queries:
    past: History = queries.history
    return queries.with_history(replace(past, liked=np.zeros(len(past.item), bool)))


def user_rows(stage: Any, world: World) -> None:
    """A user is known by id: in a user table of another order the answers stay, and row numbers mean nothing."""
    made, queries = ready(stage, world.data), nobody(few(world))
    given, ids = pool(queries), queries.users.ids.tolist()
    turned = IdTable.of([*ids[::-1], "contract:stranger"])
    moved = replace(queries, users=turned, user=(len(ids) - 1 - queries.user).astype(np.int32))
    alone = Queries.one(world.data.catalog, user="contract:stranger")
    among = replace(alone, users=turned, user=np.array([len(ids)], np.int32))
    for verb in verbs(made):
        ours, theirs = ask(made, verb, queries, given=given), ask(made, verb, moved, given=given)
        same(ours, theirs, f"{verb}: users in another order")
        same(ask(made, verb, alone), ask(made, verb, among), f"{verb}: a stranger at row 0 and at another")


def newcomers(stage: Any, world: World) -> None:
    """Items added after fit, in the history, the candidates or the catalog, do no harm."""
    made, data = ready(stage, world.data), grown(world.data)
    old, new = data.catalog.items.ids[0], data.catalog.items.ids[-1]
    queries = Queries.one(data.catalog, user="contract:stranger", history=[old, new])
    for verb in verbs(made):
        well_formed(ask(made, verb, queries), queries)
    if callable(getattr(made, "rank", None)):
        given = Lists.of(data.catalog.key, [[2, 3, len(data.catalog) - 1]])
        lost = set(given.items.tolist()) - set(made.rank(queries, given).items.tolist())
        hold(not lost, f"rank: loses the rows {sorted(lost)} of old and new items")


def nothing_given(stage: Any, world: World) -> None:
    """Empty candidate lists come back empty, one a question."""
    made, queries = ready(stage, world.data), few(world)
    for verb in [verb for verb in verbs(made) if verb != "retrieve"]:
        lists = ask(made, verb, queries, given=Lists.empty(queries.catalog.key, len(queries)))
        well_formed(lists, queries)
        hold(not len(lists.items), f"{verb}: {len(lists.items)} items came out of empty lists")
        mixed = pool(queries).where(ragged.segments(pool(queries).offsets) % 2 == 0)
        hold(ask(made, verb, queries, given=mixed).lengths[1] == 0, f"{verb}: an empty list among others is filled")


def nobody_asks(stage: Any, world: World) -> None:
    """A batch without questions is answered with no lists."""
    made, queries = ready(stage, world.data), world.queries.take(slice(0, 0))
    for verb in verbs(made):
        well_formed(ask(made, verb, queries), queries)


def batch_is_single(stage: Any, world: World) -> None:
    """A question gets the same answer alone, in a batch and in another order: same items, scores to 1e-4."""
    made, queries = ready(stage, world.data), few(world)
    given = pool(queries)
    for verb in verbs(made):
        together = ask(made, verb, queries, given=given)
        backwards = np.arange(len(queries))[::-1]
        turned = ask(made, verb, queries.take(backwards), given=given.take(backwards))
        same(together, turned.take(backwards), f"{verb}, batch turned round")
        for i in range(0, len(queries), 3):
            alone = ask(made, verb, queries.take(np.array([i])), given=given.take(np.array([i])))
            same(together.take(np.array([i])), alone, f"{verb}, question {i} alone")


def lineage(stage: Any, world: World) -> None:
    """Rows of another catalog raise LineageError instead of being taken for ours."""
    from hexarec.core import LineageError

    made, queries = ready(stage, world.data), few(world)
    other = elsewhere(world.data).queries([0, 1])
    for verb in verbs(made):
        _raises(LineageError, lambda verb=verb: ask(made, verb, other), f"{verb}: questions of another catalog")
        if verb != "retrieve":
            foreign = replace(pool(queries), key="contract:foreign")
            _raises(
                LineageError,
                lambda verb=verb, foreign=foreign: ask(made, verb, queries, given=foreign),
                f"{verb}: candidates of another catalog",
            )


def _raises(kind: type[Exception], call: Any, what: str) -> None:
    try:
        call()
    except kind:
        return
    hold(False, f"{what} raise no {kind.__name__}")


def before_fit(stage: Any, world: World) -> None:
    """A stage that learns and was not fitted says so with StateError."""
    from hexarec.core import StateError, fresh

    made, queries = fresh(stage), few(world)
    for verb in verbs(made):
        _raises(StateError, lambda verb=verb: ask(made, verb, queries), f"{verb}: questions before fit")
