"""What the plays about the relay share: a small catalog, a relay in it, and the words that come up again and again."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from interlock.exchange import Permit, Refusal, Shape
from interlock.facts.sql.catalog import Catalog
from interlock.protocols.postgres import wire
from interlock.protocols.postgres.relay import Relay
from interlock.protocols.postgres.reply import speak
from tests.playbook import Play, ScriptPort

CUSTOMERS, ORDERS, HIDDEN, VIEW = 16_400, 16_401, 16_402, 16_403
CATALOG = Catalog.build(
    [
        (CUSTOMERS, "public", "customers", "r", None),
        (ORDERS, "public", "orders", "r", None),
        (HIDDEN, "hidden", "customers", "r", None),
        (VIEW, "public", "people", "v", " SELECT id, upper(email) AS email FROM customers;"),
    ],
    [
        *((table, n, name, 25) for table in (CUSTOMERS, HIDDEN) for n, name in enumerate(("id", "name", "email"), 1)),
        (ORDERS, 1, "id", 23),
        (ORDERS, 2, "customer_id", 23),
        (VIEW, 1, "id", 23),
        (VIEW, 2, "email", 25),
    ],
    [("pg_catalog", name, "i", "internal", True) for name in ("upper", "count", "set_config", "concat")],
    version=1,
)
PARAMETERS = {"client_encoding": "UTF8", "standard_conforming_strings": "on", "search_path": '"$user", public'}
POISON = "interlock_0123456789ab"
POISONED = wire.execute(POISON)
NO_PORTAL = wire.error("ERROR", "34000", f'portal "{POISON}" does not exist')
REFUSED = wire.error_fields(speak(Refusal("denied", "no rule permits it", ("no-such-rule",), "#dba")))
MESSAGE_MAX = 1024 * 1024

IDLE, IN_TRANSACTION, FAILED = wire.ready("I"), wire.ready("T"), wire.ready("E")
EMAIL = wire.row_description([wire.Field("email", CUSTOMERS, 3)])
ONE = wire.row_description([wire.Field("?column?", type_oid=23)])


def play(mask: Callable[[Shape, bytes], bytes] = lambda _, piece: piece, parameters: Mapping[str, str] = PARAMETERS) -> Play:
    """A relay right after its login."""

    def make(port: ScriptPort, connect: Permit) -> Relay:
        return Relay(
            port,
            connect,
            CATALOG,
            parameters=parameters,
            user="interlock",
            poison=POISON,
            message_bytes_max=MESSAGE_MAX,
            statement_bytes_max=64 * 1024,
        )

    return Play(make, mask)


def stars(shape: Shape, piece: bytes) -> bytes:
    """A mask that is easy to see: columns that may come from an e-mail, or from nobody knows where, become `*`."""
    rows = shape.split(piece)
    for row in rows:
        for at, column in enumerate(shape.columns):
            sources = column.sources
            if sources is None or any(name.endswith(".email") for name in sources | {column.origin or ""}):
                row[at] = b"*"
    return shape.join(rows)


def row(*cells: str | None) -> bytes:
    return wire.data_row([None if cell is None else cell.encode() for cell in cells])


def done(tag: str = "SELECT 1") -> bytes:
    return wire.command_complete(tag)


def failed(code: str = "22012", text: str = "division by zero") -> bytes:
    return wire.error("ERROR", code, text)


def ask(sql: str, portal: str = "", statement: str = "") -> bytes:
    """Parse, Bind, Describe, Execute: as libpq sends them, without the Sync."""
    return wire.parse(statement, sql) + wire.bind(portal, statement) + wire.describe("P", portal) + wire.execute(portal)


ANSWERED = wire.parse_complete() + wire.bind_complete()
