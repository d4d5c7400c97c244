"""Errors on the wire: problem details that say what a client may know, and nothing else."""

from __future__ import annotations

import logging

import pytest
from werkzeug.exceptions import MethodNotAllowed, RequestEntityTooLarge

from flask_neolith_orchestrator.core import errors
from flask_neolith_orchestrator.web.problem import MEDIA_TYPE, Problem, problem_of, unauthenticated
from flask_neolith_orchestrator.web.shapes import Malformed


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.NotFound(), 404, "not-found"),
        (errors.Forbidden(), 403, "forbidden"),
        (errors.Conflict("Taken."), 409, "conflict"),
        (errors.Invalid("Too long."), 422, "invalid"),
        (errors.NotAnOrchestrator(), 404, "not-found"),
        (errors.UnknownDelivery(), 404, "not-found"),
        (errors.OrchestratorModeOff(), 409, "orchestrator-mode-off"),
        (errors.UnsupportedDatabase(), 409, "unsupported-database"),
        (errors.StartFailed("No key."), 409, "start-failed"),
        (errors.WrongTransition(), 409, "wrong-transition"),
        (errors.ActionError(), 422, "invalid"),
    ],
)
def test_what_a_client_can_do_something_about_is_told_with_its_sentence(
    error: errors.NeolithError, status: int, code: str
) -> None:
    """Each of these has its status and its code, and the sentence of the error."""
    body = problem_of(error, action="test").body()
    assert (body["status"], body["code"], body["detail"]) == (status, code, str(error))
    assert body["type"] == "about:blank"


def test_every_request_error_is_known() -> None:
    """A new kind of RequestError cannot become a 500 by being forgotten."""
    for kind in errors.RequestError.__subclasses__():
        made = kind(retry_after=1.0) if kind is errors.TooMany else kind()
        assert problem_of(made, action="test").status < 500


def test_what_is_wrong_with_a_charter_is_told_to_programs_too() -> None:
    """Problems and weakenings are members of their own, besides the sentence."""
    bad = problem_of(errors.BadCharter([("tier", "is 2")]), action="test").body()
    assert (bad["status"], bad["code"], bad["errors"]) == (422, "invalid", [{"at": "tier", "problem": "is 2"}])
    weak = {"path": "safety.escalate", "before": "escalate", "after": None, "text": "x: asks"}
    asked = problem_of(errors.Unconfirmed([weak]), action="test").body()
    assert (asked["status"], asked["code"], asked["weakenings"]) == (409, "unconfirmed", [weak])
    assert "x: asks" in asked["detail"]


@pytest.mark.parametrize(
    "error", [RuntimeError("secret"), errors.ModelRejected("secret"), errors.SchemaMissing("secret")]
)
def test_what_is_ours_to_mend_is_logged_and_not_told(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """The inside of a failure is for the log alone."""
    with caplog.at_level(logging.ERROR):
        problem = problem_of(error, action="api-test")
    assert problem.status == 500
    assert "secret" not in str(problem.body())
    assert caplog.records[0].exc_info is not None
    assert caplog.records[0].__dict__["action"] == "api-test"


def test_what_werkzeug_refuses_keeps_its_status_and_headers() -> None:
    """413 stays 413, with the same code under every Python, and 405 says what would be allowed."""
    large = problem_of(RequestEntityTooLarge(), action="test")
    assert (large.status, large.code) == (413, "too-large")
    refused = problem_of(MethodNotAllowed(valid_methods=["GET"]), action="test")
    assert (refused.status, refused.headers["Allow"]) == (405, "GET")


def test_a_problem_is_sent_as_problem_json() -> None:
    """RFC 9457's media type, the headers, and further members beside the standard ones."""
    response = Problem(409, "No.", extra={"version": 3}, headers={"X-Test": "1"}).response()
    assert response.content_type == MEDIA_TYPE
    assert response.headers["X-Test"] == "1"
    assert response.get_json(force=True) == {
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "code": "conflict",
        "detail": "No.",
        "version": 3,
    }
    assert unauthenticated().response().headers["WWW-Authenticate"].startswith("Bearer")


def test_bad_members_are_listed() -> None:
    """A client sees which members it has to mend."""
    problems = [{"at": "content", "problem": "too long"}]
    assert problem_of(Malformed(problems), action="test").body()["errors"] == problems
