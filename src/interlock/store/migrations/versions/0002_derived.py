"""Where values of other columns lie, and which tables were classified."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "derived",
        sa.Column("resource", sa.String(length=63), nullable=False),
        sa.Column("place", sa.String(length=63), nullable=False),
        sa.Column("relation", sa.Integer(), nullable=False),
        sa.Column("attnum", sa.Integer(), nullable=False),
        sa.Column("source", sa.String(length=400), nullable=False),
        sa.PrimaryKeyConstraint("resource", "place", "relation", "attnum", "source"),
    )
    op.create_table(
        "classified",
        sa.Column("resource", sa.String(length=63), nullable=False),
        sa.Column("place", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("relation", sa.Integer(), nullable=False),
        sa.Column("classes", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("resource", "place", "name"),
    )
