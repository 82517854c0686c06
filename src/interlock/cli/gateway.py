"""A running gateway, asked through the console's REST API. Blocking, one connection per request, no redirects.

The token goes to the address that was given and nowhere else, and never over plain http to another machine.
"""

from __future__ import annotations

import ipaddress
import json
import os
import ssl
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from interlock.cli.failures import Refused, Unreachable, Waiting
from interlock.errors import ConfigError

Json = dict[str, Any]

TIMEOUT_S: Final = 30.0
"""How long the gateway may be silent."""
ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024


class Gateway:
    """Raises `ConfigError` for an address that cannot be used, `Unreachable`, `Refused` and `Waiting` for requests."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1 or parts.query or parts.fragment or parts.username:
            raise ConfigError(f"{url} is not the address of a gateway", hint="for example https://gateway.example:7080")
        if parts.scheme == "http" and not _is_loopback(parts.hostname):
            raise ConfigError(
                f"{url} would carry your token unencrypted", hint="use the gateway's https address; plain http is for this machine only"
            )
        self.url = url
        self._host, self._port, self._path = parts.hostname, port, parts.path.rstrip("/")
        self._tls = _tls() if parts.scheme == "https" else None
        self._token = token

    def get(self, *path: str, **query: object) -> Json:
        """`get("sessions", "1f2e", limit=5)` is `GET /api/sessions/1f2e?limit=5`."""
        return self._ask("GET", path, query, None)

    def post(self, *path: str, body: Json) -> Json:
        return self._ask("POST", path, {}, body)

    def delete(self, *path: str) -> Json:
        return self._ask("DELETE", path, {}, None)

    def _ask(self, method: str, path: tuple[str, ...], query: dict[str, object], body: Json | None) -> Json:
        target = f"{self._path}/api/{'/'.join(quote(part, safe='') for part in path)}" + (f"?{urlencode(query)}" if query else "")
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        sent = None
        if body is not None:
            sent, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        connection = self._connection()
        try:
            connection.request(method, target, sent, headers)
            answer = connection.getresponse()
            data = answer.read(ANSWER_BYTES_MAX + 1)
        except ssl.SSLError as error:
            raise Unreachable(
                f"{self.url} has no certificate that this machine trusts: {error.reason or 'TLS failed'}",
                hint="set INTERLOCK_CA to the file of the authority that signed it",
            ) from error
        except (OSError, HTTPException) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
            raise Unreachable(
                f"the gateway at {self.url} does not answer: {why}", hint="is it running? `interlock serve`, or set INTERLOCK_URL"
            ) from error
        finally:
            connection.close()
        return self._read(answer.status, data)

    def _connection(self) -> HTTPConnection:
        if self._tls is not None:
            return HTTPSConnection(self._host, self._port, timeout=TIMEOUT_S, context=self._tls)
        return HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)

    def _read(self, status: int, data: bytes) -> Json:
        try:
            answer = json.loads(data) if len(data) <= ANSWER_BYTES_MAX else None
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise Unreachable(f"what answers at {self.url} is not a gateway (HTTP {status})", hint="check INTERLOCK_URL")
        if status < 400:
            return answer
        reason, rule = str(answer.get("error", f"HTTP {status}")), str(answer.get("rule", ""))
        if answer.get("code") == "held":
            link = answer.get("link")
            raise Waiting(
                f"this waits for approval {answer.get('approval', '')}: {reason}",
                hint=f"ask for `interlock approve {answer.get('approval', '')}`" + (f", or {link}" if link else "") + "; then do it again",
            )
        hint = f"ask {answer['ask']}" if answer.get("ask") else ""
        if status == 401:
            hint = "is the token for audience console, and still good? `interlock token list`"
        raise Refused(f"{reason} (rule {rule})" if rule else reason, code=str(answer.get("code", "")), hint=hint)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _tls() -> ssl.SSLContext:
    authority = os.environ.get("INTERLOCK_CA")
    try:
        context = ssl.create_default_context(cafile=authority or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError("INTERLOCK_CA cannot be used", place=str(authority), hint="name a PEM file with certificates") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
