"""Masks what a server's own sentences give away: error messages, details, notices.

A server error may quote any value (`Key (email)=(x@y) already exists`), and whoever writes the statement can
make it do so (`name::regclass`, `now() AT TIME ZONE name`). So, where a resource has classes that this
principal may not see: everything quoted is masked unless the client said it itself (`known`, the statement
text) or it can only be a catalog name, and so are the lists of values in details and numbers.
Sources: PostgreSQL, src/backend/executor/execMain.c (`ExecBuildSlotValueDescription`),
access/index/genam.c (`BuildIndexValueDescription`), utils/adt.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

MASKED = "[masked]"

_KEY = re.compile(r"\((?P<columns>.*?)\)=\((?P<values>.*)\)", re.DOTALL)
# Whole lists and lines of values. The quotes of other languages are no names we could tell from values.
_VALUES = (
    re.compile(r"(?P<head>(?:contains|enthält|contient|contiene|contém) \().*(?=\))", re.DOTALL),
    re.compile(r"(?P<head>JSON data, line \d+: |parameter \$\d+ = |COPY [\w\"., ]+, line \d+(?:, column [\w\" ]+)?: ).+", re.DOTALL),
    re.compile(r"(?P<head>)[«„“‘»].*[»”’“«]", re.DOTALL),
)
_NUMBER = re.compile(r"\d{3,}(?:[.,]\d+)*")
_COLUMN_LIST = re.compile(r"[A-Za-z_]\w*(?:, [A-Za-z_]\w*)*")

# What may stand between two quoted names of one sentence; other text there may itself be a value with quotes.
_BETWEEN = frozenset(
    {
        " of relation ",
        " violates foreign key constraint ",
        " violates not-null constraint",
        " on table ",
        " in table ",
        " from table ",
        " for relation ",
        " for table ",
        " violates check constraint ",
        " depends on column ",
        " to role ",
        " references ",
    }
)
# Behind these words stands a name out of the catalog, never a value of an expression.
_CATALOG = re.compile(r"(?:violates (?:\w+ )?(?:unique|exclusion|check|foreign key) constraint|on table|is not present in table) $")


def scrub_values(text: str, columns: Collection[str], known: str) -> str:
    """Mask quoted values. `columns`: bare names of the columns that are hidden, `*` for all of them;
    `known`: what the client itself sent, which tells it nothing new."""
    if _said(text, known):
        return text
    text = _swallow(_KEY.search(text), text, lambda match: _key(match, columns))
    for pattern in _VALUES:
        text = _swallow(pattern.search(text), text, lambda match: f"{match['head']}{MASKED}")
    text = _quoted(text, known)
    return _NUMBER.sub(lambda match: match[0] if _said(match[0], known) else MASKED, text)


def _swallow(match: re.Match[str] | None, text: str, mask: Callable[[re.Match[str]], str]) -> str:
    """Put the mask in place of a match. If quotes go with it and others stay before it, a value may have
    made the match, to tear its own quotes apart: then hide everything from the first quote on."""
    if match is None:
        return text
    masked, before = mask(match), text[: match.start()]
    if '"' in before and match[0].count('"') != masked.count('"'):
        return before[: before.index('"')] + MASKED
    return before + masked + text[match.end() :]


def _key(match: re.Match[str], columns: Collection[str]) -> str:
    """`(id)=(17)` may stay if all of its columns are plain names and none of them is hidden."""
    listed = match["columns"]
    plain = _COLUMN_LIST.fullmatch(listed) is not None and "(" not in match["values"] and ")" not in match["values"]
    if plain and "*" not in columns and not any(name.casefold() in columns for name in listed.split(", ")):
        return match[0]
    return f"({listed})=({MASKED})"


def _quoted(text: str, known: str) -> str:
    parts = text.split('"')
    if len(parts) == 1:
        return text
    if len(parts) % 2 == 0 or any(between not in _BETWEEN for between in parts[2:-1:2]):
        # Not a sentence we know: the value may have brought quotes of its own. Hide from first to last.
        return parts[0] + MASKED + (parts[-1] if len(parts) > 2 else "")
    for index in range(1, len(parts), 2):
        if _CATALOG.search(parts[index - 1]) is None and not _said(parts[index], known):
            parts[index] = MASKED
    return '"'.join(parts)


def _said(quoted: str, known: str) -> bool:
    """True if the client itself sent this, as a whole word: else any single letter would be "known"."""
    bare = quoted.strip("\"'")
    return bool(bare) and re.search(rf"(?<!\w){re.escape(bare)}(?!\w)", known, re.IGNORECASE) is not None
