"""EASE beside RecTools: `python benchmarks/ease.py --data DIR/ml1m_seq --peer-python PATH`.

The same binary matrix (leave-last training part), the same regularisation; fit and bulk recommendation of ten items for
every user, medians of interleaved rounds. Two overlaps of the top ten stand beside the peer's row: with our lists, and
with lists made from our transposed table, because RecTools 0.19 multiplies histories by the transpose of Steck's B
(its ranker takes one row per item). The second one is the equality check; a test holds ours to the closed form.
"""

from __future__ import annotations

import argparse
import copy
import json
import resource
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from hexarec.classic import EASE
from hexarec.data.split import leave_last
from hexarec.data.store import open_data

PEER = r"""
import json, resource, sys, time
import numpy as np, pandas as pd
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import EASEModel
folder, regularization = sys.argv[1], float(sys.argv[2])
data = np.load(folder + "/log.npz")
frame = pd.DataFrame({Columns.User: data["user"], Columns.Item: data["item"], Columns.Weight: 1.0,
                      Columns.Datetime: pd.to_datetime(data["order"], unit="s")})
dataset = Dataset.construct(frame)
start = time.perf_counter()
model = EASEModel(regularization=regularization).fit(dataset)
fit = time.perf_counter() - start
start = time.perf_counter()
made = model.recommend(users=np.unique(data["user"]), dataset=dataset, k=10, filter_viewed=True)
bulk = time.perf_counter() - start
np.savez(folder + "/peer.npz", user=made[Columns.User].to_numpy(), item=made[Columns.Item].to_numpy())
print(json.dumps({"fit": fit, "bulk": bulk, "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


def ours(data: object, regularization: float) -> tuple[float, float, np.ndarray, np.ndarray]:
    """Seconds to fit, seconds to answer everybody, the top ten (users, 10), and those of the transposed table."""
    start = time.perf_counter()
    model = EASE(regularization=regularization).fit(data)  # type: ignore[arg-type]
    fit = time.perf_counter() - start
    queries = data.queries()  # type: ignore[attr-defined]
    start = time.perf_counter()
    lists = model.retrieve(queries, 10)
    bulk = time.perf_counter() - start
    turned = copy.copy(model)
    turned.weights_ = np.ascontiguousarray(model.weights_.T)
    return fit, bulk, lists.padded(10), turned.retrieve(queries, 10).padded(10)


def main() -> None:
    """Measure in turn, print medians, ratios and the overlap."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--data", type=Path, required=True)
    asked.add_argument("--peer-python", default="", help="interpreter with rectools; without it only ours is measured")
    asked.add_argument("--rounds", type=int, default=5)
    asked.add_argument("--regularization", type=float, default=500.0)
    asked.add_argument("--out", type=Path, default=None, help="JSON file")
    options = asked.parse_args()
    data = leave_last(open_data(options.data), valid=False).train
    log = data.interactions
    mine, theirs, overlap, equal = [], [], float("nan"), float("nan")
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/log.npz", user=log.user, item=log.item, order=log.time)
        for _ in range(options.rounds):
            fit, bulk, top, turned = ours(data, options.regularization)
            mine.append((fit, bulk))
            if options.peer_python:
                command = [options.peer_python, "-c", PEER, folder, str(options.regularization)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                theirs.append(json.loads(done.stdout.splitlines()[-1]))
                peer = np.load(f"{folder}/peer.npz")
                overlap, equal = _overlap(top, peer), _overlap(turned, peer)
    result = {
        "ours": {"fit": [m[0] for m in mine], "bulk": [m[1] for m in mine]},
        "ours peak rss MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "rectools": theirs,
        "top-10 overlap": overlap,
        "top-10 overlap of the transposed table": equal,
    }
    for part in ("fit", "bulk"):
        own = statistics.median(result["ours"][part])
        line = f"{part}: ours {own:.2f} s"
        if theirs:
            peer = statistics.median(row[part] for row in theirs)
            line += (
                f", rectools {peer:.2f} s, ratio {peer / own:.2f}; top-10 overlap {overlap:.4f}, transposed {equal:.4f}"
            )
        print(line, flush=True)
    if options.out:
        options.out.write_text(json.dumps(result, indent=1), "utf-8")


def _overlap(top: np.ndarray, peer: dict[str, np.ndarray]) -> float:
    """Share of our top-10 pairs that the peer has too."""
    wide = int(max(top.max(), peer["item"].max())) + 1
    pairs = (np.arange(len(top))[:, None] * wide + top)[top >= 0]
    return float(np.isin(pairs, peer["user"].astype(np.int64) * wide + peer["item"]).mean())


if __name__ == "__main__":
    main()
