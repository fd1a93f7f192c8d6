"""Stores of both kinds. `shelf` is a fresh tenant of a shared store; `url` is a fresh, empty database."""

import itertools
import multiprocessing
import shutil
import tempfile
from pathlib import Path

import pytest
from tests.serve.store.postgres import Server, Unavailable, in_memory

from hexarec.serve.store.open import open_store

COUNTER = itertools.count(1)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, now=1_000_000.0):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture(scope="session")
def postgres():
    try:
        server = Server()
    except Unavailable as why:
        pytest.skip(f"no PostgreSQL server: {why}")
    yield server
    server.close()


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def backend(request):
    return request.param


@pytest.fixture(scope="session")
def clock():
    return Clock()


@pytest.fixture(scope="session")
def shared(backend, request, tmp_path_factory, clock):
    if backend == "sqlite":
        url = (
            Path(tempfile.mkdtemp(prefix="hexarec-", dir=in_memory() or tmp_path_factory.mktemp("store"))) / "shared.db"
        )
    else:
        url = request.getfixturevalue("postgres").create(f"shared{next(COUNTER)}")
    store = open_store(url, clock=clock)
    yield store
    store.close()
    if backend == "sqlite":
        shutil.rmtree(url.parent)


@pytest.fixture
def shelf(shared, clock):
    clock.now = 1_000_000.0
    return shared.of(f"t{next(COUNTER)}")


@pytest.fixture(scope="session")
def processes():
    """Clean processes, forked from one that has imported the store and nothing else."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.serve.store.lives", "alembic.command", "alembic.config"])
    return context


@pytest.fixture
def folder(tmp_path):
    """A folder in memory where there is one, for what asks for the order of the calls and not for the disk."""
    own = Path(tempfile.mkdtemp(prefix="hexarec-", dir=in_memory() or tmp_path))
    yield own
    shutil.rmtree(own, ignore_errors=True)


@pytest.fixture
def url(backend, request, folder):
    if backend == "sqlite":
        return folder / "store.db"
    return request.getfixturevalue("postgres").create(f"own{next(COUNTER)}")
