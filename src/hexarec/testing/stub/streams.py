"""Faults of a streamed answer."""

from __future__ import annotations

from collections.abc import Iterator

from hexarec.testing.stub.registry import fault
from hexarec.testing.stub.server import DONE, Exchange, event


def _chunks(exchange: Exchange) -> list[bytes]:
    return list(exchange.pieces())[:-1]


@fault("stream.cut", "the connection closes in the middle of a piece", asks="stream")
def cut(exchange: Exchange) -> None:
    """The first pieces, and half of one."""
    chunks = _chunks(exchange)
    middle = chunks[len(chunks) // 2]
    exchange.stream([*chunks[: len(chunks) // 2], middle[: len(middle) // 2]])


@fault("stream.duplicated", "every piece, a line of the ranking, comes twice", asks="stream", harmless=True)
def duplicated(exchange: Exchange) -> None:
    """Every piece twice; the protocol numbers none, so only the reader of the text can tell."""
    exchange.stream([*(chunk for chunk in _chunks(exchange) for _ in range(2)), DONE])


@fault("stream.reordered", "the last piece comes first", asks="stream")
def reordered(exchange: Exchange) -> None:
    """All pieces from the last to the first."""
    exchange.stream([*_chunks(exchange)[::-1], DONE])


@fault("stream.unknown_event", "events of unknown types between the pieces", asks="stream", harmless=True)
def unknown_event(exchange: Exchange) -> None:
    """An order to the client before every piece."""
    evil = event({"choices": [{"index": 0, "delta": {"content": "[Z] evil\n"}, "finish_reason": None}]})
    exchange.stream([*(b"event: execute\n" + evil + chunk for chunk in _chunks(exchange)), DONE])


@fault("stream.no_done", "the end is not marked by [DONE]", asks="stream", harmless=True)
def no_done(exchange: Exchange) -> None:
    """All pieces, the last of which says that it is, and the end of the connection."""
    exchange.stream(_chunks(exchange))


@fault("stream.two_done", "the end is marked twice, with a piece in between", asks="stream", harmless=True)
def two_done(exchange: Exchange) -> None:
    """All pieces, the end, one more piece, the end."""
    chunks = _chunks(exchange)
    exchange.stream([*chunks, DONE, chunks[0], DONE])


@fault("stream.comments_only", "comments that keep the connection alive, and nothing else", asks="stream")
def comments_only(exchange: Exchange) -> None:
    """A comment every 20 ms until the client has enough."""

    def comments() -> Iterator[bytes]:
        while True:
            yield b": keep-alive\n\n"
            exchange.pause(0.02)

    exchange.stream(comments())
