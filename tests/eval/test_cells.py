import numpy as np
import pytest

from hexarec.core import Lists, run
from hexarec.eval.cells import Cell, CellStore


def lists(n=2):
    made = Lists.of("key", [[3, 1], [2]][:n], [[0.5, float("nan")], [1.0]][:n])
    return made.with_field("source", np.arange(len(made.items)))


def test_a_finished_cell_comes_back_as_it_was(tmp_path):
    noted = Lists(**{**vars(lists()), "notes": ({"parse": {"matched": 2}}, {})})
    cell = Cell("mine", 3, noted, 1.5, 2.5, {"calls": 1}, {"calls": 4, "cost": 0.25}, 1, {"weight": 0.5})
    CellStore(tmp_path).finish("k", cell)
    back = CellStore(tmp_path, resume=True).finished("k")
    assert (back.system, back.seed, back.degraded, back.facts) == ("mine", 3, 1, {"weight": 0.5})
    assert back.cost == {"calls": 4, "cost": 0.25} and back.fit_cost == {"calls": 1}
    assert back.lists.items.tolist() == [3, 1, 2] and back.lists.key == "key"
    assert np.array_equal(back.lists.scores, noted.scores, equal_nan=True)
    assert back.lists.fields["source"].tolist() == [0, 1, 2] and back.lists.notes == noted.notes


def test_nothing_is_taken_up_without_resume_and_nothing_kept_without_a_folder(tmp_path):
    cell = Cell("mine", 0, lists(), 0.0, 0.0, {}, {})
    CellStore(tmp_path).finish("k", cell)
    assert CellStore(tmp_path).finished("k") is None
    assert CellStore(tmp_path, resume=True).finished("other") is None
    nowhere = CellStore(None, resume=True)
    nowhere.finish("k", cell)
    nowhere.keep_block("k", 0, lists(), 1.0, 0)
    assert nowhere.finished("k") is None and nowhere.block("k", 0) is None


def test_blocks_keep_their_cost_until_the_cell_is_finished(tmp_path):
    store = CellStore(tmp_path)
    with run() as work:
        work.ledger.add(calls=3)
        store.keep_block("k", 0, lists(), 1.0, 0)
        work.ledger.add(calls=4)
        store.keep_block("k", 8, lists(), 2.0, 1)
    again = CellStore(tmp_path, resume=True)
    assert again.block("k", 0)[1:] == (1.0, 0) and again.block("k", 8)[1:] == (2.0, 1)
    assert again.block("k", 16) is None
    assert again.total_cost("k", {"calls": 5})["calls"] == 12
    again.finish("k", Cell("mine", 0, lists(), 0.0, 3.0, {}, {}))
    assert [path.name for path in (tmp_path / "cells").iterdir()] == ["k.npz"]


def test_a_damaged_cell_is_measured_again_and_named_when_read(tmp_path):
    from hexarec.core import DataError
    from hexarec.eval.cells import CellStore, _read

    (tmp_path / "cells").mkdir()
    for content in (b"", b"junk"):
        (tmp_path / "cells" / "k.npz").write_bytes(content)
        assert CellStore(tmp_path, resume=True).finished("k") is None
        try:
            _read(tmp_path / "cells" / "k.npz")
        except DataError as error:
            assert "k.npz" in str(error)
        else:
            raise AssertionError("a damaged cell was read")


def hurt(path, how):
    """A cell that is a whole zip file and does not fit, or one whose packed bytes were changed."""
    if how == "bytes":
        data = bytearray(path.read_bytes())
        at = data.index(b"about.npy") + 60
        data[at : at + 40] = bytes(one ^ 0x55 for one in data[at : at + 40])
        path.write_bytes(bytes(data))
        return
    with np.load(path) as file:
        columns = {name: file[name] for name in file.files}
    change = {
        "rows": {"items": columns["items"] + 100}, "negative": {"items": columns["items"] - 100},
        "offsets": {"offsets": columns["offsets"][:2]}, "scores": {"scores": columns["scores"][:1]},
        "order": {"offsets": columns["offsets"][::-1]}, "field": {"field:source": columns["field:source"][:1]},
    }[how]  # fmt: skip
    np.savez_compressed(path, **{**columns, **change})


@pytest.mark.parametrize("how", ["bytes", "rows", "negative", "offsets", "scores", "order", "field"])
def test_a_cell_that_does_not_fit_is_measured_again_and_said(tmp_path, how):
    CellStore(tmp_path).finish("k", Cell("mine", 0, lists(), 0.0, 0.0, {}, {}))
    hurt(tmp_path / "cells" / "k.npz", how)
    heard = []
    with run(emit=heard.append):
        assert CellStore(tmp_path, resume=True, n_items=4).finished("k") is None
    assert "k.npz" in heard[0]["text"] and "it is measured again" in heard[0]["text"]
