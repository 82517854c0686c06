"""`interlock verify`: evidence, checked offline with the public key alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli.failures import UNVERIFIED
from interlock.cli.options import AsJson, ConfigPath, found_config
from interlock.cli.show import VERDICTS, clean, remark, say, say_json, working
from interlock.errors import ConfigError, VerificationError

if TYPE_CHECKING:
    from interlock.evidence import Report

KEY_NAME = "public.key"
KEY_BYTES_MAX = 4096

Key = Annotated[
    Path | None, typer.Option("--key", help=f"The gateway's public key (default: {KEY_NAME} of the folder).", show_default=False)
]
OnlyFailures = Annotated[bool, typer.Option("--quiet", "-q", help="Print only what is not verified, and the verdict.")]


def verify(
    evidence: Annotated[str, typer.Argument(metavar="PATH|ID", help="An evidence folder, one session's folder, or a session's id.")],
    key: Key = None,
    quiet: OnlyFailures = False,
    config: ConfigPath = None,
    json: AsJson = False,
) -> None:
    """Verify evidence: hashes, seals, signatures and the log. Offline, with the public key alone; exit code 4 if it fails.

    Keep the public key where the gateway cannot write, and name it with --key: the copy that lies beside the evidence proves only
    that all of it belongs together. Only an ID needs the configuration, to know where the evidence lies.
    """
    from interlock.evidence import verify as check

    folder = _folder(evidence, config)
    with working(f"verifying {folder}"):
        report = check(folder, _key_text(folder, key))
    if json:
        say_json(report.as_dict())
    else:
        _print(report, quiet=quiet)
        if key is None:
            remark("the key was taken from beside the evidence; name your own copy with --key to prove who signed it")
    if not report.ok:
        raise typer.Exit(UNVERIFIED)


def _folder(evidence: str, config: Path | None) -> Path:
    path = Path(evidence)
    if path.is_dir():
        return path / "evidence" if (path / "evidence" / "log").is_dir() else path
    if "/" in evidence or evidence in (".", ".."):
        raise ConfigError(f"there is no folder {evidence}", hint="name an evidence folder, one session's folder, or a session's id")
    settings = found_config(config)
    if settings is None:
        raise ConfigError(
            f"there is no folder {evidence}, and no configuration that says where session {evidence} could lie", hint="name the folder"
        )
    folder = settings.data / "evidence" / "sessions" / evidence
    if not folder.is_dir():
        raise VerificationError(f"there is no session {evidence} in {folder.parent}", hint="a session that is still open is not sealed yet")
    return folder


def _key_text(folder: Path, key: Path | None) -> str:
    """The key that was named, else the one beside the evidence. Raises `ConfigError`."""
    resolved = folder.resolve()
    places = [key] if key is not None else [resolved / KEY_NAME, resolved.parent.parent / KEY_NAME]
    for place in places:
        try:
            with place.open("rb") as file:
                return file.read(KEY_BYTES_MAX).decode("ascii")
        except (OSError, UnicodeDecodeError):
            continue
    raise ConfigError(f"there is no public key at {' or '.join(map(str, places))}", hint="name the gateway's public key with --key")


def _print(report: Report, *, quiet: bool) -> None:
    *claims, verdict = report.lines()
    for claim, line in zip(report.claims, claims, strict=True):
        if not quiet or claim.status != "verified":
            say(clean(line), VERDICTS[claim.status])
    say(verdict, "bold green" if report.ok else "bold red")
