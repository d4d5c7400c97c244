"""The tools of a turn: those that are registered, by the charter's leave, for the person who asked."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from ...chat.approval import Verdict, decide
from ...chat.charter import Charter, Safety
from ...chat.tool_context import ToolContext
from ...chat.tools import Tool, Toolkit, bounded
from ...core.cancel import Cancel
from ...core.model import ToolCall, ToolSpec
from ...core.ports import Clock
from ...core.steps import Asks, Planned, Step, StepState
from ...core.types import Claim, OrchestratorSnapshot
from ...settings import Settings
from ...store.chat.reader import Reader
from ...store.stores import Stores
from ..chatting.actions import Scope
from ..chatting.chat import Chat
from ..wiring import Wiring
from .builtin import builtin_tools
from .chat import ChatTools, TurnChat
from .runs import Failed, ToolRuns
from .toolbox import Done, NoTools, Toolbox, unknown

log = logging.getLogger("flask_neolith_orchestrator")

BUNDLED_ONLY: Final = frozenset({"search_messages", "react", "post_message"})
"""Built-in tools that need the bundled chat."""

MOST_OFFERS: Final = 1_000
"""Kinds of charters, by what they say of tools, for which a process remembers the tools."""


def make_toolboxes(wiring: Wiring, stores: Stores, chat: Chat, scope: Scope) -> Toolboxes:
    """Wire the tools of an app in one process."""
    access = ChatTools(stores, Reader(stores.models, stores.people), chat, scope)
    runs = ToolRuns(wiring.context, threads=stores.database.threads)
    return Toolboxes(wiring.toolkit, access, runs, wiring.settings)


@dataclass(frozen=True, slots=True)
class _Offer:
    """The tools of one kind of turn, and what the model is told of them, in the order of their names."""

    tools: Mapping[str, Tool]
    specs: tuple[ToolSpec, ...]


class Toolboxes:
    """Makes the toolbox of each attempt. Lifetime: app, in one process; safe for all threads."""

    def __init__(self, toolkit: Toolkit, chat: ChatTools, runs: ToolRuns, settings: Settings) -> None:
        self._chat = chat
        self._runs = runs
        self._settings = settings
        self._toolkit = toolkit
        self._builtin = wanted_tools(settings)
        self._offers: dict[tuple[Safety, bool, int], _Offer] = {}

    def of(self, claim: Claim, orchestrator: OrchestratorSnapshot, charter: Charter) -> Toolbox:
        """The tools of one attempt."""
        if charter.limits.tool_rounds == 0:
            return NoTools()
        offer = self._offer(charter.safety, self._chat.is_bundled(claim.place.channel_id))
        return TurnTools(offer, _Turn(claim, orchestrator, charter), self._chat, self._runs, self._settings)

    def _offer(self, safety: Safety, bundled: bool) -> _Offer:
        """Made once for each kind of charter: to choose among the tools costs more than all else here."""
        key = (safety, bundled, len(self._toolkit))
        found = self._offers.get(key)
        if found is None:
            builtin = {name: tool for name, tool in self._builtin.items() if bundled or name not in BUNDLED_ONLY}
            everything = {**builtin, **{tool.name: tool for tool in self._toolkit}}
            names = sorted(name for name in everything if safety.rule(name) != "reject")
            tools = {name: everything[name] for name in names}
            found = _Offer(tools, tuple(tool.spec for tool in tools.values()))
            if len(self._offers) >= MOST_OFFERS:
                self._offers.clear()
            self._offers[key] = found
        return found


@dataclass(frozen=True, slots=True)
class _Turn:
    claim: Claim
    orchestrator: OrchestratorSnapshot
    charter: Charter


class TurnTools:
    """Implements `toolbox.Toolbox`. Lifetime: the attempt, on its thread."""

    def __init__(self, offer: _Offer, turn: _Turn, chat: ChatTools, runs: ToolRuns, settings: Settings) -> None:
        self.specs = offer.specs
        self._tools = offer.tools
        self._turn = turn
        self._chat = chat
        self._runs = runs
        self._seconds = settings.tool_timeout / 1000
        self._patience = settings.approval_timeout / 1000
        self._clock: Clock = chat.stores.database.clock

    def plan(self, call: ToolCall) -> Planned:
        """What is to become of a call."""
        tool = self._tools.get(call.name)
        if tool is None:
            return Planned(call, StepState.FAILED, unknown(call.name))
        problem = tool.problem(call.arguments)
        if problem is not None:  # nobody is asked about what cannot be run
            return Planned(call, StepState.FAILED, bounded(problem))
        found = decide(tool, self._turn.charter.safety, self._turn.claim.place, by_person=self._by_person)
        if found.verdict is Verdict.REFUSED:
            return Planned(call, StepState.FAILED, found.reason)
        if found.verdict is Verdict.ASKS:
            asks: Asks = "managers" if found.escalates else "requester"
            return Planned(call, StepState.WAITING, expires_at=self._clock.wall() + self._patience, asks=asks)
        return Planned(call, StepState.APPROVED)

    def run(self, step: Step, cancel: Cancel, seconds: float) -> Done:
        """Run it on a thread of its own. Raises Cancelled."""
        call = step.call
        tool = None if call is None else self._tools.get(call.name)
        if call is None or tool is None:
            return Done(unknown("" if call is None else call.name), is_error=True)
        problem = tool.problem(call.arguments)  # it may have waited for days
        if problem is not None:
            return Done(bounded(problem), is_error=True)
        fields = {"tool": tool.name, "turn": step.turn_id, "orchestrator": self._turn.orchestrator.id}
        limit = min(tool.timeout or self._seconds, seconds)
        began = self._clock.monotonic()
        try:
            result = self._runs.run(self._work(tool, call, step), cancel, limit, fields)
        except Failed as error:
            return Done(bounded(str(error)), is_error=True)
        took = f"{self._clock.monotonic() - began:.3f}"
        log.info("A tool ran", extra={"action": "tool-ran", "seconds": took, **fields})
        return Done(result)

    def may_repeat(self, name: str) -> bool:
        """Whether a call that may have happened can be made again with the same key."""
        tool = self._tools.get(name)
        return tool is not None and tool.idempotent

    @cached_property
    def _by_person(self) -> bool:
        people, requester = self._chat.stores.people, self._turn.claim.requester_id
        key = people.models.parse_user_id(requester)
        with self._chat.stores.database.read() as tx:
            known = {} if key is None else people.authors(tx, [key])
        return any(handle is None for _, handle in known.values())

    def _work(self, tool: Tool, call: ToolCall, step: Step) -> Callable[[Cancel], str]:
        turn = self._turn

        def work(cancel: Cancel) -> str:
            context = ToolContext(
                requester_id=turn.claim.requester_id,
                orchestrator=turn.orchestrator,
                place=turn.claim.place,
                turn_id=step.turn_id,
                key=step.key,
                timezone=turn.charter.availability.timezone,
                cancel=cancel,
                chat=TurnChat(self._chat, turn.claim, turn.orchestrator, step.key),
            )
            return tool.call(call.arguments, context)

        return work


def wanted_tools(settings: Settings) -> dict[str, Tool]:
    """The built-in tools that the settings leave switched on, by name."""
    wanted = settings.builtin_tools.split(",")
    return {tool.name: tool for tool in builtin_tools() if "all" in wanted or tool.name in wanted}
