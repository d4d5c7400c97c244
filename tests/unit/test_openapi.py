"""The OpenAPI document says what the routes do."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from openapi_spec_validator import OpenAPIV31SpecValidator

from flask_neolith_orchestrator.store.people.keys import SCOPES
from flask_neolith_orchestrator.web.blueprint import API, ROUTES, register

PREFIX = "/chat"


@pytest.fixture
def app() -> Flask:
    """An app with the blueprint and nothing behind it: the document needs nothing."""
    app = Flask(__name__)
    state: Any = SimpleNamespace(settings=SimpleNamespace(url_prefix=PREFIX), ensure_started=lambda: None)
    app.extensions["neolith"] = state
    register(app, state)
    return app


def document(app: Flask) -> dict[str, Any]:
    """The document as a client gets it."""
    answer = app.test_client().get(f"{PREFIX}{API}/openapi.json")
    assert answer.status_code == 200
    found: dict[str, Any] = json.loads(answer.data)
    return found


def test_the_document_is_valid_openapi_3_1(app: Flask) -> None:
    """A tool that reads OpenAPI can read this."""
    found = document(app)
    OpenAPIV31SpecValidator(found).validate()
    assert found["openapi"] == "3.1.0"
    assert found["servers"] == [{"url": f"{PREFIX}{API}"}]


def test_every_route_is_in_it_and_nothing_else(app: Flask) -> None:
    """Routes and document cannot part ways: neither has one that the other lacks."""
    told = {(path, method.upper()) for path, item in document(app)["paths"].items() for method in item}
    routed = set()
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith(f"{PREFIX}{API}/") and rule.endpoint != "neolith.unknown":
            path = re.sub(r"<string:(\w+)>", r"{\1}", rule.rule.removeprefix(f"{PREFIX}{API}"))
            routed |= {(path, method) for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}}
    assert told == routed
    assert len(routed) == len(ROUTES) + 1


def test_every_operation_names_what_it_takes(app: Flask) -> None:
    """Bodies, queries, path parameters, security and scope are all there, each with a description."""
    paths = document(app)["paths"]
    post = paths["/channels/{id}/messages"]["post"]
    schema = post["requestBody"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/MessageBody"}
    assert post["x-scope"] == "messages:write"
    assert post["security"] == [{"cookie": []}, {"key": []}]
    assert "201" in post["responses"]
    get = paths["/channels/{id}/messages"]["get"]
    assert [one["name"] for one in get["parameters"]] == ["id", "threadId", "before", "after", "limit"]
    assert paths["/keys"]["post"]["security"] == [{"cookie": []}], "a key cannot make keys"
    for item in paths.values():
        for operation in item.values():
            assert operation["summary"]
            assert operation["description"]


def test_every_scope_of_a_route_can_be_granted_and_every_scope_opens_something() -> None:
    """No route asks for a scope that no key can have; no key can have one that means nothing."""
    assert {route.scope for route in ROUTES if route.scope is not None} == set(SCOPES)
    for route in ROUTES:
        assert route.public or route.scope is not None or route.tag == "keys"


def test_a_wrong_address_and_a_wrong_method_are_problems(app: Flask) -> None:
    """404 for what is no route, 405 with Allow for what is one by another method; both without a login."""
    client = app.test_client()
    lost = client.get(f"{PREFIX}{API}/nothing/here")
    assert (lost.status_code, lost.content_type) == (404, "application/problem+json")
    wrong = client.patch(f"{PREFIX}{API}/channels/1/messages")
    assert (wrong.status_code, wrong.headers["Allow"]) == (405, "GET, POST")
    assert wrong.content_type == "application/problem+json"


def test_bodies_are_described_as_clients_send_them(app: Flask) -> None:
    """Camel case names, and nothing beside them."""
    schema = document(app)["components"]["schemas"]["MessageBody"]
    assert set(schema["properties"]) == {"content", "threadId", "clientId", "replyToId"}
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["content"]
