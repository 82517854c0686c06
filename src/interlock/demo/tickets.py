"""The shop's support desk: a real MCP server over stdio, `python -m interlock.demo.tickets`, made with the official SDK.

It knows nothing of the gateway. Its tickets live in memory, are the same at each start, and many carry what customers
write into tickets: e-mail addresses, phone and card numbers. `delete_ticket` is there to be refused by policy.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations

from interlock.demo.shop import card_number, phone_number

TICKETS = 40
_SEED = 1861
_FOUND_MAX = 20
_COMMENTS_MAX = 50
_COMMENT_CHARACTERS_MAX = 2_000

_CASES = (
    ("Parcel never arrived", "Order {order} is shown as delivered, but nothing came. Please call {phone} or write to {email}."),
    ("Charged twice", "My card {card} was charged twice for order {order}. Confirm to {email}, please."),
    ("Wrong size", "The boots of order {order} are a 40, I ordered a 42. You reach me at {phone}."),
    ("Change of address", "We moved. My account is {email}; order {order} should go to the new place."),
    ("Refund to another card", "Please refund order {order} to {card}, the old card was closed. Phone: {phone}."),
    ("Cannot sign in", "The reset mail to {email} never comes. Order {order} is waiting."),
    ("Voucher does not work", "The voucher is refused at the till for order {order}, though it is valid until the end of the year."),
    ("Invoice with VAT id", "Our accounting needs an invoice with VAT id for order {order}, to {email}."),
)
_NAMES = ("amara", "ben", "chen", "freya", "hugo", "ines", "kira", "mateo", "nadia", "omar", "priya", "sofia", "viktor", "yara")
_STATUS = ("open", "waiting", "closed")


@dataclass
class Ticket:
    """One ticket of the support desk."""

    id: int
    title: str
    customer: str
    status: str
    text: str
    comments: list[str] = field(default_factory=list)


@dataclass
class Found:
    """The line that a search shows of a ticket."""

    id: int
    title: str
    customer: str
    status: str


class Desk:
    """The tickets, by id. Every method raises `ToolError`, whose text the caller sees, for what cannot be done."""

    def __init__(self, count: int = TICKETS) -> None:
        dice = random.Random(_SEED)
        self.tickets = {number: _ticket(dice, number) for number in range(1, count + 1)}

    def search(self, query: str) -> list[Found]:
        """At most 20 tickets in whose title, customer or text all words of the query occur; an empty query finds all."""
        words = query.lower().split()
        found = []
        for ticket in self.tickets.values():
            where = f"{ticket.title} {ticket.customer} {ticket.text}".lower()
            if all(word in where for word in words):
                found.append(Found(ticket.id, ticket.title, ticket.customer, ticket.status))
        return found[:_FOUND_MAX]

    def get(self, id: int) -> Ticket:
        if id not in self.tickets:
            raise ToolError(f"there is no ticket {id}")
        return self.tickets[id]

    def comment(self, id: int, text: str) -> Ticket:
        ticket = self.get(id)
        if not 0 < len(text) <= _COMMENT_CHARACTERS_MAX:
            raise ToolError(f"a comment has 1 to {_COMMENT_CHARACTERS_MAX} characters")
        if len(ticket.comments) >= _COMMENTS_MAX:
            raise ToolError(f"a ticket has at most {_COMMENTS_MAX} comments")
        ticket.comments.append(text)
        return ticket

    def delete(self, id: int) -> str:
        ticket = self.get(id)
        del self.tickets[id]
        return f"ticket {id} ({ticket.title}) is deleted"


def serve(desk: Desk) -> MCPServer[Any]:
    """The MCP server of a desk; `run()` speaks over stdio until its input ends."""
    server: MCPServer[Any] = MCPServer(
        "support-desk",
        title="Support desk",
        instructions="Search the shop's support tickets, read them, comment on them.",
        log_level="WARNING",
        subscriptions=False,
    )

    @server.tool(annotations=ToolAnnotations(read_only_hint=True))
    def search_tickets(query: str) -> list[Found]:
        """Find tickets by words in their title, text or customer's address."""
        return desk.search(query)

    @server.tool(annotations=ToolAnnotations(read_only_hint=True))
    def get_ticket(id: int) -> Ticket:
        """Read one ticket with its comments."""
        return desk.get(id)

    @server.tool(annotations=ToolAnnotations(destructive_hint=False))
    def add_comment(id: int, text: str) -> Ticket:
        """Add a comment to a ticket."""
        return desk.comment(id, text)

    @server.tool(annotations=ToolAnnotations(destructive_hint=True))
    def delete_ticket(id: int) -> str:
        """Delete a ticket for good."""
        return desk.delete(id)

    return server


def _ticket(dice: random.Random, number: int) -> Ticket:
    title, text = _CASES[(number - 1) % len(_CASES)]
    customer = f"{dice.choice(_NAMES)}{number}@{dice.choice(('example.com', 'example.org', 'lakeside.example'))}"
    card = card_number(dice)
    spaced = " ".join(card[at : at + 4] for at in range(0, len(card), 4))
    filled = text.format(order=dice.randrange(1, 80_000), email=customer, phone=phone_number(dice), card=spaced)
    return Ticket(number, title, customer, dice.choice(_STATUS), filled)


if __name__ == "__main__":
    serve(Desk()).run()
