"""Texts to vectors, each text once per encoder: several stages and cuts of one data set share the work."""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from hexarec.core import current, digest, track
from hexarec.lm.base import Encoder

Vectors = NDArray[np.float32]
CHUNK = 128  # texts encoded between two looks at deadline and cancel
MOST = 200_000  # rows kept in memory, the oldest go first

_KNOWN: OrderedDict[tuple[str, str, str, str], Vectors] = OrderedDict()
_LOCK = threading.Lock()


def encoded(encoder: Encoder, texts: Sequence[str]) -> Vectors:
    """Rows (n, dim) float32 in the order of the texts.

    A text is encoded once per tenant and encoder name. An encoder that learned from texts (it has `fit`) is not cached:
    its name does not tell what it learned.
    """
    if hasattr(encoder, "fit"):
        return _fresh(encoder, list(texts))
    keys = [(current().tenant, encoder.spec, encoder.name, digest(text)) for text in texts]  # a name tells its dtype
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
    return np.concatenate(parts) if parts else np.zeros((0, encoder.dim), np.float32)


def learned_from(encoder: Encoder, texts: Callable[[], Sequence[str]]) -> Encoder:
    """The encoder; one that learns from texts (the TF-IDF fallback) as a copy that learned from these."""
    if not hasattr(encoder, "fit"):
        return encoder
    made: Encoder = copy.copy(encoder).fit(texts())
    return made


def forget_encoded() -> None:
    """Empty the cache."""
    with _LOCK:
        _KNOWN.clear()
