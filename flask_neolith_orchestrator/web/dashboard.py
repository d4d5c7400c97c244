"""The dashboard: shells of pages, for those who may manage. Their scripts use the API like any client.

A host that puts a template of the same name (`neolith/base.html`, `neolith/dashboard.html`, ...) into its own template
folder shows its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from flask import Blueprint, Response, current_app, make_response, render_template, url_for
from werkzeug.wrappers import Response as AnyResponse

from ..core.errors import Forbidden, NotFound
from ..runtime.state import State
from ..store.records.organization_names import organization_names
from ..store.sql import host
from .auth import Identity, by_cookie
from .rights import Rights
from .shapes import own_id

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing inline, nothing from elsewhere, in nobody's frame. The style sheet has its few signs as data: images."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page: its address below the prefix, endpoint, template and title. Lifetime: the process.

    A page with `<id>` in its address is about one orchestrator that the visitor manages, one with `<organization_id>`
    about an organization.
    """

    rule: str
    endpoint: str
    template: str
    title: str
    in_menu: bool = True


PAGES: Final = (
    Page("/", "dashboard", "dashboard.html", "Overview"),
    Page("/orchestrators/<id>", "orchestrator_page", "orchestrator.html", "Orchestrator", in_menu=False),
    Page("/orchestrators/<id>/edit-charter", "charter_page", "charter.html", "Charter", in_menu=False),
    Page("/organizations/<organization_id>/edit-charter", "parent_page", "charter.html", "Charter", in_menu=False),
    Page("/charters", "charters_page", "charters.html", "Charters"),
    Page("/dead-letters", "dead_letters_page", "dead_letters.html", "Dead letters"),
    Page("/budgets", "budgets_page", "budgets.html", "Budgets"),
    Page("/api-keys", "keys_page", "keys.html", "API keys"),
    Page("/cluster", "nodes_page", "nodes.html", "Nodes"),
    Page("/audit-log", "audit_page", "audit.html", "Audit log"),
)
"""All pages, in the order of the menu."""


def add_pages(blueprint: Blueprint) -> None:
    """Mount all pages on the blueprint."""
    for page in PAGES:
        blueprint.add_url_rule(page.rule, page.endpoint, _view_of(page), methods=["GET"])


def _view_of(page: Page) -> Callable[..., AnyResponse]:
    def show(**path: str) -> AnyResponse:
        state: State = current_app.extensions["neolith"]
        state.ensure_started()
        identity = by_cookie(state)
        if identity is None:
            manager = getattr(current_app, "login_manager", None)
            return Response(status=401) if manager is None else current_app.make_response(manager.unauthorized())
        try:
            about = _about(state, identity, path)
        except Forbidden:
            return _sealed(_render(state, identity, Page("", "refused", "refused.html", "Not for you")), 403)
        except NotFound:
            return _sealed(_render(state, identity, Page("", "refused", "missing.html", "Not found")), 404)
        return _sealed(_render(state, identity, page, **about))

    show.__name__ = page.endpoint
    return show


def _about(state: State, identity: Identity, path: Mapping[str, str]) -> dict[str, Any]:
    """What the page is about, if the visitor may manage that; else Forbidden or NotFound."""
    tx = host.reading(state.house.session())
    rights = Rights(state, tx, identity)
    if "id" in path:
        return {"orchestrator": rights.managed(path["id"])}
    if "organization_id" in path:
        organization_id = own_id(path["organization_id"])
        names = organization_names(state.models, tx, [organization_id])
        if not (names and rights.sees_organization(organization_id)):
            raise NotFound
        if not rights.manages_organization(organization_id):
            raise Forbidden
        return {"organization": {"id": organization_id, "name": names[organization_id]}}
    if not rights.manages_anything():
        raise Forbidden
    return {}


def _render(state: State, identity: Identity, page: Page, **more: Any) -> str:
    settings = state.settings
    return render_template(
        f"neolith/{page.template}",
        api=url_for("neolith.list_orchestrators").rpartition("/")[0],
        dashboard_name=settings.dashboard_name,
        dashboard_link=settings.dashboard_link,
        live="socketio" in current_app.extensions,
        me=identity.user_id,
        message_link=settings.message_link,
        mode=settings.shown_mode,
        name=state.house.people.name_of(identity.user),
        page=page,
        pages=PAGES,
        **more,
    )


def _sealed(text: str, status: int = 200) -> Response:
    response = make_response(text, status)
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["Cache-Control"] = "no-store"
    return response
