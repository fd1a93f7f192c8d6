"""Promises about words: any text from a model is survived, and reasons rest on evidence."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hexarec.core import (
    Answer,
    Catalog,
    DataError,
    Dialogue,
    Evidence,
    Graph,
    Item,
    Lists,
    Message,
    MissingExtraError,
    Queries,
    Reasons,
    Reply,
)  # fmt: skip
from hexarec.core.options import is_stage, option_names, variant
from hexarec.data.worlds import World
from hexarec.lm.base import Prompt
from hexarec.lm.engine import VERBS
from hexarec.lm.fake import Scripted
from hexarec.lm.garbage import KINDS, Garbage
from hexarec.testing._asking import ask, few, hold, newly_fitted, nobody, pool, ready, verbs, well_formed

ACTS = frozenset({"ask", "recommend", "explain", "chat", "end"})
EVIDENCE = frozenset({"history", "attribute", "query", "path", "rule", "popularity"})


@dataclass(frozen=True)
class Counter:
    """A desk without a pipeline: what explainers may ask when they are tested alone."""

    catalog: Catalog
    graph: Graph | None = None

    def lookup(self, ids: Sequence[str]) -> list[Item]:
        """Items by id."""
        return [self.catalog[one] for one in ids]

    def retrieve(self, queries: Queries, k: int) -> Lists:
        """Permitted candidates."""
        return pool(queries).top_k(k)

    def rank(self, queries: Queries, candidates: Lists) -> Lists:
        """The candidates as they are."""
        return candidates

    def control(self, queries: Queries, ranked: Lists, k: int) -> Lists:
        """The first k."""
        return ranked.top_k(k)

    def recommend(self, queries: Queries, k: int = 10) -> Answer:
        """The pool."""
        return Answer(pool(queries).top_k(k))


def explained(stage: Any, queries: Queries, k: int = 3) -> list[Reasons]:
    """What the stage says of the first k of the pool."""
    reasons: list[Reasons] = stage.explain(queries, pool(queries).top_k(k), Counter(queries.catalog))
    return reasons


def explains(stage: Any, world: World) -> None:
    """Words for every shown item, and evidence that exists in the history or the catalog."""
    made = ready(stage, world.data)
    batches = {
        "known users": few(world),
        "users without history": nobody(few(world)),
        "a Chinese reader": replace(few(world), lang=np.full(len(few(world)), "zh", object)),
        "no questions": world.queries.take(slice(0, 0)),
    }
    for who, queries in batches.items():
        shown = pool(queries).top_k(3)
        _sound(explained(made, queries), queries, shown, f"explain for {who}")
    empty = Lists.empty(world.data.catalog.key, len(few(world)))
    reasons = made.explain(few(world), empty, Counter(world.data.catalog))
    _sound(reasons, few(world), empty, "explain of empty lists")


def _sound(reasons: list[Reasons], queries: Queries, shown: Lists, what: str) -> None:
    hold(len(reasons) == len(queries), f"{what}: {len(reasons)} reasons for {len(queries)} lists")
    for i, one in enumerate(reasons):
        n = len(shown[i].items)
        hold(len(one.items) == n, f"{what}: {len(one.items)} sentences for {n} items")
        hold(len(one.evidence) in (0, n), f"{what}: evidence for {len(one.evidence)} of {n} items")
        for words in one.items:
            hold(words.text.strip(), f"{what}: an empty sentence")
            hold(words.lang == queries.lang[i], f"{what}: {words.lang!r} for a reader of {queries.lang[i]!r}")
            for span in words.spans:
                hold(0 <= span.start < span.stop <= len(words.text), f"{what}: a span outside its text")
                hold(span.item is None or span.item in queries.catalog.items, f"{what}: a span to no item")
        for item, group in zip(shown[i].items.tolist(), one.evidence, strict=bool(one.evidence)):
            for evidence in group:
                _exists(evidence, item, queries, i, what)


def _exists(evidence: Evidence, item: int, queries: Queries, i: int, what: str) -> None:
    past = set(queries.history.item[slice(*queries.history.offsets[i : i + 2])].tolist())
    hold(evidence.kind in EVIDENCE, f"{what}: evidence of the unknown kind {evidence.kind!r}")
    rows = set(evidence.items)
    hold(all(0 <= row < len(queries.catalog) for row in rows), f"{what}: evidence names rows outside the catalog")
    if evidence.kind == "history":
        hold(rows and rows <= past, f"{what}: evidence names {sorted(rows - past)}, which the history lacks")
    if evidence.kind == "attribute":
        hold(rows <= past | {item}, f"{what}: an attribute of items that are neither shown nor in the history")
        name, _, value = evidence.detail.partition("=")
        hold(name in queries.catalog.attributes, f"{what}: the catalog has no attribute {name!r}")
        column = queries.catalog.attributes[name]
        for row in rows:
            have = column[row] if isinstance(column[row], tuple) else (column[row],)
            hold(value in [str(one) for one in have], f"{what}: item {row} does not have {evidence.detail!r}")


def speaks(stage: Any) -> bool:
    """Whether the stage asks a language model through its option `lm`."""
    return is_stage(stage) and "lm" in option_names(stage)


def any_words(stage: Any, world: World) -> None:
    """Whatever text, numbers or failures the model gives, the other promises hold."""
    over = _fitted_over(stage, world)
    for kind in (None, *KINDS):
        _survives(over(Garbage(kind)), world, f"garbage of kind {kind or 'any'!r}")
    try:
        from hypothesis import HealthCheck, given, settings

        from hexarec.testing.strategies import answers
    except ImportError:
        raise MissingExtraError("hypothesis", "dev") from None

    options = world.data.catalog.titles.tolist()

    @settings(max_examples=30, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(answers(options))
    def survives(text: str) -> None:
        _survives(over(Scripted(lambda prompt: text)), world, f"the answer {text[:80]!r}", 2)

    survives()


def _fitted_over(stage: Any, world: World) -> Callable[[Any], Any]:
    """The fitted stage over another model. One that tunes its model is fitted over its own, and then asks the other."""
    if "weights" not in getattr(stage.lm, "can", ()):
        return lambda lm: newly_fitted(variant(stage, lm=lm), world.data)
    tuned, can = newly_fitted(stage, world.data), frozenset(stage.lm.can)
    return lambda lm: variant(tuned, lm=_Able(lm, can))


class _Able:
    """A double that claims what another model can: it has no weights, so it answers without what a prompt carries."""

    def __init__(self, lm: Any, can: frozenset[str]) -> None:
        self._lm, self.can = lm, can

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._lm, name)
        if name not in VERBS:
            return found
        return lambda prompts, *rest, **options: found(_bare(prompts), *rest, **options)


def _bare(prompts: Any) -> Any:
    """The prompts, or the one prompt, without vectors and adapter."""
    if isinstance(prompts, Prompt):
        return replace(prompts, vectors=None, adapter=None)
    return [_bare(prompt) for prompt in prompts]


def _survives(made: Any, world: World, what: str, n: int = 4) -> None:
    queries = few(world).take(slice(0, n))
    given = pool(queries)
    try:
        for verb in verbs(made):
            lists = ask(made, verb, queries, given=given)
            well_formed(lists, queries)
            if verb == "rank":
                hold(not len(given.without(lists.items, lists.offsets).items), f"rank loses items after {what}")
        if callable(getattr(made, "explain", None)):
            _sound(explained(made, queries), queries, given.top_k(3), f"explain after {what}")
        if callable(getattr(made, "converse", None)):
            _replies(made, world, what)
        if callable(getattr(made, "react", None)):
            _visited(made, world, what)
    except DataError as error:
        hold(False, f"{what} was not survived: {error}")


def _visited(made: Any, world: World, what: str) -> None:
    from hexarec.testing._visits import opened, page_of, sound_visits

    visits, shown = opened(world), page_of(world, 1)
    after = made.react(visits, shown)
    sound_visits(after, visits, shown, world, f"react after {what}")
    sound_visits(made.react(after, page_of(world, 2)), after, page_of(world, 2), world, f"react after {what}, page 2")


def _replies(made: Any, world: World, what: str) -> None:
    desk = Counter(world.data.catalog)
    dialogues = [Dialogue((Message("user", said),), {}, user) for said, user in (("Hi", None), ("Something new", "u0"))]
    sound_replies(made.converse(dialogues, desk), dialogues, desk, f"converse after {what}")


def sound_replies(replies: Sequence[Reply], dialogues: Sequence[Dialogue], desk: Counter, what: str) -> None:
    """Raise Broken unless there is one well-formed reply for each dialogue."""
    catalog = desk.catalog
    hold(len(replies) == len(dialogues), f"{what}: {len(replies)} replies for {len(dialogues)} dialogues")
    for reply in replies:
        hold(reply.act in ACTS, f"{what}: the unknown act {reply.act!r}")
        hold(reply.words.text.strip(), f"{what}: a reply without words")
        rows = catalog.rows(list(reply.items))
        hold((rows >= 0).all() and catalog.alive[rows].all(), f"{what}: items that the catalog lacks")
        hold(len(set(reply.items)) == len(reply.items), f"{what}: an item twice")
        for span in reply.words.spans:
            hold(0 <= span.start < span.stop <= len(reply.words.text), f"{what}: a span outside its text")
            hold(span.item is None or span.item in catalog.items, f"{what}: a span to no item")
        try:
            again = json.loads(json.dumps(dict(reply.state), allow_nan=False))
        except (TypeError, ValueError) as error:
            hold(False, f"{what}: the state is not JSON ({error})")
        hold(again == dict(reply.state), f"{what}: the state does not survive JSON")
