"""Shards on Ray: a cluster of this machine, on loopback with a token, or one that runs already."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hexarec.core import MissingExtraError, OptionError, StateError, current
from hexarec.core.errors import HexarecError
from hexarec.serve.jobs.shards import Call

TRIES = 5
"""Workers that may die over one shard."""
STORE = 80_000_000
"""Bytes of shared memory for the objects of a cluster of this machine: shards send paths, not data."""
LOCAL: dict[str, str] = {
    "RAY_AUTH_MODE": "token",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # "no cluster": every port is opened on loopback only
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


_TOKEN = secrets.token_hex(32)  # Ray reads it once in a process
_OURS: list[bool] = []  # whether Ray was imported here: it reads its settings then, and never again


@contextlib.contextmanager
def connected(workers: int | None = None, address: str | None = None) -> Iterator[None]:
    """Ray for the enclosed code. Without an address, a cluster of this machine with this many workers.

    It listens on loopback, asks for a token nobody else knows, has no dashboard and reports no usage. At an address
    RAY_AUTH_MODE=token and the token must be set. Raises MissingExtraError, OptionError, StateError.
    """
    if address is not None and os.environ.get("RAY_AUTH_MODE") != "token":
        raise OptionError(
            "a cluster without token authentication runs the code of anybody who reaches it",
            hint="start it with RAY_AUTH_MODE=token, and set RAY_AUTH_MODE and RAY_AUTH_TOKEN_PATH here too",
        )
    if address is None and sys.modules.get("ray") is not None and not any(_OURS):
        raise StateError("Ray was imported before, with settings that may open it to others",
                         hint="use a fresh process, as hexarec batch does")  # fmt: skip
    with _environment(LOCAL | {"RAY_AUTH_TOKEN": _TOKEN} if address is None else {}):
        ray = _imported()
        _OURS.append(address is None)
        if ray.is_initialized():
            raise StateError("this process is connected to Ray already", hint="shut it down first")
        local: dict[str, Any] = {
            "num_cpus": workers or os.cpu_count(), "include_dashboard": False, "object_store_memory": STORE,
        }  # fmt: skip
        try:
            ray.init(address=address or "local", log_to_driver=False, configure_logging=False,
                     **(local if address is None else {}))  # fmt: skip
        except (OSError, RuntimeError, ValueError) as error:
            raise StateError(f"Ray did not start: {error}", hint="ray's own logs lie under /tmp/ray") from error
        try:
            yield
        finally:
            ray.shutdown()


def on_ray(work: Call, numbers: Sequence[int]) -> Iterable[Path]:
    """The shards as they finish; a shard whose worker died is made again. Needs `connected`."""
    ray = _imported()
    remote: Any = ray.remote(max_retries=TRIES, num_cpus=1)(called)
    waiting = [remote.remote(work, number) for number in numbers]
    try:
        while waiting:
            current().check()
            done, waiting = ray.wait(waiting, num_returns=1, timeout=1.0)
            for one in done:
                yield _of(ray, one)
    finally:
        for one in waiting:
            ray.cancel(one, force=True)


def _of(ray: Any, reference: Any) -> Path:
    """The path of a finished shard. Raises the error of the shard."""
    try:
        path, error = ray.get(reference)
    except ray.exceptions.RayTaskError:
        raise  # a fault of the work itself
    except ray.exceptions.RayError as died:
        said = str(died).splitlines()[0][:300]
        raise StateError(
            f"{TRIES + 1} tries at one shard failed: {said}", hint="smaller shards, or more memory"
        ) from died
    if error is not None:
        raise HexarecError(error[0], hint=error[1])
    return Path(path)


def called(work: Call, number: int) -> tuple[str, tuple[str, str] | None]:
    """One shard on a worker: its path, or message and hint of the error that it raised on purpose."""
    try:
        return str(work(number)), None
    except HexarecError as error:
        return "", (error.message, error.hint)


def _imported() -> Any:
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingExtraError("ray", "scale") from error
    return ray


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """These environment variables, and afterwards those that were there before."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
