"""Cached answers of language models with all their owners and when they were used; jobs know the key that pays."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_WORD = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _key(name: str) -> sa.Column[str]:
    return sa.Column(name, _WORD, primary_key=True, nullable=False)


def upgrade() -> None:
    """What was cached is not taken along: it would have one owner only."""
    op.drop_table("cache")
    rest = (sa.Column("value", sa.LargeBinary(), nullable=False), sa.Column("used", sa.Double[float](), nullable=False))
    op.create_table("cache", _key("tenant"), _key("key"), *rest)
    op.create_index("cache_used", "cache", ["tenant", "used"])
    op.create_table("cache_owners", _key("tenant"), _key("key"), _key("owner"))
    op.create_index("cache_owners_owner", "cache_owners", ["tenant", "owner"])
    op.add_column("jobs", sa.Column("key", _WORD, nullable=True))
