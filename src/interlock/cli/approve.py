"""`interlock approve`: what waits for people, and the answer of one of them."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from interlock.cli.gateway import Gateway
from interlock.cli.options import AsJson, ConfigPath, TokenFile, Url, address, found_config, need_token
from interlock.cli.show import clean, clean_lines, in_terminal, remark, say, say_json, table, when

Refuse = Annotated[bool, typer.Option("--refuse", help="Refuse it.")]
Note = Annotated[str, typer.Option("--note", help="A word to whoever asked.", show_default=False)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask back.")]
All = Annotated[bool, typer.Option("--all", help="List what was answered, too.")]


def approve(
    request: Annotated[str, typer.Argument(metavar="[ID]", help="The request; without it, list what waits.", show_default=False)] = "",
    refuse: Refuse = False,
    note: Note = "",
    yes: Yes = False,
    everything: All = False,
    config: ConfigPath = None,
    url: Url = "",
    token_file: TokenFile = None,
    json: AsJson = False,
) -> None:
    """Approve (or refuse) an operation that waits; without an ID, list what waits.

    An approval is for exactly this operation: it is shown in full first, and in a terminal you are asked. Nobody approves their own
    request, nor their agent's.
    """
    gateway = Gateway(address(url, found_config(config)), need_token(token_file))
    if not request:
        _list(gateway, everything=everything, as_json=json)
        return
    if not json:
        _print(gateway.get("approvals", request))
        if not yes and in_terminal():
            typer.confirm("Refuse it?" if refuse else "Approve it?", abort=True)
    answered = gateway.post("approvals", request, body={"approve": not refuse, "note": note})
    if json:
        say_json(answered)
        return
    missing = ", ".join(answered["missing"])
    state = clean(answered["state"])
    say(f"{request}: {state}" + (f", still needs {clean(missing)}" if state == "pending" and missing else ""), "bold")


def _list(gateway: Gateway, *, everything: bool, as_json: bool) -> None:
    found = gateway.get("approvals", **({"all": 1} if everything else {}))
    if as_json:
        say_json(found)
        return
    requests = found["approvals"]
    if not requests:
        say("nothing waits for approval")
        return
    now = time.time()
    table(
        ["id", "state", "asked by", "on", "operation", "needs", "left", "yours"],
        [
            [
                each["id"],
                each["state"],
                _asker(each),
                each["resource"],
                each["title"],
                ", ".join(each["missing"]),
                f"{max(0, each['expires_at'] - now):.0f} s" if each["state"] == "pending" else "",
                "yes" if each["may_answer"] else "",
            ]
            for each in requests
        ],
    )
    if any(each["may_answer"] for each in requests):
        remark("answer with `interlock approve ID`, or `interlock approve ID --refuse`")


def _print(request: dict[str, Any]) -> None:
    say(f"{clean(request['id'])}  {clean(_asker(request))} on {clean(request['resource'])}, asked {when(request['asked_at'])}")
    for reason in request["reasons"]:
        say(f"  why held   {clean(reason)}")
    say(f"  needs      {clean(', '.join(request['groups']))}")
    for effect in request["effects"]:
        say(f"  would      {clean(effect)}")
    for line in clean_lines(request["text"] or request["title"]):
        say(f"  │ {line}", "bold")


def _asker(request: dict[str, Any]) -> str:
    return f"{request['principal']} for {request['owner']}" if request["owner"] else str(request["principal"])
