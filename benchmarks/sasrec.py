"""The SASRec floor on the questions of other tables: `python benchmarks/sasrec.py --data DIR [--out docs/results]`.

SASRec trained by cross-entropy over the whole catalog is the strongest floor of the ladder and takes minutes where the
others take seconds, so it is measured once for all tables that have none. Each task is made by the script of its table:
the line `questions` of a manifest is that of the table, where the table asks all of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from chatrec import asked_turns
from cold_items import FIELDS, cut_of, loaded
from cold_items import tasks as cold
from generative import METRICS as BEAUTY
from generative import _told, beauty
from nir import cases
from nir_prompts import METRICS as NIR
from nir_prompts import askable, dataset
from sprec import METRICS as SPREC
from sprec import goodreads
from writing import write

from hexarec.classic import SASRec
from hexarec.core import run
from hexarec.data.importer import import_data
from hexarec.eval import text
from hexarec.eval.experiment import Experiment
from hexarec.eval.tasks import Given, Ranking

Task = Given | Ranking
NOTES = """# SASRec beside the other tables

SASRec with cross-entropy over the whole catalog (2 blocks, width 64, early stopping on a part of the training log),
nothing tuned, asked what the tables of NIR, Chat-REC, cold items, SPRec and gpt4rec ask; the other floors
stand beside it. MovieLens-1M, of which the diversity table asks 2,000 users, has it in [its own](ml1m.md), and so have
the labelled pairs of TALLRec and CoLLM. Where pairs of books are judged, each user is seen once; in the tree's table
nothing is learned from interactions.

Command: `python benchmarks/sasrec.py --data DIR --out docs/results`
"""


def nir(data: Path) -> list[tuple[Task, int]]:
    """The 170 users of NIR's candidates."""
    histories, targets = cases(data / "nir_ml100k")
    known = dataset(histories, targets)
    queries, truth, candidates = askable(known, histories, targets)
    title = f"NIR's {len(queries)} askable users, 19 user-filtering candidates with the truth among them (SAMPLED)"
    return [(Given(known, queries, truth, candidates, title, NIR), 19)]


def redial(data: Path) -> list[tuple[Task, int]]:
    """All turns of ReDial that name a new film; a sequence is what a dialogue has named."""
    return [(asked_turns(data / "redial_opendialkg_ievalm", 10**6)[0], 20)]


def new_items(data: Path) -> list[tuple[Task, int]]:
    """The three questions about each of three catalogs with hidden items."""
    return [(task, 20) for name in FIELDS for task in cold(cut_of(loaded(name, data)), name)]


def sprec(data: Path) -> list[tuple[Task, int]]:
    """The next book of a thousand sequences, the last liked film of everybody."""
    films = Ranking(import_data(data / "ml100k").dataset, split="last", metrics=SPREC)
    return [(goodreads(data, "test"), 5), (films, 5)]


def generative(data: Path) -> list[tuple[Task, int]]:
    """The last item of every user of Amazon Beauty."""
    return [(Ranking(beauty(data / "amazon_beauty_5core"), "last", metrics=BEAUTY), 40)]


TABLES: dict[str, Callable[[Path], list[tuple[Task, int]]]] = {
    "nir": nir, "chatrec": redial, "cold-items": new_items, "sprec": sprec, "generative": generative,
}  # fmt: skip


def main() -> None:
    """Measure, print, and with --out keep the table."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--data", type=Path, required=True)
    reader.add_argument("--only", nargs="*", choices=tuple(TABLES), default=list(TABLES))
    reader.add_argument("--runs", type=Path, default=Path("runs/sasrec"))
    reader.add_argument("--resume", action="store_true")
    reader.add_argument("--out", type=Path)
    told = reader.parse_args()
    reports = []
    with run(emit=_told, scratch=told.runs / "scratch"):
        for name in told.only:
            for n, (task, k) in enumerate(TABLES[name](told.data)):
                made = Experiment(task, {"sasrec": SASRec()}, k=k).run(told.runs / f"{name}-{n}", resume=told.resume)
                print(text.markdown(made), flush=True)
                reports.append(made)
    if told.out is not None:
        write(told.out / "sasrec", reports, NOTES)


if __name__ == "__main__":
    main()
