"""What a verifier says: claims, each verified, not verifiable, or failed."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Literal

Status = Literal["verified", "not verifiable", "failed"]


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing that was checked: what, the verdict, where and why, and of which session (empty: the log)."""

    name: str
    status: Status
    detail: str = ""
    session: str = ""

    def __str__(self) -> str:
        about = f"session {self.session}: " if self.session else ""
        return f"{self.status:>14}  {about}{self.name}{f' ({self.detail})' if self.detail else ''}"


@dataclass(slots=True)
class Report:
    """All claims, in the order in which they were checked."""

    claims: list[Claim] = field(default_factory=list)

    def add(self, name: str, status: Status, detail: str = "", session: str = "") -> None:
        self.claims.append(Claim(name, status, detail, session))

    @property
    def ok(self) -> bool:
        """Something was checked, and nothing failed."""
        return bool(self.claims) and not self.failures

    @property
    def failures(self) -> list[Claim]:
        return [claim for claim in self.claims if claim.status == "failed"]

    def lines(self) -> list[str]:
        """For people: one line per claim, and a last line with the verdict."""
        count = Counter(claim.status for claim in self.claims)
        total = ", ".join(f"{count[status]} {status}" for status in ("verified", "not verifiable", "failed"))
        return [*map(str, self.claims), f"{'VERIFIED' if self.ok else 'FAILED'}: {total}"]

    def as_dict(self) -> dict[str, object]:
        """For machines; plain JSON values."""
        return {"ok": self.ok, "claims": [asdict(claim) for claim in self.claims]}
