"""The closed-list question: a history, m options, an order or a score of each option back.

Back ends, by what the model can do:

- `list`: free text, one option a line, grounded (needs text);
- `constrained`: a JSON ranking of handles (needs json);
- `choice`: the log-probabilities of the handles as the next token, one forward (needs label);
- `pointwise`: log-odds of Yes against No for each option (needs label);
- `pairwise`: log-odds of A against B, both orders averaged (needs label);
- `likelihood`, `pmi`: log-probability of each title per token; pmi takes away what the title has without the history
  (needs score).

The order of options in a prompt is drawn anew in every round; rounds are independent (Hou et al. 2023, 2305.08845,
section 3.2: the released code shuffles once for all rounds, which removes nothing).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from hexarec.core import CapabilityError, OptionError, degrade, rng
from hexarec.lm.base import Completion, JsonSchema, LanguageModel, Prompt
from hexarec.lm.cassette import keeping
from hexarec.parts.ground import ParseReport, Titles, ground_list
from hexarec.parts.render import handled
from hexarec.parts.usable import complete, of_rankings, of_rows, row_of_use, shortfall

Backend = Literal["list", "constrained", "choice", "pointwise", "pairwise", "likelihood", "pmi"]
NEEDS: dict[str, str] = {
    "list": "text",
    "constrained": "json",
    "choice": "label",
    "pointwise": "label",
    "pairwise": "label",
    "likelihood": "score",
    "pmi": "score",
}
ORDER_FREE = frozenset({"pointwise", "likelihood", "pmi"})  # the prompt shows one option at a time
LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
MISSING = -10_000.0  # LLMRank, rank.py: an option the answer left out stays behind all others
FLOOR = -100.0  # nats; less probable than any token a model still ranks
Scores = NDArray[np.float64]


class Wording(Protocol):
    """How one question reads; every text is complete but for the options."""

    def listwise(self, options: str, n: int, *, json: bool = False) -> str:
        """The question that wants an order of n options (already behind their handles), as lines or as JSON."""

    def choice(self, options: str) -> str:
        """The question that wants one handle."""

    def pointwise(self, title: str) -> str:
        """The question that wants Yes or No for one option."""

    def pairwise(self, first: str, second: str) -> str:
        """The question that wants A or B."""

    def lead(self, *, history: bool) -> str:
        """Text that a title continues, with or without the history."""

    @property
    def yes_no(self) -> tuple[str, str]:
        """The two answers of the pointwise question."""


@dataclass(frozen=True)
class Question:
    """One closed list: its wording, the options as they read, and words that name it for its random draws.

    whose: the user row it is asked for, see `Prompt`.
    """

    wording: Wording
    options: tuple[str, ...]
    words: tuple[str, ...]
    seed: int = 0
    whose: int = -1


@dataclass(frozen=True)
class Asked:
    """Scores (m,) float64, larger is better; orders[r][j] = option shown at place j in round r; report; raw answers.

    prompts: what was asked for each raw answer; the answer of choice is the log-probability of each handle, and of the
    other back ends that score nothing is kept. `fault` says why the scores are of no use, "" when they are.
    """

    scores: Scores
    orders: tuple[tuple[int, ...], ...]
    by_round: Scores
    report: ParseReport
    raw: tuple[str, ...] = ()
    fault: str = ""
    prompts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ask:
    """How closed lists are asked.

    rounds: independent permutations, for back ends that show all options at once. aggregate: how rounds are merged
    (borda = sum of m - rank + 1). opponents: comparisons per option in pairwise, None = all pairs. retries: how often
    an answer that named no option at all is asked again; the decision never looks at the truth. shuffle: False shows
    the options in the order given (position sweeps). max_tokens: of a listwise answer, 0 = by the options' length.
    """

    backend: Backend = "choice"
    rounds: int = 1
    aggregate: Literal["borda", "mean", "median"] = "borda"
    opponents: int | None = 3
    retries: int = 1
    shuffle: bool = True
    temperature: float = 0.0
    max_tokens: int = 0

    def __post_init__(self) -> None:
        if self.backend not in NEEDS:
            raise OptionError(f"unknown back end {self.backend!r}", hint=f"use one of {', '.join(NEEDS)}")
        if self.rounds < 1 or self.retries < 0:
            raise OptionError("rounds must be at least 1 and retries at least 0")

    def check(self, lm: LanguageModel) -> None:
        """Raise CapabilityError unless the model can answer this back end, naming those it can."""
        if NEEDS[self.backend] not in lm.can:
            able = [name for name, need in NEEDS.items() if need in lm.can]
            hint = f"with this model use {', '.join(able) or 'nothing'}"
            if lm.name.startswith("openai:"):
                hint += f"; hexarec models test {lm.name} finds out what a server can beside text"
            raise CapabilityError(
                f"the back end {self.backend!r} needs {NEEDS[self.backend]!r}, which {lm.name} cannot do", hint=hint
            )

    def __call__(self, lm: LanguageModel, questions: Sequence[Question]) -> list[Asked]:
        """Ask the whole batch; results keep its order. Answers of no use are told to whoever runs the stage."""
        made = self._asked(lm, questions)
        faults = [one.fault for one in made if one.fault]
        if faults:
            degrade(f"{len(faults)} of {len(made)} questions: {faults[0]}")
        return made

    def _asked(self, lm: LanguageModel, questions: Sequence[Question]) -> list[Asked]:
        self.check(lm)
        if self.backend in ("list", "constrained"):
            return _Listwise(self).ask(lm, questions)
        run = {"choice": _choice, "pointwise": _pointwise, "pairwise": _pairwise}.get(self.backend)
        return run(self, lm, questions) if run else _likelihood(self, lm, questions)

    def orders(self, question: Question) -> list[tuple[int, ...]]:
        """The permutation of each round: drawn for this question and round alone."""
        m = len(question.options)
        rounds = 1 if self.backend in ORDER_FREE else self.rounds
        if not self.shuffle or self.backend in ORDER_FREE:
            return [tuple(range(m))] * rounds
        return [tuple(rng(question.seed, *question.words, "order", r).permutation(m).tolist()) for r in range(rounds)]

    def for_list(self, asked: Asked) -> Scores:
        """The scores of an answer for the list of its options, (m,); see `in_given_order`."""
        lowest = self.merge(np.full((len(asked.by_round), 1), MISSING))
        return in_given_order(asked.scores, asked.scores == lowest)

    def merge(self, by_round: Scores) -> Scores:
        """Scores (m,) from rounds (r, m)."""
        if self.aggregate == "median":
            return np.asarray(np.median(by_round, axis=0))
        return np.asarray(by_round.sum(0) if self.aggregate == "borda" else by_round.mean(0))


def in_given_order(scores: Scores, left_out: NDArray[np.bool_]) -> Scores:
    """The scores of one list (m,), in which those of what an answer left out fall by 1 in the order given.

    left_out: (m,), options of one common score below all others. Equal scores would say that any order of them is as
    good, and are measured so; what is served is the order given.
    """
    return np.asarray(scores - np.where(left_out, np.cumsum(left_out) - 1, 0))


def handles_for(n: int) -> tuple[str, ...]:
    """Short opaque names for n options: letters while they last, else numbers."""
    return LETTERS[:n] if n <= len(LETTERS) else tuple(str(place) for place in range(1, n + 1))


@dataclass
class _Listwise:
    """The two back ends whose answer is a ranking."""

    how: Ask
    _raw: dict[tuple[int, int], str] = field(default_factory=dict)
    _prompts: dict[tuple[int, int], str] = field(default_factory=dict)
    _failed: dict[tuple[int, int], str] = field(default_factory=dict)

    def ask(self, lm: LanguageModel, questions: Sequence[Question]) -> list[Asked]:
        orders = [self.how.orders(question) for question in questions]
        jobs = [(q, r) for q, question in enumerate(questions) for r in range(len(orders[q])) if question.options]
        parsed: dict[tuple[int, int], tuple[list[int], ParseReport]] = {}
        left = jobs
        for attempt in range(self.how.retries + 1):
            self._ask_once(lm, questions, orders, left, parsed, attempt)
            # a retry is earned by an answer without any option in it, whatever the truth is
            # one that never came was tried again already, where retries are counted
            left = [job for job in left if parsed[job][1].matched == 0 and not self._failed[job]]
            if not left:
                break
        return [self._gather(q, question, orders[q], parsed) for q, question in enumerate(questions)]

    def _prompt(self, question: Question, order: tuple[int, ...], attempt: int) -> Prompt:
        shown = [question.options[place] for place in order]
        as_json = self.how.backend == "constrained"
        text = question.wording.listwise(handled(shown, handles_for(len(order))), len(order), json=as_json)
        room = self.how.max_tokens or 16 + sum(8 + len(title) // 2 for title in shown)
        temperature = self.how.temperature if attempt == 0 else max(self.how.temperature, 0.3)
        made = Prompt.user(text, seed=question.seed + attempt, temperature=temperature, max_tokens=room)
        return replace(made, whose=question.whose)

    def _ask_once(
        self,
        lm: LanguageModel,
        questions: Sequence[Question],
        orders: Sequence[Sequence[tuple[int, ...]]],
        jobs: Sequence[tuple[int, int]],
        parsed: dict[tuple[int, int], tuple[list[int], ParseReport]],
        attempt: int,
    ) -> None:
        groups: dict[int, list[tuple[int, int]]] = {}
        for job in jobs:
            groups.setdefault(len(questions[job[0]].options) if self.how.backend == "constrained" else 0, []).append(
                job
            )
        for size, group in groups.items():
            prompts = [self._prompt(questions[q], orders[q][r], attempt) for q, r in group]
            readers = {
                prompt.digest(): _reader([questions[q].options[place] for place in orders[q][r]])
                for prompt, (q, r) in zip(prompts, group, strict=True)
            }
            with keeping(of_rankings({digest: _reported(reader) for digest, reader in readers.items()})):
                answers = lm.generate(prompts, _ranking_schema(size) if size else None)
            for job, prompt, answer in zip(group, prompts, answers, strict=True):
                ranked, report = readers[prompt.digest()](answer.text)
                order = orders[job[0]][job[1]]
                refused = int(answer.finish == "refused" or report.refused > 0)
                counted = ParseReport(**{**vars(report), "retried": attempt, "refused": refused})
                parsed[job] = ([order[place] for place in ranked], counted)
                self._raw[job], self._failed[job] = answer.text or answer.error, _failure(answer)
                self._prompts[job] = prompt.text

    def _gather(
        self,
        q: int,
        question: Question,
        orders: Sequence[tuple[int, ...]],
        parsed: dict[tuple[int, int], tuple[list[int], ParseReport]],
    ) -> Asked:
        m = len(question.options)
        by_round = np.full((len(orders), m), MISSING)
        reports = []
        for r in range(len(orders) if m else 0):
            ranked, report = parsed[q, r]
            by_round[r, ranked] = m - np.arange(len(ranked))
            reports.append(report)
        rounds = range(len(orders) if m else 0)
        error = next((said for r in rounds if (said := self._failed[q, r] or _refusal(parsed[q, r][1]))), "")
        fault = shortfall(np.where(by_round == MISSING, np.nan, by_round), error) if m else ""
        raw, prompts = (tuple(kept[q, r] for r in rounds) for kept in (self._raw, self._prompts))
        return Asked(self.how.merge(by_round), tuple(orders), by_round, total(reports), raw, fault, prompts)


Read = Callable[[str], tuple[list[int], ParseReport]]


def _reader(shown: Sequence[str]) -> Read:
    """How an answer about these options is read, each answer once."""
    return functools.cache(functools.partial(_grounded, Titles(tuple(shown), handles_for(len(shown)))))


_Exchange = tuple[str, str]
"""A prompt, and the answer as text."""


def _grounded(titles: Titles, answer: str) -> tuple[list[int], ParseReport]:
    return ground_list(answer, titles)


def _reported(reader: Read) -> Callable[[str], ParseReport]:
    return lambda answer: reader(answer)[1]


def _failure(answer: Completion) -> str:
    """Why no answer came; "" for any that did, however bad."""
    return (answer.error or "no answer came") if answer.finish == "error" else ""


def _refusal(report: ParseReport) -> str:
    return "the model refused" if report.refused else ""


def total(reports: Sequence[ParseReport]) -> ParseReport:
    """The counts of several reports added up."""
    methods: dict[str, int] = {}
    for report in reports:
        for name, count in report.by_method.items():
            methods[name] = methods.get(name, 0) + count
    names = ("requested", "matched", "out_of_set", "duplicates", "missing", "retried", "refused", "invalid_format")
    counts: dict[str, Any] = {name: sum(getattr(report, name) for report in reports) for name in names}
    return ParseReport(by_method=methods, **counts)


def _ranking_schema(n: int) -> JsonSchema:
    return JsonSchema(
        {
            "type": "object",
            "properties": {
                "ranking": {
                    "type": "array",
                    "items": {"type": "string", "enum": list(handles_for(n))},
                    "minItems": n,
                    "maxItems": n,
                }
            },
            "required": ["ranking"],
        }
    )


def _asked(
    how: Ask, question: Question, orders: Sequence[tuple[int, ...]], by_round: Scores, kept: Sequence[_Exchange] = ()
) -> Asked:
    """A result of a scoring back end. An option the model gave no number for (NaN) is missing, and said so."""
    m = len(question.options)
    lost = np.isnan(by_round)
    known = np.where(lost, MISSING, by_round)
    report = ParseReport(
        requested=by_round.size, matched=int((~lost).sum()), by_method={how.backend: int((~lost).sum())},
        missing=int(lost.sum()), invalid_format=int(m > 0 and bool(lost.all())),
    )  # fmt: skip
    fault = shortfall(by_round) if m else ""
    prompts, raw = (tuple(one[side] for one in kept) for side in (0, 1))
    return Asked(how.merge(known), tuple(orders), by_round, report, raw, fault, prompts)


def _choice(how: Ask, lm: LanguageModel, questions: Sequence[Question]) -> list[Asked]:
    """One forward per round: the next-token log-probabilities of the handles, as ranks within the round.

    Ranks, not raw log-probabilities, so that rounds weigh the same; within a round equal values share their rank.
    """
    widest = max((len(question.options) for question in questions), default=0)
    if widest > len(LETTERS):
        raise OptionError(
            f"the back end 'choice' takes at most {len(LETTERS)} options, not {widest}",
            hint="narrow the candidates with Window, or use pointwise",
        )
    orders = [how.orders(question) for question in questions]
    by_round = [np.full((len(o), len(q.options)), np.nan) for o, q in zip(orders, questions, strict=True)]
    kept: list[list[_Exchange]] = [[] for _ in questions]
    groups: dict[int, list[tuple[int, int]]] = {}
    for q, question in enumerate(questions):
        for r in range(len(orders[q]) if question.options else 0):
            groups.setdefault(len(question.options), []).append((q, r))
    for size, jobs in groups.items():
        handles = handles_for(size)
        prompts = []
        for q, r in jobs:
            shown = handled([questions[q].options[place] for place in orders[q][r]], handles)
            made = Prompt.user(questions[q].wording.choice(shown), max_tokens=1)
            prompts.append(replace(made, whose=questions[q].whose))
        with keeping(of_rows(row_of_use)):
            values = lm.label(prompts, handles).astype(np.float64)
        for (q, r), row, prompt in zip(jobs, values, prompts, strict=True):
            by_round[q][r, list(orders[q][r])] = _points(row)
            kept[q].append(
                (prompt.text, " ".join(f"{name} {value:.2f}" for name, value in zip(handles, row, strict=True)))
            )
    return [_asked(how, *four) for four in zip(questions, orders, by_round, kept, strict=True)]


def _points(row: Scores) -> Scores:
    """m for the best value down to 1; equal values share the mean of their places; NaN stays NaN."""
    out = np.full(len(row), np.nan)
    known = ~np.isnan(row)
    _, which, counts = np.unique(row[known], return_inverse=True, return_counts=True)
    highest = np.cumsum(counts)
    out[known] = (highest - (counts - 1) / 2.0)[which] + (~known).sum()
    return out


def _pointwise(how: Ask, lm: LanguageModel, questions: Sequence[Question]) -> list[Asked]:
    jobs = [(q, place) for q, question in enumerate(questions) for place in range(len(question.options))]
    odds = log_odds(
        lm,
        [questions[q].wording.pointwise(questions[q].options[place]) for q, place in jobs],
        [questions[q].wording.yes_no for q, _ in jobs],
        [questions[q].whose for q, _ in jobs],
    )
    by_round = [np.full((1, len(question.options)), np.nan) for question in questions]
    for (q, place), value in zip(jobs, odds, strict=True):
        by_round[q][0, place] = value
    return [_asked(how, q, how.orders(q), rows) for q, rows in zip(questions, by_round, strict=True)]


def log_odds(
    lm: LanguageModel, texts: Sequence[str], labels: Sequence[tuple[str, str]], whose: Sequence[int] = ()
) -> Scores:
    """log p(first label) - log p(second label) for each text, (n,); NaN where the model gives none.

    whose: the user row that each text is asked for, see `Prompt`.
    """
    out, owners = np.full(len(texts), np.nan), whose or [-1] * len(texts)
    for pair in dict.fromkeys(labels):
        rows = [row for row, own in enumerate(labels) if own == pair]
        with keeping(of_rows(complete)):
            prompts = [replace(Prompt.user(texts[row], max_tokens=1), whose=owners[row]) for row in rows]
            values = lm.label(prompts, pair)
        values = np.clip(values, FLOOR, 0.0)  # an answer ruled out altogether: -inf would swallow all other comparisons
        out[rows] = values[:, 0].astype(np.float64) - values[:, 1]
    return out


def matches(m: int, opponents: int | None, question: Question, round_: int) -> list[tuple[int, int]]:
    """The pairs to compare: all of them, or a random circulant design in which each option meets `opponents` others."""
    if opponents is None or 2 * opponents >= m - 1:
        return [(i, j) for i in range(m) for j in range(i + 1, m)]
    ring = rng(question.seed, *question.words, "ring", round_).permutation(m)
    return [(int(ring[i]), int(ring[(i + step) % m])) for step in range(1, -(-opponents // 2) + 1) for i in range(m)]


def _pairwise(how: Ask, lm: LanguageModel, questions: Sequence[Question]) -> list[Asked]:
    """Mean log-odds against the opponents met; every pair is asked in both orders, which cancels a liking for A."""
    jobs = [
        (q, r, i, j)
        for q, question in enumerate(questions)
        for r in range(how.rounds)
        for i, j in matches(len(question.options), how.opponents, question, r)
    ]
    texts = []
    for q, _, i, j in jobs:
        wording, options = questions[q].wording, questions[q].options
        texts += [wording.pairwise(options[i], options[j]), wording.pairwise(options[j], options[i])]
    odds = log_odds(lm, texts, [("A", "B")] * len(texts), [questions[q].whose for q, *_ in jobs for _ in range(2)])
    net = (odds[0::2] - odds[1::2]) / 2.0 if len(odds) else odds
    won = [np.zeros((how.rounds, len(question.options))) for question in questions]
    met = [np.zeros((how.rounds, len(question.options))) for question in questions]
    for (q, r, i, j), value in zip(jobs, net, strict=True):
        if not np.isnan(value):
            won[q][r, i] += value
            won[q][r, j] -= value
            met[q][r, [i, j]] += 1
    by_round = [np.where(n > 0, w / np.maximum(n, 1), np.nan) for w, n in zip(won, met, strict=True)]
    for rows in by_round:
        if rows.shape[1] == 1:
            rows[:] = 0.0  # a single option has no opponent and needs none
    orders = [[tuple(range(len(q.options)))] * how.rounds for q in questions]
    return [_asked(how, *triple) for triple in zip(questions, orders, by_round, strict=True)]


def _likelihood(how: Ask, lm: LanguageModel, questions: Sequence[Question]) -> list[Asked]:
    """Log-probability of the title per token, given the history; pmi subtracts the same without the history."""
    filled = [question for question in questions if question.options]
    # Latin words continue a text after a space, Chinese ones do not
    spaces = ["" if question.wording.lead(history=True)[-1:] in "：。" else " " for question in filled]
    choices = [[space + o for o in question.options] for question, space in zip(filled, spaces, strict=True)]
    given = lm.score([Prompt.plain(q.wording.lead(history=True)) for q in filled], choices)
    rows = [row.logprobs / np.maximum(row.tokens, 1) for row in given]
    if how.backend == "pmi":
        # the unconditional part depends on the title alone: each distinct (lead, title) is scored once
        bare = [q.wording.lead(history=False) for q in filled]
        prior: dict[tuple[str, str], float] = {}
        for lead in dict.fromkeys(bare):
            wanted = list(dict.fromkeys(o for b, c in zip(bare, choices, strict=True) if b == lead for o in c))
            row = lm.score([Prompt.plain(lead)], [wanted])[0]
            prior |= {
                (lead, o): float(v) for o, v in zip(wanted, row.logprobs / np.maximum(row.tokens, 1), strict=True)
            }
        with np.errstate(invalid="ignore"):  # a title ruled out with and without the history has no score: NaN
            rows = [
                row - np.array([prior[lead, option] for option in own])
                for row, lead, own in zip(rows, bare, choices, strict=True)
            ]
    scores = iter(rows)
    by_round = [np.asarray(next(scores) if q.options else [], np.float64)[None, :] for q in questions]
    return [_asked(how, q, how.orders(q), values) for q, values in zip(questions, by_round, strict=True)]
