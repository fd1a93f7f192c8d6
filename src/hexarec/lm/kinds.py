"""The kinds of engine and what each can, read without loading any of them."""

from __future__ import annotations

from dataclasses import dataclass

from hexarec.lm.base import CAPABILITIES


@dataclass(frozen=True)
class Kind:
    """What stands before the colon of a model's name.

    can: its capabilities; `maybe`: those that only a probe of the server finds. extra: the optional dependency to
    install, "" for none; packages: what must be importable.
    """

    what: str
    can: frozenset[str]
    maybe: frozenset[str] = frozenset()
    extra: str = ""
    packages: tuple[str, ...] = ()


KINDS: dict[str, Kind] = {
    "gguf": Kind(
        "llama.cpp in this process",
        frozenset({"text", "json", "choice", "label", "hidden"}),
        extra="local",
        packages=("xllamacpp",),
    ),
    "hf": Kind(
        "torch in this process",
        frozenset(CAPABILITIES),
        extra="train",
        packages=("torch", "transformers", "safetensors"),
    ),
    "openai": Kind("an OpenAI-compatible server", frozenset({"text"}), maybe=frozenset({"json", "choice", "label"})),
    "fake": Kind("hand-written doubles", frozenset({"text", "json", "choice", "trie", "label", "score"})),
    "tiny": Kind("random weights in numpy", frozenset({"text", "label", "score", "hidden"})),
}
"""The kinds by name, in the order in which they are shown."""
