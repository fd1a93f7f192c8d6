"""Faults of status: the server answers, with an error."""

from __future__ import annotations

import email.utils
import time

from hexarec.testing.stub.registry import fault
from hexarec.testing.stub.server import Exchange


@fault("status.400", "the context is too long")
def too_long(exchange: Exchange) -> None:
    """Status 400, as servers say that a prompt does not fit."""
    exchange.error(400, "This model's maximum context length is 128 tokens, however you requested 4096 tokens.")


@fault("status.401", "the key is wrong")
def unauthorized(exchange: Exchange) -> None:
    """Status 401."""
    exchange.error(401, "Incorrect API key provided.")


@fault("status.403", "the key may not do this")
def forbidden(exchange: Exchange) -> None:
    """Status 403."""
    exchange.error(403, "Your project may not use this model.")


@fault("status.404", "the model is not known")
def unknown(exchange: Exchange) -> None:
    """Status 404."""
    exchange.error(404, f"The model {exchange.body.get('model')!r} does not exist.")


@fault("status.408", "the server says that the request took too long")
def timeout(exchange: Exchange) -> None:
    """Status 408."""
    exchange.error(408, "Request timeout.")


@fault("status.429", "too many requests; in turn without Retry-After, with seconds, a date, and nonsense")
def too_many(exchange: Exchange) -> None:
    """Status 429 with each form of Retry-After in turn."""
    date = email.utils.formatdate(time.time() + 30, usegmt=True)
    after = ("", "2", date, "1e308")[exchange.number % 4]
    exchange.error(429, "Rate limit reached.", {"retry-after": after} if after else None)


@fault("status.500", "an internal error")
def internal(exchange: Exchange) -> None:
    """Status 500."""
    exchange.error(500, "Internal server error.")


@fault("status.503", "bursts of 503: eight requests of every sixteen")
def unavailable(exchange: Exchange) -> None:
    """Status 503 for eight requests in a row, then eight right answers."""
    if exchange.number % 16 < 8:
        exchange.error(503, "The engine is overloaded.")
    else:
        exchange.good()


@fault("status.200_error", "status 200 with an error as body")
def hidden(exchange: Exchange) -> None:
    """An error that says it is none."""
    exchange.error(200, "The engine is overloaded.")
