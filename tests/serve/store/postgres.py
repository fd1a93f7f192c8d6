"""A PostgreSQL server of our own for one test session, on a free port, in a temporary folder."""

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

BINARIES = Path("/usr/lib/postgresql/15/bin")


class Unavailable(Exception):
    """Why there is no server."""


def in_memory(room=2**28):
    """A folder whose files live in memory, None where there is none with so much room."""
    memory = Path("/dev/shm")
    return memory if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > room else None


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def as_postgres(*command):
    """Run a command as the user postgres, whom the server insists on when we are root."""
    prefix = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    return subprocess.run([*prefix, *command], capture_output=True, text=True, timeout=60, cwd="/tmp")


class Server:
    """initdb, start, stop. It syncs: what it promises is what we test."""

    def __init__(self):
        if not (BINARIES / "initdb").exists():
            raise Unavailable(f"no PostgreSQL at {BINARIES}")
        self.folder = Path(tempfile.mkdtemp(prefix="hexarec-pg-", dir=in_memory(2**30)))
        self.port = free_port()
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        made = as_postgres(
            str(BINARIES / "initdb"), "-D", self.data, "-U", "hexarec", "-A", "trust", "-E", "UTF8", "--no-sync"
        )
        if made.returncode:
            raise Unavailable(made.stderr[-300:])
        self.start()

    @property
    def data(self):
        return str(self.folder / "data")

    def start(self):
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c shared_buffers=32MB"
        log = str(self.folder / "log")
        made = as_postgres(str(BINARIES / "pg_ctl"), "-D", self.data, "-o", options, "-l", log, "-w", "start")
        if made.returncode:
            raise Unavailable(made.stdout[-300:] + made.stderr[-300:])

    def stop(self, mode="fast"):
        as_postgres(str(BINARIES / "pg_ctl"), "-D", self.data, "-m", mode, "-w", "stop")

    def close(self):
        self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database):
        return f"postgresql+psycopg://hexarec@127.0.0.1:{self.port}/{database}"

    def create(self, database, encoding="UTF8"):
        """The URL of a new database, whose own order of texts is not that of code points."""
        order = "LOCALE_PROVIDER icu ICU_LOCALE 'en'" if encoding == "UTF8" else ""
        with self.connect("postgres") as one:
            one.execute(f"CREATE DATABASE {database} ENCODING '{encoding}' LOCALE 'C' {order} TEMPLATE template0")
        return self.url(database)

    def connect(self, database):
        import psycopg

        return psycopg.connect(f"host=127.0.0.1 port={self.port} user=hexarec dbname={database}", autocommit=True)
