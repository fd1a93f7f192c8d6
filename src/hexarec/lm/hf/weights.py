"""Weights into memory: a GGUF de-quantised once and kept as safetensors, a Hugging Face directory, or a hub name.

Weights are read from safetensors only and no code of a checkpoint is run. What a chat template says is asked of the
tokenizer's sandbox, never evaluated here (see `tokens`).
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hexarec.core.atomic import atomic_folder
from hexarec.core.errors import MissingExtraError, ModelError, OptionError
from hexarec.lm import models
from hexarec.lm.base import canonical_hash
from hexarec.lm.hf import toy

DType = Literal["auto", "float32", "bfloat16", "int8"]
DTYPES = ("auto", "float32", "bfloat16", "int8")
_NOTED = ("dtype", "torch_dtype", "transformers_version", "architectures")
_CUT = (
    "The Matrix (1999) don't  1234.5\n\tNEW-York \u00e9t\u00e9 \u201cx\u201d "
    "\u7528\u6237\u559c\u6b22\u3002 \U0001f3ac <|im_end|></s>"
)
"""Words, digits, spaces, lines, accents, Chinese, a picture and control tokens: where tokenizers differ."""
_FASTER = 1.2  # bfloat16 is worth its rounding from here


@dataclass(frozen=True, eq=False)
class Base:
    """A causal model in evaluation mode, its tokenizer, and the fingerprint that adapters are checked against.

    `fingerprint` has the hashes (hex) of the configuration, the tokenizer, the chat template and the weight files.
    """

    model: Any
    tokenizer: Any
    fingerprint: dict[str, str]
    dtype: str
    device: str

    @property
    def key(self) -> str:
        """One hash of the fingerprint and the dtype; it stands in cache keys."""
        return canonical_hash([self.fingerprint, self.dtype])


def load(source: str, *, dtype: DType = "auto", device: str = "auto") -> Base:
    """Load a causal language model for inference or tuning.

    `source` is an embedded model's name, `tiny` (random weights, for tests), a .gguf file, a Hugging Face directory, or
    a name on a model hub (owner/name). `dtype` auto takes bfloat16 where a matrix product is measured to be faster by a
    fifth, else float32. int8 weights are loaded as that, and `prepare` in `linear` does the rest.

    Raises OptionError for an unknown dtype or a name that is none of these, ModelError for weights that are missing,
    damaged, not safetensors or not a causal model, MissingExtraError without torch and transformers.
    """
    if dtype not in DTYPES:
        raise OptionError(f"unknown dtype {dtype!r}", hint=f"one of {', '.join(DTYPES)}")
    torch = need_torch()
    where = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    kind = _measured(where) if dtype in ("auto", "int8") else dtype
    folder = _folder(source)
    with quiet():
        model = _model(folder, getattr(torch, kind), source).to(where)
        tokenizer = _tokenizer(folder, source)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return Base(
        model.eval(), tokenizer, _fingerprint(folder, model, tokenizer), dtype if dtype == "int8" else kind, where
    )


def need_torch() -> Any:
    """The torch module. Raises MissingExtraError, naming the extra, when it or transformers is not installed."""
    try:
        import torch
        import transformers  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(error.name or "torch", "train") from error
    return torch


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars and notes of transformers, which belong to nobody's run."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _folder(source: str) -> Path | str:
    """The directory to load from, made of a GGUF where need be; a hub name stays a name."""
    if source == toy.NAME:
        return toy.place()
    if source in models.REGISTRY:
        return _unpacked(models.path(source) / models.REGISTRY[source].weights)
    path = Path(source).expanduser()
    if path.suffix == ".gguf":
        return _unpacked(path)
    if path.is_dir():
        if not any(path.glob("*.safetensors")):
            raise ModelError(
                f"{path} holds no safetensors weights",
                hint="convert them: pickled weights can run code and are refused",
            )
        return path
    if path.is_absolute() or source.startswith(("./", "../", "~")) or source.count("/") > 1:
        raise ModelError(f"there is no model directory {source}")
    if "/" not in source:  # a hub would be asked, for a minute without a network, for what it cannot have
        close = difflib.get_close_matches(source, (toy.NAME, *models.REGISTRY), n=1)
        hint = f"did you mean hf:{close[0]}? " if close else ""
        raise OptionError(
            f"there is no model called 'hf:{source}'",
            hint=f"{hint}a directory is given by its path, a model of a hub as owner/name",
        )
    return source


def _unpacked(gguf: Path) -> Path:
    """The safetensors directory of a GGUF file, written on first use and named by the file's hash."""
    if not gguf.is_file():
        raise ModelError(f"there is no model file at {gguf}", hint="run `hexarec models install`")
    place = models.folder() / "safetensors" / _file_hash(gguf)[:24]
    if not (place / "config.json").is_file():
        with atomic_folder(place) as part, quiet():
            _dequantise(gguf, part)
    return place


def _dequantise(gguf: Path, place: Path) -> None:
    from safetensors.torch import save_file

    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=need_torch().float32)
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    except ImportError as error:
        raise MissingExtraError("gguf", "train") from error
    except Exception as error:  # the reader raises struct, key, value and its own errors for a broken file
        raise ModelError(
            f"{gguf.name} does not load: {type(error).__name__}: {str(error)[:200]}",
            hint="the file is no whole GGUF model: fetch it again",
        ) from error
    tied = model.config.tie_word_embeddings
    state = {k: v.contiguous() for k, v in model.state_dict().items() if not (tied and k == "lm_head.weight")}
    save_file(state, place / "model.safetensors", metadata={"format": "pt"})
    _split_as_trained(gguf, tokenizer)
    tokenizer.save_pretrained(place)
    config = {key: value for key, value in model.config.to_dict().items() if key != "quantization_config"}
    config |= {"architectures": [type(model).__name__], "_name_or_path": ""}
    (place / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")


def _split_as_trained(gguf: Path, tokenizer: Any) -> None:
    """Cut text as the model was trained: the conversion knows an architecture's cut, not that of this vocabulary."""
    from gguf import GGUFReader
    from tokenizers import pre_tokenizers

    field = GGUFReader(gguf).fields.get("tokenizer.ggml.pre")
    if field is not None and field.contents() == "smollm":
        cuts = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(cuts)


def _model(folder: Path | str, dtype: Any, source: str) -> Any:
    from transformers import AutoModelForCausalLM

    try:
        model, told = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            attn_implementation="sdpa",
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"hf:{source} does not load: {str(error).splitlines()[0][:300]}",
            hint="give an installed model's name, a .gguf file, a directory with config.json and *.safetensors, or a "
            "name on a reachable model hub",
        ) from error
    _whole(model, told, source)
    return model


_SCALED = ("final_logit_softcapping", "logit_scale", "logits_scaling")


def _whole(model: Any, told: dict[str, Any], source: str) -> None:
    """Refuse what would give wrong numbers without a word.

    That is: weights drawn at random, weights that are left out (a layer more than the configuration says, a bias it
    does not know), an output layer with a scale.
    """
    for which, said in (("missing_keys", "lacks"), ("unexpected_keys", "has no place for")):
        if named := sorted(told[which]):
            wrong = f"hf:{source} {said} {len(named)} weights, such as {named[0]}"
            raise ModelError(wrong, hint="configuration and weights are not of one model: fetch it again")
    config = model.config.get_text_config()
    scaled = [name for name in _SCALED if getattr(config, name, None) not in (None, 1.0, 1)]
    if scaled:
        raise ModelError(f"hf:{source} scales or caps its logits ({scaled[0]}), which the engine does not do")


def _tokenizer(folder: Path | str, source: str) -> Any:
    from transformers import AutoTokenizer

    try:
        made = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ModelError(f"hf:{source} has no tokenizer: {str(error).splitlines()[0][:300]}") from error
    if not made.is_fast:
        raise ModelError(f"hf:{source} has no tokenizer.json", hint="save it once with a fast tokenizer")
    return made


def _fingerprint(folder: Path | str, model: Any, tokenizer: Any) -> dict[str, str]:
    return {
        "config": canonical_hash(json.loads(json.dumps(_shape(model.config), default=str))),
        "tokenizer": _tokenizer_hash(tokenizer.backend_tokenizer),
        "template": canonical_hash(tokenizer.chat_template),
        "weights": _weights_hash(folder, model),
    }


def _shape(config: Any) -> dict[str, Any]:
    """What a configuration says beyond the defaults of its class: a field that transformers learns later is none."""
    try:
        plain = type(config)().to_dict()
    except (TypeError, ValueError):  # a few classes have fields without a default
        plain = {}
    said = {name: value for name, value in config.to_dict().items() if name not in _NOTED and not name.startswith("_")}
    return {"model_type": config.model_type} | {k: v for k, v in said.items() if k not in plain or plain[k] != v}


def _tokenizer_hash(backend: Any) -> str:
    """Of the vocabulary and of how a text is cut; how a version of the library writes that down is not part of it."""
    made = backend.encode(_CUT, add_special_tokens=False)
    cut = [token for token, real in zip(made.ids, made.attention_mask, strict=True) if real]  # without padding
    return canonical_hash([sorted(backend.get_vocab(with_added_tokens=True).items()), cut])


def _weights_hash(folder: Path | str, model: Any) -> str:
    if isinstance(folder, Path):
        files = sorted(folder.glob("*.safetensors"))
        return canonical_hash([[file.name, _file_hash(file)] for file in files])
    return canonical_hash([str(folder), getattr(model.config, "_commit_hash", None)])


def _file_hash(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _measured(device: str) -> str:
    """bfloat16 where a product of two matrices of a model's size is faster in it, else float32."""
    torch = need_torch()
    if device != "cpu":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    took = {kind: _product_seconds(torch, getattr(torch, kind)) for kind in ("float32", "bfloat16")}
    return "bfloat16" if took["float32"] > _FASTER * took["bfloat16"] else "float32"


def _product_seconds(torch: Any, dtype: Any) -> float:
    a, b = torch.ones(512, 576, dtype=dtype), torch.ones(1536, 576, dtype=dtype)
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        torch.nn.functional.linear(a, b)
        best = min(best, time.perf_counter() - started)
    return best
