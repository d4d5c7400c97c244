"""The HTTP API: who may what, over every route; and what it answers fits what its document says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from flask_neolith_orchestrator.web.blueprint import ROUTES
from flask_neolith_orchestrator.web.calls import Route
from tests.integration.web_site import SAME_ORIGIN, Site, Visitor, make_site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = make_site(tmp_path)
    yield made
    made.close()


BODIES: dict[str, Any] = {
    "edit_orchestrator": {"role": "Analyst"},
    "put_charter": {"charter": {"system_prompt": "You count."}, "version": 0},
    "activate_charter": {"version": 0},
    "validate_charter": {"charter": {"mission": "You count."}},
    "activate_organization_charter": {"version": 0},
    "validate_organization_charter": {"text": "mission: We count."},
    "put_organization_charter": {"charter": {"mission": "We count."}, "version": 0},
    "create_channel": {"userIds": ["{bob}"]},
    "add_member": {"userId": "{bob}"},
    "read_channel": {"messageId": "{message}"},
    "post_message": {"content": "hello @ada"},
    "edit_message": {"content": "hello @ada again"},
    "approve_turn": {},
    "deny_turn": {"stepId": "{step}", "reason": "Not now."},
    "create_key": {"label": "ci", "scopes": ["messages:read"]},
}
"""A good body for each route that takes one."""


def filled(site: Site, text: str) -> str:
    """Text with the ids of the site's people and things put in."""
    return re.sub(r"\{([\w-]+)\}", lambda found: site.ids.get(found[1], found[0]), text)


def prepare(site: Site) -> None:
    """A message of ann that waits for ada, its delivery failed; ids `message`, `delivery`, `turn` and `key`."""
    with site.app.app_context():
        models, session = site.neolith.models, site.db.session
        posted = site.neolith.chat.post(site.ids["ann"], site.ids["general"], "@ada help")
        session.flush()
        delivery = session.query(models.Delivery).one()
        delivery.state, delivery.attempts = "failed", 5
        make_session: Any = models.Session
        talk = make_session(
            conversation_id=delivery.conversation_id,
            orchestrator_id=delivery.orchestrator_id,
            channel_id=site.ids["general"],
            thread_id=posted.message["id"],
            started_at=1.0,
            last_at=1.0,
            summary="ann wants help.",
            summary_sources=posted.message["id"],
            summary_upto=1.0,
            summary_model="m",
            summary_at=2.0,
        )
        session.add(talk)
        session.flush()
        make_turn: Any = models.Turn
        turn = make_turn(
            orchestrator_id=delivery.orchestrator_id,
            conversation_id=delivery.conversation_id,
            requester_id=site.ids["ann"],
            session_id=talk.id,
            state="failed",
            epoch=1,
            started_at=1.0,
        )
        session.add(turn)
        session.flush()
        made_step: Any = models.Step
        step = made_step(
            turn_id=turn.id,
            n=2,
            kind="tool",
            key=f"{turn.id}:2",
            call_id="call",
            name="announce",
            arguments={"text": "secret"},
            state="denied",
            created_at=1.0,
            expires_at=2.0,
        )
        session.add(step)
        session.flush()
        delivery.turn_id = turn.id
        make_message: Any = models.Message
        values = {"author_id": int(site.ids["ada"]), "reply_to_id": int(posted.message["id"]), "created_at": 2.0}
        answer = make_message(channel_id=int(site.ids["general"]), content="No.", state="failed", **values)
        session.add(answer)
        session.flush()
        turn.reply_id = str(answer.id)
        make_version: Any = models.MessageVersion
        session.add(make_version(message_id=str(answer.id), n=1, content="Yes.", state="final", created_at=1.0))
        _, key = site.state.house.keys.create(
            session.connection(), site.ids["ann"], label="ann's", scopes=["messages:read"]
        )
        session.commit()
        site.ids["session"] = str(talk.id)
        site.ids |= {"message": posted.message["id"], "delivery": str(delivery.id), "turn": str(turn.id), "key": key.id}
        site.ids["step"] = str(step.id)


def address(site: Site, route: Route) -> str:
    """The route's path with ids of Acme's things, and its query."""
    noun = route.path.split("/", 1)[0]
    things = {
        "orchestrators": "ada-orchestrator",
        "organizations": "acme",
        "channels": "general",
        "messages": "message",
        "deliveries": "delivery",
        "turns": "turn",
        "sessions": "session",
        "keys": "key",
    }
    path = route.path.replace("{id}", site.ids[things[noun]] if noun in things else "").replace("{emoji}", "👍")
    queries = {
        "remove_member": f"?userId={site.ids['bob']}",
        "diff_charter": "?from=0",
        "diff_organization_charter": "?from=0",
    }
    return path.replace("{n}", "1" if noun == "messages" else "0") + queries.get(route.name, "")


def call(site: Site, visitor: Visitor, route: Route) -> Any:
    """Call a route with a good body."""
    body = BODIES.get(route.name)
    more = {} if body is None else {"json": json.loads(filled(site, json.dumps(body)))}
    return visitor.call(route.method, address(site, route), **more)


def named(routes: tuple[Route, ...]) -> list[Any]:
    """Routes as parameters with readable names."""
    return [pytest.param(route, id=route.name) for route in routes]


@pytest.fixture
def prepared(site: Site) -> Site:
    prepare(site)
    return site


CONFLICTS = {"start", "restart", "cancel_delivery"}
"""Refused with 409 in this site: daemons are switched off, and the delivery has failed."""


@pytest.mark.parametrize("route", named(ROUTES))
def test_an_owner_gets_what_the_document_says(prepared: Site, route: Route) -> None:
    """Every route works for who may use it, and its answer has exactly the described form."""
    answer = call(prepared, prepared.as_("ann"), route)
    expected = 409 if route.name in CONFLICTS else route.status
    assert answer.status_code == expected, answer.text
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    if route.answer is not None and expected < 400:
        document = Visitor(prepared).get("openapi.json")
        registry: Any = Registry().with_resource("urn:document", Resource.from_contents(document, DRAFT202012))
        operation = document["paths"][f"/{route.path}"][route.method.lower()]
        schema = operation["responses"][str(route.status)]["content"]["application/json"]["schema"]
        OAS31Validator({"$ref": f"urn:document{schema['$ref']}"}, registry=registry).validate(answer.json)


def test_a_stranger_gets_nothing(prepared: Site) -> None:
    """Without login or key everything is 401, except whether the service lives, without details."""
    for route in ROUTES:
        answer = call(prepared, prepared.as_(None), route)
        if route.public:
            assert answer.status_code == 200
            assert "checks" not in answer.json
        else:
            assert (answer.status_code, answer.json["code"]) == (401, "unauthenticated"), route.name


@pytest.mark.parametrize("name", ["eve", "zoe", "mallory"])
def test_somebody_of_another_organization_finds_nothing_of_ours(prepared: Site, name: str) -> None:
    """Where there is an id it is 404; lists and numbers are without anything of Acme; nothing has changed."""
    visitor, before = prepared.as_(name), snapshot(prepared)
    for route in ROUTES:
        if route.name == "create_key":
            continue
        answer = call(prepared, visitor, route)
        nothing = name == "mallory" and route.name in MANAGERS_ONLY
        if "{id}" in route.path or route.name == "create_channel" or nothing:
            assert (answer.status_code, answer.json["code"]) == (404, "not-found"), (route.name, answer.text)
        else:
            assert answer.status_code == 200
            assert not re.search('"(ada|general|ann|bob)"', answer.text), route.name
    assert snapshot(prepared) == before


MANAGERS_ONLY = {"list_nodes", "get_all_figures"}
"""Routes without an id that are not there for those who manage nothing."""

MANAGED = {
    "list_nodes": 404,
    "get_all_figures": 404,
    "list_turns": 403,
    "get_figures": 403,
    "list_history": 403,
    "edit_orchestrator": 403,
    "start": 403,
    "stop": 403,
    "restart": 403,
    "get_orchestrator_budget": 403,
    "get_organization_budget": 403,
    "get_orchestrator_spend": 403,
    "get_organization_spend": 403,
    "get_charter": 403,
    "put_charter": 403,
    "activate_charter": 403,
    "validate_charter": 403,
    "list_charter_versions": 403,
    "get_charter_version": 403,
    "diff_charter": 403,
    "get_organization_charter": 403,
    "put_organization_charter": 403,
    "activate_organization_charter": 403,
    "validate_organization_charter": 403,
    "list_organization_charter_versions": 403,
    "get_organization_charter_version": 403,
    "diff_organization_charter": 403,
    "get_delivery": 404,
    "retry_delivery": 404,
    "cancel_delivery": 404,
    "get_turn": 404,
    "approve_turn": 403,
    "deny_turn": 403,
    "edit_message": 403,
    "delete_message": 403,
    "stop_message": 403,
    "regenerate_message": 403,
    "retry_message": 403,
    "restore_version": 403,
    "revoke_key": 404,
}
"""What a plain member of the organization may not do with what others own, and how that is said."""


@pytest.mark.parametrize("route", named(ROUTES))
def test_a_member_manages_nothing(prepared: Site, route: Route) -> None:
    """bob sees ada and talks in general; he neither manages ada nor touches what is ann's."""
    before = snapshot(prepared)
    answer = call(prepared, prepared.as_("bob"), route)
    if route.name in MANAGED:
        assert answer.status_code == MANAGED[route.name], answer.text
        assert snapshot(prepared) == before
    else:
        assert answer.status_code == route.status or route.name == "create_channel", answer.text
    if route.name in ("list_deliveries", "list_keys"):
        assert answer.json["items"] == []
    if route.name == "read_metrics":
        assert "ada" not in answer.text
    if route.name == "ready":
        assert "checks" not in answer.json


@pytest.mark.parametrize("route", named(tuple(one for one in ROUTES if not one.public)))
def test_a_key_does_what_its_scopes_say(prepared: Site, route: Route) -> None:
    """With exactly the route's scope it works, with all others it does not; no key makes or sees keys."""
    others = {one.scope for one in ROUTES if one.scope not in (None, route.scope)}
    refused = call(prepared, prepared.with_key("ann", *sorted(filter(None, others))), route)
    assert (refused.status_code, refused.json["code"]) == (403, "forbidden")
    if route.scope is not None:
        answer = call(prepared, prepared.with_key("ann", route.scope), route)
        assert answer.status_code == (409 if route.name in CONFLICTS else route.status), answer.text


def test_a_foreign_page_changes_nothing(prepared: Site) -> None:
    """Every route that changes state checks for forgery before anything else."""
    visitor, before = prepared.as_("ann"), snapshot(prepared)
    for route in ROUTES:
        for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.test"}, {}):
            if route.method != "GET":
                visitor.headers = headers
                answer = call(prepared, visitor, route)
                assert (answer.status_code, answer.json["code"]) == (403, "cross-origin"), route.name
    assert snapshot(prepared) == before


def snapshot(site: Site) -> dict[str, Any]:
    """Every row that the API can change."""
    with site.app.app_context():
        models = site.neolith.models
        tables = [models.table(name) for name in ("Orchestrator", "Channel", "ChannelMember", "Message", "Reaction")]
        tables += [models.table(name) for name in ("Delivery", "CharterVersion", "OrganizationCharter", "ApiKey")]
        rows = {table.name: site.db.session.execute(table.select()).mappings().all() for table in tables}
        daemon = models.table("Daemon")  # of ada alone: a login of zoe makes her own row
        of_ada = daemon.select().where(daemon.c.orchestrator_id == int(site.ids["ada-orchestrator"]))
        return {**rows, "daemon": site.db.session.execute(of_ada).mappings().all()}


def test_a_refused_key_is_not_made_good_by_a_cookie(site: Site) -> None:
    """Whoever shows a key is judged by the key: a wrong one is 401 in the browser of the owner too."""
    visitor = site.as_("ann")
    visitor.headers = {**SAME_ORIGIN, "Authorization": "Bearer nlk_0123456789abcdef_" + "A" * 43}
    assert visitor.call("GET", "channels").status_code == 401


def test_a_key_needs_no_origin_and_sets_no_cookie(site: Site) -> None:
    """Programs have neither; and the cookie session is not even read."""
    program = site.with_key("ann", "messages:write")
    answer = program.call("POST", f"channels/{site.ids['general']}/messages", json={"content": "hi"})
    assert answer.status_code == 201
    assert "Set-Cookie" not in answer.headers
    assert answer.json["author"]["id"] == site.ids["ann"]


def test_a_key_is_shown_once_and_ends_when_it_is_revoked(site: Site) -> None:
    """The list has the prefix alone; after DELETE the key opens nothing."""
    ann = site.as_("ann")
    made = ann.call("POST", "keys", json={"label": "ci", "scopes": ["channels:read"]}).json
    program = Visitor(site, {"Authorization": f"Bearer {made['key']}"})
    assert program.call("GET", "channels").status_code == 200
    (listed,) = ann.get("keys")["items"]
    assert "key" not in listed
    assert made["key"].startswith(listed["prefix"])
    assert made["key"] not in json.dumps(listed)
    assert listed["usedAt"] is not None
    assert site.as_("bob").call("DELETE", f"keys/{made['id']}").status_code == 404
    assert program.call("GET", "channels").status_code == 200
    assert ann.call("DELETE", f"keys/{made['id']}").status_code == 204
    assert program.call("GET", "channels").status_code == 401


def test_a_key_cannot_be_made_for_the_past_or_for_ever_many(site: Site) -> None:
    """An expiry that has gone is refused, and so is the 51st key."""
    ann = site.as_("ann")
    for bad in ("2001-01-01T00:00:00Z", "2030-01-01T00:00:00", "tomorrow", 5, "0001-01-01T00:00:00+14:00"):
        body = {"label": "x", "scopes": ["channels:read"], "expiresAt": bad}
        assert ann.call("POST", "keys", json=body).status_code == 422
    body = {"label": "x", "scopes": ["channels:read"], "expiresAt": "2999-01-01T00:00:00Z"}
    assert [ann.call("POST", "keys", json=body).status_code for _ in range(51)] == [201] * 50 + [409]


def test_who_logged_out_is_a_stranger(site: Site) -> None:
    """The API follows the host's login."""
    ann = site.as_("ann")
    ann.client.post("/logout")
    assert ann.call("GET", "channels").status_code == 401


def test_lists_are_paged_to_their_end(site: Site) -> None:
    """Following `next` gives every message once, and the last page says so."""
    bob = site.as_("bob")
    path = f"channels/{site.ids['general']}/messages"
    sent = [bob.call("POST", path, json={"content": f"line {n}"}).json["id"] for n in range(7)]
    seen: list[str] = []
    cursor = ""
    while True:
        page = bob.get(f"{path}?limit=3{cursor}")
        seen = [one["id"] for one in page["items"]] + seen
        if page["next"] is None:
            break
        cursor = f"&before={page['next']}"
    assert seen == sent
    onwards = bob.get(f"{path}?limit=3&after={sent[2]}")
    assert ([one["id"] for one in onwards["items"]], onwards["next"]) == (sent[3:6], sent[5])
    assert bob.call("GET", f"{path}?after={sent[2]}&before={sent[5]}").status_code == 422


def test_orchestrators_are_paged_and_asked_for_by_organization(site: Site) -> None:
    """Two orchestrators, one a page; another organization's are not to be had by naming it."""
    with site.app.app_context():
        user = site.neolith.models.user(name="lin", is_orchestrator=True)
        site.db.session.add(user)
        site.db.session.flush()
        site.neolith.directory.create_orchestrator(str(user.id), site.ids["acme"], "lin")
        site.db.session.commit()
    bob = site.as_("bob")
    first = bob.get("orchestrators?limit=1")
    second = bob.get(f"orchestrators?limit=1&cursor={first['next']}")
    assert [page["items"][0]["handle"] for page in (first, second)] == ["ada", "lin"]
    assert second["next"] is None
    assert len(bob.get(f"orchestrators?organizationId={site.ids['acme']}")["items"]) == 2
    assert bob.call("GET", f"orchestrators?organizationId={site.ids['evil']}").status_code == 404


def test_an_orchestrator_is_edited_by_its_managers_and_only_where_it_may_be(site: Site) -> None:
    """Handle, role, discipline, capabilities and endpoint; never is_orchestrator or status; handles stay unique."""
    ann, path = site.as_("ann"), f"orchestrators/{site.ids['ada-orchestrator']}"
    changes = {"handle": "Ada.L", "capabilities": ["count"], "daemonEndpoint": "http://169.254.169.254/"}
    assert ann.call("PATCH", path, json=changes).json["handle"] == "ada.l"
    assert ann.get(path)["daemonEndpoint"] == "http://169.254.169.254/"
    assert site.as_("bob").get(path)["daemonEndpoint"] is None
    assert site.as_("ada").get(path)["canManage"] is True, "an orchestrator manages itself"
    for bad in ({"isOrchestrator": False}, {"status": "ONLINE"}, {"handle": "a b"}, {"handle": None}, {"userId": "1"}):
        assert ann.call("PATCH", path, json=bad).status_code == 422
    with site.app.app_context():
        user = site.neolith.models.user(name="lin", is_orchestrator=True)
        site.db.session.add(user)
        site.db.session.flush()
        site.neolith.directory.create_orchestrator(str(user.id), site.ids["acme"], "lin")
        site.db.session.commit()
    assert ann.call("PATCH", path, json={"handle": "LIN", "role": "x"}).status_code == 409
    assert ann.get(path)["role"] == "Engineer", "nothing of a refused change is kept"


def test_a_charter_is_written_on_top_of_the_one_that_was_read(site: Site) -> None:
    """A stale version is a conflict; a charter that no daemon could start with is refused."""
    ann, path = site.as_("ann"), f"orchestrators/{site.ids['ada-orchestrator']}/charter"
    assert ann.get(path)["version"] == 0
    good = {"charter": {"system_prompt": "You count."}, "version": 0, "reason": "first"}
    written = ann.call("PUT", path, json=good).json
    assert (written["version"], written["authorId"]) == (1, site.ids["ann"])
    assert ann.call("PUT", path, json={**good, "charter": {"system_prompt": "No."}}).status_code == 409
    for bad in ({"system_prompt": 5}, {"max_tokens": -1}, {"system_prompt": "x" * 200_000}):
        refused = ann.call("PUT", path, json={"charter": bad, "version": 1})
        assert refused.status_code == 422
        assert "xxx" not in refused.text
    assert ann.get(path)["charter"] == {"system_prompt": "You count."}
    with site.app.app_context():
        user = site.db.session.get(site.neolith.models.user, int(site.ids["ada"]))
        assert user is not None
        assert user.orchestrator_config == {"charter": {"system_prompt": "You count."}}


def test_a_failed_delivery_is_tried_again_once(prepared: Site) -> None:
    """Retry gives it back to the queue; then it can be cancelled; then it is over."""
    ann, path = prepared.as_("ann"), f"deliveries/{prepared.ids['delivery']}"
    assert ann.get("deliveries?state=waiting")["items"] == []
    assert [one["id"] for one in ann.get("deliveries?state=failed,expired")["items"]] == [prepared.ids["delivery"]]
    assert ann.call("POST", f"{path}/retry").json["state"] == "waiting"
    assert ann.call("POST", f"{path}/retry").status_code == 409
    assert ann.call("POST", f"{path}/cancel").json["state"] == "cancelled"
    assert ann.call("POST", f"{path}/cancel").status_code == 409
    assert ann.call("GET", "deliveries?state=nonsense").status_code == 422


def test_a_daemon_is_started_and_stopped_by_a_person(tmp_path: Path) -> None:
    """POST start makes it run, whoever asks next sees it, and stop ends it."""
    site = make_site(tmp_path, mode=True)
    try:
        ann, path = site.as_("ann"), f"orchestrators/{site.ids['ada-orchestrator']}"
        assert ann.get(f"{path}/status")["lastHeartbeat"] is None
        started = ann.call("POST", f"{path}/start")
        assert (started.status_code, started.json["status"], started.json["cause"]) == (200, "running", "person")
        assert site.as_("bob").get(path)["status"] == "ONLINE"
        assert "neolith_daemon_up" in ann.call("GET", "metrics").text
        assert ann.call("POST", f"{path}/restart").json["status"] == "running"
        assert ann.call("POST", f"{path}/stop").json["status"] == "stopped"
        assert ann.get(f"{path}/status")["wanted"] == "stopped"
    finally:
        site.close()


def test_a_daemon_that_is_switched_off_says_so(site: Site) -> None:
    """409 with the sentence that helps."""
    answer = site.as_("ann").call("POST", f"orchestrators/{site.ids['ada-orchestrator']}/start")
    assert (answer.status_code, answer.json["code"]) == (409, "orchestrator-mode-off")
    assert "ORCHESTRATOR_MODE" in answer.json["detail"]


def test_readiness_tells_the_truth_and_details_to_managers_only(site: Site) -> None:
    """503 when something is missing; what it is, only those learn who manage an orchestrator."""
    site.state.house.manager.readiness = lambda: {"database": {"ok": False, "detail": "gone"}, "rest": {"ok": True}}
    assert site.as_("bob").call("GET", "health/ready").json == {"status": "unavailable"}
    told = site.as_("ann").call("GET", "health/ready")
    assert told.status_code == 503
    assert told.json["checks"] == {"database": {"ok": False, "detail": "gone"}, "rest": {"ok": True, "detail": ""}}
    assert site.with_key("ann", "messages:read").call("GET", "health/ready").json == {"status": "unavailable"}


def test_what_goes_wrong_inside_is_not_told_and_leaves_nothing_behind(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """A 500 has no details, is logged, and rolls the transaction back."""
    chat = site.state.house.chat
    post = chat.post

    def failing(*arguments: Any, **more: Any) -> Any:
        post(*arguments, **more)
        raise RuntimeError("the secret of the house")

    chat.post = failing
    ann, path = site.as_("ann"), f"channels/{site.ids['general']}/messages"
    answer = ann.call("POST", path, json={"content": "hi"})
    assert (answer.status_code, answer.content_type) == (500, "application/problem+json")
    assert "secret" not in answer.text
    assert [record.__dict__["action"] for record in caplog.records if record.levelname == "ERROR"] == [
        "api-post_message"
    ]
    assert ann.get(path)["items"] == []
