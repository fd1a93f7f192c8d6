"""Because: evidence first, words second.

Source:  the "because you liked" form of Tintarev and Masthoff 2007 (ICDE workshop); the check of words is ours.
Idea:    find the liked history item that supports a shown item best (attributes both have, weighted by rarity), say
         that, and show a model's wording only when every claim in it stands in the catalog.
Differs: without a model, or when its wording fails the check twice, a fixed sentence is used and marked "template".
Cost:    without a model none; with one, one or two short answers per shown item.
Needs:   item attributes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from hexarec.classic._evidence import (
    Grounds,
    evidence_for,
    first_sentence,
    liked_past,
    rarities,
    says_shared,
    shared_words,
)
from hexarec.classic._together import liked_by_many, liked_together
from hexarec.core import Dataset, Desk, Lists, Queries, Reasons, Words, degrade
from hexarec.lm.base import LanguageModel, Prompt
from hexarec.parts.facts import check, names, sound
from hexarec.parts.prompts import Prompts
from hexarec.parts.render import titles
from hexarec.parts.require import fields_there

PROMPTS = Prompts(
    "because",
    2,
    en={
        "both": "Because you liked {past}: both have {shared}.",
        "liked": "Others who liked {past} also liked this.",
        "popular": "Liked by many; nothing is known of your taste yet.",
        "others": "Liked by many others.",
        "none": "No reason that can be checked is known for this one.",
        "reword": "Say this to the person in one short friendly sentence. Use only these facts, add nothing.\n"
        "Fact: {shown} and {past} both have {shared}. The person liked {past}.\nSentence:",
    },
    zh={
        "both": "因为您喜欢《{past}》：两者都有{shared}。",
        "liked": "喜欢《{past}》的人也喜欢这一个。",
        "popular": "很多人喜欢；目前还不了解您的喜好。",
        "others": "很多其他人喜欢。",
        "none": "目前没有可以核实的推荐理由。",
        "reword": "请用一句简短友好的话把下面的事实告诉用户，只用这些事实，不要添加内容。\n"
        "事实：《{shown}》与《{past}》都有{shared}。用户喜欢《{past}》。\n一句话：",
    },
)


@dataclass
class Because:
    """Reasons with real evidence."""

    lm: LanguageModel | None = None
    """Words the reason; without it fixed sentences are used."""
    fields: Sequence[str] = ("director", "keywords", "genres")
    """Attributes that may support a reason, most telling first."""
    last: int = 30
    """Liked history items that are looked at."""
    most: int = 3
    """Shared values named in one reason."""
    prompts: Prompts = PROMPTS
    """The wording, in English and Chinese."""

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Learn how rare each attribute value is, what was liked together, and what by many."""
        fields_there(self, data)
        self.key_ = data.catalog.key
        self.rarity_ = rarities(data.catalog, self.fields)
        self.together_, self.many_ = liked_together(data, seed), liked_by_many(data)
        return self

    def explain(self, queries: Queries, shown: Lists, desk: Desk) -> list[Reasons]:
        """Per list one sentence for each item, its evidence beside it."""
        found = [evidence_for(queries, i, shown[i].items, self) for i in range(len(queries))]
        fixed = [
            [self._template(queries, i, item, e) for item, e in zip(shown[i].items.tolist(), found[i], strict=True)]
            for i in range(len(queries))
        ]
        if self.lm is not None:
            self._reword(queries, shown, found, fixed)
        return [Reasons(tuple(words), evidence=tuple(evidence)) for words, evidence in zip(fixed, found, strict=True)]

    def _template(self, queries: Queries, i: int, item: int, evidence: Grounds) -> Words:
        lang = queries.lang[i]
        if not evidence or evidence[0].kind != "history":
            known = "others" if liked_past(queries, i) else "popular"
            return Words(self.prompts.text(lang, known if evidence else "none"), lang, status="template")
        past = titles(queries.catalog, evidence[0].items, lang)[0]
        shared = shared_words(evidence, queries.catalog, lang)
        text = (
            self.prompts.text(lang, "both", past=past, shared=shared)
            if shared
            else self.prompts.text(lang, "liked", past=past)
        )
        return Words(text, lang, claims=check(text, queries.catalog, (item, *evidence[0].items)), status="template")

    def _reword(
        self,
        queries: Queries,
        shown: Lists,
        found: list[list[Grounds]],
        fixed: list[list[Words]],
    ) -> None:
        """Replace fixed sentences by the model's where every claim is supported; two tries."""
        left = [
            (i, j)
            for i in range(len(queries))
            for j, evidence in enumerate(found[i])
            if any(e.kind == "attribute" for e in evidence)
        ]
        lost: list[str] = []
        for attempt in range(2):
            lost.clear()
            prompts = [self._prompt(queries, i, int(shown[i].items[j]), found[i][j], attempt) for i, j in left]
            again = []
            for (i, j), answer in zip(left, self.lm.generate(prompts) if prompts and self.lm else [], strict=True):
                fixed[i][j] = replace(fixed[i][j], answers=(*fixed[i][j].answers, answer.text))
                lost += [answer.error or "no answer came"] if answer.finish == "error" else []
                text = first_sentence(answer.text) if answer.good else ""
                claims = check(text, queries.catalog, (int(shown[i].items[j]), *found[i][j][0].items))
                past = titles(queries.catalog, found[i][j][0].items, queries.lang[i])[0]
                shared = says_shared(text, found[i][j], queries.catalog, queries.lang[i])
                if sound(claims) and names(text, past) and shared:
                    fixed[i][j] = replace(
                        fixed[i][j], text=text, claims=claims, status="ok" if attempt == 0 else "retried"
                    )
                else:
                    again.append((i, j))
            left = again
        if lost:
            degrade(f"{len(lost)} sentences stayed as we word them: {lost[0]}")

    def _prompt(self, queries: Queries, i: int, item: int, evidence: Grounds, attempt: int) -> Prompt:
        lang = queries.lang[i]
        shown, past = titles(queries.catalog, (item, *evidence[0].items), lang)
        shared = shared_words(evidence, queries.catalog, lang)
        text = self.prompts.text(lang, "reword", shown=shown, past=past, shared=shared)
        return Prompt.user(text, seed=int(queries.seed[i]) + attempt, temperature=0.5 * attempt, max_tokens=60)
