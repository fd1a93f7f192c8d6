"""gorse's values, and what they are in ours."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from hexarec.core.errors import DataError
from hexarec.serve.http.shapes import Attributes, Id, Number, Text, UserId

Moment = Annotated[str, StringConstraints(max_length=64)]
ItemInPath = Annotated[Id, Path()]
UserInPath = Annotated[UserId, Path()]
Tags = Annotated[list[Text], Field(max_length=1_000)] | Attributes | None
Groups = Annotated[list[Text], Field(max_length=100)] | None


class Shape(BaseModel):
    """One of gorse's values: names begin with capital letters, what is unknown is left out."""

    model_config = ConfigDict(extra="ignore", strict=True)


class Feedback(Shape):
    """Something a user did."""

    FeedbackType: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    UserId: UserId
    ItemId: Id
    Value: Number | None = None
    Timestamp: Moment = ""
    Comment: Text = ""


class Item(Shape):
    """An item."""

    ItemId: Id
    IsHidden: bool = False
    Categories: Groups = None
    Timestamp: Moment = ""
    Labels: Tags = None
    Comment: Text = ""


class ItemChange(Shape):
    """The fields of an item that change; null leaves one as it is."""

    IsHidden: bool | None = None
    Categories: Groups = None
    Timestamp: Moment | None = None
    Labels: Tags = None
    Comment: Text | None = None


class User(Shape):
    """A user."""

    UserId: UserId
    Labels: Tags = None
    Comment: Text = ""


class UserChange(Shape):
    """The fields of a user that change; null leaves one as it is."""

    Labels: Tags = None
    Comment: Text | None = None


class Scored(Shape):
    """One place of a list."""

    Id: str
    Score: float | None


class Success(Shape):
    """How many rows were written."""

    RowAffected: int


class ItemsFrom(Shape):
    """Items, and where to go on; "" at the end."""

    Cursor: str
    Items: list[Item]


class UsersFrom(Shape):
    """Users, and where to go on; "" at the end."""

    Cursor: str
    Users: list[User]


def attributes_of(labels: Any) -> dict[str, Any]:
    """Labels as attributes; a list of them is the attribute `labels`."""
    return dict(labels) if isinstance(labels, Mapping) else {"labels": labels} if labels else {}


def labels_of(attributes: Mapping[str, Any]) -> Any:
    """A list where there is nothing but a list of labels, as it came."""
    return attributes["labels"] if set(attributes) == {"labels"} else dict(attributes)


def seconds_of(moment: str) -> float | None:
    """Unix seconds of a time as gorse writes it; None for none, or the year 1. Raises DataError for another text."""
    if not moment:
        return None
    try:
        made = datetime.fromisoformat(moment)
        seconds = (made if made.tzinfo else made.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise DataError(f"{moment!r} is no time", field="Timestamp", hint="for example 2026-11-26T08:00:00Z") from None
    return seconds if seconds > 0.0 else None


def moment_of(seconds: float | None) -> str:
    """Unix seconds as gorse writes them; the year 1 for None."""
    if seconds is None:
        return "0001-01-01T00:00:00Z"
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
