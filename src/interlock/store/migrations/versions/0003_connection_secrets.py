"""Connection secrets beside tokens: of these the store keeps a SCRAM verifier."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tokens", sa.Column("verifier", sa.String(length=255), nullable=False, server_default=""))
