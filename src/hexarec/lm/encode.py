"""Texts to vectors: MiniLM in numpy (no torch), and the door to sentence-transformers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import erf

from hexarec.core.errors import MissingExtraError, ModelError
from hexarec.core.run import current
from hexarec.lm import models
from hexarec.lm.base import Floats
from hexarec.lm.engine import unit_rows

_BATCH_TOKENS = 4096


class MiniLM:
    """all-MiniLM-L6-v2: a six-layer BERT, mean pooled, 384 numbers. Texts are cut at 256 tokens, as the model wants.

    `folder` defaults to the installed model. Raises ModelError when it is missing or holds another network,
    MissingExtraError without tokenizers and safetensors. Thread-safe. The runtime of `minilm` without torch.
    """

    runtime = "numpy"

    def __init__(self, folder: str | Path | None = None) -> None:
        place = models.path("minilm") if folder is None else Path(folder)
        self.name = "minilm"
        self.spec = "minilm" if folder is None else f"minilm:{folder}"
        self._tokenizer = _tokenizer(place / "tokenizer.json")
        self._weights = _load(place / "model.safetensors")
        try:
            config = json.loads((place / "config.json").read_text(encoding="utf-8"))
            self.dim, self._heads = int(config["hidden_size"]), int(config["num_attention_heads"])
            self._layers, self._eps = int(config["num_hidden_layers"]), float(config["layer_norm_eps"])
            self._check()
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f"{place} does not hold MiniLM: {error}", hint="run `hexarec models install`") from error

    def _check(self) -> None:
        shape = self._weights["embeddings.word_embeddings.weight"].shape
        if shape[1] != self.dim or f"encoder.layer.{self._layers - 1}.output.dense.weight" not in self._weights:
            raise ValueError("the weights do not fit config.json")

    def encode(self, texts: Sequence[str]) -> Floats:
        """(n, 384) unit rows. An empty text has the vector of its two frame tokens."""
        clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        ids = [entry.ids for entry in self._tokenizer.encode_batch(clean)]
        rows = np.zeros((len(texts), self.dim), dtype=np.float32)
        for batch in _batches(ids):
            current().check()
            rows[batch] = self._forward([ids[row] for row in batch])
        return unit_rows(rows)

    def _forward(self, ids: list[list[int]]) -> Floats:
        """Mean states (b, dim) of b token lists; padded positions are masked everywhere."""
        b, t = len(ids), max(len(row) for row in ids)
        tokens = np.zeros((b, t), dtype=np.int64)
        mask = np.zeros((b, t), dtype=np.float32)
        for row, own in enumerate(ids):
            tokens[row, : len(own)] = own
            mask[row, : len(own)] = 1.0
        w = self._weights
        x = w["embeddings.word_embeddings.weight"][tokens] + w["embeddings.position_embeddings.weight"][:t]
        x = self._norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm").reshape(b * t, -1)
        shut = np.where(mask[:, None, None, :] > 0, np.float32(0), np.float32(-1e9))
        for layer in range(self._layers):
            x = self._layer(x, shut, f"encoder.layer.{layer}.", b, t)
        states = x.reshape(b, t, self.dim) * mask[:, :, None]
        return np.asarray(states.sum(axis=1) / mask.sum(axis=1, keepdims=True), dtype=np.float32)

    def _layer(self, x: Floats, shut: Any, key: str, b: int, t: int) -> Floats:
        """One block over (b * t, dim) states."""
        q, k, v = (
            self._linear(x, f"{key}attention.self.{part}").reshape(b, t, self._heads, -1).transpose(0, 2, 1, 3)
            for part in ("query", "key", "value")
        )
        match = q @ k.transpose(0, 1, 3, 2) / np.float32(np.sqrt(q.shape[-1])) + shut
        match -= match.max(axis=-1, keepdims=True)
        np.exp(match, out=match)
        match /= match.sum(axis=-1, keepdims=True)
        mixed = (match @ v).transpose(0, 2, 1, 3).reshape(b * t, self.dim)
        x = self._norm(x + self._linear(mixed, f"{key}attention.output.dense"), f"{key}attention.output.LayerNorm")
        inner = self._linear(x, f"{key}intermediate.dense")
        inner *= np.float32(0.5) * (1 + erf(inner * np.float32(0.5**0.5)))
        return self._norm(x + self._linear(inner, f"{key}output.dense"), f"{key}output.LayerNorm")

    def _linear(self, x: Floats, key: str) -> Floats:
        made: Floats = x @ self._weights[f"{key}.weight"].T
        made += self._weights[f"{key}.bias"]
        return made

    def _norm(self, x: Floats, key: str) -> Floats:
        centred = x - x.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + np.float32(self._eps))
        return np.asarray(centred / spread * self._weights[f"{key}.weight"] + self._weights[f"{key}.bias"], np.float32)


class SentenceTransformers:
    """Any sentence-transformers model by name or folder; raises MissingExtraError without the package."""

    def __init__(self, model: str) -> None:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise MissingExtraError("sentence-transformers", "embed") from error
        self.name = self.spec = f"st:{model}"
        try:
            # foreign code in a model's folder is never run
            self._model = SentenceTransformer(model, device="cpu", trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise ModelError(f"{model} does not open: {error}", hint="a folder, or a name on a hub in reach") from error
        self.dim = int(len(self._model.encode([" "])[0]))

    def encode(self, texts: Sequence[str]) -> Floats:
        """(n, dim) unit rows; an empty text is read as one space."""
        if not texts:
            return np.zeros((0, self.dim), dtype=np.float32)
        current().check()
        rows = self._model.encode([text or " " for text in texts], show_progress_bar=False)
        return unit_rows(np.asarray(rows, dtype=np.float32))


def _batches(ids: list[list[int]]) -> Iterator[list[int]]:
    """Row numbers in batches of like length, of at most 4,096 padded tokens."""
    batch: list[int] = []
    for row in sorted(range(len(ids)), key=lambda row: len(ids[row])):
        if batch and len(ids[row]) * (len(batch) + 1) > _BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _tokenizer(file: Path) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingExtraError("tokenizers", "local") from error
    if not file.is_file():
        raise ModelError(f"there is no tokenizer at {file}", hint="run `hexarec models install`")
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:
        # the tokenizers package raises plain exceptions
        raise ModelError(f"{file} does not load: {error}", hint="run `hexarec models install`") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    return tokenizer


def _load(file: Path) -> dict[str, Any]:
    try:
        from safetensors.numpy import load_file
    except ImportError as error:
        raise MissingExtraError("safetensors", "local") from error
    try:
        loaded: dict[str, Any] = load_file(file)
    except Exception as error:
        # safetensors has an exception class of its own, of no common base
        raise ModelError(f"{file} does not load: {error}", hint="run `hexarec models install`") from error
    return {key.removeprefix("bert."): value for key, value in loaded.items()}
