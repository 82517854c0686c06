"""What a PostgreSQL type is to us: how its values are checked, written and read in both formats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


def read_utf8(data: bytes) -> str:
    # Replaced, not refused: a SQL_ASCII database sends any bytes, and detectors must still see the rest.
    return data.decode(errors="replace")


def text_without_nul(text: str) -> str | None:
    return None if "\0" in text else text


@dataclass(frozen=True, slots=True)
class Scalar:
    """One type: `valid` text → canonical text or None; `pack`/`unpack` for the binary format;
    `write`/`read` for the text format."""

    valid: Callable[[str], str | None]
    pack: Callable[[str], bytes] = str.encode
    unpack: Callable[[bytes], str] = read_utf8
    write: Callable[[str], bytes] = str.encode
    read: Callable[[bytes], str] = read_utf8
