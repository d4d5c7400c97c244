"""What the extension plugs into a house."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ..chat.tools import Toolkit
from ..core.model import Model
from ..core.money import Prices
from ..core.ports import Actions, Channel, ChatStore, Clock, Dispatcher, Neighbours
from ..settings import Settings
from ..store.people.people import DisplayName
from ..store.sql.database import Database
from ..store.tables.models import Models
from .broadcast.listeners import Context


class ModelChoice(Protocol):
    """Gives the provider of a model's name. Lifetime: app, in one process.

    `override`, where set, answers for every name (for tests).
    """

    override: Model | None

    def __call__(self, name: str) -> Model:
        """The provider; the same one for the same name."""
        ...

    def close(self) -> None:
        """Close every provider. Safe twice."""
        ...


class SystemClock:
    """The machine's clocks; on a server, rows use the database's."""

    database = True

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def wall(self) -> float:
        """Seconds since the epoch."""
        return time.time()


@dataclass(frozen=True, slots=True)
class Parts:
    """What takes the place of the real thing: in tests, or in a host that brings its own.

    `model_for(name)` gives the provider of every model; `actions` is what orchestrators can do in a chat of the host's.
    """

    clock: Clock = field(default_factory=SystemClock)
    model_for: Callable[[str], Model] | None = None
    channel: Channel | None = None
    dispatcher: Dispatcher | None = None
    actions: Actions | None = None


@dataclass(frozen=True, slots=True)
class Wiring:
    """What the extension plugs in. Lifetime: app. The callables are called once per process, `session` at each use."""

    settings: Settings
    models: Models
    clock: Clock
    open_database: Callable[[], Database]
    session: Callable[[], Any]
    scoped_session: Any
    context: Context
    scope: Callable[[Database], AbstractContextManager[Any]]
    make_neighbours: Callable[[], Neighbours]
    make_dispatcher: Callable[[Neighbours], Dispatcher]
    make_models: Callable[[], ModelChoice]
    prices: Prices
    channel: Channel
    display_name: DisplayName
    can_manage: Callable[[str, str], bool] | None
    chat_store: ChatStore | None
    actions: Actions | None
    toolkit: Toolkit
    state_dir: Path
    login_ttl: float
    check_schema: Callable[[], None]
