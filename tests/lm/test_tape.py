import os
import resource
import signal

import pytest

from hexarec.core.errors import StateError
from hexarec.lm.tape import Lines, open_tape


@pytest.mark.parametrize("name", [None, "a.jsonl", "a.sqlite"])
def test_a_tape_is_a_map(tmp_path, name):
    path = None if name is None else tmp_path / "sub" / name
    tape = open_tape(path, writable=True)
    assert tape.get("k") is None
    tape.put("k", {"a": [1, None, "\ud800é"]})
    tape.put("k", [2])
    tape.put("l", {"text": "\ud800é\n"})
    assert tape.get("k") == [2] and tape.get("l") == {"text": "\ud800é\n"}
    if path is not None:
        again = open_tape(path, writable=False)
        assert again.get("k") == [2] and again.get("l") == {"text": "\ud800é\n"} and again.damaged == 0


def test_a_missing_tape_cannot_be_read(tmp_path):
    with pytest.raises(StateError):
        open_tape(tmp_path / "none.jsonl", writable=False)


def test_a_tape_is_private(tmp_path):
    open_tape(tmp_path / "a.jsonl", writable=True).put("k", 1)
    assert os.stat(tmp_path / "a.jsonl").st_mode & 0o077 == 0


def test_a_full_disk_costs_entries_not_answers(tmp_path):
    tape = Lines(tmp_path / "a.jsonl", True)
    tape.put("first", "x" * 50)
    old, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, old[1]))
        tape.put("second", "y" * 50)
        tape.put("third", "z" * 50)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    tape.put("fourth", "w")
    assert tape.lost == 2 and tape.get("second") == "y" * 50
    again = Lines(tmp_path / "a.jsonl", False)
    assert again.get("first") == "x" * 50 and again.get("fourth") == "w" and again.get("second") is None
