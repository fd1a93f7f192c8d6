"""Interviews of simulated users, each marked with the user it was drawn from: erasing that user takes it out.

What somebody who was drawn from a user says, and what they remember, comes of that user's history. The mark is the hash
under which an erased user is remembered, so that a result names nobody.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hexarec.core.atomic import write_text
from hexarec.serve.jobs.files import folders_of

if TYPE_CHECKING:
    from hexarec.serve.live.tenant import Tenant

KIND = "simulate"
CURVES = "curves.json"
MARK = "mark"


def marked(tenant: Tenant, said: Sequence[Mapping[str, Any]], users: Sequence[str]) -> list[dict[str, Any]]:
    """Interviews with the mark of the user that each was drawn from."""
    return [{**one, MARK: tenant.shelf.pseudonym(user)} for one, user in zip(said, users, strict=True)]


def without(curves: Mapping[str, Any], marks: Collection[str]) -> dict[str, Any]:
    """Curves by pipeline without the interviews of these marks; one of an older run has none and goes as well."""
    if not marks:
        return dict(curves)
    return {
        name: {**curve, "said": [one for one in curve.get("said", ()) if one.get(MARK, "") not in {*marks, ""}]}
        for name, curve in curves.items()
    }


def without_interviews(tenant: Tenant, users: Sequence[str]) -> int:
    """Take the interviews of erased users out of the results of jobs, and of what unfinished ones keep; how many."""
    marks = {tenant.shelf.pseudonym(user) for user in users}

    def changed(result: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**result, "curves": without(result.get("curves", {}), marks)}

    count, folder = tenant.shelf.rewrite_results(KIND, changed), folders_of(tenant)
    for path in folder.glob(f"*/{CURVES}") if folder.is_dir() else ():
        kept = json.loads(path.read_text("utf-8"))
        made = without(kept, marks)
        if made != kept:
            write_curves(path, made)
            count += 1
    return count


def write_curves(path: Path, curves: Mapping[str, Any]) -> None:
    """Write curves, whole or not at all."""
    write_text(path, json.dumps(curves, ensure_ascii=False))
