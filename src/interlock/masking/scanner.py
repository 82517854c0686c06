"""Runs detectors over batches of cells: one pass to see that a batch is clean, then one per detector.

The engine is RE2 where it can be imported (linear time, ~700 MB/s here), else Python's `re`; both read the
same patterns over the same bytes, and tests prove that they find the same. The gate pattern is made from
the enabled detectors themselves, so it cannot miss what they would find. It is one alternation and not an
`re2.Set`: a Set that runs out of memory answers "nothing found", an alternation falls back to the NFA.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from itertools import accumulate
from typing import Any, Literal, Protocol, cast

from interlock.masking.detectors import SEPARATOR, Detector, Proof

re2: Any
try:
    re2 = import_module("re2")
except ImportError:
    re2 = None

Engine = Literal["re2", "re"]
DEFAULT_ENGINE: Engine = "re" if re2 is None else "re2"

_CONTEXT_BYTES = 40
_NAMES_MAX = 1024
_REFUTED_MAX = 100_000
_OTHER_NUMBER = re.compile(r"(?:^|_)(?:ids?|uuid|key|count|total|amount|at|on|date|time|seconds)$", re.IGNORECASE)
_WORD_END = re.compile(rb"[^A-Za-z0-9_]")


class Match(Protocol):
    def span(self) -> tuple[int, int]: ...


class Pattern(Protocol):
    """What the two engines have in common."""

    def search(self, data: bytes, pos: int = 0, /) -> Match | None: ...


@dataclass(frozen=True, slots=True)
class Finding:
    """A span of bytes in the UTF-8 form of one text. `exact` is False where findings overlapped and the
    span is their union: then the text is not a value of the class alone."""

    start: int
    end: int
    data_class: str
    proof: Proof
    exact: bool = True


@lru_cache(maxsize=256)
def compile_pattern(pattern: bytes, engine: Engine) -> Pattern:
    """One source, two engines. Raises the engine's own error for a pattern it cannot read."""
    if engine == "re":
        return cast(Pattern, re.compile(pattern))
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # bytes, as in `re`
    options.max_mem = 32 << 20  # so that the DFA of the gate does not fall back to the slow NFA
    options.log_errors = False
    return cast(Pattern, re2.compile(pattern, options=options))


class Scanner:
    """The enabled detectors, compiled. Shared; its only state is a bounded cache of column names.

    Detectors which need a context word have loose patterns (any nine digits), so the gate looks for their
    words instead, and they run only where such a word stands in the batch or in a column's name.
    """

    __slots__ = ("_strict", "_groups", "_worded", "_loose", "_gate", "_loose_gate", "_named")

    def __init__(self, detectors: Sequence[Detector], engine: Engine = DEFAULT_ENGINE) -> None:
        alone = [d for d in detectors if not d.context]
        self._strict = [(d, compile_pattern(_strict(d), engine)) for d in alone]
        self._groups = [
            (
                compile_pattern(_either(_strict(d) for d in alone if d.proof is proof), engine),
                [pair for pair in self._strict if pair[0].proof is proof],
            )
            for proof in sorted({d.proof for d in alone})
        ]
        self._worded = [(d, compile_pattern(_strict(d), engine), compile_pattern(_word(d), engine)) for d in detectors if d.context]
        self._loose = [(d, compile_pattern(d.pattern, engine)) for d in alone]
        self._gate = compile_pattern(_either([_strict(d) for d in alone] + [_word(d) for d in detectors if d.context]), engine)
        self._loose_gate = compile_pattern(_either([d.pattern for d in alone]), engine)
        self._named: dict[str, bool] = {}

    def scan(self, texts: Sequence[str], names: Sequence[str]) -> dict[int, list[Finding]]:
        """Findings per index of `texts`, in order, without overlaps. `names[i * len(names) // len(texts)]`
        is the column of text `i`: texts come column by column. An empty text stands for "nothing here".

        Texts that are not ASCII are also scanned folded (full-width digits, zero-width characters, dashes);
        what shows up there only covers the whole text.
        """
        joined = SEPARATOR.decode().join(texts)
        found: dict[int, list[Finding]] = {}
        data = joined.encode("utf-8", "surrogatepass")
        if self._gate.search(data) is not None or any(map(self._is_word, names)):
            found = self._find(data, texts, names)
        if not joined.isascii():
            self._find_folded(texts, names, found)
        return found

    def scan_binary(self, cells: Sequence[bytes]) -> dict[int, str]:
        """The class of the first finding per cell of raw bytes, without regard to neighbours or context."""
        data = SEPARATOR.join(cells)
        found: dict[int, str] = {}
        if self._loose_gate.search(data) is None:
            return found
        starts = _starts(map(len, cells))
        for detector, pattern in self._loose:
            for start, _ in _spans(detector, pattern, data, strict=False):
                found.setdefault(bisect_right(starts, start) - 1, detector.data_class)
        return found

    def suspect(self, text: str) -> str | None:
        """The class of a detector that may find something in `text`, raw or folded, else None. One linear
        pass per detector, no proof."""
        for form in (text,) if text.isascii() else (text, fold(text)):
            data = form.encode("utf-8", "surrogatepass")
            if self._gate.search(data) is not None:
                return next(detector.data_class for detector, pattern in self._patterns() if pattern.search(data) is not None)
        return None

    def suspect_binary(self, data: bytes) -> str | None:
        """The same for a cell of raw bytes."""
        return next((detector.data_class for detector, pattern in self._loose if pattern.search(data) is not None), None)

    def _is_word(self, name: str) -> bool:
        """True if a column's name is the context of some detector."""
        known = self._named.get(name)
        if known is None:
            if len(self._named) >= _NAMES_MAX:
                self._named.clear()
            spaced = _spaced(name)
            known = self._named[name] = any(word.search(spaced) is not None for _, _, word in self._worded)
        return known

    def _awake(self, data: bytes) -> Iterable[tuple[Detector, Pattern]]:
        """The detectors that may find something, by groups: most batches with a hit hold no credential."""
        for gate, members in self._groups:
            if gate.search(data) is not None:
                yield from members

    def _patterns(self) -> Iterable[tuple[Detector, Pattern]]:
        yield from self._strict
        yield from ((detector, word) for detector, _, word in self._worded)

    def _find(self, data: bytes, texts: Sequence[str], names: Sequence[str]) -> dict[int, list[Finding]]:
        ascii_only = len(data) == sum(map(len, texts)) + len(texts) - 1
        sizes = map(len, texts) if ascii_only else (len(text.encode("utf-8", "surrogatepass")) for text in texts)
        starts = _starts(sizes)
        raw: dict[int, list[Finding]] = {}
        for detector, pattern in self._awake(data):
            for start, end in _spans(detector, pattern, data, strict=True):
                index = bisect_right(starts, start) - 1
                raw.setdefault(index, []).append(_finding(detector, start, end, starts[index]))
        for detector, pattern, word in self._worded:
            if word.search(data) is None and not any(word.search(_spaced(name)) for name in names):
                continue
            for start, end in _spans(detector, pattern, data, strict=True):
                index = bisect_right(starts, start) - 1
                if _in_context(word, data, start, end) or word.search(_spaced(names[index * len(names) // len(texts)])):
                    raw.setdefault(index, []).append(_finding(detector, start, end, starts[index]))
        return {index: resolve(findings) for index, findings in raw.items()}

    def _find_folded(self, texts: Sequence[str], names: Sequence[str], found: dict[int, list[Finding]]) -> None:
        for index, text in enumerate(texts):
            if text.isascii():
                continue
            folded = fold(text)
            if folded == text:
                continue
            name = names[index * len(names) // len(texts)]
            data = folded.encode("utf-8", "surrogatepass")
            if self._gate.search(data) is None and not self._is_word(name):
                continue
            findings = self._find(data, (folded,), (name,)).get(0, [])
            if len(findings) > len(found.get(index, ())):
                surest = max(findings, key=lambda finding: finding.proof)
                size = len(text.encode("utf-8", "surrogatepass"))
                found[index] = [Finding(0, size, surest.data_class, surest.proof, exact=False)]


def resolve(findings: list[Finding]) -> list[Finding]:
    """Unite overlapping findings. The surest names the class; where others reach beyond it, all is covered."""
    ordered = sorted(findings, key=lambda finding: (finding.start, -finding.end))
    united = ordered[:1]
    for finding in ordered[1:]:
        last = united[-1]
        if finding.start >= last.end:
            united.append(finding)
            continue
        best = max(last, finding, key=lambda candidate: (candidate.proof, candidate.end - candidate.start))
        end = max(last.end, finding.end)
        exact = best.exact and (best.start, best.end) == (last.start, end)
        united[-1] = Finding(last.start, end, best.data_class, best.proof, exact)
    return united


_HIDDEN = re.compile("[\u00ad\u034f\u061c\u180e\u200b-\u2015\u202a-\u202e\u2060-\u2064\u2212\ufe00-\ufe0f\ufeff]")


def fold(text: str) -> str:
    """Compatibility form (UAX #15, NFKC), without invisible characters, dashes as `-`."""
    if not unicodedata.is_normalized("NFKC", text):
        text = unicodedata.normalize("NFKC", text)
    return _HIDDEN.sub(lambda match: "-" if match[0] in "\u2010\u2011\u2012\u2013\u2014\u2015\u2212" else "", text)


def _spans(detector: Detector, pattern: Pattern, data: bytes, *, strict: bool) -> Iterable[tuple[int, int]]:
    """The proved spans of one detector. Raises `OverflowError` where bytes are made to look like candidates."""
    position = refuted = 0
    while (match := pattern.search(data, position)) is not None:
        start, end = match.span()
        spans = detector.check(data, start, end, strict)
        yield from spans
        if spans:
            position = max(spans[-1][1], start + 1)
        elif not detector.retry:
            position = end
        elif strict:  # a candidate inside a word would be refuted too, so go on behind this one
            word_end = _WORD_END.search(data, start + 1)
            position = word_end.start() if word_end else len(data)
        else:
            position, refuted = start + 1, refuted + 1
            if refuted > _REFUTED_MAX:
                raise OverflowError("too many candidates in binary cells")


def _in_context(word: Pattern, data: bytes, start: int, end: int) -> bool:
    before = data[max(0, start - _CONTEXT_BYTES) : start].rpartition(SEPARATOR)[2]
    after = data[end : end + _CONTEXT_BYTES].partition(SEPARATOR)[0]
    return word.search(before) is not None or word.search(after) is not None


def _finding(detector: Detector, start: int, end: int, offset: int) -> Finding:
    return Finding(start - offset, end - offset, detector.data_class, detector.proof)


def _spaced(name: str) -> bytes:
    """A column's name as words; a number in `phone_id` or `call_count` is no phone number."""
    if _OTHER_NUMBER.search(name):
        return b""
    return name.replace("_", " ").encode("utf-8", "surrogatepass")


def _strict(detector: Detector) -> bytes:
    return rb"\b(?:" + detector.pattern + rb")\b" if detector.word else detector.pattern


def _word(detector: Detector) -> bytes:
    return rb"(?i:" + detector.context + rb")"


def _either(patterns: Iterable[bytes]) -> bytes:
    # Without any pattern: `[^\x00-\xff]` matches no byte.
    return b"|".join(b"(?:" + pattern + b")" for pattern in patterns) or rb"[^\x00-\xff]"


def _starts(sizes: Iterable[int]) -> list[int]:
    return list(accumulate((size + len(SEPARATOR) for size in sizes), initial=0))
