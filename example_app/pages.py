"""The pages: shells that the scripts in static/ fill over the extension's HTTP API and Socket.IO."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, render_template
from flask_login import current_user, login_required

from .models import Notice, db, neolith
from .offline import about_visitor

blueprint = Blueprint("pages", __name__)
blueprint.after_request(about_visitor)

NOTICES = 5
"""So many are on the noticeboard."""


@blueprint.get("/")
@login_required  # type: ignore[untyped-decorator]  # flask_login has no types
def home() -> str:
    """The channels of the visitor, who is there, and the noticeboard."""
    notices = db.session.scalars(db.select(Notice).order_by(Notice.id.desc()).limit(NOTICES)).all()
    return render_template("home.html", channels=_channels(), notices=notices)


@blueprint.get("/channels/<channel_id>")
@login_required  # type: ignore[untyped-decorator]  # flask_login has no types
def channel(channel_id: str) -> str:
    """One channel, with its threads."""
    channels = _channels()
    shown = next((one for one in channels if one["id"] == channel_id), None)
    if shown is None:
        abort(404)
    return render_template("channel.html", channels=channels, channel=shown)


@blueprint.get("/daemons")
@login_required  # type: ignore[untyped-decorator]  # flask_login has no types
def daemons() -> str:
    """How the orchestrators' daemons are."""
    return render_template("daemons.html", channels=_channels())


def _channels() -> list[dict[str, Any]]:
    me = str(current_user.id)
    return [{**one, "title": _title(one, me)} for one in neolith.chat.channels(me)]


def _title(channel: dict[str, Any], me: str) -> str:
    if channel["kind"] != "dm":
        return f"# {channel['name']}"
    return ", ".join(one["name"] for one in channel["members"] if one["userId"] != me)
