"""Faults of the body: an answer that does not read, or is far too much to read."""

from __future__ import annotations

import functools
import json
import math
import zlib

from hexarec.testing.stub.answers import logprobs
from hexarec.testing.stub.registry import fault
from hexarec.testing.stub.server import Exchange

BIG = 50_000_000
"""Bytes of `body.big`, and of `body.gzip_bomb` when it is unpacked."""


@fault("body.empty", "no body at all")
def empty(exchange: Exchange) -> None:
    """Status 200 and nothing."""
    exchange.raw(b"")


@fault("body.html", "a page of a proxy instead of JSON")
def html(exchange: Exchange) -> None:
    """What a load balancer says."""
    exchange.raw(b"<html><body><h1>502 Bad Gateway</h1></body></html>", headers={"content-type": "text/html"})


@fault("body.cut_json", "JSON that ends in the middle, with the right length")
def cut_json(exchange: Exchange) -> None:
    """Half of the right body, as if it were whole."""
    body = json.dumps(exchange.reply()).encode()
    exchange.raw(body[: len(body) // 2])


@fault("body.wrong_charset", "UTF-16 that calls itself UTF-8")
def wrong_charset(exchange: Exchange) -> None:
    """The right body in another encoding."""
    body = json.dumps(exchange.reply()).encode("utf-16")
    exchange.raw(body, headers={"content-type": "application/json; charset=utf-8"})


@fault("body.lone_surrogates", "half characters in front of the answer", harmless=True)
def lone_surrogates(exchange: Exchange) -> None:
    """The right text behind text that no encoding takes."""
    exchange.say("\ud800 \udfff\n" + exchange.reply()["choices"][0]["message"]["content"])


@fault("body.big", "50 MB, in pieces")
def big(exchange: Exchange) -> None:
    """A body without end, as far as a client cares."""
    exchange.head(200, {"content-type": "application/json", "content-length": str(BIG)})
    piece = b'{"choices": [' + b" " * 65_523
    for _ in range(BIG // len(piece)):
        exchange.write(piece)
    exchange.hang_up()


@functools.cache
def _bomb() -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(b" " * 1_000_000) for _ in range(BIG // 1_000_000)) + packer.flush()


@fault("body.gzip_bomb", "50 KB that unpack to 50 MB, packed without having been asked to")
def gzip_bomb(exchange: Exchange) -> None:
    """A small body with a large inside."""
    exchange.raw(_bomb(), headers={"content-encoding": "gzip"})


@fault("body.no_choices", "choices: []")
def no_choices(exchange: Exchange) -> None:
    """An answer without answers."""
    exchange.json({**exchange.reply(), "choices": []})


@fault("body.two_choices", "a second choice that nobody asked for", harmless=True)
def two_choices(exchange: Exchange) -> None:
    """The right answer and another one."""
    made = exchange.reply()
    other = {**made["choices"][0], "index": 1, "message": {"role": "assistant", "content": "[Z] another"}}
    exchange.json({**made, "choices": [*made["choices"], other]})


@fault("body.null_content", "content: null")
def null_content(exchange: Exchange) -> None:
    """A message that says nothing."""
    made = exchange.reply()
    made["choices"][0]["message"]["content"] = None
    exchange.json(made)


@fault("body.nan_logprobs", "log-probabilities that are no numbers", asks="label")
def nan_logprobs(exchange: Exchange) -> None:
    """NaN for every other token, as JSON does not allow but Python writes."""
    made = exchange.reply()
    odds = exchange.stub.answers.odds(exchange.stub.answers.prompt(exchange.body))
    broken = [(token, math.nan if place % 2 else value) for place, (token, value) in enumerate(odds)]
    made["choices"][0]["logprobs"] = logprobs(broken)
    exchange.json(made)


@fault("body.no_logprobs", "the wish for log-probabilities is ignored", asks="label")
def no_logprobs(exchange: Exchange) -> None:
    """The answer of a server that does not know the option."""
    made = exchange.reply()
    made["choices"][0].pop("logprobs", None)
    exchange.json(made)


@fault("body.wrong_order", "choices or embeddings in another order than their index says", harmless=True)
def wrong_order(exchange: Exchange) -> None:
    """The right answer behind another; embeddings from the last to the first."""
    made = exchange.reply()
    if "data" in made:
        return exchange.json({**made, "data": made["data"][::-1]})
    other = {**made["choices"][0], "index": 1, "message": {"role": "assistant", "content": "[Z] another"}}
    exchange.json({**made, "choices": [other, *made["choices"]]})
