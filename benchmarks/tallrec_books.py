"""TALLRec across domains: `python benchmarks/tallrec_books.py --data DIR [--out docs/results]`.

The released book cases are asked with what was learned from films, from books, and from one after the other. The
released splits of identifiers are another shuffle than those of texts, so the cases are read from the texts: the
validation file is what is learned from, the test file is asked.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tallrec import _told, cases
from writing import write

from hexarec.core import Catalog, Dataset, Exposures, IdTable, Interactions, Item, Users, rng, run
from hexarec.data.pairs import exposures_from
from hexarec.eval import text
from hexarec.eval.experiment import Experiment
from hexarec.eval.labels import Labels
from hexarec.lm.open import open_lm
from hexarec.methods.tallrec import TALLRec
from hexarec.parts.train.kept import placed

BOOK = re.compile(r'"(.+?)" written by (.+?)(?=, "(?!,)|$)')
AHEAD = ("User Preference: ", "User Unpreference: ", 'Whether the user will like the target book "')
NOTES = """# TALLRec's book cases: what films teach about books

{asked} of the paper's 2,427 test cases. "films" is what `benchmarks/tallrec.py` learns from 64 film cases (seed 0),
"books" what 64 cases of the validation file teach, "films, then books" goes on from the first. Published for the same
cases (TALLRec, arXiv:2305.00447, table 1; AUC, 16 / 64 / 256 cases): the sequence models .483 to .502, TALLRec .564 /
.604 / .644. A user appears once, so there is no uAUC, and an item hardly ever twice.

Command: `python benchmarks/tallrec_books.py --data DIR --out docs/results`
"""


def books(data: Path, most: int) -> tuple[Dataset, Exposures]:
    """What may be learned from (the validation file, in its order) and `most` drawn cases of the test file."""
    learned, asked = (_rows(data / "tallrec" / "book" / f"{part}.json", part) for part in ("valid", "test"))
    asked = [asked[n] for n in np.sort(rng(0, "tallrec", "books").permutation(len(asked))[:most])]
    catalog = Catalog.of([Item(name, name) for name in sorted({n for row in (*learned, *asked) for n in _named(row)})])
    columns = {
        "user": np.arange(len(learned)),
        "item": catalog.rows([row["item"] for row in learned]),
        "time": np.arange(len(learned)),
        "value": [row["label"] for row in learned],
        "liked": [row["label"] > 0 for row in learned],
    }
    log = Interactions.of(columns, len(learned), like_rule="Yes")
    train = Dataset(catalog, log, Users(IdTable.of(row["user"] for row in learned)), name="tallrec book")
    with tempfile.TemporaryDirectory() as folder:
        shown = [_exposed(Path(folder) / "pairs.jsonl", rows, train) for rows in (learned, asked)]
    return replace(train, exposures=shown[0]), shown[1]


def _rows(file: Path, part: str) -> list[dict[str, Any]]:
    """The cases of a file: what was liked, then what was not, then the book in question."""
    made = []
    for n, case in enumerate(json.loads(file.read_text("utf-8"))):
        lines = case["input"].split("\n")
        liked, other, (book,) = (
            [f"{title} by {author}" for title, author in BOOK.findall(line.removeprefix(ahead).removesuffix('"?'))]
            for line, ahead in zip(lines, AHEAD, strict=True)
        )
        made.append({
            "user": f"{part} {n}", "item": book, "label": int(case["output"] == "Yes."), "time": n,
            "history": [*liked, *other], "history_label": [1] * len(liked) + [0] * len(other),
        })  # fmt: skip
    return made


def _named(row: dict[str, Any]) -> list[str]:
    return [*row["history"], row["item"]]


def _exposed(file: Path, rows: Sequence[dict[str, Any]], train: Dataset) -> Exposures:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return exposures_from(file, train)


def main() -> None:
    """Measure, print, and with --out keep the table."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--data", type=Path, required=True)
    reader.add_argument("--lm", default="hf:smollm2")
    reader.add_argument("--asked", type=int, default=2427, help="test cases; fewer are drawn")
    reader.add_argument("--out", type=Path)
    reader.add_argument("--runs", type=Path, default=Path("runs/tallrec-books"), help="--resume goes on from here")
    reader.add_argument("--resume", action="store_true")
    told = reader.parse_args()
    train, asked = books(told.data, told.asked)
    with run(emit=_told, scratch=told.runs / "scratch"):
        rows = methods(told.lm, films(told.lm, told.data))
        report = Experiment(Labels(train, asked), rows).run(told.runs, resume=told.resume)
    print(text.markdown(report))
    if told.out is not None:
        write(told.out / "tallrec-books", [report], NOTES.format(asked=told.asked))


def films(spec: str, data: Path) -> str:
    """The folder of the adapter that 64 film cases tune."""
    train, _ = cases(data, "test")
    one = TALLRec(open_lm(spec, dtype="float32"), shots=64, domain="film").fit(train, seed=0)
    return placed(one.adapter_ or {})


def methods(spec: str, start: str) -> dict[str, TALLRec]:
    """What is asked, over one model; `start` is what films taught."""
    lm = open_lm(spec, dtype="float32")
    return {
        "zero-shot": TALLRec(lm, shots=0, domain="book"),
        "films": TALLRec(lm, shots=0, start=start, domain="book"),
        "books": TALLRec(lm, shots=64, domain="book"),
        "films, then books": TALLRec(lm, shots=64, start=start, domain="book"),
    }


if __name__ == "__main__":
    main()
