"""Logging in and out."""

from __future__ import annotations

import os

from flask import Blueprint, redirect, render_template, request, url_for
from flask_login import current_user, login_required, login_user, logout_user
from werkzeug.security import generate_password_hash
from werkzeug.wrappers import Response

from .first_start import ACCOUNTS, DEMO_PASSWORD
from .models import User, user_by_email
from .offline import about_visitor
from .pages import COLOURS

blueprint = Blueprint("accounts", __name__)
blueprint.after_request(about_visitor)


@blueprint.get("/login")
def login() -> str | Response:
    """The form, and who can use it in this demo."""
    if current_user.is_authenticated:
        return redirect(url_for("pages.home"))
    return _form()


@blueprint.post("/login")
def log_in() -> str | Response | tuple[str, int]:
    """Check the form. One answer for an unknown address and a wrong password."""
    user = _checked(request.form.get("email", ""), request.form.get("password", ""))
    if user is None:
        return _form("This e-mail and password do not belong together."), 401
    login_user(user)
    return redirect(_wanted_page())


@blueprint.post("/logout")
@login_required  # type: ignore[untyped-decorator]  # flask_login has no types
def logout() -> Response:
    """Leave. An orchestrator's daemon stops with its last login."""
    logout_user()
    return redirect(url_for("accounts.login"))


def _form(trouble: str = "") -> str:
    return render_template(
        "login.html",
        accounts=ACCOUNTS,
        colours=COLOURS,
        has_key=bool(os.environ.get("ANTHROPIC_API_KEY")),
        password=DEMO_PASSWORD,
        trouble=trouble,
    )


def _checked(email: str, password: str) -> User | None:
    user = user_by_email(email)
    if user is None:
        generate_password_hash(password)  # an unknown address takes as long as a wrong password
        return None
    return user if user.has_password(password) else None


def _wanted_page() -> str:
    """Where the visitor wanted to go before, if that is one of our own pages."""
    wanted = request.args.get("next", "")
    inside = wanted.startswith("/") and not wanted.startswith("//") and "\\" not in wanted
    return wanted if inside else url_for("pages.home")
