"""Bulk work by the command line: here, interrupted and resumed."""

import polars as pl
import pytest
from tests.cli.calls import call, fails, written
from tests.serve.jobs.vectors import letters
from tests.serve.processes import config

from hexarec.pipeline.save import load


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call("fit", "-c", written(tmp_path, config()), "--out", tmp_path / "model")
    return tmp_path / "model"


def test_lists_are_those_of_single_questions(model, tmp_path, data):
    said = call("batch", "recommend", model, "--out", "lists.parquet", "-k", 4, "--shard", 7, "--explain").stdout
    assert "lists of 60 of 60 users" in said
    table = pl.read_parquet("lists.parquet")
    assert table.columns == ["user_id", "rank", "item_id", "score", "reason", "degraded"]
    assert table["reason"].null_count() == 0 and table["degraded"].null_count() == len(table)
    pipeline = load(model, data)
    for row in (0, 31, 59):
        one = pipeline.recommend(data.queries([row]), 4).items[0]
        mine = table.filter(pl.col("user_id") == data.users.ids.ids[row])
        assert mine["item_id"].to_list() == data.catalog.ids(one.items)
        assert mine["score"].to_list() == pytest.approx(one.scores.tolist(), abs=1e-4)
    assert not (tmp_path / "lists.parquet.parts").exists()


def test_an_interrupted_run_goes_on_and_makes_nothing_twice(model, tmp_path, monkeypatch):
    from hexarec.serve.jobs.shards import RecommendShard

    real, made = RecommendShard.__call__, []

    def stops(self, number):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(number)
        return real(self, number)

    command = ("batch", "recommend", model, "--out", "lists.parquet", "--shard", 10)
    monkeypatch.setattr(RecommendShard, "__call__", stops)
    assert "stopped" in call(*command, code=130).stderr and made == [0, 1, 2]
    assert "--resume goes on with it" in fails(*command)
    assert "the unfinished run had other k" in fails(*command, "-k", 3, "--resume")
    made.clear()
    monkeypatch.setattr(RecommendShard, "__call__", lambda self, number: made.append(number) or real(self, number))
    call(*command, "--resume")
    assert made == [3, 4, 5]
    call("batch", "recommend", model, "--out", "whole.parquet", "--shard", 10)
    assert pl.read_parquet("lists.parquet").equals(pl.read_parquet("whole.parquet"))
    assert "exists" in fails(*command, "--resume")


def test_a_stage_that_fails_is_told(model, monkeypatch):
    from hexarec.classic import ItemKNN

    def fails_always(self, queries, k):
        raise RuntimeError("no neighbours today")

    monkeypatch.setattr(ItemKNN, "retrieve", fails_always)
    made = call("batch", "recommend", model, "--out", "lists.parquet")
    assert "degraded: retrieve ItemKNN: RuntimeError: no neighbours today" in made.stderr
    assert pl.read_parquet("lists.parquet")["degraded"].null_count() == 0


def test_vectors_and_enrichment(tmp_path, monkeypatch, data):
    monkeypatch.chdir(tmp_path)
    with letters() as (encoder, _):
        text = f'[data]\npath = "world:checkerboard"\n[use.e]\nencoder = "{encoder}"\n[use.t]\nuse = "frozen_encoder"\n'
        text += 'encoder = "@e"\ndim = 4\n[[enrich]]\nuse = "@t"\n[[retrieve]]\nuse = "@t"\n'
        call("fit", "-c", written(tmp_path, text), "--out", "model")
        call("batch", "embed", "model", "--out", "v.parquet", "--encoder", encoder, "--shard", 5)
        call("batch", "enrich", "model", "--out", "e.parquet", "--shard", 5)
        call("batch", "enrich", "model", "--out", "whole.parquet")
    vectors, enriched = pl.read_parquet("v.parquet"), pl.read_parquet("e.parquet")
    assert vectors["item_id"].to_list() == enriched["item_id"].to_list() == data.catalog.items.ids.tolist()
    (column,) = enriched.columns[1:]
    assert column.startswith("feature:text:") and enriched[column].null_count() == 0
    assert enriched.equals(pl.read_parquet("whole.parquet"))


def test_options_that_do_not_fit_are_refused(model, monkeypatch):
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    command = ("batch", "recommend", model, "--out", "x.parquet")
    assert "are for --engine ray" in fails(*command, "--workers", 2)
    assert "without token authentication" in fails(*command, "--engine", "ray", "--address", "127.0.0.1:6379")
    assert "its own workers" in fails(*command, "--engine", "ray", "--address", "127.0.0.1:6379", "--workers", 1)
    assert "enriches nothing" in fails("batch", "enrich", model, "--out", "y.parquet")
    assert "learns from all texts" in fails("batch", "embed", model, "--out", "z.parquet", "--encoder", "tfidf")


def test_without_ray_the_extra_is_named(model, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    said = fails("batch", "recommend", model, "--out", "x.parquet", "--engine", "ray")
    assert "'ray'" in said and "hexarec[scale]" in said
