"""Promises about a stage's life: fit, save, grow, forget, and never know the future."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hexarec.core import Dataset, Features, Lists, PerUser, after, fresh, load, save
from hexarec.core import forget as core_forget
from hexarec.core.options import is_stage, learned
from hexarec.data.worlds import World
from hexarec.testing._asking import (
    SEED,
    TOLERANCE,
    arrays_in,
    ask,
    differ,
    end_of,
    few,
    grown,
    hold,
    newly_fitted,
    nobody,
    poisoned,
    pool,
    ready,
    rewritten,
    same,
    verbs,
    well_formed,
    words_in,
)


def same_seed(stage: Any, world: World) -> None:
    """Equal data and seed give equal answers; so does asking twice."""
    made, again, queries = ready(stage, world.data), newly_fitted(stage, world.data), few(world)
    for verb in verbs(made):
        first = ask(made, verb, queries)
        same(first, ask(made, verb, queries), f"{verb}, asked twice", 0.0)
        same(first, ask(again, verb, queries), f"{verb}, fitted twice", 0.0)


def input_untouched(stage: Any, world: World) -> None:
    """Neither fit nor an answer writes into what was given."""
    queries, given = few(world), pool(few(world))
    watched = list(arrays_in([world.data, queries, given], "given"))
    before = [array.copy() for _, array in watched]
    made = newly_fitted(stage, world.data)
    for verb in verbs(made):
        ask(made, verb, queries, given=given)
    if callable(getattr(made, "enrich", None)):
        made.enrich(world.data)
    for (path, array), old in zip(watched, before, strict=True):
        kept = np.array_equal(array, old, equal_nan=array.dtype.kind == "f")
        hold(kept, f"{path} was written to")


def comes_back(stage: Any, world: World) -> None:
    """Saved and loaded, the stage gives the same answers."""
    from hexarec.pipeline.build import resolve

    made, queries = ready(stage, world.data), few(world)
    with tempfile.TemporaryDirectory() as folder:
        again = load(save(made, Path(folder) / "stage"), resolve)
    for verb in verbs(made):
        same(ask(made, verb, queries), ask(again, verb, queries), f"{verb} after load", 1e-6)
    if callable(getattr(made, "explain", None)):
        from hexarec.testing._words import explained

        hold(explained(made, queries) == explained(again, queries), "explain after load says something else")
    if callable(getattr(made, "react", None)):
        from hexarec.testing._visits import opened, page_of

        visits, shown = opened(world), page_of(world, 1)
        hold(made.react(visits, shown) == again.react(visits, shown), "visits after load go on otherwise")


def extends(stage: Any, world: World) -> None:
    """Extended by new items, a stage finds them, keeps old items in their order, and leaves the original as it was."""
    made, data = ready(stage, world.data), grown(world.data)
    old, new = few(world), data.queries(few(world).user.tolist(), now=end_of(data))
    before = {verb: ask(made, verb, old) for verb in verbs(made)}
    larger = made.extend(data.catalog)
    for verb in verbs(made):
        same(before[verb], ask(made, verb, old), f"{verb} of the original after extend", 0.0)
        # scores may move (idf counts the new documents); what is answered must still be items of the old catalog
        again = ask(larger, verb, old)
        hold(int(again.items.max(initial=-1)) < world.data.n_items, f"{verb} of the extended stage invents old items")
        hold(len(again.items) == len(before[verb].items), f"{verb} of the extended stage loses old items")
    if "retrieve" in before:
        found = ask(larger, "retrieve", new, len(data.catalog))
        fresh_rows = set(range(world.data.n_items, len(data.catalog)))
        for i, one in enumerate(found):
            hold(fresh_rows <= set(one.items.tolist()), f"retrieve: question {i} cannot find the new items")
    if "rank" in before:
        _order_kept(before["rank"], larger.rank(new, replace(pool(old), key=data.catalog.key)))


def _order_kept(before: Lists, after: Lists) -> None:
    """Nine in ten of the pairs of old items that stood clearly apart stand in the same order as before."""
    apart = agree = 0
    for one, other in zip(before, after, strict=True):
        hold(sorted(one.items.tolist()) == sorted(other.items.tolist()), "rank after extend loses old items")
        then, now = (dict(zip(x.items.tolist(), x.scores.tolist(), strict=True)) for x in (one, other))
        gap = 0.1 * float(np.ptp(one.scores[np.isfinite(one.scores)])) if np.isfinite(one.scores).any() else np.inf
        clear = [(i, j) for i in then for j in then if then[i] - then[j] > gap]
        apart += len(clear)
        agree += sum(now[i] > now[j] for i, j in clear)
    hold(agree >= 0.9 * apart, f"rank after extend turns {apart - agree} of {apart} pairs of old items round")


def forgets(stage: Any, world: World) -> None:
    """Forgotten users leave no id and no taste behind; the others are served as before."""
    made, queries = ready(stage, world.data), few(world)
    gone = queries.user_ids()[:2]
    before = {verb: ask(made, verb, nobody(queries)) for verb in verbs(made)}
    after = core_forget(made, gone)
    trace = sorted(set(words_in(after)) & set(gone))
    hold(not trace, f"the ids {trace} are still in the stage")
    for verb in verbs(made):
        same(before[verb], ask(made, verb, nobody(queries)), f"{verb} of the original after forget", 0.0)
        well_formed(ask(after, verb, nobody(queries)), nobody(queries))
    if has_users(made):
        _like_strangers(made, after, world)


def _like_strangers(made: Any, after: Any, world: World) -> None:
    """The forgotten are answered as people the stage never met; the others are still known."""
    queries = nobody(few(world))
    unknown, given = replace(queries, user=np.full(len(queries), -1, np.int32)), pool(queries)
    gone, rest = np.arange(2), np.arange(2, len(queries))
    for verb in verbs(made):
        then, now = ask(made, verb, queries, given=given), ask(after, verb, queries, given=given)
        stranger = ask(after, verb, unknown, given=given)
        same(stranger.take(gone), now.take(gone), f"{verb}: the forgotten against strangers")
        was_known = differ(then.take(rest), ask(made, verb, unknown, given=given).take(rest))
        still_known = differ(now.take(rest), stranger.take(rest))
        hold(still_known or not was_known, f"{verb}: users who were not forgotten are strangers too")


def has_users(stage: Any) -> bool:
    """Whether the stage, or one it holds, keeps a table by user."""
    if isinstance(stage, PerUser):
        return True
    if isinstance(stage, list | tuple):
        return any(has_users(one) for one in stage)
    return is_stage(stage) and any(has_users(one) for one in learned(stage).values())


def no_future(stage: Any, world: World) -> None:
    """Events after the moment of asking change nothing, whatever the stage was fitted on in between."""
    data, moment = world.data, end_of(world.data)
    later = poisoned(data)
    made, asked = newly_fitted(stage, data), few(world).user.tolist()
    queries, again = data.queries(asked, now=moment), later.queries(asked, now=moment)
    hold(len(later.interactions) > len(data.interactions), "the poison is missing: mend the contract")
    first = {verb: ask(made, verb, queries) for verb in verbs(made)}
    newly_fitted(stage, later)  # a cache that outlives this fit would carry the future into the next
    refit = newly_fitted(stage, later.with_log(later.interactions.before(moment)))
    for verb in verbs(made):
        same(first[verb], ask(made, verb, again), f"{verb}: asked of data with later events", 0.0)
        same(first[verb], ask(refit, verb, queries), f"{verb}: fitted on data whose later events were cut off", 0.0)


def no_future_at_fit(stage: Any, world: World) -> None:
    """Fitted on what lies before a cut, nothing after the cut is known: neither from the data nor from earlier fits.

    The future is changed, the data cut at one moment, and the stage fitted anew: once in a fresh object, once in one
    that was fitted on the whole changed log before.
    """
    moment = float(np.quantile(world.data.interactions.time, 0.7))
    changed = rewritten(world.data, moment)
    train, other = after(world.data, moment).train, after(changed, moment).train
    hold(changed.key != world.data.key, "the future was not changed: mend the contract")
    hold(train.key == other.key, "what is cut off at a moment still depends on what came after it")
    queries = train.queries(few(world).user.tolist(), now=moment)
    made = newly_fitted(stage, train)
    first = {verb: ask(made, verb, queries) for verb in verbs(made)}
    used = newly_fitted(stage, changed)
    again = newly_fitted(stage, other)
    for verb in verbs(made):
        same(first[verb], ask(again, verb, queries), f"{verb}: fitted after the future was changed", 0.0)
    if hasattr(used, "fit"):
        used = used.fit(other, seed=SEED)
        for verb in verbs(made):
            same(first[verb], ask(used, verb, queries), f"{verb}: the same object, fitted on the future before", 0.0)


def enriches(stage: Any, world: World) -> None:
    """Enriching adds and removes nothing, gives the same twice, and keeps what stands when the catalog grows."""
    made, data = ready(stage, world.data), world.data
    first = made.enrich(data)
    _nothing_lost(data, first)
    again, twice = made.enrich(data), made.enrich(first)
    for name, table in first.features.items():
        _rows_equal(table, again.features[name], f"features {name!r}, made twice")
        _rows_equal(table, twice.features[name], f"features {name!r}, enriched twice")
        hold(table.rows.dtype == np.float32, f"features {name!r} are {table.rows.dtype}, not float32")
        hold(bool(np.isfinite(table.rows[table.mask]).all()), f"features {name!r} hold a number that is none")
        hold(name in data.features or bool(table.provenance), f"features {name!r} do not say who made them")
    larger = made.enrich(grown(first))
    for name, table in first.features.items():
        if len(table.rows) == data.n_items:
            after = larger.features[name]
            hold(len(after.rows) == data.n_items + 2, f"features {name!r} lack rows of new items")
            hold(np.array_equal(after.rows[: data.n_items], table.rows), f"features {name!r}: old rows changed")


def _nothing_lost(data: Dataset, after: Dataset) -> None:
    hold(after.catalog.key == data.catalog.key, "enriching changed the lineage")
    hold(np.array_equal(after.catalog.items.ids, data.catalog.items.ids), "enriching changed the items")
    hold(after.interactions.digest == data.interactions.digest, "enriching changed the log")
    lost = {*data.features, *data.catalog.text} - {*after.features, *after.catalog.text}
    hold(not lost, f"enriching removed {sorted(map(str, lost))}")
    added = {*after.features, *after.catalog.text} - {*data.features, *data.catalog.text}
    hold(added or after.graph is not data.graph, "enriching added nothing")


def _rows_equal(one: Features, other: Features, what: str) -> None:
    hold(np.array_equal(one.mask, other.mask), f"{what}: other rows are known")
    hold(np.allclose(one.rows, other.rows, rtol=0, atol=1e-6), f"{what}: other values")


def backbone(stage: Any, world: World) -> None:
    """Vectors of users and items have one length and are finite; a user's does not depend on the batch."""
    made, queries = ready(stage, world.data), few(world)
    users, items = made.users(queries), made.items()
    hold(users.shape == (len(queries), items.shape[1]), f"users are {users.shape} beside items {items.shape}")
    hold(len(items) == world.data.n_items, f"{len(items)} item vectors for {world.data.n_items} items")
    hold(users.dtype == np.float32 and items.dtype == np.float32, "vectors are not float32")
    hold(bool(np.isfinite(users).all() and np.isfinite(items).all()), "a vector holds a number that is none")
    alone = made.users(queries.take(np.array([len(queries) - 1])))[0]
    hold(np.allclose(alone, users[-1], atol=TOLERANCE), "a user alone has another vector than in the batch")
    hold(made.users(queries.take(slice(0, 0))).shape == (0, items.shape[1]), "no questions give no (0, d) vectors")
    if "rank" in verbs(made):
        _agrees(users @ items.T, ask(made, "rank", queries))


def _agrees(scores: Any, ranked: Lists) -> None:
    """The ranker's order is that of the dot products, near ties aside."""
    for i, one in enumerate(ranked):
        own = scores[i][one.items]
        slack = TOLERANCE * (1.0 + float(np.abs(own).max(initial=0.0)))
        hold(bool((np.diff(own) <= slack).all()), f"rank orders list {i} otherwise than users x items")


def options_kept(stage: Any, world: World) -> None:
    """Fitting changes no option, and what is learned stands in attributes ending in `_`."""
    before = dict(vars(fresh(stage)))
    made = fresh(stage)
    if hasattr(made, "fit"):
        hold(made.fit(world.data, seed=SEED) is made, "fit returns another object than it filled")
    changed = sorted(name for name, value in before.items() if vars(made).get(name, None) is not value)
    hold(not changed, f"fit changed the options {', '.join(changed)}")
    hidden = sorted(name for name in vars(made) if name not in before and not name.endswith("_"))
    # a private cache may stand beside the state, as long as the answers do not need it: `comes back` finds out
    hold(all(name.startswith("_") for name in hidden), f"learned state in {', '.join(hidden)} is not saved")
