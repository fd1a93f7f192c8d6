"""Random draws that depend on what is drawn for, never on the order of the calls."""

from __future__ import annotations

import hashlib

import numpy as np


def seed_words(seed: int, *words: str | int) -> int:
    """A 128-bit integer derived from `seed` and `words`; equal inputs give equal outputs on any machine."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (seed, *words):
        text = repr(part).encode("utf-8", "surrogatepass")
        digest.update(len(text).to_bytes(4, "little") + text)
    return int.from_bytes(digest.digest(), "little")


def rng(seed: int, *words: str | int) -> np.random.Generator:
    """A generator named by `seed` and `words` (user, stage, round, ...): same answer in any batch, in any order."""
    return np.random.Generator(np.random.PCG64(seed_words(seed, *words)))
