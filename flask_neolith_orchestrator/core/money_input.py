"""What people write about money in settings, read and checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

KINDS: Final = ("input", "output", "cache_read", "cache_write")
"""Kinds of tokens that have a price."""

LIMITS: Final = tuple(f"{what}_per_{period}" for what in ("tokens", "cost") for period in ("hour", "day", "month"))
"""Names of limits, in a charter and in NEOLITH_PERSON_BUDGET."""

CACHE_WRITE: Final = 1.25
"""What a token written to the cache costs of a plain one, where nothing else is said."""


def read_prices(value: object) -> Mapping[str, Mapping[str, float]]:
    """Dollars for a million tokens of each kind, by a model's name: a mapping, its JSON, or the path of a JSON file.

    Where `cache_read` is not given it costs as much as `input`, and `cache_write` a quarter more. Raises ValueError.
    """
    return {str(name): _price(str(name), price) for name, price in _mapping(value, files=True).items()}


def _price(name: str, given: object) -> Mapping[str, float]:
    if not isinstance(given, Mapping) or not {"input", "output"} <= set(given) <= set(KINDS):
        raise ValueError(f"{name}: give input and output, and perhaps cache_read and cache_write")
    found = {str(kind): _amount(f"{name}.{kind}", price) for kind, price in given.items()}
    return {"cache_read": found["input"], "cache_write": found["input"] * CACHE_WRITE, **found}


def read_limits(value: object) -> Mapping[str, float]:
    """Limits such as tokens_per_day and cost_per_month: a mapping, or its JSON. Raises ValueError."""
    found = _mapping(value, files=False)
    unknown = [str(name) for name in found if name not in LIMITS]
    if unknown:
        raise ValueError(f"unknown limit {', '.join(unknown)}; known are {', '.join(LIMITS)}")
    return {name: _amount(name, limit) for name, limit in found.items() if limit is not None}


def _amount(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e15:
        raise ValueError(f"{name}: a number of at least 0 is expected")
    return value


def _mapping(value: object, *, files: bool) -> Mapping[Any, Any]:
    if isinstance(value, str):
        value = _parsed(value.strip(), files=files)
    if not isinstance(value, Mapping):
        raise ValueError("a mapping (JSON) is expected")  # noqa: TRY004 -- pydantic collects these
    return value


def _parsed(text: str, *, files: bool) -> object:
    if not text:
        return {}
    try:
        if files and not text.startswith("{"):
            text = Path(text).read_text(encoding="utf-8")
        return json.loads(text)
    except OSError as error:
        raise ValueError(f"the file cannot be read: {error.strerror}") from None
    except ValueError:
        raise ValueError("this is not JSON") from None
