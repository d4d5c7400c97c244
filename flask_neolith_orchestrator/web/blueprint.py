"""The blueprint: every route of the API, the dashboard, and the static files. One blueprint per app."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from typing import Any, Final

from flask import Blueprint, Flask, Response, current_app, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import MapAdapter

from ..runtime.state import State
from . import csrf, dashboard, openapi
from .api import (
    answers,
    audit,
    budget,
    channels,
    charters,
    deliveries,
    explain,
    figures,
    health,
    history,
    keys,
    me,
    messages,
    nodes,
    orchestrators,
    organization_charters,
    sessions,
    spending,
    turn_list,
    turns,
)
from .calls import Call, Route, view_of
from .problem import Problem

NAME: Final = "neolith"
API: Final = "/api/v1"
METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")

ROUTES: Final = (
    *orchestrators.ROUTES,
    *charters.ROUTES,
    *organization_charters.ROUTES,
    *channels.ROUTES,
    *messages.ROUTES,
    *sessions.ROUTES,
    *explain.ROUTES,
    *answers.ROUTES,
    *deliveries.ROUTES,
    *turns.ROUTES,
    *keys.ROUTES,
    *budget.ROUTES,
    *spending.ROUTES,
    *health.ROUTES,
    *me.ROUTES,
    *nodes.ROUTES,
    *turn_list.ROUTES,
    *figures.ROUTES,
    *history.ROUTES,
    *audit.ROUTES,
)
"""All routes but the one that describes them."""


def register(app: Flask, state: State) -> Blueprint:
    """Mount the blueprint on an app. To be called from init_app."""
    blueprint = make_blueprint(state)
    app.register_blueprint(blueprint)
    csrf.exempt(app, blueprint)
    return blueprint


def make_blueprint(state: State) -> Blueprint:
    """A blueprint named neolith, at NEOLITH_URL_PREFIX. Lifetime: app."""
    prefix = state.settings.url_prefix
    blueprint = Blueprint(
        NAME,
        __name__,
        url_prefix=prefix,
        template_folder="templates",
        static_folder="static",
        static_url_path="/static",
    )

    for route in (*ROUTES, _DESCRIBING):
        blueprint.add_url_rule(f"{API}/{route.rule}", route.name, view_of(route), methods=[route.method])
    blueprint.add_url_rule(f"{API}/<path:_rest>", "unknown", unknown, methods=METHODS)
    dashboard.add_pages(blueprint)
    return blueprint


def show_openapi(call: Call) -> dict[str, Any]:
    """This document."""
    return _described(call.state.settings.url_prefix)


@cache
def _described(prefix: str) -> dict[str, Any]:
    """The document of an API at `prefix`; made once, as the routes are always the same."""
    routes = (*ROUTES, _DESCRIBING)
    return openapi.document(routes, version=version("flask_neolith_orchestrator"), prefix=f"{prefix}{API}")


_DESCRIBING: Final = Route("GET", "openapi.json", show_openapi, "Describe the API", "health", public=True)


def unknown(_rest: str) -> Response:
    """What is no route: 405 with the methods that would be one, else 404; both as problem details."""
    adapter = current_app.create_url_adapter(request)
    allowed = [] if adapter is None else [method for method in METHODS if _leads_somewhere(adapter, method)]
    if allowed:
        return Problem(405, "This address takes other methods.", headers={"Allow": ", ".join(allowed)}).response()
    return Problem(404, "There is no such address.").response()


def _leads_somewhere(adapter: MapAdapter, method: str) -> bool:
    try:
        rule, _ = adapter.match(method=method, return_rule=True)
    except HTTPException:
        return False
    return bool(rule.endpoint != f"{NAME}.unknown")
