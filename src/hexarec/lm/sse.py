"""Server-sent events, as far as an answer in pieces needs them: data of known events, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

KNOWN = frozenset({"", "message"})
"""The event types that carry chunks; any other is ignored, whatever its data says."""


def lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a byte stream, without their ends; a last line that is not finished is left out."""
    rest = b""
    for piece in pieces:
        rest = (rest + piece).replace(b"\r\n", b"\n")
        *whole, rest = rest.split(b"\n")
        yield from whole


def events(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The data of every event of a known type. Comments and other fields are skipped."""
    kind = ""
    data: list[bytes] = []
    for line in lines(pieces):
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if not line:
            if data and kind in KNOWN:
                yield b"\n".join(data)
            kind, data = "", []
        elif name == b"event":
            kind = value.decode("utf-8", "replace").strip()
        elif name == b"data":
            data.append(value)
