"""Who sees what: users to arms by a salted hash, and the check that the arms got the users they should have got.

Source: hashing into buckets and layers, Tang et al. 2010, KDD ("Overlapping Experiment Infrastructure"); sample-ratio
check, Fabijan et al. 2019, KDD.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from hexarec.core.errors import DataError, OptionError

BUCKETS = 10_000
ALARM = 0.001  # a sample-ratio p below it: the effect must not be read


def bucket(salt: str, user: str, layer: str = "") -> int:
    """The bucket of a user, 0 to 9,999: the same on any machine; another salt or layer is another, independent draw."""
    digest = hashlib.sha256()
    for part in (salt, layer, user):
        text = part.encode("utf-8", "surrogatepass")
        digest.update(len(text).to_bytes(4, "big") + text)  # lengths, so that no two triples read the same
    return int.from_bytes(digest.digest()[:8], "big") % BUCKETS


def assign(salt: str, user: str, arms: Sequence[str], shares: Sequence[float], layer: str = "") -> str:
    """The arm of a user. The first arm is control: it takes every bucket that no other arm takes.

    With m other arms, arm j takes the first of its share from a lane of its own, buckets j / m to (j + 1) / m. So
    when the share of one arm grows at the expense of control, the users it had stay, the new ones come from control,
    and no other arm changes; when it shrinks, its users go to control. Shares count in steps of 1 / 10,000, rounded
    down. Experiments with the same salt and layer have the same buckets; with another salt or layer their arms are
    independent. Raises OptionError when an arm but the first is larger than its lane.
    """
    _check(arms, shares)
    place, lanes = bucket(salt, user, layer), len(arms) - 1
    for lane in range(lanes):
        start = lane * BUCKETS // lanes
        if start <= place < start + int(shares[lane + 1] * BUCKETS + 1e-6):
            return arms[lane + 1]
    return arms[0]


def _check(arms: Sequence[str], shares: Sequence[float]) -> None:
    if not arms or len(set(arms)) != len(arms) or len(arms) != len(shares):
        raise OptionError(f"{len(arms)} arms and {len(shares)} shares", hint="distinct arms, one share each")
    if not all(share >= 0.0 for share in shares) or abs(sum(shares) - 1.0) > 1e-6:
        raise OptionError(f"the shares {list(shares)} do not sum to 1", hint="control first, shares of 0 or more")
    if any(share > 1.0 / (len(arms) - 1) + 1e-9 for share in shares[1:]):
        raise OptionError(
            f"an arm of {list(shares)} is larger than its lane, 1/{len(arms) - 1} of the users",
            hint="name the largest arm first: it has no lane",
        )


def sample_ratio(counts: Sequence[int], shares: Sequence[float]) -> float:
    """Chi-square p-value that these many users per arm come from these shares; NaN without users.

    Below `ALARM` (.001) assignment or logging loses users of one arm, and no effect may be read: who was lost is not
    random. An arm of share 0 with users gives 0. The approximation wants five expected users per arm.
    """
    seen, expected = np.asarray(counts, np.float64), np.asarray(shares, np.float64)
    if seen.shape != expected.shape or seen.ndim != 1 or (seen < 0).any():
        raise DataError(f"{seen.size} counts for {expected.size} shares", hint="one count of 0 or more per arm")
    if (expected < 0).any() or abs(expected.sum() - 1.0) > 1e-6:
        raise OptionError(f"the shares {list(shares)} do not sum to 1")
    open_ = expected > 0
    if seen[~open_].any():
        return 0.0
    seen, expected = seen[open_], expected[open_] * seen.sum()
    if not seen.sum():
        return float("nan")
    from scipy import stats

    return float(stats.chi2.sf(((seen - expected) ** 2 / expected).sum(), len(seen) - 1)) if len(seen) > 1 else 1.0
