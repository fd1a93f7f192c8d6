"""New items: `python benchmarks/cold_items.py --data DIR [--out docs/results] [--runs runs/cold] [--resume]`.

A fifth of the items vanishes from the log of Amazon Industrial, MovieLens latest-small and the bundled films; half of
them are asked for, and each user's last warm event as well. Learned on one training log: the floors, iALS, content
likeness (frozen_encoder), a plain two-tower model, LEARN with its ablations, and FilterLLM over iALS. On the item side
the question is which users a new item will find: FilterLLM in one pass beside text-to-judgement (ColdLLM), whose pairs
SmolLM2 judges one at a time, and with the item's text read once for all its users.
"""

from __future__ import annotations

import argparse
import ast
import csv
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from writing import write

from hexarec.classic import IALS
from hexarec.core import Catalog, Dataset, IdTable, Interactions, Item, Queries, Users, rng, run, variant
from hexarec.core import ragged as rg
from hexarec.data import films
from hexarec.data.importer import import_data
from hexarec.data.split import Cases, cold_items, leave_last
from hexarec.eval import text
from hexarec.eval.experiment import Experiment
from hexarec.eval.tasks import Given
from hexarec.lm.open import open_encoder, open_lm
from hexarec.methods.coldllm import ColdLLM
from hexarec.methods.filterllm import FilterLLM
from hexarec.methods.frozen_encoder import FrozenEncoder
from hexarec.methods.learn_towers import LearnTowers
from hexarec.metrics import bootstrap
from hexarec.parts.encoded import forget_encoded

FIELDS = {
    "amazon_industrial": ("title", "brand"),
    "ml_latest_small": ("title", "genres"),
    "films": ("title", "genres", "keywords"),
}
DOMAIN = {"amazon_industrial": "product", "ml_latest_small": "film", "films": "film"}
TUNED = "films"  # where the judge and FilterLLM's own model are tuned
METRICS = ("recall@20", "ndcg@20")
K = 20  # users of an item, items of a list
KEPT = 100  # users that ColdLLM judges
TWO = 2  # items that the slow way of judging is asked about
LEAST = 5  # true users of an item that is judged

NOTES = """# New items: LEARN, FilterLLM, and judging one user at a time

20 % of the items vanish from the log (seed 0), half of them are the test; nothing was tuned on it. Encoder: MiniLM over
title and brand (Amazon), title and genres (MovieLens), title, genres and keywords (films, whose users are simulated).
"new items only" ranks the hidden test items among each other, "full catalog" all items; "last warm event" leaves the
last event of each user out. Amazon's log is what the histories and targets of the cases of MiniOneRec's edition hold.

The users of a new item: the share of its true users (at most 20 of them) among the 20 it is given, first for all new
items, then for a seeded sample of those with five true users or more, which stand in every row with a cost, with 95 %
bootstrap intervals over items. SmolLM2-135M judges the users that two filters keep; "drawn" is what they give in no
order. "One at a time" has the user's history in front and a call for each pair, "item read once" has the item in front.
On films judge and reader were tuned: 64 pairs and 3 passes, and 2 passes over the warm items; elsewhere the judge is
asked as it is. Tokens are those read, without what a shared prefix saved. Seconds are of two cores with other work
beside: read the ratios within one table.

Command: `python benchmarks/cold_items.py --data DIR --out docs/results`
"""


def amazon(data: Path) -> Dataset:
    """Items with title and brand; the log is the union of the cases' histories and targets, in order."""
    place = data / "amazon_industrial"
    told = json.loads((place / "Industrial_and_Scientific.item.json").read_text("utf-8"))
    items = [Item(key, one["title"], attributes={"brand": one["brand"]}) for key, one in told.items()]
    catalog = Catalog.of(items, key="amazon_industrial")
    seen: dict[str, dict[str, None]] = {}
    for part in ("valid", "test"):
        with (place / f"{part}.csv").open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                past = [str(item) for item in ast.literal_eval(row["history_item_id"])]
                seen.setdefault(row["user_id"], {}).update(dict.fromkeys([*past, row["item_id"]]))
    users = Users(IdTable.of(sorted(seen)))
    rows = [(n, item, at) for n, user in enumerate(users.ids.ids) for at, item in enumerate(seen[user])]
    user, item, at = zip(*rows, strict=True)
    log = {"user": np.array(user), "item": catalog.rows(list(item)), "time": np.array(at, float)}
    return Dataset(catalog, Interactions.of(log, len(users), clock=False), users, name="amazon_industrial")


def loaded(name: str, data: Path) -> Dataset:
    """The data set of that name; years stay in the titles."""
    made = {"amazon_industrial": lambda: amazon(data), "films": films.load}
    return made[name]() if name in made else import_data(data / name).dataset


@dataclass(frozen=True)
class Cut:
    """train: what may be learned from. cold: cases about hidden items. warm: cases about last events."""

    train: Dataset
    cold: Cases
    warm: Cases

    @property
    def pool(self) -> np.ndarray:
        """Rows of the hidden test items."""
        return np.unique(self.cold.truth.items).astype(np.int64)

    def audiences(self) -> dict[int, np.ndarray]:
        """The true users of each hidden test item."""
        user = self.cold.queries.user[rg.segments(self.cold.truth.offsets)]
        return {int(row): user[self.cold.truth.items == row] for row in self.pool}


def cut_of(data: Dataset) -> Cut:
    """Hide items, then the last warm event of each user."""
    hidden = cold_items(data, seed=0)
    last = leave_last(hidden.train, valid=False)
    train = last.train
    return Cut(train, Cases(train.queries(hidden.test.queries.user), hidden.test.truth), last.test)


def tasks(cut: Cut, name: str) -> list[Given]:
    """Three questions about one training log."""
    asked, truth = cut.cold.queries, cut.cold.truth
    inside = np.zeros(len(cut.train.catalog))
    inside[cut.pool] = 1.0
    shelf = replace(cut.train.catalog, attributes={**cut.train.catalog.attributes, "hidden": inside})
    only: Queries = replace(asked, catalog=shelf).filtered({"field": "hidden", "op": "=", "value": 1.0})
    n, users, last = f"{len(cut.pool)} new items", f"{len(asked)} users", f"{len(cut.warm)} users"
    return [
        Given(cut.train, only, truth, None, f"{name}: new items only, {n}, {users}", METRICS),
        Given(cut.train, asked, truth, None, f"{name}: new items in the full catalog, {users}", METRICS),
        Given(cut.train, cut.warm.queries, cut.warm.truth, None, f"{name}: last warm event, {last}", METRICS),
    ]  # fmt: skip


def systems(name: str, encoder: Any) -> dict[str, Any]:
    """Everything that is compared, beside the floors."""
    learn: dict[str, Any] = {"fields": FIELDS[name]}
    return {
        "ials": IALS(),
        "content likeness (frozen_encoder)": FrozenEncoder(encoder, fields=FIELDS[name]),
        "two towers, plain": LearnTowers(encoder, layers=0, loss="last", target="single", **learn),
        "learn_towers": LearnTowers(encoder, **learn),
        "learn_towers, layers=0": LearnTowers(encoder, layers=0, **learn),
        "learn_towers, target=raw": LearnTowers(encoder, target="raw", **learn),
        "learn_towers, inputs=ids": LearnTowers(encoder, inputs="ids", epochs=20, **learn),
        "filterllm over ials": FilterLLM(encoder=encoder, fields=FIELDS[name]),
    }


def found(users: Sequence[np.ndarray], rows: np.ndarray, true: dict[int, np.ndarray]) -> dict[str, Any]:
    """Mean share of the true users, at most K of them, among the K first of each item, with its interval over items."""
    pairs = zip(users, rows.tolist(), strict=True)
    shares = np.array([np.isin(own[:K], true[row]).sum() / min(K, len(true[row])) for own, row in pairs])
    return _row(shares)


def drawn(kept: Sequence[np.ndarray], rows: np.ndarray, true: dict[int, np.ndarray]) -> dict[str, Any]:
    """The same share for users kept by the filters in an order that is drawn: its expectation."""
    pairs = zip(kept, rows.tolist(), strict=True)
    hits = [np.isin(own, true[row]).sum() * min(K / len(own), 1.0) / min(K, len(true[row])) for own, row in pairs]
    return _row(np.array(hits))


def _row(shares: np.ndarray) -> dict[str, Any]:
    value = bootstrap(shares)
    return {"items": len(shares), "recall@20": float(shares.mean()), "low": value.low, "high": value.high}


class OneAtATime:
    """A model that is asked one question a call, as a loop over pairs would."""

    def __init__(self, lm: Any) -> None:
        self._lm = lm

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lm, name)

    def label(self, prompts: Sequence[Any], labels: Sequence[str]) -> Any:
        """One by one."""
        return np.concatenate([self._lm.label([prompt], labels) for prompt in prompts])


def timed(stage: Any, catalog: Catalog, rows: np.ndarray, k: int) -> tuple[np.ndarray, dict[str, float]]:
    """The audiences of items, and what one of them took."""
    forget_encoded()
    with run() as work:
        started = time.perf_counter()
        users = stage.audience(catalog, rows, k).users
        seconds = time.perf_counter() - started
    n, spent = len(rows), work.ledger
    tokens = (spent.tokens_in - spent.tokens_cached) / n
    return users, {"forwards": max(spent.calls, n) / n, "tokens": tokens, "seconds": seconds / n}


def item_side(name: str, cut: Cut, encoder: Any, lm: Any, told: argparse.Namespace) -> list[dict[str, Any]]:
    """Which users a new item finds, and at what cost."""
    true, rows = cut.audiences(), cut.pool
    catalog, given = cut.train.catalog, {"fields": FIELDS[name]}
    unseen = np.flatnonzero(cut.train.interactions.counts(len(catalog), liked=True) == 0)
    train = replace(cut.train, catalog=catalog.remove(catalog.ids(unseen)))  # new items arrive after the fit
    one_pass = FilterLLM(encoder=encoder, **given).fit(train)
    tuned = {"shots": told.shots, "epochs": 3} if name == TUNED else {}
    judge = ColdLLM(lm, encoder, kept=KEPT, history=3, domain=DOMAIN[name], **tuned, **given).fit(train)
    kept = judge.filtered(catalog, rows).users
    many = np.flatnonzero([len(true[row]) >= LEAST for row in rows.tolist()])
    some = np.sort(rng(0, "judged", name).permutation(many)[: told.judged])
    busy = np.argsort(-np.diff(cut.train.interactions.offsets), kind="stable")
    table: list[dict[str, Any]] = []
    for part in (np.arange(len(rows)), some):
        asked, own = rows[part], [kept[n] for n in part]
        right = [users[np.isin(users, true[row])] for users, row in zip(own, asked.tolist(), strict=True)]
        table += [
            {"system": "the busiest users", **found([busy] * len(asked), asked, true)},
            {"system": "the filters' first 20", **found(own, asked, true)},
            {"system": f"the {KEPT} that the filters keep, drawn", **drawn(own, asked, true)},
            {"system": f"a judge that is right about all {KEPT} kept", **found(right, asked, true)},
        ]
        if len(part) > len(some):
            users = one_pass.audience(catalog, asked, K).users
            table.append({"system": "filterllm, MiniLM frozen", **found(users, asked, true)})
    readers = {"filterllm, MiniLM frozen": one_pass}
    if name == TUNED:
        readers["filterllm, SmolLM2 tuned"] = FilterLLM(lm, epochs=told.epochs, **given).fit(train)
    for label, stage in readers.items():
        users, cost = timed(stage, catalog, rows[some], K)
        table.append({"system": label, **found(users, rows[some], true), **cost})
    return table + judged(judge, catalog, rows[some], true, lm)


def judged(
    judge: ColdLLM, catalog: Catalog, some: np.ndarray, true: dict[int, np.ndarray], lm: Any
) -> list[dict[str, Any]]:
    """The judge's users among those kept, and the cost of both ways of asking; the slow one is asked of two items.

    What a pair is judged does not depend on how many are: the users among the first 50 are read off.
    """
    users, once = timed(judge, catalog, some, KEPT)
    order = judge.filtered(catalog, some).users
    half = [own[np.isin(own, first[: KEPT // 2])] for own, first in zip(users, order, strict=True)]
    loops, alone = timed(variant(judge, first="user", lm=OneAtATime(lm)), catalog, some[:TWO], KEPT)
    return [
        {"system": f"{KEPT // 2} users judged, item read once", **found(half, some, true)},
        {"system": f"{KEPT} users judged, item read once", **found(users, some, true), **once},
        {"system": f"{KEPT} users judged, item read once, two items", **found(users[:TWO], some[:TWO], true)},
        {"system": f"{KEPT} users judged, one at a time, two items", **found(loops, some[:TWO], true), **alone},
    ]


def shown(name: str, table: list[dict[str, Any]]) -> str:
    """The item side as Markdown."""
    heads = {"system": "system", "items": "new items", "recall@20": "recall@20 of users"}
    heads |= {key: f"{key} per item" for key in ("forwards", "tokens", "seconds")}
    lines = [f"## {name}: the users of a new item", "", f"| {' | '.join(heads.values())} |", "|---" * len(heads) + "|"]
    for row in table:
        cells = [row.get(key, "") for key in heads]
        cells[2] = f"{row['recall@20']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
        lines.append(f"| {' | '.join(f'{one:.3g}' if isinstance(one, float) else str(one) for one in cells)} |")
    return "\n".join(lines) + "\n"


def _told(event: dict[str, Any]) -> None:
    often = event.get("total") and event["done"] % max(event["total"] // 5, 1)
    if event.get("kind") == "progress" and event["done"] and event["seconds"] > 30 and not often:
        print(f"{event['label']}: {event['done']}/{event['total']}, {event['seconds']:.0f} s", flush=True)


def main() -> None:
    """Measure, print, and with --out keep the tables."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--data", type=Path, required=True)
    reader.add_argument("--only", nargs="*", choices=tuple(FIELDS), default=list(FIELDS))
    reader.add_argument("--lm", default="hf:smollm2", help="the judge and the tuned reader")
    reader.add_argument("--judged", type=int, default=8, help="new items judged a data set")
    reader.add_argument("--shots", type=int, default=64, help="pairs that tune the judge (films)")
    reader.add_argument("--epochs", type=int, default=2, help="passes that tune FilterLLM over the model (films)")
    reader.add_argument("--out", type=Path)
    reader.add_argument("--runs", type=Path, default=Path("runs/cold"))
    reader.add_argument("--resume", action="store_true")
    told = reader.parse_args()
    encoder, lm = open_encoder("minilm"), open_lm(told.lm)
    reports, sides, more = [], [], {}
    with run(emit=_told, scratch=told.runs / "scratch"):
        for name in told.only:
            cut = cut_of(loaded(name, told.data))
            for n, task in enumerate(tasks(cut, name)):
                experiment = Experiment(task, systems(name, encoder), k=K)
                reports.append(experiment.run(told.runs / f"{name}-{n}", resume=told.resume))
                print(text.markdown(reports[-1]), flush=True)
            kept = told.runs / f"{name}-items.json"
            if not (told.resume and kept.is_file()):
                kept.write_text(json.dumps(item_side(name, cut, encoder, lm, told)), "utf-8")
            more[name] = json.loads(kept.read_text("utf-8"))
            sides.append(shown(name, more[name]))
            print(sides[-1], flush=True)
    if told.out is not None:
        write(told.out / "cold-items", reports, NOTES + "\n" + "\n".join(sides), {"item side": more})


if __name__ == "__main__":
    main()
