"""Self-play on SPRec's Goodreads sample and on MovieLens-100K: `python benchmarks/sprec.py --data DIR [--lm NAME]`.

Without --lm the small soft-max plays with every sampler and several seeds, on all cases of both data sets. With it a
language model plays on Goodreads, on few pairs and few cases; a scratch folder lets later rounds go on from earlier
ones, and all of them from one supervised tuning.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from writing import write

from hexarec.classic import ItemKNN
from hexarec.core import Catalog, Dataset, IdTable, Interactions, Item, rng, run, truth_of
from hexarec.core.dataset import Users
from hexarec.data.importer import import_data
from hexarec.eval import text
from hexarec.eval.experiment import Experiment
from hexarec.eval.report import Report
from hexarec.eval.tasks import Given, Ranking
from hexarec.lm.open import open_lm
from hexarec.methods.sprec import SPRec

METRICS = ("ndcg@5", "hit@5", "div_ratio@5", "or_ratio@5", "mgu@5", "dgu@5", "div_ratio@1", "or_ratio@1", "entropy@5")
TEST = 1_000  # of Goodreads' 5,000 sequences
NOTES = """
Goodreads: SPRec's public sample of 5,000 sequences (ten books, then the next). 4,000 drawn ones are learned from with
all their transitions; of the other 1,000 the eleventh book is asked for among all 4,058. The paper's own test files are
not public, so its table cannot be rerun. An outside run of SPRec with SmolLM2-1.7B on Goodreads (README of
ClusterExposure-DPO) gives NDCG@5 .0140, HR@5 .022, DivRatio@5 .1266, ORRatio@5 .0870, MGU@5 .0228, DGU@5 .0789: for
lists of neighbours of one generated title and another split, so these numbers stand beside ours and not against them.
DivRatio and ORRatio divide by lists times k. `sft` is supervised tuning alone, `self 3` three rounds of self-play; the
number behind another sampler is its rounds.
"""
SMALL_NOTES = """# Self-play of a small policy: Goodreads and MovieLens-100K
{notes}
All rows but the floors are the small soft-max over items ({seeds} seeds), 2,048 pairs a round. MovieLens-100K: the last
liked film of each user, full catalog. The step of a round was chosen on validation cases of Goodreads (`--part valid`).

Command: `python benchmarks/sprec.py --data DIR --out docs/results`
"""
PLAYED = """# Self-play of a language model: Goodreads
{notes}
All rows but the floors are {lm}: the newest {history} books in a question, {shots} pairs before the first round,
{pairs} a round, {cases} of the 1,000 cases. That is a few dozen steps of a small model: read the direction, not the
level. What rounds do with thousands of pairs stands in [the table of the small policy](sprec.md).

Command: `python benchmarks/sprec.py --data DIR --lm hf:smollm2 --out docs/results`
"""
SMALL = {"small_rate": 0.1, "small_round_rate": 0.005, "small_batch": 256, "shots": 10**6, "epochs": 3, "pairs": 2048}


def listed(words: str, known: set[str]) -> list[str]:
    """The titles of a quoted list, by the catalog: titles hold quotes and commas themselves."""
    pieces, made = words.strip().strip('"').split('", "'), []
    while pieces:
        size = next((n for n in range(len(pieces), 0, -1) if '", "'.join(pieces[:n]) in known), 0)
        if size:
            made.append('", "'.join(pieces[:size]))
        pieces = pieces[size or 1 :]
    return made


def goodreads(data: Path, part: str) -> Given:
    """Sequences to learn from, and the last book of others, which are asked about ("test", or "valid" to tune on)."""
    place = data / "sprec_goodreads"
    names = list(json.loads((place / "id2name.json").read_text("utf-8")).values())
    genres = json.loads((place / "name2genre.json").read_text("utf-8"))
    catalog = Catalog.of(
        [Item(f"b{n}", name, attributes={"genres": tuple(genres.get(name, ()))}) for n, name in enumerate(names)],
        key="sprec:goodreads",
    )
    row, known = {name: n for n, name in enumerate(names)}, set(names)
    rows = []
    for one in json.loads((place / "train.json").read_text("utf-8")):
        words = one["input"].partition("before: ")[2].rpartition(", please write")[0]
        rows.append([row[name] for name in (*listed(words, known), *listed(one["output"].strip(), known))])
    order = rng(0, "sprec", "split").permutation(len(rows))
    asked = np.sort(order[:TEST] if part == "test" else order[TEST : 2 * TEST])
    learned = np.setdiff1d(order[TEST:], asked)
    users = Users(IdTable.of(f"s{n}" for n in range(len(rows))))

    def log(of: np.ndarray, size: int | None) -> Interactions:
        pasts = [rows[n][:size] for n in of.tolist()]
        lengths = np.array([len(past) for past in pasts])
        return Interactions.of(
            {
                "user": np.repeat(of, lengths),
                "item": np.concatenate(pasts),
                "time": np.concatenate([np.arange(n) for n in lengths]).astype(float),
            },
            len(rows), clock=False,
        )  # fmt: skip

    train = Dataset(catalog, log(learned, None), users, name="Goodreads (SPRec's sample)")
    queries = train.with_log(log(asked, -1)).queries(asked)
    last = np.array([rows[n][-1] for n in asked.tolist()], np.int32)
    truth = truth_of(queries, np.arange(len(last) + 1), last, np.arange(len(last)))
    title = f"Goodreads (SPRec's sample), next book, {part}, full catalog, {len(asked):,} cases"
    return Given(train, queries, truth, None, title, METRICS)


def some(task: Given, cases: int) -> Given:
    """The first cases of a task."""
    rows = slice(0, cases)
    title = f"{task.title.rpartition(', ')[0]}, {cases} cases"
    return Given(task.train, task.queries.take(rows), task.truth.take(rows), None, title, METRICS)


def played(rounds: tuple[int, ...], last: int, **options: Any) -> dict[str, SPRec]:
    """Supervised tuning alone, self-play round by round, and every other sampler for `last` rounds."""
    made = {"sft": SPRec(rounds=0, **options)}
    made |= {f"self {n}": SPRec(rounds=n, **options) for n in rounds}
    for kind in ("uniform", "popular", "mix"):
        made[f"{kind} {last}"] = SPRec(rounds=last, negatives=kind, **options)
    return made | {f"hard {last}": SPRec(rounds=last, negatives="hard", hard=ItemKNN(), **options)}


def main() -> None:
    """Measure, print, and with --out keep the tables."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--data", type=Path, required=True)
    reader.add_argument("--out", type=Path)
    reader.add_argument("--part", choices=("valid", "test"), default="test")
    reader.add_argument("--seeds", type=int, default=3)
    reader.add_argument("--lm", default="", help="for example hf:smollm2; empty leaves the language model out")
    reader.add_argument("--shots", type=int, default=160)
    reader.add_argument("--pairs", type=int, default=32)
    reader.add_argument("--history", type=int, default=5)
    reader.add_argument("--rounds", type=int, default=2, help="of the language model against itself; others play one")
    reader.add_argument("--cases", type=int, default=36)
    reader.add_argument("--runs", type=Path, default=Path("runs/sprec"), help="--resume goes on from here")
    reader.add_argument("--resume", action="store_true")
    told = reader.parse_args()
    with run(emit=_told, scratch=told.runs / "scratch"):
        reports = language_model(told) if told.lm else small_policy(told)
    notes = (PLAYED if told.lm else SMALL_NOTES).format(**vars(told), notes=NOTES)
    for report in reports:
        print(text.markdown(report))
    if told.out is not None:
        write(told.out / ("sprec-lm" if told.lm else "sprec"), reports, notes)


def small_policy(told: argparse.Namespace) -> list[Report]:
    """The small soft-max with every sampler, on both data sets."""
    films = Ranking(import_data(told.data / "ml100k").dataset, split="last", part=told.part, metrics=METRICS)
    rows = played((1, 3, 5), 5, **SMALL) | {"self T=1 5": SPRec(rounds=5, temperature=1.0, **SMALL)}
    return [
        Experiment(task, rows, seeds=range(told.seeds), k=5).run(told.runs / name, resume=told.resume)
        for name, task in (("goodreads", goodreads(told.data, told.part)), ("ml100k", films))
    ]


def language_model(told: argparse.Namespace) -> list[Report]:
    """A language model as it is, tuned, and against itself and others."""
    options: dict[str, Any] = {
        "lm": open_lm(told.lm, dtype="float32"), "shots": told.shots, "epochs": 1, "pairs": told.pairs,
        "history": told.history, "domain": "book", "batch": 8,
    }  # fmt: skip
    rows = {"zero-shot": SPRec(rounds=0, **{**options, "shots": 0})}
    rows |= played(tuple(range(1, told.rounds + 1)), 1, **options)
    task = some(goodreads(told.data, told.part), told.cases)
    return [Experiment(task, rows, k=5).run(told.runs / "lm", resume=told.resume)]


def _told(event: dict[str, Any]) -> None:
    if event.get("kind") == "progress" and event["done"] and event["seconds"] > 20:
        left = event["seconds"] * (event["total"] / event["done"] - 1)
        print(f"{event['label']}: {event['done']}/{event['total']}, {left:.0f} s left", flush=True)


if __name__ == "__main__":
    main()
