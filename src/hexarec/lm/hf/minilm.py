"""The encoder `minilm` in torch: the same vectors as the numpy one, several times as fast."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch

from hexarec.core.errors import ModelError, OptionError
from hexarec.core.run import current
from hexarec.lm import models
from hexarec.lm.base import Floats
from hexarec.lm.encode import _load, _tokenizer
from hexarec.lm.engine import unit_rows
from hexarec.lm.hf.bert import Block, Body, Embedding, Layer, Shape
from hexarec.lm.hf.eightbit import SAMPLES, exact, layers8

DType = Literal["float32", "bfloat16", "int8"]
BATCH_TOKENS = 2048  # what a layer holds of so many stays near the processor


class TorchMiniLM:
    """all-MiniLM-L6-v2 on the CPU, without padding. Texts are cut at 256 tokens. Thread-safe.

    `minilm` without a dtype opens it in float32 wherever torch is installed.

    `dtype`: float32 gives the numpy path's vectors within rounding. The others were measured against it on 505 texts,
    nearly all film titles: bfloat16 has a mean cosine of .99996 (least .9999) and 9.9 of the 10 nearest neighbours;
    int8, which multiplies bytes by scales fixed when it opens, .9987 (least .9915) and 9.4 of 10. A row changes with
    its batch by rounding alone, in any element by less than 1e-5 (float32), 5e-3 (bfloat16), 2e-2 (int8); on the
    processor it was tried on, not at all.

    `folder` defaults to the installed model. Raises ModelError when it is missing or holds another network, OptionError
    for an unknown dtype and for int8 where the processor has no exact product of bytes, MissingExtraError without
    tokenizers and safetensors.
    """

    runtime = "torch"

    def __init__(self, folder: str | Path | None = None, dtype: DType = "bfloat16") -> None:
        _check(dtype)
        place = models.path("minilm") if folder is None else Path(folder)
        # float32 is what the numpy path gives too: whatever was made of one serves with the other
        self.name = "minilm" if dtype == "float32" else f"minilm-{dtype}"
        self.spec = "minilm" if folder is None else f"minilm:{folder}"
        self.options: dict[str, Any] = {} if dtype == "float32" else {"dtype": dtype}
        self._tokenizer = _tokenizer(place / "tokenizer.json")
        weights = {key: torch.from_numpy(array).float() for key, array in _load(place / "model.safetensors").items()}
        try:
            shape = Shape.read(place / "config.json")
            self.dim, self._body = shape.width, self._made(weights, shape, dtype)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ModelError(f"{place} does not hold MiniLM: {error}", hint="run `hexarec models install`") from error

    def _made(self, weights: dict[str, torch.Tensor], shape: Shape, dtype: DType) -> Body:
        embedding = Embedding(weights, shape)
        blocks = [Block.of(weights, number, shape) for number in range(shape.layers)]
        if dtype == "int8":
            with torch.inference_mode():
                return Body(embedding, layers8(blocks, shape, embedding, self._ids(SAMPLES)))
        return Body(embedding, [Layer(block, shape, getattr(torch, dtype)) for block in blocks])

    def encode(self, texts: Sequence[str]) -> Floats:
        """(n, dim) unit rows. An empty text has the vector of its two frame tokens; equal texts are computed once."""
        places = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        ids = self._ids(list(places))
        rows = np.zeros((len(ids), self.dim), dtype=np.float32)
        for batch in _batches([len(own) for own in ids]):
            current().check()
            with torch.inference_mode():
                rows[batch] = self._body([ids[row] for row in batch]).numpy()
        return unit_rows(rows)[[places[text] for text in texts]]

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        return [entry.ids for entry in self._tokenizer.encode_batch_fast(clean)]


def _check(dtype: str) -> None:
    if dtype not in get_args(DType):
        raise OptionError(f"unknown dtype {dtype!r}", hint=f"one of {', '.join(get_args(DType))}")
    if dtype == "int8" and not exact():
        raise OptionError("this processor has no exact product of bytes", hint="use dtype='bfloat16'")


def _batches(sizes: Sequence[int]) -> Iterator[list[int]]:
    """Row numbers by rising size, each batch of at most BATCH_TOKENS tokens unless one text has more."""
    batch: list[int] = []
    full = 0
    for row in sorted(range(len(sizes)), key=sizes.__getitem__):
        if batch and full + sizes[row] > BATCH_TOKENS:
            yield batch
            batch, full = [], 0
        batch.append(row)
        full += sizes[row]
    if batch:
        yield batch
