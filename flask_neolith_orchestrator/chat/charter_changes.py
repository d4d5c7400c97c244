"""What differs between two charters, and what of it makes an orchestrator less safe. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import ndiff
from typing import Any, Final

from .charter import ANY, CharterDocument, Limits, Rule
from .charter_parent import STRICTNESS
from .charter_reading import UnusableCharter, read_document

_SAID: Final[Mapping[Rule | None, str]] = {
    "approve": "runs by itself",
    None: "is as the tool itself says",
    "confirm": "asks the person who wants it",
    "escalate": "asks those responsible",
    "reject": "never runs",
}
_LISTS: Final[Mapping[Rule, str]] = {
    "approve": "auto_approve",
    "confirm": "require_confirmation",
    "escalate": "escalate",
    "reject": "always_reject",
}


@dataclass(frozen=True, slots=True)
class Change:
    """One field that differs. `before` or `after` is None where it is not given. Values are as JSON has them."""

    path: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Weakening:
    """One thing that a new charter allows and the old one did not. `text` says it in a sentence."""

    path: str
    before: Any
    after: Any
    text: str


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """What differs, by path. However each is written: other names and short forms of a field are no difference."""
    old, new = dict(_flat(_normal(before))), dict(_flat(_normal(after)))
    paths = dict.fromkeys([*old, *new])
    return [Change(path, old.get(path), new.get(path)) for path in paths if old.get(path) != new.get(path)]


def as_text(found: Sequence[Change]) -> str:
    """Changes for people to read, with `+` for what is new and `-` for what is gone; empty if there is none."""
    return "\n".join(line for one in found for line in _lines(one))


def weakenings(before: CharterDocument, after: CharterDocument) -> list[Weakening]:
    """What becomes less safe: tools with a weaker rule, and limits that are higher or gone."""
    return [*_weaker_tools(before, after), *_weaker_limits(before, after)]


def loosenings(before: CharterDocument, after: CharterDocument) -> list[Weakening]:
    """The same for an organization's charter, under which what it does not approve is approved by nobody."""
    found, bounds = weakenings(before, after), before.safety.auto_approve
    if bounds and not after.safety.auto_approve:
        text = f"auto_approve: {', '.join(bounds)} alone now, and whatever an orchestrator approves then"
        found.append(Weakening("safety.auto_approve", list(bounds), None, text))
    return found


def _normal(charter: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        return read_document(charter).model_dump(mode="json", exclude_unset=True)
    except UnusableCharter:  # a host wrote it past us
        return charter


def _flat(value: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        path = f"{at}.{key}" if at else str(key)
        if isinstance(inner, Mapping):
            yield from _flat(inner, path)
        else:
            yield path, inner


def _lines(change: Change) -> Iterator[str]:
    texts = [one for one in (change.before, change.after) if one is not None]
    if all(isinstance(one, str) for one in texts) and any("\n" in one for one in texts):
        yield f"{change.path}:"
        for line in ndiff((change.before or "").splitlines(), (change.after or "").splitlines()):
            if not line.startswith("?"):
                yield f"  {line}".rstrip()
        return
    for mark, value in (("-", change.before), ("+", change.after)):
        if value is not None:
            yield f"{mark} {change.path}: {json.dumps(value, ensure_ascii=False)}"


def _weaker_tools(before: CharterDocument, after: CharterDocument) -> Iterator[Weakening]:
    named = {name for one in (before, after) for tools in one.safety.lists.values() for name in tools}
    for tool in sorted(named | {ANY}):
        old, new = before.safety.rule(tool), after.safety.rule(tool)
        if STRICTNESS[new] < STRICTNESS[old]:
            path = "auto_approve" if new == "approve" or old is None else _LISTS[old]
            shown = "Any other tool" if tool == ANY else tool
            yield Weakening(f"safety.{path}", old, new, f"{shown}: {_SAID[old]} now, and {_SAID[new]} then")


def _weaker_limits(before: CharterDocument, after: CharterDocument) -> Iterator[Weakening]:
    caps = [("limits", name) for name in Limits.model_fields]
    caps += [("behaviour", name) for name in ("replies_per_hour", "replies_per_day")]
    for part, name in caps:
        old, new = getattr(getattr(before, part), name), getattr(getattr(after, part), name)
        if old is not None and (new is None or new > old):
            shown = "no limit" if new is None else f"{new}"
            text = f"{part}.{name}: {old} now, and {shown} then"
            yield Weakening(f"{part}.{name}", _plain(old), _plain(new), text)


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, int) else str(value)
