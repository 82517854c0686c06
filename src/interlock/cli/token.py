"""`interlock token`: issue, list and revoke, directly on the data folder.

This is how the first token comes to be: whoever operates the machine and may read the gateway's keys issues it here.
A running gateway accepts a new token at once, and ends what was revoked within a second (it watches the store).
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from interlock.cli.options import AsJson, ConfigPath, read_config, span_s
from interlock.cli.show import remark, say, say_json, table, when
from interlock.config import Config
from interlock.errors import ConfigError, IdentityError

if TYPE_CHECKING:
    from interlock.identity import Identity, TokenInfo

T = TypeVar("T")

EVERYWHERE = "postgres,mcp,console"
SCRAM_DOORS = ("postgres",)

app = typer.Typer(help="Issue, list and revoke tokens, on the machine that holds the gateway's data folder.", no_args_is_help=True)

For = Annotated[str, typer.Option("--for", help="Doors that it opens, separated by commas.")]
Ttl = Annotated[str, typer.Option("--ttl", help="How long it lives: 90s, 30m, 12h, 7d; at most 90d.")]
OutFile = Annotated[Path | None, typer.Option("--out", help="Write the token to a new file that only you can read.", show_default=False)]
AllOf = Annotated[str, typer.Option("--all-of", metavar="PRINCIPAL", help="Revoke all that this principal has shown.", show_default=False)]


@app.command()
def issue(
    principal: Annotated[str, typer.Argument(help="Whose token: a principal of the configuration.")],
    doors: For = EVERYWHERE,
    ttl: Ttl = "12h",
    scram: Annotated[
        bool, typer.Option("--scram", help="Make a connection secret: proved by SCRAM, never sent. One per principal.")
    ] = False,
    out: OutFile = None,
    config: ConfigPath = None,
    json: AsJson = False,
) -> None:
    """Issue a token. It is printed once, and kept nowhere. With --scram, a connection secret: it replaces the one before.

    In a pipe only the token comes out: INTERLOCK_TOKEN=$(interlock token issue alice)
    """
    if scram and doors == EVERYWHERE:
        doors = ",".join(sorted(SCRAM_DOORS))
    audiences = [door.strip() for door in doors.split(",") if door.strip()]
    life_s = span_s(ttl)
    if out is not None and out.exists():
        raise ConfigError("the file is there already", place=str(out), hint="name a new file, or remove this one")
    text, info = _with_identity(config, lambda identity: identity.issue(principal, audiences, life_s, scram=scram))
    if out is not None:
        _write(out, text)
    if json:
        say_json(_plain(info) | ({"file": str(out)} if out else {"token": text}))
        return
    if out is None:
        say(text)
    else:
        say(f"written to {out}")
    what = "connection secret" if scram else "token"
    remark(f"{what} {info.id} of {principal}, for {', '.join(sorted(info.audiences))}, until {when(info.expires_at)}")


@app.command("list")
def list_tokens(config: ConfigPath = None, json: AsJson = False) -> None:
    """List tokens, the newest first: whose, for what, until when. Never the secrets."""
    found = _with_identity(config, lambda identity: identity.tokens())
    if json:
        say_json({"tokens": [_plain(info) for info in found]})
        return
    now = time.time()
    table(
        ["id", "principal", "for", "issued", "expires", "state"],
        [[info.id, info.principal, _doors(info), when(info.issued_at), when(info.expires_at), _state(info, now)] for info in found],
    )


@app.command()
def revoke(
    token: Annotated[
        str, typer.Argument(metavar="ID", help="The token's id (not its text), or a client certificate: cert:….", show_default=False)
    ] = "",
    all_of: AllOf = "",
    config: ConfigPath = None,
    json: AsJson = False,
) -> None:
    """Revoke a token, with all that was derived from it: its open sessions end within a second."""
    if bool(token) == bool(all_of):
        raise ConfigError("give either a token's id or --all-of PRINCIPAL", hint="`interlock token list` shows the ids")
    if token.startswith(("ilk_", "ilc_")):
        raise ConfigError(
            "that is a token's text, not its id", hint="text on a command line is seen by others; use the id, the 12 characters after ilk_"
        )

    async def act(identity: Identity) -> None:
        if all_of:
            await identity.revoke_principal(all_of)
            return
        if not token.startswith("cert:") and all(info.id != token for info in await identity.tokens()):
            raise IdentityError(f"there is no token {token}", hint="`interlock token list` shows the ids")
        await identity.revoke_token(token)

    _with_identity(config, act)
    if json:
        say_json({"revoked": token or all_of})
    else:
        what = f"everything that {all_of} has shown" if all_of else token if ":" in token else f"token {token}"
        say(f"revoked {what}; open sessions end within a second")


def _with_identity(path: Path | None, act: Callable[[Identity], Awaitable[T]]) -> T:
    config = read_config(path)

    async def run() -> T:
        async with _identity(config) as identity:
            return await act(identity)

    return asyncio.run(run())


@asynccontextmanager
async def _identity(config: Config) -> AsyncIterator[Identity]:
    """The identity station on the gateway's own store, under the gateway's own key (as `app.py` opens it)."""
    _check_owner(config.data)
    from interlock.identity import Directory, Identity
    from interlock.store import Bus, Store
    from interlock.store.secret import GatewaySecret

    key = GatewaySecret.load_or_create(config.data).key("identity")
    store = await Store.open(config.data)
    try:
        bus = Bus(store)
        await bus.start()
        try:
            yield Identity(store, bus, Directory(config.principals), (), key)
        finally:
            await bus.stop()
    finally:
        await store.close()


def _check_owner(data: Path) -> None:
    """Files that another user makes here would be closed to the gateway."""
    try:
        owner = data.stat().st_uid
    except FileNotFoundError:
        return
    if owner != os.geteuid():
        raise ConfigError(
            f"the data folder belongs to user {owner}, you are {os.geteuid()}",
            place=str(data),
            hint="run this as the user who runs the gateway",
        )


def _write(path: Path, text: str) -> None:
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text + "\n")
    except OSError as error:
        sys.stdout.write(text + "\n")  # it exists now, and nobody else knows it
        raise ConfigError(f"the token could not be written: {error.strerror}", place=str(path)) from error


def _state(info: TokenInfo, now: float) -> str:
    if info.revoked_at is not None:
        return "revoked"
    return "expired" if now >= info.expires_at else "good"


def _doors(info: TokenInfo) -> str:
    return ",".join(sorted(info.audiences)) + (" (scram)" if info.scram else "")


def _plain(info: TokenInfo) -> dict[str, object]:
    return asdict(info) | {"audiences": sorted(info.audiences)}
