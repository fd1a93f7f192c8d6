"""Lists of hostile inputs, one JSON value a line, written for these tests."""

import json
from pathlib import Path


def lines(name):
    """The values of a list."""
    return [json.loads(line) for line in (Path(__file__).parent / f"{name}.jsonl").read_text("ascii").splitlines()]


def body(parts):
    """The bytes of a body: texts with how often, or bytes in hex."""
    return b"".join(
        bytes.fromhex(one["hex"]) if isinstance(one, dict) else one[0].encode("utf-8", "surrogatepass") * one[1]
        for one in parts
    )
