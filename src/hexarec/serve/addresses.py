"""Addresses whose ids may hold a slash: it travels encoded, and must not part a path while the route is found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SLASH = "\0"
"""Stands for an encoded slash in a path until the route is found."""


def with_slashes(values: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a path as they were meant, once the route is found."""
    return {name: value.replace(SLASH, "/") if isinstance(value, str) else value for name, value in values.items()}
