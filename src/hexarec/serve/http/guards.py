"""What is checked before a request is read: host, origin, size, time, and how many are being answered."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hexarec.serve.addresses import SLASH
from hexarec.serve.http.connections import OVERLOAD
from hexarec.serve.http.faults import Refused, told
from hexarec.serve.settings import LOOPBACK, Settings

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SAFE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),  # with no-referrer a browser names no origin for a form of our own page
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"content-security-policy", PAGE_POLICY.encode()),
)
BATCHES = ("/v1/events:batch", "/data/upload")
"""Routes that read their body piece by piece, so that a large one costs no memory."""
SLOWEST = 100_000
"""Bytes a second that a client must send to be given more than `read_seconds`."""
FAULT = Refused(500, "internal", "a fault of the server", "tell its operator the request_id")
log = logging.getLogger("hexarec.serve")


class Guards:
    """Refuses what breaks a limit before it is read, and adds request id and security headers to every answer."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings
        self._running = 0
        names = {*LOOPBACK, settings.host, *settings.hosts}
        self._hosts = {name.lower().strip("[]") for name in names}
        self._origins = set(settings.origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = _first(scope["headers"])
        request_id, answer_id = _ids(headers.get(b"x-request-id", b""))
        scope.setdefault("state", {}).update(request_id=request_id, answer_id=answer_id)
        origin = headers.get(b"origin", b"").decode("latin-1")
        answered = _Answered(send, request_id, origin if origin in self._origins else "")
        self._running += 1
        try:
            self._check_line(scope, headers)
            self._check_origin(scope, headers, origin)
            if scope["method"] == "OPTIONS" and origin in self._origins:
                await _preflight(answered)
                return
            scope["path"] = _path(scope)
            cap = self._cap(scope["path"], headers)
            await self.app(scope, _Capped(receive, cap, self.settings.read_seconds), answered)
        except Refused as refused:
            if not answered.started:
                await _refuse(answered, refused, request_id)
        except Exception as error:
            route = getattr(scope.get("route"), "path", "none")
            log.error("fault in %s, request %s", route, request_id, exc_info=error)
            if answered.started:
                raise  # the connection is cut: half an answer must not look whole
            await _refuse(answered, FAULT, request_id)
        finally:
            self._running -= 1

    def _check_line(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        host = headers.get(b"host", b"").decode("latin-1")
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        if name.lower().strip("[]") not in self._hosts:
            raise Refused(
                421, "wrong_host", f"this server does not answer for host {host[:100]!r}", "[serve] hosts lists them"
            )
        if len(scope["path"]) > 4_096 or len(scope["query_string"]) > 16_384:
            raise Refused(414, "too_long", "the address is too long")
        if self._running > self.settings.calls + self.settings.waiting:
            if "door" in scope["state"]:
                scope["state"]["door"].refused()
            raise OVERLOAD

    def _check_origin(self, scope: Scope, headers: Mapping[bytes, bytes], origin: str) -> None:
        """A page of another site may only call when its origin is listed: no forged request from a browser.

        A picture or a frame names no origin, but browsers say that another site wants it: what it asks for would cost
        as much as an honest request. A link that somebody follows is one.
        """
        if origin in self._origins:
            return
        if not origin:
            foreign = headers.get(b"sec-fetch-site", b"") in (b"cross-site", b"same-site")
            if foreign and headers.get(b"sec-fetch-dest", b"") != b"document":
                raise Refused(403, "wrong_origin", "another site may not load this", "[serve] origins lists origins")
            return
        own = {f"{scheme}://{headers.get(b'host', b'').decode('latin-1')}" for scheme in ("http", "https")}
        if origin not in own:
            raise Refused(403, "wrong_origin", "calls from this origin are not allowed", "[serve] origins lists them")

    def _cap(self, path: str, headers: Mapping[bytes, bytes]) -> int:
        cap = self.settings.batch_body if path in BATCHES else self.settings.body
        length = headers.get(b"content-length", b"0")
        if not length.isdigit():
            raise Refused(400, "invalid", "content-length is no number")
        if int(length) > cap:
            raise Refused(413, "too_large", f"the body has {int(length)} bytes, the most is {cap}", "send it in parts")
        if headers.get(b"content-encoding", b"identity") not in (b"identity", b""):
            raise Refused(415, "invalid", "compressed bodies are not read", "send the body as it is")
        return cap


class _Capped:
    """A receive that counts bytes, and the seconds spent waiting for them."""

    def __init__(self, receive: Receive, cap: int, seconds: float) -> None:
        self._receive, self._cap, self._seconds = receive, cap, seconds
        self._size, self._waited, self._whole = 0, 0.0, False

    async def __call__(self) -> Message:
        if self._whole:
            return await self._receive()  # waits for the client to leave, as long as the answer takes
        started = time.monotonic()
        left = self._seconds + self._size / SLOWEST - self._waited
        try:
            message = await asyncio.wait_for(self._receive(), max(left, 0.001))
        except TimeoutError:
            raise Refused(408, "too_slow", f"the body came too slowly; {self._size} bytes are here") from None
        self._waited += time.monotonic() - started
        if message["type"] == "http.request":
            self._size += len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
            if self._size > self._cap:
                raise Refused(413, "too_large", f"the body is larger than {self._cap} bytes", "send it in parts")
        return message


class _Answered:
    """A send that adds our headers."""

    def __init__(self, send: Send, request_id: str, origin: str) -> None:
        self._send, self.started = send, False
        more = [(b"x-request-id", request_id.encode())]
        if origin:
            more += [
                (b"access-control-allow-origin", origin.encode()),
                (b"access-control-expose-headers", b"x-request-id, x-answer-id"),
                (b"vary", b"Origin"),
            ]
        self._more = [*SAFE_HEADERS, *more]

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            message = {**message, "headers": [*message.get("headers", []), *self._more]}
        await self._send(message)


def _first(headers: Any) -> dict[bytes, bytes]:
    made: dict[bytes, bytes] = {}
    for name, value in headers:
        made.setdefault(name, value)
    return made


def _path(scope: Scope) -> str:
    """The path as it was sent, decoded once; an encoded slash parts nothing: an id may hold one."""
    raw: bytes = scope["raw_path"]
    try:
        parts = [unquote_to_bytes(part).decode() for part in raw.split(b"/")]
    except UnicodeDecodeError:
        raise Refused(400, "invalid", "the address is not UTF-8") from None
    if any(SLASH in part for part in parts):
        raise Refused(400, "invalid", "the address holds a NUL character")
    return "/".join(part.replace("/", SLASH) for part in parts)


def _ids(given: bytes) -> tuple[str, str]:
    """The id of a request, the client's when it is harmless; and that of its answer, which no other answer has."""
    text = given.decode("latin-1")
    plain = 0 < len(text) <= 64 and text.isascii() and all(one.isalnum() or one in "-_." for one in text)
    own = secrets.token_hex(8)
    return (text, f"{text}-{own}") if plain else (own, own)


async def _refuse(send: Send, refused: Refused, request_id: str) -> None:
    body = json.dumps(told(refused.type, str(refused.detail), hint=refused.hint, request_id=request_id)).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        # who is refused for want of time keeps the connection: to open another costs more than the refusal
        (b"retry-after", b"1") if refused.status_code == 503 else (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": refused.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _preflight(send: Send) -> None:
    headers = [
        (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE"),
        (b"access-control-allow-headers", b"authorization, content-type, x-request-id"),
        (b"access-control-max-age", b"600"),
        (b"content-length", b"0"),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
