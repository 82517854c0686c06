"""Which functions are harmless, and what the others do.

An allow-list: a call is harmless only if every function that its name may reach is built in, not written in a procedural
language, and immutable or stable (PostgreSQL docs 36.7 "Function Volatility Categories"), or is named below as a harmless
volatile one. The exceptions name built-ins that reach further than their volatility says. Anything else is `sql.opaque`.
"""

from __future__ import annotations

from interlock.facts.sql.catalog import Catalog, Function, SearchPath
from interlock.facts.sql.names import words
from interlock.facts.sql.vocabulary import Asked, Call

_HARMLESS_VOLATILE = words(
    "random random_normal clock_timestamp timeofday gen_random_uuid uuidv4 uuidv7 pg_sleep pg_sleep_for pg_sleep_until setseed "
    "pg_relation_size pg_table_size pg_total_relation_size pg_indexes_size pg_database_size pg_tablespace_size pg_column_size "
    "lastval currval pg_my_temp_schema pg_is_in_recovery pg_current_wal_lsn pg_current_wal_insert_lsn pg_last_wal_receive_lsn "
    "pg_last_wal_replay_lsn pg_last_xact_replay_timestamp pg_blocking_pids pg_isolation_test_session_is_blocked "
    "pg_jit_available pg_encoding_max_length pg_sequence_last_value pg_tablespace_databases pg_notification_queue_usage pg_trigger_depth "
    "array_sample array_shuffle current_query "
    "pg_advisory_unlock pg_advisory_unlock_shared pg_advisory_unlock_all "  # of the session's own locks; pools do it to reset
    "pg_current_xact_id pg_current_xact_id_if_assigned txid_current pg_collation_actual_version pg_partition_tree pg_partition_ancestors "
)
_LOCKS = frozenset(
    f"pg_{attempt}advisory_{scope}lock{share}" for attempt in ("", "try_") for scope in ("", "xact_") for share in ("", "_shared")
)
_FILES = words(
    "pg_read_file pg_read_binary_file pg_stat_file pg_ls_dir pg_ls_logdir pg_ls_waldir pg_ls_tmpdir pg_ls_archive_statusdir "
    "pg_ls_summariesdir pg_ls_logicalsnapdir pg_ls_logicalmapdir pg_ls_replslotdir lo_import lo_export pg_file_write pg_file_sync "
    "pg_file_rename pg_file_unlink pg_current_logfile pg_hba_file_rules pg_ident_file_mappings pg_show_all_file_settings"
)
_ADMIN = words(
    "pg_terminate_backend pg_cancel_backend pg_reload_conf pg_rotate_logfile pg_switch_wal pg_create_restore_point pg_backup_start "
    "pg_backup_stop pg_promote pg_wal_replay_pause pg_wal_replay_resume pg_stat_reset pg_stat_reset_shared pg_log_backend_memory_contexts "
    "pg_drop_replication_slot pg_create_logical_replication_slot pg_create_physical_replication_slot pg_import_system_collations"
)
_ANSWERS = words("nextval setval set_config pg_notify") | _LOCKS | _ADMIN
"""They do something, but return no data of users."""
_RUNS_TEXT = words(
    "query_to_xml query_to_xmlschema query_to_xml_and_xmlschema cursor_to_xml cursor_to_xmlschema table_to_xml table_to_xmlschema "
    "table_to_xml_and_xmlschema schema_to_xml schema_to_xmlschema schema_to_xml_and_xmlschema database_to_xml database_to_xmlschema "
    "database_to_xml_and_xmlschema ts_stat ts_rewrite"
)
"""They read tables that are named, or queries that are written, in their arguments."""
_REVEALS = words(
    "pg_stat_get_activity pg_stat_get_backend_activity pg_mcv_list_items pg_prepared_statement pg_cursor pg_get_replication_slots "
    "pg_stat_get_wal_receiver"
)
"""Harmless to run, but what they return is not made from their arguments alone."""


def reaches(call: Call, catalog: Catalog, search_path: SearchPath) -> tuple[Function, ...]:
    """Every function that a call may reach."""
    schema = call.name[-2] if len(call.name) > 1 else None
    return catalog.function(schema, call.name[-1], search_path)


def harmless(functions: tuple[Function, ...]) -> bool:
    """Whether all of them only compute; no function at all (an unknown name) is not harmless."""
    return bool(functions) and all(_is_harmless(function) for function in functions)


def _is_harmless(function: Function) -> bool:
    if not function.builtin or function.language not in ("internal", "c", "sql"):
        return False
    name = function.name
    if name in _FILES or name in _ADMIN or name in _RUNS_TEXT or name.startswith(("dblink", "pg_logical_", "pg_replication_")):
        return False
    return function.volatility in ("i", "s") or name in _HARMLESS_VOLATILE


def computed_from_arguments(call: Call, catalog: Catalog, search_path: SearchPath) -> bool:
    """Whether the result holds nothing but what the arguments held (and the server's own settings, names and numbers)."""
    functions = reaches(call, catalog, search_path)
    if harmless(functions):
        return call.name[-1] not in _REVEALS
    return bool(functions) and call.name[-1] in _ANSWERS and all(function.builtin for function in functions)


def asks(call: Call, catalog: Catalog, search_path: SearchPath) -> Asked | None:
    """The effect of a call beyond computing, None where it is harmless."""
    functions = reaches(call, catalog, search_path)
    if harmless(functions):
        return None
    name = call.name[-1]
    if not functions or not all(function.builtin for function in functions):
        return Asked("sql.opaque", "Function", call.name)
    known = ("pg_catalog", name)
    first = call.arguments[0] if call.arguments else None
    if name == "set_config" and first is not None and first.lower() in ("role", "session_authorization"):
        return Asked("sql.role", "Resource")
    if name == "set_config":
        return Asked("sql.set", "Setting", (first.lower() if first is not None else "*",))
    if name in ("nextval", "setval"):
        return Asked("sql.update", "Table", _relation(first)) if first is not None else Asked("sql.opaque", "Function", known)
    if name == "pg_notify":
        return Asked("sql.notify", "Channel", (first if first is not None else "*",))
    if name in _LOCKS:
        return Asked("sql.lock", "Resource")
    if name in _FILES:
        return Asked("sql.file", "Function", known)
    if name in _ADMIN or name.startswith(("pg_logical_", "pg_replication_")):
        return Asked("sql.admin", "Function", known)
    return Asked("sql.opaque", "Function", known)


def _relation(text: str) -> tuple[str, ...]:
    """A name as `regclass` reads it: parts between dots, folded to lower case unless quoted (docs 8.19)."""
    parts: list[str] = []
    part, quoted, folded = "", False, True
    for character in text.strip():
        if character == '"':
            quoted, folded = not quoted, False
        elif character == "." and not quoted:
            parts.append(part.lower() if folded else part)
            part, folded = "", True
        else:
            part += character
    parts.append(part.lower() if folded else part)
    return tuple(parts[-2:])
