"""Chat: a conversation with a pipeline, alone or with others; answers stream, items are cards from the catalog."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from hexarec.serve.page.render import page
from hexarec.serve.page.routes.chat import known, people, turns
from hexarec.serve.page.routes.chat.room import room_of, shown
from hexarec.serve.page.routing import page_router
from hexarec.serve.page.session import PageRead
from hexarec.serve.request import tenant_of

router: APIRouter = page_router()
PARTS = (turns, known, people)
"""Modules with the other routes of the chat."""
SLOT = '[converse]\nuse = "chatrec"\nlm = "gguf:smollm2"\nbackend = "none"'
"""What makes a pipeline talk."""


@router.get("/chat")
def chat(request: Request, caller: PageRead) -> Response:
    """The talk of this browser."""
    tenant = tenant_of(request, caller)
    told = shown(request, tenant, room_of(request, caller)) if tenant.served else {}
    return page(request, "chat/chat.html", ready=bool(tenant.served), slot=SLOT, **told)
