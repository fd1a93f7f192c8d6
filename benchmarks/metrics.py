"""Eight list metrics over a million users, alone or against ranx and rectools on the same data.

    python benchmarks/metrics.py [--users 1000000] [--peer-python PATH ...]

PATH is the interpreter of an environment with `ranx` and/or `rectools`. A peer's row is printed only if all its values
per user equal ours to 1e-9. Times are medians; `build` is what a peer needs to make its own input from arrays.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hexarec.core import Lists
from hexarec.metrics import evaluate

NAMES = ["hit@10", "recall@10", "precision@10", "ndcg@10", "mrr@10", "map@10", "ndcg@5", "hit@1"]
K, CATALOG = 10, 10_000

PEER = r"""
import json, statistics, sys, time
import numpy as np
folder, rounds, slow = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "1"
data = np.load(folder + "/data.npz")
items, scores, truth = data["items"], data["scores"], data["truth"]
n, k = items.shape
names = json.loads(sys.argv[4])
rows = []

def clock(work, times):
    spent = []
    for _ in range(times):
        start = time.perf_counter(); made = work(); spent.append(time.perf_counter() - start)
    return made, statistics.median(spent)

def report(name, build, seconds, values):
    np.savez(folder + "/" + name.replace(" ", "_"), **{w: np.asarray(v, float) for w, v in values.items()})
    rows.append({"name": name, "build": build, "seconds": seconds})

def run_ranx():
    import os
    import ranx
    cores = len(os.sched_getaffinity(0))
    theirs = [name.replace("hit", "hit_rate") for name in names]
    def arrays():
        run = np.stack([items.astype(float), scores.astype(float)], 2)
        return np.stack([truth.astype(float), np.ones(truth.shape)], 2), run
    def judge(q, r):
        found = ranx.evaluate(q, r, theirs, return_mean=False, save_results_in_run=False, threads=cores)
        return {name: found[their] for name, their in zip(names, theirs)}
    q, r = arrays()
    judge(q[:1000], r[:1000])  # compile
    (q, r), build = clock(arrays, rounds)
    values, seconds = clock(lambda: judge(q, r), rounds)
    report("ranx arrays", build, seconds, values)
    if not slow:
        return
    def dicts(m=n):
        users = [f"{u:08d}" for u in range(m)]
        words = [str(i) for i in range(int(max(items.max(), truth.max())) + 1)]
        qrels = {u: {words[i]: 1 for i in row} for u, row in zip(users, truth[:m].tolist())}
        lists = zip(users, items[:m].tolist(), scores[:m].tolist())
        run = {u: dict(zip([words[i] for i in a], b)) for u, a, b in lists}
        return ranx.Qrels(qrels), ranx.Run(run)
    judge(*dicts(1000))  # compile
    (q, r), build = clock(dicts, 1)
    values, seconds = clock(lambda: judge(q, r), rounds)
    report("ranx dicts", build, seconds, values)

def run_rectools():
    import pandas as pd
    from rectools import Columns
    from rectools.metrics import MAP, MRR, NDCG, HitRate, Precision, Recall, calc_metrics
    made = {"hit": HitRate, "recall": Recall, "precision": Precision, "mrr": MRR, "map": MAP,
            "ndcg": lambda k: NDCG(k=k, divide_by_achievable=True)}
    metrics = {name: made[name.split("@")[0]](k=int(name.split("@")[1])) for name in names}
    def frames():
        users = np.arange(n)
        reco = pd.DataFrame({Columns.User: np.repeat(users, k), Columns.Item: items.ravel(),
                             Columns.Rank: np.tile(np.arange(1, k + 1), n)})
        return reco, pd.DataFrame({Columns.User: np.repeat(users, truth.shape[1]), Columns.Item: truth.ravel()})
    (reco, inter), build = clock(frames, rounds)
    _, seconds = clock(lambda: calc_metrics(metrics, reco, inter), rounds)
    values = {name: one.calc_per_user(reco, inter).sort_index().to_numpy() for name, one in metrics.items()}
    report("rectools", build, seconds, values)

for work, package in ((run_ranx, "ranx"), (run_rectools, "rectools")):
    try:
        __import__(package)
    except ImportError:
        continue
    work()
print(json.dumps(rows))
"""


def make(users: int, relevant: int, seed: int) -> dict[str, np.ndarray]:
    """Lists of distinct items with distinct scores; about half of the relevant items stand in the list."""
    rng = np.random.default_rng(seed)
    items = rng.integers(0, CATALOG // (2 * K), (users, K)) * K + rng.permuted(
        np.tile(np.arange(K), (users, 1)), axis=1
    )
    scores = K - np.arange(K) + 0.5 * rng.random((users, K))
    place = np.argsort(rng.random((users, K)), axis=1)[:, :relevant]
    inside = np.take_along_axis(items, place, axis=1)
    other = (
        CATALOG // 2 + rng.integers(0, CATALOG // (2 * relevant), (users, relevant)) * relevant + np.arange(relevant)
    )
    truth = np.where(rng.random((users, relevant)) < 0.5, inside, other)
    return {"items": items.astype(np.int32), "scores": scores.astype(np.float32), "truth": truth.astype(np.int32)}


def ours(data: dict[str, np.ndarray]) -> Callable[[], dict[str, np.ndarray]]:
    """The measurement, from lists and truth to values per user."""
    n, relevant = data["truth"].shape
    lists = Lists("bench", np.arange(n + 1) * K, data["items"].ravel(), data["scores"].ravel())
    ones = np.ones(n * relevant, np.float32)
    truth = Lists("bench", np.arange(n + 1) * relevant, data["truth"].ravel(), ones, {"gain": ones})
    return lambda: evaluate(lists, truth, NAMES)


def timed(work: Callable[[], object], rounds: int) -> list[float]:
    """Seconds of each round, after one unmeasured round."""
    work()
    spent = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        spent.append(time.perf_counter() - start)
    return spent


def compare(
    python: str, data: dict[str, np.ndarray], values: dict[str, np.ndarray], base: float, args: argparse.Namespace
) -> None:
    """Run the peers of one interpreter and print their rows."""
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/data.npz", **data)
        call = [python, "-c", PEER, folder, str(args.rounds), "0" if args.fast else "1", json.dumps(NAMES)]
        done = subprocess.run(call, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{python} failed:\n{done.stderr[-2000:]}")
        for row in json.loads(done.stdout.splitlines()[-1]):
            with np.load(Path(folder) / (row["name"].replace(" ", "_") + ".npz")) as theirs:
                worst = max(float(np.abs(theirs[name] - values[name]).max()) for name in NAMES)
            if worst > 1e-9:
                print(f"  {row['name']}: values differ by {worst:.2e}; no time is printed")
                continue
            alone, whole = row["seconds"] / base, (row["build"] + row["seconds"]) / base
            print(f"  {row['name']:12s} build {row['build']:7.2f} s  measure {row['seconds']:7.3f} s", end="   ")
            print(f"ratio {alone:.1f}x without build, {whole:.1f}x with   (max difference {worst:.0e})")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--relevant", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peer-python", nargs="*", default=[], help="interpreters with ranx and/or rectools")
    parser.add_argument("--fast", action="store_true", help="leave out the slow path of ranx through its dicts")
    args = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    print(f"{args.users:,} users x {K} items, {len(NAMES)} metrics, {cores} cores, numpy {np.__version__}")
    for relevant in args.relevant:
        data = make(args.users, relevant, args.seed)
        work = ours(data)
        spent = timed(work, args.rounds)
        base = statistics.median(spent)
        low, high = min(spent) * 1e3, max(spent) * 1e3
        print(f"{relevant} relevant: hexarec {base * 1e3:.0f} ms (median of {args.rounds}; {low:.0f} to {high:.0f})")
        for python in args.peer_python:
            compare(python, data, work(), base, args)


if __name__ == "__main__":
    main()
