"""Reasons on the bundled films: `python benchmarks/reasons.py [--out docs/results] [--lm SPEC ...]`.

Every explainer words the first five items of item-kNN for 200 people. The doubles show what the check is for: one
makes a sentence of the prompt's words, one answers with garbage.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from writing import write

from hexarec.classic import Because
from hexarec.data.store import open_data
from hexarec.eval import text
from hexarec.eval.experiment import Experiment
from hexarec.eval.wording import Text
from hexarec.lm.open import open_lm

NOTES = """# Reasons on the bundled films (simulated users)

Each explainer words the first five items of item-kNN. `template` is `because` without a model. The doubles are no
language models: they show that what is invented is seen, and what the check of `because` lets through. Real models:
`--lm SPEC`.

Command: `python benchmarks/reasons.py --out docs/results`
"""


def main() -> None:
    """Measure, print, and with --out keep the table."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--lm", nargs="*", default=["fake:overlap", "fake:garbage"])
    reader.add_argument("--max-users", type=int, default=200)
    reader.add_argument("--out", type=Path)
    told = reader.parse_args()
    systems = {name: Because(open_lm(name)) for name in told.lm}
    report = Experiment(Text(open_data("films"), max_users=told.max_users), systems).run()
    print(text.markdown(report))
    if told.out is not None:
        write(told.out / "reasons", [report], NOTES)


if __name__ == "__main__":
    main()
