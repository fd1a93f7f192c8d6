"""Conversational recommendation: `python benchmarks/chatrec.py --data DIR [--lm hf:smollm2]`.

Three parts. ReDial: the test turns, scored on films that the dialogue had not named (He et al. 2023, arXiv:2308.10053):
what the text store finds from the last turn and from the whole dialogue, alone and beside a recommender, and a model's
order of it on some turns, with the share of answers of no use and how far the order of the prompt decides. Ratings:
MovieLens-100K, the error of ratings the model predicts. Constraints: films of our own, how many answers break what was
refused thirty turns ago, what a summary keeps of eight turns, and how long a turn takes.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from writing import write

import hexarec
from hexarec.classic import EASE, ItemKNN
from hexarec.core import (
    Catalog,
    Dataset,
    Dialogue,
    IdTable,
    Interactions,
    Item,
    Lists,
    Message,
    Queries,
    Users,
    ragged,
    rng,
    run,
    variant,
)  # fmt: skip
from hexarec.data.importer import import_data
from hexarec.eval.experiment import Experiment
from hexarec.eval.tasks import Given
from hexarec.lm.cassette import Cassette
from hexarec.lm.open import open_encoder, open_lm
from hexarec.methods.chatrec import ChatRec
from hexarec.metrics.stats import bootstrap
from hexarec.parts.dialoguepage import DialoguePage
from hexarec.parts.gist import Gist
from hexarec.parts.ground import normal
from hexarec.parts.promptroom import Room
from hexarec.parts.said import lexicon_of
from hexarec.parts.summing import Summing, telling
from hexarec.pipeline.pipeline import Pipeline

METRICS = ("recall@1", "recall@5", "recall@10", "recall@20", "ndcg@10")
TURNS = 30
SHUFFLES = 10
NOTES = """# Chat-REC: dialogues, ratings, constraints

ReDial test turns; the truth of a turn is what the recommender's answer named and the dialogue had not (repeated films
are a shortcut, arXiv:2308.10053). Published there, new films, recall@5 / @10, exact contexts but titles grounded from
free text: GPT-4 .140/.201, GPT-3.5 .126/.183, Vicuna-13B .089/.120. Floors learn from the films that 985 validation
dialogues name together. "last turn" reads one turn, "dialogue" all of them: slots, films liked, filters.

Command: `python benchmarks/chatrec.py --data DIR --lm hf:smollm2 --out docs/results/chatrec`
"""


def shelf(folder: Path) -> Catalog:
    """ReDial's films with plot, genres and people."""
    held = json.loads((folder / "redial" / "id2info.json").read_text("utf-8"))
    return Catalog.of([
        Item(key, one["name"], one.get("plot") or "", {
            "genres": tuple(one.get("genre") or ()),
            "director": tuple(one.get("director") or ()),
            "star": tuple(one.get("star") or ()),
        })
        for key, one in held.items()
    ])  # fmt: skip


@dataclass(frozen=True)
class Turn:
    """One system turn: the dialogue before it, the films it had named, and those that the answer names."""

    dialogue: Dialogue
    named: tuple[int, ...]
    truth: tuple[int, ...]


def turns_of(path: Path, catalog: Catalog) -> list[Turn]:
    """The turns of a file; those whose answer names no film of the catalog are left out."""
    place: dict[str, int] = {}
    for row, title in enumerate(catalog.titles.tolist()):
        place.setdefault(title, row)
    made = []
    for line in path.read_text("utf-8").splitlines():
        row = json.loads(line)
        named = tuple(dict.fromkeys(place[name] for name in row["entity"] if name in place))
        truth = tuple(dict.fromkeys(place[name] for name in row["rec"] if name in place))
        said = [text for text in row["context"] if text]
        roles = ["user" if (len(said) - n) % 2 else "assistant" for n in range(len(said))]
        titles = {r: str(catalog.titles[r]) for r in named}
        messages = []
        for role, text in zip(roles, said, strict=True):
            shown = [r for r in named if titles[r] in text] if role == "assistant" else []
            messages.append(Message(role, text, tuple(catalog.ids(np.array(shown, np.int64)))))
        if truth and messages:
            made.append(Turn(Dialogue(tuple(messages)), named, truth))
    return made


def together(turns: Sequence[Turn], catalog: Catalog) -> Dataset:
    """What each dialogue names, as a log: the films before the turn, then those of the answer."""
    rows = [[*turn.named, *(r for r in turn.truth if r not in turn.named)] for turn in turns]
    return _log(rows, catalog, "ReDial")


def _log(rows: Sequence[Sequence[int]], catalog: Catalog, name: str) -> Dataset:
    lengths = np.array([len(row) for row in rows])
    columns = {
        "user": np.repeat(np.arange(len(rows)), lengths),
        "item": np.array([item for row in rows for item in row], np.int64),
        "time": ragged.positions(ragged.offsets_of(lengths)).astype(np.float64),
    }
    users = Users(IdTable.of(f"{name} {n}" for n in range(len(rows))))
    return Dataset(catalog, Interactions.of(columns, len(rows), clock=False), users, name=name)


@dataclass
class Talking:
    """A conversationalist as a retriever: each question stands for a dialogue, and the answer's items are the list."""

    stage: ChatRec
    recommender: Any
    dialogues: Any = ()
    last_only: bool = False

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Fit the recommender and what talks in front of it."""
        self.desk_ = Pipeline((self.recommender,), converse_by=self.stage).fit(data, seed=seed)
        return self

    def retrieve(self, queries: Queries, k: int) -> Lists:
        """The items of each answer."""
        catalog = queries.catalog
        asked = [self.dialogues[int(name.split()[-1])] for name in queries.user_ids()]
        if self.last_only:
            asked = [replace(one, turns=one.turns[-1:]) for one in asked]
        replies = self.desk_.converse(asked)
        made = Lists.of(catalog.key, [catalog.rows(list(reply.items))[:k].tolist() for reply in replies])
        return replace(
            made, notes=tuple({key: one.notes[key] for key in ("parse",) if key in one.notes} for one in replies)
        )


def asked_turns(folder: Path, most: int) -> tuple[Given, list[Dialogue]]:
    """Test turns that name a new film, at most `most` drawn ones, and their dialogues; the log is that of others."""
    catalog = shelf(folder)
    train = together(turns_of(folder / "redial_eval" / "valid_data_processed.jsonl", catalog), catalog)
    turns = turns_of(folder / "redial_eval" / "test_data_processed.jsonl", catalog)
    fresh = [turn for turn in turns if set(turn.truth) - set(turn.named)]
    repeated = np.mean([len(set(t.truth) & set(t.named)) / len(t.truth) for t in turns])
    total, rows = len(fresh), np.sort(rng(0, "turns").permutation(len(fresh))[:most])
    fresh = [fresh[row] for row in rows.tolist()]
    asked = _log([turn.named for turn in fresh], catalog, "ReDial").queries()
    truth = Lists.of(catalog.key, [[r for r in turn.truth if r not in turn.named] for turn in fresh])
    truth = truth.with_field("gain", np.ones(len(truth.items), np.float32))
    title = f"ReDial, {len(fresh):,} of {total:,} test turns with a new film ({repeated:.1%} of the named are repeats)"
    return Given(train, asked, truth, None, title, METRICS), [turn.dialogue for turn in fresh]


def redial(task: Given, dialogues: Sequence[Dialogue], lm: Any, encoder: Any, llm_turns: int) -> list[Any]:
    """The tables of the first part: turns without a model, some of them with one."""
    free = ChatRec(
        open_lm("fake:overlap"), encoder, gate="none", backend="none", candidates=50, shown=20, share=1.0, domain="film"
    )
    nothing, knn, ease = Nobody(), ItemKNN(), EASE(regularization=50.0)
    systems = {
        "text store, last turn": Talking(free, nothing, dialogues, last_only=True),
        "text store, dialogue": Talking(free, nothing, dialogues),
        "item-kNN of the films named": Talking(variant(free, encoder=None), knn, dialogues),
        "EASE of the films named": Talking(variant(free, encoder=None), ease, dialogues),
        "text store and item-kNN": Talking(free, knn, dialogues),
        "text store and EASE": Talking(free, ease, dialogues),
        "text store and EASE, spread by MMR": Talking(variant(free, share=0.7), ease, dialogues),
    }
    with run(emit=_told):
        made = [Experiment(task, systems, k=20).run()]
        if lm is not None:
            made.append(_ordered(lm, encoder, task, dialogues, llm_turns))
    return made


def _ordered(lm: Any, encoder: Any, task: Given, dialogues: Any, n: int) -> Any:
    """A model's order of twenty candidates, on some turns."""
    rows = np.sort(rng(0, "redial").permutation(len(task.queries))[:n])
    free = ChatRec(lm, encoder, gate="none", backend="none", candidates=20, shown=20, share=1.0, domain="film")
    ease = EASE(regularization=50.0)
    systems = {
        "text store and EASE": Talking(free, ease, dialogues),
        "in the model's order, likelihood": Talking(variant(free, backend="likelihood"), ease, dialogues),
        "in the model's order, letter": Talking(variant(free, backend="choice"), ease, dialogues),
    }
    title = f"ReDial, {len(rows)} of the turns, twenty candidates in the model's order"
    metrics = (*METRICS, "fallback_rate", "missing_rate")
    some = Given(task.train, task.queries.take(rows), task.truth.take(rows), None, title, metrics)
    return Experiment(some, systems, k=20).run()


def agreement(lm: Any, encoder: Any, task: Given, dialogues: Any, n: int, shuffles: int) -> str:
    """Kendall's tau between a model's orders of the same twenty candidates, shuffled, on some turns."""
    rows = np.sort(rng(0, "agreement").permutation(len(dialogues))[:n]).tolist()
    stage = ChatRec(lm, encoder, gate="none", candidates=20, domain="film")
    desk = Pipeline((EASE(regularization=50.0),), converse_by=stage).fit(task.train)
    made = desk.converse_.agreement([dialogues[row] for row in rows], desk, shuffles)
    low, high = bootstrap(made.values)
    return (
        f"### The same candidates in {shuffles} orders, {n} turns of ReDial\n\n"
        "| back end | turns with an order | Kendall's tau between the orders |\n|---|---|---|\n"
        f"| choice | {made.counted} | {made.value:.3f} [{low:.3f}, {high:.3f}] |"
    )


@dataclass
class Nobody:
    """A recommender without an opinion."""

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Nothing to learn."""
        self.key_ = data.catalog.key
        return self

    def retrieve(self, queries: Queries, k: int) -> Lists:
        """Empty lists."""
        return Lists.empty(queries.catalog.key, len(queries))


def ratings(folder: Path, lm: Any, n: int) -> str:
    """Error of predicted ratings on the last rating of some users, beside means."""
    data = import_data(folder / "ml100k").dataset
    log = data.interactions
    last = log.offsets[1:] - 1
    keep = np.ones(len(log), bool)
    keep[last] = False
    train = data.with_log(log.where(keep))
    users = np.sort(rng(0, "ratings").permutation(data.n_users)[:n])
    asked, true = train.queries(users), log.value[last[users]].astype(np.float64)
    shown = Lists.of(data.catalog.key, log.item[last[users]][:, None].tolist())
    everyone = float(np.mean(train.interactions.value))
    counts = np.bincount(train.interactions.item, minlength=data.n_items)
    sums = np.bincount(train.interactions.item, train.interactions.value, data.n_items)
    items = (sums + 5 * everyone) / (counts + 5)
    past = asked.history
    own = np.array([np.mean(past.value[slice(*past.offsets[i : i + 2])]) for i in range(len(asked))])
    guesses = {
        "mean of all": np.full(len(true), everyone),
        "mean of the user": own,
        "mean of the item, drawn to that of all": items[shown.items],
        "user and item": own + items[shown.items] - everyone,
    }
    if lm is not None:
        for how in ("label", "text"):
            stage = ChatRec(lm, rating=how, domain="film").fit(train)
            guesses[f"chatrec, {how}"] = stage.predict(asked, shown).scores.astype(np.float64)
    lines = ["| ratings of MovieLens-100K | RMSE | MAE | answered |", "|---|---|---|---|"]
    for name, guess in guesses.items():
        off = (guess - true)[~np.isnan(guess)]
        low, high = np.sqrt(bootstrap(off**2))
        lines.append(
            f"| {name} | {np.sqrt(np.mean(off**2)):.3f} [{low:.3f}, {high:.3f}] | {np.abs(off).mean():.3f} "
            f"| {np.mean(~np.isnan(guess)):.0%} |"
        )
    return f"### Ratings: the last one of {len(true)} users\n\n" + "\n".join(lines)


def constraints(encoder: Any, dialogues: int) -> str:
    """Share of shown films of a refused genre, for each tenth of a dialogue of thirty turns, with and without slots."""
    data = hexarec.open_data("films")
    genres = sorted({genre for own in data.catalog.attributes["genres"] for genre in own})
    stage = ChatRec(open_lm("fake:overlap"), encoder, backend="none", shown=5, domain="film")
    desk = Pipeline((ItemKNN(),), converse_by=stage).fit(data)
    lines = ["| turns | slots | the last six turns as text |", "|---|---|---|"]
    broken = {True: np.zeros((TURNS, 2)), False: np.zeros((TURNS, 2))}
    for n in range(dialogues):
        draw = rng(0, "constraints", n)
        refused = str(draw.choice(genres))
        said = [f"Never show me {refused} films, please."]
        said += [f"Something about {draw.choice(_keywords(data))}, please." for _ in range(TURNS - 1)]
        for slots in (True, False):
            dialogue = Dialogue((), {}, str(data.users.ids.ids[n]))
            for place, text in enumerate(said):
                dialogue = replace(dialogue, turns=(*dialogue.turns, Message("user", text)))
                asked = dialogue if slots else Dialogue(dialogue.turns[-6:], {}, dialogue.user)
                reply = desk.converse([asked])[0]
                rows = data.catalog.rows(list(reply.items)).tolist()
                wrong = sum(refused in data.catalog.attributes["genres"][row] for row in rows)
                broken[slots][place] += (wrong, len(rows))
                turn = Message("assistant", reply.words.text, reply.items)
                dialogue = replace(dialogue, turns=(*dialogue.turns, turn), state=reply.state if slots else {})
    for start in range(0, TURNS, 6):
        part = {slots: counts[start : start + 6].sum(0) for slots, counts in broken.items()}
        shares = [part[slots][0] / max(part[slots][1], 1) for slots in (True, False)]
        lines.append(f"| {start + 1} to {start + 6} | {shares[0]:.1%} | {shares[1]:.1%} |")
    return f"### Films of a genre refused at the first turn, {dialogues} dialogues\n\n" + "\n".join(lines)


def summaries(lm: Any, dialogues: int) -> str:
    """What of four things said stands in a summary of eight turns, by the model and by the person's own sentences."""
    data = hexarec.open_data("films")
    stage = ChatRec(lm, None, backend="none", gate="none", domain="film", summary=True)
    page, lexicon = DialoguePage(stage.prompts, "film", 10, ()), lexicon_of(data.catalog)
    held, turned, fallen, seconds = np.zeros((2, 4)), np.zeros(2), list[str](), 0.0
    for n in range(dialogues):
        draw = rng(0, "summaries", n)
        said = [str(one) for one in draw.choice(_keywords(data), 3, replace=False)]
        film = str(draw.choice(data.catalog.titles))
        texts = [f"I loved {film}.", f"Something about {said[0]}, please.", f"And nothing about {said[1]}.",
                 f"Is there one about {said[2]} as well?"]  # fmt: skip
        turns = [Message(*one) for text in texts for one in (("user", text), ("assistant", "Here are some."))]
        started = time.monotonic()
        with run(complain=fallen.append):
            by_model = Summing(Room(lm), page).gist(Gist(), turns, lexicon, "en")
        seconds += time.monotonic() - started
        for row, gist in enumerate((by_model, Gist(said=telling(turns, lexicon)))):
            words = f" {normal(gist.words('en'))} "
            held[row] += [f" {normal(one)} " in words for one in (film, said[0], said[1], said[2])]
            turned[row] += any(normal(said[1]) in normal(one) for one in (*gist.must, *gist.likes))
    rows = [
        f"| {name} | " + " | ".join(f"{one / dialogues:.0%}" for one in (*held[row], turned[row])) + " |"
        for row, name in enumerate(("the model, else own sentences", "own sentences"))
    ]
    head = "| summary | film liked | wish | refusal | last wish | refusal turned round |\n|---|---|---|---|---|---|\n"
    return (
        f"### Eight turns summed up, {dialogues} dialogues\n\n{head}"
        + "\n".join(rows)
        + f"\n\nA summary took {seconds / dialogues:.1f} s; in {len(fallen)} of {dialogues} own sentences stood in"
        + (f", at first because {fallen[0].partition(': ')[2]}." if fallen else ".")
    )


def latency(lm: Any, encoder: Any) -> str:
    """Seconds of each turn of one dialogue of thirty turns, the model ordering twenty candidates by letter."""
    data = hexarec.open_data("films")
    stage = ChatRec(lm, encoder, gate="none", domain="film")
    desk = Pipeline((ItemKNN(),), converse_by=stage).fit(data)
    dialogue, took = Dialogue((), {}, str(data.users.ids.ids[0])), []
    for place in range(TURNS):
        word = rng(0, "latency", place).choice(_keywords(data))
        dialogue = replace(dialogue, turns=(*dialogue.turns, Message("user", f"Something about {word}, please.")))
        started = time.monotonic()
        reply = desk.converse([dialogue])[0]
        took.append(time.monotonic() - started)
        turn = Message("assistant", reply.words.text, reply.items)
        dialogue = replace(dialogue, turns=(*dialogue.turns, turn), state=reply.state)
    rows = [
        f"| {start + 1} to {start + 6} | {np.median(part):.2f} | {max(part):.2f} |"
        for start in range(0, TURNS, 6) for part in [took[start : start + 6]]
    ]  # fmt: skip
    return "### Seconds of a turn\n\n| turns | median | longest |\n|---|---|---|\n" + "\n".join(rows)


def _keywords(data: Dataset) -> list[str]:
    return sorted({word for own in data.catalog.attributes["keywords"] for word in own})


def main() -> None:
    """Measure and write the tables."""
    told = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    told.add_argument("--data", type=Path, required=True)
    told.add_argument("--out", type=Path, default=Path("docs/results/chatrec"))
    told.add_argument("--runs", type=Path, default=Path("runs/chatrec"), help="tape of the model's answers")
    told.add_argument("--encoder", default="minilm")
    told.add_argument("--lm", default="", help="for example hf:smollm2; empty leaves the model out")
    told.add_argument("--turns", type=int, default=10_000, help="ReDial turns at most")
    told.add_argument("--llm-turns", type=int, default=150)
    told.add_argument("--rated", type=int, default=400, help="users whose last rating is predicted")
    told.add_argument("--dialogues", type=int, default=40)
    told.add_argument("--shuffled", type=int, default=20, help="turns whose candidates come in ten orders")
    asked = told.parse_args()
    encoder, lm = open_encoder(asked.encoder), None
    if asked.lm:
        asked.runs.mkdir(parents=True, exist_ok=True)
        model = open_lm(asked.lm, dtype="float32")
        lm = Cassette(model, asked.runs / "answers.sqlite")
    texts = [constraints(encoder, asked.dialogues), ratings(asked.data, lm, asked.rated)]
    if lm is not None:  # timed, so not from a tape
        texts += [summaries(model, asked.dialogues), latency(model, encoder)]
    print("\n\n".join(texts), flush=True)
    task, dialogues = asked_turns(asked.data / "redial_opendialkg_ievalm", asked.turns)
    if lm is not None:
        texts.append(agreement(lm, encoder, task, dialogues, asked.shuffled, SHUFFLES))
        print(texts[-1], flush=True)
    reports = redial(task, dialogues, lm, encoder, asked.llm_turns)
    write(asked.out, reports, NOTES + "\n" + "\n\n".join(texts) + "\n")


def _told(event: dict[str, Any]) -> None:
    if event.get("kind") == "progress" and event["done"] and event["done"] % 10 == 0 and event["seconds"] > 30:
        print(f"{event['label']}: {event['done']}/{event['total']}, {event['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    main()
