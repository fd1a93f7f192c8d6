"""The engine's benchmark as Markdown."""

from __future__ import annotations

from typing import Any

TITLES = {
    "score": "Scoring, float32: prompt of 400 tokens, K titles of 8 to 12 tokens",
    "dtypes": "bfloat16, int8, many users",
    "warm": "A warm user, five events later",
    "labels": "Yes/No labels against llama.cpp's prefix cache",
    "generate": "Ten titles of a catalog, 20 beams",
    "embed": "MiniLM, 2,000 titles",
    "train": "LoRA (r 8, q and v)",
}


def table(whole: dict[str, Any]) -> str:
    """All parts that were run."""
    out = ["# The engine beside its peers", "", "Command: `make bench-engine`. Medians over turns; low and high of the"]
    out += ["turn-by-turn ratios. A ratio is printed only where the answers agree.", ""]
    for name, part in whole["parts"].items():
        out += [f"## {TITLES[name]}", "", _machine(part.get("machine", {}), part.get("repeats")), ""]
        if part["ratios"]:
            out += [*_ratios(part["ratios"]), ""]
        out += [*_rows(part["rows"]), ""]
    return "\n".join(out)


def _machine(told: dict[str, Any], repeats: int | None) -> str:
    if not told:
        return ""
    gpu = f", {told['gpu']}" if told.get("gpu") else ", no GPU"
    return (
        f"{told['cpu']}, {told['cores']} cores{gpu}; Python {told['python']}, torch {told['torch']}, transformers "
        f"{told['transformers']}; {repeats} turns; load when it ended {told['load']:.1f}."
    )


def _key(row: dict[str, Any]) -> str:
    parts = [("P", "prefix"), ("K", "k"), ("items", "items"), ("users", "users")]
    return ", ".join(f"{name} {row[key]:,}" for name, key in parts if key in row) or "-"


def _ratios(rows: list[dict[str, Any]]) -> list[str]:
    out = ["| case | against | ratio (low to high) | tokens allow | agreement |", "|---|---|---|---|---|"]
    for row in rows:
        ratio = f"**{row['ratio']:.2f}x** ({row['low']:.2f} to {row['high']:.2f})" if row["good"] else "FAIL"
        bound = f"{row['token_bound']:.2f}x" if "token_bound" in row else ""
        if "share_of_bound" in row:
            bound += f", {row['share_of_bound']:.0%} reached"
        out.append(f"| {_key(row)} | {row['against']} | {ratio} | {bound} | {_agreement(row)} |")
    return out


def _agreement(row: dict[str, Any]) -> str:
    said = []
    if row.get("max_difference") is not None:
        said.append(f"largest difference {row['max_difference']:.1e}")
    if "tau" in row:
        said.append(f"tau {row['tau']:.3f}, top-10 overlap {row['top10_overlap']}")
    if row.get("beams_equal") is not None:
        said.append("the same ten titles in the same order" if row["beams_equal"] else "other titles")
    if "cosine_mean" in row:
        said.append(f"cosine mean {row['cosine_mean']:.5f}, least {row['cosine_min']:.4f}")
    if "losses_apart" in row:
        said.append(f"losses of the same steps apart by at most {row['losses_apart']:.1e} of their size")
    return "; ".join(said)


def _rows(rows: list[dict[str, Any]]) -> list[str]:
    out = [
        "| case | row | median s (min to max) | tokens | GFLOP/s | of the roof | peak MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        work = f"{row['gflops']:.0f} | {row['share_of_roof']:.0%}" if "gflops" in row else " | "
        extra = "".join(
            f"; {k} {row[k]:,.4g}" for k in ("titles_per_s", "tokens_per_s", "trie_build_s", "trie_mb") if k in row
        )
        out.append(
            f"| {_key(row)} | {row['row']}: {row['what']}{extra} | {row['median_s']:.3f} ({row['min_s']:.3f} to "
            f"{row['max_s']:.3f}) | {row.get('tokens', '')} | {work} | {row['peak_rss_mb']:,.0f} |"
        )
    return out
