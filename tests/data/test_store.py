import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hexarec.core import (
    KINDS,
    Catalog,
    DataError,
    Dataset,
    Dialogue,
    Features,
    IdTable,
    Interactions,
    Item,
    Message,
    Users,
    atomic,
    strings,
)
from hexarec.data import store
from hexarec.data.store import is_dataset, open_data, read_dataset, write_dataset

from .makers import log_of, write
from .test_packing import shown

words = st.text(max_size=12)
ids = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=6, unique=True)
values = st.one_of(
    st.none(), words, st.booleans(), st.tuples(words, words), st.floats(allow_nan=False), st.integers(-9, 9)
)
finite = st.floats(-1e12, 1e12)


@st.composite
def datasets(draw):
    items, users = draw(ids), draw(ids)
    columns = draw(st.dictionaries(words, st.lists(values, min_size=len(items), max_size=len(items)), max_size=3))
    catalog = Catalog.of(
        [Item(one, draw(words), draw(words)) for one in items], lang=draw(st.sampled_from(["en", "zh"]))
    )
    catalog = replace(
        catalog,
        attributes={name: strings(column) for name, column in columns.items()} | {"#": np.linspace(0, 1, len(items))},
        text={("title", "zh"): strings(draw(st.lists(st.none() | words, min_size=len(items), max_size=len(items))))},
        provenance={"title": {"maker": draw(words)}},
        alive=np.array(draw(st.lists(st.booleans(), min_size=len(items), max_size=len(items)))),
        since=np.array(draw(st.lists(st.just(-np.inf) | finite, min_size=len(items), max_size=len(items)))),
    )
    n = draw(st.integers(0, 8))

    def column(what):
        return draw(st.lists(what, min_size=n, max_size=n))

    log = Interactions.of(
        {
            "user": column(st.integers(0, len(users) - 1)), "item": column(st.integers(0, len(items) - 1)),
            "time": column(finite), "kind": column(st.integers(0, len(KINDS) - 1)),
            "value": column(st.floats(width=32, allow_nan=True)), "liked": column(st.booleans()),
            "source": column(st.integers(0, 1)), "sources": ("log", "sim:x"),
            "text": strings(column(st.none() | words)),
        },
        len(users), clock=draw(st.booleans()), like_rule="value >= 4",
    )  # fmt: skip
    people = Users(IdTable.of(users), {"age": np.arange(len(users)) / 3, "job": strings([None] * len(users))})
    tables = {"e/5": Features(np.ones((len(items), 2), np.float32), np.ones(len(items), bool), {"model": draw(words)})}
    talk = (Dialogue((Message("user", draw(words), ("x",)),), {"likes": [1]}, None),) if draw(st.booleans()) else ()
    return Dataset(catalog, log, people, name=draw(words), dialogues=talk, features=tables,
                   simulated=draw(st.booleans()), meta={"a": draw(words)})  # fmt: skip


def same(a: Dataset, b: Dataset) -> None:
    assert a.key == b.key and (a.name, a.simulated, a.dialogues, dict(a.meta)) == (
        b.name,
        b.simulated,
        b.dialogues,
        dict(b.meta),
    )
    assert (a.catalog.key, a.catalog.lang, a.catalog.provenance) == (
        b.catalog.key,
        b.catalog.lang,
        b.catalog.provenance,
    )
    for name in ("titles", "texts", "alive", "since"):
        np.testing.assert_array_equal(getattr(a.catalog, name), getattr(b.catalog, name))
    assert list(a.catalog.attributes) == list(b.catalog.attributes) and list(a.catalog.text) == list(b.catalog.text)
    pairs = [
        (a.catalog.attributes, b.catalog.attributes),
        (a.catalog.text, b.catalog.text),
        (a.users.attributes, b.users.attributes),
    ]
    for ours, theirs in pairs:
        for name in ours:
            assert ours[name].dtype == theirs[name].dtype
            np.testing.assert_array_equal(ours[name], theirs[name])
    log, other = a.interactions, b.interactions
    assert (log.clock, log.like_rule, log.sources) == (other.clock, other.like_rule, other.sources)
    for name in ("user", "item", "time", "kind", "value", "liked", "weight", "source", "offsets", "text"):
        ours, theirs = getattr(log, name), getattr(other, name)
        assert (ours is None) == (theirs is None)
        if ours is not None:
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs)
    for name, table in a.features.items():
        np.testing.assert_array_equal(table.rows, b.features[name].rows)
        assert table.provenance == b.features[name].provenance


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=datasets())
def test_what_is_written_is_read(tmp_path, data):
    write_dataset(data, tmp_path / "d")
    same(data, read_dataset(tmp_path / "d"))


def test_exposures_are_stored(tmp_path):
    data = log_of([(0, 0, 1, 5), (0, 1, 2, 3), (1, 2, 2, 4)], 3, 4)
    data = replace(data, exposures=shown(data))
    write_dataset(data, tmp_path / "d")
    back = read_dataset(tmp_path / "d")
    assert back.exposures.shown.items.tolist() == data.exposures.shown.items.tolist()


DATA = log_of([(0, 0, 1), (0, 1, 2), (1, 0, 5)], 2, 2)


@pytest.mark.parametrize("name", ["events.parquet", "items.parquet", "users.parquet"])
def test_a_changed_or_missing_file_is_refused(tmp_path, name):
    write_dataset(DATA, tmp_path / "d")
    file = tmp_path / "d" / name
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(DataError, match="was changed"):
        read_dataset(tmp_path / "d")
    file.unlink()
    with pytest.raises(DataError, match="missing"):
        read_dataset(tmp_path / "d")


@pytest.mark.parametrize(
    "hurt",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("format = 1", "format = 2"),
        lambda text: text.replace("clock", "cl\0ck"),
        lambda text: text.replace('[files."events.parquet"]', '[files."../../x"]'),
        lambda text: text.replace('\\"key\\"', '\\"kee\\"'),
    ],
)
def test_a_damaged_description_is_refused(tmp_path, hurt):
    write_dataset(DATA, tmp_path / "d")
    about = tmp_path / "d" / "dataset.toml"
    about.write_text(hurt(about.read_text()))
    with pytest.raises(DataError):
        read_dataset(tmp_path / "d")


def test_an_interrupted_write_leaves_the_old_one(tmp_path, monkeypatch):
    write_dataset(DATA, tmp_path / "d")
    before = {p.name: p.read_bytes() for p in (tmp_path / "d").iterdir()}

    def stop(*_):
        raise KeyboardInterrupt

    for where, name in ((store, "_sha256"), (atomic, "replace_directory"), (store, "_write_tables")):
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(where, name, stop)
            write_dataset(replace(DATA, name="other"), tmp_path / "d")
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(where, name, stop)
            write_dataset(DATA, tmp_path / "new")
    assert {p.name: p.read_bytes() for p in (tmp_path / "d").iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["d"]
    assert read_dataset(tmp_path / "d").name == "tiny"


def test_something_else_is_never_replaced(tmp_path):
    write(tmp_path / "home", "thesis.txt", "x")
    for target in (tmp_path / "home", tmp_path / "home" / "thesis.txt"):
        with pytest.raises(DataError, match="is no data set"):
            write_dataset(DATA, target)
    (tmp_path / "empty").mkdir()
    write_dataset(DATA, tmp_path / "empty")
    assert is_dataset(tmp_path / "empty") and not is_dataset(tmp_path / "home")


def test_what_cannot_be_stored_leaves_nothing(tmp_path):
    with pytest.raises(DataError, match="cannot be stored"):
        write_dataset(replace(DATA, meta={"x": object()}), tmp_path / "d")
    assert list(tmp_path.iterdir()) == []


def test_open_data(tmp_path):
    path = write_dataset(DATA, tmp_path / "stored")
    assert open_data(path).key == DATA.key
    with pytest.raises(DataError, match="takes no options"):
        open_data(path, like=">= 1")
    raw = write(tmp_path, "raw.csv", "user,item,time,value\na,x,1700000000,1\n")
    assert open_data(str(raw), like=">= 2").interactions.liked.tolist() == [False]
    assert open_data("world:checkerboard").simulated
    with pytest.raises(DataError, match="did you mean 'films'"):
        open_data("film")
    with pytest.raises(DataError, match="stored"):
        open_data(tmp_path / "storde")


def test_the_description_says_what_is_inside(tmp_path):
    about = store.about_dataset(write_dataset(DATA, tmp_path / "d"))
    assert about["counts"] == {"users": 2, "items": 2, "events": 3} and about["like_rule"] == "every event"
    assert len(about["files"]["events.parquet"]["sha256"]) == 64 and json.loads(about["meta"]) == {}
    shutil.rmtree(tmp_path / "d")
    with pytest.raises(DataError, match="no stored data set"):
        store.about_dataset(tmp_path / "d")


def test_a_full_disk_is_said_and_leaves_the_old_one(tmp_path, monkeypatch):
    import polars as pl

    data = log_of([(0, 0, 1)], 1, 2)
    write_dataset(data, tmp_path / "d")

    def full(*_):
        raise pl.exceptions.ComputeError("parquet: underlying IO error: No space left on device (os error 28)")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", full)
    with pytest.raises(DataError, match="No space left on device") as caught:
        write_dataset(log_of([(0, 1, 1)], 1, 2), tmp_path / "d")
    assert str(tmp_path / "d") in str(caught.value) and "free space" in caught.value.hint
    assert [one.name for one in tmp_path.iterdir()] == ["d"]
    assert read_dataset(tmp_path / "d").key == data.key
