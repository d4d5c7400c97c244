"""Charters over HTTP: versions, comparing, checking, going back; and an organization's, the parent of all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.web_site import Site, Visitor, make_site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = make_site(tmp_path)
    yield made
    made.close()


@pytest.fixture
def ann(site: Site) -> Visitor:
    return site.as_("ann")


@pytest.fixture
def path(site: Site) -> str:
    return f"orchestrators/{site.ids['ada-orchestrator']}/charter"


def put(who: Visitor, path: str, charter: dict[str, Any], version: int, **more: Any) -> Any:
    """Save a charter."""
    return who.call("PUT", path, json={"charter": charter, "version": version, **more})


SAFE = {"mission": "Count.", "safety": {"always_reject": ["delete_all"]}, "limits": {"cost_per_day": 5}}


def test_what_is_less_safe_has_to_be_confirmed(ann: Visitor, path: str) -> None:
    """409 with each thing by name, nothing written; with `confirm` it is."""
    assert put(ann, path, SAFE, 0).status_code == 200
    loose = {"mission": "Count.", "limits": {"cost_per_day": 50}}
    refused = put(ann, path, loose, 1)
    assert (refused.status_code, refused.json["code"]) == (409, "unconfirmed")
    assert [one["path"] for one in refused.json["weakenings"]] == ["safety.always_reject", "limits.cost_per_day"]
    assert ann.get(path)["version"] == 1
    assert put(ann, path, loose, 1, confirm=True).json["version"] == 2


def test_a_tier_stays_once_it_is_set(ann: Visitor, path: str) -> None:
    """A change is refused with a sentence; a charter that leaves it out keeps it."""
    put(ann, path, {"tier": 2}, 0)
    refused = put(ann, path, {"tier": 1}, 1)
    assert refused.status_code == 422
    assert refused.json["errors"] == [
        {"at": "tier", "problem": "is 2 and cannot be changed: it is fixed once it is set"}
    ]
    assert put(ann, path, {"mission": "x"}, 1).json["charter"] == {"mission": "x", "tier": 2}


def test_versions_are_listed_compared_and_go_back(ann: Visitor, path: str, site: Site) -> None:
    """Every version with author and reason, the newest first, by pages; an older one holds again as a new one."""
    for number, mission in enumerate(("One.", "Two.", "Three.")):
        put(ann, path, {"mission": mission}, number, reason=f"because of {number}")
    listed = ann.get(f"{path}/versions?limit=2")
    assert [(one["version"], one["reason"], one["active"]) for one in listed["items"]] == [
        (3, "because of 2", True),
        (2, "because of 1", False),
    ]
    rest = ann.get(f"{path}/versions?limit=2&cursor={listed['next']}")
    assert ([one["version"] for one in rest["items"]], rest["next"]) == ([1], None)
    assert ann.get(f"{path}/versions/1")["charter"] == {"mission": "One."}
    diff = ann.get(f"{path}/diff?from=1")
    assert (diff["from"], diff["to"]) == (1, 3)
    assert diff["changes"] == [{"path": "mission", "before": "One.", "after": "Three."}]
    assert diff["text"] == '- mission: "One."\n+ mission: "Three."'
    assert ann.get(f"{path}/diff?from=2&to=2")["changes"] == []
    restored = ann.call("POST", f"{path}/activate", json={"version": 1, "expected": 3, "reason": "calmer"}).json
    assert (restored["version"], restored["reason"]) == (4, "version 1 again: calmer")
    assert (restored["charter"], restored["authorId"]) == ({"mission": "One."}, site.ids["ann"])
    assert ann.call("POST", f"{path}/activate", json={"version": 2, "expected": 3}).status_code == 409


@pytest.mark.parametrize(
    "rest", ["versions/9", "versions/99999999999", "versions/x", "diff?from=9", "diff?from=0&to=9"]
)
def test_a_version_that_is_not_there_is_404(ann: Visitor, path: str, rest: str) -> None:
    """Also where there is none at all."""
    assert ann.call("GET", f"{path}/{rest}").status_code == 404
    assert ann.call("POST", f"{path}/activate", json={"version": 9}).status_code == 404


def test_a_charter_is_checked_without_being_saved(ann: Visitor, path: str) -> None:
    """All problems, or all warnings and weakenings and the prompt that would come of it."""
    put(ann, path, SAFE, 0)

    def check(charter: dict[str, Any]) -> Any:
        answer = ann.call("POST", f"{path}/validate", json={"charter": charter})
        assert answer.status_code == 200
        return answer.json

    bad = check({"safty": 1, "tier": 9})
    assert bad["problems"] == [
        {"at": "tier", "problem": "it should be less than or equal to 3", "line": None},
        {"at": "safty", "problem": "is not known here; do you mean safety?", "line": None},
    ]
    assert bad["prompt"] is None
    good = check({"mission": "Add.", "availability": {"hours": {"mon": "09:00-10:00"}}})
    assert good["problems"] == []
    assert len(good["weakenings"]) == 2
    assert "offline_message" in good["warnings"][0]
    assert "## Your charter\nAdd." in good["prompt"]
    assert check({"handle": "otto"})["problems"][0]["at"] == "handle"
    assert ann.get(path)["version"] == 1


def test_an_organizations_charter_is_the_parent_of_all(ann: Visitor, path: str, site: Site) -> None:
    """What is in force is shown beside what the orchestrator's own says, and a warning says where that is less."""
    parent = f"organizations/{site.ids['acme']}/charter"
    assert ann.get(parent)["version"] == 0
    assert put(ann, parent, {"limits": {"cost_per_day": 3}, "safety": {"always_reject": ["x"]}}, 0).status_code == 200
    put(ann, path, {"mission": "Count.", "limits": {"cost_per_day": 5}}, 0)
    shown = ann.get(path)
    assert shown["charter"]["limits"] == {"cost_per_day": 5}
    assert shown["inForce"]["limits"] == {"cost_per_day": "3"}
    assert (shown["inForce"]["safety"]["always_reject"], shown["parentVersion"]) == (["x"], 1)
    checked = ann.call("POST", f"{path}/validate", json={"charter": {"limits": {"cost_per_day": 5}}}).json
    assert checked["warnings"] == ["limits.cost_per_day: the organization allows 3."]
    assert put(ann, parent, {}, 0).status_code == 409
    assert put(ann, parent, {}, 1).json["code"] == "unconfirmed"
    assert put(ann, parent, {"tier": 2}, 1).json["errors"][0]["at"] == "tier"
    assert put(ann, parent, {"safety": {"auto_approve": ["x"]}}, 1, confirm=True).json["version"] == 2
    freed = put(ann, parent, {}, 2).json  # what others approve would run by itself from now on
    assert [one["path"] for one in freed["weakenings"]] == ["safety.auto_approve"]


def test_what_the_organization_then_approves_has_to_be_confirmed(ann: Visitor, path: str, site: Site) -> None:
    """A charter that approves nothing, and then says nothing of it, has the organization's approvals."""
    parent = f"organizations/{site.ids['acme']}/charter"
    assert put(ann, parent, {"safety": {"auto_approve": ["x"]}}, 0).status_code == 200
    assert put(ann, path, {"safety": {"auto_approve": []}}, 0).status_code == 200
    freed = put(ann, path, {"mission": "Count."}, 1).json
    assert [one["path"] for one in freed["weakenings"]] == ["safety.auto_approve"]
    assert put(ann, path, {"mission": "Count."}, 1, confirm=True).json["version"] == 2


def test_a_charter_that_the_host_broke_can_be_seen_and_mended(ann: Visitor, path: str, site: Site) -> None:
    """What is in force is null then, and the next charter is saved as ever."""
    with site.app.app_context():
        user = site.db.session.get(site.neolith.models.user, int(site.ids["ada"]))
        assert user is not None
        user.orchestrator_config = {"charter": {"safty": {}}}
        site.db.session.commit()
    shown = ann.get(path)
    assert (shown["version"], shown["inForce"], shown["charter"]) == (1, None, {"safty": {}})
    assert put(ann, path, {"mission": "Count."}, 1).json["inForce"]["mission"] == "Count."


def test_an_orchestrator_does_not_loosen_its_own_charter(site: Site, path: str) -> None:
    """It may write it, and cannot confirm that it becomes less safe: that is for people."""
    ada = site.as_("ada")
    assert put(ada, path, SAFE, 0).status_code == 200
    assert put(ada, path, {"mission": "Free!"}, 1).json["code"] == "unconfirmed"
    assert put(ada, path, {"mission": "Free!"}, 1, confirm=True).status_code == 403
    assert ada.call("POST", f"{path}/activate", json={"version": 0, "confirm": True}).status_code == 403
    assert put(site.as_("ann"), path, {"mission": "Free!"}, 1, confirm=True).status_code == 200
    assert ada.call("GET", f"organizations/{site.ids['acme']}/charter").status_code == 403


def test_a_file_is_checked_as_its_author_wrote_it(ann: Visitor, path: str) -> None:
    """Problems have their line; the answer has the charter as JSON, with its fields' own names, and as YAML."""

    def check(text: str) -> Any:
        answer = ann.call("POST", f"{path}/validate", json={"text": text})
        assert answer.status_code == 200
        return answer.json

    bad = check("mission: Count.\nlimits:\n  costPerDay: 5\n  tokensPerHour: many\n7: x\n")
    assert {(one["at"], one["line"]) for one in bad["problems"]} == {("limits.tokensPerHour", 4), ("7", 5)}
    assert bad["charter"]["limits"] == {"costPerDay": 5, "tokensPerHour": "many"}
    assert bad["fields"]["limits"] == {"cost_per_day": 5, "tokens_per_hour": "many"}
    assert (bad["prompt"], bad["inForce"]) == (None, None)
    unreadable = check("mission: [")
    assert (unreadable["problems"][0]["line"], unreadable["charter"], unreadable["yaml"]) == (1, None, None)
    assert check("a: " + "[" * 9 + "]" * 9)["problems"][0] == {
        "at": "file",
        "problem": "nested too deeply",
        "line": None,
    }
    good = check('{"systemPrompt": "Count.\\nSlowly.", "model": "m"}')
    assert good["fields"] == {"mission": "Count.\nSlowly.", "model": {"name": "m"}}
    assert good["yaml"] == "systemPrompt: |-\n  Count.\n  Slowly.\nmodel: m\n"
    assert (good["problems"], good["inForce"]["name"]) == ([], "ada")
    assert ann.call("POST", f"{path}/validate", json={}).status_code == 422
    assert ann.call("POST", f"{path}/validate", json={"text": "", "charter": {}}).status_code == 422


def test_an_organizations_charter_has_its_versions_too(ann: Visitor, site: Site) -> None:
    """Checked, listed with who wrote them, compared, and an older one holds again."""
    parent = f"organizations/{site.ids['acme']}/charter"
    for number, cost in enumerate((3, 2)):
        assert put(ann, parent, {"limits": {"cost_per_day": cost}}, number, reason="thrift").status_code == 200
    checked = ann.call("POST", f"{parent}/validate", json={"text": "limits: {cost_per_day: 9}"}).json
    assert [one["path"] for one in checked["weakenings"]] == ["limits.cost_per_day"]
    named = ann.call("POST", f"{parent}/validate", json={"text": "name: x"}).json
    assert named["problems"][0]["at"] == "name"
    listed = ann.get(f"{parent}/versions")["items"]
    assert [(one["version"], one["authorName"], one["reason"]) for one in listed] == [
        (2, "ann", "thrift"),
        (1, "ann", "thrift"),
    ]
    assert ann.get(f"{parent}/versions/1")["charter"] == {"limits": {"cost_per_day": 3}}
    assert ann.get(f"{parent}/diff?from=1")["changes"] == [{"path": "limits.cost_per_day", "before": "3", "after": "2"}]
    refused = ann.call("POST", f"{parent}/activate", json={"version": 1, "expected": 2})
    assert (refused.status_code, refused.json["code"]) == (409, "unconfirmed")
    back = ann.call("POST", f"{parent}/activate", json={"version": 1, "expected": 2, "confirm": True}).json
    assert (back["version"], back["reason"], back["authorName"]) == (3, "version 1 again", "ann")
    assert ann.call("POST", f"{parent}/activate", json={"version": 9}).status_code == 404
