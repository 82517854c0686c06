"""Checking one session's folder: its seal, journal, segments and, with the secret, what the recording says."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path

from interlock.errors import EvidenceError, VerificationError

from .bundle import PROOF, proven_leaf
from .disk import Torn, frames
from .event import FIRST_PREVIOUS, SCHEMA, Entry, Tally, decode_entry, decode_event, entry_hash
from .keys import event_salt
from .note import Verifier
from .report import Report
from .seal import JOURNAL, SEAL, SIGNATURE, Seal, check_signature, parse_seal, tallied
from .segment import Head, read_events, read_head, segment_path, sha256_file
from .tree import Tree, leaf_hash
from .verify_log import Logged, LogView

Secrets = Callable[[str], bytes | None]


class _NotVerifiable(Exception):
    """A claim that cannot be checked with what is at hand."""


class SessionCheck:
    """The checks of one session folder, each a claim in the report."""

    def __init__(self, folder: Path, session: str, verifier: Verifier, report: Report, secrets: Secrets | None) -> None:
        self._folder = folder
        self._session = session
        self._verifier = verifier
        self._report = report
        self._secrets = secrets
        self._last_seq = -1

    def run(self, log: LogView | None) -> None:
        """Check everything; `log` is what the log says, None where there is none at hand."""
        logged = log.sessions.get(self._session) if log else None
        if not (self._folder / SEAL).exists():
            if logged is None or logged.ending is not None:
                self._report.add("the seal is signed by the gateway", "failed", "there is no seal", self._session)
            return
        seals: list[Seal] = []
        self._claim("the seal is signed by the gateway", lambda: self._check_seal(seals))
        if not seals:
            return
        seal = seals[0]
        self._claim("the seal is the one in the log", lambda: self._check_logged(logged) if log else self._check_proof())
        self._claim("the log still holds what it held at sealing", lambda: self._check_history(seal, log))
        self._claim("the journal is whole and unchanged", lambda: self._check_journal(seal, logged))
        self._claim("the recording is whole and unchanged", lambda: self._check_recording(seal))
        self._claim("the recording says what was committed to", lambda: self._check_content(seal, logged))
        self._claim("nothing else is in the folder", lambda: self._check_files(seal, log))
        if seal.state == "recovered":
            self._claim("the session was closed in order", lambda: _gaps("recovered after the gateway died", seal))
        elif seal.gaps:
            self._claim("nothing is missing", lambda: _gaps("the gateway says", seal))

    def _claim(self, name: str, check: Callable[[], str]) -> None:
        try:
            self._report.add(name, "verified", check(), self._session)
        except _NotVerifiable as why:
            self._report.add(name, "not verifiable", str(why), self._session)
        except (VerificationError, EvidenceError, Torn, OSError, UnicodeDecodeError) as error:
            self._report.add(name, "failed", str(error), self._session)

    def _check_seal(self, seals: list[Seal]) -> str:
        data = (self._folder / SEAL).read_bytes()
        check_signature(self._folder, data, self._verifier)
        seal = parse_seal(data)
        if seal.schema != SCHEMA:
            raise VerificationError(f"it has version {seal.schema}, this verifier knows {SCHEMA}")
        if seal.session != self._session:
            raise VerificationError(f"it belongs to session {seal.session}")
        seals.append(seal)
        return f"{seal.state}, {seal.durability or 'no'} durability, by {seal.gateway}"

    def _check_logged(self, logged: Logged | None) -> str:
        if logged is None or logged.ending is None:
            raise VerificationError("the log does not know that the session ended: it was rolled back, or the gateway died just then")
        return self._check_ending(logged.ending)

    def _check_proof(self) -> str:
        """Without the log: the proof that came with the session."""
        if not (self._folder / PROOF).exists():
            raise _NotVerifiable("neither the log nor a proof is at hand")
        ending, checkpoint = proven_leaf((self._folder / PROOF).read_bytes().decode(), self._verifier)
        return self._check_ending(ending) or f"proven for the log of {checkpoint.size} leaves"

    def _check_ending(self, ending: Mapping[str, object]) -> str:
        digest = sha256((self._folder / SEAL).read_bytes()).hexdigest()
        if ending.get("seal") != digest or ending.get("session") != self._session:
            raise VerificationError("the log names another seal")
        return ""

    def _check_history(self, seal: Seal, log: LogView | None) -> str:
        if log is None:
            raise _NotVerifiable("the log is not at hand")
        if seal.log.origin != self._verifier.name:
            raise VerificationError(f"it was sealed under another log: {seal.log.origin}")
        if seal.log.size > log.size:
            raise VerificationError(f"it had {seal.log.size} leaves then, {log.size} now: it was rolled back")
        if log.roots.get(seal.log.size) != seal.log.root:
            raise VerificationError(f"its first {seal.log.size} leaves are not what they were")
        return f"{seal.log.size} leaves"

    # -- the journal -----------------------------------------------------------------------------------

    def _check_journal(self, seal: Seal, logged: Logged | None) -> str:
        tally, head, count, last_kind = Tally(), FIRST_PREVIOUS, 0, ""
        hashes = set(logged.entries) if logged else set()
        for offset, data in self._journal_frames(seal):
            where = f"entry {count} at byte {offset} of {JOURNAL}"
            try:
                entry = decode_entry(data)
            except VerificationError as error:
                raise VerificationError(f"{where}: {error.message}") from None
            self._check_entry(entry, head, where)
            self._last_seq, last_kind = entry.seq, entry.kind
            head = entry_hash(data)
            hashes.discard(head.hex())
            tally.add(entry.kind, entry.facts, entry.at)
            count += 1
        if count != seal.journal.entries:
            raise VerificationError(f"the seal counts {seal.journal.entries} entries, {count} are here")
        if count and head.hex() != seal.journal.head:
            raise VerificationError(f"the last entry ({count - 1}) is not the one that was sealed")
        if hashes and count:
            raise VerificationError("an entry that the log names (the opening, or an approval) is not in it")
        if count and last_kind != "close":
            raise VerificationError("it does not end with the close of the session")
        _check_tally(seal, tally if count else None)
        return f"{count} entries"

    def _journal_frames(self, seal: Seal) -> Iterator[tuple[int, bytes]]:
        path = self._folder / JOURNAL
        if seal.journal.entries == 0 and not path.exists():
            return
        fd = os.open(path, os.O_RDONLY)
        try:
            yield from frames(fd)
        finally:
            os.close(fd)

    def _check_entry(self, entry: Entry, head: bytes, where: str) -> None:
        if entry.schema != SCHEMA:
            raise VerificationError(f"{where} has version {entry.schema}, this verifier knows {SCHEMA}")
        if entry.previous != head:
            raise VerificationError(f"{where} does not follow the entry before it: one of them was changed, dropped or moved")
        if entry.seq <= self._last_seq:
            raise VerificationError(f"{where} has number {entry.seq} after {self._last_seq}")

    # -- the recording ---------------------------------------------------------------------------------

    def _check_recording(self, seal: Seal) -> str:
        """Without any key: every segment follows the one before, and the root over their hashes is the sealed one."""
        storage, previous, last, events = Tree(), FIRST_PREVIOUS, -1, 0
        for number in range(seal.recording.segments):
            path = segment_path(self._folder, number)
            if not path.exists():
                raise VerificationError(f"segment {number} is missing")
            head = self._check_segment(path, number, previous, last)
            last, events = head.last, events + head.events
            previous = sha256_file(path)
            storage.append(leaf_hash(previous))
        if storage.root().hex() != seal.recording.storage_root:
            raise VerificationError(f"segment {seal.recording.segments - 1} was changed, or the segments are not those that were sealed")
        if events != seal.recording.events:
            raise VerificationError(f"the seal counts {seal.recording.events} events, the segments hold {events}")
        missing = max(last, self._last_seq) + 1 - seal.journal.entries - events
        if missing and not seal.gaps:
            raise VerificationError(f"{missing} numbers between entries and events are missing, and the seal does not say so")
        return f"{events} events in {seal.recording.segments} segments"

    def _check_segment(self, path: Path, number: int, previous: bytes, last: int) -> Head:
        where = f"segment {number} ({path.name})"
        fd = os.open(path, os.O_RDONLY)
        try:
            for _ in frames(fd):
                pass
            head, _ = read_head(fd)
        except (Torn, VerificationError) as error:
            raise VerificationError(f"{where}: {error}") from None
        finally:
            os.close(fd)
        if head.previous != previous:
            raise VerificationError(f"{where} does not follow segment {number - 1}: one of them was changed, dropped or moved")
        if head.number != number or head.session != self._session or head.first <= last or head.last < head.first:
            raise VerificationError(f"{where} is not that segment of this session")
        return head

    def _check_content(self, seal: Seal, logged: Logged | None) -> str:
        """With the session's secret: every event opens, and the root over the salted events is the sealed one."""
        if seal.recording.content_root is None:
            raise _NotVerifiable("the key was shredded before the session was sealed")
        secret = self._secrets(self._session) if self._secrets else None
        if secret is None:
            raise _NotVerifiable("its key was shredded" if logged and logged.shredded else "it needs the session's secret key")
        content = Tree()
        for number in range(seal.recording.segments):
            path = segment_path(self._folder, number)
            fd = os.open(path, os.O_RDONLY)
            try:
                for data in read_events(fd, secret):
                    content.append(leaf_hash(event_salt(secret, decode_event(data).seq) + data))
            except VerificationError as error:
                raise VerificationError(f"segment {number} ({path.name}), after event {content.size}: {error}") from None
            finally:
                os.close(fd)
        if content.root().hex() != seal.recording.content_root:
            raise VerificationError("the events are not those that were sealed")
        return f"{content.size} events"

    def _check_files(self, seal: Seal, log: LogView | None) -> str:
        expected = {SEAL, SIGNATURE, JOURNAL} | {segment_path(self._folder, n).name for n in range(seal.recording.segments)}
        if log is None:
            expected.add(PROOF)
        if extra := sorted({entry.name for entry in os.scandir(self._folder)} - expected):
            raise VerificationError(f"{extra[0]} does not belong here")
        return ""


def _check_tally(seal: Seal, tally: Tally | None) -> None:
    if tally is None:
        return
    for name, counted in tallied(tally).items():
        if getattr(seal, name) != counted:
            raise VerificationError(f"the seal says another {name} than the journal")


def _gaps(prefix: str, seal: Seal) -> str:
    raise _NotVerifiable(f"{prefix}: {'; '.join(seal.gaps) or 'what was durable is here'}")
