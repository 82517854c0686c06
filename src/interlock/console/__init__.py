"""The console: a REST API under `/api` and web pages for people, both over the same few actions.

Whatever is done here is an operation on resource `interlock`: it is decided by policy, may be held for
approval, and is journaled in a session of protocol `console`, like every other operation. There is no
administrator beside the policy.

```
bearer token or cookie ─guard▶ visits (who; one session each) ─gate.admit▶ actions ─▶ api (JSON), pages (HTML)
```

API. JSON in and out, at most 64 KiB in. `Authorization: Bearer TOKEN`, a token or JWT for audience `console`;
or the cookie of a page, then with `X-CSRF-Token` for everything but GET. Times are UTC seconds.

| request                                                    | effect         | answer                                              |
|------------------------------------------------------------|----------------|-----------------------------------------------------|
| `GET /api/health` (nobody asked who)                       | –              | `{ok}`; 503 when not                                |
| `GET /api/whoami`                                          | connect        | `{principal, kind, groups, owner, session}`         |
| `GET /api/resources`                                       | connect        | `{resources: [{name, kind, labels, verdict}]}`       |
| `GET /api/sessions?limit=100&live=1`                       | console.view   | `{sessions: [Session]}`, newest first               |
| `GET /api/sessions/ID`                                     | console.view   | `Session`                                           |
| `GET /api/sessions/ID/timeline?after=-1&limit=2000`        | console.replay | `{session, moments: [Moment], next}`                |
| `GET /api/sessions/ID/verify`                              | console.view   | `{ok, claims: [{name, status, detail, session}]}`   |
| `DELETE /api/sessions/ID`                                  | console.revoke | `{ended}`: the session ends at once                 |
| `GET /api/approvals?all=1`                                 | console.view   | `{approvals: [Approval]}`: what waits; `all`: history |
| `GET /api/approvals/ID`                                    | console.view   | `Approval`                                          |
| `POST /api/approvals/ID` `{approve, note?}`                | approve        | `Approval` as it stands afterwards                  |
| `GET /api/policy`                                          | console.view   | `{version, error, rules: [Rule]}`                   |
| `POST /api/policy/explain` `{as, on, text \\| action}`     | console.view   | `{decision, effects, …}`                            |
| `GET /api/tokens`                                          | console.view   | `{tokens: [Token]}`, never the secrets              |
| `POST /api/tokens` `{principal, audiences, ttl_s?}`        | console.issue  | `{id, token, expires_at}`                           |
| `DELETE /api/tokens/ID`                                    | console.revoke | `{revoked}`, with its sessions                      |
| `POST /api/principals/ID/revoke`                           | console.revoke | `{revoked}`, with its and its agents' sessions      |

`resources` are those where the caller may connect (`verdict` is allow or hold). `Session` {id, principal, owner,
resource, protocol, opened_at, closed_at, reason, state, operations, refused, held, masked}; `state` is live,
sealed, recovered or damaged. `Moment` {seq, at, kind, exchange, facts, direction, lines}: a journal entry
(`open`, `intent`, `held`, `approval`, `outcome`, `close`) or, of kind `recorded`, what passed, as the client saw
it and masked once more for who looks. `next` is what to give as `after` for the rest, null at the end.
`Approval` {id, state, principal, kind, owner, resource, title, text, facts, effects, rules, reasons, groups,
missing, votes, session, policy, asked_at, expires_at, decided_at, used_at, note, may_answer}; `text` is null for
whoever is neither concerned nor able to answer. `Rule` {id, effect, reason, hold, place, text}. `Token` {id,
principal, audiences, issued_at, expires_at, parent, revoked_at}.
All strings come as they are: strip control characters before a terminal sees them.

Refusals and errors are `{error, code, rule, ask}`: 400 bad request, 401 no good proof, 403 refused (`denied`,
`held` with `approval` and `link`, …), 404 not there, 409 not in this state, 421 wrong Host, 429 limit, 503
not possible now.

Who may issue tokens for others can act as them, approvals included: give `console.issue` to as few as may do that.
"""

from __future__ import annotations

from dataclasses import replace

from starlette.middleware import Middleware
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.routing import BaseRoute, Mount

from interlock.console.actions import Actions
from interlock.console.api import Api
from interlock.console.guard import Guard
from interlock.console.pages import Pages
from interlock.console.render import render
from interlock.console.visits import PROTOCOL, Console, Explainer, Visits

BODY_BYTES_MAX = 64 * 1024


def create(context: Console) -> list[BaseRoute]:
    """The console's routes. They answer every path (what is unknown with 404): put them after all others."""
    context = replace(context, renderers={**context.renderers, PROTOCOL: render})
    visits = Visits(context)
    actions = Actions(context, visits)
    routes = [*Api(context, visits, actions).routes(), *Pages(context, visits, actions).routes()]
    guards = [Middleware(Guard, public_url=context.public_url), Middleware(RequestBodyLimitMiddleware, max_body_size=BODY_BYTES_MAX)]
    return [Mount("", routes=routes, middleware=guards)]


__all__ = ["Console", "Explainer", "create", "render"]
