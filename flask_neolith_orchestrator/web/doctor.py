"""`flask neolith doctor`: looks at the app's whole setup and says what to do."""

from __future__ import annotations

from collections.abc import Callable

from flask import current_app

from ..core.errors import NeolithError
from ..core.types import DaemonStatus
from ..runtime.state import State

Say = Callable[[str], object]


def examine(state: State, say: Say) -> bool:
    """Check each part and say how it is; True if nothing must be mended."""
    try:
        _ = state.house
    except NeolithError as error:
        return _bad(say, f"setup: {error}")
    checks = (_mode, _database, _model, _sockets, _bell, _scheduler, _daemons, _inbox)
    found = [check(state, say) for check in checks]  # every one of them, whatever an earlier one says
    return all(found)


def _ok(say: Say, what: str) -> bool:
    say(f"ok    {what}")
    return True


def _note(say: Say, what: str) -> bool:
    say(f"note  {what}")
    return True


def _bad(say: Say, what: str) -> bool:
    say(f"BAD   {what}")
    return False


def _mode(state: State, say: Say) -> bool:
    if state.settings.mode:
        return _ok(say, "ORCHESTRATOR_MODE is on.")
    return _bad(say, "ORCHESTRATOR_MODE is off: no daemon starts. Set ORCHESTRATOR_MODE=true.")


def _database(state: State, say: Say) -> bool:
    try:
        state.wiring.check_schema()
    except NeolithError as error:
        return _bad(say, f"database: {error}")
    except Exception as error:  # noqa: BLE001 -- whatever the database says is the finding
        return _bad(say, f"database: cannot be reached ({type(error).__name__}). Look at SQLALCHEMY_DATABASE_URI.")
    database = state.house.database
    if not database.threads:
        return _bad(say, "database: it is in memory or has one connection. Use a SQLite file or Postgres.")
    apart = set(state.house.stores.nodes.others()) - state.house.neighbours.names()
    if apart and state.wiring.channel.health().get("queue") is False:
        _note(
            say,
            f"{len(apart)} process(es) on this database cannot be told anything by those of this machine. For live "
            "updates between machines give SocketIO a message_queue.",
        )
    return _ok(say, f"database: {database.dialect.name}, tables are there.")


def _model(state: State, say: Say) -> bool:
    settings = state.settings
    missing = state.house.model_for(settings.model).check()
    if missing:
        return _bad(say, f"model: {missing}")
    if settings.model == "scripted" or settings.api_key is None:
        return _note(say, "model: the offline model answers. Set ANTHROPIC_API_KEY to talk to Claude.")
    return _ok(say, f"model: {settings.model}, a key is set (it is not tried).")


def _sockets(_state: State, say: Say) -> bool:
    socketio = current_app.extensions.get("socketio")
    if socketio is None:
        return _note(say, "Socket.IO: the app has none, so nothing is shown live. Give socketio= to init_app.")
    origins = socketio.server_options.get("cors_allowed_origins")
    if origins == "*" or origins == []:
        return _bad(say, f"Socket.IO: cors_allowed_origins={origins!r} lets every site in. Name your origins.")
    return _ok(say, "Socket.IO: there, and foreign origins are refused.")


def _bell(state: State, say: Say) -> bool:
    if state.settings.engine == "embedded":
        return _ok(say, "bell: processes with threads run turns by themselves (NEOLITH_ENGINE=embedded).")
    try:
        missing = state.house.dispatcher.check()
        with state.house.database.read() as tx:
            workers = [one for one in state.house.stores.nodes.survey(tx) if one.alive and one.threads]
    except Exception as error:  # noqa: BLE001 -- the database's own finding is above
        return _bad(
            say, f"bell: cannot be looked at ({error if isinstance(error, NeolithError) else type(error).__name__})."
        )
    if missing:
        return _bad(say, f"bell: {missing}")
    if not workers:
        return _bad(say, "bell: Redis answers, but no worker runs. Start `flask neolith worker`.")
    if state.wiring.channel.health().get("queue") is False:
        return _bad(say, "bell: workers cannot reach browsers. Give SocketIO a message_queue, the same everywhere.")
    return _ok(
        say, f"bell: Redis answers, {len(workers)} worker(s) with {sum(one.threads or 0 for one in workers)} threads."
    )


def _scheduler(state: State, say: Say) -> bool:
    start = "flask neolith " + ("run" if state.settings.engine == "embedded" else "worker")
    try:
        with state.house.database.read() as tx:
            alive = [one for one in state.house.stores.nodes.survey(tx) if one.alive]
    except Exception as error:  # noqa: BLE001 -- the database's own finding is above
        return _bad(say, f"scheduler: cannot be read ({type(error).__name__}).")
    if not alive:
        return _note(say, "scheduler: no process runs daemons now. They start with the app's first request.")
    able = sum(1 for one in alive if one.threads != 0)
    if not able:
        return _bad(say, f"scheduler: none of {len(alive)} process(es) runs turns. Start `{start}`.")
    return _ok(say, f"scheduler: {able} of {len(alive)} process(es) can run turns.")


def _daemons(state: State, say: Say) -> bool:
    try:
        states = state.house.manager.get_all_daemon_statuses()
    except Exception as error:  # noqa: BLE001 -- the database's own finding is above
        return _bad(say, f"daemons: cannot be read ({type(error).__name__}).")
    failed = [one for one in states if one.status is DaemonStatus.ERROR]
    if failed:
        shown = "; ".join(f"@{one.orchestrator.handle}: {one.last_error}" for one in failed[:5])
        return _bad(say, f"daemons: {len(failed)} have failed. Mend it and start them again. {shown}")
    return _ok(say, "daemons: none has failed.")


def _inbox(state: State, say: Say) -> bool:
    try:
        with state.house.database.read() as tx:
            failed = state.house.turns.deliveries(tx, states=["failed"], limit=100)
    except Exception as error:  # noqa: BLE001 -- the database's own finding is above
        return _bad(say, f"inbox: cannot be read ({type(error).__name__}).")
    if failed:
        return _note(say, f"inbox: {len(failed)} dead letters. `flask neolith deliveries --state failed` lists them.")
    return _ok(say, "inbox: no dead letters.")
