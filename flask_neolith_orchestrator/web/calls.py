"""One call of the API: who asks, may they, what did they send; then the handler, and one commit or rollback."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, TypeVar

from flask import Response, current_app, json, request
from pydantic import BaseModel, ValidationError

from ..runtime.house import House
from ..runtime.state import State
from ..store.sql import host
from . import csrf
from .auth import Identity, identify
from .problem import Problem, problem_of
from .rights import Rights
from .shapes import Body, Malformed, Query, Wire, explain, printed, validated

MAX_BODY: Final = 4_000_000
"""Bytes of a request's body at the most: a message of a million characters, escaped."""

BodyT = TypeVar("BodyT", bound=Wire)


@dataclass
class Call:
    """One call. Lifetime: one request."""

    state: State
    identity: Identity
    path: dict[str, str]
    sent: Body | None = None
    asked: Query | None = None

    @property
    def house(self) -> House:
        """The parts of this process."""
        return self.state.house

    @property
    def actor(self) -> str:
        """The id of the user who asks."""
        return self.identity.user_id

    @property
    def session(self) -> Any:
        """The host's session of this request."""
        return self.house.session()

    @property
    def reading(self) -> Any:
        """The connection of that session, for looking: it belongs to the request's transaction."""
        return host.reading(self.session)

    def writing(self) -> Any:
        """The same, ready to write. Look at rights and input first: on SQLite others wait from here on."""
        return host.writing(self.session, self.house.database)

    @cached_property
    def rights(self) -> Rights:
        """What the asker may."""
        return Rights(self.state, self.reading, self.identity)

    def body(self, model: type[BodyT]) -> BodyT:
        """What was sent, as the route's own model."""
        if not isinstance(self.sent, model):
            msg = f"The route does not take {model.__name__}"
            raise TypeError(msg)
        return self.sent

    def query(self, model: type[BodyT]) -> BodyT:
        """What was asked in the query string, as the route's own model."""
        if not isinstance(self.asked, model):
            msg = f"The route does not take {model.__name__}"
            raise TypeError(msg)
        return self.asked


@dataclass(frozen=True, slots=True)
class Route:
    """One route of the API: all that the dispatcher and the OpenAPI document need. Lifetime: the process.

    `scope` is what an API key needs; None means that no key may. `public` routes ask nobody who they are.
    """

    method: str
    path: str
    handler: Callable[[Call], Any]
    summary: str
    tag: str
    scope: str | None = None
    body: type[Body] | None = None
    query: type[Query] | None = None
    answer: type[BaseModel] | None = None
    status: int = 200
    writes: bool = False
    public: bool = False
    media_type: str = "application/json"
    name: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.handler.__name__)

    @property
    def rule(self) -> str:
        """The path as Flask writes it."""
        return re.sub(r"\{(\w+)\}", r"<string:\1>", self.path)


def view_of(route: Route) -> Callable[..., Response]:
    """The view function of a route."""

    def view(**path: str) -> Response:
        state: State = current_app.extensions["neolith"]
        try:
            return _answer(route, _run(state, route, path))
        except Exception as error:  # noqa: BLE001 -- the border of the API: problem_of logs what is not a client's
            _roll_back(state)
            return problem_of(error, action=f"api-{route.name}").response()

    view.__name__ = route.name
    return view


def _run(state: State, route: Route, path: dict[str, str]) -> Any:
    state.ensure_started()
    identity = Identity("", None) if route.public else identify(state)
    if not route.public:
        identity.require(route.scope)
        if not identity.via_key:
            csrf.check()
    call = Call(state, identity, path, _sent(route.body), _asked(route.query))
    result = route.handler(call)
    if route.writes:
        call.session.commit()
    return result


def _roll_back(state: State) -> None:
    try:
        state.house.session().rollback()
    except Exception as error:  # noqa: BLE001 -- the first error is the one to tell
        problem_of(error, action="api-rollback")


def _sent(model: type[Body] | None) -> Body | None:
    if model is None:
        return None
    request.max_content_length = min(request.max_content_length or MAX_BODY, MAX_BODY)
    if not request.is_json:
        raise Problem(415, "Send JSON, with Content-Type: application/json.")
    try:
        return model.model_validate_json(request.get_data(cache=False))
    except ValidationError as error:
        problems = explain(error)
        if any(one["type"] == "json_invalid" for one in error.errors(include_input=False, include_url=False)):
            raise Problem(400, "The body is not JSON that can be read.", extra={"errors": problems}) from None
        raise Malformed(problems) from None


def _asked(model: type[Query] | None) -> Query | None:
    names = set() if model is None else {one.alias for one in model.model_fields.values()}
    unknown = [one for one in request.args if one not in names]
    if unknown:
        raise Malformed([{"at": printed(one), "problem": "unknown parameter"} for one in unknown[:20]])
    if model is None:
        return None
    repeated = [one for one in request.args if len(request.args.getlist(one)) > 1]
    if repeated:
        raise Malformed([{"at": one, "problem": "given more than once"} for one in repeated])
    return validated(model, request.args.to_dict())


def _answer(route: Route, result: Any) -> Response:
    if isinstance(result, Response):
        return _sealed(result)
    if route.status == 204:
        return _sealed(Response(status=204))
    shown = result.model_dump(mode="json", by_alias=True) if isinstance(result, BaseModel) else result
    text = json.dumps(shown, sort_keys=False)  # a charter is shown in the order in which its author wrote it
    return _sealed(Response(text, route.status, content_type="application/json"))


def _sealed(response: Response) -> Response:
    """Answers are for whoever asked, now: nobody may keep them or take them for a page."""
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
