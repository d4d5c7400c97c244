"""The rounds of one attempt: the model is asked, its calls are run, and it is asked again until it has answered.

Each round is written down before any of its calls is run, and each call when it begins and when it ends. So another
attempt at the turn takes up where this one broke off: what has ended is never run again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from ...chat.metering import Meter, total
from ...chat.reading import Answer, Tried, add
from ...chat.rounds import BETWEEN, LIMIT_REACHED, STOPPED, UNCERTAIN, Round, continued, cost_of, rounds_of, said_in
from ...core.cancel import Cancel, Cancelled, StopReason
from ...core.errors import EmptyAnswer
from ...core.model import Block, ModelRequest
from ...core.steps import Parked, Step, StepState
from ...core.types import Claim, Usage
from ..tools.toolbox import Done, Toolbox
from .study import Study

LEAST_TIME: Final = 1.0
"""Seconds that a call may take, however little is left of its turn's time."""

MOST_RESULTS: Final = 200_000
"""Characters of all results of one turn, after which the model is asked to finish."""

LEAST_OUTPUT: Final = 256
"""Tokens that a last answer may have, however little is left of a turn's bound."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far one turn may go: rounds with calls, tokens of all its model calls together, and monotonic seconds.

    At a bound the model is asked once more, to finish without calls.
    """

    rounds: int
    tokens: int | None
    until: float


class Dialogue:
    """One attempt's talk with a model. Lifetime: the attempt, on its thread.

    `text`, `usage`, `calls` (of models) and `tried` are what there is so far, for when it ends early.
    """

    def __init__(
        self,
        claim: Claim,
        study: Study,
        toolbox: Toolbox,
        bounds: Bounds,
        cancel: Cancel,
        on_text: Callable[[str], None],
        meter: Meter | None = None,
    ) -> None:
        self.text = ""
        self.usage = Usage()
        self.calls = 0
        self.tried: tuple[Tried, ...] = ()
        self._claim = claim
        self._study = study
        self._toolbox = toolbox
        self._bounds = bounds
        self._cancel = cancel
        self._on_text = on_text
        self._responder = study.responder(meter)
        self._rounds: list[Round] = []
        self._apart = False

    @property
    def asked(self) -> str | None:
        """The model that was asked last."""
        return self._responder.asked

    def run(self, request: ModelRequest, retell: Callable[[int], ModelRequest] | None = None) -> Answer:
        """Ask until there is an answer, and give the text of all rounds on as it comes.

        `retell(tokens)` makes the request anew for a later round, with so much room left free: what was deleted
        meanwhile is not in it. Raises what `Responder.respond` does, and Parked where a call waits for somebody's word.
        """
        self._take_up()
        while True:
            if self._rounds:
                self._rounds[-1] = self._work(self._rounds[-1])
                request = request if retell is None else retell(cost_of(self._rounds))
            last = self._is_last()
            answer = self._ask(self._bounded(continued(request, self._rounds, self._toolbox.specs, last=last)))
            if last or not answer.tool_calls:
                return self._whole(answer)
            self._rounds.append(self._recorded(answer))

    def _take_up(self) -> None:
        """What another attempt at this turn has done: its text is said again, as the answer's row was emptied."""
        if self._claim.attempt == 1:
            return
        with self._study.stores.database.read() as tx:
            self._rounds = rounds_of(self._study.stores.steps.of(tx, self._claim.turn_id))
        text = said_in(self._rounds)
        if text:
            self._say(text)

    def _say(self, text: str) -> None:
        if self._apart and self.text:
            text = BETWEEN + text
        self._apart = False
        self.text += text
        self._on_text(text)

    def _ask(self, request: ModelRequest) -> Answer:
        self._apart = True
        self.calls += 1
        try:
            answer = self._responder.respond(request, self._cancel, self._say)
        except EmptyAnswer as error:
            if not self.text or not self._rounds:
                raise
            # it has said what there was to say before its calls
            return Answer("", Usage(), "end_turn", request.model, None, 1, error.request_id)
        self.calls += answer.calls - 1
        self.usage = add(self.usage, answer.usage)
        self.tried += answer.tried
        return answer

    def _is_last(self) -> bool:
        bounds = self._bounds
        return bool(self._rounds) and (
            len(self._rounds) >= bounds.rounds
            or (bounds.tokens is not None and total(self.usage) >= bounds.tokens)
            or sum(one.weight for one in self._rounds) >= MOST_RESULTS
            or self._study.clock.monotonic() >= bounds.until
        )

    def _bounded(self, request: ModelRequest) -> ModelRequest:
        if self._bounds.tokens is None:
            return request
        left = max(self._bounds.tokens - total(self.usage), LEAST_OUTPUT)
        return replace(request, max_tokens=min(request.max_tokens, left))

    def _whole(self, answer: Answer) -> Answer:
        """The last round's answer as that of all rounds."""
        if not self.text:  # it called tools although it was told to finish
            self._say(LIMIT_REACHED)
        if not self._rounds and not answer.tool_calls:  # there was one round, and its answer is the whole
            return answer
        return replace(answer, text=self.text, usage=self.usage, calls=self.calls, tool_calls=(), tried=self.tried)

    def _recorded(self, answer: Answer) -> Round:
        self._cancel.check()
        planned = [self._toolbox.plan(call) for call in answer.tool_calls]
        content: tuple[Block, ...] = answer.content
        if not content:
            content = (*([answer.text] if answer.text else []), *answer.tool_calls)
        stores = self._study.stores
        found = stores.database.run(lambda tx: stores.steps.record(tx, self._claim, content, answer.text, planned))
        if isinstance(found, StopReason):
            raise self._ended(found)
        return rounds_of(found)[0]

    def _work(self, current: Round) -> Round:
        """Run what may be run of a round's calls. Raises Parked where somebody must be asked about the rest."""
        for step in current.open_calls():
            if step.state is not StepState.WAITING:
                current = current.with_step(self._run(step))
        waiting = current.open_calls()
        if waiting:
            raise Parked(waiting)
        return current

    def _run(self, step: Step) -> Step:
        self._cancel.check()
        name = "" if step.call is None else step.call.name
        if step.state is StepState.RUNNING and not self._toolbox.may_repeat(name):
            return self._finish(step, Done(UNCERTAIN, is_error=True))
        stores = self._study.stores
        reason = stores.database.run(lambda tx: stores.steps.begin(tx, self._claim, step))
        if reason is not None:
            raise self._ended(reason)
        seconds = max(self._bounds.until - self._study.clock.monotonic(), LEAST_TIME)
        try:
            done = self._toolbox.run(step, self._cancel, seconds)
        except Cancelled:
            if self._cancel.reason is StopReason.PERSON:  # nobody comes back to it
                self._finish(step, Done(STOPPED, is_error=True))
            raise
        return self._finish(step, done)

    def _finish(self, step: Step, done: Done) -> Step:
        stores = self._study.stores
        reason = stores.database.run(
            lambda tx: stores.steps.finish(tx, self._claim, step, done.result, is_error=done.is_error)
        )
        if reason is not None:
            raise self._ended(reason)
        return replace(step, state=StepState.FAILED if done.is_error else StepState.DONE, result=done.result)

    def _ended(self, reason: StopReason) -> Cancelled:
        """The turn was asked to end, or is somebody else's."""
        self._cancel.set(reason)
        return Cancelled()
