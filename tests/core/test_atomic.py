"""A file or folder is there whole, or as it was before."""

from pathlib import Path

import pytest

from hexarec.core.atomic import atomic_file, atomic_folder, replace_directory, write_text


def test_a_file_is_replaced_when_the_block_ends(tmp_path):
    place = write_text(tmp_path / "new" / "one.txt", "电影")
    with atomic_file(place) as part:
        part.write_text("half")
        assert part.name == "one.txt" and place.read_text("utf-8") == "电影"
        assert list(place.parent.glob("*.txt")) == [place]
    assert place.read_text() == "half" and [one.name for one in place.parent.iterdir()] == ["one.txt"]


def test_after_an_error_the_old_file_is_there_and_nothing_else(tmp_path):
    place = write_text(tmp_path / "one.txt", "old")
    with pytest.raises(KeyboardInterrupt), atomic_file(place) as part:
        part.write_text("half")
        raise KeyboardInterrupt
    with pytest.raises(UnicodeEncodeError):
        write_text(place, "new \ud800")
    assert place.read_text() == "old" and list(tmp_path.iterdir()) == [place]


def test_a_folder_is_replaced_with_all_that_it_held(tmp_path):
    place = tmp_path / "kept"
    for name in ("one", "two"):
        with atomic_folder(place) as part:
            (part / name).touch()
    assert [one.name for one in place.iterdir()] == ["two"] and list(tmp_path.iterdir()) == [place]
    assert place.stat().st_mode & 0o777 == 0o755


def test_after_an_error_the_old_folder_is_there_and_nothing_else(tmp_path):
    place = tmp_path / "kept"
    with atomic_folder(place) as part:
        (part / "one").touch()
    with pytest.raises(KeyboardInterrupt), atomic_folder(place) as part:
        (part / "two").touch()
        raise KeyboardInterrupt
    assert [one.name for one in place.iterdir()] == ["one"] and list(tmp_path.iterdir()) == [place]


def test_a_folder_that_somebody_else_made_meanwhile_is_replaced(tmp_path):
    place = tmp_path / "kept"
    with atomic_folder(place) as part:
        (part / "mine").touch()
        place.mkdir()
        (place / "theirs").touch()
    assert [one.name for one in place.iterdir()] == ["mine"] and list(tmp_path.iterdir()) == [place]


def test_a_move_that_is_broken_off_leaves_the_old_one_in_its_place(tmp_path, monkeypatch):
    for name in ("kept", ".new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "what").write_text(name)
    real = Path.rename

    def rename(self, target):
        if self.name == ".new":
            raise KeyboardInterrupt
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(KeyboardInterrupt):
        replace_directory(tmp_path / ".new", tmp_path / "kept")
    assert (tmp_path / "kept" / "what").read_text() == "kept"
    assert sorted(one.name for one in tmp_path.iterdir()) == [".new", "kept"]
