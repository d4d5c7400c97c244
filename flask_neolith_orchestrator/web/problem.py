"""Errors as problem details (RFC 9457): what went wrong, for programs (`code`) and for people (`detail`)."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from flask import Response, json
from werkzeug.exceptions import HTTPException

from ..core import errors
from .shapes import Malformed

log = logging.getLogger("flask_neolith_orchestrator")

MEDIA_TYPE: Final = "application/problem+json"

_STATUS: Final[Mapping[type[errors.NeolithError], tuple[int, str]]] = {
    errors.NotFound: (404, "not-found"),
    errors.Forbidden: (403, "forbidden"),
    errors.Conflict: (409, "conflict"),
    errors.Unconfirmed: (409, "unconfirmed"),
    errors.Invalid: (422, "invalid"),
    errors.NotAnOrchestrator: (404, "not-found"),
    errors.UnknownDelivery: (404, "not-found"),
    errors.OrchestratorModeOff: (409, "orchestrator-mode-off"),
    errors.UnsupportedDatabase: (409, "unsupported-database"),
    errors.StartFailed: (409, "start-failed"),
    errors.WrongTransition: (409, "wrong-transition"),
    errors.ActionError: (422, "invalid"),
    errors.TooMany: (429, "too-many-requests"),
}
"""Which of our errors a client may see, and as what. All others are ours to mend: 500, without details."""


class Problem(Exception):
    """An answer that is not what was asked for. `extra` become further members; `headers` go with it."""

    def __init__(
        self,
        status: int,
        detail: str = "",
        *,
        code: str | None = None,
        extra: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.code = code or HTTPStatus(status).phrase.lower().replace(" ", "-")
        self.extra = dict(extra or {})
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """The members of the problem document."""
        shown: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "code": self.code,
        }
        if self.detail:
            shown["detail"] = self.detail
        return {**shown, **self.extra}

    def response(self) -> Response:
        """As an HTTP answer."""
        headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **self.headers}
        return Response(json.dumps(self.body()), self.status, headers, content_type=MEDIA_TYPE)


def unauthenticated(detail: str = "Log in, or send an API key as `Authorization: Bearer nlk_...`.") -> Problem:
    """Nobody knows who is asking."""
    return Problem(401, detail, code="unauthenticated", headers={"WWW-Authenticate": 'Bearer realm="neolith"'})


def problem_of(error: Exception, *, action: str) -> Problem:
    """What a client is told about an error. Unexpected ones are logged, with `action`, and told without details."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException):
        return _http(error)
    known = next((found for kind in type(error).__mro__ if (found := _STATUS.get(kind))), None)
    if known is None:
        log.error("A request failed", exc_info=error, extra={"action": action})
        return Problem(500, "Something went wrong here. It has been logged.", code="internal")
    status, code = known
    headers = {"Retry-After": str(math.ceil(error.retry_after))} if isinstance(error, errors.TooMany) else None
    return Problem(status, str(error), code=code, extra=_more(error), headers=headers)


def _more(error: Exception) -> dict[str, Any] | None:
    """What programs need to know besides the sentence."""
    if isinstance(error, Malformed):
        return {"errors": error.problems}
    if isinstance(error, errors.BadCharter):
        return {"errors": [{"at": path, "problem": problem} for path, problem in error.problems]}
    if isinstance(error, errors.Unconfirmed):
        return {"weakenings": list(error.weakenings)}
    if isinstance(error, errors.TooMany):
        return {"retryAfter": math.ceil(error.retry_after)}  # in the body too: a socket's answer has no headers
    return None


def _http(error: HTTPException) -> Problem:
    headers = {name: value for name, value in error.get_headers() if name.lower() in ("allow", "retry-after")}
    status = error.code or 500
    # Python 3.13 renamed the phrase of 413, and a code must not change with it
    code = "too-large" if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE else None
    return Problem(status, "" if status >= 500 else error.description or "", code=code, headers=headers)
