"""Find out, once, what an endpoint can do; the finding is kept in a JSON file in the models directory."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from hexarec.core.atomic import write_text
from hexarec.core.errors import RetryableModelError
from hexarec.lm import models
from hexarec.lm.base import Choice, JsonSchema, LanguageModel, Prompt
from hexarec.lm.endpoint import Endpoint
from hexarec.lm.wire import Busy, Refused

_SCHEMA = {
    "type": "object",
    "properties": {"colour": {"type": "string", "enum": ["red", "green"]}},
    "required": ["colour"],
    "additionalProperties": False,
}


def probe(lm: LanguageModel) -> frozenset[str]:
    """What a model can: for an endpoint by trying text, json, choice and label, for any other engine what it says.

    The finding of an endpoint is remembered under its name. Raises RetryableModelError when it cannot be reached, so a
    server that was down is not remembered as unable.
    """
    if not isinstance(lm, Endpoint):
        return lm.can
    free = lm.with_can(frozenset({"text", "json", "choice", "label"}))
    plain = free.generate([Prompt.user("Say hello.", max_tokens=8)])[0]
    if plain.finish == "error":
        raise RetryableModelError(f"{lm.name} does not answer: {plain.error}", hint="is the server running?")
    found = {"text"}
    question = Prompt.user("Which colour has grass? Answer in JSON.", max_tokens=40)
    if free.generate([question], JsonSchema(_SCHEMA))[0].finish == "stop":
        found.add("json")
    if free.generate([question], Choice(("red", "green")))[0].finish == "stop":
        found.add("choice")
    if _labels(free):
        found.add("label")
    _remember(lm.name, found)
    return frozenset(found)


def _labels(lm: Endpoint) -> bool:
    try:
        return bool(lm.first_tokens(Prompt.user("Answer with the one letter A.", max_tokens=1)))
    except (Busy, Refused):
        # servers without logprobs ignore the wish, or refuse the request
        return False


def _file() -> Path:
    return models.folder() / "endpoints.json"


def _read() -> dict[str, list[str]]:
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(_file().read_text(encoding="utf-8"))
        if isinstance(known, dict):
            return known
    return {}


def remembered(name: str) -> frozenset[str] | None:
    """What an earlier probe found for this name, or None."""
    known = _read().get(name)
    return None if known is None else frozenset(known)


def _remember(name: str, found: set[str]) -> None:
    known = {**_read(), name: sorted(found)}
    write_text(_file(), json.dumps(known, indent=1, sort_keys=True))
