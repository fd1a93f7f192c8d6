"""What of a model is tuned: LoRA, bottlenecks, soft prompts, prefixes, or only modules of one's own.

The base stays as it is, in its own number type; what is tuned is float32. A `Tunable` puts its parts into a forward
(`on`), gives what stands before a prompt (`lead`, `past`), and is saved as an artefact that `lm.hf.adapters` reads.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hexarec.core.errors import OptionError
from hexarec.core.seeds import seed_words
from hexarec.lm.hf import artefact
from hexarec.lm.hf.adapters import Past
from hexarec.lm.hf.tokens import Tokens
from hexarec.lm.hf.weights import Base
from hexarec.parts.train.inserts import Part, part_of
from hexarec.parts.train.kinds import Kind


class Tunable:
    """A base with one tunable part of a `kind`, and `extra` modules (heads, bridges) that are tuned along.

    `start` is an artefact of the same kind to go on from. A part that is `held` stands in the forward as it is: only
    the extra modules are tuned. The base must not be asked for anything else meanwhile.
    Raises OptionError for impossible options, ModelError for a `start` of another base or kind.
    """

    def __init__(
        self,
        base: Base,
        kind: Kind,
        *,
        extra: Mapping[str, nn.Module] | None = None,
        start: str | Path | None = None,
        held: bool = False,
        seed: int = 0,
    ) -> None:
        self.base, self.kind, self.held, self.seed = base, kind, held, seed
        self.tokens = Tokens(base.tokenizer)
        self.extra = nn.ModuleDict(extra or {}).float().to(base.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_words(seed, "tunable", kind.name) % 2**63)
            self._part: Part = part_of(kind, base, self.tokens, seed)
        if held:
            self._part.held = True
            self._part.module.requires_grad_(False)
        if start is not None:
            self._begin(start)

    def _begin(self, start: str | Path) -> None:
        read = artefact.read(start)
        artefact.check_base(start, read.manifest["base"], self.base.fingerprint)
        if read.manifest["kind"] != self.kind.name:
            raise OptionError(f"{start} is a {read.manifest['kind']}, not a {self.kind.name}")
        own = {name: one for name, one in read.tensors.items() if not name.startswith("extra.")}
        self._part.fill(own)
        state = {name[6:]: one for name, one in read.tensors.items() if name.startswith("extra.")}
        if state:
            self.extra.load_state_dict(state)

    @property
    def mark(self) -> str:
        """What is tuned and over which base, as a text: equal marks, equal shapes."""
        return json.dumps([self.kind.name, asdict(self.kind), self.base.key], sort_keys=True)

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """What is tuned, by name; those of extra modules begin with `extra.`."""
        tuned = () if self.held else self._part.module.named_parameters()
        own = {f"{self.kind.name}.{name}": one for name, one in tuned}
        return own | {f"extra.{name}": one for name, one in self.extra.named_parameters()}

    @property
    def trainable(self) -> int:
        """How many numbers are tuned."""
        return sum(one.numel() for one in self.parameters.values())

    @property
    def share(self) -> float:
        """The tuned numbers as a share of the base's."""
        tuned = {id(one) for one in self.parameters.values()}
        base = sum(int(one.numel()) for one in self.base.model.parameters() if id(one) not in tuned)
        return self.trainable / base

    @contextmanager
    def on(self, training: bool = False) -> Iterator[None]:
        """With the part in the forward; `training` switches dropout on."""
        self.extra.train(training)
        self._part.module.train(training and not self.held)
        try:
            with self._part.on():
                yield
        finally:
            self.extra.eval()
            self._part.module.eval()

    def lead(self) -> Tensor | None:
        """(n, d) embeddings of the soft tokens before a prompt, with gradients; None for other kinds."""
        return self._part.lead()

    def past(self) -> Past | None:
        """Keys and values of every layer before a prompt, (kv heads, n, head size), with gradients, or None."""
        return self._part.past()

    def state(self) -> dict[str, Tensor]:
        """Copies of what is tuned."""
        return {name: one.detach().clone() for name, one in self.parameters.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave."""
        with torch.no_grad():
            for name, one in self.parameters.items():
                one.copy_(state[name])

    def begun(self) -> dict[str, Tensor]:
        """What a run starts from: the tuned weights, and those of a part that is held, which shape it as much."""
        return {**self.tensors(), **self.state()} if self.held else self.state()

    def tensors(self) -> dict[str, Tensor]:
        """What an artefact holds, by name; not copies."""
        tensors = {name: one.detach() for name, one in self._part.tensors().items()}
        return tensors | {f"extra.{name}": one for name, one in self.extra.state_dict().items()}

    def facts(self) -> dict[str, Any]:
        """Seed, count and share of what is tuned."""
        return {"seed": self.seed, "trainable": self.trainable, "share": self.share}

    def save(self, path: str | Path, **about: Any) -> Path:
        """Write the artefact; `about` (JSON values, such as prompts, split, metric) goes into its manifest."""
        facts = {**self.facts(), **about}
        return artefact.save(path, self.kind.name, asdict(self.kind), self.tensors(), self.base.fingerprint, facts)

    def detach(self) -> None:
        """Give the base back as it was. The tunable is of no use after it."""
        self._part.detach()
