"""One cell of the fault matrix: a pipeline whose model is at fault, asked under a deadline."""

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

from tests.hanging import LONG

from hexarec.classic import Popular
from hexarec.core import Answer, run
from hexarec.data.worlds import world
from hexarec.lm.cassette import Cassette
from hexarec.lm.endpoint import Endpoint
from hexarec.lm.guard import Guarded
from hexarec.lm.later import Later
from hexarec.lm.overheard import KIND
from hexarec.methods.llmrank import LLMRank
from hexarec.pipeline.pipeline import Pipeline
from hexarec.testing.stub import Stub, injected

WORLD = world("cold")
DATA = WORLD.data
QUERIES = WORLD.queries.take(slice(0, 2))
DEADLINE = 1.0
"""Seconds. Of a harmless fault LONG: under it a list has to be the right one on a busy machine too."""
SLOWER = 20.0  # times as slow as the faults of time are by themselves: those that hang take ten minutes or more
ALL = frozenset({"text", "json", "choice", "label"})


@dataclass
class Cell:
    """What came of one question, how long it took, and a way to replay it from the cache alone.

    failures: why single requests failed for good, though the others may have made up for it. lost: answers that could
    not be written down.
    """

    answer: Answer
    seconds: float
    tape: str
    pipeline: Pipeline
    failures: list[str]
    lost: int

    def replayed(self):
        """The same question to a pipeline that may not ask; raises where the cache lacks an answer."""
        ranker = self.pipeline.rank_by
        silent = Cassette(ranker.lm.lm, self.tape, "replay")
        return pipeline(silent, ranker.backend, strict=True).recommend(QUERIES, 5)


def pipeline(lm, backend, *, strict=False):
    ranker = LLMRank(lm, backend=backend, rounds=2)
    return Pipeline([Popular()], rank_by=ranker, depth=8, strict=strict).fit(DATA)


@contextlib.contextmanager
def broken(fault, folder):
    """The model and the tape under this fault."""
    tape = str(folder / "tape.jsonl")
    with contextlib.ExitStack() as stack:
        faults = [fault.name] if fault.where == "server" else []
        stub = Stub(faults, answer_as="position", pace=0.02 if fault.harmless else SLOWER)
        url = stack.enter_context(stub).url
        given = "" if faults else stack.enter_context(injected(fault.name, folder))
        if fault.gives == "model":
            yield Later(given, can=ALL), tape
        else:
            url = given if fault.gives == "url" else url
            lm = Endpoint(f"{url}#stub", can=ALL, stream=fault.asks == "stream", timeout=10 * LONG)
            yield lm, given if fault.gives == "tape" else tape


def patience(fault):
    """Seconds after which nothing but the deadline's neglect can explain that a cell is still at work."""
    return 2 * LONG if fault.harmless else LONG


def asked(fault, folder: Path) -> Cell:
    """The cell of one fault."""
    backend = "choice" if fault.asks == "label" else "list"
    failures = []

    def emit(event):
        if event.get("kind") == KIND and event["call"] == "generate":
            failures.extend(one.error or one.finish for one in event["answers"] if not one.good)

    with broken(fault, folder) as (lm, tape):
        made = pipeline(Cassette(Guarded(lm), tape), backend)
        started = time.monotonic()
        with run(emit=emit, seconds=LONG if fault.harmless else DEADLINE):
            answer = made.recommend(QUERIES, 5)
        return Cell(answer, time.monotonic() - started, tape, made, failures, made.rank_by.lm.tape.lost)
