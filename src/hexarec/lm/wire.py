"""One HTTP connection to an OpenAI-compatible server: bounded in time and size, every fault translated."""

from __future__ import annotations

import email.utils
import json
import os
import time
from collections.abc import Iterator
from typing import Any

import openai

from hexarec.core.errors import HexarecError, ModelError, OptionError, RetryableModelError
from hexarec.core.run import current

MOST_BYTES = 16_000_000
"""Answers longer than this are not read."""


class Refused(ModelError):
    """The server says this one request is wrong; the others of its batch may be fine."""


class Busy(RetryableModelError):
    """A fault that may pass. `after` is the number of seconds the server asks to wait, 0 when it names none."""

    def __init__(self, message: str, *, hint: str = "", after: float = 0.0) -> None:
        super().__init__(message, hint=hint)
        self.after = after


class Wire:
    """A client for one server. `timeout` is in seconds, per request; the run's deadline may shorten it.

    `url` defaults to the environment variable OPENAI_BASE_URL; `key_name` and `url_name` are names of such variables.
    """

    def __init__(
        self,
        url: str | None,
        *,
        timeout: float = 60.0,
        key_name: str = "OPENAI_API_KEY",
        url_name: str = "OPENAI_BASE_URL",
    ) -> None:
        self.url = (url or os.environ.get(url_name) or "https://api.openai.com/v1").rstrip("/")
        if not self.url.startswith(("http://", "https://")):
            raise OptionError(f"{self.url!r} is not an http address", hint="openai:http://host:port/v1#model")
        self._key_name, self._timeout = key_name, timeout
        # local servers take any key, but the client insists on one
        key = os.environ.get(key_name) or "none"
        self._client = openai.OpenAI(base_url=self.url, api_key=key, max_retries=0)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Post JSON and return the JSON object that comes back.

        Raises Refused for a bad request, Busy for a fault that may pass, ModelError for one that will not (key, model
        name), and what `Run.check` raises when the run is over.
        """
        work = current()
        work.check()
        end = time.monotonic() + min(self._timeout, work.remaining())
        raw = bytearray()
        try:
            with self._open(path, body, end) as response:
                for chunk in response.iter_bytes():
                    work.check()
                    raw += chunk
                    if len(raw) > MOST_BYTES:
                        raise Busy(f"{self.url} answered with more than {MOST_BYTES} bytes")
                    if time.monotonic() > end:
                        raise Busy(f"{self.url} was still answering after {self._timeout:g} s")
        except openai.OpenAIError as error:
            work.check()
            raise self.translated(error) from error
        except HexarecError:
            raise
        except Exception as error:
            # a connection that breaks while it is read raises errors of the transport, whichever that is
            work.check()
            raise Busy(f"{self.url} broke off: {type(error).__name__}") from error
        return self._parsed(bytes(raw))

    def _open(self, path: str, body: dict[str, Any], end: float) -> Any:
        """The request as a context manager of its response; what the client does not know goes along as it is."""
        client: Any = self._client
        resource = {
            "/chat/completions": client.chat.completions,
            "/completions": client.completions,
            "/embeddings": client.embeddings,
        }[path]
        named = {key: body[key] for key in ("model", "messages", "prompt", "input") if key in body}
        rest = {key: value for key, value in body.items() if key not in named}
        return resource.with_streaming_response.create(**named, extra_body=rest, timeout=_timeout(end))

    def _parsed(self, raw: bytes) -> dict[str, Any]:
        try:
            value = json.loads(raw.decode("utf-8"))
        except ValueError as error:
            raise Busy(f"{self.url} did not answer with JSON but {raw[:60]!r}") from error
        if not isinstance(value, dict):
            raise Busy(f"{self.url} answered with a JSON {type(value).__name__}, not an object")
        if value.get("error"):
            raise Busy(f"{self.url} answered with an error: {str(value['error'])[:200]}")
        return value

    def lines(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Post a streamed chat request and yield its chunks. Raises as `post` does."""
        work = current()
        work.check()
        end = time.monotonic() + min(self._timeout, work.remaining())
        try:
            client: Any = self._client.chat.completions
            with client.create(**body, stream=True, timeout=_timeout(end)) as stream:
                for chunk in stream:
                    work.check()
                    yield chunk.model_dump()
        except openai.OpenAIError as error:
            work.check()
            raise self.translated(error) from error
        except HexarecError:
            raise
        except Exception as error:
            # a connection that breaks while it is read raises errors of the transport, whichever that is
            work.check()
            raise Busy(f"{self.url} broke off: {type(error).__name__}") from error

    def translated(self, error: openai.OpenAIError) -> ModelError:
        """The client's error as one of ours, with what mends it."""
        if isinstance(error, openai.APITimeoutError):
            return Busy(f"{self.url} did not answer in time")
        if isinstance(error, openai.APIConnectionError):
            return Busy(f"cannot reach {self.url}: {error.__cause__ or error}", hint="is the server running?")
        if not isinstance(error, openai.APIStatusError):
            return Busy(f"{self.url}: {type(error).__name__}: {str(error)[:200]}")
        said = f"{self.url} answered {error.status_code}: {_message(error)}"
        if error.status_code in (401, 403):
            return ModelError(said, hint=f"set the environment variable {self._key_name}")
        if error.status_code == 404:
            return ModelError(said, hint="check the model name and that the address ends in /v1")
        if error.status_code in (408, 409, 425, 429) or error.status_code >= 500:
            return Busy(said, after=_retry_after(error.response.headers.get("retry-after", "")))
        return Refused(said, hint="a prompt may be too long for the model's window")


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
        return None, rest
    url, mark, model = rest.partition("#")
    if not mark or not model:
        raise OptionError(f"openai:{rest} names no model", hint="openai:http://host:port/v1#model")
    return url, model
