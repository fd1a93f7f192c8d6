"""`make bench-engine`: the torch engine beside its peers, side by side in one run.

    python benchmarks/engine.py [--data DIR] [--out docs/results/engine] [--repeats 7] [--parts score warm ...]

Every row is a process of its own (so peak memory is that row's) that waits while others run; the rows of a part take
turns, A B C A B C, and a plain matrix product is timed in every turn. A row that does not agree with its reference
prints FAIL instead of a ratio.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing as mp
import os
import platform
import resource
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from engine_rows import ROWS, Work

PARTS = ("score", "dtypes", "warm", "labels", "generate", "embed", "train")


@dataclass
class Row:
    """One row's process, and what it has measured."""

    name: str
    note: str
    pipe: Any
    process: Any
    seconds: list[float] = field(default_factory=list)
    answer: dict[str, Any] = field(default_factory=dict)
    rss: float = 0.0

    @property
    def median(self) -> float:
        """Median seconds of a run."""
        return statistics.median(self.seconds)


def serve(pipe: Any, kind: str, work: Work) -> None:
    """The other process: make the row, then run it whenever asked."""
    try:
        row = ROWS[kind](work)
        pipe.send({"note": row.note})
        while pipe.recv():
            row.reset()
            started = time.perf_counter()
            answer = row.run()
            took = time.perf_counter() - started
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            pipe.send({"seconds": took * row.scale, "answer": answer, "rss": peak})
    except EOFError:
        return
    except Exception as error:
        pipe.send({"error": f"{type(error).__name__}: {error}"})


def opened(name: str, kind: str, work: Work) -> Row:
    """Start a row's process; what it is opens meanwhile."""
    context = mp.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(there, kind, work), daemon=True)
    process.start()
    there.close()
    return Row(name, "", here, process)


def _heard(pipe: Any) -> dict[str, Any]:
    told = pipe.recv()
    if "error" in told:
        raise RuntimeError(told["error"])
    return dict(told)


def once(row: Row, keep: bool = True) -> None:
    """Ask a row for one run."""
    row.pipe.send(True)
    told = _heard(row.pipe)
    row.answer, row.rss = told["answer"], told["rss"]
    if keep:
        row.seconds.append(told["seconds"])


def turns(wanted: dict[str, tuple[str, Work]], repeats: int) -> dict[str, Row]:
    """Run rows (name: kind and work) in turns: one warm-up, then `repeats` each."""
    started = {name: opened(name, kind, work) for name, (kind, work) in wanted.items()}
    rows: dict[str, Row] = {}
    for name, row in started.items():
        try:
            row.note = _heard(row.pipe)["note"]
            rows[name] = row
        except (RuntimeError, EOFError) as error:
            print(f"  {name}: left out, {error}", flush=True)
    for row in rows.values():
        once(row, keep=False)
    for turn in range(repeats):
        for row in rows.values():
            once(row)
        now = ", ".join(f"{name} {row.seconds[-1]:.3f}" for name, row in rows.items())
        print(f"  turn {turn + 1}: {now}", flush=True)
    for row in rows.values():
        row.pipe.close()
        row.process.join(10)
    return rows


def agree(row: Row, other: Row) -> dict[str, float | bool]:
    """How one row's scores agree with another's: largest difference, top-10, Kendall's tau."""
    from scipy.stats import kendalltau

    one, two = np.asarray(row.answer["scores"]), np.asarray(other.answer["scores"])
    top = [set(np.argsort(-s, kind="stable")[:10].tolist()) for s in (one, two)]
    return {
        "max_difference": float(np.abs(one - two).max()),
        "same_top10": bool(np.array_equal(np.argsort(-one)[:10], np.argsort(-two)[:10])),
        "top10_overlap": len(top[0] & top[1]),
        "tau": float(kendalltau(one, two).statistic),
    }


def told(row: Row, roof: Row | None = None) -> dict[str, Any]:
    """A row as JSON."""
    made: dict[str, Any] = {
        "row": row.name,
        "what": row.note,
        "median_s": row.median,
        "min_s": min(row.seconds),
        "max_s": max(row.seconds),
        "peak_rss_mb": row.rss,
        **{k: v for k, v in row.answer.items() if k not in ("scores", "found")},
    }
    if roof is not None and "gflop" in row.answer:
        best = max(roof.answer["gflops_seen"])
        made["gflops"] = row.answer["gflop"] / row.median
        made["share_of_roof"] = made["gflops"] / best
    return made


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    import torch
    import transformers

    model = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "load": os.getloadavg()[0],
    }


def main() -> None:
    """Run the parts that were asked for, print and write."""
    from engine_parts import PART

    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("HEXAREC_DATA", "../shared/data")
    asked.add_argument("--data", type=Path, default=Path(default), help="folder that holds ml100k; else bundled titles")
    asked.add_argument("--model", default="smollm2")
    asked.add_argument("--device", default="cpu")
    asked.add_argument("--out", type=Path, default=Path("docs/results/engine"))
    asked.add_argument("--repeats", type=int, default=7)
    asked.add_argument("--parts", nargs="*", default=list(PARTS), choices=PARTS)
    from hexarec.core.atomic import write_text

    options = asked.parse_args()
    file = options.out.with_suffix(".json")
    whole = json.loads(file.read_text("utf-8")) if file.exists() else {"parts": {}}
    for part in options.parts:
        print(f"{part}:", flush=True)
        work = Work(model=options.model, data=str(options.data), device=options.device)
        made = PART[part](work, options.repeats)
        whole["parts"][part] = {"machine": machine(), "repeats": options.repeats, **made}
        write_text(file, json.dumps(whole, indent=1))
        from engine_table import table

        options.out.with_suffix(".md").write_text(table(whole), "utf-8")
        print(table({"parts": {part: whole["parts"][part]}}), flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
