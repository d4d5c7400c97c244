"""What a turn needs to think, in one hand: whom it asks, and by which charter."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from ...chat.breaker import Breaker
from ...chat.charter import Charter
from ...chat.charter_text import render
from ...chat.metering import Meter, estimate_tools
from ...chat.responder import Responder
from ...core.model import Model, ToolSpec
from ...core.money import Purse
from ...core.ports import Clock
from ...core.remembered import Remembered
from ...core.types import Claim, OrchestratorSnapshot
from ...settings import Settings
from ...store.stores import Stores
from ..charters.book import CharterBook
from ..money.treasury import Treasury
from ..tools.toolbox import NoTools, Toolbox


@dataclass(frozen=True, slots=True)
class Study:
    """Lifetime: app, in one process; used by many threads.

    `model_for` gives the provider of a model's name, `toolbox_for` the tools of one attempt, `sum_up` takes wishes for
    summaries of a turn's session, on account of an organization and its purses. `prompts` and `tool_tokens` are made
    once for each charter and each choice of tools.
    """

    model_for: Callable[[str], Model]
    breaker: Breaker
    settings: Settings
    clock: Clock
    stores: Stores
    charters: CharterBook
    treasury: Treasury
    toolbox_for: Callable[[Claim, OrchestratorSnapshot, Charter], Toolbox] = lambda *_about: NoTools()
    sum_up: Callable[[Claim, str, tuple[Purse, ...]], None] = lambda *_about: None
    jitter: Callable[[], float] = random.random
    prompts: Remembered[Charter, str] = field(default_factory=lambda: Remembered(render))
    tool_tokens: Remembered[tuple[ToolSpec, ...], int] = field(default_factory=lambda: Remembered(estimate_tools))

    def responder(self, meter: Meter | None) -> Responder:
        """Who asks the models for one attempt."""
        return Responder(self.model_for, meter=meter, breaker=self.breaker, monotonic=self.clock.monotonic)
