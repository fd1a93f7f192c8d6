"""Runs beside the store, and talks that nobody can reach: both are gone when they must be."""

import pytest

from hexarec.classic import ItemKNN
from hexarec.core.atomic import PARTS
from hexarec.data.worlds import world
from hexarec.eval.experiment import Experiment
from hexarec.eval.tasks import Ranking
from hexarec.serve.erase import erased
from hexarec.serve.jobs.files import folder_of
from hexarec.serve.settings import OF_PAGE
from serve.conftest import backend_over


def test_an_erasure_takes_lists_out_of_runs_beside_the_store_and_leaves_the_report(tmp_path):
    data = world("checkerboard").data
    backend = backend_over(tmp_path / "home", data)
    tenant = backend.service.tenant()
    folder = tmp_path / "home" / "runs" / "one"
    Experiment(Ranking(data, "last"), {"knn": ItemKNN()}, k=5).run(folder)
    assert list((folder / "cells").iterdir())
    assert erased(tenant, "somebody else")["runs beside"] == 0 and (folder / "cells").is_dir()
    assert erased(tenant, str(data.users.ids.ids[0]))["runs beside"] == 1
    assert not (folder / "cells").exists() and (folder / "report.json").is_file()


def test_talks_without_a_user_end_when_they_have_rested_long(tmp_path):
    shelf = backend_over(tmp_path / "home", world("checkerboard").data).service.tenant().shelf
    for id, user in ((f"{OF_PAGE}one", None), (f"{OF_PAGE}two", "u1"), ("other", None)):
        shelf.put_dialogue(id, user, {"turns": []})
    assert shelf.sweep_dialogues(0.0) == 0
    assert shelf.sweep_dialogues(1e12) == 2
    kept = [shelf.dialogue(one) is not None for one in (f"{OF_PAGE}one", f"{OF_PAGE}two", "other")]
    assert kept == [False, True, False]


@pytest.mark.parametrize("runs", [False, True])
def test_half_a_result_neither_stops_an_erasure_nor_outlives_its_job(tmp_path, runs):
    tenant = backend_over(tmp_path / "home", world("checkerboard").data).service.tenant()
    tenant.shelf.add_job("recommend", {}, "one")
    if runs:
        tenant.shelf.claim_job("a worker")
    half = folder_of(tenant, "one") / PARTS.replace("*", "1a2b") / "lists.parquet"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"PAR1 half")
    erased(tenant, tenant.shelf.users("", 1)[0].id)
    assert half.is_file() == runs
