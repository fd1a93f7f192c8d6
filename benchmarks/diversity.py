"""What variety costs on MovieLens-1M: `python benchmarks/diversity.py --data DIR/ml1m_seq`.

Candidates come from item-kNN or EASE, whichever is better on validation after tuning. Every way to vary a list is swept
over its strength on validation; the strength that is reported as chosen is the largest that keeps 95 % of the NDCG@10
of the candidates' own order there. The test is asked once, for the whole sweep, and shows the trade-off.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from movielens import tuned
from scipy.optimize import Bounds, LinearConstraint, milp
from writing import write

from hexarec.core import Dataset, Exposures, Lists, Queries, fitted, ragged, run, strings, variant
from hexarec.data.store import open_data
from hexarec.eval.experiment import Experiment
from hexarec.eval.report import Report
from hexarec.eval.tasks import Ranking, Round
from hexarec.lm.open import open_encoder, open_lm
from hexarec.methods.diversity import GRID, Diversity
from hexarec.metrics import evaluate, mean, parse
from hexarec.parts.attributes import variety
from hexarec.parts.render import documents
from hexarec.parts.vectors import unit
from hexarec.pipeline.pipeline import Pipeline

METRICS = ("ndcg@10", "recall@10", "ild_tags@10", "calibration@10", "coverage@10", "popularity_lift@10")
SHOWN = METRICS[:4]
DEPTH, K, KEPT = 100, 10, 0.95
ORDER = "candidate order"
STRENGTHS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
TOPS = (0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True)
class Family:
    """One way to vary lists, and the option that is swept."""

    stage: Diversity
    option: str = "strength"
    values: tuple[float, ...] = STRENGTHS

    def at(self, value: float) -> Diversity:
        """The stage at one value of the sweep."""
        return variant(self.stage, **{self.option: value})


def _fixed(**options: Any) -> Diversity:
    return Diversity(direction="fixed", **options)


FAMILIES: dict[str, Family] = {
    "mmr": Family(_fixed(how="mmr")),
    "dpp": Family(_fixed(how="dpp")),
    "dpp, ridge .1": Family(_fixed(how="dpp", ridge=0.1)),
    "calibrated": Family(_fixed(how="calibrated")),
    "mmr by log": Family(_fixed(how="mmr", by="log")),
    "dpp by log": Family(_fixed(how="dpp", by="log")),
    "dpp, ridge .1, follow": Family(Diversity(ridge=0.1), "high", TOPS),
    "dpp, ridge .1, explore": Family(Diversity(ridge=0.1, direction="explore"), "high", TOPS),
    "calibrated, follow": Family(Diversity(how="calibrated"), "high", TOPS),
}


def chosen(asked: Round, retriever: Any) -> tuple[dict[str, float], dict[str, Any]]:
    """The largest value of each family that keeps enough of the NDCG on validation, and the whole search."""
    found = fitted(retriever, asked.train).retrieve(asked.queries, DEPTH)

    def ndcg(lists: Lists) -> float:
        return mean(evaluate(lists, asked.truth, ["ndcg@10"])["ndcg@10"])

    base = ndcg(found.top_k(K))
    best, searched = {}, {ORDER: base}
    for name, family in FAMILIES.items():
        stage = fitted(family.stage, asked.train)
        rows = {value: ndcg(variant(stage, **{family.option: value}).control(asked.queries, found, K))
                for value in family.values}  # fmt: skip
        kept = [value for value in family.values if rows[value] >= KEPT * base]
        best[name] = max(kept, default=min(family.values))
        searched[name] = {"option": family.option, "ndcg@10": rows, "kept": kept}
        print(name, best[name], {value: round(score, 4) for value, score in rows.items()}, flush=True)
    return best, searched


def swept(task: Ranking, retriever: Any) -> Report:
    """The test of every family at every value, without the ladder, which stands in the main table."""
    systems: dict[str, Any] = {ORDER: Pipeline((retriever,), depth=DEPTH, strict=True)}
    for name, family in FAMILIES.items():
        for value in family.values:
            systems[f"{name}, {value:g}"] = piped(retriever, family.at(value))
    return Experiment(task, systems, baseline=ORDER, k=K, floors=False).run()


def piped(retriever: Any, stage: Diversity) -> Pipeline:
    """The stage behind the retriever."""
    return Pipeline((retriever,), control_by=(stage,), depth=DEPTH, strict=True)


def milliseconds(asked: Round, retriever: Any) -> dict[str, float]:
    """Milliseconds per 1,000 lists, median of 5: lists of 100 to 10, and long ones of 500 to 50."""
    some = asked.queries.take(slice(0, 1000))
    model = fitted(retriever, asked.train)
    short, long = model.retrieve(some, 100), model.retrieve(some.take(slice(0, 100)), 500)
    ways = {
        "mmr": _fixed(how="mmr"), "mmr by log": _fixed(how="mmr", by="log"), "dpp": _fixed(how="dpp"),
        "dpp by log": _fixed(how="dpp", by="log"), "calibrated": _fixed(how="calibrated"),
        "dpp, follow": Diversity(), "dpp, at most 4 of each genre": _fixed(at_most={"*": 4}),
    }  # fmt: skip
    out = {}
    for name, stage in ways.items():
        ready = fitted(stage, asked.train)
        out[f"{name}: 100 to 10"] = timed(lambda ready=ready: ready.control(some, short, 10), len(some))
    part = some.take(slice(0, len(long)))
    for name, window in (("all picks", None), ("window of 10", 10)):
        ready = fitted(_fixed(how="dpp", window=window), asked.train)
        out[f"dpp, {name}: 500 to 50"] = timed(lambda ready=ready: ready.control(part, long, 50), len(part))
    ready = fitted(_fixed(how="dpp"), asked.train)
    out["dpp by determinants computed anew: 100 to 10"] = timed(lambda: naive(ready, short.take(slice(0, 5))), 5)
    return out


def timed(work: Callable[[], Any], lists: int) -> float:
    """The median of 5 runs, in milliseconds per 1,000 lists."""
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return 1e6 * float(np.median(seconds)) / lists


def naive(stage: Diversity, lists: Lists) -> list[list[int]]:
    """The picks of each list by log-determinants of every candidate at every step."""
    out = []
    for one in lists:
        items = one.items.astype(np.int64)
        kernel = stage.alike_.kernel(items, np.tile(items, (len(items), 1)))
        np.fill_diagonal(kernel, 1.0)
        picks: list[int] = []
        for _ in range(K):
            left = [i for i in range(len(items)) if i not in picks]
            wide = np.array([[*picks, i] for i in left])
            picks.append(left[int(np.linalg.slogdet(kernel[wide[:, :, None], wide[:, None, :]])[1].argmax())])
        out.append(picks)
    return out


def loop(asked: Round, retriever: Any, steps: int = 15) -> list[dict[str, Any]]:
    """Feedback on simulated users who consume every item of every page: error and strengths after some pages."""
    queries = asked.queries.take(slice(0, 300))
    found = fitted(retriever, asked.train).retrieve(queries, DEPTH)
    rows = []
    for direction in ("follow", "explore"):
        for gains in ((0.2, 0.02), (0.5, 0.02)):
            options = {"direction": direction, "proportional": gains[0], "integral": gains[1]}
            stage = fitted(Diversity(ridge=0.1, **options), asked.train)  # type: ignore[arg-type]
            errors = []
            for _ in range(steps):
                shown = stage.control(queries, found, K)
                errors.append(np.abs(goal_of(stage, queries) - varieties(stage, shown)).mean())
                gain = np.ones(len(shown.items), np.float32)
                stage = stage.learn(Exposures(queries, shown.with_field("gain", gain), source="sim:pages"))
            strength = stage.strengths(queries)[0]
            rows.append({
                **options, "error by page": [round(float(e), 4) for e in errors],
                "at the lower bound": float((strength <= stage.low).mean()),
                "at the upper bound": float((strength >= stage.high).mean()),
            })  # fmt: skip
            print(rows[-1], flush=True)
    return rows


def goal_of(stage: Diversity, queries: Queries) -> Any:
    """The variety that the stage steers to."""
    return np.interp(stage._place(queries), GRID, stage.scale_)


def varieties(stage: Diversity, lists: Lists) -> Any:
    """The variety of each list, (n,)."""
    return variety(lists.offsets, lists.items, stage.mix_.genres_, stage.recent)


def plant(asked: Round, retriever: Any) -> dict[str, list[float]]:
    """Mean variety of pages by fixed strength, and quantiles of the variety of histories: what a goal can ask for."""
    queries = asked.queries.take(slice(0, 300))
    found = fitted(retriever, asked.train).retrieve(queries, DEPTH)
    stage = fitted(_fixed(ridge=0.1), asked.train)
    pages = [float(varieties(stage, variant(stage, strength=s).control(queries, found, K)).mean())
             for s in (0.0, 0.2, 0.4, 0.6, 0.8)]  # fmt: skip
    return {"pages": pages, "histories": np.quantile(stage.scale_, [0.1, 0.25, 0.5, 0.75, 0.9]).tolist()}


WISHES = (
    ("more of the same please", 1), ("only films like the last one", 1), ("stick to what I know", 1),
    ("surprise me", 5), ("show me something completely different", 5), ("I am bored, anything goes", 5),
    ("a bit of everything", 4), ("mix it up", 4), ("a film for tonight", 0), ("something from 1994", 0),
)  # fmt: skip


def wishes(data: Dataset, spec: str) -> dict[str, Any]:
    """What a model reads from ten requests: the level, and whether it lies on the right side of the middle."""
    stage = fitted(Diversity(lm=open_lm(spec), low=0.0, high=1.0), data)
    queries = replace(data.queries([0] * len(WISHES)), text=strings([words for words, _ in WISHES]))
    read = stage._wishes(queries)
    levels = [0 if np.isnan(one) else round(1 + 4 * float(one)) for one in read]
    right = [made == want if want in (0, 3) else (made > 3) == (want > 3) and made not in (0, 3)
             for made, (_, want) in zip(levels, WISHES, strict=True)]  # fmt: skip
    return {"model": spec, "levels": dict(zip([w for w, _ in WISHES], levels, strict=True)), "right": int(sum(right))}


def saturation(data: Dataset, spec: str, n: int = 400) -> dict[str, float]:
    """Cosines between texts of items, as they are and with the mean vector taken off: 5th and 95th percentile."""
    texts = documents(data.catalog, np.arange(n), ("title", "genres"))
    rows = open_encoder(spec).encode(texts)
    upper = np.triu_indices(n, 1)
    out = {}
    for name, vectors in (("raw", unit(rows)), ("centred", unit(rows - rows.mean(0)))):
        cosine = (vectors @ vectors.T)[upper]
        out |= {f"{name} 5 %": float(np.quantile(cosine, 0.05)), f"{name} 95 %": float(np.quantile(cosine, 0.95))}
    return out


def crowded(asked: Round, retriever: Any, lists: int = 1000) -> dict[str, float]:
    """Lists whose top ten holds more than four of a genre: as they come, and under a quota."""
    queries = asked.queries.take(slice(0, lists))
    found = fitted(retriever, asked.train).retrieve(queries, DEPTH)
    stage = fitted(_fixed(strength=0.0, at_most={"*": 4}), asked.train)
    out = {}
    for name, made in (("as they come", found.top_k(K)), ("at most 4 of each genre", stage.control(queries, found, K))):
        row = ragged.segments(made.offsets)
        counts = np.zeros((len(made), stage.mix_.genres_.shape[1]))
        np.add.at(counts, row, stage.mix_.genres_[made.items] > 0)
        out[name] = float((counts > 4).any(1).mean())
    told = [i for i, note in enumerate(made.notes) if "quotas" in note]
    out["told in the notes"] = len(told) / len(made)
    out["told though possible"] = sum(possible(stage, found[i].items) for i in told) / len(made)
    return out


def possible(stage: Diversity, items: Any) -> bool:
    """Whether any ten of these candidates hold at most four of each genre, by an integer programme."""
    genres = (stage.mix_.genres_[items] > 0).astype(float).T
    limits = [LinearConstraint(genres, -np.inf, 4), LinearConstraint(np.ones((1, len(items))), K, K)]
    made = milp(np.zeros(len(items)), constraints=limits, integrality=np.ones(len(items)), bounds=Bounds(0, 1))
    return bool(made.success)


def by_taste(report: Report, asked: Round, names: list[str]) -> dict[str, list[dict[str, float]]]:
    """NDCG@10, distance and divergence of some systems, by quarter of the users from narrow to broad taste."""
    stage = fitted(_fixed(), asked.train)
    past = asked.queries.history.where(asked.queries.history.liked)
    own = variety(past.offsets, past.item, stage.mix_.genres_, stage.recent)
    edges = np.quantile(own, [0.25, 0.5, 0.75])
    quarter = np.searchsorted(edges, own)
    metrics = [parse(name) for name in SHOWN]
    out = {}
    for name in names:
        values = asked.measured([report.lists[name]], metrics)[0]
        tables = {metric: getattr(value, "values", value) for metric, value in values.items()}
        out[name] = [{m: mean(column[quarter == q]) for m, column in tables.items()} for q in range(4)]
    return out


def main() -> None:
    """Tune, choose, test, write."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--data", type=Path, required=True, help="the folder ml1m_seq")
    asked.add_argument("--out", type=Path, default=Path("docs/results/diversity"))
    asked.add_argument("--users", type=int, default=2000, help="users of the sweeps, drawn with seed 0")
    asked.add_argument("--lm", default="gguf:smollm2", help='"" leaves the language model out')
    asked.add_argument("--encoder", default="minilm", help='"" leaves the encoder out')
    options = asked.parse_args()
    started = time.perf_counter()
    data = open_data(options.data)
    with run():
        models, tuning = tuned(data, "last", ["itemknn", "ease (tuned)"])
        name = max(tuning, key=lambda one: max(row["ndcg@10"] for row in tuning[one]))
        retriever = models[name]
        valid = Ranking(data, "last", "valid", max_users=options.users).round()
        best, search = chosen(valid, retriever)
        task = Ranking(data, "last", max_users=options.users, metrics=METRICS)
        sweep = swept(task, retriever)
        systems: dict[str, Any] = {ORDER: Pipeline((retriever,), depth=DEPTH, strict=True)}
        systems |= {f"{n}, {v:g}": piped(retriever, FAMILIES[n].at(v)) for n, v in best.items()}
        quota = _fixed(strength=0.0, at_most={"*": 4})
        systems["at most 4 of each genre"] = piped(retriever, quota)
        report = Experiment(task, systems, baseline=ORDER, k=K).run(Path("runs/diversity"))
        more: dict[str, Any] = {
            "retriever": {"name": name, "options": vars(retriever)}, "tuning": tuning, "search": search,
            "chosen": best, "sweep": sweep.as_json(), "ms_per_1000_lists": milliseconds(task.round(), retriever),
            "plant": plant(valid, retriever), "loop": loop(valid, retriever), "crowded": crowded(valid, retriever),
        }  # fmt: skip
        pick = [f"{n}, {best[n]:g}" for n in best if n.startswith("dpp, ridge .1")]
        more["by_taste"] = by_taste(report, task.round(), [ORDER, *pick])
        if options.lm:
            more["wishes"] = wishes(data, options.lm)
        if options.encoder:
            more["saturation"] = saturation(data, options.encoder)
    more["seconds"] = time.perf_counter() - started
    write(options.out, [report], notes(report, sweep, best, name, retriever, more), more)
    print(f"{more['seconds']:.0f} s", flush=True)


def notes(
    report: Report, sweep: Report, best: dict[str, float], name: str, retriever: Any, more: dict[str, Any]
) -> str:
    """The page above the main table."""
    said = {f.name: getattr(retriever, f.name) for f in retriever.__dataclass_fields__.values()}
    setting = ", ".join(f"{option} {value}" for option, value in said.items())
    lines = [
        "# Diversity: what variety costs", "",
        f"MovieLens-1M sequences (no ratings, no clock), leave last, {len(next(iter(report.lists.values())))} users "
        f"drawn with seed 0. Candidates: the first {DEPTH} of {name} ({setting}), the better of item-kNN and EASE on "
        f"validation; lists of {K}. ILD (`ild_tags`) is the mean Jaccard distance of genres, KL (`calibration`) the "
        "divergence from the history's genres, lower is better. Likeness is that of genres, or of who liked both (by "
        f"log). Chosen on validation: the largest value that keeps {KEPT:.0%} of the NDCG@10 of the candidates' own "
        "order there; the test decided nothing.", "",
        "Command: `python benchmarks/diversity.py --data DIR/ml1m_seq`", "",
        "## The chosen strengths", "", *chosen_rows(report), "", "[95 % bootstrap interval over users]", "",
        "## Trade-off on the test", "", *tradeoff(sweep, best), "",
        "`>` marks the value chosen on validation. For follow and explore the value is the largest strength (`high`).",
        "", "## Time", "", "| controller | ms per 1,000 lists |", "|---|---|",
        *(f"| {way} | {value:,.0f} |" for way, value in more["ms_per_1000_lists"].items()), "",
        f"Median of 5, one thread where OMP_NUM_THREADS says so, {report.manifest['machine']}.", "",
        *taste_rows(more), *feedback_rows(more), *rest_rows(more),
    ]  # fmt: skip
    return "\n".join(lines)


def chosen_rows(report: Report) -> list[str]:
    """The main table with intervals on all four metrics."""
    lines = ["| system | " + " | ".join(SHOWN) + " |", "|---|" + "---|" * len(SHOWN)]
    for row in report.rows:
        cells = [f"{row.values[m].mean:.4f} [{row.values[m].low:.4f}, {row.values[m].high:.4f}]" for m in SHOWN]
        lines.append("| " + " | ".join([row.system, *cells]) + " |")
    return lines


def tradeoff(sweep: Report, best: dict[str, float]) -> list[str]:
    """All values of all families, with intervals."""
    rows = {row.system: row for row in sweep.rows}
    lines = ["| family | value | " + " | ".join(SHOWN) + " |", "|---|---|" + "---|" * len(SHOWN)]
    for name, family in (("", None), *FAMILIES.items()):
        for value in (0.0,) if family is None else family.values:
            row = rows[ORDER if family is None else f"{name}, {value:g}"]
            cells = [f"{row.values[m].mean:.4f} [{row.values[m].low:.4f}, {row.values[m].high:.4f}]" for m in SHOWN]
            mark = "" if family is None else ("> " if best[name] == value else "") + f"{value:g}"
            lines.append("| " + " | ".join([name or ORDER, mark, *cells]) + " |")
    return lines


def taste_rows(more: dict[str, Any]) -> list[str]:
    """The two directions, by taste."""
    lines = [
        "## By taste (quarters of the users, from narrow to broad)", "",
        "| system | ndcg@10 | ild_tags@10 | calibration@10 |", "|---|---|---|---|",
    ]  # fmt: skip
    for name, quarters in more["by_taste"].items():
        cells = [", ".join(f"{one[metric]:.4f}" for one in quarters) for metric in (SHOWN[0], *SHOWN[2:])]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    return [*lines, ""]


def feedback_rows(more: dict[str, Any]) -> list[str]:
    """What the feedback did on simulated users."""
    pages, past = more["plant"]["pages"], more["plant"]["histories"]
    lines = [
        "## Feedback (simulated users who consume every page whole)", "",
        "Variety (entropy of genres, 0 to 1) of pages at fixed strengths 0, .2, .4, .6, .8: "
        + ", ".join(f"{one:.3f}" for one in pages)
        + "; of ten events in a row, at the 10th, 25th, 50th, 75th and 90th percentile of users: "
        + ", ".join(f"{one:.3f}" for one in past) + ".", "",
        "| direction | gains | mean error of page 1, 2, 3, 5, 10, 15 | at the lower bound | at the upper bound |",
        "|---|---|---|---|---|",
    ]  # fmt: skip
    for row in more["loop"]:
        errors = ", ".join(f"{row['error by page'][i]:.3f}" for i in (0, 1, 2, 4, 9, 14))
        bounds = f"{row['at the lower bound']:.0%} | {row['at the upper bound']:.0%}"
        lines.append(f"| {row['direction']} | {row['proportional']}, {row['integral']} | {errors} | {bounds} |")
    return [*lines, ""]


def rest_rows(more: dict[str, Any]) -> list[str]:
    """Quotas, words and the vectors of texts."""
    crowd = more["crowded"]
    lines = [
        "## Quotas, words, vectors", "",
        f"Lists with more than four of a genre: {crowd['as they come']:.1%} as they come, "
        f"{crowd['at most 4 of each genre']:.1%} under the quota ({crowd['told in the notes']:.1%} told in the notes). "
        f"An integer programme could have kept it in {crowd['told though possible']:.1%}.", "",
    ]  # fmt: skip
    if "wishes" in more:
        read = "; ".join(f"{words}: {level}" for words, level in more["wishes"]["levels"].items())
        lines += [
            f"{more['wishes']['model']} reads {more['wishes']['right']} of {len(WISHES)} requests rightly (a level on "
            f"the right side of 3; 0 where the words do not say): {read}.", "",
        ]  # fmt: skip
    if "saturation" in more:
        s = more["saturation"]
        lines += [
            f"Cosines between 400 titles with genres (MiniLM), 5th to 95th percentile: {s['raw 5 %']:.2f} to "
            f"{s['raw 95 %']:.2f} as they are, {s['centred 5 %']:.2f} to {s['centred 95 %']:.2f} with the mean off.",
            "",
        ]  # fmt: skip
    return lines


if __name__ == "__main__":
    main()
