"""What a configuration that came by the API may open: models of this machine, and addresses the server lists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hexarec.core import OptionError
from hexarec.lm.address import withheld, without_secrets

MODELS = ("gguf:smollm2", "hf:smollm2", "fake:", "tiny:")
ENCODERS = ("minilm", "tfidf", "gguf:smollm2")
OPENERS = ("gguf:", "hf:", "fake:", "tiny:", "openai:", "st:", "minilm:", "http:", "https:")
PLACES = frozenset({
    "path", "folder", "start", "adapter", "adapters", "cache", "cassette", "file", "base_url", "url", "key_name",
    "url_name",
})  # fmt: skip
"""Options that name a place on disk or in a network, or a variable with a secret; they are the operator's to set."""


def check_endpoints(config: Any, allowed: Sequence[str]) -> None:
    """Raise OptionError for a model, encoder or place in a configuration that the server does not allow.

    Allowed are embedded models by name, and the addresses of [serve] endpoints, letter by letter: an address is never
    parsed, resolved or compared by parts, so no way of writing one leads elsewhere.
    """
    for name, value in _values(config):
        if name in PLACES:
            raise OptionError(f"{name} may not be set by a caller", hint="set it in the server's configuration")
        if not isinstance(value, str) or value.startswith("@"):
            continue
        if name == "encoder":
            _check(value, ENCODERS, allowed)
        elif name in ("model", "lm") or "://" in value or value.strip().lower().startswith(OPENERS):
            _check(value, MODELS, allowed)
    uses = config.get("use", {}) if isinstance(config, Mapping) else {}
    for value in uses.values() if isinstance(uses, Mapping) else ():
        if isinstance(value, str):  # the short form of { model = ... }
            _check(value, MODELS, allowed)


def _values(config: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a configuration, however deep, with the name it stands under."""
    yield name, config
    if isinstance(config, Mapping):
        for key, value in config.items():
            yield from _values(value, str(key))
    elif isinstance(config, list | tuple):
        for one in config:
            yield from _values(one, name)


def _check(value: str, local: Sequence[str], allowed: Sequence[str]) -> None:
    allowed = [one for entry in allowed for one in dict.fromkeys((entry, withheld(entry)))]
    if value in allowed or any(value == one or (one.endswith(":") and value.startswith(one)) for one in local):
        return
    known = dict.fromkeys((*local, *map(withheld, allowed)))  # as they may be written by who knows no password
    hint = f"allowed: {', '.join(known)}; the operator adds others to [serve] endpoints"
    raise OptionError(f"{without_secrets(value)[:200]!r} is not allowed here", hint=hint)
