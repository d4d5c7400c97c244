"""Who is in the soak. The people have the first user ids, in this order, and the orchestrators those behind them."""

from __future__ import annotations

PEOPLE = ("maya", "omar", "kim", "lena")
ORCHESTRATORS = ("ada", "leo", "eve")
