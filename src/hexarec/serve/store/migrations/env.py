"""Run by alembic: migrations inside the transaction of the connection that the store hands over."""

from __future__ import annotations

from typing import Any

from alembic import context

from hexarec.serve.store.crash import point
from hexarec.serve.store.schema import VERSION_TABLE, metadata


def _step(*_: Any, **__: Any) -> None:
    point("migrate.step")


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    transactional_ddl=True,
    on_version_apply=_step,
)
with context.begin_transaction():
    context.run_migrations()
