"""A server over a tiny world: pipelines without a model, a store in a temporary folder."""

import pytest
from tests.serve.published import Published as TestClient

from hexarec.data.worlds import world
from hexarec.serve.backend import Backend
from hexarec.serve.http.app import make_app
from hexarec.serve.keys import made_key
from hexarec.serve.service import Service
from hexarec.serve.settings import Settings
from hexarec.serve.store.open import open_store

CLASSIC = {
    "retrieve": [{"use": "itemknn", "neighbours": 10}, {"use": "popular"}],
    "control": [{"use": "mmr", "share": 0.9}],
    "explain": {"use": "because"},
}
URL = "http://127.0.0.1"


def backend_over(folder, data=None, config=CLASSIC, **settings):
    """A backend whose default tenant serves `config` fitted on `data`; not started."""
    told = Settings(home=folder, background=settings.pop("background", False), **settings)
    service = Service(open_store(told.url), told)
    if data is not None:
        tenant = service.tenant("default")
        tenant.import_data(data)
        tenant.fit("default", config)
    return Backend(service)


@pytest.fixture(scope="module")
def data():
    return world("checkerboard").data


@pytest.fixture
def backend(tmp_path, data):
    return backend_over(tmp_path / "home", data)


@pytest.fixture
def api(backend):
    with TestClient(make_app(backend), base_url=URL) as client:
        yield client


def key_for(backend, *scopes, tenant="default", **limits):
    """The header of a new key."""
    row, secret = made_key("test", scopes, **limits)
    backend.service.store.of(tenant).put_key(row)
    return {"authorization": f"Bearer {secret}"}
