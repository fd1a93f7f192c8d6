"""The parts of the engine's benchmark: which rows take turns, what must agree, and the ratios they give."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from engine import Row, agree, told, turns
from engine_rows import Work

Made = dict[str, Any]


def _ratio(slow: Row, fast: Row) -> Made:
    """How many times faster, by medians, and the span over the turns."""
    each = [a / b for a, b in zip(slow.seconds, fast.seconds, strict=True)]
    return {"ratio": slow.median / fast.median, "low": min(each), "high": max(each)}


def score(work: Work, repeats: int) -> Made:
    """float32: packed against one at a time and against the best batch of the strong loop."""
    made: Made = {"rows": [], "ratios": []}
    batch = _best_batch(replace(work, k=20, dtype="float32"))
    made["best_batch"] = batch
    for k in (20, 100):
        asked = replace(work, k=k, dtype="float32")
        wanted = {"ours": ("ours", asked), "one at a time": ("loop", replace(asked, batch=1))}
        if batch > 1:
            wanted[f"batch {batch}"] = ("loop", replace(asked, batch=batch))
        rows = turns({**wanted, "roof": ("roof", asked)}, repeats)
        ours, single = rows["ours"], rows["one at a time"]
        same = agree(ours, single)
        best = min((row for name, row in rows.items() if name not in ("ours", "roof")), key=lambda row: row.median)
        rest = {"good": same["max_difference"] <= 1e-3 and same["same_top10"], **same}
        rest["token_bound"] = single.answer["tokens"] / ours.answer["tokens"]
        made["rows"] += [{"k": k, **told(row, rows["roof"])} for row in rows.values() if row.name != "roof"]
        for name, row in ((f"best loop ({best.name})", best), ("one at a time", single)):
            made["ratios"].append({"k": k, "against": name, **_ratio(row, ours), **rest})
        made[f"roof_{k}"] = rows["roof"].answer["gflops_seen"]
    return made


def _best_batch(work: Work) -> int:
    """The quickest batch of the loop for 20 candidates, one turn each after a warm-up."""
    tried = (1, 4, 10, 20)
    rows = turns({f"batch {n}": ("loop", replace(work, batch=n)) for n in tried}, 1)
    return min(tried, key=lambda n: rows[f"batch {n}"].median)


def dtypes(work: Work, repeats: int) -> Made:
    """bfloat16 and int8 against our float32, and many users in a call against one after the other."""
    made: Made = {"rows": [], "ratios": []}
    for k in (20, 100):
        asked = {kind: replace(work, k=k, dtype=kind) for kind in ("float32", "bfloat16", "int8")}
        wanted = {f"{kind}": ("ours", one) for kind, one in asked.items()}
        wanted |= {"roof float32": ("roof", asked["float32"]), "roof bfloat16": ("roof", asked["bfloat16"])}
        rows = turns(wanted, repeats)
        for kind in (kind for kind in asked if kind in rows):
            roof = None if kind == "int8" else rows[f"roof {kind}"]  # torch has no plain int8 product to compare with
            made["rows"].append({"k": k, **told(rows[kind], roof)})
        for kind in (kind for kind in ("bfloat16", "int8") if kind in rows):
            same = agree(rows[kind], rows["float32"])
            ratio = _ratio(rows["float32"], rows[kind])
            made["ratios"].append(
                {"k": k, "against": f"our float32: {kind}", **ratio, "good": same["tau"] > 0.8, **same}
            )
    users = 8 if work.device == "cpu" else 64
    many = replace(work, k=20, users=users, dtype="float32")
    rows = turns({"together": ("ours", many), "one by one": ("one by one", many)}, repeats)
    same = agree(rows["together"], rows["one by one"])
    made["rows"] += [{"k": 20, "users": users, **told(row)} for row in rows.values()]
    ratio = _ratio(rows["one by one"], rows["together"])
    good = same["max_difference"] <= 1e-3
    made["ratios"].append({"k": 20, "against": f"{users} users one by one: in one call", **ratio, "good": good, **same})
    return made


def warm(work: Work, repeats: int) -> Made:
    """A user five events later: what the warm prefix saves, as a share of what its tokens allow."""
    made: Made = {"rows": [], "ratios": []}
    for prefix in (400, 800):
        for k in (20, 100):
            asked = replace(work, prefix=prefix, k=k, dtype="float32")
            rows = turns({"cold": ("ours", asked), "warm": ("warm", asked)}, repeats)
            same, ratio = agree(rows["warm"], rows["cold"]), _ratio(rows["cold"], rows["warm"])
            bound = rows["cold"].answer["tokens"] / (rows["warm"].answer["tokens"] - rows["warm"].answer["cached"])
            made["rows"] += [{"k": k, "prefix": prefix, **told(row)} for row in rows.values()]
            made["ratios"].append(
                {
                    "k": k,
                    "prefix": prefix,
                    "against": "cold",
                    **ratio,
                    "token_bound": bound,
                    "share_of_bound": ratio["ratio"] / bound,
                    "good": same["max_difference"] <= 1e-3,
                    **same,
                }
            )
    return made


def labels(work: Work, repeats: int) -> Made:
    """Yes or no about each candidate, against llama.cpp with its own prefix cache: the same prompts and labels."""
    made: Made = {"rows": [], "ratios": []}
    for k in (20, 100):
        rows = turns(
            {
                "hf float32": ("labels", replace(work, k=k, dtype="float32")),
                "hf bfloat16": ("labels", replace(work, k=k, dtype="bfloat16")),
                "xllamacpp": ("xllamacpp", replace(work, k=k)),
            },
            repeats,
        )
        made["rows"] += [{"k": k, **told(row)} for row in rows.values()]
        for kind in ("float32", "bfloat16"):
            same = agree(rows[f"hf {kind}"], rows["xllamacpp"])
            ratio = _ratio(rows["xllamacpp"], rows[f"hf {kind}"])
            good = same["max_difference"] <= 0.5  # nats; llama.cpp rounds the inputs of each product to 8 bits
            made["ratios"].append({"k": k, "against": f"xllamacpp: {kind}", **ratio, "good": good, **same})
    return made


def generate(work: Work, repeats: int) -> Made:
    """Ten titles of a catalog, end to end, against transformers' own constrained beams."""
    made: Made = {"rows": [], "ratios": []}
    for size in (10_000, 100_000):
        asked = replace(work, catalog=size, dtype="float32", prefix=314)
        rows = turns(
            {
                "full": ("search", asked),
                "local": ("search", replace(asked, norm="local")),
                "transformers": ("generate", asked),
            },
            repeats,
        )
        ours, theirs = rows["full"].answer["found"], rows["transformers"].answer["found"]
        same = [a[0] for a in ours] == [b[0] for b in theirs]
        apart = max(abs(a[1] - b[1]) for a, b in zip(ours, theirs, strict=True))
        made["rows"] += [{"items": size, **told(row)} for row in rows.values()]
        for norm in ("full", "local"):
            made["ratios"].append(
                {
                    "items": size,
                    "against": f"transformers generate: {norm}",
                    **_ratio(rows["transformers"], rows[norm]),
                    # the tests compare the local norm with brute force; here its titles must be real and distinct
                    "good": bool(same) if norm == "full" else len({hit[0] for hit in rows[norm].answer["found"]}) == 10,
                    "beams_equal": bool(same) if norm == "full" else None,
                    "max_difference": apart if norm == "full" else None,
                }
            )
    return made


def embed(work: Work, repeats: int) -> Made:
    """Titles to vectors against the default loop of sentence-transformers."""
    made: Made = {"rows": [], "ratios": []}
    wanted = {kind: ("embed", replace(work, dtype=kind)) for kind in ("default", "float32", "bfloat16", "int8")}
    rows = turns({**wanted, "sentence-transformers": ("sentence-transformers", work)}, repeats)
    theirs = np.asarray(rows["sentence-transformers"].answer["found"])
    for name, row in rows.items():
        made["rows"].append({**told(row), "titles_per_s": len(theirs) / row.median})
        if name != "sentence-transformers":
            cosine = (np.asarray(row.answer["found"]) * theirs).sum(1)
            made["ratios"].append(
                {
                    "against": f"sentence-transformers: {name}",
                    **_ratio(rows["sentence-transformers"], row),
                    "cosine_mean": float(cosine.mean()),
                    "cosine_min": float(cosine.min()),
                    "good": float(cosine.mean()) >= 0.99,
                }
            )
    return made


def train(work: Work, repeats: int) -> Made:
    """LoRA tokens per second against peft and the Trainer of transformers: the same batch, adapter and losses."""
    from engine_train import rows, sequences

    made: Made = {"rows": [], "ratios": []}
    apart = []
    for row in rows(work.model, Path(work.data), repeats, work.device):
        seconds = row["seconds"]
        apart.append(row["largest relative difference of losses"])
        made["rows"].append(
            {
                "row": row["name"],
                "what": f"LoRA r 8 on q and v, {row['dtype']}, {sequences(work.device)} sequences",
                "median_s": statistics.median(seconds),
                "min_s": min(seconds),
                "max_s": max(seconds),
                "tokens": row["tokens"],
                "tokens_per_s": row["tokens per second"],
                "peak_rss_mb": row["peak rss MB"],
                "seconds": seconds,
            }
        )
    for ours, theirs, loss in zip(made["rows"][0::2], made["rows"][1::2], apart[0::2], strict=True):
        each = [b / a for a, b in zip(ours.pop("seconds"), theirs.pop("seconds"), strict=True)]
        made["ratios"].append({"against": f"{theirs['row']}: {ours['what']}", "ratio": statistics.median(each)})
        made["ratios"][-1] |= {"low": min(each), "high": max(each), "losses_apart": loss}
        # bfloat16 rounds on both sides: its first loss alone is one per cent off on either
        made["ratios"][-1]["good"] = loss <= (1e-3 if "float32" in ours["what"].replace("bfloat16", "") else 0.1)
    return made


PART: dict[str, Callable[[Work, int], Made]] = {
    "score": score,
    "dtypes": dtypes,
    "warm": warm,
    "labels": labels,
    "generate": generate,
    "embed": embed,
    "train": train,
}
