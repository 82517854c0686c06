"""`interlock sessions`, `replay` and `kill`: what happens and what happened.

With a token the running gateway is asked: policy decides what the caller may see, and the log learns of every look.
Without one the data folder is read, which takes the rights of the gateway's own user.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from interlock.cli import timeline
from interlock.cli.gateway import Gateway
from interlock.cli.options import AsJson, ConfigPath, Offline, TokenFile, Url, address, found_config, need_token, read_config, read_token
from interlock.cli.show import remark, say, say_json, table, when

Json = dict[str, Any]
FROM_DISK = "read from the data folder: the log does not learn of it"
SESSIONS_MAX = 1_000

Live = Annotated[bool, typer.Option("--live", help="Only sessions that are open now.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=SESSIONS_MAX, help="At most so many, the newest first.")]
By = Annotated[str, typer.Option("--by", metavar="PRINCIPAL", help="Only of this principal and its agents.", show_default=False)]
On = Annotated[str, typer.Option("--on", metavar="RESOURCE", help="Only sessions on this resource.", show_default=False)]
Everything = Annotated[bool, typer.Option("--all", help=f"All that the client saw, not only {timeline.ROWS_SHOWN} lines per operation.")]


def sessions(
    session: Annotated[str, typer.Argument(metavar="[ID]", help="Only this session.", show_default=False)] = "",
    live: Live = False,
    by: By = "",
    on: On = "",
    limit: Limit = 50,
    offline: Offline = False,
    config: ConfigPath = None,
    url: Url = "",
    token_file: TokenFile = None,
    json: AsJson = False,
) -> None:
    """List sessions, the newest first, or show one: who, where, when, and what came of it."""
    gateway = None if offline else _gateway(config, url, token_file)
    if session:
        found = [gateway.get("sessions", session)] if gateway else _read_one(config, session)
    else:
        wanted = SESSIONS_MAX if by or on else limit
        found = gateway.get("sessions", limit=wanted, live=int(live))["sessions"] if gateway else _read_many(config, wanted, live=live)
        found = [each for each in found if by in ("", each["principal"], each["owner"]) and on in ("", each["resource"])][:limit]
    if json:
        say_json(found[0] if session else {"sessions": found})
    elif session:
        for text, style in timeline.heading(found[0]):
            say(text, style)
    else:
        _print(found)
    if gateway is None:
        remark(FROM_DISK)


def replay(
    session: Annotated[str, typer.Argument(metavar="ID", help="The session.")],
    everything: Everything = False,
    offline: Offline = False,
    config: ConfigPath = None,
    url: Url = "",
    token_file: TokenFile = None,
    json: AsJson = False,
) -> None:
    """Replay a session: statements, decisions, approvals, and what the client saw, in order. Works while it is open, too."""
    gateway = None if offline else _gateway(config, url, token_file)
    if gateway:
        summary, moments = gateway.get("sessions", session), _pages(gateway, session)
    else:
        summary, moments = _read_one(config, session)[0], _read_timeline(config, session)
    if json:
        say_json({"session": summary, "moments": list(moments)})
    else:
        for text, style in timeline.heading(summary):
            say(text, style)
        say("")
        for text, style in timeline.lines(moments, everything=everything):
            say(text, style)
    if gateway is None:
        remark(FROM_DISK)


def kill(
    session: Annotated[str, typer.Argument(metavar="ID", help="The session.")],
    config: ConfigPath = None,
    url: Url = "",
    token_file: TokenFile = None,
    json: AsJson = False,
) -> None:
    """End an open session now: what runs upstream is cancelled, the client is told why."""
    answer = Gateway(address(url, found_config(config)), need_token(token_file)).delete("sessions", session)
    if json:
        say_json(answer)
    else:
        say(f"session {session} is ended")


def _gateway(config: Path | None, url: str, token_file: Path | None) -> Gateway | None:
    """The running gateway if the caller has a token for it."""
    token = read_token(token_file)
    return Gateway(address(url, found_config(config)), token) if token else None


def _pages(gateway: Gateway, session: str) -> Iterator[Json]:
    after: int | None = -1
    while after is not None:
        page = gateway.get("sessions", session, "timeline", after=after)
        yield from page["moments"]
        following = page["next"]
        after = following if isinstance(following, int) and following > after else None


def _read_many(config: Path | None, limit: int, *, live: bool) -> list[Json]:
    from interlock.cli.offline import Recordings, as_json

    with Recordings(read_config(config).data) as recordings:
        found = [as_json(each) for each in recordings.sessions(SESSIONS_MAX if live else limit)]
    return [each for each in found if each["state"] == "live"][:limit] if live else found


def _read_one(config: Path | None, session: str) -> list[Json]:
    from interlock.cli.offline import Recordings, as_json

    with Recordings(read_config(config).data) as recordings:
        return [as_json(recordings.session(session))]


def _read_timeline(config: Path | None, session: str) -> Iterator[Json]:
    from interlock.cli.offline import Recordings

    with Recordings(read_config(config).data) as recordings:
        yield from recordings.timeline(session)


def _print(found: list[Json]) -> None:
    if not found:
        say("no sessions")
        return
    table(
        ["id", "state", "principal", "on", "protocol", "opened", "operations", "refused", "held", "masked"],
        [
            [
                each["id"],
                each["state"],
                f"{each['principal']} for {each['owner']}" if each["owner"] else each["principal"],
                each["resource"],
                each["protocol"],
                when(each["opened_at"]),
                each["operations"],
                each["refused"],
                each["held"],
                each["masked"],
            ]
            for each in found
        ],
    )
