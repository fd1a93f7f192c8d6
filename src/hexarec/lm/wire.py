"""One HTTP connection to an OpenAI-compatible server: bounded in time and size, every fault translated."""

from __future__ import annotations

import contextlib
import email.utils
import json
import os
import time
import zlib
from collections.abc import Generator, Iterator
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from urllib.parse import parse_qsl

import httpx
import openai

from hexarec.core.errors import (
    CancelledError,
    DeadlineError,
    HexarecError,
    ModelError,
    OptionError,
    RetryableModelError,
)
from hexarec.core.ids import digest
from hexarec.core.run import current
from hexarec.lm.address import quiet, sound, unsound, whole, without_secrets
from hexarec.lm.base import count_call
from hexarec.lm.gate import apart
from hexarec.lm.private import outgoing
from hexarec.lm.sse import events
from hexarec.lm.watched import Backend, TooLong, Watch, watching

MOST_BYTES = {"/embeddings": 16_000_000}
"""The longest answer that is read, by path; packed ones are measured unpacked too."""
_MOST = 1_000_000
_ENCODING = "x-hexarec-encoding"


class Refused(ModelError):
    """The server says this one request is wrong; the others of its batch may be fine."""


class Busy(RetryableModelError):
    """A fault that may pass. `after` is the number of seconds the server asks to wait, 0 when it names none."""

    def __init__(self, message: str, *, hint: str = "", after: float = 0.0) -> None:
        super().__init__(message, hint=hint)
        self.after = after


class Wire:
    """A client for one server. `timeout` is in seconds, for a whole request; the run's deadline may shorten it.

    `url` defaults to the environment variable OPENAI_BASE_URL; `key_name` and `url_name` are names of such variables.
    The attribute `url` is the address as errors say it, without a password and query.
    Redirects are not followed, cookies not kept. A request that fails is counted in the ledger as a call, and one whose
    answer was abandoned as all its tokens (`worst`: in, out), since the server may charge for them.
    """

    def __init__(
        self,
        url: str | None,
        *,
        timeout: float = 60.0,
        key_name: str = "OPENAI_API_KEY",
        url_name: str = "OPENAI_BASE_URL",
    ) -> None:
        address = (whole(url or "", url_name) or os.environ.get(url_name) or "https://api.openai.com/v1").rstrip("/")
        if not address.startswith(("http://", "https://")):
            shown = without_secrets(f"http://{address}").removeprefix("http://")
            raise OptionError(f"{shown!r} is not an http address", hint="openai:http://host:port/v1#model")
        self.url = without_secrets(sound(address))
        self.mark = digest(address)
        """Tells addresses apart that read alike without their secrets; for memory alone, never saved or shown."""
        self._key_name, self._timeout = key_name, timeout
        quiet("httpx", "openai._base_client")
        # local servers take any key, but the client insists on one
        key = os.environ.get(key_name) or "none"
        # newer clients take this type too, but do not say so
        http: Any = _http()
        base, _, query = address.partition("?")  # the client would put its paths behind the query
        try:
            self._client = openai.OpenAI(
                base_url=base,
                default_query=dict(parse_qsl(query, keep_blank_values=True)),
                api_key=key,
                max_retries=0,
                http_client=http,
            )
        except Exception as error:  # of two libraries, in words of their own that quote parts of the address
            if type(error).__name__ != "InvalidURL":
                raise
            raise unsound(address) from None

    def post(self, path: str, body: dict[str, Any], worst: tuple[int, int] = (0, 0)) -> dict[str, Any]:
        """Post JSON and return the JSON object that comes back.

        Raises Refused for a bad request, Busy for a fault that may pass, ModelError for one that will not (key, model
        name), DeadlineError when the run's deadline comes first, and CancelledError within 0.1 s of a cancel.
        """
        most = MOST_BYTES.get(path, _MOST)
        with self._call(most, worst) as watch:
            with self._open(path, body, watch.end) as response:
                raw = b"".join(_unpacked(response, most))
            return self._parsed(raw)

    @contextlib.contextmanager
    def _call(self, most: int, worst: tuple[int, int]) -> Iterator[Watch]:
        """One request within its limits; whatever goes wrong in it is counted and raised as an error of ours."""
        work = current()
        work.check()
        with watching(time.monotonic() + min(self._timeout, work.remaining()), most) as watch:
            try:
                yield watch
            except openai.APIStatusError as error:
                count_call()
                raise self.translated(error) from error
            except Exception as error:
                count_call(tokens_in=worst[0] * watch.sent, tokens_out=worst[1] * watch.sent)
                self._over(watch, error)
                raise self._fault(error) from error

    def _over(self, watch: Watch, error: Exception) -> None:
        """Raise when the run, not the server, ended the call."""
        if watch.run.cancel:
            raise CancelledError("the run was cancelled") from error
        if watch.run.remaining() <= 0:
            raise DeadlineError(
                f"{self.url} had not answered when the deadline came", hint="allow more time, or use a faster model"
            ) from error

    def _fault(self, error: Exception) -> HexarecError:
        """What went wrong with the connection or the answer, as an error of ours."""
        if isinstance(error, HexarecError):
            return error
        cause = _root(error)
        if isinstance(cause, TooLong):
            return Busy(f"{self.url} answered with {cause}")
        if isinstance(error, openai.OpenAIError):
            return self.translated(error)
        if isinstance(error, httpx.TimeoutException):
            return Busy(f"{self.url} was still answering after {self._timeout:g} s")
        # a connection that breaks while it is read raises errors of the transport, whichever that is
        return Busy(f"{self.url} broke off: {type(cause).__name__}: {str(cause)[:100]}")

    def _open(self, path: str, body: dict[str, Any], end: float) -> Any:
        """The request as a context manager of its response; what the client does not know goes along as it is."""
        client: Any = self._client
        body = outgoing(body, self.url)
        resource = {
            "/chat/completions": client.chat.completions,
            "/completions": client.completions,
            "/embeddings": client.embeddings,
        }[path]
        named = {key: body[key] for key in ("model", "messages", "prompt", "input") if key in body}
        rest = {key: value for key, value in body.items() if key not in named}
        return resource.with_streaming_response.create(
            **named, extra_body=rest, extra_headers={"Accept-Encoding": "identity"}, timeout=_timeout(end)
        )

    def _parsed(self, raw: bytes) -> dict[str, Any]:
        try:
            value = json.loads(raw.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise Busy(f"{self.url} did not answer with JSON but {raw[:60]!r}") from error
        if not isinstance(value, dict):
            raise Busy(f"{self.url} answered with a JSON {type(value).__name__}, not an object")
        if value.get("error"):
            raise Busy(f"{self.url} answered with an error: {str(value['error'])[:200]}")
        return value

    def lines(self, body: dict[str, Any], worst: tuple[int, int] = (0, 0)) -> Iterator[dict[str, Any]]:
        """Post a streamed chat request and yield its chunks, JSON objects; other events are ignored.

        The end is [DONE], or the end of the connection after a chunk that named a reason to finish. Raises as `post`.
        """
        return apart(self._chunks(body, worst))

    def _chunks(self, body: dict[str, Any], worst: tuple[int, int]) -> Generator[dict[str, Any], None, None]:
        ended = False
        with self._call(_MOST, worst) as watch:
            with self._open("/chat/completions", {**body, "stream": True}, watch.end) as response:
                for data in events(_unpacked(response, _MOST)):
                    if data.strip() == b"[DONE]":
                        return
                    chunk = self._parsed(data)
                    if ended and said(chunk):
                        raise Busy(f"{self.url} went on after the end of its answer: the pieces are out of order")
                    ended = ended or any(choice.get("finish_reason") for choice in _choices(chunk))
                    yield chunk
            if not ended:
                raise Busy(f"{self.url} broke off in the middle of its answer")

    def translated(self, error: openai.OpenAIError) -> ModelError:
        """The client's error as one of ours, with what mends it."""
        if isinstance(error, openai.APITimeoutError):
            return Busy(f"{self.url} did not answer in time")
        if isinstance(error, openai.APIConnectionError):
            return Busy(f"cannot reach {self.url}: {error.__cause__ or error}", hint="is the server running?")
        if not isinstance(error, openai.APIStatusError):
            return Busy(f"{self.url}: {type(error).__name__}: {str(error)[:200]}")
        said = f"{self.url} answered {error.status_code}: {_message(error)}"
        if error.status_code < 400:
            return ModelError(said, hint="redirects are not followed: name the final address")
        if error.status_code in (401, 403):
            return ModelError(said, hint=f"set the environment variable {self._key_name}")
        if error.status_code == 404:
            return ModelError(said, hint="check the model name and that the address ends in /v1")
        if error.status_code in (408, 409, 425, 429) or error.status_code >= 500:
            return Busy(said, after=_retry_after(error.response.headers.get("retry-after", "")))
        return Refused(said, hint="a prompt may be too long for the model's window")


def _http() -> httpx.Client:
    """A client whose sockets are watched, that keeps no cookies, follows no redirect and unpacks nothing by itself."""
    forgetful = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    client = httpx.Client(
        follow_redirects=False,
        cookies=forgetful,
        event_hooks={"response": [_keep_packed]},
        limits=httpx.Limits(max_connections=1000, max_keepalive_connections=100),
    )
    # the client offers no door for a network back end; proxies of the environment have pools of their own
    transports: list[Any] = [client._transport, *client._mounts.values()]
    for transport in transports:
        if transport is not None:
            transport._pool._network_backend = Backend()
    return client


def _keep_packed(response: httpx.Response) -> None:
    """Leave the body as it came: 64 KB of gzip may be 64 MB of text, unpacked at once."""
    response.headers[_ENCODING] = response.headers.pop("content-encoding", "identity")


def _unpacked(response: Any, most: int) -> Iterator[bytes]:
    """The pieces of a body, unpacked with a limit. Raises TooLong, Busy for an encoding that was not asked for."""
    encoding = response.headers.get(_ENCODING, "identity").lower()
    if encoding in ("identity", ""):
        yield from response.http_response.iter_raw()
        return
    if encoding not in ("gzip", "deflate"):
        raise Busy(f"the answer is packed by {encoding[:20]!r}, which was not asked for")
    opened, left = zlib.decompressobj(wbits=47 if encoding == "gzip" else 15), most
    for piece in response.http_response.iter_raw():
        try:
            plain = opened.decompress(piece, left + 1)
        except zlib.error as error:
            raise Busy(f"the packed answer is damaged: {error}") from error
        left -= len(plain)
        if left < 0:
            raise TooLong(f"more than {most:,} bytes when unpacked")
        yield plain


def _root(error: BaseException) -> BaseException:
    """What an error was raised for at first."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _choices(chunk: dict[str, Any]) -> list[dict[str, Any]]:
    found = chunk.get("choices")
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def said(chunk: dict[str, Any]) -> str:
    """The text of one chunk's first choice; "" for none."""
    delta = next((one.get("delta") for one in _choices(chunk)), None)
    text = delta.get("content") if isinstance(delta, dict) else None
    return text if isinstance(text, str) else ""


def gathered(chunks: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """The chunks of a stream as one reply, as if it had not been streamed."""
    pieces, finish, usage = [], None, None
    for chunk in chunks:
        pieces.append(said(chunk))
        finish = next((one["finish_reason"] for one in _choices(chunk) if one.get("finish_reason")), finish)
        usage = chunk.get("usage") or usage
    message = {"role": "assistant", "content": "".join(pieces)}
    return {"choices": [{"index": 0, "finish_reason": finish, "message": message}], "usage": usage}


def _timeout(end: float) -> openai.Timeout:
    left = max(end - time.monotonic(), 0.001)
    return openai.Timeout(left, connect=min(left, 5.0))


def _message(error: openai.APIStatusError) -> str:
    body = error.body
    if isinstance(body, dict):
        inner = body.get("error", body)
        body = inner.get("message", inner) if isinstance(inner, dict) else inner
    return str(body)[:200] if body else "no reason given"


def _retry_after(text: str) -> float:
    """Seconds to wait, 0..60, from a Retry-After header in seconds or as a date; 0 when it makes no sense."""
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, TypeError):
            return 0.0
    return min(max(seconds, 0.0), 60.0) if seconds == seconds else 0.0


def split(rest: str) -> tuple[str | None, str]:
    """The address (None for the environment's) and the model name of what follows `openai:`."""
    if not rest.startswith(("http://", "https://")):
        if "#" in rest or rest.startswith(("http:", "https:")):
            raise unsound(rest)
        return None, rest
    url, mark, model = rest.partition("#")
    if "#" in model:
        raise unsound(rest)
    if not mark or not model:
        raise OptionError(f"openai:{without_secrets(rest)} names no model", hint="openai:http://host:port/v1#model")
    return url, model
