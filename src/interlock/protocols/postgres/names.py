"""What names stand for while upstream has not answered yet.

PostgreSQL has one namespace for prepared statements and one for portals, each shared by the protocol's messages and
SQL (PREPARE, DECLARE). A message that gives a name may still fail, or be skipped after an error; until its answer is
there, later messages of the same pipeline see the new value (if it fails, they are skipped as well), and messages of
a later pipeline must wait (`unsure`): they would run with the old one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

NAMES_MAX = 10_000
"""How many prepared statements and how many portals a session may name; what is over is not known."""


class Rename(Generic[T]):
    """A name's new value (None: gone), given in pipeline number `group`, until upstream's answer decides it."""

    __slots__ = ("_names", "group", "name", "value")

    def __init__(self, names: Names[T], name: str, value: T | None, group: int) -> None:
        self._names = names
        self.name = name
        self.value = value
        self.group = group

    def keep(self) -> None:
        """Upstream did it."""
        self._names._settle(self)
        self._names.put(self.name, self.value)

    def drop(self) -> None:
        """Upstream did not."""
        self._names._settle(self)


class Names(Generic[T]):
    """One namespace. With a `base`, a view that changes without changing the base."""

    __slots__ = ("_base", "_known", "_pending")

    def __init__(self, base: Names[T] | None = None) -> None:
        self._base = base
        self._known: dict[str, T | None] = {}
        self._pending: dict[str, list[Rename[T]]] = {}

    def get(self, name: str) -> T | None:
        pending = self._pending.get(name)
        if pending:
            return pending[-1].value
        if self._base is not None and name not in self._known:
            return self._base.get(name)
        return self._known.get(name)

    def put(self, name: str, value: T | None) -> None:
        """Upstream has said so."""
        if value is None and self._base is None:
            self._known.pop(name, None)
        elif name in self._known or len(self._known) < NAMES_MAX:
            self._known[name] = value

    def rename(self, name: str, value: T | None, group: int) -> Rename[T]:
        """Expected, not yet answered."""
        change = Rename(self, name, value, group)
        self._pending.setdefault(name, []).append(change)
        return change

    def renew(self, name: str, value: T) -> None:
        """The same thing in other words: whoever asks for the name from now on gets this."""
        pending = self._pending.get(name)
        if pending:
            pending[-1].value = value
        else:
            self.put(name, value)

    def clear(self) -> None:
        """Upstream has forgotten all of them."""
        self._base = None
        self._known.clear()

    def retain(self, lives: Callable[[T], bool]) -> None:
        """Upstream has forgotten those that do not live on."""
        if self._known:
            self._known = {name: value for name, value in self._known.items() if value is not None and lives(value)}

    @property
    def full(self) -> bool:
        return len(self._known) + len(self._pending) >= NAMES_MAX

    @property
    def waiting(self) -> bool:
        """Whether any name waits for its answer."""
        return bool(self._pending)

    def unsure(self, group: int, name: str | None = None) -> bool:
        """Whether another pipeline than `group` was the last to give this name (None: any name), and no answer has come."""
        if not self._pending:
            return False
        if name is None:
            return any(changes[-1].group != group for changes in self._pending.values())
        changes = self._pending.get(name)
        return changes is not None and changes[-1].group != group

    def _settle(self, change: Rename[T]) -> None:
        pending = self._pending[change.name]
        pending.remove(change)
        if not pending:
            del self._pending[change.name]
