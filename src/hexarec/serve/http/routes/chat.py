"""Chat completions in OpenAI's shape: a pipeline is a model, words stream, items are references to the catalog."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, StreamingResponse

from hexarec.core import Dialogue, Message, OptionError, Reply
from hexarec.core.errors import HexarecError
from hexarec.serve.errors import ForbiddenError
from hexarec.serve.http import faults
from hexarec.serve.http.answers.chat import Completion
from hexarec.serve.http.bodies import StrictRoute
from hexarec.serve.http.callers import MayRecommend, needs
from hexarec.serve.http.shapes import Chat, ChatMessage
from hexarec.serve.keys import Caller
from hexarec.serve.request import answer_header, answer_id_of, backend_of, request_id_of, tenant_of
from hexarec.serve.talking import Talk, Talked

router = APIRouter(route_class=StrictRoute, tags=["chat"])
log = logging.getLogger("hexarec.serve")
CHUNKS = "chat.completion.chunk objects as data of server-sent events; after the last one [DONE]"


@router.post(
    "/v1/chat/completions", openapi_extra=needs("recommend"), response_model=None,
    responses={200: {"model": Completion, "content": {"text/event-stream": {"schema": {"description": CHUNKS}}}}},
)  # fmt: skip
async def completions(request: Request, caller: MayRecommend, body: Chat) -> JSONResponse | StreamingResponse:
    """One reply; with stream, as server-sent events. `items`, `act`, `state` and `request_id` stand beside the text.

    The state goes back with the next request, or the server keeps it under `dialogue_id`.
    """
    talk = await asyncio.to_thread(_Talk, request, caller, body)
    named = answer_header(request)
    if body.stream:
        headers = {"cache-control": "no-store", **named}
        return StreamingResponse(talk.stream(), media_type="text/event-stream", headers=headers)
    return JSONResponse(talk.whole(await talk.reply(lambda _: None)), headers=named)


class _Talk:
    """One request of a conversation."""

    def __init__(self, request: Request, caller: Caller, body: Chat) -> None:
        self._tenant, self._caller, self._body = tenant_of(request, caller), caller, body
        self._backend, self._created = backend_of(request), int(time.time())
        self._request_id, self._id = request_id_of(request), answer_id_of(request)
        named = body.model in self._tenant.served or body.model not in ("", "default")
        self._served = self._tenant.recommender(body.model if named else None)
        self._talk = Talk(self._backend, self._tenant, caller, self._served, self._id)
        self._made: Talked | None = None
        self._dialogue = self._read()

    def _read(self) -> Dialogue:
        body = self._body
        state: Mapping[str, Any] = body.state or {}
        if body.dialogue_id is not None:
            kept = self._tenant.shelf.dialogue(body.dialogue_id) or {}
            if kept and kept.get("user") != body.user:  # with a state of its own, too: it would replace what is kept
                raise ForbiddenError("this dialogue belongs to another user")
            state = kept.get("state", {}) if body.state is None else body.state
        turns = tuple(Message("user" if one.role == "user" else "assistant", _text(one)) for one in body.messages
                      if one.role in ("user", "assistant"))  # fmt: skip
        if not turns or turns[-1].role != "user":
            raise OptionError("the last message is not the user's", hint="end with role user")
        return Dialogue(turns, state, body.user)

    async def reply(self, hear: Callable[[str], object]) -> Reply:
        """The reply within its deadline, kept where a dialogue was named."""
        self._made = await self._talk.reply(
            self._dialogue, lambda event: hear(str(event["text"])), self._body.deadline_ms
        )
        made = self._made.reply
        if self._body.dialogue_id is not None:
            kept = {"user": self._body.user, "state": dict(made.state), "turns": [
                *({"role": one.role, "text": one.text} for one in self._dialogue.turns),
                {"role": "assistant", "text": made.words.text, "items": list(made.items)},
            ]}  # fmt: skip
            put = partial(self._tenant.shelf.put_dialogue, since=self._talk.at)
            await asyncio.to_thread(put, self._body.dialogue_id, self._body.user, kept)
        return made

    # ----------------------------------------------------------------- shapes
    def _about(self, kind: str) -> dict[str, Any]:
        return {"id": f"chatcmpl-{self._id}", "object": kind, "created": self._created,
                "model": self._served.current.name}  # fmt: skip

    def _extras(self, reply: Reply) -> dict[str, Any]:
        catalog = self._tenant.catalog
        items = [{"item_id": one, "title": catalog[one].title} for one in reply.items if one in catalog.items]
        return {"request_id": self._id, "items": items, "act": reply.act, "state": dict(reply.state),
                "status": reply.words.status, "degraded": list(self._made.degraded) if self._made else []}  # fmt: skip

    def _usage(self) -> dict[str, int]:
        spent = self._made.spent if self._made else {}
        read, written = int(spent.get("tokens_in", 0)), int(spent.get("tokens_out", 0))
        return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}

    def whole(self, reply: Reply) -> dict[str, Any]:
        """The reply as one object."""
        message = {"role": "assistant", "content": reply.words.text, **self._extras(reply)}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        return {**self._about("chat.completion"), "choices": [choice], "usage": self._usage()}

    async def stream(self) -> AsyncIterator[bytes]:
        """The reply as server-sent events: words as they come, then items and state, then the end."""
        loop = asyncio.get_running_loop()
        heard: asyncio.Queue[str | None] = asyncio.Queue()
        work = asyncio.create_task(self.reply(lambda text: loop.call_soon_threadsafe(heard.put_nowait, text)))
        work.add_done_callback(lambda _: loop.call_soon(heard.put_nowait, None))
        yield self._chunk({"role": "assistant", "content": ""})
        try:
            while (text := await heard.get()) is not None:
                yield self._chunk({"content": text})
            reply = await work
        except HexarecError as error:
            yield _event(json.loads(bytes(faults.of_error(error).body)))
        except Exception as error:
            log.error("a stream failed, request %s", self._request_id, exc_info=error)
            yield _event(faults.told("internal", "a fault of the server", request_id=self._request_id))
        else:
            yield self._chunk(self._extras(reply))
            yield self._chunk({}, "stop", usage=self._usage() if (self._body.stream_options or {}).get("include_usage")
                              else None)  # fmt: skip
        finally:
            work.cancel()
        yield b"data: [DONE]\n\n"

    def _chunk(self, delta: Mapping[str, Any], finish: str | None = None, usage: Any = None) -> bytes:
        choice = {"index": 0, "delta": dict(delta), "finish_reason": finish}
        return _event({**self._about("chat.completion.chunk"), "choices": [choice],
                       **({"usage": usage} if usage else {})})  # fmt: skip


def _event(value: Any) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def _text(message: ChatMessage) -> str:
    """The text of a message: itself, or its text parts."""
    if isinstance(message.content, list):
        return "\n".join(str(part["text"]) for part in message.content if part.get("type") == "text" and "text" in part)
    return message.content or ""
