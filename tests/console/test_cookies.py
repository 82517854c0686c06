from __future__ import annotations

import pytest
from starlette.requests import Request
from starlette.responses import Response

from interlock.console import cookies
from interlock.console.visits import Problem


def request(cookie: str) -> Request:
    return Request({"type": "http", "method": "GET", "path": "/", "headers": [(b"cookie", cookie.encode())]})


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites() -> None:
    answer = Response()
    cookies.put(answer, cookies.VISIT, "v", https=True)
    assert answer.headers["set-cookie"].lower().split("; ") == ["__host-interlock=v", "httponly", "path=/", "samesite=strict", "secure"]
    answer = Response()
    cookies.put(answer, cookies.VISIT, "v", https=False)
    assert answer.headers["set-cookie"].lower().split("; ") == ["interlock=v", "httponly", "path=/", "samesite=strict"]


def test_over_https_a_cookie_that_anybody_could_have_set_is_not_read() -> None:
    assert cookies.value_of(request("interlock=planted"), cookies.VISIT, https=True) == ""
    assert cookies.value_of(request("interlock=planted; __Host-interlock=ours"), cookies.VISIT, https=True) == "ours"


def test_bearer_tokens() -> None:
    assert cookies.secret_of(None) is None
    assert cookies.secret_of("bearer  abc ") == "abc"
    for wrong in ("Basic abc", "Bearer", "Bearer ", "abc"):
        with pytest.raises(Problem) as refused:
            cookies.secret_of(wrong)
        assert refused.value.status == 401
