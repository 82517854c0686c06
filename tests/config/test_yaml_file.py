"""YAML as typed values with places."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.config.yaml_file import Table, read_yaml
from interlock.errors import ConfigError


def table(folder: Path, text: str) -> Table:
    path = folder / "some.yaml"
    path.write_text(text)
    return read_yaml(path)


def test_values_keep_their_types(tmp_path: Path) -> None:
    top = table(tmp_path, 'word: a\nnumber: -3\nflag: true\nlist: [a, "1"]\nmap: {k: v}\npath: some.yaml\n')

    assert (top.text("word"), top.number("number", None, -5, 5), top.flag("flag", False)) == ("a", -3, True)
    assert (top.texts("list"), dict(top.words("map")), top.path("path")) == (("a", "1"), {"k": "v"}, tmp_path / "some.yaml")
    top.finish()


def test_defaults_stand_in_for_what_is_absent(tmp_path: Path) -> None:
    top = table(tmp_path, "x: y\n")

    assert (top.text("a", "b"), top.number("c", 4, 0, 9), top.flag("d", True), top.texts("e")) == ("b", 4, True, ())
    assert (list(top.tables("f")), top.table("g"), dict(top.words("h")), top.reference("i", "")) == ([], None, {}, "")


@pytest.mark.parametrize("value", ["1", "1.5", "true", "null", "[a]", "{a: b}", "2026-11-22", "!!binary aGk="])
def test_only_text_is_text(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError, match="x must be text"):
        table(tmp_path, f"x: {value}\n").text("x")


@pytest.mark.parametrize("value", ['"1"', "1.0", "1_000", "010", "1:30", "0b1", "9" * 19, "true"])
def test_only_plain_decimals_are_numbers(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError):
        table(tmp_path, f"x: {value}\n").number("x", None, 0, 10**20)


def test_a_complaint_names_the_inner_line_and_path(tmp_path: Path) -> None:
    top = table(tmp_path, "a:\n  - b: x\n  - b: x\n    c: 1\n")
    _, second = top.tables("a")
    second.text("b")

    with pytest.raises(ConfigError, match=r"a\[1\]\.c is not a known key") as caught:
        second.finish()
    assert caught.value.place == f"{tmp_path / 'some.yaml'}:4"


def test_an_alias_that_holds_itself_is_no_trap(tmp_path: Path) -> None:
    top = table(tmp_path, "a: &a {b: *a}\n")
    inner = top.table("a")
    assert inner is not None
    with pytest.raises(ConfigError, match=r"a\.b must be text"):
        inner.text("b")


@pytest.mark.parametrize("text", ["", "- a\n", "word\n"])
def test_the_top_must_be_a_mapping(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="must hold keys and values"):
        table(tmp_path, text)


def test_deep_nesting_is_an_error_not_a_crash(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not valid YAML"):
        table(tmp_path, "x: " + "[" * 100_000)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        read_yaml(tmp_path / "none.yaml")


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "bytes.yaml"
    path.write_bytes(b"data: \xff\xfe\x00")
    with pytest.raises(ConfigError, match="not valid YAML"):
        read_yaml(path)


def test_an_endless_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "long.yaml"
    path.write_bytes(b"#" * (4 * 1024 * 1024 + 1))
    with pytest.raises(ConfigError, match="longer than"):
        read_yaml(path)
