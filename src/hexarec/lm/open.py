"""The doors: a name such as `gguf:smollm2` or `minilm` opens a language model or an encoder."""

from __future__ import annotations

import difflib
import threading
from collections.abc import Callable
from inspect import signature
from typing import Any
from weakref import WeakValueDictionary

from hexarec.core.errors import HexarecError, MissingExtraError, ModelError, OptionError
from hexarec.lm import fake
from hexarec.lm.address import without_secrets
from hexarec.lm.base import Encoder, LanguageModel

LM_NAMES = (
    "gguf:smollm2",
    "gguf:/path/to/file.gguf",
    "hf:smollm2",
    "hf:/path/to/directory",
    "openai:model",
    "openai:http://host:port/v1#model",
    *(f"fake:{name}" for name in fake.NAMES),
    "tiny:any-name",
)
ENCODER_NAMES = ("minilm", "tfidf", "gguf:smollm2", "openai:http://host:port/v1#model", "st:name-or-path")


LIMITS = (
    "rate_per_minute",
    "tokens_per_minute",
    "retries",
    "retry_budget",
    "breaker",
    "cooldown",
    "price_in",
    "price_out",
)


_WEIGHTS = frozenset({"gguf", "hf"})
_SHARED: WeakValueDictionary[tuple[str, str], LanguageModel] = WeakValueDictionary()
_SHARING = threading.Lock()


def open_lm(name: str, **options: Any) -> LanguageModel:
    """Open a language model by name; `options` go to its constructor (`window`, `threads`, `workers`, ...).

    Options named in LIMITS wrap it in `Guarded`. What was given stays as `options`, so that a saved reference opens the
    same model again. Raises OptionError for an unknown name or option, ModelError for a model that is missing or
    damaged, and MissingExtraError for a package that is.
    """
    check_lm(name)
    kind, _, rest = name.partition(":")
    own = {key: value for key, value in options.items() if key not in LIMITS}
    made = _opened(name, _LM[kind], rest, own)
    made.options = own
    return _limited(made, options)


def shared_lm(name: str, **options: Any) -> LanguageModel:
    """As `open_lm`; weights that are in memory under this name and these options are not loaded a second time.

    Engines are thread-safe and keep nothing of their callers, so pipelines share them; limits stay everybody's own.
    """
    if name.partition(":")[0] not in _WEIGHTS:
        return open_lm(name, **options)
    own = {key: value for key, value in options.items() if key not in LIMITS}
    key = name, repr(sorted(own.items()))
    with _SHARING:
        engine = _SHARED.get(key)
        if engine is None:
            engine = _SHARED[key] = open_lm(name, **own)
    return _limited(engine, options)


def _limited(engine: Any, options: dict[str, Any]) -> LanguageModel:
    """The engine under the limits among the options, if there are any."""
    limits = {key: value for key, value in options.items() if key in LIMITS}
    if not limits:
        bare: LanguageModel = engine
        return bare
    from hexarec.lm.guard import Guarded

    made = Guarded(engine, **limits)
    made.options = dict(options)
    return made


def open_encoder(name: str, **options: Any) -> Encoder:
    """Open an encoder by name; `options` go to its constructor. Raises as `open_lm` does."""
    check_encoder(name)
    kind, _, rest = name.partition(":")
    made = _opened(name, _ENCODERS[kind], rest, options)
    made.options = dict(options)  # so that a saved reference opens the same model again
    opened: Encoder = made
    return opened


def check_lm(name: str) -> None:
    """Raise OptionError for a name that opens no language model; nothing is opened."""
    kind, _, rest = name.partition(":")
    if kind not in _LM or not rest:
        raise _unknown(name, LM_NAMES)


def check_encoder(name: str) -> None:
    """Raise OptionError for a name that opens no encoder; nothing is opened."""
    kind, _, rest = name.partition(":")
    if kind not in _ENCODERS or (kind in ("openai", "st", "gguf") and not rest):
        raise _unknown(name, ENCODER_NAMES)


def _opened(name: str, opener: Callable[..., Any], rest: str, options: dict[str, Any]) -> Any:
    try:
        return opener(rest, **options)
    except TypeError as error:
        if "unexpected keyword" not in str(error):
            raise
        raise OptionError(
            f"{without_secrets(name)}: {str(error).partition(') ')[2] or error}", hint="see docs/lm.md"
        ) from None


def _unknown(name: str, known: tuple[str, ...]) -> OptionError:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    guess = f"did you mean {near[0]!r}? " if near else ""
    return OptionError(f"there is no model called {without_secrets(name)!r}", hint=f"{guess}Names: {', '.join(known)}")


def _gguf(rest: str, **options: Any) -> LanguageModel:
    from hexarec.lm.gguf import GGUF

    return GGUF(rest, **options)


def _address(rest: str) -> str:
    """What stands behind `openai:`. Raises OptionError for a protocol that is not HTTP: no model is called so."""
    protocol, colon, _ = rest.partition("://")
    if colon and protocol.lower() not in ("http", "https"):
        raise OptionError(
            f"openai:{without_secrets(rest)}: an endpoint is reached over http or https, not {protocol}",
            hint="write openai:http://host:port/v1#model",
        )
    return rest


def _endpoint(rest: str, **options: Any) -> LanguageModel:
    from hexarec.lm.endpoint import Endpoint

    return Endpoint(_address(rest), **options)


def _fake(rest: str, **options: Any) -> LanguageModel:
    try:
        double: LanguageModel = fake.make(rest, **options)
    except KeyError:
        raise _unknown(f"fake:{rest}", LM_NAMES) from None
    return double


def _tiny(rest: str, **options: Any) -> LanguageModel:
    from hexarec.lm.tiny import Tiny

    return Tiny(rest, **options)


def _hf(rest: str, **options: Any) -> LanguageModel:
    from hexarec.lm.hf.weights import need_torch

    need_torch()
    from hexarec.lm.hf.engine import HF

    signature(HF).bind(rest, **options)  # a wrong option is told from what a foreign file raises
    try:
        return HF(rest, **options)
    except HexarecError:
        raise
    except Exception as error:  # damaged weights and tokenizers raise the errors of four libraries
        raise ModelError(
            f"hf:{rest} does not load: {type(error).__name__}: {str(error)[:200]}",
            hint="the directory needs whole config.json, tokenizer.json and *.safetensors; fetch or save it again",
        ) from error


def _minilm(rest: str, dtype: Any = None, **options: Any) -> Encoder:
    """In torch where it is installed, else in numpy, with the same float32 vectors; a dtype asks for torch."""
    place: dict[str, Any] = {"folder": rest} if rest else {}
    try:
        from hexarec.lm.hf.minilm import TorchMiniLM
    except ImportError as error:
        if dtype is not None:
            raise MissingExtraError(error.name or "torch", "embed") from error
        from hexarec.lm.encode import MiniLM

        return MiniLM(**place, **options)
    return TorchMiniLM(**place, dtype=dtype or "float32", **options)


def _tfidf(rest: str, **options: Any) -> Encoder:
    from hexarec.lm.tfidf import TfidfSvd

    return TfidfSvd(**options)


def _hidden(rest: str, **options: Any) -> Encoder:
    from hexarec.lm.gguf import GGUFHidden

    return GGUFHidden(rest, **options)


def _endpoint_encoder(rest: str, **options: Any) -> Encoder:
    from hexarec.lm.endpoint import EndpointEncoder

    return EndpointEncoder(_address(rest), **options)


def _sentence_transformers(rest: str, **options: Any) -> Encoder:
    from hexarec.lm.encode import SentenceTransformers

    return SentenceTransformers(rest, **options)


_LM: dict[str, Callable[..., LanguageModel]] = {
    "gguf": _gguf,
    "openai": _endpoint,
    "fake": _fake,
    "tiny": _tiny,
    "hf": _hf,
}
_ENCODERS: dict[str, Callable[..., Encoder]] = {
    "minilm": _minilm,
    "tfidf": _tfidf,
    "gguf": _hidden,
    "openai": _endpoint_encoder,
    "st": _sentence_transformers,
}
