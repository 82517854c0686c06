"""Who may answer, and when all have agreed. Pure rules over a request and its votes.

- Approvers are people: never an agent or a workload.
- Nobody answers an own request; the owner of an agent is behind all that the agent asks.
- All groups must agree, and one person counts for one group only. Who counts for which is found by
  matching, so that the order of the answers does not matter.
- One refusal by a member of any of the groups ends the request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from interlock.approval.request import Request, Vote
from interlock.errors import ApprovalError
from interlock.exchange import Principal


def may_speak_for(request: Request, approver: Principal) -> frozenset[str]:
    """The groups of the request for which this person may speak. Raises `ApprovalError` when there are none."""
    if approver.kind != "user" or approver.on_behalf_of is not None:
        raise ApprovalError("only people can answer a request", hint="ask a person of one of the named groups")
    if approver.id == request.principal:
        raise ApprovalError("nobody can answer their own request", hint="ask another person of the group")
    if approver.id == request.owner:
        raise ApprovalError("nobody can answer the request of their own agent", hint="ask another person of the group")
    groups = request.groups & approver.groups
    if not groups:
        raise ApprovalError(f"this request needs somebody of: {', '.join(sorted(request.groups))}")
    return groups


def assign(votes: Iterable[Vote], groups: Iterable[str]) -> Mapping[str, str]:
    """Group → the person who counts for it, for as many groups as possible (augmenting paths, Kuhn 1955)."""
    by_group: dict[str, str] = {}
    choices = {vote.approver: sorted(vote.groups.intersection(groups)) for vote in votes if vote.approve and not vote.void}

    def place(person: str, tried: set[str]) -> bool:
        for group in choices[person]:
            if group not in tried:
                tried.add(group)
                if group not in by_group or place(by_group[group], tried):
                    by_group[group] = person
                    return True
        return False

    for person in choices:
        place(person, set())
    return by_group


def missing(request: Request) -> frozenset[str]:
    """The groups that nobody counts for yet; empty once all have agreed."""
    return request.groups - assign(request.votes, request.groups).keys()


def check_vote(request: Request, approver: Principal, approve: bool) -> frozenset[str]:
    """`may_speak_for`, and the vote must change something: an approval has to count for a group that is
    still missing; who has approved may yet refuse. Raises `ApprovalError`."""
    groups = may_speak_for(request, approver)
    if not approve:
        return groups
    others = [vote for vote in request.votes if vote.approver != approver.id]
    if approver.id in request.approved_by:
        raise ApprovalError("this person has approved already", hint=f"still missing: {', '.join(sorted(missing(request)))}")
    with_it = [*others, Vote(approver.id, True, groups, "", 0.0)]
    if len(assign(with_it, request.groups)) <= len(assign(others, request.groups)):
        raise ApprovalError(f"{', '.join(sorted(groups))} agreed already", hint=f"still missing: {', '.join(sorted(missing(request)))}")
    return groups
