"""The routes of what is kept for people to look at: what they say, and to whom."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from sqlalchemy import Engine, event

from flask_neolith_orchestrator.runtime.charters.keeper import Author
from tests.integration.test_api import prepare
from tests.integration.web_site import Site, make_site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = make_site(tmp_path, mode=True)
    yield made
    made.close()


def actions(site: Site, name: str, query: str = "") -> list[str]:
    """What somebody sees of the audit log, oldest first."""
    return [one["action"] for one in site.as_(name).get(f"audit{query}")["items"]][::-1]


def test_deeds_of_people_are_written_down(site: Site) -> None:
    """Each with who, on which orchestrator or organization, and nothing of what was said or is secret."""
    prepare(site)
    ann, ids = site.as_("ann"), site.ids
    ada = f"orchestrators/{ids['ada-orchestrator']}"

    def done(method: str, path: str, body: Any = None) -> Any:
        answer = ann.call(method, path, json={} if body is None else body)
        assert answer.status_code < 300, answer.text
        return answer.json if answer.status_code != 204 else None

    for verb in ("start", "restart", "stop"):
        done("POST", f"{ada}/{verb}")
    done("PATCH", ada, {"role": "Analyst"})
    done("PUT", f"{ada}/charter", {"charter": {"system_prompt": "top secret"}, "version": 0})
    done("PUT", f"{ada}/charter", {"charter": {"system_prompt": "more secret"}, "version": 1})
    done("POST", f"{ada}/charter/activate", {"version": 1})
    done("PUT", f"organizations/{ids['acme']}/charter", {"charter": {"mission": "We count."}, "version": 0})
    key = done("POST", "keys", {"label": "ci", "scopes": ["audit:read"]})
    assert ann.call("DELETE", f"keys/{key['id']}").status_code == 204
    assert ann.call("DELETE", f"keys/{key['id']}").status_code == 204
    done("POST", f"deliveries/{ids['delivery']}/retry")
    done("POST", f"deliveries/{ids['delivery']}/cancel")
    assert ann.call("DELETE", f"channels/{ids['general']}/members?userId={ids['bob']}").status_code == 204
    done("POST", f"channels/{ids['general']}/members", {"userId": ids["bob"]})
    done("POST", f"channels/{ids['general']}/members", {"userId": ids["bob"]})
    expected = [
        "orchestrator.started",
        "orchestrator.restarted",
        "orchestrator.stopped",
        "orchestrator.changed",
        "charter.saved",
        "charter.saved",
        "charter.activated",
        "charter.saved",
        "key.created",
        "key.revoked",
        "delivery.retried",
        "delivery.cancelled",
        "channel.member-removed",
        "channel.member-added",
    ]
    assert [one for one in actions(site, "ann") if one != "charter.saved"] == [
        one for one in expected if one != "charter.saved"
    ]
    found = ann.get("audit")["items"]
    assert {one["actor"]["name"] for one in found} <= {"ann", ""}
    assert "secret" not in str(found)
    assert key["key"] not in str(found)
    saved = [one for one in found if one["action"] == "charter.saved" and one["actor"]["id"] == ids["ann"]]
    assert [one["details"]["version"] for one in saved] == [1, 2, 1]
    assert saved[-1]["orchestrator"] == {"id": ids["ada-orchestrator"], "name": "ada"}
    assert saved[0]["orchestrator"] is None


def test_deeds_are_seen_by_those_who_manage(site: Site) -> None:
    """By organization, orchestrator, person and kind, page by page; by nobody else, not even that there are any."""
    ids, ann = site.ids, site.as_("ann")
    for role in ("Analyst", "Engineer"):
        body = {"role": role}
        assert ann.call("PATCH", f"orchestrators/{ids['ada-orchestrator']}", json=body).status_code == 200
    program = site.with_key("ann", "orchestrators:manage", "audit:read")
    program.call("PATCH", f"orchestrators/{ids['ada-orchestrator']}", json={"role": "x"})
    assert actions(site, "ann", f"?orchestratorId={ids['ada-orchestrator']}") == ["orchestrator.changed"] * 3
    assert actions(site, "ann", f"?organizationId={ids['acme']}&action=key.") == ["key.created"]
    assert actions(site, "ada") == ["orchestrator.changed"] * 3
    page = ann.get("audit?limit=1&action=orchestrator.changed")
    assert (page["items"][0]["actor"]["kind"], page["items"][0]["actor"]["id"]) == ("key", ids["ann"])
    assert page["items"][0]["details"] == {"members": ["role"]}
    rest = ann.get(f"audit?limit=5&action=orchestrator.changed&cursor={page['next']}")
    assert ([one["actor"]["kind"] for one in rest["items"]], rest["next"]) == (["user", "user"], None)
    assert ann.get(f"audit?actor={ids['bob']}")["items"] == []
    assert ann.get("audit?from=2999-01-01T00:00:00Z")["items"] == []
    for name in ("bob", "eve", "mallory"):
        assert actions(site, name) == []
        for query in (f"orchestratorId={ids['ada-orchestrator']}", f"organizationId={ids['acme']}"):
            assert site.as_(name).call("GET", f"audit?{query}").status_code == 404
    other = f"audit?orchestratorId={ids['ada-orchestrator']}&organizationId={ids['evil']}"
    assert ann.call("GET", other).status_code == 404
    assert ann.call("GET", "audit?action=DROP").status_code == 422


def test_deeds_of_the_command_line_are_written_down(site: Site) -> None:
    """As such: nobody knows who sat there."""
    prepare(site)

    def run(*words: str) -> Result:
        done = site.app.test_cli_runner().invoke(args=["neolith", *words])
        assert done.exit_code == 0, done.output
        return done

    run("start", "ada")
    run("stop", "@ada")
    run("retry", site.ids["delivery"])
    house = site.state.house
    with site.app.app_context(), house.database.write() as tx:
        one = house.people.snapshot(tx, site.ids["ada-orchestrator"])
        house.keeper.save(tx, one, {"mission": "Count."}, Author())
    found = site.as_("ann").get("audit")["items"][::-1]
    assert [(one["actor"]["kind"], one["action"]) for one in found] == [
        ("cli", "orchestrator.started"),
        ("cli", "orchestrator.stopped"),
        ("cli", "delivery.retried"),
        ("system", "charter.saved"),
    ]
    assert actions(site, "ann", "?actor=cli") == ["orchestrator.started", "orchestrator.stopped", "delivery.retried"]


def test_one_learns_who_one_is(site: Site) -> None:
    """And whether there is anything that one may manage."""
    ids = site.ids
    assert site.as_("ann").get("me") == {
        "id": ids["ann"],
        "name": "ann",
        "handle": None,
        "isOrchestrator": False,
        "orchestratorId": None,
        "organizations": [{"id": ids["acme"], "name": "Acme", "role": "owner", "manages": True}],
        "manages": True,
    }
    bob, ada, mallory = (site.as_(name).get("me") for name in ("bob", "ada", "mallory"))
    assert (bob["manages"], bob["organizations"][0]["manages"]) == (False, False)
    assert (ada["manages"], ada["orchestratorId"], ada["handle"]) == (True, ids["ada-orchestrator"], "ada")
    assert (mallory["manages"], mallory["organizations"]) == (False, [])


def test_figures_have_every_bucket(site: Site) -> None:
    """Empty ones are zeros; the span is rounded down to a bucket; too many are refused."""
    ann, path = site.as_("ann"), f"orchestrators/{site.ids['ada-orchestrator']}/figures"
    found = ann.get(f"{path}?from=2026-01-01T10:30:00Z&to=2026-01-01T13:00:00%2B00:00&bucket=hour")
    assert [one["at"][11:16] for one in found["items"]] == ["10:00", "11:00", "12:00"]
    assert (found["complete"], found["countedFrom"]) == (True, found["from"])
    empty = found["items"][0]
    assert {**empty, "at": ""} == {**found["totals"], "at": ""}
    assert (empty["answered"], empty["cost"], empty["totalMs"]) == (0, "0.000000", {"p50": None, "p95": None})
    assert set(empty["failures"].values()) == {0}
    assert [len(ann.get(f"figures?bucket={one}")["items"]) for one in ("minute", "hour", "day")] == [60, 24, 30]
    assert len(ann.get(f"figures?organizationId={site.ids['acme']}&bucket=day")["items"]) == 30
    for bad in (
        "from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
        "from=2020-01-01T00:00:00Z&to=2026-01-01T00:00:00Z",
        "from=2026-01-01T00:00:00",
        "bucket=week",
        "to=0001-01-01T00:00:00%2B14:00",
        "to=9999-12-31T23:59:59Z",
    ):
        assert ann.call("GET", f"{path}?{bad}").status_code == 422, bad
    assert site.as_("eve").call("GET", f"figures?organizationId={site.ids['acme']}").status_code == 404


def test_history_begins_with_what_was_before(site: Site) -> None:
    """A timeline needs the state that it begins with; pages go on where the last one ended."""
    ann, ada = site.as_("ann"), f"orchestrators/{site.ids['ada-orchestrator']}"
    for verb in ("start", "stop", "start"):
        assert ann.call("POST", f"{ada}/{verb}").status_code == 200
    found = ann.get(f"{ada}/history")
    assert [(one["event"], one["state"], one["reason"]) for one in found["items"]] == [
        ("started", "running", None),
        ("stopped", "stopped", "person"),
        ("started", "running", None),
    ]
    assert (found["before"], found["next"]) == (None, None)
    assert found["availability"]["day"]["percent"] == 100.0
    last = found["items"][0]["at"].replace("Z", "%2B00:00")
    later = ann.get(f"{ada}/history?from={last}")
    assert later["before"]["event"] in ("stopped", "started")
    page = ann.get(f"{ada}/history?limit=2")
    rest = ann.get(f"{ada}/history?limit=2&cursor={page['next']}")
    assert [one["id"] for one in (*page["items"], *rest["items"])] == [one["id"] for one in found["items"]]


def test_nodes_are_shown_to_those_who_manage(site: Site) -> None:
    """With what they can do, and which of them answers."""
    site.as_("ann").call("POST", f"orchestrators/{site.ids['ada-orchestrator']}/start")
    (node,) = site.as_("ann").get("nodes")["items"]
    assert (node["alive"], node["isThis"], node["runningTurns"], node["threads"]) == (True, True, 0, 64)
    assert node["name"] == f"{node['host']}:{node['pid']}"
    assert node["bootId"]
    assert site.as_("bob").call("GET", "nodes").status_code == 404
    assert len(site.as_("ada").get("nodes")["items"]) == 1


def test_a_turn_is_told_with_its_timing(site: Site) -> None:
    """As in the list; what was said stays with those who may read it."""
    prepare(site)
    ann = site.as_("ann")
    (listed,) = ann.get(f"orchestrators/{site.ids['ada-orchestrator']}/turns?state=failed,done")["items"]
    one = ann.get(f"turns/{listed['id']}")
    for name in set(listed) - {"usage"}:
        assert one[name] == listed[name], name
    assert (listed["requester"]["name"], listed["channel"]["name"]) == ("ann", "general")
    assert (listed["reason"], listed["cost"], listed["unpriced"]) == ("mentioned", "0.000000", 0)
    assert listed["waitingMs"] == 0, "the clocks of two processes may differ a little: never less than nothing"
    (letter,) = ann.get("deliveries?state=failed,expired")["items"]
    assert (letter["retryable"], letter["orchestrator"]["handle"], letter["author"]["name"]) == (True, "ada", "ann")
    ones = ann.get("orchestrators?health=true")["items"]
    assert [one["health"]["deadLetters"] for one in ones] == [1]


def test_many_are_listed_by_as_many_looks_as_one(site: Site) -> None:
    """A dashboard asks for all daemons with their health: what that costs does not grow with their number."""
    ann, here = site.as_("ann"), threading.get_ident()

    def looks() -> tuple[int, int]:
        seen: list[str] = []

        def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            if threading.get_ident() == here:  # jobs look too
                seen.append(statement)

        event.listen(Engine, "before_cursor_execute", note)
        try:
            found = ann.get("orchestrators?health=true")["items"]
        finally:
            event.remove(Engine, "before_cursor_execute", note)
        assert all(one["health"]["status"] == "stopped" for one in found)
        return len(found), len([one for one in seen if "neolith_daemon" in one or "daemon_endpoint" in one])

    looks()  # the first one starts the process
    count, before = looks()
    with site.app.app_context():
        users = site.neolith.models.user
        for n in range(5):
            user = users(name=f"bot{n}", is_orchestrator=True)
            site.db.session.add(user)
            site.db.session.flush()
            site.neolith.directory.create_orchestrator(str(user.id), site.ids["acme"], f"bot{n}")
        site.db.session.commit()
    assert looks() == (count + 5, before)
    assert before
