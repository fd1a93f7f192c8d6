"""Half of the calls at most may be streams that follow a job, an equal part of them for each tenant."""

from tests.serve.conftest import URL, TestClient, backend_over, key_for, make_app


def test_too_many_followers_are_refused(tmp_path, data):
    backend = backend_over(tmp_path, data, calls=4)
    with TestClient(make_app(backend), base_url=URL) as api:
        job = api.post("/v1/jobs", json={"kind": "fit"}).json()["id"]
        backend.followers.update(("default", object()) for _ in range(2))
        answer = api.get(f"/v1/jobs/{job}/events")
        assert answer.status_code == 503 and "too many follow jobs" in answer.text
        backend.followers.clear()
        api.delete(f"/v1/jobs/{job}")
        assert "event: end" in api.get(f"/v1/jobs/{job}/events").text and not backend.followers


def test_a_tenant_that_follows_much_keeps_nobody_else_from_following(tmp_path, data):
    backend = backend_over(tmp_path, data, calls=8)
    backend.service.tenant("other").import_data(data)
    keys = {name: key_for(backend, "read", "jobs", tenant=name) for name in ("default", "other")}
    with TestClient(make_app(backend), base_url=URL) as api:

        def status(name):
            job = api.post("/v1/jobs", json={"kind": "fit"}, headers=keys[name]).json()["id"]
            api.delete(f"/v1/jobs/{job}", headers=keys[name])
            return api.get(f"/v1/jobs/{job}/events", headers=keys[name]).status_code

        backend.followers.add(("default", object()))
        assert (status("default"), status("other")) == (200, 200)
        backend.followers.add(("default", object()))
        assert (status("default"), status("other")) == (503, 200)
