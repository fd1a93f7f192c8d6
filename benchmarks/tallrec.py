"""TALLRec's movie cases as labelled pairs: `python benchmarks/tallrec.py --data DIR [--out docs/results]`.

The 1,000 test pairs of the paper's own split (each with the ten ratings before it) are scored by the floors of labelled
pairs and by item-kNN, user-kNN, EASE, BPR and SASRec, all learned from the 8,000 training pairs; the catalog is that of
MovieLens-100K. With --lm the method itself is measured: the model as it is, with solved examples in front, and tuned on
16, 64 and 256 pairs, each with several seeds, and on 64 and 256 with shuffled labels as a control.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from writing import write

from hexarec.classic import BPR, EASE, ItemKNN, SASRec, UserKNN
from hexarec.core import Dataset, Exposures, run
from hexarec.data.importer import import_data
from hexarec.data.pairs import exposures_from
from hexarec.eval import text
from hexarec.eval.experiment import Experiment
from hexarec.eval.labels import Labels
from hexarec.lm.open import open_lm
from hexarec.methods.tallrec import TALLRec

NOTES = """# TALLRec's movie cases: the floors of labelled pairs

The paper's own split of MovieLens-100K ratings (1,000 test pairs, 8,000 training pairs, ten ratings before each pair).
Published for the same cases (TALLRec, arXiv:2305.00447, table 1; AUC, 16 to 256 training pairs): the sequence models
.491 to .542, TALLRec .672 to .720. The floors below learned from all 8,000 pairs. The share of liked ratings in the ten
before each pair (user mean gain) orders pairs of different users well and those of one user hardly at all: read uAUC.

Command: `python benchmarks/tallrec.py --data DIR --out docs/results`
"""
LABEL = {"user": "user_id", "item": "movie_id", "value": "rating", "time": "timestamp"}


def cases(data: Path, part: str) -> tuple[Dataset, Exposures]:
    """What may be learned from (the training pairs, as events and as exposures) and the pairs to be scored."""
    movies = import_data(data / "ml100k").dataset
    place = data / "tallrec" / "movie"
    file = place / "baseline_train.csv"
    log = import_data(file, format="plain", mapping=LABEL, like=">= 1", name="tallrec movie").dataset
    train = replace(log.onto(movies.catalog.items), catalog=movies.catalog)
    train = replace(train, exposures=exposures_from(file, train))
    return train, exposures_from(place / f"baseline_{part}.csv", train)


def main() -> None:
    """Measure, print, and with --out keep the table."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--data", type=Path, required=True)
    reader.add_argument("--part", choices=("valid", "test"), default="test")
    reader.add_argument("--out", type=Path)
    reader.add_argument("--lm", default="", help="for example hf:smollm2; empty leaves the method out")
    reader.add_argument("--shots", type=int, nargs="*", default=[16, 64, 256])
    reader.add_argument("--shuffled", type=int, nargs="*", default=[64, 256], help="those of the control")
    reader.add_argument("--seeds", type=int, default=3)
    reader.add_argument("--examples", type=int, default=4, help="solved cases of the in-context row")
    reader.add_argument("--runs", type=Path, default=Path("runs/tallrec"), help="--resume goes on from here")
    reader.add_argument("--resume", action="store_true")
    told = reader.parse_args()
    train, asked = cases(told.data, told.part)
    systems = {"itemknn": ItemKNN(), "userknn": UserKNN(), "ease": EASE(), "bpr": BPR(), "sasrec": SASRec()}
    reports = [Experiment(Labels(train, asked), systems).run()]
    if told.lm:
        rows = methods(told.lm, told.shots, told.examples, told.shuffled)
        task = Labels(train, asked)
        with run(emit=_told):
            reports.append(
                Experiment(task, rows, seeds=range(told.seeds)).run(told.runs / told.part, resume=told.resume)
            )
    for report in reports:
        print(text.markdown(report))
    if told.out is not None:
        write(told.out / "tallrec-movie", reports, NOTES)


def methods(spec: str, shots: list[int], examples: int, shuffled: list[int]) -> dict[str, Any]:
    """The method in its forms, over one model; the control learns from as many labels in another order."""
    lm = open_lm(spec, dtype="float32")
    made: dict[str, Any] = {
        "zero-shot": TALLRec(lm, shots=0, domain="film"),
        f"in-context, {examples} examples": TALLRec(lm, shots=0, examples=examples, domain="film"),
    }
    for k in shots:
        made[f"tallrec, {k} shots"] = TALLRec(lm, shots=k, domain="film")
    for k in shuffled:
        made[f"tallrec, {k} shots, labels shuffled"] = TALLRec(lm, shots=k, shuffle=True, domain="film")
    return made


def _told(event: dict[str, Any]) -> None:
    if event.get("kind") == "progress" and event["done"] and event["seconds"] > 30:
        print(f"{event['label']}: {event['done']}/{event['total']}, {event['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    main()
