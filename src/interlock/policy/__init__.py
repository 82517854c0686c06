"""May they: the policy decision point.

Rules are Cedar (https://docs.cedarpolicy.com), checked at load against `schema.cedarschema`, which this
package ships; `base.cedar` holds the gateway's own few rules and is part of every policy.

    text ─rules▶ checked rules ─slices▶ one policy set per action ─engine▶ Decision ─explain▶ why
                 nouns and facts ─entities▶ Cedar entities and context ──┘

Default is no: no rule, an error in a rule, a missing fact, an unknown action or kind, an agent without an
owner. A `forbid` with `@hold("group")` is lifted by that group's approval; see `Policy.decide`.
"""

from interlock.policy.engine import Policy
from interlock.policy.explain import EffectSeen, Explanation, RuleSeen, explain
from interlock.policy.files import PolicyFile, read_sources
from interlock.policy.rules import Rule

__all__ = ["EffectSeen", "Explanation", "Policy", "PolicyFile", "Rule", "RuleSeen", "explain", "read_sources"]
