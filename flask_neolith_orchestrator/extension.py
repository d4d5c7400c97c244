"""NeolithOrchestrator: the only place that wires parts together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask, current_app, has_app_context

from .backends.choice import ModelChoice, celery_of, make_channel, make_dispatcher, make_neighbours
from .backends.prices import PackagedPrices
from .chat.tools import Toolkit
from .cli.group import make_group
from .core.errors import AlreadyInitialised, NeedsServer, NotInitialised, OpenTransaction
from .core.ports import ChatStore
from .core.types import IncomingMessage, OrchestratorDaemonConfig
from .runtime.arrival.intake import Accepted
from .runtime.chatting.chat import Chat
from .runtime.chatting.directory import Directory
from .runtime.daemons.daemon import OrchestratorDaemon
from .runtime.daemons.manager import OrchestratorDaemonManager
from .runtime.house import House
from .runtime.state import State
from .runtime.wiring import Parts, Wiring
from .settings import Settings, load_settings
from .store import schema
from .store.people.people import default_display_name
from .store.sql import engines
from .store.sql.database import Database
from .store.sql.sqlite_host import has_begun_to_write
from .store.tables.models import Models, make_models
from .web import login


class NeolithOrchestrator:
    """The extension. Make one at module level, below the User class; call `init_app` for each app.

    `db` is the Flask-SQLAlchemy object, `user_model` the mapped User class with `OrchestratorUserMixin`. The mapped
    classes are in `models` from here on, so that migrations see them. Holds no app: state is per app.
    `@neolith.tool` lets orchestrators call a function (see `chat.tools.Toolkit.tool`).
    """

    def __init__(self, *, db: Any, user_model: type[Any]) -> None:
        self.db = db
        self.models: Models = make_models(user_model)
        self.tools = Toolkit()
        self.tool = self.tools.tool

    def init_app(
        self,
        app: Flask,
        socketio: Any = None,
        *,
        display_name: Callable[[Any], str] | None = None,
        can_manage: Callable[[str, str], bool] | None = None,
        chat_store: ChatStore | None = None,
        register_blueprint: bool = True,
        parts: Parts | None = None,
    ) -> None:
        """Wire the extension to an app. Starts nothing: that happens at the first request, socket or manager call.

        `socketio` is the Flask-SocketIO object, in any state of initialisation, or None. `display_name(user)` says
        how a user is called, `can_manage(user_id, organization_id)` who manages. `chat_store` is the host's own
        chat (see core.ports.ChatStore). `parts` takes the place of clock and models in tests. The settings (see
        `settings.Settings` for each) are read here, once, from `app.config`, else from the environment:

        ORCHESTRATOR_MODE, NEXT_PUBLIC_ORCHESTRATOR_MODE, DAEMON_AUTO_START, DAEMON_AUTO_RESPOND,
        DAEMON_HEARTBEAT_INTERVAL, DAEMON_HEALTH_CHECK_INTERVAL, DAEMON_AUTO_RESTART, DAEMON_MAX_RESTART_ATTEMPTS,
        DAEMON_RESTART_WINDOW, DAEMON_RESTART_DELAY, DAEMON_VERBOSE, DAEMON_MAX_CONCURRENT_CONVERSATIONS,
        DAEMON_STOP_ON, DAEMON_STOP_TIMEOUT, DAEMON_LOGIN_TTL, DAEMON_MAX_QUEUE, DAEMON_MAX_AGE,
        DAEMON_MAX_ATTEMPTS, DAEMON_DEBOUNCE, DAEMON_TURN_TIMEOUT, DAEMON_REPLY_IN, DAEMON_LEASE,
        NEOLITH_LOOP_EXCHANGES, NEOLITH_LOOP_WINDOW, NEOLITH_PUBLIC_URL, NEOLITH_MODEL, NEOLITH_RATE_POSTS,
        DAEMON_RENEW_INTERVAL, DAEMON_SWEEP_INTERVAL, DAEMON_DRAIN_TURNS, DAEMON_DRAIN_TIME, NEOLITH_SUMMARY_AFTER,
        ANTHROPIC_API_KEY, ANTHROPIC_BASE_URL, NEOLITH_MAX_TOKENS, NEOLITH_CONTEXT_TOKENS, NEOLITH_HISTORY_LIMIT,
        NEOLITH_SESSION_IDLE, NEOLITH_SUMMARY_MODEL, NEOLITH_SCRIPTED_DELAY, NEOLITH_ENGINE, NEOLITH_BROKER_URL,
        NEOLITH_MAX_THREADS, NEOLITH_URL_PREFIX, NEOLITH_DASHBOARD_NAME, NEOLITH_DASHBOARD_LINK, NEOLITH_STATE_DIR,
        NEOLITH_SQLITE_PRAGMAS, NEOLITH_DELTA_INTERVAL, NEOLITH_KEEP_AUDIT, NEOLITH_KEEP_HISTORY,
        NEOLITH_PRICES, NEOLITH_PERSON_BUDGET, NEOLITH_KEEP_LEDGER, NEOLITH_RATE_ORCHESTRATOR, NEOLITH_RATE_PERSON,
        NEOLITH_CONNECT_TIMEOUT, NEOLITH_READ_TIMEOUT, NEOLITH_CHECKPOINT_INTERVAL, NEOLITH_MAX_MESSAGE_LENGTH,
        NEOLITH_TOOL_ROUNDS, NEOLITH_TOOL_TIMEOUT, NEOLITH_BUILTIN_TOOLS, NEOLITH_APPROVAL_TIMEOUT,
        NEOLITH_MAX_ANSWER_LENGTH, NEOLITH_FALLBACK_MODELS.

        Raises ConfigurationError naming every bad key, AlreadyInitialised, or UnsupportedServer.
        """
        if "neolith" in app.extensions:
            raise AlreadyInitialised
        settings = load_settings(app.config, os.environ)
        parts = parts or Parts()
        wiring = Wiring(
            settings=settings,
            models=self.models,
            clock=parts.clock,
            open_database=lambda: self._open_database(app, wiring),
            session=lambda: self.db.session(),
            scoped_session=self.db.session,
            context=app.app_context,
            scope=lambda database: self._scope(app, database.threads),
            make_neighbours=lambda: make_neighbours(wiring.state_dir, self._engine(app).url),
            make_dispatcher=lambda others: parts.dispatcher or make_dispatcher(settings, others),
            make_models=lambda: ModelChoice(settings, parts.model_for),
            prices=PackagedPrices(settings.prices),
            channel=parts.channel or make_channel(socketio),
            display_name=display_name or default_display_name,
            can_manage=can_manage,
            chat_store=chat_store,
            actions=parts.actions,
            toolkit=self.tools,
            state_dir=Path(settings.state_dir or Path(app.instance_path) / "neolith"),
            login_ttl=(settings.login_ttl or app.permanent_session_lifetime.total_seconds() * 1000) / 1000,
            check_schema=self._schema_check(app),
        )
        state = State(wiring, self)
        app.extensions["neolith"] = state
        login.register(app, state)
        if register_blueprint:
            from .web import blueprint  # here, as most of what importing us would cost is in it

            blueprint.register(app, state)
        if socketio is not None:
            from .web import sockets  # here for the same reason

            sockets.register_sockets(socketio, state)
        app.cli.add_command(make_group(state))
        app.context_processor(lambda: {"neolith_orchestrator_mode": settings.shown_mode})

    @property
    def manager(self) -> OrchestratorDaemonManager:
        """The daemons of the current app in this process."""
        return state_of().house.manager

    @property
    def chat(self) -> Chat:
        """The bundled chat of the current app; it works in the host's session and never commits."""
        return _checked_house().chat

    @property
    def directory(self) -> Directory:
        """Organizations and orchestrators of the current app, for seeds and the host's own code."""
        return _checked_house().directory

    @property
    def settings(self) -> Settings:
        """The settings of the current app."""
        return state_of().settings

    @property
    def celery(self) -> Any:
        """Celery's app of the current app, for `celery -A` and its tools. Raises SetupError with another engine."""
        state = state_of()
        return celery_of(
            state.house.dispatcher, begin=lambda: state.ensure_started(wait=True), end=lambda: state.close()
        )

    def get_orchestrator(self, user_id: object) -> OrchestratorDaemon | None:
        """The daemon of a user's orchestrator in this process, made if need be; None if the user is none."""
        house = _checked_house()
        with house.database.read() as tx:
            orchestrator_id = house.people.orchestrator_id(tx, str(user_id))
        return None if orchestrator_id is None else house.manager.daemon_for(orchestrator_id)

    def accept(
        self, message: IncomingMessage, *, to: Sequence[str] | None = None, session: Any = None
    ) -> list[Accepted]:
        """Accept a message of the host's own chat durably, in the host's session; nothing is committed.

        `to` names orchestrators (by id) that it is for; else the wake rules decide among the members of its
        channel. One Accepted for each orchestrator that it wakes.
        """
        return _checked_house().intake.accept(message, to, session)

    def stop(self, message_id: str, user_id: str, *, channel_id: str | None = None) -> str:
        """Stop the answers to a message (or one answer, by its own id): for who asked, and who manages it.

        For a host with a chat of its own; in a channel that is only mirrored here give the host's `channel_id` too.
        Returns running (it ends now), waiting (it had not begun) or over. Raises NotFound and Forbidden.
        """
        house = state_of().house
        return str(house.intake.stop(message_id, str(user_id), channel_id, house.chat.can_manage))

    def run_until_idle(self, timeout: float = 10.0) -> None:
        """Work until nothing is ready, for tests. Raises TimeoutError after `timeout` seconds."""
        _checked_house().run_until_idle(timeout)

    def create_tables(self) -> list[str]:
        """Make our tables (and the two user columns) that are not there yet; returns their names."""
        return schema.create_tables(self.models, self._engine(_app()))

    def shutdown(self, app: Flask | None = None, timeout: float | None = None) -> None:
        """Stop an app's runtime in this process within `timeout` seconds (default DAEMON_STOP_TIMEOUT).

        Safe twice. Runs by itself when the interpreter ends.
        """
        state: State = (app or _app()).extensions["neolith"]
        state.close(timeout)

    @property
    def _bind(self) -> str | None:
        key: str | None = self.models.user.metadata.info.get("bind_key")
        return key

    def _engine(self, app: Flask) -> Any:
        with app.app_context():
            return self.db.engines[self._bind]

    def _open_database(self, app: Flask, wiring: Wiring) -> Database:
        engine = self._engine(app)
        if wiring.settings.engine != "embedded" and engine.dialect.name == "sqlite":
            raise NeedsServer
        engines.prepare(engine, pragmas=wiring.settings.sqlite_pragmas)
        return engines.open_database(
            engine, wiring.clock, lambda: self.db.session(), pragmas=wiring.settings.sqlite_pragmas
        )

    def _schema_check(self, app: Flask) -> Callable[[], None]:
        checked = False

        def check() -> None:
            nonlocal checked
            if not checked:
                schema.check(self.models, self.db.session.connection() if self._is_alone(app) else self._engine(app))
                checked = True

        return check

    def _is_alone(self, app: Flask) -> bool:
        """Whether a second connection would wait for the caller, who is in the middle of something on the first."""
        if not has_app_context():
            return False
        in_memory = not app.extensions["neolith"].house.database.threads
        return in_memory or (self._is_sqlite(app) and has_begun_to_write(self.db.session()))

    @contextmanager
    def _scope(self, app: Flask, threads: bool) -> Iterator[Any]:
        """A session of our own, committed at the end; the caller's, where there can be only one."""
        if not threads:
            yield self.db.session
            return
        if has_app_context() and self._is_sqlite(app) and has_begun_to_write(self.db.session()):
            raise OpenTransaction
        with app.app_context():
            try:
                yield self.db.session
                self.db.session.commit()
            except BaseException:
                self.db.session.rollback()
                raise

    def _is_sqlite(self, app: Flask) -> bool:
        name: str = self._engine(app).dialect.name
        return name == "sqlite"


def _app() -> Flask:
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001 -- Flask's documented way
    return app


def state_of() -> State:
    """The current app's state. Raises NotInitialised."""
    if not has_app_context():
        msg = "There is no current app. Use `with app.app_context():` around this call."
        raise NotInitialised(msg)
    try:
        state: State = current_app.extensions["neolith"]
    except KeyError:
        raise NotInitialised from None
    return state


def _checked_house() -> House:
    """The parts in this process, once the tables are known to be there. Raises SchemaMissing with the commands."""
    state = state_of()
    state.wiring.check_schema()
    return state.house


def get_daemon_manager(*arguments: object) -> OrchestratorDaemonManager:
    """The current app's manager. Takes no configuration: settings are read by `init_app`, from `app.config`."""
    if arguments:
        msg = "get_daemon_manager takes no configuration: set DAEMON_... in app.config before init_app."
        raise TypeError(msg)
    return state_of().house.manager


def create_orchestrator_daemon(config: OrchestratorDaemonConfig) -> OrchestratorDaemon:
    """The current app's daemon of `config.orchestrator` (an id, a row or a snapshot), not started.

    Values of the config that are not None win over the app's settings, for this process.
    """
    daemon = state_of().house.manager.daemon_for(config.orchestrator)
    daemon.configure(config)
    return daemon


def should_run_daemon(user: object) -> bool:
    """Whether a user is an orchestrator, so that a login starts a daemon."""
    return getattr(user, "is_orchestrator", False) is True
