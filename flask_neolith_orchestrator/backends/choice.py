"""Which backend a setting means. Each is imported when it is first needed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..core.errors import SetupError
from ..core.model import Model
from ..core.ports import Channel, Dispatcher, Neighbours
from ..settings import Settings

log = logging.getLogger("flask_neolith_orchestrator")


class ModelChoice:
    """Gives the provider of a model's name. Lifetime: app, in one process; providers are made at their first use.

    Without a key everything is answered by the offline model, which says so.
    """

    def __init__(self, settings: Settings, choose: Callable[[str], Model] | None) -> None:
        self._settings = settings
        self._choose = choose
        self.override: Model | None = None
        self._lock = threading.Lock()
        self._made: dict[str, Model] = {}

    def __call__(self, name: str) -> Model:
        """The provider; the same one for the same name."""
        if self.override is not None:
            return self.override
        if self._choose is not None:
            return self._choose(name)
        provider = "scripted" if name == "scripted" or self._settings.api_key is None else "claude"
        with self._lock:
            if provider not in self._made:
                self._made[provider] = self._make(provider)
                if provider == "scripted" and name != "scripted":
                    log.warning(
                        "No ANTHROPIC_API_KEY: answers come from the offline model", extra={"action": "offline-model"}
                    )
            return self._made[provider]

    def _make(self, provider: str) -> Model:
        settings = self._settings
        if provider == "scripted":
            from .scripted import ScriptedModel

            return ScriptedModel(delay=settings.scripted_delay / 1000)
        from .claude import ClaudeModel

        return ClaudeModel(
            api_key=None if settings.api_key is None else settings.api_key.get_secret_value(),
            base_url=settings.base_url,
            connect_timeout=settings.connect_timeout / 1000,
            read_timeout=settings.read_timeout / 1000,
        )

    def close(self) -> None:
        """Close every provider. Safe twice."""
        with self._lock:
            made, self._made = self._made, {}
        for model in made.values():
            model.close()


def make_channel(socketio: Any) -> Channel:
    """The channel of an app with or without Flask-SocketIO. Raises UnsupportedServer for an async mode of greenlets."""
    if socketio is None:
        from .silent import SilentChannel

        return SilentChannel()
    from .socketio import SocketIOChannel, check_async_mode

    check_async_mode(socketio)
    return SocketIOChannel(socketio)


def make_dispatcher(settings: Settings, neighbours: Neighbours) -> Dispatcher:
    """The dispatcher of NEOLITH_ENGINE."""
    most = settings.max_concurrent_conversations
    patience = (settings.drain_time + settings.turn_timeout) / 1000 + 60.0
    if settings.engine == "embedded":
        from .embedded import EmbeddedDispatcher

        return EmbeddedDispatcher(
            max_threads=settings.max_threads, per_orchestrator=most, patience=patience, neighbours=neighbours
        )
    try:
        from .celery import CeleryDispatcher
    except ImportError as error:
        msg = "NEOLITH_ENGINE=celery needs Celery and Redis's client: pip install flask_neolith_orchestrator[celery]"
        raise SetupError(msg) from error
    return CeleryDispatcher(settings.broker_url, threads=settings.max_threads, per_orchestrator=most, patience=patience)


def make_neighbours(folder: Path, address: Any) -> Neighbours:
    """The other processes of this machine on the same database; `address` is SQLAlchemy's URL of it."""
    from .neighbours import Neighbours as SocketNeighbours

    where = str(Path(address.database or "").resolve()) if address.get_backend_name() == "sqlite" else address.database
    return SocketNeighbours(folder, f"{address.get_backend_name()}|{address.host}|{address.port}|{where}")


def celery_of(dispatcher: Dispatcher, *, begin: Callable[[], None], end: Callable[[], None]) -> Any:
    """Celery's app of a dispatcher; its worker calls `begin` before it takes hints, and `end` when it stops.

    Raises SetupError where another engine carries the work.
    """
    attend = getattr(dispatcher, "attend", None)
    if attend is None:
        msg = "There is no Celery here: set NEOLITH_ENGINE=celery."
        raise SetupError(msg)
    return attend(begin, end)
