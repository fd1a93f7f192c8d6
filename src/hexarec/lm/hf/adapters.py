"""Tuned weights over one shared base: read, checked, switched on for a forward, and gone after it.

Two ways in. LoRA and bottleneck adapters change what the base's modules compute: a forward inside `using` has them, and
needs the modules to be called as modules. Soft tokens and prefixes change what stands before a prompt: `vectors` are
embeddings of leading tokens, `past` is keys and values that every token sees. They are the caller's to put in place.

Positions are counted as peft counts them. n soft tokens stand at 0 to n - 1, before everything, `<s>` included, and the
prompt begins at n. n prefix keys are used as stored, without a rotation, and the prompt begins at n as well, because
transformers counts cached tokens.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from hexarec.core.errors import MissingExtraError, ModelError
from hexarec.lm.hf import artefact, bottleneck

Past = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True, eq=False)
class Adapter:
    """A loaded artefact. `digest` is the hash of its files and stands in cache keys; `name` is the path as given.

    vectors: float32 (n, d), embeddings of the leading soft tokens, or None. past: for every layer float32 keys and
    values, each (kv heads, n, head size), or None. extra: further tensors tuned along (heads, bridges), by name.
    `inside` says whether the base's modules compute something else, that is, whether `using` does anything.
    """

    name: str
    digest: str
    kind: str
    manifest: Mapping[str, Any]
    vectors: Tensor | None = None
    past: Past | None = None
    extra: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def inside(self) -> bool:
        """Whether it changes modules of the base."""
        return self.kind in ("lora", "bottleneck")

    @property
    def length(self) -> int:
        """How many positions stand before a prompt."""
        if self.vectors is not None:
            return len(self.vectors)
        return 0 if self.past is None else int(self.past[0][0].shape[1])


class Adapters:
    """The adapters of one base, at most `most` of them; who was not asked for longest gives way to a new one.

    `fingerprint` is that of the base. Not safe for several threads at once, but for what says so.
    """

    def __init__(self, model: Any, fingerprint: Mapping[str, str], most: int = 8) -> None:
        self._model, self._fingerprint, self._most = model, dict(fingerprint), most
        self._stamps: dict[tuple[str, Any], Adapter] = {}
        self._inside: dict[str, Any] = {}
        self._asked: dict[str, int] = {}
        """When each digest was asked for last, by the count of all askings."""
        self._clock = itertools.count()

    def known(self, path: str | Path) -> Adapter | None:
        """The adapter of a folder that was loaded and has not changed, or None. Raises ModelError without the folder.

        Safe beside a forward and beside `load`.
        """
        found = self._stamps.get((str(path), artefact.stamp(path)))
        if found is not None:
            self._asked[found.digest] = next(self._clock)
        return found

    def load(self, path: str | Path) -> Adapter:
        """The adapter of a folder, read once for as long as its files stay the same.

        Raises ModelError when it is missing, damaged, or was tuned for another base, and says what differs.
        """
        stamp = (str(path), artefact.stamp(path))
        if stamp not in self._stamps:
            read = artefact.read(path)
            artefact.check_base(path, read.manifest["base"], self._fingerprint)
            self._stamps[stamp] = self._made(str(path), read)
        found = self._stamps[stamp]
        self._asked[found.digest] = next(self._clock)
        held = {one.digest for one in self._stamps.values()}
        for digest in sorted(held, key=lambda one: self._asked.get(one, -1))[: -self._most]:
            self.release(digest)
        return found

    def release(self, digest: str) -> None:
        """Forget the adapter of a digest and take its modules out of the base; when asked for, it is read again."""
        self._stamps = {stamp: one for stamp, one in self._stamps.items() if one.digest != digest}
        self._asked.pop(digest, None)
        if isinstance(self._inside.pop(digest, None), list):
            eject(self._model, _name(digest))

    @contextmanager
    def using(self, adapter: Adapter | None) -> Iterator[None]:
        """With the adapter's modules in the forward; without any for None and for soft tokens and prefixes.

        One that was released since it was asked for is read again. Raises ModelError where its folder has changed.
        """
        if adapter is not None and adapter.inside and adapter.digest not in self._inside:
            if self.load(adapter.name).digest != adapter.digest:
                raise ModelError(f"{adapter.name} was replaced while a request for it waited", hint="ask again")
        with ExitStack() as stack:
            if adapter is not None and adapter.kind == "lora":
                stack.enter_context(active(self._inside[adapter.digest], _name(adapter.digest)))
            if adapter is not None and adapter.kind == "bottleneck":
                stack.enter_context(bottleneck.attached(self._model, self._inside[adapter.digest]))
            yield

    def _made(self, name: str, read: artefact.Artefact) -> Adapter:
        kind, tensors = read.manifest["kind"], dict(read.tensors)
        extra = {key[6:]: tensors.pop(key) for key in list(tensors) if key.startswith("extra.")}
        try:
            if kind in ("lora", "bottleneck") and read.digest not in self._inside:
                put = self._lora if kind == "lora" else self._bottleneck
                self._inside[read.digest] = put(read, tensors)
            past = past_of(tensors) if kind == "prefix" else None
            vectors = tensors["vectors"].float() if kind in ("prompt", "p-tuning") else None
        except (KeyError, RuntimeError, AttributeError, ValueError) as error:
            raise ModelError(f"{name} does not fit its own manifest: {error}", hint="tune again") from None
        return Adapter(name, read.digest, kind, read.manifest, vectors, past, extra)

    def _lora(self, read: artefact.Artefact, tensors: dict[str, Tensor]) -> list[Any]:
        name = _name(read.digest)
        layers = inject(self._model, name, read.manifest["options"])
        fill(layers, name, tensors)
        return [layer for _, layer in layers]

    def _bottleneck(self, read: artefact.Artefact, tensors: dict[str, Tensor]) -> dict[str, bottleneck.Bottleneck]:
        device = self._model.get_input_embeddings().weight.device
        return {name: one.to(device) for name, one in bottleneck.load(tensors).items()}


def _name(digest: str) -> str:
    return "a" + digest[:16]  # a module's name may not begin with a digit in every tool that reads it


def inject(model: Any, name: str, options: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Put LoRA layers of one adapter around the model's linear layers, switched off: (name, layer) of each.

    `options` are r, alpha, dropout and targets (names of linear layers, by their last word). Weights are float32
    whatever the base is. Raises MissingExtraError without peft, ValueError when no layer has a target's name or when
    what has it would be ignored in serving (see `_served`).
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise MissingExtraError("peft", "train") from None
    if name in getattr(model, "peft_config", {}):
        raise ValueError(f"the model has an adapter {name} already")
    _served(model, options["targets"])
    config = LoraConfig(
        r=options["r"],
        lora_alpha=options["alpha"],
        lora_dropout=options["dropout"],
        target_modules=list(options["targets"]),
    )
    with warnings.catch_warnings():
        # several adapters over one base are what this is for
        warnings.filterwarnings("ignore", "Already found a `peft_config`")
        inject_adapter_in_model(config, model, name)
    found = lora_layers(model, name)
    for _, layer in found:
        layer.lora_A[name].float()
        layer.lora_B[name].float()
        layer.eval()  # or its dropout is on
    switch([layer for _, layer in found], None)
    return found


def _served(model: Any, targets: Iterable[str]) -> None:
    """Raise ValueError for a target outside the decoder's layers: the engine reads head and embeddings as they are."""
    ends = tuple(f".{target}" for target in targets)
    body = {id(one) for one in model.get_decoder().modules() if not isinstance(one, nn.Embedding)}
    for place, one in model.named_modules():
        if f".{place}".endswith(ends) and id(one) not in body:
            raise ValueError(f"{place} is no layer of the decoder, and what is tuned there would not be served")


def lora_layers(model: Any, name: str) -> list[tuple[str, Any]]:
    """The LoRA layers that have an adapter of this name, with their places in the model."""
    from peft.tuners.lora import LoraLayer

    layers = ((place, one) for place, one in model.named_modules() if isinstance(one, LoraLayer))
    return [(place, one) for place, one in layers if name in one.lora_A]


def fill(layers: list[tuple[str, Any]], name: str, tensors: Mapping[str, Tensor]) -> None:
    """Copy saved weights `<module>.A` and `<module>.B` into LoRA layers. Raises ValueError when they do not fit."""
    if {f"{place}.{part}" for place, _ in layers for part in "AB"} != set(tensors):
        raise ValueError("its weights are for other layers")
    for place, layer in layers:
        layer.lora_A[name].weight.data.copy_(tensors[f"{place}.A"])
        layer.lora_B[name].weight.data.copy_(tensors[f"{place}.B"])


def eject(model: Any, name: str) -> None:
    """Take the LoRA layers of one adapter out of the model; layers without any other become what they were."""
    for place, layer in lora_layers(model, name):
        with warnings.catch_warnings():
            # which of the others counts as active while all are off means nothing
            warnings.filterwarnings("ignore", "Adapter .* was active which is now deleted")
            layer.delete_adapter(name)
        if not layer.lora_A:
            parent, _, child = place.rpartition(".")
            setattr(model.get_submodule(parent), child, layer.get_base_layer())
    getattr(model, "peft_config", {}).pop(name, None)
    if not getattr(model, "peft_config", True):
        del model.peft_config


def switch(layers: list[Any], name: str | None, tuning: bool = False) -> None:
    """Let LoRA layers use the adapter of this name, or none; `tuning` asks for gradients of its weights."""
    for layer in layers:
        if name is not None:
            layer.set_adapter(name, inference_mode=not tuning)
        layer._disable_adapters = name is None  # enable_adapters() would ask for gradients too


@contextmanager
def active(layers: list[Any], name: str, *, tuning: bool = False) -> Iterator[None]:
    """With one adapter in its LoRA layers, and none after it."""
    switch(layers, name, tuning)
    try:
        yield
    finally:
        switch(layers, None)


def past_of(tensors: Mapping[str, Tensor]) -> Past:
    """Keys and values of every layer from tensors `<layer>.key` and `<layer>.value`. Raises KeyError."""
    return [(tensors[f"{n}.key"].float(), tensors[f"{n}.value"].float()) for n in range(len(tensors) // 2)]
