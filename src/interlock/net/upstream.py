"""Reaching resources: TCP, TLS as the resource demands, and the gateway's own login under a connect permit."""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections.abc import Callable, Mapping

from interlock.errors import UpstreamError
from interlock.exchange import Cleared, Permit, Resource
from interlock.gate import Gate
from interlock.net.link import Link
from interlock.net.tls import end_point_binding, leg, upstream_context
from interlock.protocols.stream import OldProtocol, Reach, Reached, Say, StartTls, StreamProtocol

CONNECT_S = 10.0
"""How long upstream may take for TCP, TLS and login together, in seconds."""


async def reach(gate: Gate, protocol: StreamProtocol, permit: Permit, place: str, settings: Mapping[str, str]) -> tuple[Link, Reached]:
    """A logged-in link to the permit's resource. Raises `UpstreamError` within `CONNECT_S` seconds."""
    resource = permit.exchange.operation.resource
    link: Link | None = None
    try:
        async with asyncio.timeout(CONNECT_S):
            link = await _dial(resource)
            try:
                return link, await _log_in(gate, protocol, permit, link, place, settings, newest=True)
            except OldProtocol:
                link.abort()
                link = await _dial(resource)
                return link, await _log_in(gate, protocol, permit, link, place, settings, newest=False)
    except TimeoutError:
        error = UpstreamError(f"{resource.name} did not answer within {CONNECT_S:.0f} s")
    except ssl.SSLError as failed:
        error = UpstreamError(f"TLS with {resource.name} failed: {failed.reason or 'handshake'}", hint="check the resource's tls and ca")
    except OSError as failed:
        error = UpstreamError(f"{resource.name} cannot be reached: {failed.strerror or type(failed).__name__}")
    except BaseException:
        if link is not None:
            link.abort()
        raise
    if link is not None:
        link.abort()
    raise error


async def cancel(gate: Gate, protocol: StreamProtocol, permit: Permit, reached: Reached) -> None:
    """Ask upstream to cancel what runs in the session that `reached` stands for; returns once upstream has taken it.
    Raises `OSError`, `TimeoutError` or `InterlockError`: then it may run on."""
    resource = permit.exchange.operation.resource
    async with asyncio.timeout(CONNECT_S):
        link = await _dial(resource)
        try:
            context = upstream_context(resource, protocol.alpn)
            request = protocol.cancel(reached.pid, reached.key, leg(resource))
            await _speak(link, request, lambda data: gate.cancel(permit, data), context, resource, protocol.alpn)
        finally:
            link.close()


async def _dial(resource: Resource) -> Link:
    host, port = str(resource.settings["host"]), int(str(resource.settings["port"]))
    _, link = await asyncio.get_running_loop().create_connection(Link, host, port)
    return link


async def _log_in(
    gate: Gate, protocol: StreamProtocol, permit: Permit, link: Link, place: str, settings: Mapping[str, str], *, newest: bool
) -> Reached:
    resource = permit.exchange.operation.resource
    credential = gate.credential(permit)
    context = upstream_context(resource, protocol.alpn, credential)
    place = place or str(resource.settings.get("database", ""))
    login = protocol.reach(credential, place, settings, leg(resource), secrets.token_urlsafe(24), newest)
    reached = await _speak(link, login, lambda data: gate.login(permit, data), context, resource, protocol.alpn)
    if reached is None and newest and not login.heard:
        raise OldProtocol(f"{resource.name} hung up on the newest protocol version")
    if reached is None:
        raise UpstreamError(f"{resource.name} closed the connection during the login")
    return reached


async def _speak(
    link: Link, reach: Reach, clear: Callable[[bytes], Cleared], context: ssl.SSLContext | None, resource: Resource, alpn: str
) -> Reached | None:
    """Say what the reach wants to be said, until it has reached its end; None when upstream hangs up first."""
    events = list(reach.start())
    while True:
        for event in events:
            match event:
                case Say(data):
                    link.send([clear(data)])
                case StartTls():
                    assert context is not None
                    await link.start_tls(context, server_side=False, hostname=str(resource.settings["host"]))
                    if leg(resource).direct and link.alpn != alpn:
                        raise UpstreamError(f"{resource.name} does not take direct TLS", hint="set `tls_negotiation: postgres`")
                    certificate = link.peer_certificate
                    for word in reach.tls_started(end_point_binding(certificate) if certificate else None):
                        assert isinstance(word, Say)
                        link.send([clear(word.data)])
                case _:
                    return event
        data = await link.read()
        if not data:
            return None
        events = list(reach.receive(data))
