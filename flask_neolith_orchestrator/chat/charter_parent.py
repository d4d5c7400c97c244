"""An organization's charter as the parent of its orchestrators'. Pure.

What comes of the two, field by field:

- Whose charter it is (name, handle, description, role, discipline, tier) is the orchestrator's alone; an
  organization's charter must not have these.
- Tools: for each tool the stricter of the two holds (reject, escalate, confirm). It runs by itself only if neither
  says otherwise and the orchestrator approves it; where the organization approves any tools, those it does not
  approve are not approved by an orchestrator either. An orchestrator that says nothing of approvals has its
  organization's. `*` counts, on each side, for every tool that this side does not name.
- Limits, and the replies of an hour and a day: the smaller one, where both say one; else the one there is.
- Everything else: the orchestrator's value where it is given (an empty list or text is given; null is not), else the
  organization's. Parts like `personality` are taken field by field, lists as a whole.

So the parent is never weakened: `chat.charter_changes.weakenings(parent, merged)` is always empty but for tools that
the parent says nothing about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from .charter import ANY, Behaviour, CharterDocument, Limits, Rule, Safety
from .charter_words import Part

IDENTITY: Final = ("name", "handle", "description", "role", "discipline", "tier")
"""Fields that say whose charter it is."""

STRICTNESS: Final[Mapping[Rule | None, int]] = {"approve": 0, None: 1, "confirm": 2, "escalate": 3, "reject": 4}
"""How strict a rule for a tool is; None is where nothing is said and the tool's own default counts."""

_CAPS: Final = ("replies_per_hour", "replies_per_day")

PartT = TypeVar("PartT", bound=Part)


def under(parent: CharterDocument, child: CharterDocument) -> CharterDocument:
    """The child's charter within its parent's."""
    fields: dict[str, Any] = {}
    for name in CharterDocument.model_fields:
        theirs, own = getattr(parent, name), getattr(child, name)
        if isinstance(own, Part):
            merge = _MERGES.get(type(own), _taken)
            fields[name] = merge(theirs, own)
        elif name in child.model_fields_set:
            fields[name] = own
        elif name in parent.model_fields_set:
            fields[name] = theirs
    given = child.model_fields_set | parent.model_fields_set
    return CharterDocument.model_construct(**{name: value for name, value in fields.items() if name in given})


def _taken(parent: PartT, child: PartT) -> PartT:
    kept = {name: getattr(parent, name) for name in parent.model_fields_set}
    kept |= {name: getattr(child, name) for name in child.model_fields_set}
    return type(child).model_construct(**kept)


def _limits(parent: Limits, child: Limits) -> Limits:
    return Limits.model_construct(**_smaller(parent, child, tuple(Limits.model_fields)))


def _behaviour(parent: Behaviour, child: Behaviour) -> Behaviour:
    return _taken(parent, child).model_copy(update=_smaller(parent, child, _CAPS))


def _smaller(parent: Part, child: Part, names: tuple[str, ...]) -> dict[str, Any]:
    both = {name: [one for one in (getattr(parent, name), getattr(child, name)) if one is not None] for name in names}
    return {name: min(values) for name, values in both.items() if values}


def _safety(parent: Safety, child: Safety) -> Safety:
    names = {ANY, *(name for one in (parent, child) for tools in one.lists.values() for name in tools)}
    rules = {name: _rule(parent, child, name) for name in names}
    lists: dict[Rule, list[str]] = {"reject": [], "escalate": [], "confirm": [], "approve": []}
    for name in sorted(names):
        rule = rules[name]
        # one that follows the rule for all others need not be named, and one without a rule cannot be
        if rule is not None and (name == ANY or rule != rules[ANY]):
            lists[rule].append(name)
    return Safety(
        auto_approve=tuple(lists["approve"]),
        require_confirmation=tuple(lists["confirm"]),
        always_reject=tuple(lists["reject"]),
        escalate=tuple(lists["escalate"]),
    )


def _rule(parent: Safety, child: Safety, tool: str) -> Rule | None:
    theirs, own = parent.rule(tool), child.rule(tool)
    strictest = max((theirs, own), key=STRICTNESS.__getitem__)
    if STRICTNESS[strictest] > STRICTNESS[None]:
        return strictest
    inherits = "auto_approve" not in child.model_fields_set
    approved = own == "approve" if not inherits else theirs == "approve"
    return "approve" if approved and (theirs == "approve" or not parent.auto_approve) else None


_MERGES: Final[Mapping[type[Part], Callable[[Any, Any], Part]]] = {
    Limits: _limits,
    Behaviour: _behaviour,
    Safety: _safety,
}
