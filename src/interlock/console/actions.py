"""What can be done at the console: each action under a permit, answered with plain JSON values. API and pages share it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from interlock.approval import Request, missing
from interlock.approval.quorum import may_speak_for
from interlock.console.visits import PROTOCOL, Console, Problem, Visit, Visits
from interlock.errors import ApprovalError, EvidenceError, IdentityError, PolicyError, ResourceError
from interlock.evidence import Moment, SessionSummary, verify
from interlock.exchange import Effect, Operation, Principal, Resource, Verdict
from interlock.gate import connect_operation
from interlock.policy import explain
from interlock.resources import OWN

Json = dict[str, Any]

SESSIONS_MAX: Final = 1_000
MOMENTS_MAX: Final = 10_000
TIMELINE_CHARS_MAX: Final = 8 * 1024 * 1024
"""Characters of lines in one piece of a timeline; the rest follows in the next."""
BREATHE: Final = 100
"""After so many moments others get their turn on the event loop."""


class Actions:
    """Each method raises `Problem`, or the `InterlockError` of the station that could not do it."""

    def __init__(self, context: Console, visits: Visits) -> None:
        self._context = context
        self._visits = visits
        self._gate = context.gate
        self._verifying = asyncio.Semaphore(1)  # it reads whole recordings

    # -- the caller --------------------------------------------------------------------------------------

    def whoami(self, visit: Visit) -> Json:
        principal = visit.principal
        owner = principal.on_behalf_of
        groups = sorted(principal.groups)
        return {
            "principal": principal.id,
            "kind": principal.kind,
            "groups": groups,
            "owner": owner.id if owner else "",
            "session": visit.session.id,
        }

    def resources(self, visit: Visit) -> list[Json]:
        """Where the caller may connect, as policy says now; connecting itself is decided again."""
        known = [resource for resource in self._gate.registry.all() if resource.name != OWN.name]
        decisions = self._gate.foresee(visit.principal, [connect_operation(resource) for resource in known])
        return [
            {"name": resource.name, "kind": resource.kind, "labels": sorted(resource.labels), "verdict": decision.verdict.value}
            for resource, decision in zip(known, decisions, strict=True)
            if decision.verdict is not Verdict.DENY
        ]

    def foresee(self, visit: Visit, action: str) -> Verdict:
        """What would be said, for offering a button at all. What it does is decided when it is pressed."""
        offered = Operation(PROTOCOL, visit.session.resource, (Effect(action),), {}, b"", action)
        return self._gate.foresee(visit.principal, [offered])[0].verdict

    # -- sessions ----------------------------------------------------------------------------------------

    async def sessions(self, visit: Visit, limit: int = 100, *, live: bool = False) -> list[Json]:
        async with self._visits.act(visit, "console.view", "list sessions") as act:
            found = self._gate.evidence.sessions(SESSIONS_MAX if live else min(limit, SESSIONS_MAX))
            chosen = [asdict(each) for each in found if not live or each.state == "live"][:limit]
            act.said = f"sessions: {len(chosen)}"
            return chosen

    async def session(self, visit: Visit, session_id: str) -> Json:
        async with self._visits.act(visit, "console.view", f"view session {session_id[:64]}"):
            return asdict(self._summary(session_id))

    async def timeline(self, visit: Visit, session_id: str, after: int = -1, limit: int = 2_000) -> Json:
        """A piece of a recording as its client saw it, masked once more for this viewer. Who looked is in the
        global log before anything is shown."""
        async with self._visits.act(visit, "console.replay", f"replay session {session_id[:64]}") as act:
            summary = self._summary(session_id)
            await self._publish_view(visit, session_id)
            moments, following = await self._read(visit.principal, summary, after, min(limit, MOMENTS_MAX))
            act.said = f"moments: {len(moments)}"
            return {"session": asdict(summary), "moments": moments, "next": following}

    async def verify(self, visit: Visit, session_id: str) -> Json:
        async with self._visits.act(visit, "console.view", f"verify session {session_id[:64]}") as act:
            if self._summary(session_id).state == "live":
                raise Problem(409, "open", "the session is still open: it is sealed when it ends")
            folder = self._gate.evidence.folder
            async with self._verifying:
                key = await asyncio.to_thread((folder / "public.key").read_text)
                report = await asyncio.to_thread(verify, folder / "sessions" / session_id, key)
            act.said = "verified" if report.ok else "FAILED"
            return report.as_dict()

    async def kill(self, visit: Visit, session_id: str) -> Json:
        async with self._visits.act(visit, "console.revoke", f"end session {session_id[:64]}") as act:
            if not self._gate.end(session_id, f"ended by {visit.principal.id} at the console"):
                self._summary(session_id)
                raise Problem(409, "over", "the session has ended already")
            act.said = "ended"
            return {"ended": session_id}

    # -- approvals ---------------------------------------------------------------------------------------

    async def approvals(self, visit: Visit, *, everything: bool = False) -> list[Json]:
        async with self._visits.act(visit, "console.view", "list approvals") as act:
            found = await (self._gate.approvals.history() if everything else self._gate.approvals.pending())
            act.said = f"requests: {len(found)}"
            return [_request(each, visit.principal) for each in found]

    async def approval(self, visit: Visit, request_id: str) -> Json:
        async with self._visits.act(visit, "console.view", f"view approval {request_id[:16]}"):
            return _request(await self._request(request_id), visit.principal)

    async def answer(self, visit: Visit, request_id: str, approve: bool, note: str) -> Json:
        title = f"{'approve' if approve else 'refuse'} {request_id[:16]}"
        async with self._visits.act(visit, "approve", title, {"note": note}) as act:
            await self._request(request_id)
            try:
                request = await self._gate.approvals.answer(request_id, visit.principal, approve, note)
            except ApprovalError as error:
                raise Problem(409, "approval", error.message, ask=error.hint) from error
            act.said = request.state.value
            return _request(request, visit.principal)

    # -- policy ------------------------------------------------------------------------------------------

    async def policy(self, visit: Visit) -> Json:
        async with self._visits.act(visit, "console.view", "view policy") as act:
            policy, error = self._gate.policy.current, self._gate.policy.error
            act.said = policy.version
            rules = [
                {
                    "id": rule.id,
                    "effect": rule.effect,
                    "reason": rule.reason,
                    "hold": sorted(rule.hold),
                    "place": rule.place,
                    "text": rule.text,
                }
                for rule in policy.rules.values()
            ]
            return {"version": policy.version, "error": error, "rules": rules}

    async def explain(self, visit: Visit, subject: str, on: str, *, text: str | None, action: str | None) -> Mapping[str, object]:
        """What policy says of a text, or of one action on the resource itself, for any principal."""
        async with self._visits.act(visit, "console.view", "explain policy", {"as": subject, "on": on, "text": text, "action": action}):
            principal = self._gate.identity.directory.principal(subject)
            if principal is None:
                raise Problem(404, "unknown", f"{subject} is not a configured, enabled principal")
            try:
                resource = self._gate.registry.find(on)
                if text is not None:
                    said = self._context.explain(subject, on, text)
                    return await said if inspect.isawaitable(said) else said
                effects = [Effect(action or "connect")]
                return explain(self._gate.policy.current, principal, resource, effects, {}, now=self._context.clock()).to_dict()
            except (ResourceError, PolicyError) as error:
                raise Problem(404 if isinstance(error, ResourceError) else 400, "unknown", error.message, ask=error.hint) from error

    # -- identity ----------------------------------------------------------------------------------------

    async def tokens(self, visit: Visit) -> list[Json]:
        async with self._visits.act(visit, "console.view", "list tokens"):
            found = await self._gate.identity.tokens()
            return [asdict(each) | {"audiences": sorted(each.audiences)} for each in found]

    async def issue(self, visit: Visit, principal: str, audiences: list[str], ttl_s: float) -> Json:
        title = f"issue a token for {principal[:128]}"
        async with self._visits.act(visit, "console.issue", title, {"audiences": audiences, "ttl_s": ttl_s}) as act:
            try:
                text, info = await self._gate.identity.issue(principal, audiences, ttl_s)
            except IdentityError as error:
                raise Problem(400, "token", error.message, ask=error.hint) from error
            act.said = f"token {info.id} of {principal}"
            return {"id": info.id, "token": text, "expires_at": info.expires_at}

    async def revoke_token(self, visit: Visit, token_id: str) -> Json:
        async with self._visits.act(visit, "console.revoke", f"revoke token {token_id[:64]}"):
            if all(each.id != token_id for each in await self._gate.identity.tokens()):
                raise Problem(404, "unknown", "there is no such token")
            await self._gate.identity.revoke_token(token_id)
            return {"revoked": token_id}

    async def revoke_principal(self, visit: Visit, principal: str) -> Json:
        async with self._visits.act(visit, "console.revoke", f"revoke all of {principal[:128]}"):
            await self._gate.identity.revoke_principal(principal)
            return {"revoked": principal}

    # -- small -------------------------------------------------------------------------------------------

    def _summary(self, session_id: str) -> SessionSummary:
        try:
            return self._gate.evidence.session(session_id)
        except EvidenceError as error:
            raise Problem(404, "unknown", error.message) from error

    async def _request(self, request_id: str) -> Request:
        try:
            return await self._gate.approvals.get(request_id)
        except ApprovalError as error:
            raise Problem(404, "unknown", error.message) from error

    async def _publish_view(self, visit: Visit, session_id: str) -> None:
        """Once per visit and recording; the visit's own journal tells of each look."""
        if session_id in visit.viewed:
            return
        evidence = self._gate.evidence
        evidence.publish("viewed", {"session": session_id, "viewer": visit.session.id})
        await evidence.commit()
        visit.viewed.add(session_id)

    async def _read(self, viewer: Principal, summary: SessionSummary, after: int, limit: int) -> tuple[list[Json], int | None]:
        try:
            resource = self._gate.registry.find(summary.resource)
        except ResourceError:
            resource = Resource(summary.resource, "gone")
        moments: list[Json] = []
        chars = 0
        for count, moment in enumerate(self._gate.evidence.timeline(summary.id, self._context.renderers)):
            if count % BREATHE == 0:
                await asyncio.sleep(0)
            if moment.seq <= after:
                continue
            if len(moments) >= limit or chars > TIMELINE_CHARS_MAX:
                return moments, moments[-1]["seq"]
            lines = [self._gate.shown(viewer, resource, line) for line in moment.lines]
            chars += sum(map(len, lines))
            moments.append(_moment(moment, lines))
        return moments, None


def _moment(moment: Moment, lines: list[str]) -> Json:
    return {
        "seq": moment.seq,
        "at": moment.at,
        "kind": moment.kind,
        "exchange": moment.exchange,
        "facts": dict(moment.facts),
        "direction": moment.direction,
        "lines": lines,
    }


def _request(request: Request, viewer: Principal) -> Json:
    """A request as this person may see it: the exact text is for who asked, and for who may answer."""
    try:
        may_answer = bool(may_speak_for(request, viewer))
    except ApprovalError:
        may_answer = False
    concerned = may_answer or viewer.id in (request.principal, request.owner)
    facts = {name: sorted(fact) if isinstance(fact, frozenset) else fact for name, fact in request.facts.items() if name != "effects"}
    effects = request.facts.get("effects", frozenset())
    return {
        "id": request.id,
        "state": request.state.value,
        "principal": request.principal,
        "kind": request.kind,
        "owner": request.owner,
        "resource": request.resource,
        "title": request.title,
        "text": request.text if concerned else None,
        "facts": facts,
        "effects": sorted(effects) if isinstance(effects, frozenset) else [],
        "rules": list(request.rules),
        "reasons": list(request.reasons),
        "groups": sorted(request.groups),
        "missing": sorted(missing(request)),
        "votes": [asdict(vote) | {"groups": sorted(vote.groups)} for vote in request.votes],
        "session": request.session_id,
        "policy": request.policy,
        "asked_at": request.asked_at,
        "expires_at": request.expires_at,
        "decided_at": request.decided_at,
        "used_at": request.used_at,
        "note": request.note,
        "may_answer": may_answer and request.state.value == "pending",
    }
