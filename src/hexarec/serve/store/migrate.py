"""Bring a database to the newest schema, all of it or nothing."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from hexarec.core.errors import StateError
from hexarec.serve.store import errors
from hexarec.serve.store.crash import point
from hexarec.serve.store.schema import REVISIONS, VERSION_TABLE, metadata

SCRIPTS = Path(__file__).parent / "migrations"


def migrate(engine: Engine) -> None:
    """Upgrade to the newest revision in one transaction. Raises StateError for a newer one, or a foreign database."""
    try:
        with engine.connect() as connection, connection.begin():
            _check_encoding(connection)
            if revision(connection) != REVISIONS[-1]:
                point("migrate.begin")
                upgrade(connection)
                point("migrate.before")
        point("migrate.after")
    except SQLAlchemyError as error:
        raise errors.typed(error) from error


def revision(connection: Connection) -> str | None:
    """The revision of a database, None for an empty one."""
    names = set(inspect(connection).get_table_names())
    if VERSION_TABLE not in names:
        if foreign := sorted(names & set(metadata.tables)):
            raise StateError(
                f"this database holds tables of something else: {', '.join(foreign)}", hint="give the store its own"
            )
        return None
    found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
    if found is not None and found not in REVISIONS:
        raise StateError(
            f"the store has schema {found}, this version of hexarec reads up to {REVISIONS[-1]}",
            hint="update hexarec, or restore a backup from before the update",
        )
    return found


def upgrade(connection: Connection, to: str = "head") -> None:
    """Run the migrations inside the transaction of this connection."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, to)


def _check_encoding(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        encoding = connection.execute(text("SHOW server_encoding")).scalar()
        if encoding != "UTF8":
            raise StateError(f"the database is encoded in {encoding}", hint="create it with ENCODING 'UTF8'")
