"""One reply of a conversation from anywhere (the API, the page): within its deadline, with words as they come."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hexarec.core import Dialogue, Reply, Words, run
from hexarec.core.errors import HexarecError
from hexarec.parts.render import titles
from hexarec.serve.answering import answered
from hexarec.serve.backend import Backend
from hexarec.serve.keys import Caller
from hexarec.serve.live.asks import Ask
from hexarec.serve.live.memory import asking
from hexarec.serve.live.recommender import Recommender
from hexarec.serve.live.tenant import Tenant

log = logging.getLogger("hexarec.serve")
LISTED = {"en": "You may like: {titles}.", "zh": "为您推荐：{titles}。"}
NOTHING = {"en": "I found nothing for that.", "zh": "没有找到合适的内容。"}
"""What a pipeline without a conversationalist says."""
Hear = Callable[[Mapping[str, Any]], object]
"""Hears events {"kind": "words", "text": piece, "listed": whether the piece is a line of a list}."""


@dataclass(frozen=True)
class Talked:
    """A reply; listed: it is the pipeline's list, since no conversation was possible; spent: on models."""

    reply: Reply
    degraded: tuple[Mapping[str, str], ...]
    spent: Mapping[str, float]
    listed: bool


class Talk:
    """A dialogue that is about to be answered by a pipeline. at: since when, unix seconds."""

    def __init__(self, backend: Backend, tenant: Tenant, caller: Caller, served: Recommender, id: str) -> None:
        self._backend, self._tenant, self._caller, self._served = backend, tenant, caller, served
        self.at, self._id = time.time(), id  # of the list, if it comes to one
        self._degraded: list[Mapping[str, str]] = []
        self._spent: Mapping[str, float] = {}

    async def reply(self, dialogue: Dialogue, hear: Hear, deadline_ms: int | None = None) -> Talked:
        """The reply within its deadline; a list from the pipeline where no conversation is possible."""
        settings = self._backend.settings
        allowed = min(deadline_ms or 10 * settings.deadline_ms, settings.longest_ms) / 1000
        end = time.monotonic() + allowed
        allowed -= min(settings.deadline_ms / 1000, allowed / 4)  # the rest is for the list, if it comes to that
        made = await self._conversed(dialogue, hear, allowed)
        listed = made is None
        if made is None:
            made = await self._listed(dialogue, end - time.monotonic())
            hear({"kind": "words", "text": made.words.text, "listed": True})
        return Talked(made, tuple(self._degraded), self._spent, listed)

    async def _conversed(self, dialogue: Dialogue, hear: Hear, seconds: float) -> Reply | None:
        """The conversationalist's reply; None, with the reason said, where there is none."""
        if self._served.current.pipeline.converse_ is None:
            return None
        try:
            paid = asyncio.to_thread(self._backend.paying, self._caller, self._work, dialogue, hear, seconds)
            return await asyncio.wait_for(paid, seconds)
        except TimeoutError:
            self._say_degraded("the deadline came before the reply")
        except HexarecError as error:
            self._say_degraded(error.message)
        except Exception as error:  # a state that somebody made up must not end the conversation
            log.error("a reply failed, answer %s", self._id, exc_info=error)
            self._say_degraded(type(error).__name__)
        return None

    def _work(self, dialogue: Dialogue, hear: Hear, seconds: float) -> Reply:
        def emitted(event: Mapping[str, Any]) -> None:
            if event.get("kind") == "words":
                hear(event)

        with run(
            seconds=max(seconds - 0.05, 0.05), tenant=self._tenant.name, emit=emitted, complain=self._say_degraded
        ) as work, asking([] if dialogue.user is None else [dialogue.user], self.at) as kept:  # fmt: skip
            reply = self._served.current.pipeline.converse([dialogue])[0]
            self._spent = work.ledger.snapshot()
        self._backend.metrics.cached.inc(kept.hits)
        return reply

    def _say_degraded(self, why: str) -> None:
        self._degraded.append({"stage": "converse", "method": "pipeline", "why": why})

    async def _listed(self, dialogue: Dialogue, seconds: float) -> Reply:
        """The pipeline's list for what was said, in our own words, within these seconds."""
        said = dialogue.turns[-1].text
        ask = Ask(user=dialogue.user, text=said, k=5, at=self.at)
        made = await answered(
            self._backend, self._caller, ask, self._id, pipeline=self._served.current.name,
            deadline_ms=max(min(int(1000 * seconds), self._backend.settings.deadline_ms), 1),
        )  # fmt: skip
        self._degraded += made.given.degraded
        lang = "zh" if any("\u4e00" <= one <= "\u9fff" for one in said) else "en"
        catalog = self._tenant.catalog
        rows = catalog.rows(made.given.items)
        names = titles(catalog, rows[rows >= 0], lang)
        text = LISTED[lang].format(titles=("、" if lang == "zh" else "; ").join(names)) if names else NOTHING[lang]
        return Reply(Words(text, lang, status="template"), made.given.items, "recommend", dialogue.state)
