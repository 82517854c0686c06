"""The words for SQL: actions on objects, and which statement of PostgreSQL 18 is what.

A statement that is in none of these tables has effect `sql.opaque`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from interlock.facts.sql.names import Name, words

ACTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "sql.select": ("Table", "Resource"),  # read; Resource: a query without tables
        "sql.insert": ("Table",),  # also COPY FROM STDIN and MERGE
        "sql.update": ("Table",),  # also nextval and setval
        "sql.delete": ("Table",),
        "sql.truncate": ("Table",),
        "sql.lock": ("Table", "Resource"),  # LOCK TABLE; Resource: advisory locks
        "sql.ddl": ("Table", "Function", "Schema", "Resource"),  # create, alter, drop, comment
        "sql.maintenance": ("Table", "Resource"),  # VACUUM, ANALYZE, CLUSTER, REINDEX, REFRESH, CHECKPOINT
        "sql.admin": ("Table", "Role", "Setting", "Function", "Resource"),  # rights, roles, databases, extensions, server control
        "sql.set": ("Setting",),  # SET, RESET, set_config; `*`: any setting
        "sql.role": ("Role", "Resource"),  # SET ROLE, SET SESSION AUTHORIZATION; Resource: back to the login role
        "sql.transaction": ("Resource",),
        "sql.session": ("Resource",),  # SHOW, CLOSE, DEALLOCATE, UNLISTEN, DISCARD
        "sql.notify": ("Channel",),  # LISTEN, NOTIFY
        "sql.file": ("Function", "Resource"),  # files of the server
        "sql.program": ("Resource",),  # programs and libraries on the server
        "sql.opaque": ("Function", "Resource"),  # what it does cannot be read: DO, CALL, user functions, EXECUTE, FETCH
    }
)
"""Every action that `effects` may yield, with the entity types of its objects. An effect on Resource has no object name."""


class Asked(NamedTuple):
    """An effect as written. `new`: the name is being created, so an unqualified one lies in the first schema of the path."""

    action: str
    kind: str
    name: Name = ()
    new: bool = False


class Call(NamedTuple):
    """A function call as written, with its arguments where they are string constants (else None)."""

    name: Name
    arguments: tuple[str | None, ...] = ()


KINDS: Mapping[str, str] = MappingProxyType(
    {
        "SelectStmt": "select", "InsertStmt": "insert", "UpdateStmt": "update", "DeleteStmt": "delete", "MergeStmt": "merge",
        "TruncateStmt": "truncate", "GrantStmt": "grant", "GrantRoleStmt": "grant", "TransactionStmt": "transaction",
        "ConstraintsSetStmt": "transaction", "VariableShowStmt": "show", "ExplainStmt": "explain", "PrepareStmt": "prepare",
        "ExecuteStmt": "execute", "DeallocateStmt": "deallocate", "DeclareCursorStmt": "declare", "ClosePortalStmt": "close",
        "ListenStmt": "listen", "NotifyStmt": "notify", "UnlistenStmt": "unlisten", "DoStmt": "do", "CallStmt": "call",
        "LockStmt": "lock", "VacuumStmt": "vacuum", "DiscardStmt": "discard",
    }
)  # fmt: skip
"""Statement kinds by node; copy, set, fetch, ddl and other are told apart in `postgres.py`."""

TABLES = frozenset(f"OBJECT_{kind}" for kind in ("TABLE", "VIEW", "MATVIEW", "SEQUENCE", "INDEX", "FOREIGN_TABLE"))
ON_TABLES = frozenset(f"OBJECT_{kind}" for kind in ("COLUMN", "TRIGGER", "RULE", "POLICY", "TABCONSTRAINT"))
FUNCTIONS = frozenset(f"OBJECT_{kind}" for kind in ("FUNCTION", "PROCEDURE", "ROUTINE", "AGGREGATE"))
ADMINISTERED = frozenset(
    f"OBJECT_{kind}"
    for kind in words(
        "ACCESS_METHOD DATABASE EVENT_TRIGGER EXTENSION FDW FOREIGN_SERVER LANGUAGE PUBLICATION ROLE SUBSCRIPTION TABLESPACE USER_MAPPING"
    )
)

DDL_ON_RELATION: Mapping[str, str] = MappingProxyType(
    {
        "AlterTableStmt": "relation", "IndexStmt": "relation", "AlterSeqStmt": "sequence", "CreatePolicyStmt": "table",
        "AlterPolicyStmt": "table", "CreateTrigStmt": "relation", "RuleStmt": "relation",
    }
)  # fmt: skip
DDL_NEW_RELATION: Mapping[str, str] = MappingProxyType(
    {"CreateStmt": "relation", "CreateSeqStmt": "sequence", "ViewStmt": "view", "CompositeTypeStmt": "typevar"}
)
DDL_ELSEWHERE = words(
    "DefineStmt CreateDomainStmt AlterDomainStmt CreateEnumStmt AlterEnumStmt CreateRangeStmt AlterTypeStmt CreateOpClassStmt "
    "CreateOpFamilyStmt AlterOpFamilyStmt CreateStatsStmt AlterStatsStmt AlterOperatorStmt AlterCollationStmt CreateConversionStmt "
    "AlterTSDictionaryStmt AlterTSConfigurationStmt AlterObjectDependsStmt"
)
DDL_BY_OBJECT: Mapping[str, str] = MappingProxyType(
    {
        "DropStmt": "removeType", "CommentStmt": "objtype", "RenameStmt": "renameType", "AlterObjectSchemaStmt": "objectType",
        "AlterOwnerStmt": "objectType", "SecLabelStmt": "objtype",
    }
)  # fmt: skip
ADMIN = words(
    "CreateRoleStmt AlterRoleStmt AlterRoleSetStmt DropRoleStmt GrantRoleStmt AlterDefaultPrivilegesStmt DropOwnedStmt ReassignOwnedStmt "
    "CreatedbStmt AlterDatabaseStmt AlterDatabaseRefreshCollStmt AlterDatabaseSetStmt DropdbStmt AlterSystemStmt CreateTableSpaceStmt "
    "DropTableSpaceStmt AlterTableSpaceOptionsStmt AlterTableMoveAllStmt CreateExtensionStmt AlterExtensionStmt "
    "AlterExtensionContentsStmt CreateFdwStmt AlterFdwStmt CreateForeignServerStmt AlterForeignServerStmt CreateUserMappingStmt "
    "AlterUserMappingStmt DropUserMappingStmt ImportForeignSchemaStmt CreateAmStmt CreateEventTrigStmt AlterEventTrigStmt "
    "CreatePLangStmt CreateCastStmt CreateTransformStmt CreatePublicationStmt AlterPublicationStmt CreateSubscriptionStmt "
    "AlterSubscriptionStmt DropSubscriptionStmt"
)
MAINTENANCE: Mapping[str, str] = MappingProxyType(
    {"VacuumStmt": "rels", "ClusterStmt": "relation", "ReindexStmt": "relation", "RefreshMatViewStmt": "relation", "CheckPointStmt": ""}
)
PLAIN: Mapping[str, Asked] = MappingProxyType(
    {
        "TransactionStmt": Asked("sql.transaction", "Resource"), "ConstraintsSetStmt": Asked("sql.transaction", "Resource"),
        "VariableShowStmt": Asked("sql.session", "Resource"), "DeallocateStmt": Asked("sql.session", "Resource"),
        "ClosePortalStmt": Asked("sql.session", "Resource"), "UnlistenStmt": Asked("sql.session", "Resource"),
        "DiscardStmt": Asked("sql.session", "Resource"), "ExecuteStmt": Asked("sql.opaque", "Resource"),
        "FetchStmt": Asked("sql.opaque", "Resource"), "DoStmt": Asked("sql.opaque", "Resource"),
        "LoadStmt": Asked("sql.program", "Resource"),
    }
)  # fmt: skip
