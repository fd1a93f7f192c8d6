import ast
import hashlib
import json
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

import hexarec
from hexarec.core import IdTable, OptionError, PerUser, StateError, load, manifest, save, state_digest, strings
from hexarec.core.state import class_named
from hexarec.lm.fake import Overlap
from hexarec.lm.open import open_encoder, open_lm


@dataclass
class Box:
    """A stage that holds anything."""

    option: Any = None
    other: Any = field(default_factory=list)


@pytest.fixture(autouse=True)
def loadable(monkeypatch):
    """The test's own stage under a name that saved state may load from."""
    monkeypatch.setitem(sys.modules, "hexarec.boxes", sys.modules[__name__])
    monkeypatch.setattr(Box, "__module__", "hexarec.boxes")


def resolve(kind, spec, options):
    return {"lm": open_lm, "encoder": open_encoder}[kind](spec, **options)


def back(thing, tmp_path):
    return load(save(thing, tmp_path / "saved"), resolve)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3),
    ),
    max_leaves=6,
)  # fmt: skip


@given(option=JSON, learned=JSON)
def test_plain_values_come_back_as_they_were_types_included(option, learned, tmp_path):
    box = Box(option)
    box.value_ = learned
    made = back(box, tmp_path)
    assert repr(made.option) == repr(option) and repr(made.value_) == repr(learned)


@given(
    dtype=st.sampled_from(["float32", "float64", "int8", "int32", "int64", "bool", "U3"]),
    shape=st.lists(st.integers(0, 3), max_size=3),
)
def test_arrays_come_back_with_dtype_and_shape(dtype, shape, tmp_path):
    box = Box()
    box.array_ = np.arange(int(np.prod(shape))).reshape(shape).astype(dtype)
    made = back(box, tmp_path).array_
    assert made.dtype == box.array_.dtype and made.shape == tuple(shape) and np.array_equal(made, box.array_)


def test_numbers_that_json_cannot_say_come_back():
    values = [float("nan"), float("inf"), -0.0, np.float32(0.1), np.int64(2**62), 5e-324]
    box = Box(values)
    made = save_and_load_here(box)
    assert [float(v).hex() for v in made.option[:1]] == ["nan"] and made.option[1] == np.inf
    assert (
        np.signbit(made.option[2]) and made.option[3] == float(np.float32(0.1)) and made.option[4:] == [2**62, 5e-324]
    )


def save_and_load_here(box):
    with tempfile.TemporaryDirectory() as folder:
        return load(save(box, Path(folder) / "x"), resolve)


def test_tables_sparse_matrices_sets_and_text_columns_come_back(tmp_path):
    box = Box({"a"}, [frozenset({"x", "y"})])
    box.table_ = PerUser.of(IdTable.of(["u", "v"], "k"), csr_array(np.eye(2, 3)))
    box.words_ = strings(["one", None, "漢\ud800"])
    made = back(box, tmp_path)
    assert made.option == {"a"} and made.other == [frozenset({"x", "y"})]
    assert made.table_.users.ids.tolist() == ["u", "v"] and made.table_.users.key == "k"
    assert np.array_equal(made.table_.values.toarray(), np.eye(2, 3)) and made.words_.tolist() == [
        "one",
        None,
        "漢\ud800",
    ]


def test_a_stage_that_two_others_hold_is_saved_once_and_comes_back_shared(tmp_path):
    shared = Box("shared")
    shared.big_ = np.zeros(10)
    made = back(Box(Box(shared), [shared]), tmp_path)
    assert made.option.option is made.other[0] and made.other[0].option == "shared"
    nodes = json.loads((tmp_path / "saved" / "nodes.json").read_text())
    assert len(nodes) == 3 and len(np.load(tmp_path / "saved" / "arrays.npz").files) == 1


def test_a_circle_of_stages_comes_back_as_a_circle(tmp_path):
    one, two = Box(), Box()
    one.next_, two.next_ = two, one
    made = back(one, tmp_path)
    assert made.next_.next_ is made


def test_a_model_is_saved_as_its_name_and_opened_again_once(tmp_path):
    made = back(Box(Overlap(), [Overlap(), open_encoder("tfidf")]), tmp_path)
    assert made.option.name == "fake:overlap" and made.option is made.other[0] and made.other[1].name == "tfidf-svd"


def test_a_model_comes_back_with_its_options(tmp_path):
    assert back(Box(open_lm("fake:position", strength=0.9)), tmp_path).option.strength == 0.9


def test_what_is_not_learned_is_not_saved(tmp_path):
    box = Box("o")
    box.kept_, box._cache = 1, object()
    made = back(box, tmp_path)
    assert made.kept_ == 1 and not hasattr(made, "_cache")


@pytest.mark.parametrize("bad", [object(), lambda: 1, b"bytes", np.array([object()]), {"deep": [object()]}])
def test_what_cannot_be_saved_is_refused_by_place_and_nothing_is_left_behind(bad, tmp_path):
    box = Box()
    box.thing_ = bad
    with pytest.raises(StateError, match=r"Box\.thing_"):
        save(box, tmp_path / "saved")
    assert list(tmp_path.iterdir()) == []


def test_saving_again_replaces_the_old_state_whole(tmp_path):
    save(Box("old"), tmp_path / "saved")
    save(Box("new"), tmp_path / "saved")
    assert load(tmp_path / "saved", resolve).option == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


def test_the_manifest_holds_hashes_and_what_the_caller_adds(tmp_path):
    about = manifest(save(Box(), tmp_path / "saved", {"name": "home"}))
    assert about["name"] == "home" and set(about["files"]) == {"nodes.json", "arrays.npz"} and about["format"] == 1


@pytest.mark.parametrize("name", ["nodes.json", "arrays.npz"])
def test_a_file_that_was_changed_is_refused(name, tmp_path):
    box = Box("x")
    box.array_ = np.arange(5)
    path = save(box, tmp_path / "saved") / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(StateError, match=f"{name} was changed or damaged"):
        load(tmp_path / "saved", resolve)


@pytest.mark.parametrize("name", ["nodes.json", "arrays.npz", "manifest.json"])
def test_a_file_that_is_gone_is_named(name, tmp_path):
    (save(Box(), tmp_path / "saved") / name).unlink()
    with pytest.raises(StateError, match=name):
        load(tmp_path / "saved", resolve)


def rewritten(path, change):
    """The manifest after a change, so that only what is behind the hashes is tested."""
    about = json.loads((path / "manifest.json").read_text())
    change(about)
    (path / "manifest.json").write_text(json.dumps(about))


def test_a_manifest_of_another_format_or_none_is_refused(tmp_path):
    path = save(Box(), tmp_path / "saved")
    rewritten(path, lambda about: about.update(format=99))
    with pytest.raises(StateError, match="format 99, not 1"):
        load(path, resolve)
    (path / "manifest.json").write_text("{")
    with pytest.raises(StateError, match="damaged"):
        manifest(path)
    with pytest.raises(StateError, match="does not exist"):
        manifest(tmp_path / "nowhere")
    with pytest.raises(StateError, match="no saved state"):
        manifest(tmp_path)


def test_a_manifest_cannot_point_outside_its_directory(tmp_path):
    path = save(Box(), tmp_path / "saved")
    rewritten(path, lambda about: about["files"].update({"../other": "0"}))
    with pytest.raises(StateError, match="does not name its two files"):
        load(path, resolve)


def with_class(path, name):
    """The saved stage under another class name, hashes made to fit."""
    nodes = json.loads((path / "nodes.json").read_text())
    nodes[0]["class"] = name
    (path / "nodes.json").write_text(json.dumps(nodes))
    digest = hashlib.sha256((path / "nodes.json").read_bytes()).hexdigest()
    rewritten(path, lambda about: about["files"].update({"nodes.json": digest}))
    return path


@pytest.mark.parametrize("name", ["subprocess:Popen", "os:system", "builtins:eval", "tests.core:Box", "hexarecx.a:B"])
def test_a_class_outside_the_allow_list_is_refused(name, tmp_path):
    with pytest.raises(StateError, match="refusing to load class"):
        load(with_class(save(Box(), tmp_path / "saved"), name), resolve)


@pytest.mark.parametrize("name", ["hexarec.core:rng", "hexarec.core:Catalog.of", "hexarec.core.cards:importlib"])
def test_what_is_no_stage_is_refused_even_inside(name, tmp_path):
    with pytest.raises(StateError, match="is not a stage"):
        load(with_class(save(Box(), tmp_path / "saved"), name), resolve)


@pytest.mark.parametrize("name", ["hexarec.nowhere:X", "hexarec.core:Nothing"])
def test_a_class_that_does_not_exist_here_is_named(name):
    with pytest.raises(StateError, match="does not exist here"):
        class_named(name)


def test_an_option_of_another_version_is_refused_by_name(tmp_path):
    path = save(Box(), tmp_path / "saved")
    nodes = json.loads((path / "nodes.json").read_text())
    nodes[0]["values"]["renamed"] = 1
    (path / "nodes.json").write_text(json.dumps(nodes))
    digest = hashlib.sha256((path / "nodes.json").read_bytes()).hexdigest()
    rewritten(path, lambda about: about["files"].update({"nodes.json": digest}))
    with pytest.raises((StateError, OptionError), match="renamed"):
        load(path, resolve)


def test_a_pickle_among_the_arrays_is_not_opened(tmp_path):
    box = Box()
    box.array_ = np.arange(3)
    path = save(box, tmp_path / "saved")
    np.savez(path / "arrays.npz", a0=np.array([{"evil": 1}], object))
    digest = hashlib.sha256((path / "arrays.npz").read_bytes()).hexdigest()
    rewritten(path, lambda about: about["files"].update({"arrays.npz": digest}))
    with pytest.raises(StateError, match="allow_pickle"):
        load(path, resolve)


def test_no_module_of_the_library_imports_something_that_runs_code_when_it_reads():
    banned, found = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}, []
    for path in Path(hexarec.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [(path.name, name) for name in names if name.partition(".")[0] in banned]
    assert found == []


def test_the_digest_sees_options_and_learned_state_alike():
    one, other, third = Box(1), Box(1), Box(2)
    assert state_digest(one) == state_digest(other) != state_digest(third)
    other.array_ = np.arange(3)
    digest = state_digest(other)
    assert digest != state_digest(one)
    other.array_[0] = 9
    assert state_digest(other) != digest


@pytest.mark.parametrize("text", ["not json", "", "[]", "{}", "[" * 5000, '[{"class": 5, "values": {}}]'])
def test_damaged_nodes_are_a_state_error_whatever_they_hold(text, tmp_path):
    path = save(Box(), tmp_path / "saved")
    (path / "nodes.json").write_text(text)
    digest = hashlib.sha256((path / "nodes.json").read_bytes()).hexdigest()
    rewritten(path, lambda about: about["files"].update({"nodes.json": digest}))
    with pytest.raises(StateError):
        load(path, resolve)


def test_saving_never_replaces_what_is_not_saved_state(tmp_path):
    folder, file = tmp_path / "folder", tmp_path / "file.csv"
    folder.mkdir()
    (folder / "precious.txt").write_text("keep")
    file.write_text("a,b")
    for target in (folder, file):
        with pytest.raises(StateError, match="would destroy it"):
            save(Box(), target)
    assert (folder / "precious.txt").read_text() == "keep" and file.read_text() == "a,b"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file.csv", "folder"]
