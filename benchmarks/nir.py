"""Golden numbers of the NIR cases: `python benchmarks/nir.py --data DIR/nir_ml100k`.

943 MovieLens-100K users as title lists with the next title, and the authors' GPT-3 log of the 170 users whose answer
is among 19 user-filtering candidates (Wang and Lim 2023, arXiv:2304.03153). No language model is asked here: the floor
ladder, the filters of `methods/nir` and its reading of answers are measured on what is published.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from hexarec.core import Catalog, Dataset, IdTable, Interactions, Item, Users, ragged
from hexarec.lm.fake import Overlap
from hexarec.methods.nir import NIR
from hexarec.parts.ground import Titles
from hexarec.parts.paired import paired

NEIGHBOURS, CANDIDATES = 12, 19
FILTERS: dict[str, dict[str, Any]] = {
    "user filtering, 12 neighbours, dot (its default)": {},
    "item filtering, 12 similar items, dot": {"filtering": "item"},
    "item filtering, 50 similar items, cosine": {"filtering": "item", "similarity": "cosine", "neighbours": 50},
}


def cases(folder: Path) -> tuple[list[list[str]], list[str]]:
    """Histories (oldest first) and next titles."""
    rows = json.loads((folder / "ml_100k.json").read_text("utf-8"))
    return [row[0].split(" | ") for row in rows], [row[1] for row in rows]


def dataset(histories: list[list[str]], targets: list[str]) -> Dataset:
    """All histories as an order-only log over their titles and the targets."""
    catalog = Catalog.of(
        [Item(title, title) for title in dict.fromkeys([t for row in histories for t in row] + targets)]
    )
    past = [catalog.rows(row) for row in histories]
    lengths = np.array([len(row) for row in past])
    columns = {
        "user": np.repeat(np.arange(len(past)), lengths),
        "item": np.concatenate(past),
        "time": ragged.positions(ragged.offsets_of(lengths)).astype(np.float64),
    }
    users = Users(IdTable.of(str(n) for n in range(len(past))))
    return Dataset(catalog, Interactions.of(columns, len(past), clock=False), users, name="MovieLens-100K (NIR)")


def matrix(histories: list[list[str]]) -> tuple[np.ndarray, dict[str, int]]:
    """Binary users x titles, float64, and the column of every title."""
    names = {title: i for i, title in enumerate(dict.fromkeys(title for row in histories for title in row))}
    out = np.zeros((len(histories), len(names)))
    for user, row in enumerate(histories):
        out[user, [names[title] for title in row]] = 1.0
    return out, names


def user_filtering(
    histories: list[list[str]], seen: np.ndarray, neighbours: int, *, cosine: bool = False, self_too: bool = True
) -> list[list[str]]:
    """The CANDIDATES best unseen titles of the nearest users, weighted by similarity.

    Ties decide several cases: among equal neighbours the first user wins, among equal titles the one met first when
    the neighbours are walked from the nearest, each history from its start. Weights are whole numbers for the dot
    product, so that rounding cannot break a tie.
    """
    similar = seen @ seen.T
    if cosine:
        size = np.sqrt(np.maximum(np.diag(similar), 1.0))
        similar = similar / size[:, None] / size[None, :]
    if not self_too:
        np.fill_diagonal(similar, -1.0)
    lists = []
    for user, row in enumerate(histories):
        own, scores = set(row), dict[str, float]()
        for near in np.argsort(-similar[user], kind="stable")[:neighbours].tolist():
            for title in dict.fromkeys(histories[near]):
                if title not in own:
                    scores[title] = scores.get(title, 0.0) + float(similar[user, near])
        lists.append(sorted(scores, key=lambda title: -scores[title])[:CANDIDATES])
    return lists


def item_knn(seen: np.ndarray, histories: list[list[str]], names: dict[str, int], last: int) -> np.ndarray:
    """Cosine between titles, summed over the last titles of each history."""
    together = seen.T @ seen
    size = np.sqrt(np.maximum(np.diag(together), 1.0))
    similar = together / size[:, None] / size[None, :]
    np.fill_diagonal(similar, 0.0)
    recent = np.zeros_like(seen)
    for user, row in enumerate(histories):
        recent[user, [names[title] for title in row[-last:]]] = 1.0
    scores = recent @ similar
    scores[seen > 0] = -np.inf
    return scores


def best_titles(scores: np.ndarray, names: dict[str, int]) -> list[list[str]]:
    """The CANDIDATES best titles of each row of scores; ties by column, seen titles (-inf) left out."""
    titles = list(names)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :CANDIDATES]
    return [[titles[i] for i in row if np.isfinite(scores[user, i])] for user, row in enumerate(order)]


def measured(lists: list[list[str]], targets: list[str]) -> dict[str, float]:
    """hit@10, NDCG@10 and recall@19 over all users; a target outside the vocabulary or already seen is a miss."""
    pairs_ = zip(lists, targets, strict=True)
    rank = np.array([row.index(title) if title in row else 10**6 for row, title in pairs_])
    return {
        "recall@19": float((rank < 19).mean()),
        "hit@10": float((rank < 10).mean()),
        "ndcg@10": float(np.where(rank < 10, 1 / np.log2(rank + 2.0), 0.0).mean()),
    }


def filtered(data: Dataset, **options: Any) -> list[list[str]]:
    """The CANDIDATES best titles of the filter of `methods/nir`, for every user."""
    lists = NIR(Overlap(), **options).fit(data).retrieve(data.queries(np.arange(len(data.users.ids))), CANDIDATES)
    return [data.catalog.titles[lists[i].items].tolist() for i in range(len(lists))]


def answers_read(folder: Path, histories: list[list[str]], titles: list[str]) -> dict[str, int]:
    """Hits among the traces: anywhere = the title in the text, read = a candidate, paired = beside a watched title.

    Candidates are those of the prompt of a trace, which in 30 of 170 are not quite those of the published script.
    """
    name = "results_multi_prompting_len8_numcand_19_2023.json"
    traces = json.loads((folder / name).read_text("utf-8"))
    counts = {"traces": len(traces), "anywhere": 0, "read": 0, "paired": 0}
    for trace in traces:
        answer, listed = trace["Predictions"], trace["Input_3"].split("(candidate movies):")[1].split(".\n")[0]
        options = [title for title in titles if f", {title}, " in f",{listed}, "]
        made, _ = paired(answer, Titles(tuple(histories[trace["PID"]][-8:])), Titles(tuple(options)), 10)
        found = [pair for pair in made if options[pair.right] == trace["GT"]]
        counts["anywhere"] += trace["GT"] in answer
        counts["read"] += bool(found)
        counts["paired"] += any(pair.left >= 0 for pair in found)
    return counts


def main() -> None:
    """Measure, print, and write JSON and Markdown."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--data", type=Path, required=True, help="the folder nir_ml100k")
    asked.add_argument("--out", type=Path, default=Path("docs/results/nir"), help="results without ending")
    options = asked.parse_args()
    histories, targets = cases(options.data)
    seen, names = matrix(histories)
    popular = np.where(seen > 0, -np.inf, np.broadcast_to(seen.sum(0), seen.shape))
    given, data = user_filtering(histories, seen, NEIGHBOURS), dataset(histories, targets)
    rows = {
        "popularity": measured(best_titles(popular, names), targets),
        "user filtering, 12 neighbours, dot, self included (the paper's candidates)": measured(given, targets),
        **{f"`nir`: {name}": measured(filtered(data, **told), targets) for name, told in FILTERS.items()},
        "user filtering, 50 neighbours, cosine, self excluded": measured(
            user_filtering(histories, seen, 50, cosine=True, self_too=False), targets
        ),
        **{
            f"item-kNN, last {n}": measured(best_titles(item_knn(seen, histories, names, n), names), targets)
            for n in (1, 3, 8)
        },
    }
    read = answers_read(options.data, histories, list(data.catalog.titles))
    result = {"title": "NIR cases, 943 users", "rows": rows, "answers": read}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.with_suffix(".json").write_text(json.dumps(result, indent=1), "utf-8")
    lines = ["# NIR cases on MovieLens-100K: the floor ladder and what is read of answers", ""]
    lines += ["| what makes the list | recall@19 | hit@10 | NDCG@10 |", "|---|---|---|---|"]
    lines += [f"| {n} | {v['recall@19']:.4f} | {v['hit@10']:.4f} | {v['ndcg@10']:.4f} |" for n, v in rows.items()]
    lines += [
        "",
        f"Of {read['traces']} published GPT-3 answers {read['anywhere']} hold the true title somewhere. What reads",
    ]
    lines += [f"for `nir`, `parts/paired`, finds it among ten candidates in {read['read']}, beside a watched"]
    lines += [f"title in {read['paired']}."]
    lines += ["", "Command: `python benchmarks/nir.py --data DIR/nir_ml100k`", ""]
    options.out.with_suffix(".md").write_text("\n".join(lines), "utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
