"""What a session puts into columns: from the moment when a statement goes up, through its transaction, until a catalog is
learned that shows it. Upper bounds: only a failed statement and ROLLBACK take anything back.
"""

from __future__ import annotations

from interlock.facts.sql.transfers import Transfer
from interlock.protocols.postgres.expect import Expect, Want

TRANSFERS_MAX = 1_000
"""Most that are remembered of one transaction; what goes beyond, and has no known place, is opaque."""


class Puts:
    def __init__(self) -> None:
        self._sent: list[Expect] = []
        self._ran: tuple[Transfer, ...] = ()
        self.committed: tuple[Transfer, ...] = ()
        self.all: tuple[Transfer, ...] = ()

    @property
    def open(self) -> bool:
        """Whether a transaction that is not over has put something somewhere."""
        return bool(self._ran)

    def sent(self, expect: Expect) -> None:
        """A statement went up, and nothing goes up behind it before it is answered."""
        self._sent.append(expect)
        self._gather()

    def answered(self, idle: bool) -> bool:
        """Everything that was sent is answered; `idle`: and no transaction is open. Whether a catalog must be learned."""
        for expect in self._sent:
            self._follow(expect)
        self._sent.clear()
        if idle:
            self._commit()
        if self.committed and not any(put.marks or put.name for put in self.committed):
            self.committed = ()  # nothing to look for: whoever reads the catalog next finds what was made
        self._gather()
        return bool(self.committed)

    def learned(self) -> None:
        self.committed = ()
        self._gather()

    def _follow(self, expect: Expect) -> None:
        asked = expect.asked
        if asked is None:
            return
        puts = asked.puts
        if expect.failed:
            puts = puts[: expect.at] if expect.want is Want.QUERY else ()
        for at, some in enumerate(puts):
            self._ran = _bounded((*self._ran, *some))
            ends = asked.statements[at].transaction if at < len(asked.statements) else ""
            if ends == "rollback":
                self._ran = ()
            elif ends in ("commit", "prepare"):
                self._commit()

    def _commit(self) -> None:
        self.committed = _bounded((*self.committed, *self._ran))
        self._ran = ()

    def _gather(self) -> None:
        sent = tuple(put for expect in self._sent if expect.asked is not None for some in expect.asked.puts for put in some)
        everything = (*self.committed, *self._ran, *sent)
        if everything != self.all:
            self.all = everything


def _bounded(some: tuple[Transfer, ...]) -> tuple[Transfer, ...]:
    if len(some) <= TRANSFERS_MAX:
        return some
    return (*some[:TRANSFERS_MAX], *(put for put in some[TRANSFERS_MAX:] if put.marks), Transfer(opaque=True))
