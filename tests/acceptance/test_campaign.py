"""The crash campaign's short form, and the proof that its auditor sees: four planted faults turn it red.

The long form: `python -m tests.acceptance.campaign --kills 200` (see CONTRIBUTING.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

import pytest

from .campaign.__main__ import main
from .campaign.campaign import Campaign, Report
from .campaign.fleet import until
from .campaign.killer import EVERYBODY, PAUSE, TIMED
from .campaign.load import Place
from .campaign.nursery import Nursery

pytestmark = pytest.mark.process

SERIES = {
    1: ("in-accept", "in-claim", "after-finish"),
    2: (PAUSE, "before-finish", "after-accept", EVERYBODY),
    3: (TIMED, "in-finish", "after-claim"),
}
KILLS = 9
SHORT = {"DAEMON_LEASE": "1000", "DAEMON_RENEW_INTERVAL": "200"}


def test_deaths_of_one_two_and_three_processes(nursery: Nursery, tmp_path: Path) -> None:
    """Killed at named points and at any instant, and paused past the lease: nothing lost, doubled or out of order."""
    with Campaign(nursery, tmp_path, seed=7) as campaign:
        campaign.rampage((1, 2, 3), KILLS, ways=lambda count: cycle(SERIES[count]))
        campaign.drain()
        report = campaign.judge()
    assert report.violations == [], "\n".join(report.lines())
    assert report.counted >= KILLS
    assert sum(kill.cut for kill in report.kills) > 0  # the models saw their callers die
    assert report.called_twice > 0
    assert report.acknowledged == report.posts > KILLS
    assert {kill.how for kill in report.kills} >= {PAUSE, TIMED, "in-accept", "in-claim", "in-finish"}


@contextmanager
def small(nursery: Nursery, folder: Path, fault: str) -> Iterator[tuple[Campaign, Place]]:
    """A campaign of one process without load, and a thread to ask in."""
    with Campaign(nursery, folder, fault=fault, settings=SHORT) as campaign:
        campaign.start("p0")
        yield campaign, next(place for place in campaign.places if place.thread)


def verdict(campaign: Campaign, drain: float = 20.0) -> Report:
    """The end of a small campaign."""
    campaign.drain(drain)
    return campaign.judge()


def came_too_late(campaign: Campaign) -> bool:
    """Whether a late finish was dropped, or told."""
    versions = {event.text for event in campaign.ears.events if event.name == "message:done"}
    return "A late answer was dropped" in campaign.fleet.log() or len(versions) > 1


@pytest.mark.parametrize(("fault", "kinds"), [("", set()), ("no-fence", {"done-twice", "done-differs"})])
def test_a_process_that_comes_back_too_late_changes_nothing(
    nursery: Nursery, tmp_path: Path, fault: str, kinds: set[str]
) -> None:
    """Paused just before its finish until another has answered, it writes and tells nothing; unfenced it is found."""
    with small(nursery, tmp_path, fault) as (campaign, place):
        first = campaign.fleet.life("p0")
        campaign.killer.hold_at(first, "before-finish")
        campaign.poster("maya").post(place, milliseconds=0, handle="ada")
        until(lambda: campaign.killer.is_held(first), "the turn is complete")
        campaign.start("p1")
        since = campaign.fleet.pause(first)
        until(campaign.is_drained, "another process answers")
        campaign.fleet.resume(first, since)
        campaign.killer.let_go(first)
        until(lambda: came_too_late(campaign), "the late finish")
        report = verdict(campaign)
    assert report.kinds >= kinds if fault else report.violations == [], report.lines()
    assert report.called_twice == 1


@pytest.mark.parametrize(("fault", "kinds"), [("", set()), ("no-dedupe", {"answered-twice", "not-answered"})])
def test_a_message_accepted_twice_is_answered_once(
    nursery: Nursery, tmp_path: Path, fault: str, kinds: set[str]
) -> None:
    """A host that accepts a message again changes nothing; without the unique key it is answered twice, and found."""
    with small(nursery, tmp_path, fault) as (campaign, place):
        poster = campaign.poster("maya")
        poster.again(poster.post(place, milliseconds=200, handle="leo"))
        report = verdict(campaign)
    assert report.kinds >= kinds if fault else report.violations == [], report.lines()
    assert report.calls == (2 if fault else 1)


@pytest.mark.parametrize(("fault", "kinds"), [("", set()), ("early-effects", {"done-differs", "done-twice"})])
def test_nothing_is_told_before_it_is_committed(nursery: Nursery, tmp_path: Path, fault: str, kinds: set[str]) -> None:
    """Killed with the finish written and not committed, it has told nobody; what was told too early is found."""
    with small(nursery, tmp_path, fault) as (campaign, place):
        first = campaign.fleet.life("p0")
        campaign.killer.hold_at(first, "in-finish")
        campaign.poster("maya").post(place, milliseconds=0, handle="eve")
        until(lambda: campaign.killer.is_held(first), "the finish is written")
        if fault:
            until(lambda: any(event.name == "message:done" for event in campaign.ears.events), "it is told")
        campaign.killer.end(first, "in-finish")
        campaign.killer.let_go(first)
        campaign.start("p0")
        report = verdict(campaign)
    assert report.kinds >= kinds if fault else report.violations == [], report.lines()
    assert [kill.counts for kill in report.kills] == [True]


def test_what_nobody_sweeps_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without sweep and recovery a killed process's turns are lost: the long form exits with 1 and names the seed."""
    options = ["--kills", "1", "--processes", "1", "--seed", "5", "--drain", "3", "--fault", "no-sweep"]
    assert main([*options, "--folder", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "RED: repeat with --seed 5" in said
    for kind in ("lost", "streaming", "held", "not-answered"):
        assert f"VIOLATION {kind}:" in said, said
