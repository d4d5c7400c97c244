"""All that turns think with, wired: models, charters, money, tools and summaries."""

from __future__ import annotations

from ...chat.breaker import Breaker
from ...core.ports import Clock
from ...settings import Settings
from ...store.stores import Stores
from ..charters.book import CharterBook
from ..money.tab import Teller
from ..money.treasury import Treasury
from ..tools.toolboxes import Toolboxes
from ..wiring import Wiring
from .study import Study
from .summaries import Summaries


class Thinking:
    """Lifetime: app, in one process. `teller` tells people of budgets.

    `toolboxes` are given once the chat is there, before the first turn.
    """

    toolboxes: Toolboxes

    def __init__(self, wiring: Wiring, stores: Stores, charters: CharterBook, teller: Teller) -> None:
        settings: Settings = wiring.settings
        clock: Clock = wiring.clock
        self.models = wiring.make_models()
        self.treasury = Treasury(stores, settings, wiring.prices, charters, teller)
        self.study = Study(
            self.models,
            Breaker(monotonic=clock.monotonic),
            settings,
            clock,
            stores,
            charters,
            self.treasury,
            toolbox_for=lambda *about: self.toolboxes.of(*about),
            sum_up=lambda *about: self.summaries.put(*about),
        )
        self.summaries = Summaries(self.study)
