"""gpt4rec and genrec on Amazon Beauty: `python benchmarks/generative.py --data DIR --lm hf:smollm2`.

DIR holds the folder amazon_beauty_5core: sequences of 22,363 users over 12,101 items, each user's last item the test,
the whole catalog ranked. The floors are measured on everybody. The model is tuned once for each method on a part of the
training log, with the items before the last as validation; some users are then asked. genrec decodes in three ways with
the same weights; gpt4rec's 1 to 40 queries are the first of one search of 40 beams. Answers are kept in `--runs`:
--resume goes on. --out docs/results keeps the table.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from writing import write

from hexarec.classic import ItemKNN, Lexical, Markov
from hexarec.core import Catalog, Dataset, IdTable, Interactions, Item, Users, run, variant
from hexarec.eval import text
from hexarec.eval.experiment import Experiment
from hexarec.eval.report import Report
from hexarec.eval.tasks import Ranking
from hexarec.lm.base import Hypothesis, LanguageModel, Prompt
from hexarec.lm.cassette import Cassette
from hexarec.lm.open import open_lm
from hexarec.methods.genrec import GenRec
from hexarec.methods.gpt4rec import GPT4Rec
from hexarec.parts.next_title import Recipe

K = 40
METRICS = (
    "recall@5", "recall@10", "recall@20", "recall@40", "ndcg@10", "ild_tags@10", "ild_tags@40", "tag_coverage@10",
    "tag_coverage@40", "coverage@10", "popularity_lift@10",
)  # fmt: skip
SHORT = ("recall@5", "recall@10", "ndcg@10", "ild_tags@10", "tag_coverage@10")
AT_ONCE = 8  # users whose lists are timed, together


def beauty(folder: Path) -> Dataset:
    """Sequences and short item texts as IDGenRec gives them, brands and categories as E4SRec numbers them."""
    rows = [line.split() for line in (folder / "idgenrec/user_sequence.txt").read_text("utf-8").splitlines()]
    numbers = [line.split()[1:] for line in (folder / "e4srec/Beauty.txt").read_text("utf-8").splitlines()]
    lines = (folder / "idgenrec/item_generative_indexing_phase_0.txt").read_text("utf-8").splitlines()
    names = dict(line.split(" ", 1) for line in lines)
    kinds = json.loads((folder / "e4srec/Beauty_item2attributes.json").read_text("utf-8"))
    asin = {n: one for row, own in zip(rows, numbers, strict=True) for one, n in zip(row[1:], own, strict=True)}
    tags = {asin[n]: tuple(f"attribute {a}" for a in own) for n, own in kinds.items()}
    catalog = Catalog.of([Item(one, name, attributes={"genres": tags.get(one, ())}) for one, name in names.items()])
    lengths = [len(row) - 1 for row in rows]
    events = {
        "user": np.repeat(np.arange(len(rows)), lengths),
        "item": catalog.rows([one for row in rows for one in row[1:]]),
        "time": np.concatenate([np.arange(n, dtype=np.float64) for n in lengths]),
    }
    users = Users(IdTable.of(row[0] for row in rows))
    return Dataset(catalog, Interactions.of(events, len(rows), clock=False), users, name="Amazon Beauty 5-core")


class Widest:
    """A model whose narrower beams are the first of its widest: one search serves every number of queries."""

    def __init__(self, lm: LanguageModel, width: int) -> None:
        self._lm, self._width, self.name, self.spec = lm, width, lm.name, lm.spec

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lm, name)

    def beam(self, prompts: Sequence[Prompt], width: int = 10) -> list[list[Hypothesis]]:
        """As the model's, of which the first `width` are given."""
        return [own[:width] for own in self._lm.beam(prompts, max(width, self._width))]  # type: ignore[attr-defined]


def tuned(stage: Any, data: Dataset, folder: Path) -> tuple[Any, dict[str, Any]]:
    """The stage asking with what it learned, and what tuning cost; a run that was cut off goes on from the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    with run(scratch=folder):
        learned = variant(stage).fit(data)
    about, chosen = learned.adapter_["about"], getattr(learned, "chosen_", None)
    facts = {name: about[name] for name in ("examples", "dropped", "trainable", "share", "valid", "losses")}
    facts |= {"seconds": time.perf_counter() - started, "chosen": chosen}
    weights = {} if chosen is None else {"k1": chosen["k1"], "b": chosen["b"]}
    served = variant(stage, epochs=0, valid=0, start=Recipe.of(learned).adapter(learned.adapter_), **weights)
    return served, facts


def seconds(stages: dict[str, Any], asked: Any) -> dict[str, float]:
    """Seconds a list of some users, asked together without records; the first call warms what is made once."""
    made = {}
    for name, stage in stages.items():
        ready = stage.fit(asked.train)
        ready.retrieve(asked.queries.take(slice(0, 1)), 10)
        started = time.perf_counter()
        ready.retrieve(asked.queries.take(slice(0, AT_ONCE)), 10)
        made[name] = (time.perf_counter() - started) / AT_ONCE
        print(f"{name}: {made[name]:.2f} s a list", flush=True)
    return made


def main() -> None:
    """Measure, print, and with --out keep the table."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--data", type=Path, required=True)
    asked.add_argument("--lm", default="", help="for example hf:smollm2; empty measures the floors only")
    asked.add_argument("--users", type=int, default=80, help="drawn users that the model is asked about")
    asked.add_argument("--examples", type=int, default=400, help="next titles that each method learns from")
    asked.add_argument("--epochs", type=int, default=1)
    asked.add_argument("--batch", type=int, default=8)
    asked.add_argument("--rate", type=float, default=3e-3, help="of .001 and .003 the better by the held loss")
    asked.add_argument("--valid", type=int, default=48, help="held questions: validation, and k1 and b of gpt4rec")
    asked.add_argument("--queries", type=int, nargs="*", default=[1, 5, 10, 20, 40])
    asked.add_argument("--runs", type=Path, default=Path("runs/generative"))
    asked.add_argument("--resume", action="store_true")
    asked.add_argument("--out", type=Path)
    told = asked.parse_args()
    data = beauty(told.data / "amazon_beauty_5core")
    more: dict[str, Any] = {}
    with run(emit=_told):
        everybody = Ranking(data, "last", metrics=METRICS)
        reports = [Experiment(everybody, floors(), k=K).run(told.runs / "all", resume=told.resume)]
        if told.lm:
            reports += asked_model(data, told, more)
    for report in reports:
        print(text.markdown(report))
    if told.out is not None:
        write(told.out / "generative", reports, notes(told, more), more)


def floors() -> dict[str, Any]:
    """What needs no model, beside the ladder; nothing was tuned."""
    return {"lexical, last title": Lexical(last=1), "itemknn": ItemKNN(), "markov": Markov()}


def asked_model(data: Dataset, told: argparse.Namespace, more: dict[str, Any]) -> list[Report]:
    """The tables of the drawn users: decodes and queries of one adapter each, then what the model says untuned."""
    plain = open_lm(told.lm, dtype="float32", prefix_mb=0.0)
    kept = Cassette(plain, told.runs / "answers.sqlite")
    wide: Any = Widest(kept, max(told.queries))
    plan: dict[str, Any] = {
        "domain": "product", "history": 3, "length": 20, "examples": told.examples, "epochs": told.epochs,
        "batch": told.batch, "rate": told.rate, "valid": told.valid, "targets": ("q_proj", "v_proj"), "backfill": False,
    }  # fmt: skip
    task = Ranking(data, "last", max_users=told.users, metrics=METRICS)
    train = task.round().train
    genrec, more["genrec"] = tuned(GenRec(kept, beams=10, **plan), train, told.runs / "genrec")
    gpt4rec, more["gpt4rec"] = tuned(GPT4Rec(kept, queries=10, **plan), train, told.runs / "gpt4rec")
    decodes = {f"genrec, {how}": variant(genrec, decode=how) for how in ("trie", "free", "grounded")}
    queries = {f"gpt4rec, queries {m}": variant(gpt4rec, queries=m, lm=wide) for m in told.queries}
    reports = [Experiment(task, {**floors(), **decodes, **queries}, k=K).run(told.runs / "asked", resume=told.resume)]
    reports += [lists_of(k, data, told, queries) for k in (10, 20)]
    short = Ranking(data, "last", max_users=told.users, metrics=SHORT)
    pairs = {
        "gpt4rec, queries 10": variant(gpt4rec, lm=wide),
        "gpt4rec, queries 10, not tuned": variant(gpt4rec, start=""),
        "genrec, trie, not tuned": variant(genrec, start=""),
    }
    tens = Experiment(short, pairs, k=10, floors=False, baseline="gpt4rec, queries 10")
    reports.append(tens.run(told.runs / "tens", resume=told.resume))
    timed = {**decodes, **{f"gpt4rec, queries {m}": variant(gpt4rec, queries=m) for m in told.queries}}
    more["seconds a list"] = seconds({name: variant(one, lm=plain) for name, one in timed.items()}, task.round())
    return reports


def lists_of(k: int, data: Dataset, told: argparse.Namespace, queries: dict[str, Any]) -> Report:
    """Lists of k: a longer one that is cut holds too many items of the first queries."""
    metrics = tuple(f"{name}@{k}" for name in ("recall", "ndcg", "ild_tags", "tag_coverage"))
    task = Ranking(data, "last", max_users=told.users, metrics=metrics)
    experiment = Experiment(task, queries, k=k, floors=False, baseline=next(iter(queries)))
    return experiment.run(told.runs / f"lists-{k}", resume=told.resume)


def notes(told: argparse.Namespace, more: dict[str, Any]) -> str:
    """How the tables came about."""
    lines = [
        "# gpt4rec and genrec on Amazon Beauty\n",
        "The 5-core sequences of S3-Rec, P5 and TIGER (22,363 users, 12,101 items, 198,502 events): each user's last "
        "item is the test, the whole catalog is ranked. Item text is IDGenRec's: some six words of title, brand and "
        "category. Events of one day stand in the order of the dump, which helps whatever looks at neighbours in it. "
        "`ild_tags` and `tag_coverage` are GPT4Rec's Diversity and Coverage over brands and categories. Published for "
        "this split (TIGER, arXiv:2305.05065; recall@10 / NDCG@10): SASRec .0605 / .0318, TIGER .0648 / .0384. "
        "GPT4Rec's and GenRec's own tables are of other cuts of the data, with models of 117 million and 7 billion "
        "parameters tuned on all of it.\n",
    ]
    if told.lm:
        lines.append(
            f"{told.lm} in float32: each method tuned a LoRA on queries and values with {told.examples} next titles of "
            f"some 130,000, epochs {told.epochs}, {told.batch} titles a step, rate {told.rate:g}, the newest "
            f"three titles as history; {told.users} drawn users asked, so intervals are wide. No list is filled by "
            f"popularity: all hits are the model's. Lists of {K} hold {K} / m items of each of m queries in turn, so "
            "what stands @5 to @20 in the first tables reads the first queries only; lists of 10 and of 20 as the "
            "method makes them have tables of their own. The m queries are the first of one search of "
            f"{max(told.queries)} beams. candidate_error_rate is the share of answers that are no title (genrec) or of "
            "queries that find nothing (gpt4rec); [repaired] after "
            f"grounding. Latency: lists of 10, {AT_ONCE} users together; in the tables an answer that rows share is "
            "counted once.\n"
        )
        lines.append("| tuned | seconds | cases | first loss | held loss | k1, b |\n|---|---|---|---|---|---|")
        for name in ("genrec", "gpt4rec"):
            one = more[name]
            weights = "-" if one["chosen"] is None else f"{one['chosen']['k1']}, {one['chosen']['b']}"
            lines.append(
                f"| {name} | {one['seconds']:.0f} | {one['examples']} | {one['losses'][0]:.3f} | "
                f"{-one['valid']['value']:.3f} | {weights} |"
            )
        lines.append("\n| system | seconds a list |\n|---|---|")
        lines += [f"| {name} | {value:.2f} |" for name, value in more["seconds a list"].items()]
    lines.append("\nCommand: `python benchmarks/generative.py --data DIR --lm hf:smollm2 --out docs/results`\n")
    return "\n".join(lines)


def _told(event: dict[str, Any]) -> None:
    if event.get("kind") == "progress" and event["done"] and event["seconds"] > 30:
        print(f"{event['label']}: {event['done']}/{event['total']}, {event['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    main()
