"""Routes in gorse's shapes, so that its clients work unchanged: feedback, items, users, recommendations.

On with [serve] gorse. A key comes as `X-API-Key`, or as everywhere. Labels are our attributes, `Comment` is an item's
title, a hidden item waits for a day that never comes.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from hexarec.core import OptionError
from hexarec.core.errors import DataError
from hexarec.core.filters import Filter
from hexarec.core.interactions import KINDS
from hexarec.serve.answering import answered
from hexarec.serve.erase import erased
from hexarec.serve.errors import MissingError
from hexarec.serve.http.bodies import StrictRoute
from hexarec.serve.http.callers import MayAdmin, MayEvents, MayRead, MayRecommend, MayWrite, needs
from hexarec.serve.http.routes.events import counted, in_time
from hexarec.serve.http.routes.items import found, stored
from hexarec.serve.http.shapes import MOST_ITEMS, Attributes, Id, Number, Text, UserId
from hexarec.serve.live.asks import Ask
from hexarec.serve.request import backend_of, request_id_of, tenant_of
from hexarec.serve.store.rows import EventRow, ItemRow, UserRow

NEVER = 1e11
"""The time from which a hidden item may be recommended."""
TYPES = {
    "read": "view", "watch": "view", "star": "like", "favorite": "like", "share": "like", "buy": "purchase",
    "comment": "review",
}  # fmt: skip
"""Usual types of feedback by the kinds of events that they are; our own kinds are taken as they are."""
Moment = Annotated[str, StringConstraints(max_length=64)]
Some = Annotated[int, Query(ge=1, le=MOST_ITEMS)]
ItemInPath = Annotated[Id, Path()]
UserInPath = Annotated[UserId, Path()]


class GorseRoute(StrictRoute):
    """A route that also takes a key from the header X-API-Key."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The usual one, which sees the key where it looks for one."""
        usual = super().get_route_handler()

        async def handler(request: Request) -> Response:
            given = request.headers.get("x-api-key")
            if given is not None and "authorization" not in request.headers:
                bearer = (b"authorization", b"Bearer " + given.encode("latin-1"))
                request = Request({**request.scope, "headers": [*request.scope["headers"], bearer]}, request.receive)
            return await usual(request)

        return handler


router = APIRouter(prefix="/api", route_class=GorseRoute, tags=["gorse"])


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


Tags = Annotated[list[Text], Field(max_length=1_000)] | Attributes | None


class Item(Shape):
    """An item."""

    ItemId: Id
    IsHidden: bool = False
    Categories: Annotated[list[Text], Field(max_length=100)] | None = None
    Timestamp: Moment = ""
    Labels: Tags = None
    Comment: Text = ""


class User(Shape):
    """A user."""

    UserId: UserId
    Labels: Tags = None
    Comment: Text = ""


class Success(Shape):
    """How many rows were written."""

    RowAffected: int


class ItemPage(Shape):
    """Items, and where to go on; "" at the end."""

    Cursor: str
    Items: list[Item]


class UserPage(Shape):
    """Users, and where to go on; "" at the end."""

    Cursor: str
    Users: list[User]


Feedbacks = Annotated[list[Feedback], Field(min_length=1, max_length=MOST_ITEMS)]


@router.post("/feedback", openapi_extra=needs("events"))
async def insert_feedback(request: Request, caller: MayEvents, body: Feedbacks) -> Success:
    """Store feedback; of a type that this user has given on this item already, nothing changes."""
    return await _events(request, caller, body, "once")


@router.put("/feedback", openapi_extra=needs("events"))
async def put_feedback(request: Request, caller: MayEvents, body: Feedbacks) -> Success:
    """Store feedback, also of a type that was given before; what was given stays in the log."""
    return await _events(request, caller, body, "again")


async def _events(request: Request, caller: Any, body: Sequence[Feedback], how: Literal["once", "again"]) -> Success:
    now = time.time()
    rows = [_event(one, now, how) for one in body]
    verdicts = await asyncio.wrap_future(tenant_of(request, caller).shelf.add_events_soon(rows))
    return Success(RowAffected=counted(request, verdicts)["new"])


def _event(one: Feedback, now: float, how: str) -> EventRow:
    kind = TYPES.get(one.FeedbackType, one.FeedbackType)
    if kind not in KINDS:
        raise OptionError(f"no feedback type {one.FeedbackType!r}", hint=f"types: {', '.join([*KINDS, *TYPES])}")
    at = _seconds(one.Timestamp)
    mark = [one.FeedbackType, one.UserId, one.ItemId, *([str(at), str(one.Value)] if how == "again" else [])]
    id = "gorse-" + hashlib.blake2b("\0".join(mark).encode(), digest_size=16).hexdigest()
    moment = in_time(now if at is None else at, now)
    return EventRow(id, one.ItemId, moment, kind, one.UserId, value=one.Value, text=one.Comment, timed=at is not None)


@router.get("/recommend/{user_id}", openapi_extra=needs("recommend"))
async def recommend(
    request: Request, caller: MayRecommend, user_id: UserInPath,
    n: Annotated[int, Query(ge=1, le=200)] = 10, offset: Annotated[int, Query(ge=0, le=200)] = 0,
    category: Annotated[str | None, Query(max_length=200)] = None,
) -> list[str]:  # fmt: skip
    """Ids of the items for a user, best first."""
    where = None if not category else Filter.parse({"field": "categories", "op": "has", "value": category})
    ask = Ask(user=user_id, k=n + offset, where=where)
    made = await answered(backend_of(request), caller, ask, request_id_of(request))
    return list(made.given.items[offset:])


@router.post("/item", openapi_extra=needs("write"))
def insert_item(request: Request, caller: MayWrite, body: Item) -> Success:
    """Store an item, new or changed."""
    return insert_items(request, caller, [body])


@router.post("/items", openapi_extra=needs("write"))
def insert_items(
    request: Request, caller: MayWrite, body: Annotated[list[Item], Field(min_length=1, max_length=MOST_ITEMS)]
) -> Success:
    """Store items, new or changed."""
    stored(request, caller, [_item_row(one) for one in body])
    return Success(RowAffected=len(body))


@router.get("/items", openapi_extra=needs("read"))
def items(
    request: Request, caller: MayRead, cursor: Annotated[str, Query(max_length=512)] = "", n: Some = 10
) -> ItemPage:
    """Items by id."""
    rows = tenant_of(request, caller).shelf.find_items(cursor, n)
    return ItemPage(Cursor=rows[-1].id if len(rows) == n else "", Items=[_item(row) for row in rows])


@router.get("/item/{item_id}", openapi_extra=needs("read"))
def item(request: Request, caller: MayRead, item_id: ItemInPath) -> Item:
    """One item."""
    return _item(found(tenant_of(request, caller), item_id))


@router.delete("/item/{item_id}", openapi_extra=needs("write"))
def delete_item(request: Request, caller: MayWrite, item_id: ItemInPath) -> Success:
    """Delete an item: no list holds it any more."""
    tenant = tenant_of(request, caller)
    gone = tenant.shelf.delete_item(item_id)
    tenant.shelf.audit(caller.name, "delete item", item_id, request_id_of(request))
    tenant.refresh()
    return Success(RowAffected=int(gone))


@router.post("/user", openapi_extra=needs("write"))
def insert_user(request: Request, caller: MayWrite, body: User) -> Success:
    """Store a user."""
    return insert_users(request, caller, [body])


@router.post("/users", openapi_extra=needs("write"))
def insert_users(
    request: Request, caller: MayWrite, body: Annotated[list[User], Field(min_length=1, max_length=MOST_ITEMS)]
) -> Success:
    """Store users."""
    rows = [UserRow(one.UserId, _attributes(one.Labels) | ({"comment": one.Comment} if one.Comment else {}))
            for one in body]  # fmt: skip
    tenant_of(request, caller).shelf.put_users(rows)
    return Success(RowAffected=len(rows))


@router.get("/users", openapi_extra=needs("read"))
def users(
    request: Request, caller: MayRead, cursor: Annotated[str, Query(max_length=512)] = "", n: Some = 10
) -> UserPage:
    """Users by id."""
    rows = tenant_of(request, caller).shelf.users(cursor, n)
    return UserPage(Cursor=rows[-1].id if len(rows) == n else "", Users=[_user(row) for row in rows])


@router.get("/user/{user_id}", openapi_extra=needs("read"))
def user(request: Request, caller: MayRead, user_id: UserInPath) -> User:
    """One user."""
    row = tenant_of(request, caller).shelf.user(user_id)
    if row is None:
        raise MissingError("no such user")
    return _user(row)


@router.delete("/user/{user_id}", openapi_extra=needs("admin"))
def delete_user(request: Request, caller: MayAdmin, user_id: UserInPath) -> Success:
    """Erase a user everywhere, as DELETE /v1/users/{user_id} does."""
    tenant = tenant_of(request, caller)
    counts = erased(tenant, user_id, scrub=False)
    tenant.shelf.audit(caller.name, "erase user", "one user", request_id_of(request))
    tenant.shelf.scrub()
    return Success(RowAffected=counts["users"])


# ------------------------------------------------------------------------------------------------ between the shapes
def _attributes(labels: Any) -> dict[str, Any]:
    return dict(labels) if isinstance(labels, Mapping) else {"labels": labels} if labels else {}


def _labels(attributes: Mapping[str, Any]) -> Any:
    """A list where there is nothing but a list of labels, as it came."""
    return attributes["labels"] if set(attributes) == {"labels"} else dict(attributes)


def _item_row(one: Item) -> ItemRow:
    attributes = _attributes(one.Labels) | ({"categories": list(one.Categories)} if one.Categories else {})
    since = NEVER if one.IsHidden else _seconds(one.Timestamp)
    return ItemRow(one.ItemId, one.Comment or one.ItemId, "", attributes, since=since)


def _item(row: ItemRow) -> Item:
    attributes = dict(row.attributes)
    categories, hidden = attributes.pop("categories", None), row.since == NEVER
    return Item.model_construct(
        ItemId=row.id, IsHidden=hidden, Categories=categories if isinstance(categories, list) else [],
        Timestamp=_moment(None if hidden else row.since), Labels=_labels(attributes),
        Comment="" if row.title == row.id else row.title,
    )  # fmt: skip


def _user(row: UserRow) -> User:
    attributes = dict(row.attributes)
    comment = str(attributes.pop("comment", "") or "")
    return User.model_construct(UserId=row.id, Labels=_labels(attributes), Comment=comment)


def _seconds(moment: str) -> float | None:
    """Unix seconds of a time as gorse writes it; None for none, or the year 1. Raises DataError for another text."""
    if not moment:
        return None
    try:
        made = datetime.fromisoformat(moment)
        seconds = (made if made.tzinfo else made.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise DataError(f"{moment!r} is no time", field="Timestamp", hint="for example 2026-11-26T08:00:00Z") from None
    return seconds if seconds > 0.0 else None


def _moment(seconds: float | None) -> str:
    if seconds is None:
        return "0001-01-01T00:00:00Z"
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
