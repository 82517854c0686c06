"""Puts masks into a text at the places a scanner found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from interlock.masking.scanner import Finding, Scanner
from interlock.masking.transforms import Transforms, label

_ROUNDS_MAX = 4


def mask_texts(
    texts: Sequence[str], names: Sequence[str], scanner: Scanner, transforms: Transforms
) -> tuple[dict[int, str | None], Counter[str]]:
    """What `scanner` finds in a batch, masked: the new text per index where there was a finding (None for
    NULL), and how many values were masked per class. Arguments as for `Scanner.scan`.

    A mask changes the neighbours of what is beside it, and so perhaps what that is (`4111…` directly before
    a token is no card, before a label it is). So what was masked is scanned again until nothing is found.
    """
    masked: dict[int, str | None] = {}
    counts: Counter[str] = Counter()
    found = scanner.scan(texts, names)
    for _ in range(_ROUNDS_MAX):
        if not found:
            return masked, counts
        for index, findings in found.items():
            masked[index] = rewrite(masked.get(index) or texts[index], findings, transforms)
            counts.update(finding.data_class for finding in findings)
        again = [index for index in found if masked[index] is not None]
        found_again = scanner.scan([masked[index] or "" for index in again], [names[index * len(names) // len(texts)] for index in again])
        found = {again[at]: findings for at, findings in found_again.items()}
    for index, findings in found.items():
        masked[index] = label(findings[0].data_class)
    return masked, counts


def rewrite(text: str, findings: Sequence[Finding], transforms: Transforms) -> str | None:
    """`text` with each finding masked by the transform of its class; None (NULL) if one of them is `null`.

    Findings are in order and do not overlap; their offsets count bytes of the UTF-8 form.
    """
    data = text.encode("utf-8", "surrogatepass")
    parts: list[bytes] = []
    position = 0
    for finding in findings:
        start = _unescaped(data, position, finding.start)
        value = data[finding.start : finding.end].decode("utf-8", "replace")
        if transforms.name(finding.data_class) == "null":
            return None
        masked = transforms.mask(finding.data_class, value) if finding.exact else label(finding.data_class)
        parts += (data[position:start], (masked or "").encode("utf-8", "surrogatepass"))
        position = finding.end
    parts.append(data[position:])
    whole = b"".join(parts)
    try:
        return whole.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:  # a finding began inside a character: what is left of it is no character
        return whole.decode("utf-8", "replace")


def _unescaped(data: bytes, floor: int, start: int) -> int:
    r"""In JSON, `\njane@example.com` looks like `njane@…` behind a backslash: a mask there must swallow the
    backslash, or it makes an escape that no parser accepts. Two backslashes are one, and stay."""
    position = start
    while position > floor and data[position - 1 : position] == b"\\":
        position -= 1
    return start - ((start - position) & 1)
