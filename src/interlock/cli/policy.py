"""`interlock policy`: check it before it is shipped, and ask it questions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from interlock.cli.failures import Unreachable
from interlock.cli.gateway import Gateway
from interlock.cli.options import AsJson, ConfigPath, Offline, TokenFile, Url, address, found_config, read_config, read_token
from interlock.cli.show import VERDICTS, clean, count, remark, say, say_json, warn
from interlock.errors import ConfigError

Json = dict[str, Any]

app = typer.Typer(help="Check policy, and ask it questions.", no_args_is_help=True)

As = Annotated[str, typer.Option("--as", metavar="PRINCIPAL", help="Who would ask.")]
On = Annotated[str, typer.Option("--on", metavar="RESOURCE", help="On which resource.")]
Action = Annotated[
    str, typer.Option("--action", help="Instead of a text: one action on the resource itself, such as connect.", show_default=False)
]


@app.command()
def check(
    path: Annotated[
        Path | None, typer.Argument(help="A .cedar file or a folder of them (default: the configuration's).", show_default=False)
    ] = None,
    config: ConfigPath = None,
    json: AsJson = False,
) -> None:
    """Check a policy against the schema. A mistake is named with file, line and remedy (exit code 2)."""
    from interlock.policy import Policy, read_sources

    place = path if path is not None else read_config(config).policy
    policy = Policy.load(read_sources(place))
    own = [rule for rule in policy.rules.values() if not rule.id.startswith("interlock-")]
    if json:
        rules = [{"id": r.id, "effect": r.effect, "hold": r.hold, "reason": r.says, "place": r.place} for r in own]
        say_json({"ok": True, "path": str(place), "version": policy.version, "rules": rules})
        return
    held = sum(bool(rule.hold) for rule in own)
    permits = sum(rule.effect == "permit" for rule in own)
    say(f"{place}: {count(len(own), 'rule')} ({count(permits, 'permit')}, {count(len(own) - permits, 'forbid')}, {held} with hold)")
    say(f"version {policy.version}: all is well", "bold")


@app.command()
def explain(
    subject: As,
    on: On,
    text: Annotated[str, typer.Argument(help="A statement, such as SQL.", show_default=False)] = "",
    action: Action = "",
    offline: Offline = False,
    config: ConfigPath = None,
    url: Url = "",
    token_file: TokenFile = None,
    json: AsJson = False,
) -> None:
    """Explain what policy says: the verdict, the rules behind it, and what would change it. Nothing is run.

    With a token the running gateway answers, by the policy that is in force and the database's live catalog. Without one the answer
    comes from the files, and says what it could not know.
    """
    if bool(text) == bool(action):
        raise ConfigError("give either a text or --action", hint='for example "DELETE FROM t", or --action connect')
    token = "" if offline else read_token(token_file)
    asked: Json = {"as": subject, "on": on} | ({"text": text} if text else {"action": action})
    try:
        said = Gateway(address(url, found_config(config)), token).post("policy", "explain", body=asked) if token else None
    except Unreachable as error:
        if found_config(config) is None:
            raise
        warn(f"{error.message}; answered from the files")
        said = None
    if said is None:
        from interlock.cli.offline import explain as explain_offline

        said = explain_offline(read_config(config), subject, on, text, action)
    if json:
        say_json(said)
        return
    _print(said)


def _print(said: Json) -> None:
    decision = said["decision"]
    if said.get("error"):
        place = f" at character {said['position']}" if said.get("position") else ""
        say(f"cannot be read: {clean(said['error'])}{place}", "red")
    if said.get("never"):
        say(f"never forwarded, whatever policy says: {clean(said['never'])}", "red")
    groups = f" until {' and '.join(map(clean, decision['groups']))} agree" if decision["groups"] else ""
    say(
        f"{clean(decision['verdict'])}{groups} (policy {clean(decision['policy'])})",
        f"bold {VERDICTS.get(decision['verdict'], '')}".strip(),
    )
    for reason in decision["reasons"]:
        say(f"  {clean(reason)}")
    for effect in said["effects"]:
        say(f"{clean(effect['verdict'])}: {clean(effect['effect'])} for {clean(effect['subject'])}", VERDICTS.get(effect["verdict"], ""))
        for rule in effect["rules"]:
            say(f"  {clean(rule['effect'])} {clean(rule['id'])} ({clean(rule['place'])}): {clean(rule['reason'])}")
        for error in effect["errors"]:
            say(f"  error: {clean(error)}", "red")
        for change in effect["change"]:
            say(f"  would change it: {clean(change)}", "dim")
    if said.get("note"):
        remark(clean(said["note"]))
