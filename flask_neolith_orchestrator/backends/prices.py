"""What models cost, by the package genai-prices: its data comes with it, and nothing is fetched at run time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Any, Final

from ..core.types import Usage

log = logging.getLogger("flask_neolith_orchestrator")

FREE: Final = "scripted"
"""The offline model: it asks nobody, so its price is known, and is nothing."""

PROVIDER: Final = "anthropic"
_MILLION: Final = 1_000_000
_KINDS: Final = ("input", "output", "cache_read", "cache_write")


class PackagedPrices:
    """Implements `core.money.Prices`. Lifetime: app, in one process; safe for all threads.

    `own` gives prices by a model's name, in dollars for a million tokens of each kind: they win over the package's. A
    name is also that of its dated versions (`name-20260101`).
    """

    def __init__(self, own: Mapping[str, Mapping[str, float]]) -> None:
        self._own = own
        self._lock = threading.Lock()
        self._unknown: set[str] = set()

    def cost(self, model: str, usage: Usage) -> float | None:
        """Dollars for one call; None where nobody knows."""
        counts = (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens, usage.cache_write_tokens)
        if model == FREE or not any(counts):
            return 0.0
        own = self._own_price(model)
        if own is not None:
            return sum(own[kind] * count for kind, count in zip(_KINDS, counts, strict=True)) / _MILLION
        with self._lock:
            if model in self._unknown:
                return None
        cost = _packaged(model, usage)
        if cost is None:
            with self._lock:
                self._unknown.add(model)
            log.warning("Nobody knows what the model %s costs: see NEOLITH_PRICES", model, extra={"action": "unpriced"})
        return cost

    def _own_price(self, model: str) -> Mapping[str, float] | None:
        found = self._own.get(model)
        if found is None:
            name, _, date = model.rpartition("-")
            found = self._own.get(name) if date.isdecimal() else None
        return found


def _packaged(model: str, usage: Usage) -> float | None:
    from genai_prices import Usage as Tokens  # here, as it takes a tenth of a second
    from genai_prices import calc_price

    tokens: Any = Tokens(
        # theirs is the whole input, of which some was read from the cache and some written to it
        input_tokens=usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
    )
    try:
        return float(calc_price(tokens, model, provider_id=PROVIDER).total_price)
    except LookupError:
        return None
