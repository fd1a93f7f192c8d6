"""TALLRec's movie cases as labelled pairs: `python benchmarks/tallrec.py --data DIR [--out docs/results]`.

The 1,000 test pairs of the paper's own split (each with the ten ratings before it) are scored by the floors of labelled
pairs and by item-kNN, BPR and EASE, all learned from the 8,000 training pairs; the catalog is that of MovieLens-100K.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from writing import write

from hexarec.classic import BPR, EASE, ItemKNN, UserKNN
from hexarec.core import Dataset, Exposures
from hexarec.data.importer import import_data
from hexarec.data.pairs import exposures_from
from hexarec.eval import text
from hexarec.eval.experiment import Experiment
from hexarec.eval.labels import Labels

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
    told = reader.parse_args()
    train, asked = cases(told.data, told.part)
    systems: dict[str, Any] = {"itemknn": ItemKNN(), "userknn": UserKNN(), "ease": EASE(), "bpr": BPR()}
    report = Experiment(Labels(train, asked), systems).run()
    print(text.markdown(report))
    if told.out is not None:
        write(told.out / "tallrec-movie", [report], NOTES)


if __name__ == "__main__":
    main()
