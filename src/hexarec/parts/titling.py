"""Titles of a catalog written by a model: inside its token trie, or in free words that are read, and grounded if asked.

What the model said by itself and what became of it by repair are told apart: repaired lists always look well.
Sources: GENRE (arXiv:2010.00904), RecLM-cgen (arXiv:2505.03336), BIGRec (arXiv:2308.08434).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Catalog
from hexarec.lm.base import Encoder, LanguageModel, Prompt
from hexarec.parts.ground import ParseReport, Titles
from hexarec.parts.naming import name_items
from hexarec.parts.render import titles
from hexarec.parts.several import Said, line
from hexarec.parts.slate import Surfaces
from hexarec.parts.text_search import TextSearch

NEAR = 20  # titles near an answer that it is compared with letter by letter
Bools = NDArray[np.bool_]
Ints = NDArray[np.integer]


@dataclass(frozen=True)
class Titled:
    """What became of one question.

    rows: items with log-probability (NaN where it is not known) and how each was found, best first. parse: of the
    answers as they came; `out_of_set` are no titles. repaired: the same after grounding. seen: titles that are not
    allowed here. raw: the answers. fault: why none came, else "".
    """

    rows: tuple[tuple[int, float, str], ...] = ()
    parse: ParseReport = field(default_factory=lambda: ParseReport(0))
    repaired: ParseReport = field(default_factory=lambda: ParseReport(0))
    seen: int = 0
    raw: tuple[str, ...] = ()
    fault: str = ""


@lru_cache(maxsize=4)
def surfaces(catalog: Catalog, lang: str) -> Surfaces:
    """The titles of a catalog in a language, one line each and no two alike."""
    return Surfaces.of(titles(catalog, np.arange(len(catalog)), lang))


class _Itself:
    """An encoder as a key: equal to itself alone, since two of one name may have learned from different texts."""

    def __init__(self, encoder: Encoder | None) -> None:
        self.encoder = encoder

    def __hash__(self) -> int:
        return id(self.encoder)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and other.encoder is self.encoder


def nearest(catalog: Catalog, lang: str, encoder: Encoder | None) -> TextSearch:
    """The search for titles that read like an answer: by words, or by the vectors of an encoder; made once a catalog.

    An encoder that learns does so from these titles.
    """
    return _indexed(catalog, lang, _Itself(encoder))


@lru_cache(maxsize=4)
def _indexed(catalog: Catalog, lang: str, by: _Itself) -> TextSearch:
    return TextSearch(encoder=by.encoder).index(surfaces(catalog, lang).texts)


def named(catalog: Catalog, rows: Ints, lang: str) -> list[str]:
    """The titles of rows as they are written."""
    texts = surfaces(catalog, lang).texts
    return [texts[row] for row in rows.tolist()]


def inside(
    lm: LanguageModel,
    asked: Callable[[int], list[Prompt]],
    known: Surfaces,
    forbidden: Bools,
    k: int,
    *,
    beams: int,
    order: Ints,
    lang: str,
) -> list[Titled]:
    """For each question k titles that are not forbidden (n, n_items), found inside the trie of all.

    asked: the prompts, with so many tokens kept free. order: all items, those first that matter where a model has no
    trie and its grammar takes only some (see `parts.naming`). Raises as the model does.
    """
    if not hasattr(lm, "search"):
        return _chosen(lm, asked(0), [known.texts[row] for row in order], forbidden[:, order], k, order, lang)
    trie = lm.trie(known.texts)  # type: ignore[attr-defined]
    bans = [np.flatnonzero(row).tolist() for row in forbidden]
    found = lm.search(asked(trie.depth), trie, k=k, beams=max(beams, k), banned=bans)
    made = []
    for hits, row in zip(found, forbidden, strict=True):
        wanted = min(k, int((~row).sum()))
        report = ParseReport(wanted, len(hits), {"constrained": len(hits)}, missing=wanted - len(hits))
        rows = tuple((int(hit.number), float(hit.logprob), "constrained") for hit in hits)
        made.append(Titled(rows, report, report, raw=tuple(known.texts[row] for row, _, _ in rows)))
    return made


def _chosen(
    lm: LanguageModel, prompts: list[Prompt], texts: list[str], forbidden: Bools, k: int, order: Ints, lang: str
) -> list[Titled]:
    """The same by grammar or enum, a request for each place."""
    bans = [np.flatnonzero(row).tolist() for row in forbidden]
    made = []
    for one in name_items(lm, prompts, [texts] * len(prompts), k=k, lang=lang, banned=bans, backfill=False):
        own = [name for name in one.names if name.item >= 0]
        told, missing = one.report, one.report.requested - len(own)
        valid = told.requested - told.invalid
        raw = ParseReport(
            told.requested, valid, {"choice": valid}, told.outside, told.duplicates, told.invalid, told.retried
        )
        repaired = ParseReport(told.requested, len(own), dict(one.by_status), missing=missing)
        rows = tuple((int(order[name.item]), name.logprob, name.status) for name in own)
        made.append(Titled(rows, raw, repaired, told.banned, tuple(name.raw for name in one.names), one.fault))
    return made


def read(said: Said, known: Surfaces, forbidden: Bools, asked: int, near: TextSearch | None = None) -> Titled:
    """The items that answers in free words name, best first; what names none is taken for its neighbour in `near`.

    An answer is a title where it differs by case, marks, article or year only. A neighbour is an item that is not
    forbidden (n_items,) and was not named: the one that reads the same but for a few letters, else the nearest.
    asked: answers that were wanted.
    """
    rows: list[tuple[int, float, str]] = []
    taken, gone = forbidden.copy(), set(np.flatnonzero(forbidden).tolist())
    raw, mended = Counter[str](), Counter[str]()
    lost = seen = again = 0
    for one in said.answers:
        found = known.titles.known(one.text, gone)
        if found is None:
            lost += 1
            found = _neighbour(one.text, known, taken, near)
            mended.update([found[1]] if found else ["rejected"])
        elif forbidden[found[0]]:
            seen += 1
            continue
        elif taken[found[0]]:
            again += 1
            continue
        else:
            raw.update([found[1]])
        if found is not None:
            taken[found[0]] = True
            gone.add(found[0])
            rows.append((found[0], one.logprob, found[1]))
    wrote = sum(bool(line(text)) for text in said.raw)
    counts = {"duplicates": again + wrote - len(said.answers), "missing": max(asked - wrote, 0)}
    refused, rejected = int(bool(said.fault)), mended.pop("rejected", 0)
    parse = ParseReport(asked, raw.total(), dict(raw), lost, refused=refused, **counts)
    repaired = ParseReport(asked, len(rows), dict(raw + mended), rejected, refused=refused, **counts)
    return Titled(tuple(rows), parse, repaired, seen, said.raw, said.fault)


def _neighbour(text: str, known: Surfaces, taken: Bools, near: TextSearch | None) -> tuple[int, str] | None:
    if near is None:
        return None
    places = near.found([text], taken, NEAR)[0]
    if not places:
        return None
    found = Titles(tuple(known.texts[place] for place in places)).find(text)
    return (places[found[0]], found[1]) if found else (places[0], "nearest")
