"""What several commands take: the configuration file, the gateway's address, the token, lengths of time."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Annotated, Final

import typer

from interlock.config import Config, load
from interlock.errors import ConfigError

CONFIG_NAME: Final = "interlock.yaml"
DEFAULT_URL: Final = "http://127.0.0.1:7080"
MAX_TOKEN_BYTES: Final = 16 * 1024
"""The longest token or JWT that is read from a file."""

ConfigPath = Annotated[
    Path | None,
    typer.Option("--config", "-c", envvar="INTERLOCK_CONFIG", help=f"Configuration file (default: {CONFIG_NAME}).", show_default=False),
]
Url = Annotated[
    str,
    typer.Option("--url", envvar="INTERLOCK_URL", help="The gateway's http address (default: the configuration's).", show_default=False),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file", envvar="INTERLOCK_TOKEN_FILE", help="File with your token (default: INTERLOCK_TOKEN itself).", show_default=False
    ),
]
Offline = Annotated[bool, typer.Option("--offline", help="Read the files, even with a token at hand.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_SPAN: Final = re.compile(r"([0-9]{1,9})(s|m|h|d)")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def read_config(path: Path | None) -> Config:
    """The configuration that is named, or the one in this folder. Raises `ConfigError`."""
    if path is None:
        path = Path(CONFIG_NAME)
        if not path.exists():
            raise ConfigError(f"there is no {CONFIG_NAME} in this folder", hint="name the file with --config PATH, or set INTERLOCK_CONFIG")
    return load(path)


def found_config(path: Path | None) -> Config | None:
    """The same where a configuration only helps: None when none is named and none is here. Raises `ConfigError`."""
    return None if path is None and not Path(CONFIG_NAME).exists() else read_config(path)


def address(url: str, config: Config | None) -> str:
    """Where the gateway's http door is: as told, else as configured, else the default."""
    return (url or (config.http.public_url if config else "") or DEFAULT_URL).rstrip("/")


def read_token(path: Path | None) -> str:
    """The caller's token from the file that is named, else from INTERLOCK_TOKEN; empty when there is none.
    Raises `ConfigError`."""
    if path is None:
        return os.environ.get("INTERLOCK_TOKEN", "").strip()
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            token = file.read(MAX_TOKEN_BYTES + 1).decode("ascii").strip()
    except OSError as error:
        raise ConfigError(f"the token file cannot be read: {error.strerror}", place=str(path)) from error
    except UnicodeDecodeError:
        token, mode = "", 0
    if not token or len(token) > MAX_TOKEN_BYTES or not token.isprintable() or " " in token:
        raise ConfigError("the file holds no token", place=str(path), hint="put the token into it, and nothing else")
    if stat.S_ISREG(mode) and mode & 0o077:
        raise ConfigError("the token file can be read by others", place=str(path), hint=f"chmod 600 {path}")
    return token


def need_token(path: Path | None) -> str:
    """The caller's token. Raises `ConfigError` when there is none."""
    token = read_token(path)
    if not token:
        raise ConfigError(
            "a token is needed to ask the gateway",
            hint="set INTERLOCK_TOKEN, or name a file with --token-file; see `interlock token issue`",
        )
    return token


def span_s(text: str) -> float:
    """Seconds of `90s`, `30m`, `12h` or `7d`. Raises `ConfigError`."""
    match = _SPAN.fullmatch(text)
    if match is None:
        raise ConfigError(f"{text!r} is not a length of time", hint="write it like 90s, 30m, 12h or 7d")
    return float(int(match[1]) * _SECONDS[match[2]])
