"""Lists in gorse's shape: recommendations, neighbours of an item, what is popular, what is new."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated

import numpy as np
from fastapi import Query, Request, Response
from numpy.typing import NDArray
from pydantic import StringConstraints

from hexarec.core import Catalog, Filter
from hexarec.serve.answering import answered
from hexarec.serve.exposure import popularity_of
from hexarec.serve.http.callers import MayRecommend, needs
from hexarec.serve.http.routes.gorse.door import router
from hexarec.serve.http.routes.gorse.shapes import ItemInPath, Scored, UserInPath
from hexarec.serve.http.shapes import UserId
from hexarec.serve.http.told import past
from hexarec.serve.keys import Caller
from hexarec.serve.live.asks import Ask, queries_of
from hexarec.serve.live.catalogs import on_sale
from hexarec.serve.live.tenant import HISTORY, Tenant
from hexarec.serve.request import answer_header, answer_id_of, backend_of, tenant_of

Most = Annotated[int, Query(ge=1, le=200)]
Offset = Annotated[int, Query(ge=0, le=200)]
Category = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00]*$")] | None
"""Of the address, or the last part of the path."""
FIELD = "categories"
"""The attribute of an item's categories."""
Reader = Annotated[UserId | None, Query(alias="user-id")]


@router.get("/recommend/{user_id}", openapi_extra=needs("recommend"))
async def recommend(
    request: Request, response: Response, caller: MayRecommend, user_id: UserInPath, n: Most = 10, offset: Offset = 0,
    category: Category = None,
) -> list[str]:  # fmt: skip
    """Ids of the items for a user, best first."""
    made = await _asked(request, response, caller, Ask(user=user_id, k=n + offset, where=_in(category)))
    return [one.Id for one in made[offset:]]


@router.get("/item/{item_id}/neighbors", openapi_extra=needs("recommend"))
@router.get("/item/{item_id}/neighbors/{category}", openapi_extra=needs("recommend"))
async def neighbors(
    request: Request, response: Response, caller: MayRecommend, item_id: ItemInPath, n: Most = 10, offset: Offset = 0,
    category: Category = None,
) -> list[Scored]:  # fmt: skip
    """Items for somebody of whom nothing is known but that they liked this one."""
    on_sale(tenant_of(request, caller).catalog, item_id)
    made = await _asked(request, response, caller, Ask(history=past([item_id]), k=n + offset, where=_in(category)))
    return made[offset:]


@router.get("/popular", openapi_extra=needs("recommend"))
@router.get("/popular/{category}", openapi_extra=needs("recommend"))
def popular(
    request: Request, caller: MayRecommend, n: Most = 10, offset: Offset = 0, category: Category = None,
    reader: Reader = None,
) -> list[Scored]:  # fmt: skip
    """Items with the most events, and how many; without those that a user has met."""
    return _listed(tenant_of(request, caller), _counts, n, offset, category, reader)


@router.get("/latest", openapi_extra=needs("recommend"))
@router.get("/latest/{category}", openapi_extra=needs("recommend"))
def latest(
    request: Request, caller: MayRecommend, n: Most = 10, offset: Offset = 0, category: Category = None,
    reader: Reader = None,
) -> list[Scored]:  # fmt: skip
    """Items with the newest times, and these in unix seconds; without those that a user has met."""
    return _listed(tenant_of(request, caller), _times, n, offset, category, reader)


def _in(category: str | None) -> Filter | None:
    return None if not category else Filter.parse({"field": FIELD, "op": "has", "value": category})


def _is_of_none(ask: Ask, catalog: Catalog) -> bool:
    """Whether a category is asked for where no item has any: an empty list, not a field that is missing."""
    return ask.where is not None and FIELD not in catalog.attributes


async def _asked(request: Request, response: Response, caller: Caller, ask: Ask) -> list[Scored]:
    response.headers.update(answer_header(request))
    if _is_of_none(ask, tenant_of(request, caller).catalog):
        return []
    given = (await answered(backend_of(request), caller, ask, answer_id_of(request))).given
    return [Scored(Id=item, Score=score) for item, score in zip(given.items, given.scores, strict=True)]


Worth = Callable[[Tenant, Catalog], NDArray[np.float64]]


def _counts(tenant: Tenant, catalog: Catalog) -> NDArray[np.float64]:
    """Events of each item; -inf for one without any, which is not popular."""
    counts = popularity_of(tenant, catalog).astype(np.float64)
    return np.where(counts > 0, counts, -np.inf)


def _times(tenant: Tenant, catalog: Catalog) -> NDArray[np.float64]:
    """From when each item may be recommended; -inf for one without a time."""
    return catalog.since


def _listed(
    tenant: Tenant, worth: Worth, n: int, offset: int, category: str | None, reader: str | None
) -> list[Scored]:  # fmt: skip
    """The items that may be recommended by what they are worth, largest first, without those worth -inf."""
    catalog, ask = tenant.catalog, Ask(user=reader, where=_in(category))
    if _is_of_none(ask, catalog):
        return []
    values = worth(tenant, catalog)
    met = [] if reader is None else tenant.shelf.histories([reader], [], HISTORY).get(reader, [])
    asked = queries_of(catalog, [ask], [met], time.time())
    rows = np.flatnonzero(~asked.forbidden(len(catalog))[0] & (values > -np.inf))
    rows = rows[np.argsort(-values[rows], kind="stable")][offset : offset + n]
    return [Scored(Id=str(catalog.items.ids[row]), Score=float(values[row])) for row in rows.tolist()]
