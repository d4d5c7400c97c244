"""Input that nobody sends by mistake: a clear 4xx, nothing stored, never a 500; over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flask_neolith_orchestrator.web.blueprint import ROUTES
from tests.integration.web_site import Site, make_site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = make_site(tmp_path)
    yield made
    made.close()


def raw(value: Any) -> bytes:
    """JSON with lone surrogates as escapes, as a hostile client writes them."""
    return json.dumps(value).encode()


DEEP = b'{"content": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"

BODIES = {
    "nothing": b"",
    "no JSON": b"{",
    "not an object": b"[1]",
    "null": b"null",
    "not UTF-8": b'{"content": "\xff"}',
    "UTF-16": '{"content": "hi"}'.encode("utf-16"),
    "deep": DEEP,
    "deep extra": b'{"content": "hi", "x": ' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b"}",
    "huge number": b'{"content": ' + b"9" * 10_000 + b"}",
    "huge exponent": b'{"content": 1e999999}',
    "NaN": b'{"content": NaN}',
    "wrong type": raw({"content": 5}),
    "a list": raw({"content": ["hi"]}),
    "empty": raw({"content": ""}),
    "blank": raw({"content": " \n\u200b"}),
    "NUL": raw({"content": "a\x00b"}),
    "control": raw({"content": "a\x1bb"}),
    "surrogate": b'{"content": "\\ud800"}',
    "too long": raw({"content": "x" * 40_001}),
    "unknown member": raw({"content": "hi", "isOrchestrator": True}),
    "snake case": raw({"content": "hi", "thread_id": "1"}),
    "thread that is no id": raw({"content": "hi", "threadId": "1 OR 1=1"}),
    "thread that is not there": raw({"content": "hi", "threadId": "999999"}),
    "thread beyond 64 bits": raw({"content": "hi", "threadId": "9" * 30}),
    "client id too long": raw({"content": "hi", "clientId": "x" * 101}),
    "client id of two lines": raw({"content": "hi", "clientId": "a\nb"}),
    "reply to nothing": raw({"content": "hi", "replyToId": "0"}),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_bad_message_is_refused_with_a_reason_and_not_stored(site: Site, name: str) -> None:
    """400 for what is not JSON, 4xx for the rest; the problem says something and repeats nothing long."""
    ann, path = site.as_("ann"), f"channels/{site.ids['general']}/messages"
    answer = ann.call("POST", path, data=BODIES[name], content_type="application/json")
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text[:200])
    assert answer.content_type == "application/problem+json"
    assert len(answer.data) < 2_000
    assert ann.get(path)["items"] == []


def test_a_body_that_is_too_large_is_not_even_read(site: Site) -> None:
    """413 beyond four megabytes."""
    ann = site.as_("ann")
    answer = ann.call("POST", "channels", data=b" " * 4_000_001, content_type="application/json")
    assert (answer.status_code, answer.content_type) == (413, "application/problem+json")


@pytest.mark.parametrize(
    "bad", ["0", "-1", "99999999999999999999999", "1e3", "1.0", "x", "%00", "%ff", "\u0663", "1%20", "'"]
)
def test_an_id_that_is_none_is_404_on_every_route(site: Site, bad: str) -> None:
    """Unknown, impossible or huge: there is nothing there, and the database is not even troubled."""
    ann = site.as_("ann")
    bodies: dict[str, Any] = {
        "edit_orchestrator": {"role": "x"},
        "put_charter": {"charter": {}, "version": 0},
        "activate_charter": {"version": 0},
        "validate_charter": {"charter": {}},
        "put_organization_charter": {"charter": {}, "version": 0},
        "activate_organization_charter": {"version": 0},
        "validate_organization_charter": {"charter": {}},
        "read_channel": {"messageId": "1"},
        "add_member": {"userId": "1"},
        "post_message": {"content": "x"},
        "edit_message": {"content": "x"},
    }
    for route in ROUTES:
        if "{id}" in route.path:
            path = route.path.replace("{id}", bad).replace("{emoji}", "x")
            path += {
                "remove_member": "?userId=1",
                "diff_charter": "?from=0",
                "diff_organization_charter": "?from=0",
            }.get(route.name, "")
            more = {"json": bodies[route.name]} if route.name in bodies else {}
            answer = ann.call(route.method, path, **more)
            assert (answer.status_code, answer.content_type) == (404, "application/problem+json"), (path, answer.text)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=-1",
        "limit=x",
        "limit=1e3",
        "limit=" + "9" * 5_000,
        "limit=%00",
        "limit=1&limit=2",
        "before=x",
        "before=" + "9" * 40,
        "before=",
        "threadId=%ff",
        "nonsense=1",
        "thread_id=1",
        "%ED%A0%80=1",
    ],
)
def test_a_bad_query_is_refused(site: Site, query: str) -> None:
    """Unknown, repeated, out of bounds or not what it should be: 422."""
    answer = site.as_("ann").call("GET", f"channels/{site.ids['general']}/messages?{query}")
    assert (answer.status_code, answer.json["code"]) == (422, "invalid"), answer.text


@pytest.mark.parametrize(
    "user_id", ["0", "999", "-1", "9" * 30, "1.0", " 1", "1_0", "x", "\x00", "\ud800", "x" * 256, "\u0661", ""]
)
def test_a_user_that_is_none_is_refused(site: Site, user_id: str) -> None:
    """Whatever the host's keys are: 404 for nobody, 422 for what can be no text."""
    ann, general = site.as_("ann"), site.ids["general"]
    for method, path, body in (
        ("POST", f"channels/{general}/members", {"userId": user_id}),
        ("POST", "channels", {"userIds": [user_id]}),
        ("POST", "channels", {"organizationId": site.ids["acme"], "name": "new", "memberIds": [user_id]}),
    ):
        answer = ann.call(method, path, data=raw(body), content_type="application/json")
        assert answer.status_code in (400, 404, 422), (path, answer.text)
    if user_id.isprintable():
        answer = ann.call("DELETE", f"channels/{general}/members", query_string={"userId": user_id})
        assert answer.status_code in (404, 422), answer.text
    assert len(ann.get("channels")["items"]) == 1


@pytest.mark.parametrize("emoji", ["x" * 41, "%00", "%1b", "%20", "%ED%A0%80"])
def test_a_reaction_that_is_none_is_refused(site: Site, emoji: str) -> None:
    """Too long, blank, or with control characters; %ED%A0%80 is a surrogate, which arrives as a replacement sign."""
    ann = site.as_("ann")
    posted = ann.call("POST", f"channels/{site.ids['general']}/messages", json={"content": "hi"}).json
    answer = ann.call("PUT", f"messages/{posted['id']}/reactions/{emoji}")
    assert answer.status_code == 422 or emoji == "%ED%A0%80", answer.text
    assert answer.status_code < 500


@pytest.mark.parametrize(
    "charter",
    [
        {"a": "\x00"},
        {"\x00": 1},
        {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {"i": 1}}}}}}}}},
        {"a": 10**40},
        {str(n): n for n in range(51)},
        {"personality": {"x\x07": "y"}},
        {"model": "a b"},
        [],
        "text",
    ],
)
def test_a_charter_that_no_database_could_keep_is_refused(site: Site, charter: Any) -> None:
    """NUL in keys or values, deep, huge numbers, wide, or no charter at all: 422, and version 0 stays."""
    ann, path = site.as_("ann"), f"orchestrators/{site.ids['ada-orchestrator']}/charter"
    answer = ann.call("PUT", path, json={"charter": charter, "version": 0})
    assert answer.status_code == 422, answer.text
    for number in (b"NaN", b"Infinity", b"1e999"):
        body = b'{"version": 0, "charter": {"a": ' + number + b"}}"
        assert ann.call("PUT", path, data=body, content_type="application/json").status_code in (400, 422)
    assert ann.get(path)["version"] == 0


@pytest.mark.parametrize(
    "body",
    [
        {"label": "", "scopes": ["messages:read"]},
        {"label": "x" * 101, "scopes": ["messages:read"]},
        {"label": "a\nb", "scopes": ["messages:read"]},
        {"label": "x", "scopes": []},
        {"label": "x", "scopes": ["keys:manage"]},
        {"label": "x", "scopes": ["*"]},
        {"label": "x", "scopes": "messages:read"},
        {"label": "x"},
        {"label": "x", "scopes": ["messages:read"], "userId": "2"},
    ],
)
def test_a_key_that_makes_no_sense_is_not_made(site: Site, body: Any) -> None:
    """No label, no scope, an unknown one, or somebody else's."""
    ann = site.as_("ann")
    assert ann.call("POST", "keys", json=body).status_code == 422
    assert ann.get("keys")["items"] == []


def test_what_is_no_json_by_its_own_word_is_415(site: Site) -> None:
    """A form is refused even with a key, for which forgery is no matter."""
    program = site.with_key("ann", "messages:write")
    path = f"channels/{site.ids['general']}/messages"
    assert program.call("POST", path, data={"content": "hi"}).status_code == 415
    assert program.call("POST", path, data=b'{"content": "hi"}', content_type="text/plain").status_code == 415


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer nlk_", "Bearer nlk_\xff", "bearer nlk_x_y", "Bearer nlk_" + "a" * 9_000]
)
def test_a_key_that_is_none_is_401(site: Site, header: str) -> None:
    """Whatever stands in the header."""
    visitor = site.as_(None)
    visitor.headers = {"Authorization": header}
    assert visitor.call("GET", "channels").status_code == 401
