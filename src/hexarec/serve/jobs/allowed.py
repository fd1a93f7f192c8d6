"""What a configuration that came by the API may open: models of this machine, and addresses the server lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hexarec.core import OptionError

LOCAL = ("gguf:smollm2", "hf:smollm2", "fake:", "tiny:")
ENCODERS = ("minilm", "tfidf", "gguf:smollm2")
PATHS = ("path", "folder", "adapter", "adapters", "cache", "cassette", "file", "base_url", "url")
"""Options that name a place on disk or in a network; they are the operator's to set, not a caller's."""


def check_endpoints(config: Any, allowed: Sequence[str]) -> None:
    """Raise OptionError for a model, encoder or path in a configuration that the server does not allow.

    Allowed are embedded models by name, and the addresses of [serve] endpoints, letter by letter: an address is never
    parsed, resolved or compared by parts, so no way of writing one leads elsewhere.
    """
    if isinstance(config, Mapping):
        for name, value in config.items():
            if name in ("model", "lm", "judge") and isinstance(value, str):
                _check(value, LOCAL, allowed, "model")
            elif name == "encoder" and isinstance(value, str):
                _check(value, ENCODERS, allowed, "encoder")
            elif name in PATHS:
                raise OptionError(f"{name} may not be set by a caller", hint="set it in the server's configuration")
            else:
                check_endpoints(value, allowed)
    elif isinstance(config, list | tuple):
        for one in config:
            check_endpoints(one, allowed)
    elif isinstance(config, str) and (config.startswith(("openai:", "http:", "https:", "st:")) or "://" in config):
        _check(config, (), allowed, "address")


def _check(value: str, local: Sequence[str], allowed: Sequence[str], what: str) -> None:
    fine = value.startswith("@") or value in allowed
    fine = fine or any(value == one or (one.endswith(":") and value.startswith(one)) for one in local)
    if not fine:
        hint = f"allowed: {', '.join([*local, *allowed])}; the operator adds others to [serve] endpoints"
        raise OptionError(f"the {what} {value[:200]!r} is not allowed here", hint=hint)
