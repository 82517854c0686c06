"""The offline verifier: public keys only, no network, no gateway.

It trusts nothing it reads: every file must be known, every byte is covered by a hash, a signature or a checksum, and what
is missing is named.
"""

from __future__ import annotations

import os
from pathlib import Path

from interlock.errors import VerificationError

from .note import Verifier
from .report import Report
from .seal import JOURNAL, SEAL, parse_seal
from .verify_log import Logged, verify_log
from .verify_session import Secrets, SessionCheck


def verify(path: Path, public_key: str, *, secrets: Secrets | None = None) -> Report:
    """Check an evidence folder (log and all sessions), or one session's folder (and the log beside it, where there is
    one), against the gateway's public key (vkey text).

    `secrets` gives session secrets (`Keys.secret`), so that the content root is checked too. Raises `VerificationError`
    only where there is nothing to check: a bad key, or no evidence at `path`.
    """
    verifier = Verifier.parse(public_key)
    report = Report()
    if (path / "log").is_dir():
        view = verify_log(path / "log", verifier, report, _seen_sizes(path / "sessions"))
        _verify_presence(path / "sessions", view.sessions, report)
        for spool in sorted((path / "spool").glob("*.damaged")):
            report.add("nothing was damaged before it was archived", "not verifiable", f"{spool.name} was kept for people to look at")
        for session in sorted(view.sessions):
            if (path / "sessions" / session).is_dir():
                SessionCheck(path / "sessions" / session, session, verifier, report, secrets).run(view)
    elif (path / SEAL).exists() or (path / JOURNAL).exists():
        folder = path.resolve()
        log = folder.parent.parent / "log"
        beside = folder.parent.name == "sessions" and log.is_dir()
        logged = verify_log(log, verifier, report, _seen_sizes(folder.parent)) if beside else None
        SessionCheck(path, folder.name, verifier, report, secrets).run(logged)
    else:
        raise VerificationError(f"there is no evidence in {path}")
    return report


def _seen_sizes(folder: Path) -> set[int]:
    """The sizes of the log at which seals say they have seen it."""
    sizes: set[int] = set()
    for seal in folder.glob(f"*/{SEAL}"):
        try:
            sizes.add(parse_seal(seal.read_bytes()).log.size)
        except (OSError, VerificationError):
            continue  # reported when its session is checked
    return sizes


def _verify_presence(folder: Path, logged: dict[str, Logged], report: Report) -> None:
    """No session is missing, and none is there that was never logged."""
    present = {entry.name for entry in os.scandir(folder)} if folder.is_dir() else set()
    missing = sorted(session for session, about in logged.items() if about.ending is not None and session not in present)
    unlogged = sorted(name for name in present if name not in logged or not logged[name].opened)
    for session in missing:
        report.add("the session is here", "failed", "the log says that it ended; its folder is missing", session)
    for session in unlogged:
        report.add("the session is in the log", "failed", "the log never saw it open", session)
    for session in sorted(session for session, about in logged.items() if about.ending is None):
        report.add("the session has ended", "not verifiable", "it is still open, or the gateway died and did not start again", session)
    if not missing and not unlogged:
        report.add("no session is missing, none was added", "verified", f"{len(logged)} in the log")
