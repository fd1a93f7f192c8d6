"""Faults of this machine, as context managers for tests: a process, a file, a disk, a thread fails."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hexarec.core import OptionError
from hexarec.testing.stub.registry import fault, named

_DYING = """
import os, resource, signal, socket
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
connection, _ = server.accept()
connection.recv(65536)
connection.sendall(b"HTTP/1.1 200 OK\\r\\ncontent-length: 1000\\r\\n\\r\\n{")
%s
"""
_KILLED = "os.kill(os.getpid(), signal.SIGKILL)"
_STARVED = """
resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))
held = []
while True:
    held.append(bytearray(1 << 24))
"""


def injected(name: str, folder: Path) -> Any:
    """Do a fault of this machine while the context lasts; what it gives is the url, model name or tape at fault.

    Raises OptionError for a fault that a server shows.
    """
    found = named(name)
    if found.where != "machine":
        raise OptionError(f"{name} is a fault of the server", hint=f"with Stub([{name!r}]) as stub: ...")
    return found.act(folder)


@contextlib.contextmanager
def _dying(how: str) -> Iterator[str]:
    command = [sys.executable, "-I", "-S", "-c", _DYING % how]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
    finally:
        process.kill()
        process.communicate()


@fault("machine.worker_killed", "the process of the model is killed in the middle of an answer", "machine", gives="url")
def worker_killed(folder: Path) -> Any:
    """A server of its own that kills itself when it is asked."""
    return _dying(_KILLED)


@fault("machine.worker_oom", "the process of the model runs out of memory", "machine", gives="url")
def worker_oom(folder: Path) -> Any:
    """A server of its own that may have 256 MB and takes more when it is asked."""
    return _dying(_STARVED)


@fault("machine.gguf_missing", "the file of the model is gone", "machine", gives="model")
@contextlib.contextmanager
def gguf_missing(folder: Path) -> Iterator[str]:
    """A name of no file."""
    yield f"gguf:{folder / 'gone.gguf'}"


@fault("machine.gguf_truncated", "the file of the model ends early", "machine", gives="model")
@contextlib.contextmanager
def gguf_truncated(folder: Path) -> Iterator[str]:
    """The first bytes of a GGUF file."""
    (folder / "cut.gguf").write_bytes(b"GGUF\x03\x00\x00\x00" + (1000).to_bytes(8, "little") * 2)
    yield f"gguf:{folder / 'cut.gguf'}"


@fault("machine.gguf_wrong_hash", "the file of the model is another one", "machine", gives="model")
@contextlib.contextmanager
def gguf_wrong_hash(folder: Path) -> Iterator[str]:
    """A models directory with a wrong file under the right name."""
    from hexarec.lm.models import REGISTRY

    weights = folder / "models" / "smollm2" / REGISTRY["smollm2"].weights
    weights.parent.mkdir(parents=True, exist_ok=True)
    weights.write_bytes(b"GGUF, but not the one")
    before = os.environ.get("HEXAREC_MODELS")
    os.environ["HEXAREC_MODELS"] = str(folder / "models")
    try:
        yield "gguf:smollm2"
    finally:
        os.environ.pop("HEXAREC_MODELS")
        if before is not None:
            os.environ["HEXAREC_MODELS"] = before


@fault("machine.disk_full", "the disk of the cache is full", "machine", gives="tape", harmless=True)
@contextlib.contextmanager
def disk_full(folder: Path) -> Iterator[str]:
    """A tape on a device that is always full. Raises OptionError where the system has none."""
    if not Path("/dev/full").exists():
        raise OptionError("this system has no /dev/full", hint="run this fault on Linux")
    (folder / "full.jsonl").symlink_to("/dev/full")
    yield str(folder / "full.jsonl")


@fault("machine.cache_corrupt", "the file of the cache is damaged", "machine", gives="tape", harmless=True)
@contextlib.contextmanager
def cache_corrupt(folder: Path) -> Iterator[str]:
    """A tape of one old answer, random bytes, half lines and JSON of other shapes."""
    old = (
        b'{"key": "old", "value": {}}\n'  # without it the file would be somebody else's, and refused when it is opened
    )
    (folder / "bad.jsonl").write_bytes(old + b'\x00\xff\n{"key": 1}\n[]\n{"key": "a", "val' + bytes(range(256)))
    yield str(folder / "bad.jsonl")


@fault("machine.no_threads", "no more threads can be started", "machine")
@contextlib.contextmanager
def no_threads(folder: Path) -> Iterator[str]:
    """Every start of a thread of this process fails while the context lasts."""
    real = threading.Thread.start

    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    threading.Thread.start = start  # type: ignore[method-assign]
    try:
        yield ""
    finally:
        threading.Thread.start = real  # type: ignore[method-assign]
