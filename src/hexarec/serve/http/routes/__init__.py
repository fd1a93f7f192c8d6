"""The routes of the API, a file per resource."""

from hexarec.serve.http.routes import (
    chat,
    documents,
    events,
    experiments,
    explanations,
    health,
    items,
    jobs,
    keys,
    lists,
    models,
    users,
)

ROUTERS = tuple(
    module.router
    for module in (lists, models, chat, events, explanations, items, users, jobs, experiments, documents, keys, health)
)
