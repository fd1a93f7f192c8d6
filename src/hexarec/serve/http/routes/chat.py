"""Chat completions in OpenAI's shape: a pipeline is a model, words stream, items are references to the catalog."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, StreamingResponse

from hexarec.core import Dialogue, Message, OptionError, Reply, Words, run
from hexarec.core.errors import HexarecError
from hexarec.parts.render import titles
from hexarec.serve.answering import answered
from hexarec.serve.backend import Backend
from hexarec.serve.errors import ForbiddenError
from hexarec.serve.http import faults
from hexarec.serve.http.answers import Completion
from hexarec.serve.http.bodies import StrictRoute
from hexarec.serve.http.callers import MayRecommend, backend_of, needs, request_id_of, tenant_of
from hexarec.serve.http.shapes import Chat, ChatMessage
from hexarec.serve.keys import Caller
from hexarec.serve.live.asks import Ask
from hexarec.serve.live.memory import asking
from hexarec.serve.live.tenant import Tenant

router = APIRouter(route_class=StrictRoute, tags=["chat"])
log = logging.getLogger("hexarec.serve")
LISTED = {"en": "You may like: {titles}.", "zh": "为您推荐：{titles}。"}
NOTHING = {"en": "I found nothing for that.", "zh": "没有找到合适的内容。"}
"""What a pipeline without a conversationalist says."""


@router.post(
    "/v1/chat/completions", openapi_extra=needs("recommend"), response_model=None,
    responses={200: {"model": Completion, "content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)  # fmt: skip
async def completions(request: Request, caller: MayRecommend, body: Chat) -> JSONResponse | StreamingResponse:
    """One reply; with stream, as server-sent events. `items`, `act` and `state` stand beside the text.

    The state goes back with the next request, or the server keeps it under `dialogue_id`.
    """
    tenant = tenant_of(request, caller)
    talk = await asyncio.to_thread(_Talk, backend_of(request), tenant, caller, body, request_id_of(request))
    if body.stream:
        return StreamingResponse(talk.stream(), media_type="text/event-stream", headers={"cache-control": "no-store"})
    return JSONResponse(talk.whole(await talk.reply(lambda _: None)))


class _Talk:
    """One request of a conversation."""

    def __init__(self, backend: Backend, tenant: Tenant, caller: Caller, body: Chat, request_id: str) -> None:
        self._backend, self._tenant, self._caller, self._body = backend, tenant, caller, body
        self._request_id, self._created = request_id, int(time.time())
        self._served = tenant.recommender(
            None if body.model in ("", "default") and body.model not in tenant.served else body.model
        )
        self._degraded: list[dict[str, str]] = []
        self._spent: dict[str, float] = {}
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

    async def reply(self, hear: Any) -> Reply:
        """The reply within its deadline; a list from the pipeline where no conversation is possible."""
        settings = self._backend.settings
        allowed = min(self._body.deadline_ms or 10 * settings.deadline_ms, settings.longest_ms) / 1000
        end = time.monotonic() + allowed
        allowed -= min(settings.deadline_ms / 1000, allowed / 4)  # the rest is for the list, if it comes to that
        made: Reply | None = None
        if self._served.current.pipeline.converse_ is not None:
            try:
                paid = asyncio.to_thread(self._backend.paying, self._caller, self._conversed, hear, allowed)
                made = await asyncio.wait_for(paid, allowed)
            except TimeoutError:
                self._say_degraded("the deadline came before the reply")
            except HexarecError as error:
                self._say_degraded(error.message)
            except Exception as error:  # a state that somebody made up must not end the conversation
                log.error("a reply failed, request %s", self._request_id, exc_info=error)
                self._say_degraded(type(error).__name__)
        if made is None:
            made = await self._listed(end - time.monotonic())
            hear(made.words.text)
        if self._body.dialogue_id is not None:
            kept = {"user": self._body.user, "state": dict(made.state), "turns": [
                *({"role": one.role, "text": one.text} for one in self._dialogue.turns),
                {"role": "assistant", "text": made.words.text, "items": list(made.items)},
            ]}  # fmt: skip
            await asyncio.to_thread(self._tenant.shelf.put_dialogue, self._body.dialogue_id, self._body.user, kept)
        return made

    def _conversed(self, hear: Any, seconds: float) -> Reply:
        def emitted(event: Mapping[str, Any]) -> None:
            if event.get("kind") == "words":
                hear(str(event["text"]))

        with run(
            seconds=max(seconds - 0.05, 0.05), tenant=self._tenant.name, emit=emitted, complain=self._say_degraded
        ) as work, asking([] if self._body.user is None else [self._body.user]) as kept:  # fmt: skip
            reply = self._served.current.pipeline.converse([self._dialogue])[0]
            self._spent = work.ledger.snapshot()
        self._backend.metrics.cached.inc(kept.hits)
        return reply

    def _say_degraded(self, why: str) -> None:
        self._degraded.append({"stage": "converse", "method": "pipeline", "why": why})

    async def _listed(self, seconds: float) -> Reply:
        """The pipeline's list for what was said, in our own words, within these seconds."""
        said = self._dialogue.turns[-1].text
        ask = Ask(user=self._body.user, text=said, k=5)
        made = await answered(
            self._backend, self._caller, ask, self._request_id, pipeline=self._served.current.name,
            deadline_ms=max(min(int(1000 * seconds), self._backend.settings.deadline_ms), 1),
        )  # fmt: skip
        self._degraded += made.given.degraded
        lang = "zh" if any("\u4e00" <= one <= "\u9fff" for one in said) else "en"
        catalog = self._tenant.catalog
        rows = catalog.rows(made.given.items)
        names = titles(catalog, rows[rows >= 0], lang)
        text = LISTED[lang].format(titles=("、" if lang == "zh" else "; ").join(names)) if names else NOTHING[lang]
        return Reply(Words(text, lang, status="template"), made.given.items, "recommend", self._dialogue.state)

    # ----------------------------------------------------------------- shapes
    def _about(self, kind: str) -> dict[str, Any]:
        return {"id": f"chatcmpl-{self._request_id}", "object": kind, "created": self._created,
                "model": self._served.current.name}  # fmt: skip

    def _extras(self, reply: Reply) -> dict[str, Any]:
        catalog = self._tenant.catalog
        items = [{"item_id": one, "title": catalog[one].title} for one in reply.items if one in catalog.items]
        return {"items": items, "act": reply.act, "state": dict(reply.state), "status": reply.words.status,
                "degraded": self._degraded}  # fmt: skip

    def _usage(self) -> dict[str, int]:
        read, written = int(self._spent.get("tokens_in", 0)), int(self._spent.get("tokens_out", 0))
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
