"""After a crash: every session that was left open is closed as `recovered`, with what was durable and no more.

What was asked but never settled gets an outcome: `unknown` where it may have reached upstream, `cancelled` where it still
waited for people. Doing this again after another crash in the middle gives the same result.
"""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

from interlock.errors import EvidenceError, VerificationError

from .archive import Archive
from .event import SCHEMA, Entry, encode, last_word
from .keys import Keys, check_id
from .log import Log, Roster
from .seal import SEAL, read_seal
from .spool import Spool

_CHANGED = "restore the file; or move it aside to start without it: the verifier will then tell what is missing"


def recover(folder: Path, keys: Keys, log: Log, roster: Roster, now: float) -> list[Path]:
    """Close what a crash left open in `folder`; the spool files that are done with. The caller writes and signs the log
    before it calls `discard`. Raises `EvidenceError` where a folder or key does not allow it, `OSError`."""
    spools = [Spool.scan(path) for path in sorted((folder / "spool").glob("*.spool"))]
    torn = [spool.torn for spool in spools if spool.torn]
    try:
        in_spools = dict.fromkeys(session for spool in spools for session in spool.index)
        for session in list(in_spools | roster.unfinished):
            place = folder / "sessions" / check_id(session)
            sealed = (place / SEAL).exists()
            if sealed and session not in roster.unfinished:
                continue
            if session in in_spools and session not in roster.unfinished:
                _log_late_open(log, roster, session, spools, now)
            if not sealed:
                _recover(place, session, spools, torn, keys, log, now)
            _log_ending(log, roster, place, session, now)
    except VerificationError as error:
        raise EvidenceError(f"what a crash left behind cannot be read: {error.message}", hint=_CHANGED) from error
    finally:
        for spool in spools:
            spool.close()
    for spool in spools:
        if spool.damaged:  # not what a crash does: keep it for people to look at
            spool.path.rename(spool.path.with_name(f"{spool.id.hex() or spool.path.stem}.damaged"))
    return [spool.path for spool in spools]


def discard(paths: list[Path]) -> None:
    """Remove the spool files of before, once all of them was recovered and logged. Raises `OSError`."""
    for path in paths:
        path.unlink(missing_ok=True)


def _recover(place: Path, session: str, spools: list[Spool], torn: list[str], keys: Keys, log: Log, now: float) -> None:
    archive = Archive.resume(place, session, keys.secret(session))
    for spool in spools:
        archive.take(spool)
    gaps = [f"the spool was cut: {where}" for where in torn]
    if archive.next_seq == 0:
        gaps.append("nothing of the session was found")
    else:
        for exchange, stage in list(archive.tally.unsettled.items()):
            _append(archive, "outcome", last_word(exchange, stage, "the gateway died first"), now)
        _append(archive, "close", {"reason": "the gateway stopped without closing the session", "recovered": True}, now)
    archive.seal("recovered", gaps, log.signed, keys.signer)


def _append(archive: Archive, kind: str, facts: dict[str, object], now: float) -> None:
    archive.take_entry(encode(Entry(SCHEMA, archive.next_seq, int(now * 1e9), kind, facts, archive.head)))


def _log_late_open(log: Log, roster: Roster, session: str, spools: list[Spool], now: float) -> None:
    """A power cut can keep the spool and lose the leaf that was written with it."""
    first = next((batch.entries[0] for spool in spools for batch in spool.batches(session, None) if batch.entries), b"")
    facts = {"session": session, "entry": sha256(first).hexdigest()}
    log.append("open", now, facts)
    roster.add({"kind": "open", **facts})


def _log_ending(log: Log, roster: Roster, place: Path, session: str, now: float) -> None:
    seal = read_seal(place)
    if seal is None:
        raise EvidenceError(f"session {session} could not be sealed")
    kind = "recovered" if seal.state == "recovered" else "close"
    digest = sha256((place / SEAL).read_bytes()).hexdigest()
    log.append(kind, now, {"session": session, "head": seal.journal.head, "seal": digest})
    roster.add({"kind": kind, "session": session})


def lock(folder: Path) -> int:
    """Take the folder for this process; the descriptor that holds the lock. Raises `EvidenceError`, `OSError`."""
    import fcntl

    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o640)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise EvidenceError(f"another gateway writes to {folder}", hint="one evidence folder belongs to one gateway") from None
    return fd
