"""Texts to vectors, each text once per encoder: several stages and cuts of one data set share the work."""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Catalog, Features, ModelError, current, degrade, digest, track
from hexarec.lm.base import Encoder
from hexarec.parts.render import documents, present_fields

Vectors = NDArray[np.float32]
CHUNK = 128  # texts encoded between two looks at deadline and cancel
MOST = 200_000  # rows kept in memory, the oldest go first

_KNOWN: OrderedDict[tuple[str, str, str, str], Vectors] = OrderedDict()
_LOCK = threading.Lock()


def encoded(encoder: Encoder, texts: Sequence[str]) -> Vectors:
    """Rows (n, dim) float32 in the order of the texts.

    A text is encoded once per tenant and encoder name. An encoder that learned from texts (it has `fit`) is not cached:
    its name does not tell what it learned. Raises ModelError for rows that are not numbers.
    """
    if hasattr(encoder, "fit"):
        return _fresh(encoder, list(texts))
    which = f"{encoder.spec} {getattr(encoder, 'mark', '')}"  # an address may tell models apart by what its spec lacks
    keys = [(current().tenant, which, encoder.name, digest(text)) for text in texts]  # a name tells its dtype
    with _LOCK:
        have = {key: _KNOWN[key] for key in keys if key in _KNOWN}
    wanted = {key: text for key, text in zip(keys, texts, strict=True) if key not in have}
    if wanted:
        made = dict(zip(wanted, _fresh(encoder, list(wanted.values())), strict=True))
        have |= made
        with _LOCK:
            _KNOWN.update(made)
            while len(_KNOWN) > MOST:
                _KNOWN.popitem(last=False)
    rows = [have[key] for key in keys]
    return np.stack(rows).astype(np.float32) if rows else np.zeros((0, encoder.dim), np.float32)


def _fresh(encoder: Encoder, texts: list[str]) -> Vectors:
    parts = [
        encoder.encode(texts[start : start + CHUNK])
        for start in track(range(0, len(texts), CHUNK), f"encode with {encoder.name}")
    ]
    made = np.concatenate(parts) if parts else np.zeros((0, encoder.dim), np.float32)
    lost = np.flatnonzero(~np.isfinite(made).all(axis=1))
    if len(lost):  # one such row makes means, axes and groups of all the others no numbers
        first = texts[lost[0]][:60]
        raise ModelError(
            f"{encoder.name} gave no numbers for {len(lost)} of {len(texts)} texts, the first is {first!r}",
            hint="take another encoder, or leave the items out",
        )
    return made


def asked(encoder: Encoder, texts: Sequence[str]) -> Vectors:
    """Rows (n, dim) of words that somebody said, which are not kept; zeros, and told of, where they are no numbers."""
    rows = np.asarray(encoder.encode(list(texts)), np.float32)
    good = np.asarray(np.isfinite(rows).all(axis=1))
    if not good.all():
        degrade(f"{encoder.name} gave no numbers for {int((~good).sum())} of {len(texts)} texts")
    return np.where(good[:, None], rows, np.float32(0.0))


def item_texts(catalog: Catalog, fields: Sequence[str], start: int = 0) -> list[str]:
    """Items from row `start` on as text for an encoder, in the catalog's language; fields it lacks are left out."""
    return documents(catalog, np.arange(start, len(catalog)), present_fields(catalog, fields), catalog.lang)


def worded(texts: Sequence[str]) -> NDArray[np.bool_]:
    """(n,) whether a text says anything: where it does not, what an encoder gives is no likeness."""
    return np.array([bool(text) for text in texts], bool)


def taught(encoder: Encoder, texts: Sequence[str]) -> Encoder:
    """The encoder; one that learns from texts (the TF-IDF fallback) learns from these, as a copy."""
    if not hasattr(encoder, "fit"):
        return encoder
    learner: Any = copy.copy(encoder)
    made: Encoder = learner.fit(texts)
    return made


def feature_of(encoder: Encoder) -> str:
    """The name of the feature table that holds an encoder's vectors of items."""
    return f"text:{encoder.name}"


def item_rows(encoder: Encoder, texts: Sequence[str], known: Features | None) -> tuple[list[str], Vectors]:
    """Hashes of the texts, and their rows (n, dim): what `known` has of equal text is not encoded again."""
    hashes = [digest(text)[:16] for text in texts]
    have: dict[str, Vectors] = {}
    if known is not None and not hasattr(encoder, "fit"):  # a learning encoder's old rows are another space
        have = dict(zip(known.provenance.get("hashes", "").split("\n"), known.rows, strict=False))
    wanted = {h: text for h, text in zip(hashes, texts, strict=True) if h not in have}
    have |= dict(zip(wanted, encoded(encoder, list(wanted.values())), strict=True))
    dim = len(next(iter(have.values()))) if have else encoder.dim
    return hashes, np.array([have[h] for h in hashes], np.float32).reshape(len(hashes), dim)


def forget_encoded() -> None:
    """Empty the cache."""
    with _LOCK:
        _KNOWN.clear()
