"""Which column means what: names people use, tried in this order, compared without case and punctuation."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence

from hexarec.core.errors import DataError

EVENT_NAMES: Mapping[str, tuple[str, ...]] = {
    "user": (
        "userid", "user", "uid", "username", "customerid", "customer", "visitorid", "memberid", "reviewerid",
        "accountid", "personid", "sessionid", "session", "u",
    ),
    "item": (
        "itemid", "item", "productid", "product", "parentasin", "asin", "sku", "stockcode", "movieid", "bookid",
        "newsid", "articleid", "videoid", "songid", "trackid", "gameid", "artistid", "contentid", "iid", "isbn", "i",
    ),
    "time": (
        "timestamp", "time", "datetime", "ts", "eventtime", "date", "createdat", "unixreviewtime", "invoicedate",
        "ratingtime", "clicktime", "orderdate", "purchasedate",
    ),
    "order": ("order", "seq", "sequence", "step", "rank", "eventorder"),
    "value": ("rating", "value", "stars", "score", "overall", "bookrating", "weight"),
    "kind": ("eventtype", "event", "kind", "action", "behavior", "behaviortype", "type", "feedbacktype"),
    "review": ("review", "reviewtext", "comment", "reviewbody", "tag"),
}  # fmt: skip
ITEM_NAMES: Mapping[str, tuple[str, ...]] = {
    "item": (*EVENT_NAMES["item"], "id"),
    "title": ("title", "name", "itemname", "productname", "movietitle", "booktitle", "producttitle", "apptitle"),
    "text": ("text", "description", "abstract", "plot", "summary", "overview", "synopsis"),
    "genres": ("genres", "genre", "categories"),
    "year": ("year", "releaseyear", "publicationyear", "originalpublicationyear"),
    "since": ("since", "availablefrom", "availablesince"),
}
USER_NAMES: Mapping[str, tuple[str, ...]] = {"user": (*EVENT_NAMES["user"], "id")}
KEYS = ("user", "item", "time", "order", "value", "kind", "review", "title", "text", "genres", "year", "since")
EVENT_KEYS = tuple(EVENT_NAMES)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def guess(columns: Sequence[str], names: Mapping[str, tuple[str, ...]], taken: Iterable[str] = ()) -> dict[str, str]:
    """Ours -> theirs for every column that goes by a known name; each of theirs is used once."""
    used = set(taken)
    by_plain: dict[str, str] = {}
    for column in columns:
        by_plain.setdefault(_plain(column), column)
    found: dict[str, str] = {}
    for ours, options in names.items():
        theirs = next((by_plain[one] for one in options if one in by_plain and by_plain[one] not in used), None)
        if theirs is not None:
            found[ours] = theirs
            used.add(theirs)
    return found


def check_mapping(mapping: Mapping[str, str], columns: Sequence[str], file: str) -> None:
    """Raise one DataError for a key we do not know or a column nobody has."""
    for ours, theirs in mapping.items():
        if ours not in KEYS:
            near = difflib.get_close_matches(ours, KEYS, 1)
            raise DataError(
                f"unknown name {ours!r} in the mapping" + (f", did you mean {near[0]!r}?" if near else ""),
                field=ours,
                hint=f"names are {', '.join(KEYS)}",
            )
        if theirs not in columns:
            near = difflib.get_close_matches(theirs, columns, 1, 0.5)
            raise DataError(
                f"there is no column {theirs!r}" + (f", did you mean {near[0]!r}?" if near else ""),
                file=file,
                line=1,
                field=ours,
                hint=f"the columns are {', '.join(list(columns)[:20])}",
            )
