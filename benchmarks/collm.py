"""CoLLM's own split of MovieLens-1M as labelled pairs: `python benchmarks/collm.py --data DIR [--lm hf:smollm2]`.

Learned from are the paper's training pairs (33,891), validated on its validation pairs (10,401), asked its test pairs
(7,331), each with the liked films before it as the file states them. Collaborative models and floors answer all test
pairs; with --lm a drawn part of them is asked of everybody, the method with each collaborative model included.
"""

from __future__ import annotations

import argparse
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from frames import columns
from writing import write

from hexarec.classic import BPR, DIN, LightGCN, SASRec
from hexarec.core import (
    KINDS,
    Catalog,
    Dataset,
    Exposures,
    History,
    IdTable,
    Interactions,
    Item,
    Lists,
    Queries,
    fitted,
    holdout,
    ragged,
    rng,
    run,
)
from hexarec.core.dataset import Users
from hexarec.eval import text
from hexarec.eval.experiment import Experiment
from hexarec.eval.floors import LABEL_FLOORS
from hexarec.eval.labels import Labels
from hexarec.lm.open import open_lm
from hexarec.methods.collm import CoLLM

METRICS = ("auc", "uauc", "uauc_users", "auc[warm_pairs]", "uauc[warm_pairs]", "auc[cold_pairs]", "uauc[cold_pairs]")
NOTES = """# CoLLM's split of MovieLens-1M

The paper's own training, validation and test pairs: ten, five and five months. All rows learn from the training pairs;
early stopping looks at validation pairs, and nothing was chosen by test pairs. Warm: the user and the film have at
least three events each in training and validation (the paper's bound, there of training alone).

Published for these pairs with Vicuna-7B (arXiv:2310.19488v3, tables II to V):

| | AUC | uAUC | | AUC | uAUC |
|---|---|---|---|---|---|
| MF | .6482 | .6361 | CoLLM-MF | .7295 | .6875 |
| LightGCN | .5959 | .6499 | CoLLM-LightGCN | .7100 | .6967 |
| SASRec | .7078 | .6884 | CoLLM-SASRec | .7235 | .6990 |
| DIN | .7166 | .6459 | CoLLM-DIN | .7353 | .6923 |
| TALLRec | .7097 | .6818 | in-context | .5320 | .5268 |
| mean of MF and TALLRec | .7239 | | UI tokens | .7214 | .6563 |
| T1 | .7360 | .6946 | T2 | .7418 | .6906 |
| T3 | .7131 | .6661 | | | |
| TALLRec, Qwen2-1.5B | .7027 | .6638 | CoLLM-MF, Qwen2-1.5B | .7354 | .6950 |
| TALLRec, CoRA's authors | .7044 | .6741 | CoLLM-MF, CoRA's authors | .7028 | .6714 |

Here MF is BPR, which learns from likes alone, as LightGCN and SASRec do; a user is folded in from the liked films that
are stated with each pair. DIN learns from likes and dislikes. The floors are those of labelled pairs.
"""
SAMPLE = """
The second table: {lm}, {shots} of the training pairs, {epochs} and {map_epochs} epochs, the newest {history} liked
films in a question, at most {pairs} test pairs of each of {users} drawn users. Every row answers the same pairs, so the
table is compared within itself; its intervals are wide.
"""
COMMAND = "\nCommand: `python benchmarks/collm.py --data DIR --lm hf:smollm2 --out docs/results`\n"


def tables(data: Path) -> dict[str, dict[str, np.ndarray]]:
    """The parts of the split by name, column by column."""
    place = data / "collm_ml1m" / "ml-1m.zip"
    with zipfile.ZipFile(place) as file:
        return {part: columns(file.read(f"ml-1m/{part}_ood2.pkl")) for part in ("train", "valid", "test")}


def catalog_of(parts: dict[str, dict[str, np.ndarray]]) -> Catalog:
    """All films that are asked about or stand in a history, by number."""
    titles: dict[int, str] = {}
    for part in parts.values():
        titles |= dict(zip(part["iid"].tolist(), part["title"].tolist(), strict=True))
        for items, names in zip(part["his"].tolist(), part["his_title"].tolist(), strict=True):
            titles |= dict(zip(items[1:], names[1:], strict=True))  # the first is padding
    return Catalog.of([Item(str(number), title) for number, title in sorted(titles.items())], key="collm:ml1m")


def asked_in(part: dict[str, np.ndarray], catalog: Catalog, users: IdTable) -> Exposures:
    """One question a row, with its stated history."""
    past = [items[1:] for items in part["his"].tolist()]
    offsets = ragged.offsets_of(np.array([len(one) for one in past], np.int64))
    item = catalog.rows([str(one) for row in past for one in row])
    now = part["timestamp"].astype(np.float64)
    back = np.diff(offsets)[ragged.segments(offsets)] - ragged.positions(offsets)
    n = len(item)
    history = History(
        offsets, item, now[ragged.segments(offsets)] - back, np.full(n, KINDS.index("rate"), np.int8),
        np.full(n, np.nan, np.float32), np.ones(n, bool),
    )  # fmt: skip
    rows = users.rows([str(one) for one in part["uid"].tolist()])
    shown = Lists.of(catalog.key, catalog.rows([str(one) for one in part["iid"].tolist()])[:, None].tolist())
    queries = Queries.of(catalog, users, rows, history, now=now)
    return Exposures(queries, shown.with_field("gain", part["label"].astype(np.float32)))


def split(data: Path) -> tuple[Dataset, float, Exposures]:
    """Training and validation pairs as one data set, the share of it that validates, and the pairs to be asked."""
    parts = tables(data)
    catalog = catalog_of(parts)
    users = IdTable.of(sorted({str(one) for part in parts.values() for one in part["uid"].tolist()}, key=int))
    both = {name: np.concatenate([parts["train"][name], parts["valid"][name]]) for name in parts["train"]}
    seen = asked_in(both, catalog, users)
    log = Interactions.of(
        {"user": seen.queries.user, "item": seen.shown.items, "time": seen.queries.now, "liked": both["label"] > 0},
        len(users),
        like_rule="rating above 3",
    )
    made = Dataset(catalog, log, Users(users), name="CoLLM ML-1M", exposures=seen)
    return made, len(parts["valid"]["uid"]) / len(both["uid"]), asked_in(parts["test"], catalog, users)


def some(asked: Exposures, users: int, pairs: int) -> Exposures:
    """At most `pairs` pairs of each of `users` drawn users."""
    who = asked.queries.user
    chosen = rng(0, "collm", "users").permutation(np.unique(who))[:users]
    order = rng(0, "collm", "pairs").permutation(len(who))
    rows = np.sort(np.concatenate([order[who[order] == one][:pairs] for one in chosen.tolist()]))
    return Exposures(asked.queries.take(rows), asked.shown.take(rows))


@dataclass
class Early:
    """A stage that learns from what comes before the newest share, as it does inside CoLLM."""

    stage: Any
    share: float

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Fit on the older part."""
        self.stage_ = fitted(self.stage, holdout(data, self.share).train, seed)
        return self

    def rank(self, queries: Queries, candidates: Lists) -> Lists:
        """What the stage says."""
        ranked: Lists = self.stage_.rank(queries, candidates)
        return ranked


@dataclass
class Mean:
    """The mean of two probabilities; a score that is none goes through a sigmoid."""

    cf: Any
    titles: Any

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Fit both, which are shared with the rows that show them alone."""
        self.cf_, self.titles_ = (fitted(one, data, seed) for one in (self.cf, self.titles))
        return self

    def rank(self, queries: Queries, candidates: Lists) -> Lists:
        """Each pair stands alone in its list, so places do not matter."""
        one, other = (stage.rank(queries, candidates).scores for stage in (self.cf_, self.titles_))
        return candidates.scored((1.0 / (1.0 + np.exp(-one)) + other) / 2.0)


def classics() -> dict[str, Any]:
    """The collaborative models by the names of the paper."""
    return {
        "MF": BPR(),
        "LightGCN": LightGCN(),
        "SASRec": SASRec(length=50),
        "DIN": DIN(negatives="log", last=10),
    }


def methods(spec: str, share: float, told: argparse.Namespace) -> dict[str, Any]:
    """The language model as it is, tuned on titles, and tuned with each collaborative model."""
    lm = open_lm(spec, dtype="float32")
    base: dict[str, Any] = {
        "lm": lm, "shots": told.shots, "history": told.history, "epochs": told.epochs, "map_epochs": told.map_epochs,
        "batch": told.batch, "share": share, "most_valid": told.valid, "domain": "film",
    }  # fmt: skip
    cf, titles = classics(), CoLLM(**base)
    made: dict[str, Any] = {"zero-shot": CoLLM(**{**base, "shots": 0}), "titles alone (TALLRec)": titles}
    made["mean of MF and titles"] = Mean(Early(cf["MF"], share), titles)
    return made | {f"CoLLM-{name}": CoLLM(cf=stage, **base) for name, stage in cf.items() if name in told.cf}


def main() -> None:
    """Measure, print, and with --out keep the tables."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--data", type=Path, required=True)
    reader.add_argument("--out", type=Path)
    reader.add_argument("--lm", default="", help="for example hf:smollm2; empty leaves the method out")
    reader.add_argument("--cf", nargs="*", default=list(classics()))
    reader.add_argument("--shots", type=int, default=192)
    reader.add_argument("--history", type=int, default=5)
    reader.add_argument("--epochs", type=int, default=2)
    reader.add_argument("--batch", type=int, default=8)
    reader.add_argument("--map-epochs", type=int, default=1)
    reader.add_argument("--valid", type=int, default=60, help="validation pairs looked at after an epoch")
    reader.add_argument("--users", type=int, default=24, help="test users that the language model is asked about")
    reader.add_argument("--pairs", type=int, default=8, help="test pairs of each")
    reader.add_argument("--runs", type=Path, default=Path("runs/collm"), help="--resume goes on from here")
    reader.add_argument("--resume", action="store_true")
    told = reader.parse_args()
    train, share, asked = split(told.data)
    early = {name: Early(stage, share) for name, stage in {**LABEL_FLOORS, **classics()}.items()}
    options = {"metrics": METRICS, "floors": False, "baseline": "item mean gain"}
    reports = [Experiment(Labels(train, asked), early, **options).run()]
    notes = NOTES
    if told.lm:
        rows = early | methods(told.lm, share, told)
        with run(emit=_told, scratch=told.runs / "scratch"):
            task = Labels(train, some(asked, told.users, told.pairs))
            reports.append(Experiment(task, rows, **options).run(told.runs, resume=told.resume))
        notes += SAMPLE.format(**vars(told))
    for report in reports:
        print(text.markdown(report))
    if told.out is not None:
        write(told.out / "collm", reports, notes + COMMAND)


def _told(event: dict[str, Any]) -> None:
    if event.get("kind") == "progress" and event["done"] and event["seconds"] > 20:
        left = event["seconds"] * (event["total"] / event["done"] - 1)
        print(
            f"{event['label']}: {event['done']}/{event['total']}, {event['seconds']:.0f} s, {left:.0f} s left",
            flush=True,
        )


if __name__ == "__main__":
    main()
