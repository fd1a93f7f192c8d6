"""What a published pipeline is made of: every tuned artefact in it, on which model, by which validation, how large.

It stands in the version of the pipeline itself, so what is registered, published, active and rolled back is one thing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hexarec.core import digest, learned, option_names
from hexarec.core.options import stages_inside
from hexarec.lm.models import REGISTRY
from hexarec.pipeline.pipeline import Pipeline, name_of
from hexarec.serve.store.checks import plain

STATE = frozenset({"kind", "options", "base", "about", "tensors"})
"""What tuned weights have as state of a stage: see `parts.train.kept`."""


def described(pipeline: Pipeline) -> dict[str, Any]:
    """`artefacts`: everything tuned that a fitted pipeline holds; `validation`: the curves of what it trained."""
    artefacts: dict[str, dict[str, Any]] = {}
    validation = {}
    for stage in stages_inside(pipeline):
        for name in (*option_names(stage), *learned(stage)):
            value = getattr(stage, name, None)
            if isinstance(value, Mapping) and STATE <= set(value):
                made = _artefact(value, stage)
                artefacts.setdefault(made["id"], made)
        if curve := getattr(stage, "curve_", None):
            validation[name_of(stage)] = plain(list(curve))
    return {"artefacts": list(artefacts.values()), "validation": validation}


def _artefact(state: Mapping[str, Any], stage: Any) -> dict[str, Any]:
    about, tensors = plain(state["about"]), {name: np.asarray(one) for name, one in state["tensors"].items()}
    base = str(getattr(getattr(stage, "lm", None), "spec", ""))
    known = REGISTRY.get(base.partition(":")[2])
    parts = [part for name in sorted(tensors) for part in (name, tensors[name])]
    return {
        "id": digest(str(state["kind"]), *parts)[:32],
        "kind": str(state["kind"]),
        "stage": name_of(stage),
        "options": plain(state["options"]),
        "base": base or None,
        "base_hash": digest(*(f"{key} {one}" for key, one in sorted(state["base"].items())))[:32],
        "licence": None if known is None else known.licence,
        "valid": about.get("valid"),
        "examples": about.get("examples"),
        "trainable": about.get("trainable"),
        "bytes": int(sum(one.nbytes for one in tensors.values())),
    }
