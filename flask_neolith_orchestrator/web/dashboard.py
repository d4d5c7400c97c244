"""The dashboard: one page that lists the daemons the viewer may see. Its script uses the API like any client."""

from __future__ import annotations

from typing import Final

from flask import Response, current_app, make_response, render_template, url_for
from werkzeug.wrappers import Response as AnyResponse

from ..runtime.state import State
from .auth import by_cookie

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing inline, nothing from elsewhere, in nobody's frame."""


def show() -> AnyResponse:
    """The page, for those who have logged in; others are sent where the host sends them."""
    state: State = current_app.extensions["neolith"]
    state.ensure_started()
    identity = by_cookie(state)
    if identity is None:
        manager = getattr(current_app, "login_manager", None)
        return Response(status=401) if manager is None else current_app.make_response(manager.unauthorized())
    response = make_response(
        render_template(
            "neolith/dashboard.html",
            api=url_for("neolith.list_orchestrators").rpartition("/")[0],
            live="socketio" in current_app.extensions,
            mode=state.settings.shown_mode,
            name=state.house.people.name_of(identity.user),
        )
    )
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["Cache-Control"] = "no-store"
    return response
