"""LLMRank's Games cases: `python benchmarks/games.py --data DIR/llmrank`.

One positive and 19 random candidates for 6,000 users of Amazon Video Games, the published lists (Hou et al. 2023,
arXiv:2305.08845, table 2); the floors, BM25 and MiniLM on all of them, the language model in every back end it has on
the 200 users of table 3. Interrupted runs go on with --resume.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from writing import write

from hexarec.classic.lexical import Lexical
from hexarec.core import Catalog, Dataset, IdTable, Interactions, Item, Lists, Queries, Users, ragged, rng, run
from hexarec.eval.experiment import Experiment
from hexarec.eval.floors import AsGiven
from hexarec.eval.tasks import Given
from hexarec.lm.cassette import Cassette
from hexarec.lm.open import open_encoder, open_lm
from hexarec.methods.frozen_encoder import FrozenEncoder
from hexarec.methods.llmrank import LLMRank

METRICS = ("ndcg@1", "ndcg@5", "ndcg@10", "ndcg@20", "recall@10", "mrr@20")
SIZE = 20
SEED = 2023
BACKENDS = {
    "llmrank choice, 3 rounds": {"backend": "choice", "rounds": 3},
    "llmrank choice, 1 round": {"backend": "choice", "rounds": 1},
    "llmrank pointwise": {"backend": "pointwise", "rounds": 1},
    "llmrank constrained": {"backend": "constrained", "rounds": 1},
    "llmrank list": {"backend": "list", "rounds": 1},
    "llmrank pairwise": {"backend": "pairwise", "rounds": 1, "opponents": 2},
    "llmrank likelihood": {"backend": "likelihood", "rounds": 1},
    "llmrank pmi": {"backend": "pmi", "rounds": 1},
}


def lines(path: Path) -> list[list[str]]:
    """A tab-separated file without its header."""
    rows = [line.split("\t") for line in path.read_text("utf-8").splitlines()]
    return rows[1:] if rows and ":" in rows[0][0] else rows


def dataset(folder: Path) -> tuple[Dataset, dict[str, str]]:
    """All 50,546 histories as an order-only log, and each user's next item."""
    items = [Item(row[0], row[1]) for row in lines(folder / "Games-6k" / "Games-6k.item")]
    catalog = Catalog.of(items)
    rows = lines(folder / "Games-6k" / "Games-6k.test.inter")
    users = IdTable.of(row[0] for row in rows)
    past = [catalog.rows(row[1].split(" ")) for row in rows]
    lengths = np.array([len(row) for row in past])
    columns = {
        "user": np.repeat(np.arange(len(rows)), lengths),
        "item": np.concatenate(past),
        "time": ragged.positions(ragged.offsets_of(lengths)).astype(np.float64),
    }
    log = Interactions.of(columns, len(rows), clock=False)
    return Dataset(catalog, log, Users(users), name="Amazon Games (LLMRank)"), {row[0]: row[2] for row in rows}


def cases(data: Dataset, targets: dict[str, str], path: Path) -> tuple[Queries, Lists, Lists]:
    """Questions, truth and the 20 candidates: the first 20 published ones, the last giving way to a missing truth.

    The order is drawn for each user, so no place tells the answer.
    """
    rows = [row for row in lines(path) if row[0] in targets]
    who = data.users.ids.rows([row[0] for row in rows])
    queries = data.queries(who)
    truth = data.catalog.rows([targets[row[0]] for row in rows])
    shown = []
    for row, answer in zip(rows, truth.tolist(), strict=True):
        given = list(dict.fromkeys(data.catalog.rows(row[1].split(" ")[:SIZE]).tolist()))
        if answer not in given:
            given = [*given[: SIZE - 1], answer]
        shown.append(rng(SEED, row[0], "candidates").permutation(given).tolist())
    candidates = Lists.of(data.catalog.key, shown)
    truths = Lists.of(data.catalog.key, [[answer] for answer in truth.tolist()])
    return queries, truths.with_field("gain", np.ones(len(truth), np.float32)), candidates


def main() -> None:
    """Measure and write the tables."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--data", type=Path, required=True, help="the folder llmrank")
    asked.add_argument("--out", type=Path, default=Path("docs/results/games"))
    asked.add_argument("--runs", type=Path, default=Path("runs/games"))
    asked.add_argument("--lm", default="gguf:smollm2")
    asked.add_argument("--encoder", default="minilm")
    asked.add_argument("--llm-users", type=int, default=200)
    asked.add_argument("--backends", nargs="*", default=list(BACKENDS), help="which rows of the language model")
    asked.add_argument(
        "--sweep", action="store_true", help="only the back ends, on --llm-users; floors stand elsewhere"
    )
    asked.add_argument(
        "--packed", action="store_true", help="only the back ends, on --llm-users of the 6,000; for hf: models"
    )
    asked.add_argument("--dtype", default=None, help="of an hf: model")
    asked.add_argument("--resume", action="store_true")
    options = asked.parse_args()
    data, targets = dataset(options.data)
    if options.packed:
        return packed(options, data, targets)
    if options.sweep:
        return sweep(options, data, targets)
    text = FrozenEncoder(open_encoder(options.encoder), fields=("title",), last=5)
    systems = {"BM25 (titles)": Lexical(last=5), "MiniLM (titles)": text}
    reports = []
    for name, path, more, most in (
        ("6,000 users", "Games-6k/Games-6k.random", {}, None),
        ("200 users of table 3", "Games-200users/Games.random", _llms(options.lm, options.backends), options.llm_users),
    ):
        queries, truth, candidates = cases(data, targets, options.data / path)
        part = slice(0, most)
        queries, truth, candidates = queries.take(part), truth.take(part), candidates.take(part)
        title = f"Amazon Games, 1 positive + 19 random (SAMPLED candidates, as published), {name}, n = {len(queries)}"
        task = Given(data, queries, truth, candidates, title, METRICS)
        with run(emit=_quiet):
            experiment = Experiment(task, {**systems, **more}, k=SIZE)
            reports.append(experiment.run(options.runs / name.split()[0].replace(",", ""), resume=options.resume))
        write(options.out, reports, NOTES)


def sweep(options: argparse.Namespace, data: Dataset, targets: dict[str, str]) -> None:
    """The back ends side by side on the first users of table 3."""
    part = slice(0, options.llm_users)
    queries, truth, candidates = (
        one.take(part) for one in cases(data, targets, options.data / "Games-200users/Games.random")
    )
    title = f"Amazon Games, back ends on the first {len(queries)} users of table 3, 1 positive + 19 random (SAMPLED)"
    tape = options.runs / "sweep.sqlite"
    tape.parent.mkdir(parents=True, exist_ok=True)
    systems = {"order as given": AsGiven(), **_llms(options.lm, options.backends, options.dtype, tape)}
    experiment = Experiment(Given(data, queries, truth, candidates, title, METRICS), systems, k=SIZE, floors=False)
    with run(emit=_quiet):
        report = experiment.run(options.runs / "sweep", resume=options.resume)
    write(options.out, [report], NOTES)


def packed(options: argparse.Namespace, data: Dataset, targets: dict[str, str]) -> None:
    """The back ends that the torch engine packs, on users of table 2, a back end a table: each on as many as asked."""
    queries, truth, candidates = (
        one.take(slice(0, options.llm_users)) for one in cases(data, targets, options.data / "Games-6k/Games-6k.random")
    )
    title = f"Amazon Games, packed back ends, {len(queries)} of the 6,000 users, 1 positive + 19 random (SAMPLED)"
    # likelihood and pmi ask the same questions: the tape answers the second, and a run that was cut off
    tape = options.runs / "packed.sqlite"
    tape.parent.mkdir(parents=True, exist_ok=True)
    systems = {"order as given": AsGiven(), **_llms(options.lm, options.backends, options.dtype, tape)}
    experiment = Experiment(Given(data, queries, truth, candidates, title, METRICS), systems, k=SIZE, floors=False)
    with run(emit=_quiet):
        report = experiment.run(options.runs / f"packed-{len(queries)}", resume=options.resume)
    write(options.out, [report], NOTES)


def _llms(spec: str, names: list[str], dtype: str | None = None, tape: Path | None = None) -> dict[str, LLMRank]:
    lm = open_lm(spec, **({"dtype": dtype} if dtype else {})) if names else None
    lm = Cassette(lm, tape) if lm is not None and tape is not None else lm
    return {name: LLMRank(lm, domain="game", history=5, **BACKENDS[name]) for name in names if lm}


def _quiet(event: dict) -> None:
    if event.get("kind") == "progress" and event["done"] and event["done"] % 5 == 0:
        print(f"{event['label']}: {event['done']}/{event['total']}, {event['seconds']:.0f} s", flush=True)


NOTES = """# LLMRank's Games cases

Published (paper, tables 2 and 3, NDCG@1/5/10/20 x 100). All 6,000 users: popularity 28.35/47.42/52.96/57.45, BM25
13.92/28.81/34.61/44.35, BPRMF 44.92/62.33/66.27/68.94, SASRec 56.90/73.19/75.92/77.14, gpt-3.5-turbo recency-focused
34.03/48.77/53.50/59.01. 200 users: Alpaca-7B 5.50/14.16/21.67/28.68, Vicuna-13B 7.00/17.73/24.30/31.22, LLaMA-2-70B
21.50/32.30/37.83/41.97, ChatGPT 23.83/45.69/50.31/55.45, GPT-4 39.50/58.22/62.88/65.25.

Command: `python benchmarks/games.py --data DIR/llmrank`
"""

if __name__ == "__main__":
    main()
