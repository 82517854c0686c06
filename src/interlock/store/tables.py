"""The control state's tables, as SQLAlchemy Core values. Times are UTC seconds (float). Alembic's revisions
under `migrations/` make them; a test compares the two."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Boolean, Column, Float, ForeignKey, Index, Integer, LargeBinary, MetaData, String, Table

METADATA: Final = MetaData()

TOKENS: Final = Table(
    "tokens",
    METADATA,
    Column("id", String(12), primary_key=True),
    Column("principal", String(128), nullable=False, index=True),
    Column("secret_hash", LargeBinary(32), nullable=False),
    Column("audiences", String(255), nullable=False),  # space-separated, sorted
    Column("issued_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("parent", String(300), nullable=False),  # the proof it was derived from; it falls with it
    Column("revoked_at", Float, nullable=True),
    Column("verifier", String(255), nullable=False, server_default=""),  # connection secrets only: what SCRAM checks against
)
"""Gateway tokens; of the secret only a keyed hash. Connection secrets; of these a SCRAM verifier, and no hash."""

REVOCATIONS: Final = Table(
    "revocations",
    METADATA,
    Column("kind", String(16), primary_key=True),  # "proof" or "principal"
    Column("subject", String(300), primary_key=True),
    Column("at", Float, nullable=False),
)
"""What is revoked, and when last. A principal's row ends every proof that was given before `at`."""

APPROVALS: Final = Table(
    "approvals",
    METADATA,
    Column("id", String(16), primary_key=True),
    Column("principal", String(128), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("owner", String(128), nullable=False),  # empty when nobody's agent
    Column("resource", String(63), nullable=False),
    Column("digest", String(128), nullable=False),
    Column("title", String(500), nullable=False),
    Column("sealed", LargeBinary, nullable=False),  # exact text, facts, reasons: AES-256-GCM
    Column("groups", String(4000), nullable=False),  # JSON list, sorted
    Column("rules", String(4000), nullable=False),  # JSON list
    Column("session", String(64), nullable=False),
    Column("policy", String(128), nullable=False),
    Column("state", String(16), nullable=False),
    Column("asked_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),  # of the wait while pending, of the approval once approved
    Column("decided_at", Float, nullable=True),
    Column("used_at", Float, nullable=True),
    Column("used_policy", String(128), nullable=False, default=""),
    Column("note", String(500), nullable=False, default=""),
    Index("approvals_by_state", "state", "principal", "resource", "digest"),
)
"""Requests for approval, kept as history. States: pending, approved, used, refused, expired, withdrawn."""

APPROVAL_ANSWERS: Final = Table(
    "approval_answers",
    METADATA,
    Column("request", String(16), ForeignKey("approvals.id"), primary_key=True),
    Column("approver", String(128), primary_key=True),
    Column("approve", Boolean, nullable=False),
    Column("groups", String(4000), nullable=False),  # JSON list: for which of the request's groups this person may speak
    Column("note", String(500), nullable=False),
    Column("proof", String(300), nullable=False),
    Column("at", Float, nullable=False),
)

TOOL_PINS: Final = Table(
    "tool_pins",
    METADATA,
    Column("resource", String(63), primary_key=True),
    Column("tool", String(255), primary_key=True),
    Column("digest", String(128), nullable=False),
    Column("state", String(16), nullable=False),  # "pinned" or "quarantined"
    Column("at", Float, nullable=False),
)
"""The definition of each upstream tool as it was first seen or last approved."""

DERIVED: Final = Table(
    "derived",
    METADATA,
    Column("resource", String(63), primary_key=True),
    Column("place", String(63), primary_key=True),
    Column("relation", Integer, primary_key=True, autoincrement=False),  # OID
    Column("attnum", Integer, primary_key=True, autoincrement=False),  # 0: every column
    Column("source", String(400), primary_key=True),  # schema.table.column, or * for unknown
)
"""Which columns hold values of others."""

CLASSIFIED: Final = Table(
    "classified",
    METADATA,
    Column("resource", String(63), primary_key=True),
    Column("place", String(63), primary_key=True),
    Column("name", String(200), primary_key=True),  # schema.table
    Column("relation", Integer, nullable=False),  # OID
    Column("classes", String(32), nullable=False),  # digest of the map's part that names it
)
"""Which relation a name in the map of data classes meant when the map was made or changed."""

CHANGES: Final = Table(
    "changes",
    METADATA,
    Column("sequence", Integer, primary_key=True, autoincrement=True),
    Column("topic", String(32), nullable=False),
    Column("subject", String(400), nullable=False),
    Column("at", Float, nullable=False),
    sqlite_autoincrement=True,  # numbers are never given twice, even after old rows are dropped
)
"""What `bus.py` tells others about, in order."""
