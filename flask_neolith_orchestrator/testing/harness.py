"""For the host app's own tests: put a model in, and work until nothing is left to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask

from ..core.errors import NotInitialised
from ..core.model import Model
from ..runtime.state import State


def _state(app: Flask) -> State:
    try:
        state: State = app.extensions["neolith"]
    except KeyError:
        raise NotInitialised from None
    return state


@contextmanager
def use_model(app: Flask, model: Model) -> Iterator[Model]:
    """Let `model` answer everything in this app while the block runs, whatever the settings say.

    Raises NotInitialised for an app without the extension.
    """
    choice = _state(app).house.model_for
    before, choice.override = choice.override, model
    try:
        yield model
    finally:
        choice.override = before


def run_until_idle(app: Flask, timeout: float = 10.0) -> None:
    """Work until every accepted message has been dealt with.

    On a database file it waits for the daemons' threads. On SQLite in memory, which threads cannot share, it works
    in the caller's thread and in the caller's `db.session`, for everybody who has been addressed; committing stays
    the caller's. Needs an app context there. Raises OrchestratorModeOff, and TimeoutError after `timeout` seconds.
    """
    _state(app).house.run_until_idle(timeout)


def shutdown(app: Flask, timeout: float = 2.0) -> None:
    """End the app's runtime in this process, as in a fixture's teardown. Safe twice."""
    _state(app).close(timeout)
