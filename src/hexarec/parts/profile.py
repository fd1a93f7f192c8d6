"""Words about a user, from the history of a question only: what they seem to like, in one line or one paragraph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hexarec.core import Queries, Words
from hexarec.lm.base import LanguageModel, Prompt
from hexarec.parts.prompts import Prompts
from hexarec.parts.render import numbered, titles

PROMPTS = Prompts(
    "profile",
    1,
    en={
        "ask": "A person liked these, oldest first:\n{history}\n\n"
        "In one or two sentences, say what this person seems to like. Name no titles.",
        "facts": "Often: {values}.",
        "nothing": "Nothing is known of this person yet.",
    },
    zh={
        "ask": "某人喜欢过以下内容（由旧到新）：\n{history}\n\n请用一两句话概括此人的喜好，不要提到任何标题。",
        "facts": "常见：{values}。",
        "nothing": "目前对此人一无所知。",
    },
)


@dataclass
class Profile:
    """Profiles of the users of a batch.

    lm: writes them; None = counted facts from `fields` only. last: history items read. Words about a user are never
    stored with the data: they follow from the history and are cached, if at all, by the prompt that holds it.
    """

    lm: LanguageModel | None = None
    last: int = 20
    fields: tuple[str, ...] = ("genres", "keywords")
    most: int = 5
    prompts: Prompts = PROMPTS

    def write(self, queries: Queries) -> list[Words]:
        """One `Words` per question; status "template" when no model wrote it (no model, no history, or no answer)."""
        recent = queries.history.where(queries.history.liked).last(self.last)
        facts = [self._facts(queries, i, recent.item[slice(*recent.offsets[i : i + 2])]) for i in range(len(queries))]
        if self.lm is None:
            return facts
        asked = [i for i in range(len(queries)) if recent.offsets[i + 1] > recent.offsets[i]]
        prompts = []
        for i in asked:
            rows = recent.item[slice(*recent.offsets[i : i + 2])]
            lines = numbered(titles(queries.catalog, rows, queries.lang[i]))
            made = Prompt.user(self.prompts.text(queries.lang[i], "ask", history=lines), max_tokens=80)
            prompts.append(replace(made, whose=int(queries.user[i])))
        for i, answer in zip(asked, self.lm.generate(prompts) if prompts else [], strict=True):
            text = " ".join(answer.text.split())
            if answer.good and text:
                facts[i] = Words(text, queries.lang[i], status="ok")
        return facts

    def _facts(self, queries: Queries, i: int, rows: np.ndarray) -> Words:
        lang = queries.lang[i]
        counts = counted(queries, rows, self.fields)
        if not counts:
            return Words(self.prompts.text(lang, "nothing"), lang, status="template")
        values = ", ".join(f"{value} ({n})" for value, n in counts[: self.most])
        return Words(self.prompts.text(lang, "facts", values=values), lang, status="template")


def counted(queries: Queries, rows: np.ndarray, fields: Sequence[str]) -> list[tuple[str, int]]:
    """Attribute values of the rows with their counts, most frequent first, then alphabetical."""
    counts: Counter[str] = Counter()
    for name in fields:
        column = queries.catalog.attributes.get(name)
        for row in rows.tolist() if column is not None else ():
            value = column[row]  # type: ignore[index]
            counts.update(value if isinstance(value, tuple) else [str(value)] if value is not None else [])
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
