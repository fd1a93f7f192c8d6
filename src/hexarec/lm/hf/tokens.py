"""Prompts as token ids: one chat format for tuning and inference, text that can never become a control token."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from hexarec.core.errors import ModelError
from hexarec.lm.base import SLOT, Prompt


class Tokens:
    """A tokenizer with its chat format, for `Prompt`s.

    ChatML where the vocabulary has its two control tokens, as the GGUF engine does it; else the checkpoint's own
    template in the tokenizer's sandbox; else labelled lines. Texts are encoded apart from the control tokens. A slot
    (`base.SLOT`) is one token whose embedding is replaced.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._backend = tokenizer.backend_tokenizer
        # a copy that takes the name of a control token for text; the setting must not depend on who else encodes
        self._plain = type(self._backend).from_str(self._backend.to_str())
        self._plain.no_padding()
        self._plain.no_truncation()
        self._plain.encode_special_tokens = True
        self.text = lru_cache(maxsize=50_000)(self._text)
        self._lines: tuple[int, ...] = self.text("\n")
        self._start, self._close = self._control("<|im_start|>"), self._control("<|im_end|>")
        self.slot: int = next(
            (t for t in (tokenizer.unk_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id) if t is not None), 0
        )
        self.begin: tuple[int, ...] = self._opening()

    @property
    def ends(self) -> frozenset[int]:
        """The ids that end an answer."""
        return frozenset(t for t in (self._close, self._tokenizer.eos_token_id) if t is not None)

    @property
    def end(self) -> int:
        """The id that closes an answer in tuning and in scoring of a whole answer."""
        token = self._close if self._close is not None else self._tokenizer.eos_token_id
        if token is None:
            raise ModelError("this tokenizer has no token that ends an answer")
        return int(token)

    def prompt(self, prompt: Prompt) -> list[int]:
        """The ids of a prompt, up to where the answer begins. Raises ModelError for a template that loses a turn."""
        if prompt.raw is not None:
            return [*self.begin, *self.slotted(prompt.raw)]
        if self._start is not None and self._close is not None:
            return self._chatml(prompt)
        if self._tokenizer.chat_template:
            return self._templated(prompt)
        lines = [f"{turn.role.capitalize()}: {turn.text}" for turn in prompt.turns]
        open_turn = prompt.turns[-1].role == "assistant"
        return [*self.begin, *self.slotted("\n\n".join(lines if open_turn else [*lines, "Assistant:"]))]

    def slotted(self, text: str) -> list[int]:
        """The ids of a text, each slot one token."""
        head, *rest = text.split(SLOT)
        ids = list(self.text(head))
        for piece in rest:
            ids += [self.slot, *self.text(piece)]
        return ids

    def one(self, text: str) -> int | None:
        """The id of a text that is a single token, else None."""
        ids = self.text(text)
        return ids[0] if len(ids) == 1 else None

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, control tokens left out."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def many(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of many texts at once, without slots."""
        found = self._plain.encode_batch([_clean(text) for text in texts], add_special_tokens=False)
        return [encoding.ids for encoding in found]

    def _text(self, text: str) -> tuple[int, ...]:
        return tuple(self.many([text])[0])

    def _control(self, name: str) -> int | None:
        token = self._backend.token_to_id(name)
        return None if token is None or self.text(name) == (token,) else int(token)

    def _opening(self) -> tuple[int, ...]:
        """What the tokenizer puts in front of any text, such as `<s>`."""
        with_marks = self._backend.encode("a", add_special_tokens=True).ids
        plain = self._backend.encode("a", add_special_tokens=False).ids
        return tuple(with_marks[: len(with_marks) - len(plain)]) if with_marks[-len(plain) :] == plain else ()

    def _chatml(self, prompt: Prompt) -> list[int]:
        ids = list(self.begin)
        for turn in prompt.turns:
            ids += [self._start, *self.slotted(f"{turn.role}\n{turn.text}"), self._close, *self._lines]  # type: ignore[list-item]
        if prompt.turns[-1].role == "assistant":
            return ids[: -1 - len(self._lines)]
        return [*ids, self._start, *self.text("assistant\n")]  # type: ignore[list-item]

    def _templated(self, prompt: Prompt) -> list[int]:
        """The checkpoint's template around stand-ins, which are then replaced by the texts, encoded apart."""
        nonce = secrets.token_hex(8)
        marks = [f"{nonce}{place}x" for place in range(len(prompt.turns))]
        turns = [{"role": turn.role, "content": mark} for turn, mark in zip(prompt.turns, marks, strict=True)]
        goes_on = prompt.turns[-1].role == "assistant"
        try:
            text = self._tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=not goes_on, continue_final_message=goes_on
            )
        except Exception as error:  # whatever the template raises, it is the checkpoint's
            raise ModelError(f"the chat template refuses this prompt: {str(error)[:200]}") from error
        ids: list[int] = []
        for mark, turn in zip(marks, prompt.turns, strict=True):
            before, found, text = text.partition(mark)
            if not found:
                raise ModelError(f"the chat template loses the turn of {turn.role}", hint="leave the system turn out")
            ids += self._backend.encode(before, add_special_tokens=False).ids + self.slotted(turn.text)
        return [*ids, *self._backend.encode(text, add_special_tokens=False).ids]


def _clean(text: str) -> str:
    """The text without lone surrogates, which no tokenizer takes."""
    return text.encode("utf-8", "replace").decode("utf-8")
