"""The pages: shells that the scripts in static/ fill over the extension's HTTP API and Socket.IO."""

from __future__ import annotations

import os
from typing import Any

from flask import Blueprint, Response, abort, render_template
from flask_login import current_user, login_required

from .models import Notice, User, Welcomed, db, neolith
from .offline import about_visitor

blueprint = Blueprint("pages", __name__)
blueprint.after_request(about_visitor)

NOTICES = 5
"""So many are on the noticeboard."""

COLOURS = 10
"""Avatars have so many; style.css and static/avatar.js know them, too."""


@blueprint.get("/")
@login_required  # type: ignore[untyped-decorator]  # flask_login has no types
def home() -> str:
    """Who is there, the noticeboard, and for newcomers the way to a first answer."""
    notices = db.session.scalars(db.select(Notice).order_by(Notice.id.desc()).limit(NOTICES)).all()
    return _page("home.html", notices=notices, has_key=bool(os.environ.get("ANTHROPIC_API_KEY")))


@blueprint.get("/channels/<channel_id>")
@login_required  # type: ignore[untyped-decorator]  # flask_login has no types
def channel(channel_id: str) -> str:
    """One channel or direct message, with its threads."""
    channels = _channels()
    shown = next((one for one in channels if one["id"] == channel_id), None)
    if shown is None:
        abort(404)
    return _page("channel.html", channels, channel=shown)


@blueprint.errorhandler(404)
def missing(error: Exception) -> tuple[str, int]:
    """Where a channel's address leads to nothing, for this visitor."""
    return render_template("missing.html"), 404


@blueprint.get("/people")
@login_required  # type: ignore[untyped-decorator]  # flask_login has no types
def people() -> dict[str, Any]:
    """The persons of the visitor's organizations, for whoever looks for one; orchestrators are in the API."""
    member = neolith.models.OrganizationMember
    found = db.session.execute(
        db.select(User.id, User.name, member.role)
        .join(member, member.user_id == User.id)
        .where(member.organization_id.in_([int(one) for one in _organizations(_channels())]))
        .order_by(User.name)
    )
    return {"items": [{"id": str(row.id), "name": row.name, "role": row.role} for row in found]}


@blueprint.post("/welcomed")
@login_required  # type: ignore[untyped-decorator]  # flask_login has no types
def welcomed() -> Response:
    """The visitor has had a first answer, or wants no hint: it does not come back."""
    db.session.merge(Welcomed(user_id=current_user.id))
    db.session.commit()
    return Response(status=204)


def _page(template: str, channels: list[dict[str, Any]] | None = None, **more: Any) -> str:
    shown = _channels() if channels is None else channels
    me, organizations = str(current_user.id), _organizations(shown)
    return render_template(
        template,
        channels=shown,
        colour=current_user.id % COLOURS,
        is_new=not current_user.is_orchestrator and db.session.get(Welcomed, current_user.id) is None,
        manages=current_user.is_orchestrator or any(neolith.chat.can_manage(me, one) for one in organizations),
        organization=next(iter(organizations), ""),
        **more,
    )


def _organizations(channels: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(one["organizationId"] for one in channels if one["organizationId"]))


def _channels() -> list[dict[str, Any]]:
    me = str(current_user.id)
    return [{**one, "title": _title(one, me)} for one in neolith.chat.channels(me)]


def _title(channel: dict[str, Any], me: str) -> str:
    if channel["kind"] != "dm":
        return f"# {channel['name']}"
    return ", ".join(one["name"] for one in channel["members"] if one["userId"] != me)
