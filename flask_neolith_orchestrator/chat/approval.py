"""Whether a call of a tool runs, is asked about, or is refused. Pure.

The charter decides first (`safety`: a tool's own name before `*`), else the tool's own word for the place:

| charter says         | verdict                                  |
|----------------------|------------------------------------------|
| always_reject        | refused                                  |
| escalate             | asks those responsible for it            |
| require_confirmation | asks the person who asked                |
| auto_approve         | runs                                     |
| nothing, tool `auto` | runs                                     |
| nothing, tool `dm`   | runs in a direct message, asks elsewhere |
| nothing, tool `ask`  | asks                                     |

Where the request does not come from a person, nobody can be asked: then only what reads may run, and what would ask is
refused. Whoever is not there cannot approve, and what another program says is no approval.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ..core.types import Place
from .charter import Safety
from .tools import Approval, Tool


class Verdict(StrEnum):
    """What becomes of a call."""

    RUNS = "runs"
    ASKS = "asks"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict and why. `escalates`: not the requester is asked, but those responsible for the orchestrator."""

    verdict: Verdict
    reason: str
    escalates: bool = False


REJECTED: Final = "Your charter does not allow this tool. It was not run. Do not try it again."
NOBODY_TO_ASK: Final = (
    "This tool needs a person's approval, and it was no person who asked you. It was not run. Do not try it again."
)


def decide(tool: Tool, safety: Safety, place: Place, *, by_person: bool) -> Decision:
    """What becomes of a call that was made in `place` for a requester who is a person or not."""
    rule = safety.rule(tool.name)
    if rule == "reject":
        return Decision(Verdict.REFUSED, REJECTED)
    if not by_person and not (tool.reads_only and _runs(tool, rule, place)):
        return Decision(Verdict.REFUSED, NOBODY_TO_ASK)
    if _runs(tool, rule, place):
        return Decision(Verdict.RUNS, "charter" if rule == "approve" else f"{tool.approval}")
    return Decision(Verdict.ASKS, "tool" if rule is None else "charter", escalates=rule == "escalate")


def _runs(tool: Tool, rule: str | None, place: Place) -> bool:
    if rule is not None:
        return rule == "approve"
    return tool.approval is Approval.AUTO or (tool.approval is Approval.DM and place.is_dm)
