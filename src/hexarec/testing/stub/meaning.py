"""Faults of meaning: an answer that reads well and says nothing of use, or too much."""

from __future__ import annotations

from hexarec.lm.reading import Page, read
from hexarec.testing.stub.answers import logprobs
from hexarec.testing.stub.registry import fault
from hexarec.testing.stub.server import Exchange


def _page(exchange: Exchange) -> Page:
    return read(exchange.stub.answers.prompt(exchange.body).text)


@fault("meaning.out_of_range", "handles that were never given")
def out_of_range(exchange: Exchange) -> None:
    """A ranking of other handles."""
    exchange.say("\n".join(f"[{900 + place}]" for place in range(len(_page(exchange).handles))))


@fault("meaning.negative", "negative handles")
def negative(exchange: Exchange) -> None:
    """A ranking below zero."""
    exchange.say("\n".join(f"[-{place}]" for place in range(1, 1 + len(_page(exchange).handles))))


@fault("meaning.duplicates", "one option in every place")
def duplicates(exchange: Exchange) -> None:
    """The first handle, as often as there are options."""
    page = _page(exchange)
    exchange.say("\n".join(f"[{page.handles[0]}]" for _ in page.handles))


@fault("meaning.all_equal", "the same log-probability for every option", asks="label")
def all_equal(exchange: Exchange) -> None:
    """Numbers that tell nothing apart."""
    made = exchange.reply()
    odds = exchange.stub.answers.odds(exchange.stub.answers.prompt(exchange.body))
    made["choices"][0]["logprobs"] = logprobs([(token, -1.0) for token, _ in odds])
    exchange.json(made)


@fault("meaning.missing", "only the first option is ranked")
def missing(exchange: Exchange) -> None:
    """A ranking that stops after one."""
    page = _page(exchange)
    exchange.say(f"[{page.handles[0]}] {page.options[0]}")


@fault("meaning.invented", "items that nobody offered")
def invented(exchange: Exchange) -> None:
    """Titles of nothing."""
    exchange.say("\n".join(f"{place}. Quux Zyzzyva {place} (20{place:02})" for place in range(1, 9)))


@fault("meaning.text_around", "a good ranking in JSON, in a fence, between polite sentences", harmless=True)
def text_around(exchange: Exchange) -> None:
    """What talkative models do."""
    page = _page(exchange)
    ranked = exchange.stub.answers.double.ranked(page)
    handles = ", ".join(f'"{page.handles[row]}"' for row in ranked)
    exchange.say(f'Sure! Here is your ranking:\n\n```json\n{{"ranking": [{handles}]}}\n```\n\nEnjoy!')


@fault("meaning.refusal", "a refusal in words")
def refusal(exchange: Exchange) -> None:
    """A model that will not."""
    exchange.say("I'm sorry, but as an AI language model I can't help with that.")


@fault("meaning.other_language", "kind words in another language, and no ranking")
def other_language(exchange: Exchange) -> None:
    """An answer to another question."""
    exchange.say("您好！很高兴为您服务。请问您今天心情如何？")


@fault("meaning.open_think", "a thought that never ends")
def open_think(exchange: Exchange) -> None:
    """A think block that is never closed."""
    page = _page(exchange)
    exchange.say(f"<think>\nThe user likes many things. Perhaps {page.handles[0]}? Let me think again. " * 3)


@fault("meaning.empty_fence", "a fenced block with nothing in it")
def empty_fence(exchange: Exchange) -> None:
    """Three back ticks, twice."""
    exchange.say("```json\n\n```")
