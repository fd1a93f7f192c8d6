"""What turns said that left a prompt: likes, dislikes, wishes and refusals as sets, or whole sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from hexarec.parts.prompts import Prompts
from hexarec.parts.render import clean

LETTERS = 200  # of an entry
MOST = 50  # entries of a set, the oldest go first
PROMPTS = Prompts(
    "gist",
    1,
    en={
        "must_not": "does not want: {values}",
        "must": "wants: {values}",
        "dislikes": "does not like: {values}",
        "likes": "likes: {values}",
        "open_question": "asked: {values}",
        "said": 'said: "{values}"',
    },
    zh={
        "must_not": "不要：{values}",
        "must": "想要：{values}",
        "dislikes": "不喜欢：{values}",
        "likes": "喜欢：{values}",
        "open_question": "问过：{values}",
        "said": "说过：“{values}”",
    },
)


@dataclass(frozen=True)
class Gist:
    """Entries in the person's own words, newest last. The order of the sets is the order in which they are kept."""

    must_not: tuple[str, ...] = ()
    must: tuple[str, ...] = ()
    dislikes: tuple[str, ...] = ()
    likes: tuple[str, ...] = ()
    open_question: tuple[str, ...] = ()
    said: tuple[str, ...] = ()

    @classmethod
    def parse(cls, told: Any) -> Gist:
        """From JSON; a text is what was said, anything else without such sets is empty."""
        if isinstance(told, str):
            return cls(said=(told,) if told else ())
        return cls(**{name: _texts(told.get(name)) for name in SETS}) if isinstance(told, Mapping) else cls()

    def as_json(self) -> dict[str, list[str]]:
        """The sets that hold something."""
        return {name: list(own) for name in SETS if (own := getattr(self, name))}

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in SETS)

    def and_then(self, new: Gist) -> Gist:
        """Both, where they contradict each other the new one: what is disliked now is liked no more.

        The last question stays open alone. Source: InteRecAgent's update of a profile (unwanted leaves like).
        """
        gone = {name: {_same(one) for one in getattr(new, other)} for name, other in _AGAINST.items()}
        merged = {
            name: tuple(dict.fromkeys((
                *(one for one in getattr(self, name) if _same(one) not in gone.get(name, ())), *getattr(new, name),
            )))[-MOST:]
            for name in SETS
        }  # fmt: skip
        return Gist(**{**merged, "open_question": (new.open_question or self.open_question)[-1:]})

    def words(self, lang: str) -> str:
        """All of it as a line, "" for nothing."""
        joint = "、" if lang.startswith("zh") else ", "
        told = [PROMPTS.text(lang, name, values=joint.join(own)) for name in SETS if (own := getattr(self, name))]
        return ("；" if lang.startswith("zh") else "; ").join(told)

    def within(self, fits: Callable[[Gist], bool]) -> Gist:
        """As much of it as fits: entries go from the last set to the first, from the oldest one on."""
        made = self
        for name in reversed(SETS):
            while (own := getattr(made, name)) and not fits(made):
                made = replace(made, **{name: own[1:]})
        return made


SETS = tuple(one.name for one in fields(Gist))
_AGAINST = {"likes": "dislikes", "dislikes": "likes", "must": "must_not", "must_not": "must"}


def _same(text: str) -> str:
    return " ".join(text.casefold().split())


def _texts(value: Any) -> tuple[str, ...]:
    listed: Sequence[Any] = [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else []
    made = [clean(one, LETTERS) for one in listed if isinstance(one, str)]
    return tuple(dict.fromkeys(one for one in made if one))[-MOST:]
