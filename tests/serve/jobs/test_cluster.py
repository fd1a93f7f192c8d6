"""Shards on a real Ray of this machine: loopback and token, equal results, a killed worker, another start."""

import importlib.util
import os
from pathlib import Path

import pytest
from tests.serve.jobs.stages import DyingShard, RefusingShard
from tests.serve.jobs.vectors import letters
from tests.serve.processes import SOURCE

from hexarec.core import MissingExtraError, OptionError
from hexarec.core.errors import HexarecError
from hexarec.data.store import write_dataset
from hexarec.pipeline import make
from hexarec.pipeline.save import save
from hexarec.serve.jobs.cluster import connected, on_ray
from hexarec.serve.jobs.enrich import as_table, enriched
from hexarec.serve.jobs.shards import EmbedShard, RecommendShard, joined, through

ROOT = str(Path(__file__).resolve().parents[3])


@pytest.fixture(scope="module")
def ray():
    """A cluster of two workers, whose workers find the code and the classes above."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("ray is not installed")
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([SOURCE, ROOT])
    try:
        with connected(2):
            yield
    except HexarecError as error:
        pytest.skip(f"ray cannot start here: {error.message}")
    finally:
        os.environ.pop("PYTHONPATH") if before is None else os.environ.__setitem__("PYTHONPATH", before)


@pytest.fixture(scope="module")
def saved(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("saved")
    write_dataset(data, folder / "data")
    save(
        make({"retrieve": [{"use": "itemknn"}, {"use": "popular"}], "explain": {"use": "because"}}).fit(data),
        folder / "model",
    )
    return folder


def listening():
    """Addresses that Ray's processes listen on."""
    mine = set()
    for place in Path("/proc").glob("[0-9]*"):
        try:
            name = (place / "cmdline").read_bytes()
            if b"/ray/" in name or b"ray::" in name:
                mine |= {os.readlink(one) for one in (place / "fd").iterdir()}
        except OSError:
            continue
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in mine:
                found.add(words[1].split(":")[0])
    return found


def test_the_cluster_listens_on_loopback_and_asks_for_a_token(ray):
    assert os.environ["RAY_AUTH_MODE"] == "token" and len(os.environ["RAY_AUTH_TOKEN"]) == 64
    heard = listening()
    assert heard and heard <= {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}, (
        heard
    )


def test_lists_are_equal_and_a_killed_worker_costs_one_more_try(ray, saved, data, tmp_path):
    (tmp_path / "notes").mkdir()
    fields = {"data": str(saved / "data"), "size": 20, "pipeline": str(saved / "model"), "n": 5, "explain": True}
    here = joined(through(RecommendShard(out=str(tmp_path / "here"), **fields), data.n_users), tmp_path / "a.parquet")
    work = DyingShard(out=str(tmp_path / "there"), notes=str(tmp_path / "notes"), **fields)
    there = joined(through(work, data.n_users, on_ray), tmp_path / "b.parquet")
    assert here.equals(there) and there["user_id"].n_unique() == data.n_users
    tries = [int(one.name.partition("-")[0]) for one in (tmp_path / "notes").iterdir()]
    assert sorted(tries) == [0, 1, 1, 2]
    for name in ("000000", "000002"):
        (tmp_path / "there" / f"{name}.parquet").unlink()
    assert joined(through(work, data.n_users, on_ray), tmp_path / "c.parquet").equals(here)
    tries = [int(one.name.partition("-")[0]) for one in (tmp_path / "notes").iterdir()]
    assert sorted(tries) == [0, 0, 1, 1, 2, 2], "a second start makes only what is missing"
    assert not list((tmp_path / "there").glob("*.part"))


def test_vectors_and_enrichment_are_equal(ray, saved, data, tmp_path):
    with letters() as (encoder, _):
        fields = {"data": str(saved / "data"), "size": 9, "encoder": encoder}
        here = joined(through(EmbedShard(out=str(tmp_path / "a"), **fields), data.n_items), tmp_path / "a.parquet")
        there = joined(
            through(EmbedShard(out=str(tmp_path / "b"), **fields), data.n_items, on_ray), tmp_path / "b.parquet"
        )
        assert here.equals(there) and len(here) == data.n_items
        config = {"use": {"e": {"encoder": encoder}, "t": {"use": "frozen_encoder", "encoder": "@e"}},
                  "enrich": [{"use": "@t"}], "retrieve": [{"use": "@t"}]}  # fmt: skip
        stages = make(config).enrich_by
        first = as_table(enriched(data, stages, tmp_path / "first", shard=9))
        second = as_table(enriched(data, stages, tmp_path / "second", shard=9, each=on_ray))
        assert first.equals(second) and len(first.columns) == 2


def test_an_error_raised_on_purpose_arrives_as_it_was(ray, saved, tmp_path):
    with pytest.raises(HexarecError, match="this shard refuses\n  -> take another"):
        through(RefusingShard(str(saved / "data"), str(tmp_path), 20), 40, on_ray)


def test_a_cluster_without_token_is_not_joined(monkeypatch):
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with pytest.raises(OptionError, match="without token authentication"), connected(address="127.0.0.1:1"):
        raise AssertionError


def test_without_ray_the_extra_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match="ray"), connected(1):
        raise AssertionError
