"""The tree of commands. Each one's module is imported by the command itself, so that the others cost nothing."""

from __future__ import annotations

from typing import Annotated

import typer

from interlock import __version__
from interlock.cli import approve, check, connect, demo, policy, serve, sessions, token, verify

app = typer.Typer(
    name="interlock",
    help="A zero trust gateway: nothing reaches a resource before it is identified, allowed and journaled; nothing comes back unmasked.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 failed or refused, 2 usage or configuration, 3 gateway unreachable, 4 evidence does not verify, "
    "5 waits for approval.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"interlock {__version__}")
        raise typer.Exit


@app.callback()
def _top(version: Annotated[bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)] = False) -> None:
    pass


app.command("demo")(demo.demo)
app.command("serve")(serve.serve)
app.command("check")(check.check)
app.add_typer(token.app, name="token")
app.command("connect")(connect.connect)
app.add_typer(policy.app, name="policy")
app.command("approve")(approve.approve)
app.command("sessions")(sessions.sessions)
app.command("replay")(sessions.replay)
app.command("kill")(sessions.kill)
app.command("verify")(verify.verify)
