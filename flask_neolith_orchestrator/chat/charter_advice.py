"""What can be said about a charter that is right and yet may not be meant so. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from .charter import Behaviour, CharterDocument, Limits
from .charter_parent import STRICTNESS, under

_OVERRULED = ("keyword_triggers", "watched_channels", "role_mentions", "follow_threads")


def warnings(document: CharterDocument, parent: CharterDocument) -> list[str]:
    """Sentences for its author; none keeps it from being saved."""
    return [*_of_itself(document), *_of_the_parent(document, parent)]


def _of_itself(document: CharterDocument) -> Iterator[str]:
    behaviour, availability = document.behaviour, document.availability
    if behaviour.mention_only:
        for name in _OVERRULED:
            if getattr(behaviour, name):
                yield f"behaviour.{name} does nothing, as mention_only is set."
    if behaviour.auto_reply is False and behaviour != Behaviour(auto_reply=False):
        yield "behaviour.auto_reply is off: it answers nobody, whatever else is said about when it answers."
    if availability.hours is not None and not availability.offline_message:
        yield "availability.hours without an offline_message: who calls outside of them is not told why nobody answers."
    if document.safety.escalate and not any(one.on == "approval" for one in availability.escalation):
        yield "safety.escalate without an escalation on approval: nobody is told that somebody has to decide."
    if document.model.name in document.model.fallbacks:
        yield "model.fallbacks has the model itself, which is asked once."


def _of_the_parent(document: CharterDocument, parent: CharterDocument) -> Iterator[str]:
    merged = under(parent, document)
    for name in Limits.model_fields:
        own, allowed = getattr(document.limits, name), getattr(merged.limits, name)
        if own is not None and allowed != own:
            yield f"limits.{name}: the organization allows {allowed}."
    for tool in sorted({name for tools in document.safety.lists.values() for name in tools}):
        own_rule, rule = document.safety.rule(tool), merged.safety.rule(tool)
        if STRICTNESS[rule] > STRICTNESS[own_rule]:
            yield f"safety: the organization is stricter about {tool}."
