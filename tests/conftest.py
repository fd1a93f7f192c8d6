"""What holds for every test: no network beyond this machine, few threads, no fitted stage from another module."""

import gc
import ipaddress
import os
import socket

# two test cores are often shared; one thread each is much faster than two that wait for one another
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

os.environ.pop("COLUMNS", None)  # workers of pytest-xdist set it; tables of results are wide without it

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

from hexarec.core import aside  # noqa: E402
from hexarec.core.options import clear_memo  # noqa: E402
from hexarec.parts.encoded import forget_encoded  # noqa: E402

aside.write = lambda text: None  # what long work says belongs to no test's output

settings.register_profile(
    "hexarec", deadline=None, derandomize=True, max_examples=50, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip
settings.load_profile("hexarec")


def pytest_addoption(parser):
    """`pytest tests/golden --golden` writes the golden files anew."""
    parser.addoption("--golden", action="store_true", help="write the golden files anew instead of comparing")


def pytest_collection_finish():
    """What all modules and parameters hold stays until the end: no collection of garbage need look through it."""
    gc.collect()
    gc.freeze()


class NetworkForbidden(OSError):
    """A test reached for another machine."""


def is_local(address):
    """Whether a socket address stays on this machine: a path, or a loopback host."""
    if not isinstance(address, tuple):
        return True
    host = str(address[0])
    if host in ("localhost", ""):
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Connections to other machines raise instead of leaving."""

    def guarded(real):
        def connect(self, address):
            if not is_local(address):
                raise NetworkForbidden(f"tests must not connect to {address!r}")
            return real(self, address)

        return connect

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, guarded(getattr(socket.socket, name)))


@pytest.fixture(autouse=True, scope="module")
def nothing_fitted_before():
    """The memos of fitted stages and encoded texts start empty in every module."""
    clear_memo()
    forget_encoded()
    yield
    clear_memo()
    forget_encoded()
