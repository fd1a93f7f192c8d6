"""Starting a job for a caller: checked, queued, and written into the audit log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hexarec.core import OptionError
from hexarec.serve.jobs.allowed import check_endpoints
from hexarec.serve.jobs.kinds import KINDS
from hexarec.serve.store.checks import checked_name
from hexarec.serve.store.rows import JobRow

if TYPE_CHECKING:
    from hexarec.serve.live.tenant import Tenant


def queued(
    tenant: Tenant, kind: str, args: Mapping[str, Any], *, by: str, request_id: str, endpoints: Sequence[str]
) -> JobRow:  # fmt: skip
    """The job, waiting. Raises OptionError for an unknown kind, an argument that does not fit, or a model not allowed.

    by: the name of the caller's key. endpoints: models that the operator allows beside the embedded ones.
    """
    found = KINDS.get(kind)
    if found is None:
        raise OptionError(f"no kind {kind!r} of job", hint=f"kinds: {', '.join(KINDS)}")
    found.check(args)
    checked_name(args.get("pipeline", "default"), "pipeline")
    check_endpoints(args, endpoints)
    job = tenant.shelf.add_job(kind, args)
    tenant.shelf.audit(by, f"start job {kind}", job.id, request_id)
    return job
