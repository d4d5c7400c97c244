"""Forged requests are refused by the blueprint itself, with and without Flask-WTF in the host."""

from __future__ import annotations

import pytest
from flask import Blueprint, Flask
from flask_wtf.csrf import CSRFProtect

from flask_neolith_orchestrator.web import csrf
from flask_neolith_orchestrator.web.problem import Problem

JSON = {"Content-Type": "application/json"}


def app_with_check() -> tuple[Flask, Blueprint]:
    """An app with one blueprint whose only route does nothing but the check."""
    app = Flask(__name__)
    app.config.update(SECRET_KEY="for tests", TESTING=True)
    blueprint = Blueprint("neolith", __name__)

    @blueprint.route("/x", methods=["GET", "POST", "PUT", "DELETE"])
    def x() -> tuple[str, int]:
        try:
            csrf.check()
        except Problem as problem:
            return problem.code, problem.status
        return "ok", 200

    return app, blueprint


@pytest.fixture
def app() -> Flask:
    app, blueprint = app_with_check()
    app.register_blueprint(blueprint)
    return app


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://elsewhere.test"}, True),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://chat.test"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://chat.test"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Origin": "http://chat.test"}, True),
        ({"Origin": "https://chat.test"}, True),
        ({"Origin": "http://CHAT.test:80"}, True),
        ({"Origin": "http://chat.test:8080"}, False),
        ({"Origin": "http://chat.test.evil.test"}, False),
        ({"Origin": "http://evil.test"}, False),
        ({"Origin": "http://evil.test", "Referer": "http://chat.test/"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://chat.test:99999999"}, False),
        ({"Origin": "chat.test"}, False),
        ({"Origin": "file://chat.test"}, False),
        ({"Referer": "http://chat.test/some/page?q"}, True),
        ({"Referer": "http://evil.test/http://chat.test/"}, False),
        ({"Referer": "http://chat.test@evil.test/"}, False),
        ({}, False),
    ],
)
def test_only_pages_of_this_host_change_state(app: Flask, headers: dict[str, str], passes: bool) -> None:
    """Sec-Fetch-Site decides, else Origin, else Referer; without any of them: no."""
    answer = app.test_client().post("/x", base_url="http://chat.test", headers={**JSON, **headers})
    assert (answer.status_code, answer.text) == ((200, "ok") if passes else (403, "cross-origin"))


def test_looking_is_always_allowed(app: Flask) -> None:
    """A GET changes nothing, wherever its link stands."""
    assert app.test_client().get("/x", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


@pytest.mark.parametrize(
    ("method", "body", "kind", "status"),
    [
        ("POST", "a=1", "application/x-www-form-urlencoded", 415),
        ("POST", "{}", "text/plain", 415),
        ("POST", "", "", 415),
        ("POST", "{}", "application/json", 200),
        ("POST", "{}", "application/json; charset=utf-8", 200),
        ("PUT", "{}", "text/plain", 415),
        ("DELETE", "", "", 200),
    ],
)
def test_what_a_plain_form_can_send_is_refused(app: Flask, method: str, body: str, kind: str, status: int) -> None:
    """A POST is JSON even without a body; other methods cannot be sent by forms and may be empty."""
    headers = {"Sec-Fetch-Site": "same-origin"} | ({"Content-Type": kind} if kind else {})
    assert app.test_client().open("/x", method=method, data=body, headers=headers).status_code == status


@pytest.mark.parametrize("first", ["wtf", "ours"])
def test_flask_wtf_leaves_the_blueprint_to_its_own_check(first: str) -> None:
    """In either order of set-up: our check decides, and the host's own routes stay protected."""
    app, blueprint = app_with_check()
    app.add_url_rule("/host", "host", lambda: "ok", methods=["POST"])
    if first == "wtf":
        CSRFProtect(app)
    app.register_blueprint(blueprint)
    csrf.exempt(app, blueprint)
    if first == "ours":
        CSRFProtect(app)
    client = app.test_client()
    assert client.post("/x", headers={**JSON, "Sec-Fetch-Site": "same-origin"}).text == "ok"
    assert client.post("/x", headers={**JSON, "Sec-Fetch-Site": "cross-site"}).text == "cross-origin"
    assert client.post("/host").status_code == 400
