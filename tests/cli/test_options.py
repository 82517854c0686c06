"""What several commands take."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.cli.options import address, found_config, need_token, read_config, read_token, span_s
from interlock.config import load
from interlock.errors import ConfigError


def secret(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_lengths_of_time() -> None:
    assert [span_s(text) for text in ("90s", "30m", "12h", "7d")] == [90, 1800, 43_200, 604_800]
    for text in ("", "12", "1.5h", "-1h", "1w", "1h 30m", "９h"):
        with pytest.raises(ConfigError, match="is not a length of time"):
            span_s(text)


def test_a_token_comes_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLOCK_TOKEN", " from-environment\n")

    assert read_token(None) == "from-environment"
    assert read_token(secret(tmp_path / "token", "from-file\n")) == "from-file"


def test_without_one_it_says_where_to_put_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INTERLOCK_TOKEN", raising=False)

    with pytest.raises(ConfigError, match="a token is needed") as error:
        need_token(None)
    assert "INTERLOCK_TOKEN" in error.value.hint


@pytest.mark.parametrize("text", ["", "\n", "two words", "two\nlines", "x" * 20_000, "naïve"])
def test_a_file_that_is_no_token(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="the file holds no token"):
        read_token(secret(tmp_path / "token", text))


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can be read by others"):
        read_token(secret(tmp_path / "token", "t", 0o644))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_token(tmp_path / "token")


def test_where_the_gateway_is(house: Path) -> None:
    text = (house / "interlock.yaml").read_text().replace("http: {port: 0}", "http: {port: 7081}")
    (house / "interlock.yaml").write_text(text)
    config = load(house / "interlock.yaml")

    assert address("", None) == "http://127.0.0.1:7080"
    assert address("", config) == "http://127.0.0.1:7081"
    assert address("https://gateway.example/", config) == "https://gateway.example"


def test_the_configuration_of_this_folder(house: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(house)
    assert read_config(None).file == house / "interlock.yaml"
    monkeypatch.chdir(tmp_path_factory.mktemp("empty"))
    assert found_config(None) is None
    with pytest.raises(ConfigError, match=r"there is no interlock\.yaml in this folder"):
        read_config(None)
    with pytest.raises(ConfigError, match="cannot read"):
        found_config(Path("named.yaml"))
