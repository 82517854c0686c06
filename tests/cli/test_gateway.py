"""Talking to a gateway, and to what is none. Each test has a server of its own on a real port."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from interlock.cli.failures import Refused, Unreachable, Waiting
from interlock.cli.gateway import Gateway
from interlock.errors import ConfigError
from tests.tls_front import make_certificates


class Answer(BaseHTTPRequestHandler):
    """Gives every request the same answer, and remembers it."""

    status = 200
    body = b"{}"
    seen: list[tuple[str, str, str, bytes]]

    def _answer(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.seen.append((self.command, self.path, self.headers["Authorization"], data))
        self.send_response(self.status)
        self.send_header("Location", "http://127.0.0.1:1/")
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    do_GET = do_POST = do_DELETE = _answer

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def answering(status: int, body: object, context: ssl.SSLContext | None = None) -> Iterator[tuple[int, list[tuple[str, str, str, bytes]]]]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    seen: list[tuple[str, str, str, bytes]] = []
    handler = type("Handler", (Answer,), {"status": status, "body": data, "seen": seen})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port, seen
        finally:
            server.shutdown()
            thread.join()


def test_requests_carry_the_token_and_quote_their_parts() -> None:
    with answering(200, {"ok": 1}) as (port, seen):
        gateway = Gateway(f"http://127.0.0.1:{port}", "t")
        assert gateway.get("sessions", "../x y", limit=5) == {"ok": 1}
        gateway.post("approvals", "a", body={"approve": True})
        gateway.delete("sessions", "s")

    assert seen == [
        ("GET", "/api/sessions/..%2Fx%20y?limit=5", "Bearer t", b""),
        ("POST", "/api/approvals/a", "Bearer t", b'{"approve": true}'),
        ("DELETE", "/api/sessions/s", "Bearer t", b""),
    ]


def test_no_means_no_with_rule_and_whom_to_ask() -> None:
    with answering(403, {"error": "not you", "code": "denied", "rule": "r1", "ask": "bob"}) as (port, _), pytest.raises(Refused) as error:
        Gateway(f"http://127.0.0.1:{port}", "t").get("sessions")
    assert (error.value.message, error.value.hint, error.value.code) == ("not you (rule r1)", "ask bob", "denied")


def test_held_is_neither_yes_nor_no() -> None:
    body = {"error": "needs dba", "code": "held", "rule": "", "ask": "", "approval": "ap-1", "link": "http://x/approvals/ap-1"}
    with answering(403, body) as (port, _), pytest.raises(Waiting, match="ap-1") as error:
        Gateway(f"http://127.0.0.1:{port}", "t").delete("sessions", "s")
    assert "interlock approve ap-1" in error.value.hint and "http://x/approvals/ap-1" in error.value.hint


@pytest.mark.parametrize(("status", "body"), [(200, b"<html>"), (200, b"[]"), (302, b""), (502, b"bad gateway")])
def test_what_is_no_gateway(status: int, body: bytes) -> None:
    """A redirect is not followed: the token belongs to the address that was given."""
    with answering(status, body) as (port, seen), pytest.raises(Unreachable, match="is not a gateway"):
        Gateway(f"http://127.0.0.1:{port}", "t").get("sessions")
    assert len(seen) == 1


def test_nobody_there() -> None:
    with pytest.raises(Unreachable, match="does not answer: Connection refused"):
        Gateway("http://127.0.0.1:1", "t").get("sessions")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "gateway",
        "ftp://127.0.0.1",
        "http://127.0.0.1:x",
        "http://u:p@127.0.0.1",
        "http://127.0.0.1/?a=b",
        "http://gateway.example",
        "http://10.0.0.1",
    ],
)
def test_addresses_that_would_not_do(url: str) -> None:
    with pytest.raises(ConfigError):
        Gateway(url, "t")


def test_tls_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    with answering(200, {"ok": 1}, context) as (port, seen):
        monkeypatch.delenv("INTERLOCK_CA", raising=False)
        with pytest.raises(Unreachable, match="no certificate that this machine trusts"):
            Gateway(f"https://localhost:{port}", "t").get("whoami")
        assert seen == []
        monkeypatch.setenv("INTERLOCK_CA", str(made.ca))
        assert Gateway(f"https://localhost:{port}", "t").get("whoami") == {"ok": 1}


def test_an_authority_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLOCK_CA", str(tmp_path / "ca.pem"))
    with pytest.raises(ConfigError, match="INTERLOCK_CA cannot be used"):
        Gateway("https://localhost", "t")
