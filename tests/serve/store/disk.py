"""What a disk may hold after the power failed: every change that was synced, and any part of those that were not."""

import os
import struct
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

WRITE, SYNC, TRUNCATE, MARK, UNLINK = 1, 2, 4, 16, 32
SECTOR = 512


def read_journal(file):
    """(kind, path, offset or size or number, bytes) of every change, in order."""
    data, at = Path(file).read_bytes(), 0
    while at < len(data):
        kind, named, offset, length = struct.unpack_from("4q", data, at)
        at += 32
        path = data[at : at + named].decode()
        at += named
        yield kind, path, offset, data[at : at + length]
        at += length


@dataclass
class File:
    """What is certain of one file, and what was written since its last sync."""

    durable: bytearray = field(default_factory=bytearray)
    waiting: list = field(default_factory=list)

    def change(self, kind, offset, data):
        if kind == SYNC:
            for one in self.waiting:
                apply(self.durable, *one)
            self.waiting = []
        else:
            self.waiting.append((kind, offset, data))

    def after_failure(self, draws):
        """The bytes with each waiting change kept, dropped, or torn into sectors of which some are kept."""
        found = bytearray(self.durable)
        keep = draws.random()  # some failures lose nearly all, some nearly nothing
        for kind, offset, data in self.waiting:
            if kind == TRUNCATE or draws.random() < 0.5:
                if draws.random() < keep:
                    apply(found, kind, offset, data)
                continue
            for start in range(0, len(data), SECTOR):
                if draws.random() < keep:
                    apply(found, WRITE, offset + start, data[start : start + SECTOR])
        return bytes(found)


def apply(found, kind, offset, data):
    if kind == TRUNCATE:
        del found[offset:]
        found.extend(bytes(max(0, offset - len(found))))
        return
    found.extend(bytes(max(0, offset + len(data) - len(found))))
    found[offset : offset + len(data)] = data


def failures(journal, draws, count):
    """`count` disks: (the last mark that had passed, {file name: bytes}), the power failing at random changes."""
    changes = [one for one in journal if not one[1].endswith("-shm")]
    moments = sorted(int(n) for n in draws.integers(1, len(changes) + 1, count))
    files, mark, done = defaultdict(File), 0, 0
    for moment in moments:
        for kind, path, offset, data in changes[done:moment]:
            if kind == MARK:
                mark = offset
            elif kind == UNLINK:  # SQLite syncs the folder after it
                files.pop(os.path.basename(path), None)
            elif path:
                files[os.path.basename(path)].change(kind, offset, data)
        done = moment
        yield mark, {name: file.after_failure(draws) for name, file in files.items()}
