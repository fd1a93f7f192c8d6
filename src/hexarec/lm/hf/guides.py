"""What may come next: JSON that fits a schema, through llguidance, and the open branches of a token trie."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core.errors import MissingExtraError, OptionError
from hexarec.lm.tokentrie import Allowed


class Grammars:
    """Makes JSON guides for one tokenizer."""

    def __init__(self, tokenizer: Any, end: int, vocabulary: int) -> None:
        try:
            import llguidance
        except ImportError as error:
            raise MissingExtraError("llguidance", "train") from error
        self._guidance, self._vocabulary = llguidance, vocabulary
        self._tokenizer = llguidance.LLTokenizer(tokenizer.backend_tokenizer.to_str(), eos_token=end)

    def json(self, schema: Mapping[str, Any]) -> JsonGuide:
        """A guide for JSON that fits the schema, without blank lines. Raises OptionError for one it cannot follow."""
        text = json.dumps({**schema, "x-guidance": {"whitespace_flexible": False}})
        grammar = self._guidance.LLMatcher.grammar_from_json_schema(text)
        matcher = self._guidance.LLMatcher(self._tokenizer, grammar)
        if matcher.is_error():
            raise OptionError(f"the engine cannot follow this JSON Schema: {matcher.get_error()}")
        return JsonGuide(matcher, self._vocabulary)


class JsonGuide:
    """One answer's way through a grammar."""

    def __init__(self, matcher: Any, vocabulary: int) -> None:
        self._matcher, self._vocabulary = matcher, vocabulary

    def mask(self) -> NDArray[np.bool_]:
        """(vocabulary,) which tokens may come next."""
        if self._matcher.is_stopped():
            return np.zeros(self._vocabulary, np.bool_)
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        return np.unpackbits(bits, bitorder="little")[: self._vocabulary].astype(np.bool_)

    def take(self, token: int) -> None:
        """The answer goes on with this token."""
        self._matcher.consume_token(token)


class TrieGuide:
    """One answer's way through a token trie, for drawing at a temperature."""

    def __init__(self, allowed: Allowed, vocabulary: int) -> None:
        self._allowed, self._vocabulary, self._node = allowed, vocabulary, 0

    def mask(self) -> NDArray[np.bool_]:
        """(vocabulary,) the tokens of the open children."""
        made = np.zeros(self._vocabulary, np.bool_)
        made[self._allowed.trie.token[self._allowed.children(self._node)]] = True
        return made

    def take(self, token: int) -> None:
        """Go down to the child of this token."""
        children = self._allowed.children(self._node)
        self._node = int(children[np.flatnonzero(self._allowed.trie.token[children] == token)[0]])

    @property
    def number(self) -> int:
        """The sequence that ends here, or -1."""
        return int(self._allowed.trie.item[self._node])
