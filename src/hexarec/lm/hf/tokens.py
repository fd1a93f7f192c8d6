"""Prompts as token ids: one chat format for tuning and inference, text that can never become a control token."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from hexarec.core.errors import ModelError
from hexarec.lm.base import SLOT, Prompt

_MARK = -1  # a slot's place while a prompt is read; the slot's own token may stand elsewhere in it too
_SHORT = 200  # characters of texts whose ids are kept: titles and labels, not prompts


class Tokens:
    """A tokenizer with its chat format, for `Prompt`s.

    ChatML where the vocabulary has its two control tokens, as the GGUF engine does it; else the checkpoint's own
    template in the tokenizer's sandbox; else labelled lines. Texts are encoded apart from the control tokens, and as
    what goes on behind others: a tokenizer that marks the beginning of a text does so only at the very beginning. A
    slot (`base.SLOT`) is one token whose embedding is replaced; without vectors its character is text like any other.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._backend = tokenizer.backend_tokenizer
        # a copy that takes the name of a control token for text; the setting must not depend on who else encodes
        self._plain = type(self._backend).from_str(self._backend.to_str())
        self._plain.no_padding()
        self._plain.no_truncation()
        self._plain.encode_special_tokens = True
        self._short = lru_cache(maxsize=50_000)(self._text)
        self._lead: tuple[int, ...] = tuple(self._encoded(["\n"])[0])
        self._marks = self._encoded(["\na"])[0] != [*self._lead, *self._encoded(["a"])[0]]
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
        return self.read(prompt)[0]

    def read(self, prompt: Prompt, *, slots: bool | None = None) -> tuple[list[int], list[int]]:
        """The ids of a prompt and the places of its slots among them.

        slots: whether the slot's character stands for one, by default where the prompt has vectors. Raises ModelError
        for a template that loses a turn.
        """
        marked = self._ids(prompt, _Cut(self, prompt.vectors is not None if slots is None else slots))
        places = [place for place, token in enumerate(marked) if token == _MARK]
        for place in places:
            marked[place] = self.slot
        return marked, places

    def _ids(self, prompt: Prompt, cut: _Cut) -> list[int]:
        if prompt.raw is not None:
            return [*self.begin, *cut(prompt.raw, first=True)]
        if self._start is not None and self._close is not None:
            return self._chatml(prompt, cut)
        if self._tokenizer.chat_template:
            return self._templated(prompt, cut)
        lines = [f"{turn.role.capitalize()}: {turn.text}" for turn in prompt.turns]
        open_turn = prompt.turns[-1].role == "assistant"
        text = "\n\n".join(lines if open_turn else [*lines, "Assistant:"])
        return [*self.begin, *cut(text, first=True)]

    def text(self, text: str) -> tuple[int, ...]:
        """The ids of a text that goes on behind another, without slots."""
        return self._short(text) if len(text) <= _SHORT else self._text(text)

    def forget(self) -> None:
        """Drop the texts whose ids are kept."""
        self._short.cache_clear()

    def one(self, text: str) -> int | None:
        """The id of a text that is a single token, else None."""
        ids = self.text(text)
        return ids[0] if len(ids) == 1 else None

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, control tokens left out."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def many(self, texts: Sequence[str], *, first: bool = False) -> list[list[int]]:
        """The ids of many texts at once, without slots; each goes on behind another text unless it is the first."""
        if first or not self._marks:
            return self._encoded(texts)
        # the mark of a beginning falls to the new line in front, which is taken away again
        whole, alone = self._encoded([f"\n{text}" for text in texts]), self._encoded(texts)
        size = len(self._lead)
        return [ids[size:] if tuple(ids[:size]) == self._lead else own for ids, own in zip(whole, alone, strict=True)]

    def _encoded(self, texts: Sequence[str]) -> list[list[int]]:
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

    def _chatml(self, prompt: Prompt, cut: _Cut) -> list[int]:
        ids = list(self.begin)
        for turn in prompt.turns:
            ids += [self._start, *cut(f"{turn.role}\n{turn.text}"), self._close, *self._lines]  # type: ignore[list-item]
        if prompt.turns[-1].role == "assistant":
            return ids[: -1 - len(self._lines)]
        return [*ids, self._start, *self.text("assistant\n")]  # type: ignore[list-item]

    def _templated(self, prompt: Prompt, cut: _Cut) -> list[int]:
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
            frame = before.rstrip(" ")  # a space goes with the word behind it, as the whole text is cut
            ids += [*self._frame(frame, first=not ids), *cut(before[len(frame) :] + turn.text)]
        return [*ids, *self._frame(text, first=False)]

    def _frame(self, text: str, *, first: bool) -> list[int]:
        """The ids of a piece of the template, in which control tokens are what they are."""
        alone: list[int] = self._backend.encode(text, add_special_tokens=False).ids
        if first or not self._marks:
            return alone
        whole: list[int] = self._backend.encode(f"\n{text}", add_special_tokens=False).ids
        size = len(self._lead)
        return whole[size:] if tuple(whole[:size]) == self._lead else alone


class _Cut:
    """The ids of a text in which a slot's character is a slot, marked by `_MARK`, or text."""

    def __init__(self, tokens: Tokens, slots: bool) -> None:
        self._tokens, self._slots = tokens, slots

    def __call__(self, text: str, *, first: bool = False) -> list[int]:
        head, *rest = text.split(SLOT) if self._slots else [text]
        ids = list(self._tokens.many([head], first=True)[0] if first else self._tokens.text(head))
        for piece in rest:
            ids += [_MARK, *self._tokens.text(piece)]
        return ids


def _clean(text: str) -> str:
    """The text without lone surrogates, which no tokenizer takes."""
    return text.encode("utf-8", "replace").decode("utf-8")
