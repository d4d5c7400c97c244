"""The OpenAPI 3.1 document, made from the routes themselves, so that it cannot say anything else than they do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

from apispec import APISpec
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from .calls import Route
from .shapes import Wire

REF: Final = "#/components/schemas/{model}"

_Mode = Literal["validation", "serialization"]


class FieldProblem(Wire):
    """One member that cannot be used."""

    at: str
    problem: str


class ProblemDetails(Wire):
    """What went wrong (RFC 9457). `code` is for programs, `detail` for people."""

    type: str
    title: str
    status: int
    code: str
    detail: str | None = None
    errors: list[FieldProblem] | None = None


def document(routes: Sequence[Route], *, version: str, prefix: str) -> dict[str, Any]:
    """The whole document. `prefix` is where the API is mounted."""
    spec = APISpec(
        title="flask_neolith_orchestrator",
        version=version,
        openapi_version="3.1.0",
        info={"description": "AI colleagues as ordinary users of a Flask chat app."},
        servers=[{"url": prefix}],
    )
    spec.components.security_scheme("key", {"type": "http", "scheme": "bearer", "bearerFormat": "nlk_..."})
    spec.components.security_scheme(
        "cookie", {"type": "apiKey", "in": "cookie", "name": "session", "description": "the app's own login"}
    )
    names = _schemas(spec, routes)
    for route in routes:
        spec.path(f"/{route.path}", operations={route.method.lower(): _operation(route, names)})
    made: dict[str, Any] = spec.to_dict()
    return made


def _schemas(spec: APISpec, routes: Iterable[Route]) -> Mapping[type[BaseModel], dict[str, str]]:
    wanted: list[tuple[type[BaseModel], _Mode]] = [(ProblemDetails, "serialization")]
    for route in routes:
        if route.body is not None:
            wanted.append((route.body, "validation"))
        if route.answer is not None:
            wanted.append((route.answer, "serialization"))
    unique = list(dict.fromkeys(wanted))
    references, definitions = models_json_schema(unique, ref_template=REF)
    for name, schema in definitions.get("$defs", {}).items():
        spec.components.schema(name, schema)
    return {model: references[model, mode] for model, mode in unique}


def _operation(route: Route, names: Mapping[type[BaseModel], dict[str, str]]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "description": _text(route.handler.__doc__),
        "tags": [route.tag],
        "parameters": [*_path_parameters(route), *_query_parameters(route)],
        "responses": {
            str(route.status): _answer(route, names),
            "default": {
                "description": "A problem",
                "content": {"application/problem+json": {"schema": names[ProblemDetails]}},
            },
        },
        "security": _security(route),
    }
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": names[route.body]}}}
    if route.scope is not None:
        operation["x-scope"] = route.scope
    return operation


def _security(route: Route) -> list[dict[str, list[str]]]:
    if route.public:
        return []
    return [{"cookie": []}] if route.scope is None else [{"cookie": []}, {"key": []}]


def _answer(route: Route, names: Mapping[type[BaseModel], dict[str, str]]) -> dict[str, Any]:
    shown: dict[str, Any] = {"description": "Done" if route.answer is None else _text(route.answer.__doc__)}
    if route.answer is not None:
        shown["content"] = {route.media_type: {"schema": names[route.answer]}}
    elif route.status != 204:
        kind = "object" if route.media_type == "application/json" else "string"
        shown["content"] = {route.media_type: {"schema": {"type": kind}}}
    return shown


def _path_parameters(route: Route) -> Iterable[dict[str, Any]]:
    for name in re.findall(r"\{(\w+)\}", route.path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _query_parameters(route: Route) -> Iterable[dict[str, Any]]:
    if route.query is None:
        return
    schema = route.query.model_json_schema(ref_template=REF)
    definitions = schema.get("$defs", {})
    for name, inner in schema["properties"].items():
        yield {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "style": "form",
            "explode": False,  # several values of one name are separated by commas
            "schema": _inlined(inner, definitions),
        }


def _inlined(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """Query schemas stand alone: what they refer to is written out."""
    if isinstance(schema, list):
        return [_inlined(one, definitions) for one in schema]
    if not isinstance(schema, dict):
        return schema
    reference = schema.get("$ref")
    if isinstance(reference, str):
        return _inlined(definitions[reference.rpartition("/")[2]], definitions)
    return {key: _inlined(one, definitions) for key, one in schema.items()}


def _text(docstring: str | None) -> str:
    return " ".join((docstring or "").split())
