"""The console's outermost layer: which requests come in at all, and what every answer says to the browser.

- `Host` must be the public URL's, or loopback: a name that an attacker points at this machine (DNS rebinding)
  reaches nothing.
- A request that changes something and comes from a browser must come from our own pages: `Origin` (RFC 6454 §7)
  has to match. Programs that bring a bearer token send none.
- Nothing is cached, framed, sniffed, or loaded from elsewhere (Content Security Policy Level 3, no inline).
"""

from __future__ import annotations

import json
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self'; style-src 'self'; base-uri 'none'; object-src 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: with it browsers would send `Origin: null` with our own forms (Fetch standard).
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Guard:
    """ASGI middleware. `public_url` may be empty: then only loopback names are served."""

    def __init__(self, app: ASGIApp, public_url: str) -> None:
        self._app = app
        self._public = urlsplit(public_url).netloc.lower()
        self._https = public_url.startswith("https:")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # no WebSockets here: hang up
        headers = Headers(scope=scope)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    answer[name] = value
                if self._https:
                    answer["Strict-Transport-Security"] = "max-age=31536000"
            await send(message)

        refusal = self._refusal(scope["method"], headers)
        app = self._app if refusal is None else refusal
        await app(scope, receive, guarded)

    def _refusal(self, method: str, headers: Headers) -> Response | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._known(hosts[0]):
            return _say(421, "host", "this name is not the console's; set `http.public_url` to the address that people use")
        origin = headers.get("origin")
        if method in SAFE or (origin is None and "authorization" in headers):
            return None
        if origin is None or urlsplit(origin).netloc.lower() != hosts[0].lower():
            return _say(403, "origin", "this came from another site's page, and was not done")
        return None

    def _known(self, host: str) -> bool:
        try:
            return (bool(host) and host.lower() == self._public) or urlsplit(f"//{host}").hostname in _LOOPBACK
        except ValueError:
            return False


def _say(status: int, code: str, reason: str) -> Response:
    body = json.dumps({"error": reason, "code": code, "rule": "", "ask": ""})
    return Response(body, status, media_type="application/json")
