"""NIR's three forms with a language model: `python benchmarks/nir_prompts.py --data DIR/nir_ml100k`.

The 170 of 943 MovieLens-100K users whose next title is among 19 user-filtering candidates (Wang and Lim 2023,
arXiv:2304.03153): the paper's own candidates, asked in three steps, in one combined question, and in a single one. A
user who cannot be asked is a miss in the unconditional numbers.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from nir import NEIGHBOURS, cases, dataset, matrix, user_filtering
from writing import write

from hexarec.core import Catalog, Dataset, Lists, Queries, run
from hexarec.eval.diff import read_run
from hexarec.eval.experiment import Experiment
from hexarec.eval.tasks import Given
from hexarec.lm.cassette import Cassette
from hexarec.lm.open import open_encoder, open_lm
from hexarec.methods.nir import NIR

METRICS = ("ndcg@10", "recall@10", "mrr@10")
FORMS = ("steps", "combined", "single")


def askable(data: Dataset, histories: list[list[str]], targets: list[str]) -> tuple[Queries, Lists, Lists]:
    """Questions, truth and the filter's candidates of the users whose truth is among them."""
    given = user_filtering(histories, matrix(histories)[0], NEIGHBOURS)
    who = np.array([n for n, (row, target) in enumerate(zip(given, targets, strict=True)) if target in row])
    queries = data.queries(who)
    truth = Lists.of(data.catalog.key, [[int(data.catalog.rows([targets[n]])[0])] for n in who])
    candidates = Lists.of(data.catalog.key, [data.catalog.rows(given[n]).tolist() for n in who])
    return queries, truth.with_field("gain", np.ones(len(who), np.float32)), candidates


def account(
    notes: Sequence[Any], catalog: Catalog, candidates: Lists, histories: list[Any], encoder: str
) -> dict[str, float]:
    """How many answers and lines were of use, and how alike the halves of a pair are beside a drawn pair."""
    pairs = [(left, right) for note in notes for left, right in note["pairs"]]
    tied = [(left, right) for left, right in pairs if left >= 0]
    vectors = open_encoder(encoder).encode(list(catalog.titles))
    draw = np.random.default_rng(0)
    drawn = [
        (int(draw.choice(histories[i])), int(draw.choice(candidates[i].items)))
        for i, note in enumerate(notes)
        for _ in note["pairs"]
    ]

    def alike(rows: list[tuple[int, int]]) -> float:
        return float(np.mean([vectors[a] @ vectors[b] for a, b in rows])) if rows else float("nan")

    wanted = sum(note["parse"]["requested"] for note in notes)
    return {
        "answers with 10 candidates": float(np.mean([len(note["pairs"]) >= 10 for note in notes])),
        "answers with none": float(np.mean([not note["pairs"] for note in notes])),
        "candidates named of those asked for": len(pairs) / wanted,
        "of them tied to a history item": len(tied) / max(len(pairs), 1),
        "lines that name no candidate": float(np.mean([note["parse"]["out_of_set"] for note in notes])),
        "cosine of a pair's halves": alike(tied),
        "cosine of a drawn pair": alike(drawn),
    }


def main() -> None:
    """Ask, measure, write."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--data", type=Path, required=True, help="the folder nir_ml100k")
    asked.add_argument("--lm", default="hf:smollm2")
    asked.add_argument("--encoder", default="minilm")
    asked.add_argument("--users", type=int, default=None)
    asked.add_argument("--out", type=Path, default=Path("docs/results/nir-prompts"))
    asked.add_argument("--runs", type=Path, default=Path("runs/nir"), help="--resume goes on from here")
    asked.add_argument("--resume", action="store_true")
    options = asked.parse_args()
    histories, targets = cases(options.data)
    data = dataset(histories, targets)
    part = slice(0, options.users)
    queries, truth, candidates = (one.take(part) for one in askable(data, histories, targets))
    options.runs.mkdir(parents=True, exist_ok=True)
    lm = Cassette(open_lm(options.lm, dtype="float32"), options.runs / "tape.sqlite")
    systems = {f"nir, {form}": NIR(lm, form=form, domain="film") for form in FORMS}
    title = f"NIR's {len(queries)} askable users, 19 user-filtering candidates with the truth among them (SAMPLED)"
    with run(emit=_told):
        task = Given(data, queries, truth, candidates, title, METRICS)
        report = Experiment(task, systems, k=19).run(options.runs / f"{len(queries)}", resume=options.resume)
    past = [list(queries[i].items[-8:]) for i in range(len(queries))]
    lists = read_run(options.runs / f"{len(queries)}").lists
    pairs = {
        form: account(lists[f"nir, {form}", 0].notes, data.catalog, candidates, past, options.encoder) for form in FORMS
    }
    write(options.out, [report], _notes(pairs, 170 / len(histories)), {"pairs": pairs})


def _told(event: dict[str, Any]) -> None:
    if event.get("kind") == "progress" and event["done"]:
        print(f"{event['label']}: {event['done']}/{event['total']}, {event['seconds']:.0f} s", flush=True)


def _notes(pairs: dict[str, dict[str, float]], share: float) -> str:
    rows = ["| | " + " | ".join(pairs) + " |", "|---|" + "---|" * len(pairs)]
    for name in next(iter(pairs.values())):
        rows.append(f"| {name} | " + " | ".join(f"{one[name]:.3f}" for one in pairs.values()) + " |")
    return (
        "# NIR's questions with a language model\n\n"
        "Users of the paper's MovieLens-100K cases whose next title is among its 19 candidates (170 of 943); the\n"
        "model is asked about the eight newest titles. Every number is conditional on that: times "
        f"{share:.4f} it is\nthe one over all users, had the others been misses. Published answers of text-davinci-003 "
        "on the 170,\nread as `nir` reads them: recall@10 .618, which is .111 of 943.\n\n"
        "Command: `python benchmarks/nir_prompts.py --data DIR/nir_ml100k`\n\n"
        "What was answered, and how much of it was of use:\n\n" + "\n".join(rows) + "\n"
    )


if __name__ == "__main__":
    main()
