"""Faults of time: too slow, or never. `pace` of the stub multiplies the seconds."""

from __future__ import annotations

import json
from itertools import islice

from hexarec.core import rng
from hexarec.testing.stub.registry import fault
from hexarec.testing.stub.server import Exchange

FOREVER = 600.0
LONG = 40
"""Tokens of a prompt that `time.long_prompts` calls long."""


@fault("time.no_first_byte", "the request is read and never answered")
def no_first_byte(exchange: Exchange) -> None:
    """Wait until the client has enough."""
    exchange.pause(FOREVER)


@fault("time.drip", "the right answer, one byte a second")
def drip(exchange: Exchange) -> None:
    """The right body, byte by byte."""
    body = json.dumps(exchange.reply()).encode()
    exchange.head(200, {"content-type": "application/json", "content-length": str(len(body))})
    for place in range(len(body)):
        exchange.write(body[place : place + 1])
        exchange.pause(1.0 * exchange.stub.pace)


@fault("time.headers_only", "headers, and then nothing")
def headers_only(exchange: Exchange) -> None:
    """Promise a body and never send it."""
    exchange.head(200, {"content-type": "application/json", "content-length": "1000"})
    exchange.pause(FOREVER)


@fault("time.hang_after_3", "a streamed answer stops after three pieces", asks="stream")
def hang_after_3(exchange: Exchange) -> None:
    """Three pieces, then silence."""
    exchange.stream(islice(exchange.pieces(), 3))
    exchange.pause(FOREVER)


@fault("time.late", "the right answer after 30 seconds")
def late(exchange: Exchange) -> None:
    """Half a minute, then the right answer."""
    exchange.pause(30.0 * exchange.stub.pace)
    exchange.good()


@fault("time.long_prompts", "short prompts are answered at once, long ones after 30 seconds")
def long_prompts(exchange: Exchange) -> None:
    """Slow for prompts of more than 40 tokens."""
    asked = exchange.stub.answers.prompt(exchange.body).text
    if int(exchange.stub.answers.double.count([asked])[0]) > LONG:
        exchange.pause(30.0 * exchange.stub.pace)
    exchange.good()


@fault("time.jitter", "the right answer after 0 to 5 seconds; harmless under the deadline", harmless=True)
def jitter(exchange: Exchange) -> None:
    """A wait drawn by the request's number, then the right answer."""
    exchange.pause(float(rng(0, "jitter", exchange.number).random()) * 5.0 * exchange.stub.pace)
    exchange.good()
