"""One GGUF file loaded into the in-process llama.cpp server: tokens, completions, embeddings, one caller at a time.

The server opens a loopback port for the tokenizer; it is locked by a random key that never leaves this process.
Chat templates in the file are never evaluated.
"""

from __future__ import annotations

import os
import secrets
import threading
import weakref
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx

from hexarec.core.errors import MissingExtraError, ModelError

_LIVE: weakref.WeakValueDictionary[tuple[Any, ...], Llama] = weakref.WeakValueDictionary()
_LIVE_LOCK = threading.Lock()


def share(path: Path, window: int, threads: int, *, embedding: bool = False) -> Llama:
    """The loaded model for these settings; two openers of one file share it. Raises as `Llama` does."""
    key = (str(path.resolve()), window, threads, embedding)
    with _LIVE_LOCK:
        found = _LIVE.get(key)
        if found is None:
            found = _LIVE[key] = Llama(path, window, threads, embedding=embedding)
        return found


def free_threads() -> int:
    """2 on a machine with two idle cores, else 1.

    The engine's threads wait for each other by spinning, several hundred times a token: where one of two is kept off
    its core by other work, both together are slower, by ten times and more, than one alone.
    """
    try:
        busy = os.getloadavg()[0]
    except (OSError, AttributeError):
        # not every system tells
        busy = 0.0
    return 2 if (os.cpu_count() or 1) - busy > 1.25 else 1


class Llama:
    """The loaded file. `window` is in tokens; `lock` is held by whoever talks to the engine, `tenant` who did last.

    Raises MissingExtraError without xllamacpp and ModelError for a file that does not load.
    """

    def __init__(self, path: Path, window: int, threads: int, *, embedding: bool) -> None:
        self.lock, self.tenant = threading.Lock(), ""
        key = secrets.token_hex(16)
        self._server = _serve(path, window, threads, key, embedding)
        self._client = httpx.Client(
            base_url=self._server.listening_address, headers={"Authorization": f"Bearer {key}"}, timeout=30.0
        )
        meta = self._get("/v1/models")["data"][0]["meta"]
        self.vocabulary, self.trained_window = int(meta["n_vocab"]), int(meta["n_ctx_train"])
        self.dim = int(meta["n_embd"])
        self.tokens = lru_cache(maxsize=20_000)(self._tokens)
        self.opening = self._special("")

    def _get(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            reply = self._client.post(path, json=body) if body is not None else self._client.get(path)
            reply.raise_for_status()
            answer: dict[str, Any] = reply.json()
        except (httpx.HTTPError, ValueError) as error:
            raise ModelError(f"the embedded engine did not answer {path}: {error}") from error
        return answer

    def _tokens(self, text: str) -> tuple[int, ...]:
        body = {"content": text, "add_special": False, "parse_special": False}
        return tuple(self._get("/tokenize", body)["tokens"])

    def _special(self, text: str) -> tuple[int, ...]:
        return tuple(self._get("/tokenize", {"content": text, "add_special": True, "parse_special": True})["tokens"])

    def control(self, text: str) -> int | None:
        """The token id of a control token such as `<|im_start|>`, or None where the model has none of that name."""
        ids = self._special(text)[len(self.opening) :]
        return ids[0] if len(ids) == 1 and self.tokens(text) != ids else None

    def complete(self, request: dict[str, Any], stop: Callable[[str], bool] | None = None) -> dict[str, Any]:
        """Run one completion request and return the server's last message, with all text in `text`.

        `stop` sees each piece of text and ends the generation by returning True; the result then has `stopped`.
        A refused request returns `{"error": {...}}`. The caller holds `lock`.
        """
        pieces: list[str] = []
        last: dict[str, Any] = {}

        def hear(chunk: dict[str, Any]) -> bool:
            last.update(chunk)
            piece = chunk["choices"][0]["text"] if chunk.get("choices") else ""
            pieces.append(piece)
            if stop is None or not stop(piece):
                return False
            last["stopped"] = True
            return True

        try:
            if stop is None:
                last = self._server.handle_completions(request)
                return last if "error" in last else {**last, "text": last["choices"][0]["text"]}
            self._server.handle_completions({**request, "stream": True}, hear)
        except RuntimeError as error:
            return {"error": {"message": str(error)}}
        return {**last, "text": "".join(pieces)}

    def embed(self, ids: list[int]) -> list[float]:
        """The mean of the last layer's states over the tokens, not normalised. Raises ModelError when refused."""
        with self.lock:
            reply = self._server.handle_embeddings({"input": [ids]})
        if "error" in reply:
            raise ModelError(f"the embedded engine refused to embed: {reply['error'].get('message', '')}")
        vector: list[float] = reply["data"][0]["embedding"]
        return vector


def _serve(path: Path, window: int, threads: int, key: str, embedding: bool) -> Any:
    try:
        import xllamacpp
    except ImportError as error:
        raise MissingExtraError("xllamacpp", "local") from error
    if not path.is_file():
        raise ModelError(f"there is no model file at {path}", hint="check the path, or run `hexarec models install`")
    params = _settings(xllamacpp, path, window, threads, key)
    if embedding:
        # an embedding needs its whole text in one physical batch
        params.embedding, params.embd_normalize, params.n_ubatch = True, -1, window
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    try:
        return xllamacpp.Server(params)
    except RuntimeError as error:
        raise ModelError(
            f"{path.name} does not load: {error}", hint="the file is no whole GGUF model: fetch it again"
        ) from error


def _settings(xllamacpp: Any, path: Path, window: int, threads: int, key: str) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx, params.n_batch, params.n_ubatch = window, max(window, 512), 512
    # one slot: several would recompute each other's prefixes
    params.n_parallel, params.cache_ram_mib = 1, 256
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.api_keys, params.ui, params.endpoint_slots, params.n_threads_http = [key], False, False, 2
    # a fixed template: the one in the file is foreign code
    params.use_jinja, params.chat_template, params.enable_chat_template = False, "chatml", False
    params.verbosity, params.n_gpu_layers = -1, 0
    return params
