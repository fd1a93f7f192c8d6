"""Methods in words and plain values: their row, their docstring by its labels, their options."""

from __future__ import annotations

import re
import sys
import typing
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from hexarec.core import Card

LABELS = ("Source", "Idea", "Differs", "Cost", "Needs")


def row_of(card: Card) -> dict[str, Any]:
    """A card as plain values."""
    return {
        "name": card.name, "title": card.title, "paradigms": sorted(card.paradigms), "stages": list(card.stages),
        "needs": sorted(card.needs), "fidelity": card.fidelity if card.paper else "", "paper": card.paper,
        "sections": list(card.sections), "where": card.where,
    }  # fmt: skip


def paragraphs(cls: type) -> dict[str, str]:
    """The docstring of a method's module: its first line under "", the rest by label (Source, Idea, Differs, ...)."""
    text = (sys.modules[cls.__module__].__doc__ or "").strip()
    first, _, rest = text.partition("\n")
    label = "|".join(LABELS)
    found = re.findall(rf"^({label}):(.*?)(?=^(?:{label}):|\Z)", rest, re.MULTILINE | re.DOTALL)
    return {"": first.strip(), **{name: " ".join(said.split()) for name, said in found}}


def type_said(hint: Any, written: str) -> str:
    """A type for readers: the values of a Literal, else as it is written."""
    if typing.get_origin(hint) is Literal:
        return "one of " + ", ".join(map(str, typing.get_args(hint)))
    return written.replace(" | ", " or ")


def options_of(cls: type) -> list[dict[str, str]]:
    """The options of a stage: name, type, default ("required" without one), and what its docstring says."""
    import dataclasses

    said = field_docs(cls)
    out = []
    for one in dataclasses.fields(cls):
        if not one.init:
            continue
        default = "required"
        if one.default is not dataclasses.MISSING:
            identity = getattr(one.default, "id", None)
            default = str(identity) if isinstance(identity, str) else repr(one.default)
        elif one.default_factory is not dataclasses.MISSING:
            default = repr(one.default_factory())
        kind = one.type if isinstance(one.type, str) else getattr(one.type, "__name__", str(one.type))
        out.append({"name": one.name, "type": kind, "default": default, "doc": said.get(one.name, "")})
    return out


def field_docs(cls: type) -> dict[str, str]:
    """What the source says about each option: the text under it, else "name: ..." in the class's docstring."""
    import ast
    import inspect
    import textwrap

    whole = " ".join((cls.__doc__ or "").split())
    names = list(getattr(cls, "__dataclass_fields__", {}))
    found: dict[str, str] = {}
    for name in names:
        if match := re.search(rf"(?:^|[.:] ){name}: (.+?)(?=\. (?:{'|'.join(names)}): |\.?$)", whole):
            found[name] = match[1]
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    for field, below in zip(body.body, body.body[1:], strict=False):
        named = isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if named and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            found[field.target.id] = " ".join(str(below.value.value).split())  # type: ignore[attr-defined]
    return found
