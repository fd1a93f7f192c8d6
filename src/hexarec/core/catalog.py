"""The catalog: items as a person sees them, in columns whose rows are never renumbered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core.errors import DataError
from hexarec.core.filters import Filter, column_mask
from hexarec.core.ids import IdTable, Rows, Strings, digest, strings

Column = NDArray[Any]
Provenance = Mapping[str, str]


@dataclass(frozen=True)
class Item:
    """One catalog row. `attributes` values are str, float, bool or a tuple of str; `text` is free text."""

    id: str
    title: str
    text: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    titles: Mapping[str, str] = field(default_factory=dict)  # other languages: {"zh": ...}
    texts: Mapping[str, str] = field(default_factory=dict)


def column_of(values: Sequence[Any]) -> Column:
    """A column: float64 when every present value is a number (NaN = missing), else objects (None = missing)."""
    present = [v for v in values if v is not None]
    if present and all(isinstance(v, int | float) and not isinstance(v, bool) for v in present):
        return np.array([np.nan if v is None else float(v) for v in values], np.float64)
    return strings(tuple(v) if isinstance(v, list) else v for v in values)


def _appended(old: Column, new: Column) -> Column:
    """Two columns end to end; a number column keeps its type only when both are numbers."""
    if old.dtype == new.dtype:
        return np.concatenate([old, new])
    if not any(v is not None for v in new.tolist()) and old.dtype == np.float64:
        return np.concatenate([old, np.full(len(new), np.nan)])
    return np.concatenate([old.astype(object), new.astype(object)])


@dataclass(frozen=True, eq=False)
class Catalog:
    """Items in columns. Rows are append-only within the lineage `key`; a deleted item stays as a tombstone.

    titles, texts: (n,) str. attributes: name -> (n,) column. text: (variant, language) -> (n,) str or None, what
    enrichers and translations add, with `provenance` per variant. alive: (n,) bool. since: (n,) float64, the
    unix second from which an item can be recommended, -inf when unknown.
    """

    items: IdTable
    titles: Strings
    texts: Strings
    attributes: Mapping[str, Column] = field(default_factory=dict)
    text: Mapping[tuple[str, str], Strings] = field(default_factory=dict)
    provenance: Mapping[str, Provenance] = field(default_factory=dict)
    alive: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    since: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    lang: str = "en"

    @classmethod
    def of(cls, items: Sequence[Item], *, lang: str = "en", key: str = "") -> Catalog:
        """Build a catalog; raises DataError on a repeated or empty id."""
        if any(not isinstance(item.id, str) or not item.id for item in items):
            raise DataError("an item has no id", field="id", hint="give every item a non-empty string id")
        names = dict.fromkeys(name for item in items for name in item.attributes)
        langs = dict.fromkeys(
            [("title", code) for item in items for code in item.titles]
            + [("text", code) for item in items for code in item.texts]
        )
        return cls(
            items=IdTable.of((item.id for item in items), key),
            titles=strings(item.title for item in items),
            texts=strings(item.text for item in items),
            attributes={n: column_of([item.attributes.get(n) for item in items]) for n in names},
            text={
                (kind, code): strings((item.titles if kind == "title" else item.texts).get(code) for item in items)
                for kind, code in langs
            },
            alive=np.ones(len(items), bool),
            since=np.full(len(items), -np.inf),
            lang=lang,
        )

    @property
    def key(self) -> str:
        """The lineage; row numbers may only meet row numbers of the same key."""
        return self.items.key

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Item]:
        return (self.item(row) for row in range(len(self)))

    def __getitem__(self, item_id: str) -> Item:
        row = int(self.rows([item_id])[0])
        if row < 0:
            raise DataError(f"no item {item_id!r} in the catalog", field="item_id")
        return self.item(row)

    def rows(self, ids: Sequence[str] | Strings) -> Rows:
        """Rows (m,) int32, -1 where unknown."""
        return self.items.rows(ids)

    def ids(self, rows: NDArray[Any]) -> list[str]:
        """The ids of the rows, in their order."""
        return self.items.ids[rows].tolist()  # type: ignore[no-any-return]

    def item(self, row: int) -> Item:
        """One row as an `Item`."""
        values = {
            name: column[row].item() if isinstance(column[row], np.generic) else column[row]
            for name, column in self.attributes.items()
        }
        present = {n: v for n, v in values.items() if v is not None and not (isinstance(v, float) and v != v)}
        words: dict[str, dict[str, str]] = {"title": {}, "text": {}}
        for (kind, code), column in self.text.items():
            if kind in words and column[row]:
                words[kind][code] = column[row]
        return Item(self.items.ids[row], self.titles[row], self.texts[row], present, words["title"], words["text"])

    def words(self, variant: str, lang: str | None = None) -> Strings:
        """The column of one text variant ("title", "text" or an enricher's) in a language, (n,) str.

        Rows without it, and languages the catalog lacks, fall back to the catalog's own language.
        """
        base = {"title": self.titles, "text": self.texts}.get(variant)
        wanted = lang or self.lang
        found = self.text.get((variant, wanted))
        if found is None:  # "zh-CN" reads what there is in "zh"
            found = self.text.get((variant, wanted.partition("-")[0]))
        if found is None and base is None:
            found = self.text.get((variant, self.lang))
            if found is None:
                known = sorted({name for name, _ in self.text} | {"title", "text"})
                raise DataError(f"the catalog has no text {variant!r}; it has {', '.join(known)}")
        if found is None:
            assert base is not None
            return base
        rest = base if base is not None else strings([""] * len(self))
        missing = np.fromiter((one is None for one in found), bool, count=len(found))
        return np.where(missing, rest, found)

    def extend(self, items: Sequence[Item]) -> Catalog:
        """The same lineage with the items whose ids are new appended; known ids keep their rows and values."""
        fresh = Catalog.of([item for item in items if item.id not in self.items], lang=self.lang, key="new")
        n, m = len(self), len(fresh)
        empty = strings([None] * m)
        names = dict.fromkeys([*self.attributes, *fresh.attributes])
        nothing = strings([None] * n)
        return replace(
            self,
            items=self.items.extend(fresh.items.ids.tolist()),
            titles=np.concatenate([self.titles, fresh.titles]),
            texts=np.concatenate([self.texts, fresh.texts]),
            attributes={
                name: _appended(self.attributes.get(name, nothing), fresh.attributes.get(name, empty)) for name in names
            },
            text={
                name: np.concatenate([self.text.get(name, nothing), fresh.text.get(name, empty)])
                for name in dict.fromkeys([*self.text, *fresh.text])
            },
            alive=np.concatenate([self.alive, fresh.alive]),
            since=np.concatenate([self.since, fresh.since]),
        )

    def remove(self, ids: Sequence[str]) -> Catalog:
        """The same lineage with these items as tombstones: rows stay, every mask drops them."""
        rows = self.rows(ids)
        alive = self.alive.copy()
        alive[rows[rows >= 0]] = False
        return replace(self, alive=alive)

    def with_text(self, variant: str, lang: str, texts: Strings, provenance: Provenance) -> Catalog:
        """The catalog with one more text column, (n,) str or None, and where it came from."""
        if len(texts) != len(self):
            raise DataError(f"{len(texts)} texts for {len(self)} items", field=variant)
        return replace(
            self,
            text={**self.text, (variant, lang): texts},
            provenance={**self.provenance, variant: dict(provenance)},
        )

    def mask(self, where: Filter) -> NDArray[np.bool_]:
        """Rows (n,) that pass the filter; computed once per filter."""
        if where not in self._masks:
            self._masks[where] = column_mask(where, self.attributes, len(self))
        return self._masks[where]

    @cached_property
    def _masks(self) -> dict[Filter, NDArray[np.bool_]]:
        return {}

    @cached_property
    def digest(self) -> str:
        """A hash of every value in the catalog."""
        parts: list[Any] = [self.items.ids, self.titles, self.texts, self.alive, self.since]
        for name in sorted(self.attributes):
            parts += [name, self.attributes[name]]
        for key in sorted(self.text):
            parts += [key, self.text[key]]
        return digest(*parts)
