"""What the first page shows: whether data, models, pipeline and runs are well, each with the command that mends it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hexarec.core.errors import HexarecError
from hexarec.lm.address import withheld, without_secrets
from hexarec.lm.models import REGISTRY, installed
from hexarec.serve.live.publish import KIND
from hexarec.serve.live.tenant import Tenant
from hexarec.serve.page.numbers import count, moment, seconds

Level = Literal["ok", "warn", "bad", "idle"]
NAMING = frozenset({"lm", "model", "encoder", "text_encoder"})
"""Options of a configuration that name a model."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. said: a key of words under home; values: what stands in it; mend: a command."""

    name: str
    level: Level
    said: str
    values: Mapping[str, str] = field(default_factory=dict)
    mend: str = ""


def health(tenant: Tenant) -> list[Check]:
    """Data, models, pipeline and last run of a tenant."""
    return [_data(tenant), *_models(tenant), *_pipelines(tenant), _last_run(tenant)]


def _data(tenant: Tenant) -> Check:
    items, events = tenant.shelf.count("items"), tenant.shelf.count("events")
    values = {"items": count(items), "events": count(events), "users": count(tenant.shelf.count("users")),
              "name": str(tenant.settings.get("name", tenant.name))}  # fmt: skip
    if not items:
        return Check("data", "bad", "data_none", values, "hexarec serve --data PATH")
    if not events:
        return Check("data", "warn", "data_quiet", values, "hexarec serve --data PATH")
    return Check("data", "ok", "data_simulated" if tenant.settings.get("simulated") else "data_ok", values)


def _models(tenant: Tenant) -> list[Check]:
    here, made = installed(), []
    named = {spec for version in tenant.documents(KIND) for spec in specs_of(version.body["config"])}
    for spec in sorted(set(map(withheld, named))):
        name, told = spec.removeprefix("gguf:"), {"spec": without_secrets(spec)}
        if name in REGISTRY:
            good = name in here
            made.append(Check("models", "ok" if good else "bad", "model_ok" if good else "model_none", told,
                              "" if good else f"hexarec models install {name}"))  # fmt: skip
        elif spec.startswith("openai:"):
            made.append(Check("models", "idle", "model_away", told, f"hexarec models test {_typed(spec)}"))
        else:
            made.append(Check("models", "ok", "model_inside", told))
    return made or [Check("models", "idle", "model_unused")]


def _typed(spec: str) -> str:
    """A model as it is typed: what is withheld of its address has letters that a shell would read."""
    return spec if spec == without_secrets(spec) else shlex.quote(spec)


def specs_of(config: Any) -> Iterator[str]:
    """The models that a configuration names, by spec."""
    if isinstance(config, Mapping):
        for name, value in config.items():
            if name in NAMING and isinstance(value, str) and not value.startswith("@"):
                yield value
            else:
                yield from specs_of(value)
    elif isinstance(config, list | tuple):
        for one in config:
            yield from specs_of(one)


def _pipelines(tenant: Tenant) -> list[Check]:
    made = []
    fitted = {one.name: one.created for one in tenant.documents(KIND)}
    for name, served in sorted(tenant.served.items()):
        values = {"name": name, "version": str(served.current.version), "fitted": moment(fitted.get(name))}
        made.append(Check("pipeline", "ok", "pipeline_ok", values))
    for name, why in sorted(tenant.broken.items()):
        made.append(Check("pipeline", "bad", "pipeline_broken", {"name": name, "why": why}, "hexarec serve"))
    return made or [Check("pipeline", "bad", "pipeline_none", {}, "hexarec serve")]


def _last_run(tenant: Tenant) -> Check:
    try:
        last = next(iter(tenant.shelf.jobs(1)), None)
    except HexarecError as error:
        return Check("run", "bad", "run_unknown", {"why": error.message}, "hexarec doctor")
    if last is None:
        return Check("run", "idle", "run_none", {}, "hexarec bench")
    passed = None if last.started is None or last.ended is None else last.ended - last.started
    values = {"kind": last.kind, "when": moment(last.ended or last.started or last.created), "took": seconds(passed),
              "why": (last.error or "").splitlines()[0] if last.error else ""}  # fmt: skip
    levels: dict[str, tuple[Level, str]] = {
        "done": ("ok", "run_done"), "failed": ("bad", "run_failed"), "cancelled": ("warn", "run_cancelled"),
    }  # fmt: skip
    level, said = levels.get(last.state, ("idle", "run_busy"))
    return Check("run", level, said, values)
