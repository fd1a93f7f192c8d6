"""One question from anywhere (HTTP, chat, MCP, batch): which pipeline, within its deadline, counted and logged."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from hexarec.core.errors import HexarecError
from hexarec.serve.keys import Caller
from hexarec.serve.live.asks import Ask
from hexarec.serve.live.given import Given
from hexarec.serve.live.recommender import Recommender
from hexarec.serve.observe import spans
from hexarec.serve.store.rows import ShownRow
from hexarec.serve.trials import Choice, chosen, merged

if TYPE_CHECKING:
    from hexarec.serve.backend import Backend

log = logging.getLogger("hexarec.serve")


@dataclass(frozen=True)
class Answered:
    """A list with what decided about it."""

    given: Given
    choice: Choice
    request_id: str
    seconds: float


async def answered(
    backend: Backend, caller: Caller, ask: Ask, request_id: str, *, pipeline: str | None = None,
    deadline_ms: int | None = None, show: bool = True,
) -> Answered:  # fmt: skip
    """The list for an ask, before its deadline: from the pipeline, or from standby with the reason.

    request_id: no other answer's. show: whether the list will be seen; only such are logged and take part in
    experiments. Raises MissingError for an unknown pipeline, OptionError for a filter that does not fit, LimitError and
    BudgetError of the key.
    """
    started = time.monotonic()
    tenant = backend.service.tenant(caller.tenant)
    ask = replace(ask, context={**ask.context, "request": request_id})  # exploration draws anew for each answer
    ask = _within(backend, caller, ask, started, deadline_ms)
    choice = chosen(tenant, ask, pipeline) if show else Choice(tenant.recommender(pipeline).current.name)
    if choice.other is None:
        given = await _from(backend, tenant.recommender(choice.pipeline), ask)
    else:
        both = await asyncio.gather(
            _from(backend, tenant.recommender(choice.pipeline), ask),
            _from(backend, tenant.recommender(choice.other), ask),
        )
        given, choice = merged(choice, both[0], both[1], ask.k, request_id)
    backend.metrics.answered(given, shown=show)
    backend.recent.answered(caller.tenant, given)
    spans(given, caller.tenant, request_id)
    if caller.key is not None and ask.purse is None:
        backend.limits(caller.tenant).purse(caller.key).add(given.tokens, given.dollars)
    # who was assigned and got nothing is still one of the experiment's users
    if show and backend.settings.log_shown and (given.items or choice.experiment is not None):
        _log_shown(backend, caller, ask, choice, given, request_id, time.monotonic() - started)
    return Answered(given, choice, request_id, time.monotonic() - started)


def _within(backend: Backend, caller: Caller, ask: Ask, started: float, deadline_ms: int | None) -> Ask:
    """The ask with its deadline and the budget of its key; asks without a budget can share a batch."""
    settings = backend.settings
    allowed = min(deadline_ms or settings.deadline_ms, settings.longest_ms)
    ask = replace(ask, deadline=started + allowed / 1000)
    purse = None if caller.key is None else backend.limits(caller.tenant).purse(caller.key)
    return replace(ask, purse=purse) if purse is not None and purse.bounded else ask


async def _from(backend: Backend, served: Recommender, ask: Ask) -> Given:
    """The pipeline's answer, or standby's when the deadline comes first."""
    aside = partial(asyncio.get_running_loop().run_in_executor, backend.aside)
    # a filter may take a while to work out
    waiting = served.submit(ask) if ask.where is None else await aside(served.submit, ask)
    future = asyncio.wrap_future(waiting)
    try:
        return await asyncio.wait_for(future, max(ask.deadline - time.monotonic() - 0.01, 0.001))
    except TimeoutError:
        return await aside(served.standby, ask, "pipeline", "the deadline came before the answer")


def _log_shown(
    backend: Backend, caller: Caller, ask: Ask, choice: Choice, given: Given, request_id: str, seconds: float
) -> None:
    row = ShownRow(
        request=request_id, time=ask.at, pipeline=given.pipeline, policy=given.policy, items=given.items,
        propensities=given.propensities, sources=given.sources, user=ask.user, session=ask.session,
        experiment=choice.experiment, arm=choice.arm, teams=choice.teams, seconds=seconds,
        degraded=bool(given.degraded),
    )  # fmt: skip
    try:
        future = backend.service.tenant(caller.tenant).shelf.log_shown_soon([row])
    except HexarecError as error:
        backend.metrics.lost.inc()
        log.warning("a shown list could not be logged: %s", error.message)
        return
    future.add_done_callback(lambda done: backend.metrics.lost.inc() if done.exception() else None)
