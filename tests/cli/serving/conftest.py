"""A home with imported data and a fitted pipeline, made once and copied for each test."""

import shutil

import pytest
from tests.serve.conftest import backend_over

from hexarec.data.worlds import world


@pytest.fixture(scope="session")
def data():
    return world("checkerboard").data


@pytest.fixture(scope="session")
def made(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("made")
    backend_over(folder, data).service.close()
    return folder


@pytest.fixture
def home(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made, tmp_path / "home")
    return tmp_path / "home"
