"""Puts masks into a text at the places a scanner found."""

from __future__ import annotations

from collections.abc import Sequence

from interlock.masking.scanner import Finding
from interlock.masking.transforms import Transforms, label


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
