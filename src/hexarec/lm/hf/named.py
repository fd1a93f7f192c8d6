"""Numbers below 0 for vectors that stand in prompts in place of tokens: what compares tokens then compares vectors."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

MOST = 2**16  # vectors that are known again; of an older one a prefix is read once more


class Named:
    """Equal vectors have one number, and no number is given to two: -1, -2, ... Thread-safe."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, int] = OrderedDict()
        self._given = 0
        self._lock = threading.Lock()

    def numbers(self, vectors: NDArray[np.float32]) -> list[int]:
        """The numbers of the rows of (n, d) float32."""
        rows = np.ascontiguousarray(vectors, np.float32)
        keys = [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows]
        with self._lock:
            return [self._number(key) for key in keys]

    def _number(self, key: bytes) -> int:
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        self._given += 1
        self._known[key] = -self._given
        if len(self._known) > MOST:
            self._known.popitem(last=False)
        return -self._given
