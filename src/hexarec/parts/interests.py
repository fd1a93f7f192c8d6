"""What begins every question about a user: the history, what is asked for, and the interests a model reads in both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from hexarec.core import Queries, degrade
from hexarec.lm.base import LanguageModel, Prompt
from hexarec.parts.domain import domain_words
from hexarec.parts.prompts import Prompts
from hexarec.parts.render import clean, numbered, titles

MOST = 300  # characters of a request and of interests


@dataclass(frozen=True)
class Interests:
    """Wording from the pieces history, nothing, request, interests and told. last: newest liked events that are read.

    lm: says the interests; None = without.
    """

    prompts: Prompts
    domain: str
    last: int
    lm: LanguageModel | None

    def conditions(self, queries: Queries, requests: Iterable[str | None] | None) -> list[str]:
        """One text per question. requests: what each asks for in words. Who has neither is not asked about."""
        asked = [clean(one or "", MOST) for one in ([""] * len(queries) if requests is None else requests)]
        recent = queries.history.where(queries.history.liked).last(self.last)
        made, some = [], []
        for i, request in enumerate(asked):
            lang = queries.lang[i]
            lines = numbered(titles(queries.catalog, recent.item[slice(*recent.offsets[i : i + 2])], lang))
            words = domain_words(self.domain, lang)
            text = self.prompts.text(lang, "history" if lines else "nothing", history=lines, **words)
            made.append(text + (self.prompts.text(lang, "request", request=request) if request else ""))
            if lines or request:
                some.append(i)
        for i, told in self._told(queries, some, made):
            made[i] += self.prompts.text(queries.lang[i], "told", interests=told)
        return made

    def _told(self, queries: Queries, some: Sequence[int], bare: Sequence[str]) -> list[tuple[int, str]]:
        """The interests of these questions, where the model says any."""
        if self.lm is None or not some:
            return []
        texts = [self.prompts.text(queries.lang[i], "interests", condition=bare[i]) for i in some]
        whose = [int(queries.user[i]) for i in some]
        answers = self.lm.generate(
            [replace(Prompt.user(text, max_tokens=80), whose=who) for text, who in zip(texts, whose, strict=True)]
        )
        bad = [answer for answer in answers if not answer.good]
        if bad:
            degrade(f"{len(bad)} of {len(answers)} interests: {bad[0].error or 'the model refused'}")
        told = [clean(answer.text, MOST) if answer.good else "" for answer in answers]
        return [(i, one) for i, one in zip(some, told, strict=True) if one]
