"""What the stub says when nothing is wrong: answers of a double, in the shapes of the OpenAI protocol.

The same request gets the same answer, to the last byte.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from hexarec.core import OptionError, digest, rng
from hexarec.lm import fake
from hexarec.lm.base import Completion, Constraint, JsonSchema, Prompt
from hexarec.lm.engine import rough_count
from hexarec.lm.fake import Double, Obedient
from hexarec.lm.reading import Page, read, tokens

MODEL = "stub"
DIM = 64
"""The length of the stub's embeddings."""
_ORDERS = re.compile(
    r"ignore|disregard|instruction|system|assistant|rank|put .* first|at the top|must|always|recommend|output|answer"
    r"|忽略|必须|推荐|排在|第一|ignorez|classez|ignoriere|setze|</|<\||-->|[{}]",
    re.IGNORECASE,
)
_BASE64 = re.compile(r"[A-Za-z0-9+/]{16,}={0,2}")
INVENTED = "[Z9] An Item That Nobody Sells"
"""What the obedient stub adds to its answer when an item told it anything."""


def told(line: str) -> bool:
    """Whether a line of the prompt gives orders, in the open or in base64."""
    if _ORDERS.search(line):
        return True
    for word in _BASE64.findall(line):
        try:
            text = base64.b64decode(word + "=" * (-len(word) % 4)).decode("utf-8")
        except (binascii.Error, ValueError):
            continue
        if _ORDERS.search(text):
            return True
    return False


class Obeying(Obedient):
    """Obeys every order in item text: the ordering item stands first, and an invented one in front of it."""

    def worth(self, page: Page) -> list[float]:
        """The worth of `Obedient`, and 20 more for every option that gives an order."""
        pairs = zip(super().worth(page), page.options, strict=True)
        return [worth + 20.0 * told(option) for worth, option in pairs]

    def answer(self, prompt: Prompt, within: Constraint | None) -> Completion:
        """The ranking, behind an item that does not exist where any line gave an order."""
        made, page = super().answer(prompt, within), read(prompt.text)
        if within is None and any(told(line) for line in (*page.options, *page.history)):
            return Completion(f"{INVENTED}\n{made.text}")
        return made


def double(name: str) -> Double:
    """The double that answers: "obedient" obeys every injection, others are those of `fake:`. Raises OptionError."""
    if name == "obedient":
        return Obeying()
    try:
        made: Double = fake.make(name)
    except KeyError:
        raise OptionError(f"the stub cannot answer as {name!r}", hint=f"as: {', '.join(fake.NAMES)}") from None
    return made


class Answers:
    """Replies of a double to request bodies; every method takes the body and returns the reply."""

    def __init__(self, model: Double) -> None:
        self.double = model

    def prompt(self, body: Mapping[str, Any]) -> Prompt:
        """The request as a prompt: the words of its messages, or its raw text."""
        words = body.get("prompt")
        if not isinstance(words, str):
            turns = body.get("messages")
            said = [turn.get("content") for turn in turns if isinstance(turn, dict)] if isinstance(turns, list) else []
            words = "\n\n".join(part for part in said if isinstance(part, str))
        seed, most = body.get("seed"), body.get("max_tokens")
        return Prompt.user(
            words or " ", seed=seed if isinstance(seed, int) else 0, max_tokens=most if isinstance(most, int) else 256
        )

    def reply(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The reply to a request at `path`."""
        if path.endswith("/embeddings"):
            return self.embeddings(body)
        return self.completion(body, chat=path.endswith("/chat/completions"))

    def completion(self, body: Mapping[str, Any], *, chat: bool = True) -> dict[str, Any]:
        """The reply of /chat/completions or /completions."""
        prompt = self.prompt(body)
        made = self.double.generate([prompt], _within(body))[0]
        text = made.text
        choice: dict[str, Any] = {"index": 0, "finish_reason": "length" if made.finish == "length" else "stop"}
        if body.get("logprobs"):
            odds = self.odds(prompt)
            text = odds[0][0] if prompt.sample.max_tokens == 1 else text
            choice["logprobs"] = logprobs(odds, chat=chat)
        choice |= {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        return {
            "id": f"stub-{digest(prompt.digest())[:16]}", "created": 0, "model": str(body.get("model", MODEL)),
            "object": "chat.completion" if chat else "text_completion", "choices": [choice],
            "usage": usage(prompt.text, text),
        }  # fmt: skip

    def odds(self, prompt: Prompt) -> list[tuple[str, float]]:
        """The likeliest first tokens with their log-probabilities, best first: the handles, or yes and no."""
        labels = list(read(prompt.text).handles) or ["Yes", "No", "是", "否"]
        if "A or B" in prompt.text and len(labels) < 2:
            labels = ["A", "B"]
        values = self.double.label([prompt], [*labels, *(["Yes", "No"] if len(labels) == 1 else [])])[0]
        names = [*labels, *(["Yes", "No"] if len(labels) == 1 else [])]
        pairs = [(name, float(value)) for name, value in zip(names, values, strict=True)]
        return sorted(pairs, key=lambda pair: -pair[1])[:20]

    def pieces(self, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The chunks of a streamed reply: one a line of the answer, then one that says why it ended."""
        whole = self.completion(body)
        choice = whole["choices"][0]
        about = {key: whole[key] for key in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
        lines = re.findall(r".*\n|.+", choice["message"]["content"])
        deltas: list[dict[str, Any]] = [{"delta": {"content": line}, "finish_reason": None} for line in lines]
        deltas.append({"delta": {}, "finish_reason": choice["finish_reason"]})
        return [{**about, "choices": [{"index": 0, **delta}]} for delta in deltas]

    def embeddings(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The reply of /embeddings: texts with words in common are near each other."""
        given = body.get("input")
        texts = [given] if isinstance(given, str) else [str(text) for text in given or []]
        data = [{"object": "embedding", "index": place, "embedding": vector(text)} for place, text in enumerate(texts)]
        spent = int(rough_count(texts).sum()) if texts else 0
        return {"object": "list", "model": str(body.get("model", MODEL)), "data": data,
                "usage": {"prompt_tokens": spent, "total_tokens": spent}}  # fmt: skip


def vector(text: str) -> list[float]:
    """The sum of one fixed direction for every word, of length 1."""
    words = tokens(text) or [text]
    total = np.sum([rng(0, "stub", word).standard_normal(DIM) for word in words], axis=0)
    return [round(float(value), 6) for value in total / np.linalg.norm(total)]


def logprobs(odds: list[tuple[str, float]], *, chat: bool = True) -> dict[str, Any]:
    """First tokens in the shape of /chat/completions or of /completions."""
    if not chat:
        return {"tokens": [odds[0][0]], "token_logprobs": [odds[0][1]], "top_logprobs": [dict(odds)]}
    top = [{"token": token, "logprob": value} for token, value in odds]
    return {"content": [{**top[0], "top_logprobs": top}]}


def usage(asked: str, said: str) -> dict[str, int]:
    """Token counts, guessed."""
    spent_in, spent_out = (int(n) for n in rough_count([asked, said]))
    return {"prompt_tokens": spent_in, "completion_tokens": spent_out, "total_tokens": spent_in + spent_out}


def _within(body: Mapping[str, Any]) -> Constraint | None:
    wanted = body.get("response_format")
    schema = wanted.get("json_schema", {}).get("schema") if isinstance(wanted, dict) else None
    return JsonSchema(schema) if isinstance(schema, dict) else None
