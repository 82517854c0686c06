"""References to secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.errors import ResourceError
from interlock.resources import resolve
from interlock.resources.secrets import MAX_SECRET_BYTES


@pytest.mark.parametrize(
    ("content", "value"),
    [(b"pass\n", "pass"), (b"pass\r\n", "pass"), (b"pass", "pass"), (b" pass \n\n", " pass \n"), ("pä".encode(), "pä")],
)
def test_a_file_loses_one_line_end(tmp_path: Path, content: bytes, value: str) -> None:
    (tmp_path / "secret").write_bytes(content)
    assert resolve(f"file:{tmp_path / 'secret'}") == value


@pytest.mark.parametrize("content", [b"", b"\n", b"hush\xff", b"x" * (MAX_SECRET_BYTES + 1)])
def test_a_file_that_holds_no_secret(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "secret").write_bytes(content)
    with pytest.raises(ResourceError) as caught:
        resolve(f"file:{tmp_path / 'secret'}")
    assert "hush" not in caught.value.message
    assert str(tmp_path) in caught.value.message
    assert caught.value.__cause__ is None, "the cause would show the bytes"


def test_what_is_absent(tmp_path: Path) -> None:
    for reference in (f"file:{tmp_path / 'none'}", f"file:{tmp_path}", "env:INTERLOCK_NO_SUCH_NAME"):
        with pytest.raises(ResourceError, match="the secret"):
            resolve(reference)


def test_a_literal_is_not_repeated() -> None:
    with pytest.raises(ResourceError) as caught:
        resolve("hunter2")
    assert "hunter2" not in caught.value.message
