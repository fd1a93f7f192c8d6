"""A Python client of the API: thin, typed, with retries that are safe because events have ids."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx

from hexarec.core.atomic import atomic_file
from hexarec.core.errors import HexarecError

RETRIED = frozenset({429, 502, 503, 504})


class ApiError(HexarecError):
    """The server refused; `status` and `type` say how, `request_id` names the request in its log."""

    def __init__(self, status: int, body: Any) -> None:
        error = body.get("error", {}) if isinstance(body, Mapping) else {}
        self.status, self.type = status, str(error.get("type", "internal"))
        self.request_id = error.get("request_id")
        self.retryable = status in RETRIED
        super().__init__(str(error.get("message", body))[:2_000], hint=str(error.get("hint") or ""))


class Client:
    """Talks to one server. retries: further tries of a call that may be repeated; waits between them double."""

    def __init__(
        self, url: str = "http://127.0.0.1:8090", key: str | None = None, *, timeout: float = 30.0, retries: int = 3,
        transport: httpx.BaseTransport | None = None,
    ) -> None:  # fmt: skip
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout, transport=transport)
        self._retries = retries

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._http.close()

    # ------------------------------------------------------------------ lists
    def recommend(self, user: str | None = None, *, n: int = 10, **more: Any) -> dict[str, Any]:
        """A list; `more` are the other fields of /v1/recommend."""
        return self._call("POST", "/v1/recommend", {"user_id": user, "n": n, **more})

    def similar(self, item: str, *, n: int = 10, **more: Any) -> dict[str, Any]:
        """Items like an item."""
        return self._call("POST", "/v1/similar", {"item_id": item, "n": n, **more})

    def rerank(self, query: str, documents: Sequence[str], **more: Any) -> dict[str, Any]:
        """Documents in the order of their relevance."""
        return self._call("POST", "/v1/rerank", {"query": query, "documents": list(documents), **more})

    def explain(self, item: str, user: str | None = None, **more: Any) -> dict[str, Any]:
        """Why an item suits a user."""
        return self._call("POST", "/v1/explanations", {"item_id": item, "user_id": user, **more})

    # ----------------------------------------------------------------- events
    def event(self, item: str, kind: str = "click", *, user: str | None = None, **more: Any) -> dict[str, Any]:
        """Store an event; acknowledged when it is on disk. A retry sends the same id, so it counts once."""
        body = {"event_id": more.pop("event_id", None) or uuid.uuid4().hex, "item_id": item, "type": kind,
                "user_id": user, **more}  # fmt: skip
        return self._call("POST", "/v1/events", {key: value for key, value in body.items() if value is not None})

    def events(self, events: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        """Store many events, each with its event_id; bad ones are named by line."""
        lines = b"".join(json.dumps(dict(one), allow_nan=False).encode() + b"\n" for one in events)
        return self._call("POST", "/v1/events:batch", content=lines)

    # -------------------------------------------------------------- resources
    def put_item(self, item: str, title: str, **more: Any) -> dict[str, Any]:
        """Store an item; it can be recommended within a second."""
        return self._call("PUT", self.path("items", item), {"title": title, **more})

    def delete_item(self, item: str) -> dict[str, Any]:
        """Delete an item."""
        return self._call("DELETE", self.path("items", item))

    def export_user(self, user: str) -> Iterator[dict[str, Any]]:
        """Everything held on a user."""
        answer = self._sent("GET", f"{self.path('users', user)}/export", None, None)
        return (json.loads(line) for line in answer.text.splitlines() if line)

    def erase_user(self, user: str) -> dict[str, Any]:
        """Erase a user everywhere."""
        return self._call("DELETE", self.path("users", user))

    def start_job(self, kind: str, **args: Any) -> dict[str, Any]:
        """Queue a job. Not repeated by itself: two calls are two jobs."""
        return self.post("/v1/jobs", {"kind": kind, "args": args})

    def cancel_job(self, job: str) -> dict[str, Any]:
        """Cancel a job: at once while it waits or rests, between two steps while it runs."""
        return self._call("DELETE", self.path("jobs", job))

    def resume_job(self, job: str) -> dict[str, Any]:
        """Let a job that failed, was cancelled or paused go on from what it has done."""
        return self.post(f"{self.path('jobs', job)}/resume", {})

    def job(self, job: str) -> dict[str, Any]:
        """A job with its log."""
        return self._call("GET", self.path("jobs", job))

    def wait(self, job: str, *, seconds: float = 600.0) -> dict[str, Any]:
        """The job once it has ended or was paused. Raises ApiError when it did not within this time."""
        end = time.monotonic() + seconds
        while True:
            made = self.job(job)
            if made["state"] in ("done", "failed", "cancelled", "paused"):
                return made
            if time.monotonic() > end:
                raise ApiError(504, {"error": {"type": "deadline", "message": f"job {job} is still {made['state']}"}})
            time.sleep(0.2)

    def follow(self, job: str) -> Iterator[dict[str, Any]]:
        """The job with every step it makes, until it has ended."""
        with self._http.stream("GET", f"{self.path('jobs', job)}/events", timeout=None) as answer:
            if answer.status_code >= 400:
                answer.read()
                self._answered(answer)
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))

    def save_file(self, job: str, path: str | Path) -> Path:
        """Save the file that a finished job has made."""
        with atomic_file(path) as aside, self._http.stream("GET", f"{self.path('jobs', job)}/file") as answer:
            if answer.status_code >= 400:
                answer.read()
                self._answered(answer)
            with aside.open("wb") as file:
                for part in answer.iter_bytes():
                    file.write(part)
        return Path(path)

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """Any other resource by its path."""
        return self._call("GET", path, query=query)

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Any other call by its path; not repeated, as it may not be safe to."""
        made: dict[str, Any] = self._answered(self._http.post(path, json=dict(body)))
        return made

    @staticmethod
    def path(kind: str, name: str) -> str:
        """The path of a resource (items, users, jobs, ...); a name may hold any character."""
        quoted = quote(name, safe="")
        # a path of dots alone would be taken for this folder, or the one above it
        return f"/v1/{kind}/{quoted.replace('.', '%2E') if set(name) <= {'.'} else quoted}"

    # ------------------------------------------------------------------ calls
    def _call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, content: bytes | None = None,
        query: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        made: dict[str, Any] = self._sent(method, path, body, content, query).json()
        return made

    def _sent(
        self, method: str, path: str, body: Mapping[str, Any] | None, content: bytes | None,
        query: Mapping[str, Any] | None = None,
    ) -> httpx.Response:  # fmt: skip
        sent: dict[str, Any] = {"params": dict(query) if query else None}
        if content is not None:
            sent |= {"content": content, "headers": {"content-type": "application/x-ndjson"}}
        elif body is not None:
            sent["json"] = dict(body)
        for turn in range(self._retries + 1):
            last, wait = turn == self._retries, 0.0
            try:
                answer = self._http.request(method, path, **sent)
            except httpx.TransportError:
                if last:
                    raise
            else:
                if answer.status_code not in RETRIED or last:
                    self._answered(answer)
                    return answer
                wait = _asked_to_wait(answer)
            time.sleep(max(min(0.1 * 2**turn, 2.0), wait))
        raise AssertionError

    def _answered(self, answer: httpx.Response) -> Any:
        if answer.status_code < 400:
            return answer.json() if answer.headers.get("content-type", "").startswith("application/json") else None
        try:
            body = answer.json()
        except ValueError:
            body = answer.text
        raise ApiError(answer.status_code, body)


def _asked_to_wait(answer: httpx.Response) -> float:
    """Seconds that the server asks to wait, a minute at most."""
    said = answer.headers.get("retry-after", "")
    return min(float(said), 60.0) if said.isdigit() else 0.0
