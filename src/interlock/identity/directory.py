"""The principals that the configuration names, and a version number for each of them.

The version grows whenever groups, owner or state of a principal change, or everything it showed so far is
revoked. A `Principal` of an older version is not trusted any more.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from interlock.config import PrincipalConfig
from interlock.exchange import Principal


class Directory:
    """Dictionary look-ups only; changed by `replace` (configuration) and `bump` (revocation)."""

    def __init__(self, principals: Iterable[PrincipalConfig]) -> None:
        self._entries: Mapping[str, PrincipalConfig] = {entry.id: entry for entry in principals}
        self._versions: dict[str, int] = {}

    def find(self, principal: str) -> PrincipalConfig | None:
        return self._entries.get(principal)

    def all(self) -> tuple[PrincipalConfig, ...]:
        return tuple(self._entries.values())

    def version(self, principal: str) -> int:
        return self._versions.get(principal, 0)

    def bump(self, principal: str) -> None:
        """End trust in everything that this principal has shown so far."""
        self._versions[principal] = self.version(principal) + 1

    def replace(self, principals: Iterable[PrincipalConfig]) -> frozenset[str]:
        """Take a new configuration; returns who was changed, added or removed."""
        entries = {entry.id: entry for entry in principals}
        changed = frozenset(name for name in entries.keys() | self._entries.keys() if entries.get(name) != self._entries.get(name))
        for name in changed:
            self.bump(name)
        self._entries = entries
        return changed

    def principal(self, name: str, more_groups: frozenset[str] = frozenset()) -> Principal | None:
        """The principal as configured now, with its owner; None when it, or its owner, is unknown or disabled."""
        entry = self.find(name)
        if entry is None or entry.disabled:
            return None
        owner = None
        if entry.owner:
            owner = self.principal(entry.owner)
            if owner is None or owner.kind != "user":
                return None
        return Principal(name, entry.kind, entry.groups | more_groups, on_behalf_of=owner, version=self.version(name))

    def why_not(self, principal: Principal) -> str:
        """Empty while the principal is as it was when it was identified, else what has changed."""
        entry = self.find(principal.id)
        if entry is not None and entry.disabled:
            return f"{principal.id} is disabled"
        if self.version(principal.id) != principal.version:
            return f"the rights of {principal.id} were changed or revoked"
        if principal.on_behalf_of is not None:
            return self.why_not(principal.on_behalf_of)
        return ""


def proven(principal: Principal, proof: str, expires_at: float) -> Principal:
    """The same principal with what it has shown; the owner carries no proof of its own."""
    return dataclasses.replace(principal, proof=proof, expires_at=expires_at)
