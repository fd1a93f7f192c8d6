"""Items named by a model, with any back end: titles out of a list, never anything else.

What a model can decides how it is asked (RecLM-cgen, arXiv:2505.03336; GENRE, arXiv:2010.00904):

- `trie`: the answer is found inside the token trie of the titles;
- `choice`: the answer is one of the titles by grammar or enum, within the limits of hosted servers;
- a short list: it stands in the prompt with numbers, the answer is numbers only, and is asked for once more when wrong;
- else free words, grounded (`parts.ground`).

Every answer is checked here again, whatever the engine promises, and the raw rate of invalid answers is kept: repaired
lists always look well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate
from typing import Any

from hexarec.core import ModelError, OptionError
from hexarec.lm.base import Choice, Constraint, LanguageModel, Prompt, Trie, Turn
from hexarec.lm.cassette import keeping
from hexarec.lm.engine import stands_bare
from hexarec.parts.ground import pieces
from hexarec.parts.prompts import Prompts
from hexarec.parts.render import clean, numbered
from hexarec.parts.slate import Found, Named, Slate, Status, Surfaces

FEW = 50  # titles that a prompt shows with numbers
ENUM, LONG_ENUM, CHARACTERS = 1_000, 250, 15_000  # of structured outputs: values; beyond so many, characters of all
BEAMS = 20
PIECES = 500  # of an answer that are read; one that goes on for ever is none

PROMPTS = Prompts(
    "naming",
    1,
    en={
        "one": "Answer with one title and nothing else.",
        "free": "Answer with {n} titles and nothing else: one title a line, best first.",
        "numbers": "Choose from this list only:\n{options}\n"
        "Answer with {n} different numbers of the list and nothing else, best first, separated by commas.",
        "again": "The answer was {said!r}. Wrong: {wrong}. Answer again with {n} different numbers from 1 to {m} only.",
        "nothing": "it has no numbers",
        "outside": "{said} is not in the list",
        "twice": "{said} stands there twice",
        "short": "{n} numbers are wanted",
    },
    zh={
        "one": "只回答一个标题，不要写其他内容。",
        "free": "只回答 {n} 个标题，不要写其他内容：每行一个，最好的在前。",
        "numbers": "只能从以下列表中选择：\n{options}\n"
        "只回答列表中 {n} 个不同的序号，最好的在前，用逗号分隔，不要写其他内容。",
        "again": "刚才的回答是 {said!r}。错误：{wrong}。请重新回答，只写 1 到 {m} 之间 {n} 个不同的序号。",
        "nothing": "没有序号",
        "outside": "列表中没有 {said}",
        "twice": "{said} 出现了两次",
        "short": "需要 {n} 个序号",
    },
)


def name_items(
    lm: LanguageModel,
    prompts: Sequence[Prompt],
    options: Sequence[Sequence[str] | Surfaces],
    *,
    k: int = 1,
    lang: str = "en",
    banned: Sequence[Iterable[int]] | None = None,
    backfill: bool = True,
    wording: Prompts = PROMPTS,
) -> list[Named]:
    """For each prompt k of its options, best first; fewer only where fewer are allowed.

    options: for each prompt its titles, in the retriever's order, or their surfaces; give the same object for a shared
    catalog, then its trie is built once. banned: for each prompt the numbers of options that must not come. backfill:
    fill a place that the model left empty with the next allowed option; without it such a place has item -1 and status
    "rejected".
    Wording follows the list's language; a raw prompt is left as it stands where the answer is constrained.

    Raises OptionError for lists that do not match, CapabilityError for a model without text, and as the model does.
    """
    if k < 1 or len(options) != len(prompts) or (banned is not None and len(banned) != len(prompts)):
        raise OptionError(f"{len(prompts)} prompts, {len(options)} lists of options and k = {k} do not fit together")
    distinct = {id(one): one for one in options}
    known = {name: one if isinstance(one, Surfaces) else Surfaces.of(one) for name, one in distinct.items()}
    slates = [
        Slate(prompt, known[id(own)], bans, k)
        for prompt, own, bans in zip(prompts, options, banned or [()] * len(prompts), strict=True)
    ]
    asked = [slate for slate in slates if slate.left]
    ask = _Ask(lm, wording, lang)
    if "trie" in lm.can:
        ask.search(asked) if hasattr(lm, "search") else ask.within(asked, Trie, "constrained")
    elif "choice" in lm.can:
        ask.within(asked, Choice, "choice")
    else:
        ask.numbers([slate for slate in asked if len(slate.left) <= FEW])
        ask.free([slate for slate in asked if not slate.shown])
    return [slate.finished(backfill) for slate in slates]


def _before(prompt: Prompt) -> str:
    """What stands between a prompt and a title that goes on from it: a title behind a word or a mark has a space."""
    return "" if prompt.raw is None or stands_bare(prompt.ending) else " "


class _Ask:
    """The four ways to ask."""

    def __init__(self, lm: LanguageModel, wording: Prompts, lang: str) -> None:
        self._lm, self._wording, self._lang = lm, wording, lang

    def search(self, slates: Sequence[Slate]) -> None:
        """Beam search in the token trie of each distinct list; again for what too narrow beams left out."""
        groups: dict[tuple[int, str], list[Slate]] = {}
        for slate in slates:
            groups.setdefault((id(slate.surfaces), _before(slate.prompt)), []).append(slate)
        for (_, before), group in groups.items():
            trie = self._lm.trie(group[0].surfaces.texts, before=before)  # type: ignore[attr-defined]
            for _ in range(max(slate.k for slate in group)):
                open_ones = [slate for slate in group if slate.missing and not slate.fault]
                if not open_ones:
                    break
                self._search(open_ones, trie)
            for slate in group:
                slate.first_done()

    def _search(self, slates: Sequence[Slate], trie: Any) -> None:
        most = max(slate.missing for slate in slates)
        prompts = [self._said(slate, "one", 1) for slate in slates]
        bans = [sorted(slate.gone) for slate in slates]
        try:
            found = self._lm.search(prompts, trie, k=most, beams=max(BEAMS, most), banned=bans)  # type: ignore[attr-defined]
        except ModelError as error:
            if len(slates) == 1:  # a prompt that does not fit must not cost the others their answers
                slates[0].fault = error.message
                return
            for slate in slates:
                self._search([slate], trie)
            return
        for slate, hits in zip(slates, found, strict=True):
            if not hits:
                slate.fault = "the search found nothing"
            for hit in hits:
                slate.offer(hit.number, slate.surfaces.texts[hit.number], "constrained", hit.logprob)

    def within(self, slates: Sequence[Slate], kind: Callable[[tuple[str, ...]], Constraint], status: Status) -> None:
        """One constrained request a place, each without what was named before."""
        while open_ones := [slate for slate in slates if slate.missing and not slate.fault]:
            groups: dict[tuple[str, ...], list[Slate]] = {}
            for slate in open_ones:
                shown = slate.left[: _enum(slate.texts_left())] if status == "choice" else slate.left
                slate.cut = max(slate.cut, len(slate.left) - len(shown))
                groups.setdefault(tuple(slate.surfaces.texts[place] for place in shown), []).append(slate)
            for texts, group in groups.items():
                before = [slate.missing for slate in group]
                self._ask(group, [self._said(slate, "one", 1) for slate in group], kind(texts), _kept(status))
                for slate, missing in zip(group, before, strict=True):
                    if slate.missing == missing and not slate.fault:
                        slate.fault = "the answer is none of the options"
        for slate in slates:
            slate.first_done()

    def numbers(self, slates: Sequence[Slate]) -> None:
        """The titles with numbers in the prompt, an answer of numbers; asked once more with what was wrong."""
        prompts = []
        for slate in slates:
            slate.shown = tuple(slate.left)
            listed = numbered(slate.texts_left())
            prompts.append(self._add(slate.prompt, self._text("numbers", n=slate.k, options=listed), 8 * slate.k + 8))
        said = self._ask(slates, prompts, None, _by_number)
        again: list[tuple[Slate, Prompt]] = []
        for slate, prompt, text in zip(slates, prompts, said, strict=True):
            slate.first_done()
            if slate.missing and text is not None:
                slate.retried += 1
                again.append((slate, self._again(slate, prompt, text)))
        self._ask([slate for slate, _ in again], [prompt for _, prompt in again], None, _by_number)

    def _again(self, slate: Slate, prompt: Prompt, text: str) -> Prompt:
        m, wrong, seen = len(slate.shown), [], set[int]()
        for number in _numbers(text):
            if not 1 <= number <= m:
                wrong.append(self._text("outside", said=number))
            elif number in seen:
                wrong.append(self._text("twice", said=number))
            seen.add(number)
        wrong += [] if seen else [self._text("nothing")]
        wrong += [self._text("short", n=slate.k)] if len(seen) < slate.k else []
        told = "; ".join(dict.fromkeys(wrong[:8]))
        asked = self._text("again", said=clean(text, 80), wrong=told, n=slate.k, m=m)
        return self._add(prompt, asked, prompt.sample.max_tokens)

    def free(self, slates: Sequence[Slate]) -> None:
        """Titles in free words, one a line."""
        prompts = [self._said(slate, "free", slate.k) for slate in slates]
        self._ask(slates, prompts, None, _by_words)
        for slate in slates:
            slate.first_done()

    def _ask(
        self,
        slates: Sequence[Slate],
        prompts: Sequence[Prompt],
        within: Constraint | None,
        read: Callable[[Slate, str], list[Found]],
    ) -> list[str | None]:
        """Ask and offer what the answers name; the answers' texts, None where none came."""
        if not prompts:
            return []
        readers = {prompt.digest(): partial(read, slate) for slate, prompt in zip(slates, prompts, strict=True)}
        with keeping(
            lambda prompt, made: made.good and any(one.item >= 0 for one in readers[prompt.digest()](made.text))
        ):
            answers = self._lm.generate(prompts, within)
        for slate, answer in zip(slates, answers, strict=True):
            if not answer.good:
                slate.fault = answer.error or "the model refused"
                continue
            for one in read(slate, answer.text):
                slate.offer(one.item, one.raw, one.status)
        return [answer.text if answer.good else None for answer in answers]

    def _said(self, slate: Slate, piece: str, n: int) -> Prompt:
        if piece == "one" and slate.prompt.raw is not None:
            return replace(slate.prompt, sample=replace(slate.prompt.sample, max_tokens=128))
        text = self._text(piece) if piece == "one" else self._text(piece, n=n)
        return self._add(slate.prompt, text, 128 if piece == "one" else 48 * n)

    def _add(self, prompt: Prompt, text: str, room: int) -> Prompt:
        """The prompt with a text behind its last question, and room for the answer."""
        sample = replace(prompt.sample, max_tokens=room)
        if prompt.raw is not None:
            return replace(prompt, raw=f"{prompt.raw.rstrip()}\n{text}\n", sample=sample)
        turns = list(prompt.turns)
        last = max((n for n, turn in enumerate(turns) if turn.role == "user"), default=None)
        if last is None:
            turns.append(Turn("user", text))
        else:
            turns[last] = Turn("user", f"{turns[last].text}\n\n{text}")
        return replace(prompt, turns=tuple(turns), sample=sample)

    def _text(self, piece: str, **slots: str | int) -> str:
        return self._wording.text(self._lang, piece, **slots)


def _enum(texts: Sequence[str]) -> int:
    """How many of the texts an enum takes: 1,000, and 15,000 characters where there are more than 250."""
    short = sum(total <= CHARACTERS for total in accumulate(map(len, texts)))
    return min(len(texts), ENUM, max(LONG_ENUM, short))


def _kept(status: Status) -> Callable[[Slate, str], list[Found]]:
    """An answer that should be an option as it stands; an engine that did not keep to it is read as words."""

    def read(slate: Slate, text: str) -> list[Found]:
        place = slate.surfaces.place.get(text.strip())
        return [Found(place, text, status)] if place is not None else _by_words(slate, text, 1)

    return read


def _numbers(text: str) -> list[int]:
    """The whole numbers of an answer, in order; what was thought aloud before does not count."""
    found = re.findall(r"(?<![\w.])-?[0-9]+(?!\w)", text.rpartition("</think>")[2])
    return [int(number) if len(number) < 10 else -1 for number in found]


def _by_number(slate: Slate, text: str) -> list[Found]:
    found = _numbers(text)
    m = len(slate.shown)
    if any(1 <= number <= m for number in found):
        return [Found(slate.shown[n - 1] if 1 <= n <= m else -1, str(n), "number") for n in found]
    return _by_words(slate, text)


def _by_words(slate: Slate, text: str, most: int = PIECES) -> list[Found]:
    """What each of the first pieces of an answer names; a title inside other words counts as normalised."""
    made: list[Found] = []
    for piece in pieces(text)[:most]:
        taken = slate.gone | {one.item for one in made}
        found = slate.surfaces.titles.find(piece, taken)
        if found is None:
            made.append(Found(-1, piece, "rejected"))
        else:
            method: Any = "normalised" if found[1] == "substring" else found[1]
            made.append(Found(found[0], piece, method))
    return made
