"""The gateway's words: the same for people and for machines, and nothing beyond the refusal."""

from __future__ import annotations

from interlock.exchange import Effect, Exchange, Held, Operation, Principal, Refusal, Resource, Session
from interlock.net.mcp_results import pending, refused, unknown_resource, unknown_tool, waiting_words
from interlock.resources import Registry
from tests.net.mcp_house import text, word

DESK = Resource("desk", "mcp")
OPERATION = Operation("mcp.call", DESK, (Effect("mcp.call", "Tool", "send"),), {}, b"{}", "send()")
EXCHANGE = Exchange(1, Session("s", Principal("claude"), DESK, "mcp", "", 0.0), OPERATION, 0.0)


def test_a_refusal_says_rule_and_whom_to_ask() -> None:
    result = refused(Refusal("denied", "nobody wipes", ("no-wipe", "b"), "#dba"), "list the tools again")
    assert result.is_error
    assert text(result) == "refused: nobody wipes\nrule: no-wipe, b\nask: #dba\nlist the tools again"
    assert word(result) == {"status": "refused", "code": "denied", "reason": "nobody wipes", "rules": ["no-wipe", "b"], "ask": "#dba"}


def test_a_bare_refusal_has_no_empty_lines() -> None:
    assert text(refused(Refusal("failed", "the gateway failed"))) == "refused: the gateway failed"


def test_a_pending_result_says_what_to_do() -> None:
    held = Held("ap-x", EXCHANGE, frozenset({"dba", "legal"}), 99.5, "https://gate.example/approvals/ap-x")
    result = pending(held)
    assert result.is_error and text(result).startswith(waiting_words(held))
    for part in ("ap-x", "dba, legal", "interlock approve ap-x", "https://gate.example/approvals/ap-x", "repeat exactly the same call"):
        assert part in text(result)
    assert word(result) == {"status": "pending", "approval": "ap-x", "groups": ["dba", "legal"], "link": held.link, "expires_at": 99.5}


def test_without_a_console_no_link_is_promised() -> None:
    assert " or at " not in waiting_words(Held("ap-x", EXCHANGE, frozenset({"dba"}), 0.0))


def test_what_is_not_there_sounds_like_what_is_not_allowed() -> None:
    assert unknown_tool().message.endswith("no right to use it")
    try:
        Registry([]).find("x")
    except Exception as error:
        assert str(error) == unknown_resource().message
