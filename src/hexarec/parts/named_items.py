"""Items as people name them: by id, or by a title in any language of the catalog."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from hexarec.core import Catalog
from hexarec.data.tables import shortened
from hexarec.parts.ground import Titles, normal, words_of

SURE = frozenset({"exact", "normalised", "fuzzy"})  # a title inside a longer one is a guess, not a reading
COMPARED = 1_000  # titles that are compared letter by letter, which takes about a millisecond for long ones
LONGEST = 80  # letters of what was typed that are compared


@dataclass(frozen=True)
class Grounder:
    """Finds items by id or by title, in every language of the catalog."""

    catalog: Catalog

    @cached_property
    def _titles(self) -> tuple[Titles, list[int]]:
        words: list[str] = []
        rows: list[int] = []
        for lang in [self.catalog.lang, *{code for kind, code in self.catalog.text if kind == "title"}]:
            for row, title in enumerate(self.catalog.words("title", lang)):
                if title and self.catalog.alive[row]:
                    words.append(title)
                    rows.append(row)
        return Titles(tuple(words)), rows

    def find(self, words: str) -> tuple[str | None, str]:
        """The id of the item these words mean, and a note: how they were read, or what is near when they mean none."""
        bare = words.strip()
        if bare in self.catalog.items:
            return bare, ""
        titles, rows = self._titles
        found = titles.find(bare)
        if found is None or found[1] not in SURE:
            listed = ", ".join(repr(one) for one in self.near(bare))
            return None, f"{shortened(bare)!r} is not in the catalog" + (f"; near: {listed}" if listed else "")
        row = rows[found[0]]
        item, title = str(self.catalog.items.ids[row]), str(self.catalog.titles[row])
        read = titles.options[found[0]]
        # a title written out means those that are spelled so, not all that are alike
        alike = titles._by_exact.get(read.strip().casefold(), ()) if found[1] == "exact" else ()
        twins = {rows[place] for place in alike or titles._by_normal.get(normal(read), ())}
        if len(twins) > 1:
            others = ", ".join(sorted(str(self.catalog.items.ids[one]) for one in twins))
            return item, f"{bare!r} names {len(twins)} items ({others}); took {title!r}: give an id to be exact"
        return item, f"read {bare!r} as {title!r}" if found[1] == "fuzzy" else ""

    def near(self, words: str, most: int = 3) -> list[str]:
        """Titles that words which name no item may have meant, the likeliest first."""
        titles, _ = self._titles
        wanted, inside = normal(words)[:LONGEST], titles.find(words.strip())
        near = [titles.options[inside[0]]] if inside is not None else []
        near += [title for title in titles.options if wanted and wanted in normal(title)][:most]
        by_normal = {normal(titles.options[place]): titles.options[place] for place in self._alike(wanted)}
        near += [by_normal[one] for one in difflib.get_close_matches(wanted, by_normal, n=most, cutoff=0.5)]
        return list(dict.fromkeys(near))[:most]

    @cached_property
    def _by_word(self) -> dict[str, list[int]]:
        """The titles that hold each word."""
        made: dict[str, list[int]] = {}
        for place, words in enumerate(self._titles[0]._normal):
            for word in set(words_of(words)):
                made.setdefault(word, []).append(place)
        return made

    def _alike(self, wanted: str) -> Sequence[int]:
        """Titles to be compared letter by letter: all of a small catalog, of a large one those that share a word."""
        count = len(self._titles[0].options)
        if count <= COMPARED:
            return range(count)
        rare = sorted((self._by_word.get(word, []) for word in words_of(wanted)), key=len)
        return list(dict.fromkeys(place for places in rare for place in places))[:COMPARED]

    def holding(self, words: str, most: int = 10) -> list[str]:
        """Ids of the items with a title, in any language, that holds these words; those that begin with them first."""
        wanted = normal(words)
        if not wanted:
            return []
        titles, rows = self._titles
        starts: list[int] = []
        holds: list[int] = []
        for row, title in zip(rows, titles._normal, strict=True):
            if wanted in title:
                (starts if title.startswith(wanted) else holds).append(row)
        found = list(dict.fromkeys([*starts, *holds]))[:most]
        return [str(self.catalog.items.ids[row]) for row in found]
