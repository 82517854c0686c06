"""Who may answer, and when all have agreed."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.approval import Request, State, Vote, missing
from interlock.approval.quorum import assign, check_vote, may_speak_for
from interlock.errors import ApprovalError
from interlock.exchange import Principal


def person(name: str, *groups: str) -> Principal:
    return Principal(name, "user", frozenset(groups))


def request(*groups: str, principal: str = "alice", kind: str = "user", owner: str = "", votes: tuple[Vote, ...] = ()) -> Request:
    return Request(
        id="ap-1",
        principal=principal,
        kind=kind,
        owner=owner,
        resource="orders-db",
        digest="d",
        title="t",
        text="t",
        facts={},
        rules=(),
        reasons=(),
        groups=frozenset(groups),
        session_id="s",
        policy="p",
        state=State.PENDING,
        asked_at=0.0,
        expires_at=1.0,
        votes=votes,
    )


def yes(name: str, *groups: str, void: bool = False) -> Vote:
    return Vote(name, True, frozenset(groups), "", 0.0, void)


BY_ALICE = request("dba")
BY_CLAUDE = request("dba", principal="claude", kind="agent", owner="alice")


@pytest.mark.parametrize(
    ("asked", "approver", "words"),
    [
        (BY_ALICE, person("bob", "dba"), ""),
        (BY_ALICE, person("bob", "dba", "other"), ""),
        (BY_ALICE, person("alice", "dba"), "their own request"),
        (BY_ALICE, person("bob", "engineering"), "needs somebody of: dba"),
        (BY_ALICE, person("bob"), "needs somebody of: dba"),
        (BY_ALICE, person("bob", "DBA"), "needs somebody of: dba"),
        (BY_ALICE, Principal("claude", "agent", frozenset({"dba"}), on_behalf_of=person("bob", "dba")), "only people"),
        (BY_ALICE, Principal("robot", "workload", frozenset({"dba"})), "only people"),
        (BY_ALICE, Principal("odd", "user", frozenset({"dba"}), on_behalf_of=person("bob", "dba")), "only people"),
        (BY_CLAUDE, person("bob", "dba"), ""),
        (BY_CLAUDE, person("alice", "dba"), "their own agent"),
        (BY_CLAUDE, Principal("claude", "agent", frozenset({"dba"}), on_behalf_of=person("alice")), "only people"),
        (BY_CLAUDE, Principal("other", "agent", frozenset({"dba"}), on_behalf_of=person("bob", "dba")), "only people"),
    ],
)
@pytest.mark.parametrize("approve", [True, False])
def test_who_may_answer(asked: Request, approver: Principal, words: str, approve: bool) -> None:
    if not words:
        assert check_vote(asked, approver, approve) == {"dba"}
        return
    with pytest.raises(ApprovalError, match=words):
        check_vote(asked, approver, approve)


def test_one_person_counts_for_one_group_only() -> None:
    alone = request("dba", "security", votes=(yes("bob", "dba", "security"),))
    assert len(missing(alone)) == 1
    with pytest.raises(ApprovalError, match="approved already"):
        check_vote(alone, person("bob", "dba", "security"), True)


@pytest.mark.parametrize("order", list(permutations([yes("bob", "dba", "security"), yes("carol", "dba")])))
def test_the_order_of_answers_does_not_matter(order: tuple[Vote, ...]) -> None:
    """Bob could fill either group; carol only dba: bob must be counted for security, even if he came first."""
    assert missing(request("dba", "security", votes=order)) == frozenset()
    assert assign(order, {"dba", "security"}) == {"dba": "carol", "security": "bob"}


def test_an_approval_must_count_for_a_missing_group() -> None:
    asked = request("dba", "security", votes=(yes("bob", "dba"),))
    with pytest.raises(ApprovalError, match="dba agreed already"):
        check_vote(asked, person("carol", "dba"), True)
    assert check_vote(asked, person("dave", "security"), True) == {"security"}
    assert check_vote(asked, person("carol", "dba"), False) == {"dba"}, "any member may still refuse"
    assert check_vote(asked, person("bob", "dba"), False) == {"dba"}, "who approved may think again"


def test_a_void_vote_counts_for_nothing() -> None:
    asked = request("dba", votes=(yes("bob", "dba", void=True),))
    assert missing(asked) == {"dba"}
    assert asked.approved_by == ()
    assert check_vote(asked, person("carol", "dba"), True) == {"dba"}


GROUPS = st.sets(st.sampled_from("abcd"), min_size=1)


@given(st.lists(GROUPS, max_size=6), GROUPS)
def test_the_matching_is_as_large_as_any(choices: list[set[str]], groups: set[str]) -> None:
    votes = [yes(str(number), *sorted(choice)) for number, choice in enumerate(choices)]
    found = assign(votes, groups)
    assert len(set(found.values())) == len(found), "nobody counts twice"
    assert all(group in groups and group in votes[int(name)].groups for group, name in found.items())

    def largest(rest: list[set[str]], free: frozenset[str]) -> int:
        if not rest:
            return 0
        return max([largest(rest[1:], free), *(1 + largest(rest[1:], free - {group}) for group in rest[0] & free)])

    assert len(found) == largest(choices, frozenset(groups))


def test_speaking_is_for_the_requests_groups_only() -> None:
    assert may_speak_for(request("dba", "security"), person("bob", "dba", "security", "hr")) == {"dba", "security"}
