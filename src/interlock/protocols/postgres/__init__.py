"""PostgreSQL's wire protocol 3.0 and 3.2, both roles, without I/O.

    client                relay                    gate                  upstream
      │──Parse, Bind, …────▶│──Operation(effects)───▶│                      │
      │                     │◀──Permit───────────────│                      │
      │                     │──Parse, Bind, Describe (ours), Execute, Sync──▶│
      │                     │◀──1, 2, T (swallowed), D D D, C, Z─────────────│
      │                     │──Shape (columns, lineage)─▶│                   │
      │◀──1, 2, D D D, C, Z─│◀──Release (masked)─────│                      │

Types to know: `translate.Translator` (client messages → steps), `relay.Relay` (steps up, once the gate agrees),
`answers.Answers` (upstream's answers down), `names.Names` (what names stand for), `operation.Reader` (texts → effects),
`reply.RowShape` and `copy_formats` (cells), `door.Door` and `door.Reach` (handshakes), `wire` (the table of every
message: ask, pass, refuse; what is not in it is refused).

Specification: PostgreSQL documentation, chapter 54 "Frontend/Backend Protocol" (Message Flow, Message Formats, SASL
Authentication), protocol 3.2 as of PostgreSQL 18.
"""

from interlock.exchange import Permit, Port
from interlock.facts.sql.catalog import Catalog
from interlock.protocols.postgres import catalog as catalogs
from interlock.protocols.postgres.ask import Asker
from interlock.protocols.postgres.door import Canceller, Door, Reach, refuse
from interlock.protocols.postgres.operation import foresee
from interlock.protocols.postgres.relay import Relay
from interlock.protocols.postgres.reply import render
from interlock.protocols.stream import Reached, StreamProtocol


def _relay(
    port: Port, connect: Permit, catalog: Catalog, *, reached: Reached, poison: str, message_bytes_max: int, statement_bytes_max: int
) -> Relay:
    return Relay(
        port,
        connect,
        catalog,
        parameters=reached.parameters,
        user=reached.user,
        poison=poison,
        message_bytes_max=message_bytes_max,
        statement_bytes_max=statement_bytes_max,
    )


PROTOCOL = StreamProtocol(
    name="postgres",
    alpn="postgresql",
    door=Door,
    reach=Reach,
    relay=_relay,
    asker=Asker,
    cancel=Canceller,
    refuse=refuse,
    render=render,
    catalog_settings=catalogs.SETTINGS,
    catalog_system=catalogs.SYSTEM,
    catalog_user=catalogs.USER,
    catalog_of=catalogs.build,
    foresee=foresee,
    describe=catalogs.DESCRIBE,
)

__all__ = ["PROTOCOL"]
