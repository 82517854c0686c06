"""How much: open sessions and operations per minute, for each principal and, for an agent, its owner too.

Rates follow the generic cell rate algorithm (ITU-T I.371): one time per principal, no windows, no timers.
All in memory, never waits. A limit that is reached raises `LimitError`.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from interlock.config import LimitsConfig
from interlock.errors import LimitError
from interlock.exchange import Principal

MAX_PRINCIPALS = 100_000
"""So many principals are counted at once; one more is refused rather than left uncounted."""
MINUTE_S: Final = 60.0


class Limits:
    """Counters for one process. `now` is any clock in seconds that never runs backwards."""

    def __init__(self, config: LimitsConfig) -> None:
        self._config = config
        self._sessions: dict[str, int] = {}
        self._ready: OrderedDict[str, float] = OrderedDict()  # principal → when its used-up allowance is whole again

    def open_session(self, principal: Principal) -> None:
        """Count a session that is about to open; call `close_session` exactly once when it has ended."""
        names = _counted(principal)
        for name in names:
            if self._sessions.get(name, 0) >= self._config.sessions_per_principal:
                raise LimitError(
                    f"{name} has {self._config.sessions_per_principal} open sessions", hint="close one, or wait for one to end"
                )
        if len(self._sessions) + len(names) > MAX_PRINCIPALS:
            raise LimitError("too many principals have open sessions", hint="try again later")
        for name in names:
            self._sessions[name] = self._sessions.get(name, 0) + 1

    def close_session(self, principal: Principal) -> None:
        """The session has ended. Raises `LimitError` if none was reserved: that would be our mistake."""
        for name in _counted(principal):
            left = self._sessions.get(name, 0) - 1
            if left < 0:
                raise LimitError(f"no session of {name} is reserved")
            if left:
                self._sessions[name] = left
            else:
                del self._sessions[name]

    def sessions(self, principal: str) -> int:
        """How many sessions are open, those of its agents included."""
        return self._sessions.get(principal, 0)

    def operation(self, principal: Principal, now: float, count: int = 1) -> None:
        """Count operations. A minute's allowance may be used in one burst; all are counted or none."""
        names = _counted(principal)
        ready = [max(self._ready.get(name, now), now) + count * MINUTE_S / self._config.operations_per_minute for name in names]
        for name, whole_again in zip(names, ready, strict=True):
            if whole_again - now > MINUTE_S:
                raise LimitError(
                    f"{name} has used {self._config.operations_per_minute} operations per minute",
                    hint=f"try again in {whole_again - now - MINUTE_S:.1f} s",
                )
        self._make_room(now, len(names))
        for name, whole_again in zip(names, ready, strict=True):
            self._ready[name] = whole_again
            self._ready.move_to_end(name)

    def _make_room(self, now: float, wanted: int) -> None:
        """Forget whose allowance is whole; the least recently active come first."""
        while len(self._ready) + wanted > MAX_PRINCIPALS:
            name, whole_again = next(iter(self._ready.items()))
            if whole_again > now:
                raise LimitError("too many principals are active", hint="try again later")
            del self._ready[name]


def _counted(principal: Principal) -> tuple[str, ...]:
    return (principal.id, principal.on_behalf_of.id) if principal.on_behalf_of else (principal.id,)
