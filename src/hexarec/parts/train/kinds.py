"""The kinds of tunable parts and their options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal


@dataclass(frozen=True)
class LoRA:
    """Low-rank updates of linear layers: W + (alpha / r) B A (Hu et al. 2021, arXiv:2106.09685).

    The defaults are TALLRec's. targets: the last words of the layers' names.
    """

    r: int = 8
    alpha: float = 16.0
    dropout: float = 0.05
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    name: ClassVar[str] = "lora"


@dataclass(frozen=True)
class Bottleneck:
    """Residual networks of `inner` units after the MLP, or after attention too (`after`)."""

    inner: int = 16
    after: tuple[Literal["mlp", "attention"], ...] = ("mlp",)
    name: ClassVar[str] = "bottleneck"


@dataclass(frozen=True)
class PromptTuning:
    """`tokens` embeddings before the prompt (Lester et al. 2021, arXiv:2104.08691), begun from `text` if given."""

    tokens: int = 20
    text: str = ""
    name: ClassVar[str] = "prompt"


@dataclass(frozen=True)
class PTuning:
    """`tokens` embeddings before the prompt, made by a network of `hidden` units (Liu et al. 2021, arXiv:2103.10385).

    The artefact keeps what the network made, so it cannot be gone on from.
    """

    tokens: int = 20
    hidden: int = 128
    encoder: Literal["MLP", "LSTM"] = "MLP"
    name: ClassVar[str] = "p-tuning"


@dataclass(frozen=True)
class PrefixTuning:
    """`tokens` keys and values before the prompt in every layer (Li and Liang 2021, arXiv:2101.00190).

    They begin as the base's own of `text`, or of drawn tokens: random ones would drown the prompt. With `hidden` above
    0 a network of that width makes them in tuning; it begins at random, and the artefact keeps what it made.
    """

    tokens: int = 20
    text: str = ""
    hidden: int = 0
    name: ClassVar[str] = "prefix"


@dataclass(frozen=True)
class Frozen:
    """Nothing of the base: only extra modules are tuned."""

    name: ClassVar[str] = "frozen"


Kind = LoRA | Bottleneck | PromptTuning | PTuning | PrefixTuning | Frozen
