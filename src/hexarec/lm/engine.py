"""What back ends share: the refusal of calls they cannot answer, token guesses, labels as tokens, JSON checked."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from typing import Any

import numpy as np

from hexarec.core.errors import ModelError, OptionError
from hexarec.lm.base import Choice, Completion, Constraint, Floats, Ints, JsonSchema, Prompt, ScoreRow, Trie, lacks

VERBS = ("generate", "stream", "label", "score", "hidden")
Verb = Callable[..., Any]


class Engine:
    """What a back end starts from: a call it does not override is one it cannot do, and says so.

    Every verb of a back end refuses prompts with vectors or an adapter that it cannot honour. A completion that the
    length limit cut short of its constraint keeps its text and finish, and carries an error, so that it is not `good`.
    """

    name: str = ""
    spec: str = ""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # here and not in each verb: one that forgets to look would answer as if nothing had been asked for
        for verb in VERBS:
            if verb in vars(cls):
                setattr(cls, verb, _looking(vars(cls)[verb]))
        if "generate" in vars(cls):
            cls.generate = _telling_cut(vars(cls)["generate"])  # type: ignore[attr-defined]

    @property
    def can(self) -> frozenset[str]:
        """The capabilities of this engine."""
        return frozenset()

    def need(self, capability: str) -> None:
        """Raise CapabilityError unless this engine has `capability`."""
        if capability not in self.can:
            raise lacks(self.name, capability)

    def admit(self, prompts: Sequence[Prompt], within: Constraint | None = None) -> None:
        """Raise CapabilityError when the constraint, or what a prompt carries, is beyond this engine.

        Raises OptionError for a JSON Schema that is none.
        """
        if within is None:
            self.need("text")
        else:
            self.need({Choice: "choice", Trie: "trie", JsonSchema: "json"}[type(within)])
            if isinstance(within, JsonSchema):
                check_schema(within.schema)
        self.check_cargo(prompts)

    def check_cargo(self, prompts: Sequence[Prompt]) -> None:
        """Raise CapabilityError when a prompt carries vectors or an adapter, and this engine can honour neither."""
        if any(prompt.vectors is not None or prompt.adapter is not None for prompt in prompts):
            self.need("vectors")

    def label(self, prompts: Sequence[Prompt], labels: Sequence[str]) -> Floats:
        """Not offered; raises CapabilityError."""
        raise lacks(self.name, "label")

    def score(self, prompts: Sequence[Prompt], choices: Sequence[Sequence[str]]) -> list[ScoreRow]:
        """Not offered; raises CapabilityError."""
        raise lacks(self.name, "score")

    def hidden(self, prompts: Sequence[Prompt], layer: int = -1, pool: str = "mean") -> Floats:
        """Not offered; raises CapabilityError."""
        raise lacks(self.name, "hidden")

    def weights(self) -> tuple[Any, Any]:
        """Not offered; raises CapabilityError."""
        raise lacks(self.name, "weights")


def _looking(verb: Verb) -> Verb:
    """The verb, which looks first at what its prompts carry."""

    @wraps(verb)
    def looked(self: Engine, prompts: Any, *rest: Any, **options: Any) -> Any:
        self.check_cargo([prompts] if isinstance(prompts, Prompt) else prompts)
        return verb(self, prompts, *rest, **options)

    return looked


def _telling_cut(generate: Verb) -> Verb:
    """The verb, whose answers say when the length limit cut them short of their constraint."""

    @wraps(generate)
    def told(self: Engine, prompts: Sequence[Prompt], within: Constraint | None = None) -> list[Completion]:
        return [_cut(made, within) for made in generate(self, prompts, within)]

    return told


def _cut(made: Completion, within: Constraint | None) -> Completion:
    if made.finish != "length" or within is None or keeps(made.text, within):
        return made
    what = "JSON" if isinstance(within, JsonSchema) else "option"
    return replace(made, error=f"the answer was cut after {made.tokens_out} tokens, before its {what} was whole")


def keeps(text: str, within: Constraint) -> bool:
    """Whether a text keeps to a constraint: one of its strings, or JSON that `fits` its schema."""
    if not isinstance(within, JsonSchema):
        return text in (within.options if isinstance(within, Choice) else within.sequences)
    try:
        return fits(json.loads(text), within.schema)
    except (ValueError, RecursionError):
        return False


_CJK = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORDS = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+|[^\w\s]")


def rough_count(texts: Sequence[str]) -> Ints:
    """(n,) token counts guessed without a tokenizer: a CJK character or a mark is 1, a word 1 per begun 5 letters."""
    return np.array([sum(-(-len(word) // 5) for word in _WORDS.findall(text)) for text in texts], dtype=np.int32)


def unit_rows(rows: Floats) -> Floats:
    """(n, d) rows scaled to length 1; a row of zeros stays."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-12), dtype=np.float32)


_BARE = re.compile(rf"[\s{_CJK}(\[{{<\"'“‘（【《「『：，。！？；、…]")  # after these an answer begins without a space
Tokenise = Callable[[str], Sequence[int]]


def stands_bare(ending: str) -> bool:
    """Whether an answer behind a text that ends with this character begins without a space."""
    return not ending or bool(_BARE.match(ending))


def label_forms(labels: Sequence[str], ending: str, ids: Tokenise, name: str) -> list[tuple[str, list[int]]]:
    """Each label as it reads behind a text that ends with the character `ending`, and its token ids there.

    After white space, an opening bracket or quote, and Chinese letters and marks the label stands as it is, after any
    other letter or mark behind a space. The other form is taken when only that one is a single token; a label that is
    one token in neither keeps the first form and all its tokens. Ids are those by which the tokens of ending and label
    differ from those of the ending alone, since a tokenizer may cut a text's start in another way.

    Raises ModelError for an empty label, and for two that share their tokens.
    """
    made: list[tuple[str, list[int]]] = []
    for label in labels:
        bare = label.strip()
        if not bare:
            raise ModelError(f"{name}: a label is empty")
        forms = (bare, " " + bare) if stands_bare(ending) else (" " + bare, bare)
        read = [(form, _behind(ending, form, ids)) for form in forms]
        made.append(next((one for one in read if len(one[1]) == 1), read[0]))
    if len({tuple(tokens) for _, tokens in made}) < len(made):
        raise ModelError(f"{name}: two of the labels {list(labels)} are the same token")
    return made


def label_tokens(labels: Sequence[str], ending: str, ids: Tokenise, name: str) -> list[int]:
    """The token id of each label, as `label_forms` reads it; tuning and inference read the same one.

    Raises ModelError for a label that is never one token, and as `label_forms` does.
    """
    made = []
    for label, (_, tokens) in zip(labels, label_forms(labels, ending, ids, name), strict=True):
        if len(tokens) != 1:
            raise ModelError(f"{name}: the label {label!r} is not one token", hint="use single letters or short words")
        made.append(tokens[0])
    return made


def _behind(ending: str, form: str, ids: Tokenise) -> list[int]:
    before, whole = list(ids(ending)) if ending else [], list(ids(ending + form))
    # where the form grows together with what stands before, the prompt keeps its tokens and the form stands alone
    return whole[len(before) :] if whole[: len(before)] == before else list(ids(form))


_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def fits(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether a JSON value keeps to the type, enum, const, required, properties, items and length rules of a schema.

    Other keywords are not checked: this is a guard against engines that ignore the schema, not a validator.
    """
    if "enum" in schema and value not in schema["enum"] or "const" in schema and value != schema["const"]:
        return False
    kinds = schema.get("type")
    if kinds is not None:
        names = [kinds] if isinstance(kinds, str) else list(kinds)
        if not any(_is_a(value, name) for name in names):
            return False
    if isinstance(value, dict):
        inner = schema.get("properties", {})
        known = all(fits(part, inner.get(key, {})) for key, part in value.items())
        return known and all(key in value for key in schema.get("required", ()))
    if isinstance(value, list):
        fewest, most = schema.get("minItems", 0), schema.get("maxItems", len(value))
        return fewest <= len(value) <= most and all(fits(part, schema.get("items", {})) for part in value)
    return True


def check_schema(schema: Mapping[str, Any]) -> None:
    """Raise OptionError for a JSON Schema with an unknown type or a bad pattern: some engines ignore such a schema."""
    kinds = schema.get("type", [])
    for kind in [kinds] if isinstance(kinds, str) else kinds:
        if kind not in _TYPES:
            raise OptionError(f"a JSON Schema has no type {kind!r}", hint=f"types: {', '.join(_TYPES)}")
    try:
        re.compile(schema.get("pattern", ""))
    except re.error as error:
        raise OptionError(f"bad pattern in a JSON Schema: {error}") from error
    for part in (*schema.get("properties", {}).values(), schema.get("items")):
        if isinstance(part, Mapping):
            check_schema(part)


def _is_a(value: Any, name: str) -> bool:
    # bool is an int in Python, not in JSON
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, _TYPES.get(name, ()))
