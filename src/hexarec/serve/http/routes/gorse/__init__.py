"""Routes in gorse's shapes, so that its clients work unchanged: feedback, items, users, lists; on with [serve] gorse.

A key comes as `X-API-Key`, or as everywhere. Labels are our attributes, `Comment` is an item's title, a hidden item
waits for a day that never comes.
"""

from hexarec.serve.http.routes.gorse import feedback, items, lists, users
from hexarec.serve.http.routes.gorse.door import router

__all__ = ["feedback", "items", "lists", "router", "users"]
