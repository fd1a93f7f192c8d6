"""The numbers that claims compare, and the doubles with a planted fault that the claims are about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hexarec.classic import IALS, ItemKNN
from hexarec.core import Dataset, Dialogue, Item, Lists, Message, Queries, best, ragged, rng, run
from hexarec.data.worlds import World
from hexarec.lm.base import Completion, Constraint, Floats, Prompt, ScoreRow
from hexarec.lm.engine import rough_count
from hexarec.lm.fake import Double, Overlap, PositionBiased
from hexarec.lm.reading import overlap, read
from hexarec.methods.agent4rec import Agent4Rec
from hexarec.methods.llmrank import LLMRank
from hexarec.metrics import Reference, measure
from hexarec.metrics.diversity import calibration
from hexarec.metrics.labels import Pairs, auc
from hexarec.metrics.lists import hits, recall
from hexarec.parts.ask import Ask, Question
from hexarec.parts.biascurves import position_sweep
from hexarec.parts.pointwise import shots, split_cases
from hexarec.parts.prompts import Prompts
from hexarec.parts.rollout import rollout
from hexarec.testing._words import Counter

OPTIONS = 8  # candidates of a list, one of them right
TOP = 2
REPEATS = 15  # times each question is asked, with seeds of its own


def recall_at(k: int) -> Callable[[Any, World], float]:
    """Mean recall@k of a retriever, ties taken as expected."""

    def measure(stage: Any, place: World) -> float:
        return float(np.nanmean(recall(hits(stage.retrieve(place.queries, k), place.truth, k), k)))

    return measure


def auc_of_later_cases(stage: Any, place: World) -> float:
    """AUC of a ranker over the newest tenth of the events, each beside an item its user never met."""
    cases = shots(split_cases(place.data, 0.1, negatives="drawn")[1], 100)
    ranked = stage.rank(cases.queries, cases.lists)
    return auc(Pairs.of(cases.liked.astype(np.float64), ranked.scores.astype(np.float64)))


def found_in_talk(stage: Any, place: World) -> float:
    """Share of dialogues whose first answer holds a true item, for a turn that names what the user liked last."""
    catalog, hits = place.data.catalog, []
    for i in range(len(place.queries)):
        past = place.queries[i].items
        said = f'More like "{catalog.titles[past[-1]]}", please.' if past else "Something new, please."
        reply = stage.converse([Dialogue((Message("user", said),))], Counter(catalog))[0]
        hits.append(bool(set(catalog.rows(list(reply.items)).tolist()) & set(place.truth[i].items.tolist())))
    return float(np.mean(hits))


def concentration(stage: Any, place: World) -> float:
    """The share of first places that go to the three items that are recommended most."""
    made = stage.retrieve(place.queries, 1)
    return measure(made, Reference.of(place.data, place.queries), ["or_ratio@1"])["or_ratio@1"].value


def terse() -> Prompts:
    """Wording of a yes/no question with slots, cut short for a model that reads bytes."""
    pieces = {"history": "{liked}\n", "none": "-", "user": "{slot}", "ask": "[A] {title}", "item": "{slot}"}
    return Prompts("terse", 1, en={**pieces, "yes": "Yes", "no": "No"}, zh={**pieces, "yes": "是", "no": "否"})


def kinds_found(stage: Any, place: World) -> float:
    """Mean number of different topics in lists of six that a retriever finds."""
    return _kinds(stage.retrieve(place.queries, 6))


class Curious(Double):
    """Goes on from the last title of a history; each further draw goes on from the one before it."""

    name = "fake:curious"

    def answer(self, prompt: Prompt, within: Constraint | None) -> Completion:
        """The title itself, its number left out."""
        history = read(prompt.text).history or ("",)
        return Completion(history[-1 - prompt.seed % len(history)].rpartition(" ")[0])


def audience_recall(k: int) -> Callable[[Any, World], float]:
    """Mean share of the users an item is right for among the k that a stage says it will attract."""

    def measure(stage: Any, place: World) -> float:
        asker = place.queries.user[ragged.segments(place.truth.offsets)]
        rows = np.unique(place.truth.items).astype(np.int64)
        found = stage.audience(place.data.catalog, rows, k).users
        right = [asker[place.truth.items == row] for row in rows]
        return float(np.mean([np.isin(true, own).mean() for true, own in zip(right, found, strict=True)]))

    return measure


def guidance_gap(stage: Any, place: World) -> float:
    """Mean squared distance of FilterLLM's head from the collaborative vectors of items with events, over their own."""
    placed = stage.placed_
    warm = np.flatnonzero(~placed.cold)
    gap = stage.heads(place.data.catalog, warm) - placed.items[warm]
    return float((gap**2).mean() / (placed.items[warm] ** 2).mean())


def calls_per_new_item(stage: Any, place: World) -> float:
    """Questions a stage asks its model to place a new item, over four of them."""
    grown = place.data.with_items([Item(f"new{n}", f"Robot story {90 + n}", "A robot tale.") for n in range(4)])
    with run() as work:
        stage.extend(grown.catalog)
    return work.ledger.calls / 4


def told_apart(stage: Any, place: World) -> float:
    """Share of true items that simulated users say suit them, less that of items nobody gave them."""
    rows = []
    for i, query in enumerate(place.queries):
        true = place.truth[i].items[:2].tolist()
        free = np.setdiff1d(np.arange(place.data.n_items), [*place.truth[i].items.tolist(), *query.exclude])
        rows.append([*true, *rng(0, "told apart", i).permutation(free)[:2].tolist()])
    pages = Lists.of(place.data.catalog.key, rows)
    seen = rollout(pages, place.queries, stage, pages=1, per_page=4).seen.shown
    said, true_ = seen.fields["aligned"] > 0, seen.fields["slot"] < 2
    return float(said[true_].mean() - said[~true_].mean())


def satisfaction_of_twins(stage: Any, place: World) -> float:
    """Mean satisfaction, 1 to 10, of rule-based users of the world with what the stage retrieves for them."""
    people = Agent4Rec(mind="rules", taste_by=IALS(factors=8), max_pages=1).fit(place.data)
    rolled = rollout(stage.retrieve(place.queries, 3), place.queries, people, per_page=3)
    return float(np.mean([one["satisfaction"] for one in rolled.visits if one.get("satisfaction")]))


def biased() -> PositionBiased:
    """A model that looks at nothing but the place of an option."""
    return PositionBiased(strength=1.0)


def plain() -> Overlap:
    """A model that likes options whose words stand in the history."""
    return Overlap()


@dataclass
class Filtered:
    """A stage that ranks its own `depth` candidates, or the whole catalog when that is None."""

    stage: Any
    depth: int | None

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Fit the stage."""
        self.stage_ = self.stage.fit(data, seed=seed)
        return self

    def retrieve(self, queries: Queries, k: int) -> Lists:
        """The first k of what the stage ranked."""
        if self.depth is not None:
            given: Lists = self.stage_.retrieve(queries, self.depth)
            return self._ranked(queries, given, k)
        everything = best(
            queries, lambda part: np.zeros((len(part), len(part.catalog)), np.float32), len(queries.catalog)
        )
        return self._ranked(queries, everything, k)

    def _ranked(self, queries: Queries, given: Lists, k: int) -> Lists:
        ranked: Lists = self.stage_.rank(queries, given)
        return ranked.top_k(k)


@dataclass(frozen=True)
class _OneOrder(Ask):
    def orders(self, question: Question) -> list[tuple[int, ...]]:
        """The first round's permutation in every round: the fault of the released code."""
        return super().orders(question)[:1] * self.rounds


@dataclass
class SharedOrders(LLMRank):
    """LLMRank with one permutation for all rounds of a user."""

    @property
    def _ask(self) -> Ask:
        return _OneOrder(self.backend, self.rounds, self.aggregate, self.opponents, self.retries, self.shuffle)


class TitlePrior(Double):
    """Scores a title by what it shares with the history, and by a liking for the title itself, planted by its hash."""

    name = "fake:title-prior"

    def score(self, prompts: Sequence[Prompt], choices: Sequence[Sequence[str]]) -> list[ScoreRow]:
        """Per token: the overlap with the history, and three times the liking."""
        rows = []
        for prompt, texts in zip(prompts, choices, strict=True):
            page, tokens = read(prompt.text), rough_count(texts)
            gain = np.array([overlap(page.history, text) + 3.0 * liking(text) for text in texts])
            rows.append(ScoreRow((gain * tokens).astype(np.float32), tokens))
        return rows

    def label(self, prompts: Sequence[Prompt], labels: Sequence[str]) -> Floats:
        """Not biased: even odds."""
        return np.zeros((len(prompts), len(labels)), np.float32)


def liking(title: str) -> float:
    """The planted prior of a title, in [0, 1)."""
    return float(rng(0, "prior", title.strip()).random())


def one_right(place: World) -> tuple[Queries, Lists, Lists]:
    """Each question REPEATS times with its own seed; OPTIONS candidates, the right one at a drawn place; the truth."""
    n = len(place.queries)
    index = np.repeat(np.arange(n), REPEATS)
    queries = replace(place.queries.take(index), seed=np.arange(len(index)))
    allowed = ~place.queries.forbidden(len(place.data.catalog))
    rows, right = [], []
    for i, q in enumerate(index.tolist()):
        draw, true = rng(i, "one right"), place.truth[q].items
        target = int(true[int(draw.integers(len(true)))])
        others = np.setdiff1d(np.flatnonzero(allowed[q]), true)
        some = draw.permutation(np.append(draw.permutation(others)[: OPTIONS - 1], target))
        rows.append(some.tolist())
        right.append([target])
    return queries, Lists.of(queries.catalog.key, rows), Lists.of(queries.catalog.key, right)


def position_spread(stage: LLMRank, place: World) -> float:
    """Largest minus smallest rate of the right item in the top, over its places in the list that was handed in."""
    queries, candidates, truth = one_right(place)
    if not stage.shuffle:
        curve = position_sweep(stage, queries, candidates, truth, range(OPTIONS), TOP)
        return max(curve.values()) - min(curve.values())
    inside = _is_right(candidates, truth)
    return _spread(ragged.positions(candidates.offsets)[inside], _in_top(stage.rank(queries, candidates), truth))


def first_round_spread(stage: LLMRank, place: World) -> float:
    """The same over the places the first round showed it at."""
    queries, candidates, truth = one_right(place)
    ranked = stage.rank(queries, candidates)
    shown = [note["orders"][0].index(int(truth[i].items[0])) for i, note in enumerate(ranked.notes)]
    return _spread(np.array(shown), _in_top(ranked, truth))


def _is_right(lists: Lists, truth: Lists) -> NDArray[np.bool_]:
    return np.asarray(lists.items == np.repeat(truth.items, lists.lengths))


def _in_top(ranked: Lists, truth: Lists) -> NDArray[np.float64]:
    found = _is_right(ranked, truth) & (ragged.positions(ranked.offsets) < TOP)
    return np.bincount(ragged.segments(ranked.offsets), weights=found, minlength=len(ranked)).astype(np.float64)


def _spread(places: NDArray[Any], found: NDArray[np.float64]) -> float:
    rates = np.bincount(places, weights=found, minlength=OPTIONS) / np.bincount(places, minlength=OPTIONS)
    return float(rates.max() - rates.min())


def positive_variance(stage: LLMRank, place: World) -> float:
    """Variance of the right item's mean place over the rounds, between repeats of the same question."""
    queries, candidates, truth = one_right(place)
    ranked = stage.rank(queries, candidates)
    right = _is_right(ranked, truth)
    points = ranked.scores[right] / np.float32(stage.rounds)
    return float(points.reshape(-1, REPEATS).var(axis=1, ddof=1).mean())


def prior_correlation(stage: Any, place: World) -> float:
    """Size of the correlation between an option's score and the planted liking for its title."""
    queries, candidates, _ = one_right(place)
    some = np.arange(0, len(queries), REPEATS)
    ranked = stage.rank(queries.take(some), candidates.take(some))
    names = place.data.catalog.titles[ranked.items]
    return float(abs(np.corrcoef(ranked.scores, [liking(name) for name in names])[0, 1]))


def _controlled(stage: Any, place: World, queries: Queries) -> Lists:
    """Six items of each question out of all, in the order of likeness to the last three of the history."""
    lists: Lists = stage.control(queries, ItemKNN(last=3).fit(place.data).retrieve(queries, 60), 6)
    return lists


def _kinds(lists: Lists) -> float:
    """Mean number of different topics in a list."""
    return float(np.mean([len(set((one.items % 6).tolist())) for one in lists]))


def kinds_shown(stage: Any, place: World) -> float:
    """Mean number of different topics that a controller leaves in lists of six."""
    return _kinds(_controlled(stage, place, place.queries))


def kinds_for_broad_taste(stage: Any, place: World) -> float:
    """Topics in the lists of users who liked four topics, less those of users who liked four items of one."""
    broad = [[6 * i + (u + i) % 6 for i in range(4)] for u in range(6)]
    narrow = [[6 * i + u for i in range(4)] for u in range(6)]
    shown = []
    for rows in (broad, narrow):
        past = place.data.queries().history.take(np.arange(6)).last(4)
        past = replace(past, item=np.array(rows, np.int32).ravel())
        asked = place.queries.take(slice(0, 6)).with_history(past).excluding(past.item, past.offsets)
        shown.append(_kinds(_controlled(stage, place, asked)))
    return shown[0] - shown[1]


def miscalibration(stage: Any, place: World) -> float:
    """Mean divergence of the topics in lists of six from those of the history."""
    lists = _controlled(stage, place, place.queries)
    return calibration(lists, Reference.of(place.data, place.queries, tags="genres"), 6).value
