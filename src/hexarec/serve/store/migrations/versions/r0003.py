"""Kept answers know the visit that asked, and those without a user are found by their age."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_WORD = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_INDEXES = {
    "answers_session": ("session", "session IS NOT NULL"),
    "answers_nobody": ("time", '"user" IS NULL'),
}


def upgrade() -> None:
    """Answers from before have no session: erasure finds them by the list that was shown with them, or they expire."""
    op.add_column("answers", sa.Column("session", _WORD, nullable=True))
    for name, (column, condition) in _INDEXES.items():
        where = sa.text(condition)
        op.create_index(name, "answers", ["tenant", column], sqlite_where=where, postgresql_where=where)
