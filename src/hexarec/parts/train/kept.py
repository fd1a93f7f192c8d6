"""Tuned weights as learned state of a stage: arrays that travel with it, and a folder made of them that `hf:` reads.

The folder's name is the hash of what it holds, so equal state is one folder, and a stage that was loaded elsewhere
finds or writes its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from hexarec.core import CapabilityError, digest
from hexarec.lm import models
from hexarec.lm.base import LanguageModel

if TYPE_CHECKING:
    from hexarec.lm.hf.weights import Base
    from hexarec.parts.train.tunable import Tunable

State = dict[str, Any]
"""kind, options, base (fingerprint), about (JSON values) and tensors (name -> float32 array)."""


def tunable_base(lm: LanguageModel) -> Base:
    """The weights behind a model as a base of one's own in float32, to be tuned while the model serves.

    Raises CapabilityError for a model without weights.
    """
    from hexarec.lm.hf.weights import load

    if "weights" not in lm.can or not lm.spec.startswith("hf:"):
        raise CapabilityError(f"{lm.name} has no weights to tune", hint="tune over hf:, for example hf:smollm2")
    return load(lm.spec.removeprefix("hf:"), dtype="float32")


def kept(tunable: Tunable, **about: Any) -> State:
    """What a tunable has learned, as state; `about` (JSON values) goes into the artefact's manifest."""
    return {
        "kind": tunable.kind.name,
        "options": asdict(tunable.kind),
        "base": dict(tunable.base.fingerprint),
        "about": {**tunable.facts(), **about},
        "tensors": {name: np.asarray(one.float().cpu().numpy()) for name, one in tunable.tensors().items()},
    }


def read(folder: str) -> State:
    """The artefact of a folder as state, unchanged. Raises ModelError when it is missing or damaged."""
    from hexarec.lm.hf import artefact

    found = artefact.read(folder)
    about = {name: one for name, one in found.manifest.items() if name not in artefact.OWN}
    tensors = {name: np.asarray(one.float().cpu().numpy()) for name, one in found.tensors.items()}
    own = {name: found.manifest[name] for name in ("kind", "options", "base")}
    return {**own, "about": about, "tensors": tensors}


def placed(state: Mapping[str, Any]) -> str:
    """The folder of the artefact for `Prompt.adapter`, written where it is missing.

    Raises ModelError for weights that are empty or not finite.
    """
    tensors: Mapping[str, np.ndarray] = state["tensors"]
    names = sorted(tensors)
    mark = digest(state["kind"], _plain(state["options"]), _plain(state["base"]), names, *(tensors[n] for n in names))
    folder = models.folder() / "adapters" / mark
    if not (folder / "manifest.json").is_file():
        import torch

        from hexarec.lm.hf import artefact

        arrays = {name: torch.from_numpy(np.array(tensors[name])) for name in names}
        artefact.save(folder, state["kind"], _plain(state["options"]), arrays, state["base"], _plain(state["about"]))
    return str(folder)


def _plain(value: Any) -> Any:
    """Mappings and tuples as JSON has them, so that state that was saved and loaded has the same hash."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in sorted(value.items())}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
