"""Half of the calls at most may be streams that follow a job."""

from tests.serve.conftest import URL, TestClient, backend_over, make_app


def test_too_many_followers_are_refused(tmp_path, data):
    backend = backend_over(tmp_path, data, calls=4)
    with TestClient(make_app(backend), base_url=URL) as api:
        job = api.post("/v1/jobs", json={"kind": "fit"}).json()["id"]
        backend.followers.update(object() for _ in range(2))
        answer = api.get(f"/v1/jobs/{job}/events")
        assert answer.status_code == 503 and "too many follow jobs" in answer.text
        backend.followers.clear()
        api.delete(f"/v1/jobs/{job}")
        assert "event: end" in api.get(f"/v1/jobs/{job}/events").text and not backend.followers
