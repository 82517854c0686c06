"""The web pages: drawn on the server, usable without scripts, over the same actions as the API."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from interlock.console import cookies, present
from interlock.console.actions import Actions, Json
from interlock.console.api import client_of, problem_of, whole
from interlock.console.visits import PROTOCOL, Console, Problem, Visit, Visits, form_token
from interlock.exchange import Verdict
from interlock.policy.rules import RESERVED

LISTED: Final = 200
MOMENTS: Final = 2_000
FIELDS_MAX: Final = 10
_HERE: Final = Path(__file__).parent
_STATES: Final = ("live", "sealed", "recovered", "damaged")

Handler = Callable[[Request, Visit], Awaitable[Response]]
Posted = Callable[[Request, Visit, Mapping[str, str]], Awaitable[Response]]


class Pages:
    def __init__(self, context: Console, visits: Visits, actions: Actions) -> None:
        self._context = context
        self._visits = visits
        self._do = actions
        self._https = visits.https
        self._templates = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=lambda value: present.visible(value) if type(value) is str else value,  # whatever is shown
        )
        self._templates.globals |= {"version": context.version, "when": present.moment, "clock": present.clock, "age": self._age}

    def routes(self) -> list[BaseRoute]:
        pages: list[tuple[str, Handler]] = [
            ("/", self._home),
            ("/sessions", self._sessions),
            ("/sessions/{id}", self._session),
            ("/approvals", self._approvals),
            ("/approvals/{id}", self._approval),
            ("/policy", self._policy),
        ]
        posts: list[tuple[str, Posted]] = [
            ("/signout", self._sign_out),
            ("/sessions/{id}/end", self._end),
            ("/approvals/{id}", self._answer),
        ]
        return [
            Mount("/static", StaticFiles(directory=_HERE / "static")),
            Route("/signin", self._show_sign_in, methods=["GET"]),
            Route("/signin", self._sign_in, methods=["POST"]),
            *(Route(path, self._page(handler), methods=["GET"]) for path, handler in pages),
            *(Route(path, self._post(handler), methods=["POST"]) for path, handler in posts),
            Route("/{path:path}", self._page(_nowhere), methods=["GET"]),
        ]

    # -- sign-in -----------------------------------------------------------------------------------------

    async def _show_sign_in(self, request: Request) -> Response:
        return self._sign_in_page(request.query_params.get("next", "/"), "")

    async def _sign_in(self, request: Request) -> Response:
        form = await _form(request)
        target = form.get("next", "/")
        cookie = cookies.value_of(request, cookies.FORM, https=self._https)
        expected = form_token(self._context.key, cookie) if cookie else ""
        if not expected or not hmac.compare_digest(form.get("csrf", "").encode("utf-8", "surrogatepass"), expected.encode()):
            return self._sign_in_page(target, "The page was too old; please try once more.", 403)
        try:
            _, cookie = await self._visits.sign_in(form.get("token", "").strip(), client_of(request))
        except Exception as error:
            problem = problem_of(error)
            return self._sign_in_page(target, problem.reason, problem.status, ask=problem.ask)
        answer = RedirectResponse(_local(target), 303)
        cookies.put(answer, cookies.VISIT, cookie, https=self._https)
        cookies.drop(answer, cookies.FORM, https=self._https)
        return answer

    def _sign_in_page(self, target: str, said: str, status: int = 200, ask: str = "") -> Response:
        """The form's token is bound to a fresh cookie, so that no other site can sign anybody in."""
        cookie = secrets.token_urlsafe(32)
        answer = self._draw("signin.html", status, csrf=form_token(self._context.key, cookie), next=_local(target), said=said, ask=ask)
        cookies.put(answer, cookies.FORM, cookie, https=self._https)
        return answer

    async def _sign_out(self, request: Request, visit: Visit, form: Mapping[str, str]) -> Response:
        self._visits.sign_out(visit)
        answer = RedirectResponse("/signin", 303)
        cookies.drop(answer, cookies.VISIT, https=self._https)
        return answer

    # -- pages -------------------------------------------------------------------------------------------

    async def _home(self, request: Request, visit: Visit) -> Response:
        return RedirectResponse("/sessions", 303)

    async def _sessions(self, request: Request, visit: Visit) -> Response:
        asked = request.query_params
        words, state, own = asked.get("q", "").strip(), asked.get("state", ""), asked.get("own", "") == "1"
        found = await self._do.sessions(visit, 1_000)
        chosen = [each for each in found if _matches(each, words, state, own)]
        chosen.sort(key=lambda each: each["state"] != "live")  # live first; newest first within
        return self._show(
            visit,
            "sessions.html",
            sessions=chosen[:LISTED],
            more=len(chosen) - LISTED,
            words=words,
            state=state,
            own=own,
            states=_STATES,
        )

    async def _session(self, request: Request, visit: Visit) -> Response:
        session_id = request.path_params["id"]
        after = whole(request.query_params, "after", -1, -1)
        try:
            read = await self._do.timeline(visit, session_id, after, MOMENTS)
            refused = None
        except Problem as problem:
            if problem.status != 403:
                raise
            # Seeing that there is a session, and looking into it, are two rights.
            read, refused = {"session": await self._do.session(visit, session_id), "moments": [], "next": None}, problem
        report = await self._do.verify(visit, session_id) if request.query_params.get("verify") == "1" else None
        live = read["session"]["state"] == "live"
        return self._show(
            visit,
            "session.html",
            session=read["session"],
            told=present.story(read["moments"]),
            next=read["next"],
            refused=refused,
            report=report,
            may_end=live and self._may(visit, "console.revoke"),
            refresh=live and self._freely(visit, "console.replay"),
        )

    async def _end(self, request: Request, visit: Visit, form: Mapping[str, str]) -> Response:
        session_id = request.path_params["id"]
        await self._do.kill(visit, session_id)
        return RedirectResponse(f"/sessions/{quote(session_id)}", 303)

    async def _approvals(self, request: Request, visit: Visit) -> Response:
        everything = request.query_params.get("all") == "1"
        found = await self._do.approvals(visit, everything=everything)
        found.sort(key=lambda each: not each["may_answer"])  # what waits for this person first
        return self._show(visit, "approvals.html", approvals=found, everything=everything, may=self._may(visit, "approve"))

    async def _approval(self, request: Request, visit: Visit) -> Response:
        request_id = request.path_params["id"]
        found = await self._do.approval(visit, request_id)
        return self._show(visit, "approval.html", each=found, may=self._may(visit, "approve"))

    async def _answer(self, request: Request, visit: Visit, form: Mapping[str, str]) -> Response:
        answer = form.get("answer")
        if answer not in ("approve", "refuse"):
            raise Problem(400, "request", "say either approve or refuse")
        request_id = request.path_params["id"]
        await self._do.answer(visit, request_id, answer == "approve", form.get("note", ""))
        return RedirectResponse(f"/approvals/{quote(request_id)}", 303)

    async def _policy(self, request: Request, visit: Visit) -> Response:
        policy = await self._do.policy(visit)
        for rule in policy["rules"]:
            rule["own"] = rule["id"].startswith(RESERVED)
        return self._show(visit, "policy.html", policy=policy)

    # -- small -------------------------------------------------------------------------------------------

    def _page(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            visit: Visit | None = None
            try:
                visit = cookies.from_cookie(self._visits, request, "")
                return await handler(request, visit)
            except Exception as error:
                return self._refused(request, problem_of(error), visit)

        return answer

    def _post(self, handler: Posted) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            visit: Visit | None = None
            try:
                form = await _form(request)
                visit = cookies.from_cookie(self._visits, request, form.get("csrf", ""))
                return await handler(request, visit, form)
            except Exception as error:
                return self._refused(request, problem_of(error), visit)

        return answer

    def _refused(self, request: Request, problem: Problem, visit: Visit | None) -> Response:
        if problem.status != 401:
            return self._draw("problem.html", problem.status, problem=problem, **self._frame(visit))
        if request.headers.get("sec-fetch-site") == "cross-site" and request.method == "GET":
            # A link in a mail or a chat: browsers keep back our strict cookie. Asked again from our own page, it comes.
            return self._draw("continue.html", 200, target=_local(_asked(request)))
        if problem.code == "revoked":
            return self._sign_in_page(_asked(request), problem.reason, 401)
        return RedirectResponse(f"/signin?next={quote(_asked(request), safe='')}", 303)

    def _show(self, visit: Visit, template: str, **values: Any) -> Response:
        return self._draw(template, 200, **self._frame(visit), **{"refresh": self._freely(visit, "console.view"), **values})

    def _may(self, visit: Visit, action: str) -> bool:
        return self._do.foresee(visit, action) is not Verdict.DENY

    def _freely(self, visit: Visit, action: str) -> bool:
        """Where people must agree to each look, a page does not refresh itself: it would ask them again and again."""
        return self._do.foresee(visit, action) is Verdict.ALLOW

    def _frame(self, visit: Visit | None) -> Json:
        return {"me": str(visit.principal) if visit else "", "csrf": visit.csrf if visit else ""}

    def _draw(self, template: str, status: int, **values: Any) -> Response:
        values = {"me": "", "csrf": "", "now": self._context.clock(), **values}
        return HTMLResponse(self._templates.get_template(template).render(values), status)

    def _age(self, at: float) -> str:
        return present.age(self._context.clock() - at)


async def _nowhere(request: Request, visit: Visit) -> Response:
    raise Problem(404, "unknown", "there is no such page")


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form. Raises `Problem`."""
    try:
        return dict(parse_qsl((await request.body()).decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX))
    except ValueError:
        raise Problem(400, "request", "the form cannot be read") from None


def _matches(session: Json, words: str, state: str, own: bool) -> bool:
    """`words`: each must occur in id, people, resource or protocol. Without `own`, the gateway's own sessions and
    visits to this console are left out."""
    if state and session["state"] != state:
        return False
    if not own and (session["principal"] == "interlock" or session["protocol"] == PROTOCOL):
        return False
    text = " ".join(session[name] for name in ("id", "principal", "owner", "resource", "protocol", "state")).lower()
    return all(word in text for word in words.lower().split())


def _asked(request: Request) -> str:
    """The page that was asked for, to come back to; nothing else can be gone back to."""
    if request.method != "GET":
        return "/"
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def _local(target: str) -> str:
    """A path of our own, never another site's address."""
    parts = urlsplit(target)
    plain = target.startswith("/") and not target.startswith("//") and "\\" not in target and target.isprintable()
    return target if plain and not parts.scheme and not parts.netloc else "/"
