"""Simulated users on ML-1M: `python benchmarks/agent4rec.py --data DIR [--lm hf:smollm2]`.

What is asked of them: do measured traits steer what they do, what is their yes worth against held-out items (1 to m),
when do they leave, do they prefer recommenders that know them, and what does a loop of retraining do to what is shown.
Each for the rule-based twins of 1,000 users; with --lm also for agents played by a model, on a sample, beside the twins
of the same users. Answers of the model are kept in --runs, so that an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from writing import write

from hexarec.classic import BPR, IALS, MMR, Random
from hexarec.core import Catalog, Dataset, IdTable, Interactions, Item, Lists, Queries, Users, fitted, fresh, rng, run
from hexarec.eval.experiment import Experiment
from hexarec.eval.session import Discrimination, Session, SessionRound, Trend, discrimination, hazards, mixed, trend
from hexarec.lm.cassette import Cassette
from hexarec.lm.open import open_lm
from hexarec.methods.agent4rec import Agent4Rec
from hexarec.metrics.visits import MEASURES
from hexarec.parts.rollout import Rollout, rollout, rounds
from hexarec.parts.traits import NAMES

RATIOS = (1, 3, 9)
PAGE = 20  # items of a mixed page
NOTES = """# Agent4Rec: simulated users on ML-1M

{users:,} users of ML-1M (the sample released with Zhang et al. 2024, arXiv:2310.10108; plots of one sentence). Users
and recommenders learn from the released train and valid parts, the test part is held out; the parts are no cut in time.
Ratings are known for about 23 films a user; the other events count as likes. The twin's taste is iALS, so a recommender
that is iALS too would be judged by itself: MF here is BPR. Published, 1,000 agents of gpt-3.5-turbo and LightGCN: click
rate .326, likes 1.97 a page, exit page 3.23, exit page by activity 2.67 / 3.74 / 4.37; recall about .75 and a third of
false positives at every ratio. Sizes are chosen so that all of it takes {minutes} core-minutes at most: {sample} users
for the model, {mixed} for its 1:m pages.

Command: `{command}`
"""


def read(folder: Path) -> tuple[Dataset, Lists]:
    """The log to learn from, and the held-out items of each user as lists."""
    with (folder / "movie_detail.csv").open(encoding="utf-8", errors="replace", newline="") as file:
        films = [
            Item(
                row["movie_id"],
                row["title"],
                row["summary"],
                {"genres": tuple(row["genres"].split("|")), "rating": float(row["rating"])},
            )
            for row in csv.DictReader(file)
        ]
    catalog = Catalog.of(films)
    parts = [_pairs(folder / name) for name in ("train.txt", "valid.txt")]
    user, item = (np.concatenate([part[n] for part in parts]) for n in (0, 1))
    rows = catalog.rows([str(one) for one in item.tolist()])
    value = _ratings(folder / "agg_top_25.csv", catalog, user, rows)
    n = int(user.max()) + 1
    columns = {
        "user": user, "item": rows, "time": np.arange(len(user), dtype=np.float64), "value": value,
        "liked": ~(value < 4.0),
    }  # fmt: skip
    log = Interactions.of(columns, n, clock=False, like_rule="rating of 4 or more, or none known")
    data = Dataset(catalog, log, Users(IdTable.of(f"u{row}" for row in range(n))), name="ML-1M, Agent4Rec sample")
    held: list[list[int]] = [[] for _ in range(n)]
    for who, what in zip(*_pairs(folder / "test.txt"), strict=True):
        held[int(who)].append(int(catalog.rows([str(what)])[0]))
    return data, Lists.of(catalog.key, held)


def _pairs(path: Path) -> tuple[np.ndarray, np.ndarray]:
    lines = [line.split() for line in path.read_text("utf-8").splitlines()]
    users = np.array([int(row[0]) for row in lines for _ in row[1:]])
    return users, np.array([int(one) for row in lines for one in row[1:]])


def _ratings(path: Path, catalog: Catalog, user: np.ndarray, item: np.ndarray) -> np.ndarray:
    """The rating of each event, NaN where the release does not say."""
    place = {title: row for row, title in enumerate(catalog.titles.tolist())}
    known: dict[tuple[int, int], float] = {}
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        for row in csv.DictReader(file):
            titles, ratings = row["movie_title_list"].split("; "), row["rating_list"].split("; ")
            for title, rating in zip(titles, ratings, strict=False):
                if title in place:
                    known[int(row["user_id"]), place[title]] = float(rating)
    return np.array([known.get(pair, np.nan) for pair in zip(user.tolist(), item.tolist(), strict=True)], np.float32)


@dataclass
class Varied:
    """A recommender whose fifty best are picked from by MMR."""

    recommender: Any
    controller: Any

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Fit both."""
        self.recommender_ = fresh(self.recommender).fit(data, seed=seed)
        self.controller_ = fresh(self.controller).fit(data, seed=seed)
        return self

    def retrieve(self, queries: Queries, k: int) -> Lists:
        """k of the fifty best."""
        made: Lists = self.controller_.control(queries, self.recommender_.retrieve(queries, 50), k)
        return made


class Coin:
    """Says yes to half of all items."""

    def react(self, visits: Sequence[Any], shown: Lists) -> list[Any]:
        """One page, then leaves."""
        made = []
        for place, visit in enumerate(visits):
            yes = rng(0, "coin", str(visit["user"])).random(len(shown[place].items)) < 0.5
            judged = [
                {"item": str(one), "aligned": bool(said), "liked": False}
                for one, said in zip(shown[place].items.tolist(), yes, strict=True)
            ]
            made.append({**visit, "page": 1, "exited": True, "judged": judged, "satisfaction": 5})
        return made


def told_apart(people: dict[str, Any], data: Dataset, held: Lists, rows: np.ndarray) -> str:
    """The 1:m table."""
    queries, truth = data.queries(rows), held.take(rows)
    lines = [
        f"| 1:m, {len(rows):,} users, {PAGE} a page | m | yes | recall | false positives | precision | AUC | failed |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, stage in people.items():
        for m in RATIOS:
            made: Discrimination = discrimination(stage, queries, mixed(queries, truth, PAGE, m))
            numbers = " | ".join(
                f"{value:.3f}" if isinstance(value, float) else str(value) for value in asdict(made).values()
            )
            lines.append(f"| {name} | {m} | {numbers} |")
    return "\n".join(lines)


def traits(people: Any, rolled: Rollout, name: str) -> list[str]:
    """What each trait does: rows of a table."""
    seen, n = rolled.seen.shown, len(rolled.visits)
    who = [people.traits_.of(one["user"]) for one in rolled.visits]
    off = np.abs(seen.fields["rating"] - people.means_[seen.items])
    row = np.repeat(np.arange(n), seen.lengths)
    rated = ~np.isnan(off)
    counts = np.bincount(row[rated], minlength=n)
    deviation = np.where(counts > 0, np.bincount(row[rated], off[rated], n) / np.maximum(counts, 1), np.nan)
    none = np.zeros(n)
    values = {
        "activity": ("exit page", MEASURES["exit_page"](seen, none)),
        "conformity": ("distance of ratings from the mean", deviation),
        "diversity": ("yes rate", MEASURES["yes_rate"](seen, none)),
    }
    lines = []
    for trait in NAMES:
        what, measured = values[trait]
        made: Trend = trend(np.array([getattr(one, trait) for one in who]), measured)
        means = " / ".join("–" if mean != mean else f"{mean:.2f}" for mean in made.means)
        lines.append(f"| {name} | {trait}: {what} | {means} | {made.slope:+.3f} | {made.p:.4f} |")
    pages = MEASURES["exit_page"](seen, none)
    for level in (1, 2, 3):
        own = pages[[one.activity == level for one in who]]
        if len(own):
            lines.append(f"| {name} | leaves at page 1, 2, ..., activity {level} | "
                         + " / ".join(f"{share:.2f}" for share in hazards(own, 5)) + " | | |")  # fmt: skip
    return lines


def bubble(people: Any, data: Dataset, recommenders: dict[str, Any], n: int) -> str:
    """Rounds of retraining on what was liked."""
    lines = [
        "| rounds of retraining | round | top genre's share | genres | likes | satisfaction |",
        "|---|---|---|---|---|---|",
    ]
    for name, recommender in recommenders.items():
        for turn, one in enumerate(rounds(recommender, people, data, data.queries(), n), 1):
            numbers = (f"{one.top_share:.3f}", f"{one.kinds:.2f}", f"{one.likes:.2f}", f"{one.satisfaction:.2f}")
            lines.append(f"| {name} | {turn} | {' | '.join(numbers)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and write the tables."""
    told = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    told.add_argument("--data", type=Path, required=True)
    told.add_argument("--out", type=Path, default=Path("docs/results/agent4rec"))
    told.add_argument("--runs", type=Path, default=Path("runs/agent4rec"), help="tape of the model's answers")
    told.add_argument("--lm", default="", help="for example hf:smollm2; empty leaves the model out")
    told.add_argument("--sample", type=int, default=16, help="users that the model plays in sessions")
    told.add_argument("--mixed", type=int, default=12, help="users that the model plays on mixed pages")
    told.add_argument("--calibrated", type=int, default=40, help="held-out likes that set the model's yes")
    told.add_argument("--rounds", type=int, default=4)
    asked = told.parse_args()
    folder = asked.data / "ml1m_agent4rec"
    data, held = read(folder if folder.is_dir() else asked.data)
    started = time.process_time()
    factors = IALS(factors=32)
    twin = Agent4Rec(mind="rules", taste_by=factors, domain="film")
    with run(emit=_told):
        people = fitted(twin, data, 0)
        mf = fitted(BPR(), data, 0)
        texts = [told_apart({"coin": Coin(), "rule-based": people}, data, held, np.arange(data.n_users))]
        head = ["| agents | trait | level 1 / 2 / 3 | slope | p |", "|---|---|---|---|---|"]
        for name, system in (("MF", mf), ("random films", fitted(Random(), data, 0))):
            rolled = rollout(system.retrieve(data.queries(), 20), data.queries(), people)
            head += traits(people, rolled, f"rule-based, shown {name}")
        texts.append("\n".join(head))
        texts.append(bubble(people, data, {"MF": BPR(), "MF, MMR": Varied(BPR(), MMR())}, asked.rounds))
        reports = [
            Experiment(Session(data, twin, name="rule-based"), {"MF": BPR(), "iALS (the twin's own)": factors}).run()
        ]
        if asked.lm:
            asked.runs.mkdir(parents=True, exist_ok=True)
            lm = Cassette(open_lm(asked.lm, dtype="float32"), asked.runs / "answers.sqlite")
            made = played(lm, data, held, twin, asked)
            texts += made[0]
            reports += made[1]
    command = f"python benchmarks/agent4rec.py --data DIR{' --lm ' + asked.lm if asked.lm else ''}"
    notes = NOTES.format(users=data.n_users, sample=asked.sample, mixed=asked.mixed, minutes=15, command=command)
    print(f"{(time.process_time() - started) / 60:.1f} core-minutes", flush=True)
    write(asked.out, reports, notes + "\n" + "\n\n".join(texts) + "\n")


def played(lm: Any, data: Dataset, held: Lists, twin: Agent4Rec, asked: Any) -> tuple[list[str], list[Any]]:
    """The same for agents played by a model, on a sample, beside the twins of the same users."""
    plain = Agent4Rec(lm, taste="counted", history=8, domain="film")
    calibrated = Agent4Rec(lm, taste="counted", history=8, domain="film", calibrated=asked.calibrated)
    people = {"rule-based": twin, asked.lm: plain, f"{asked.lm}, calibrated": calibrated}
    ready = {name: fitted(one, data, 0) for name, one in people.items()}
    rows = np.sort(rng(0, "mixed").permutation(data.n_users)[: asked.mixed])
    texts = [told_apart(ready, data, held, rows)]
    head = ["| agents of one sample, shown MF | trait | level 1 / 2 / 3 | slope | p |", "|---|---|---|---|---|"]
    reports = []
    for name in ("rule-based", f"{asked.lm}, calibrated"):
        task = Session(data, people[name], max_users=asked.sample, name=name)
        experiment = Experiment(task, {"MF": BPR()}, metrics=tuple(MEASURES))
        reports.append(experiment.run())
        round_: SessionRound = task.round()
        shown = fitted(BPR(), data, 0).retrieve(round_.queries, 20)
        head += traits(round_.people, rollout(shown, round_.queries, round_.people), name)
    return [*texts, "\n".join(head)], reports


def _told(event: dict[str, Any]) -> None:
    if event.get("kind") == "progress" and event["seconds"] > 30 and event["label"] in ("pages", "experiment"):
        print(json.dumps({name: event[name] for name in ("label", "done", "total", "seconds")}), flush=True)


if __name__ == "__main__":
    main()
