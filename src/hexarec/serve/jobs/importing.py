"""Jobs that read an upload whole: `check` says what an import of it would do, `import` does it.

Rows that an import refused lie beside its job until somebody is erased, those of a check beside the upload.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hexarec.serve import uploads
from hexarec.serve.jobs.files import REJECTS
from hexarec.serve.live.imports import taken_in

if TYPE_CHECKING:
    from hexarec.serve.live.tenant import Tenant


def imported(tenant: Tenant, args: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """Import an upload and remove it. Raises DataError for files of which nothing can be used."""
    upload = uploads.found(tenant, str(args.get("upload", "")))
    how, began = uploads.Reading.of(args), time.time()
    made = upload.read(how)
    name = str(args.get("name") or upload.name)
    key = hashlib.blake2b(repr(sorted(how.args().items())).encode(), digest_size=8)
    for path in upload.files:
        with path.open("rb") as file:
            key.update(hashlib.file_digest(file, "sha256").digest())
    counts = taken_in(tenant, replace(made.dataset, name=name), key.hexdigest(), began)
    report = made.report
    told = {
        "format": report.format, "accepted": report.accepted, "rejected": sum(report.rejected.values()), **counts,
        "report": report.sentences(),
    }  # fmt: skip
    with tenant.erasing:
        erased = any(at >= began for _, at in tenant.shelf.tombstones())
        if len(report.rejects) and not erased:  # a refused row may be theirs
            report.write_rejects(scratch / REJECTS)
            told["file"] = REJECTS
    uploads.dropped(upload)
    return told


def checked(tenant: Tenant, args: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """Read an upload whole and store nothing. Raises DataError for files of which nothing can be used."""
    upload = uploads.found(tenant, str(args.get("upload", "")))
    made = upload.read(uploads.Reading.of(args))
    data, report = made.dataset, made.report
    counts = {"events": len(data.interactions), "users": data.n_users, "items": data.n_items}
    reasons = dict(report.rejected)
    with tenant.erasing:  # an erasure removes every upload: nothing is written where one was
        report.write_rejects(uploads.found(tenant, upload.id).refused(scratch.name))
    told = {"format": report.format, "accepted": report.accepted, "rejected": sum(reasons.values()), **counts}
    return told | {"orphans": report.orphans, "reasons": reasons, "notes": list(report.notes)}
