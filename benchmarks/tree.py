"""A catalog as a tree on the first day of a system: `python benchmarks/tree.py --data DIR [--lm hf:smollm2]`.

Nothing is learned from interactions (system-cold); a history stands in the question. On MovieLens latest-small
(9,125 films) and Amazon Industrial (3,686 products): the tree with the nearest text, a language model, one who knows
the truth and a draw as choosers, beside listing everything by text; then what a question reads and finds at 1,000,
4,000 and 9,000 films. The model's answers are kept on tape, so that an interrupted run goes on.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from catalogs import films, industrial
from writing import write

from hexarec.core import Dataset, Lists, Queries, rng, run, variant
from hexarec.eval.experiment import Experiment
from hexarec.eval.report import Report
from hexarec.eval.tasks import Ranking
from hexarec.lm.cassette import Cassette
from hexarec.lm.engine import rough_count
from hexarec.lm.open import open_encoder, open_lm
from hexarec.methods.frozen_encoder import FrozenEncoder
from hexarec.methods.llmtreerec import LLMTreeRec
from hexarec.parts.treepages import item_sizes

METRICS = ("recall@20", "ndcg@20", "coverage@20", "ild_tags@20")
SIZES = (1_000, 4_000, 9_000)
WIDTHS = (5, 10, 20, 40)
K = 20
NOTED: dict[tuple[str, str], list[dict[str, Any]]] = {}
NOTES = """# A catalog as a tree: system-cold retrieval

Published (LLMTreeRec, arXiv:2404.00702, table 2, recall@20 / NDCG@20): MIND popularity .0012/.0004, tree with GPT-3.5
.0296/.0359, with GPT-4 .0509/.0619; Amazon Movies and TV .0120/.0047 and .0964/.0741; 85 % fewer tokens than listing.

Nothing is learned from interactions; the question holds what the user liked before, the truth is what they liked last.
Popularity, item-kNN and EASE have nothing to go by here: all items are equal to them and they list the first living
rows of the catalog. On MovieLens these are no draw: its numbers begin with films of 1995 that many know. In the part
of 1,000 items the first 41 rows (all that these lists hold) have 26.5 likes each in the log, which nothing here
reads, and all rows 5.7; of 4,000 items 18.2 against 5.8, of 9,000 29.3 against 5.7. Their recall is that hidden
popularity; `random` is the draw.

Tokens are those of the options on the pages (titles of items, labels and examples of nodes), by rough count where no
model is asked. "everything" is what one prompt with all titles would hold. "beam of 20" keeps 20 nodes of each level
and 4 items of each leaf, and orders these in heats; "text alone" is a tree by k-means without genres. No width was
chosen: all that were tried are there.

Command: `python benchmarks/tree.py --data DIR --lm hf:smollm2 --out docs/results/tree`
"""


@dataclass
class Noted:
    """A tree whose notes are kept under a name; `truth` makes it choose as one who knows."""

    tree: LLMTreeRec
    table: str
    name: str
    truth: Lists | None = None

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Fit the tree."""
        self.tree_ = variant(self.tree).fit(data, seed=seed)
        return self

    def retrieve(self, queries: Queries, k: int) -> Lists:
        """As the tree, and remember the notes."""
        made = self.tree_.retrieve(queries, k) if self.truth is None else self._knowing(queries, k)
        NOTED.setdefault((self.table, self.name), []).extend(dict(note) for note in made.notes)
        return made

    def _knowing(self, queries: Queries, k: int) -> Lists:
        rows = np.array([self._place[name] for name in queries.user_ids()])
        return self.tree_.retrieve_knowing(queries, self.truth.take(rows), k)

    def of(self, queries: Queries) -> Self:
        """With the place of each user's truth."""
        self._place = {name: place for place, name in enumerate(queries.user_ids())}
        return self


def systems(encoder: Any, asked: Any, table: str, sizes: bool = False) -> dict[str, Any]:
    """The choosers and the ways to search; where sizes are compared, the widths of the beam."""
    tree = LLMTreeRec(encoder, domain="film")
    trees = {"tree, nearest text": tree, "tree, knows the truth": tree}
    widths = {f"tree, nearest text, beam of {n}": variant(tree, search="beam", width=n) for n in WIDTHS}
    if sizes:
        alone = variant(tree, levels=())
        widths |= {f"{name}, text alone": variant(one, levels=alone.levels) for name, one in widths.items()}
    else:
        trees |= {
            "tree, nearest text, proportional": variant(tree, search="proportional"),
            "tree, drawn": variant(tree, choose="random"),
        }
        trees |= {f"tree, nearest text, {n} a leaf": variant(tree, per_leaf=n) for n in (1, 2, 10)}
    made: dict[str, Any] = {"everything by text": FrozenEncoder(encoder, fields=tree.fields)}
    for name, one in (trees | widths).items():
        truth = asked.truth if "knows" in name else None
        made[name] = Noted(one, table, name, truth).of(asked.queries)
    return made


def with_model(encoder: Any, lm: Any, table: str, domain: str, sizes: bool = False) -> dict[str, Any]:
    """The model as chooser, by likelihood and by letter, beside the same tree without it; of sizes by letter alone."""
    tree = LLMTreeRec(encoder, domain=domain)
    asks = variant(tree, lm=lm, choose="model", history=5, interests=False)
    trees = {"tree, nearest text": tree, "tree, model by letter": variant(asks, backend="choice")}
    if not sizes:
        trees |= {
            "tree, model by likelihood": variant(asks, backend="likelihood"),
            "tree, model by letter, with interests": variant(asks, backend="choice", interests=True),
        }
    return {name: Noted(one, table, name) for name, one in trees.items()}


def metrics_of(data: Dataset) -> tuple[str, ...]:
    """The metrics; distance of tags only where items have genres."""
    return METRICS if "genres" in data.catalog.attributes else METRICS[:-1]


def part_of(data: Dataset, n: int, seed: int = 0) -> Dataset:
    """The data set with n items drawn, and what the log has of them."""
    keep = np.sort(rng(seed, "items", n).permutation(len(data.catalog))[:n])
    gone = np.setdiff1d(np.arange(len(data.catalog)), keep)
    catalog = data.catalog.remove(data.catalog.ids(gone))
    log = data.interactions.where(np.isin(data.interactions.item, keep))
    return replace(data, catalog=catalog, name=f"{data.name}, {n:,} items").with_log(log)


def costs(table: str, titles: int) -> str:
    """Pages, options and tokens of a question, for every tree of a table."""
    rows = [
        "| system | pages | options | tokens of options | tokens before them | everything |",
        "|---|---|---|---|---|---|",
    ]
    for (own, name), notes in NOTED.items():
        if own == table:
            means = [np.mean([note[key] for note in notes]) for key in ("opened", "shown", "tokens", "condition")]
            rows.append(
                f"| {name} | {means[0]:.1f} | {means[1]:.0f} | {means[2]:,.0f} | {means[3]:,.0f} | {titles:,} |"
            )
    return "\n".join(rows)


def main() -> None:
    """Measure and write the tables."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--data", type=Path, required=True)
    asked.add_argument("--out", type=Path, default=Path("docs/results/tree"))
    asked.add_argument("--runs", type=Path, default=Path("runs/tree"), help="tapes of the model's answers")
    asked.add_argument("--encoder", default="minilm")
    asked.add_argument("--lm", default="", help="for example hf:smollm2; empty leaves the model out")
    asked.add_argument("--only", choices=("text", "model"), help="the tables without a model, or those with one")
    asked.add_argument("--llm-users", type=int, default=60)
    asked.add_argument("--max-users", type=int, default=600)
    told = asked.parse_args()
    encoder = open_encoder(told.encoder)
    both = {"film": films(told.data), "product": industrial(told.data / "amazon_industrial")}
    parts = [part_of(both["film"], n) for n in SIZES]
    reports: list[Report] = []
    texts: list[str] = []
    for data, sizes in [(data, False) for data in both.values()] + [(part, True) for part in parts]:
        if told.only != "model":
            task = Ranking(data, split="system-cold", max_users=told.max_users, metrics=metrics_of(data))
            table = data.name + (" (sizes)" if sizes else "")
            _measure(task, systems(encoder, task.round(), table, sizes), table, reports, texts)
    plan = [(domain, data, False) for domain, data in both.items()] + [("film", part, True) for part in parts]
    for domain, data, sizes in plan if told.lm and told.only != "text" else ():
        task = Ranking(data, split="system-cold", max_users=told.llm_users, metrics=metrics_of(data))
        told.runs.mkdir(parents=True, exist_ok=True)
        lm = Cassette(open_lm(told.lm, dtype="float32"), told.runs / f"{domain}.sqlite")
        table = f"{data.name}, {told.lm}"
        _measure(task, with_model(encoder, lm, table, domain, sizes), table, reports, texts)
    write(told.out, reports, NOTES + "\n" + "\n\n".join(texts) + "\n")


def _measure(task: Ranking, rows: dict[str, Any], table: str, reports: list[Report], texts: list[str]) -> None:
    with run(emit=_told):
        reports.append(Experiment(task, rows, k=K).run())
    catalog = task.data.catalog
    everything = int(item_sizes(catalog, rough_count)[catalog.alive].sum())
    texts.append(f"### {table}: what a question reads\n\n{costs(table, everything)}")
    print(texts[-1], flush=True)


def _told(event: dict[str, Any]) -> None:
    if event.get("kind") == "progress" and event["done"] % 10 == 0 and event["seconds"] > 30:
        print(f"{event['label']}: {event['done']}/{event['total']}, {event['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    main()
