"""Who sends too much is refused, told so once, and may go on when the window has moved (ACCEPTANCE F7)."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from flask_neolith_orchestrator.core.errors import ModelRejected, TooMany
from flask_neolith_orchestrator.runtime.money.rate_window import SWEEP, Windows
from flask_neolith_orchestrator.runtime.money.rates import Rates
from flask_neolith_orchestrator.settings import load_settings
from flask_neolith_orchestrator.testing import ManualClock

from .conftest import Databases, MakeWorld
from .web_site import make_site


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands at 22:13:20."""
    return ManualClock()


def rates(clock: ManualClock, **config: str) -> Rates:
    """Rates by these settings, and without limits elsewhere."""
    off = {f"NEOLITH_RATE_{name}": "" for name in ("ORCHESTRATOR", "PERSON", "POSTS")}
    return Rates(load_settings({**off, **config}, {}), clock)


def test_one_person_too_often_for_one_orchestrator(
    make_world: MakeWorld, databases: Databases, clock: ManualClock
) -> None:
    """The third message in a minute is refused and answered once; other people and orchestrators go on."""
    two = ("ada", "leo")
    world = make_world(on=databases, orchestrators=two, clock=clock, NEOLITH_RATE_ORCHESTRATOR="2/minute")
    world.start()
    ended: list[str] = []
    with world.context():
        world.neolith.manager.on("delivery:ended", lambda reason, **_: ended.append(reason))
    for text in ("@ada one", "@ada two", "@ada three", "@leo one", "@ada four"):
        clock.advance(1.0)
        world.post("ann", text)
        world.rest()
    world.post("bob", "@ada hello")
    world.rest()
    refused = world.rows("Delivery", state="refused")
    assert [row["outcome"] for row in refused] == ["rate-limit", "rate-limit"]
    assert len(world.rows("Delivery", state="answered")) == 4
    (notice,) = [one for one in world.answers() if one["state"] == "failed"]
    # the first of them counts until a minute after 22:13:21
    assert notice["content"] == (
        "That is more than I may take from you in so short a time. Please ask me again after 22:14:22 UTC."
    )
    assert (notice["notice"], str(notice["reply_to_id"])) == ("rate-limit", refused[0]["message_id"])
    assert ended.count("rate-limit") == 2
    clock.advance(57.5)
    world.post("ann", "@ada five")
    world.rest()
    assert world.rows("Delivery")[-1]["state"] == "answered"


def test_an_answer_that_is_written_anew_counts_as_a_message(make_world: MakeWorld) -> None:
    """Nobody gets round the limit by asking for the same answer again and again."""
    world = make_world(NEOLITH_RATE_ORCHESTRATOR="2/minute")
    world.start()
    asked = world.post("bob", "@ada hello")["id"]
    world.rest()
    with world.context():
        world.neolith.chat.regenerate(world.ids["bob"], str(asked))
        world.db.session.commit()
    world.rest()
    with world.context(), pytest.raises(TooMany):
        world.neolith.chat.regenerate(world.ids["bob"], str(asked))


def test_an_answer_that_is_tried_again_counts_as_a_message(make_world: MakeWorld) -> None:
    """What fails each time is not a way round the limit either."""
    world = make_world(NEOLITH_RATE_ORCHESTRATOR="2/minute")
    world.start()
    world.model.script = lambda _scene: (_ for _ in ()).throw(ModelRejected)
    asked = world.post("bob", "@ada hello")["id"]
    world.rest()
    with world.context():
        world.neolith.chat.retry(world.ids["bob"], str(asked))
        world.db.session.commit()
    world.rest()
    with world.context(), pytest.raises(TooMany):
        world.neolith.chat.retry(world.ids["bob"], str(asked))


def test_one_person_too_often_for_all_of_them(clock: ManualClock) -> None:
    """What one orchestrator took counts for the person; what was refused counts for nobody."""
    found = rates(clock, NEOLITH_RATE_PERSON="3/minute", NEOLITH_RATE_ORCHESTRATOR="2/minute")
    assert [found.wait("ann", one) for one in ("1", "1")] == [None, None]
    clock.advance(10.0)
    assert found.wait("ann", "1") == 50.0
    assert found.wait("ann", "2") is None
    assert found.wait("ann", "2") == 50.0
    assert found.wait("bob", "2") is None
    clock.advance(50.0)
    assert found.wait("ann", "2") is None
    assert found.wait("ann", "3") is None
    assert found.wait("ann", "3") == 10.0


def test_a_person_is_told_once_in_a_window(clock: ManualClock) -> None:
    """The longest window counts, whoever refuses."""
    found = rates(clock, NEOLITH_RATE_PERSON="3/minute", NEOLITH_RATE_ORCHESTRATOR="2/second")
    assert [found.may_tell("ann"), found.may_tell("ann"), found.may_tell("bob")] == [True, False, True]
    clock.advance(60.0)
    assert found.may_tell("ann")


def test_without_limits_everybody_may_send(clock: ManualClock) -> None:
    """A blank setting is no limit."""
    found = rates(clock)
    assert {found.wait("ann", "1") for _ in range(500)} == {None}
    for _ in range(500):
        found.post("ann")


def test_posts_from_outside_are_limited_first(clock: ManualClock) -> None:
    """Whoever posts too much is told when to come back, in seconds."""
    found = rates(clock, NEOLITH_RATE_POSTS="2/10 seconds")
    found.post("ann")
    clock.advance(4.0)
    found.post("ann")
    with pytest.raises(TooMany) as caught:
        found.post("ann")
    assert caught.value.retry_after == 6.0
    found.post("bob")


def test_threads_share_a_window(clock: ManualClock) -> None:
    """However many ask at the same time, not one more than the limit comes through."""
    windows, begin = Windows(clock), threading.Barrier(8)
    taken: list[bool] = []

    def hammer() -> None:
        begin.wait()
        taken.extend(windows.acquire_entry("key", 100, 60) for _ in range(50))

    threads = [threading.Thread(target=hammer) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert taken.count(True) == 100
    assert windows.get_moving_window("key", 100, 60) == (clock.monotonic(), 100)


def test_old_windows_are_forgotten(clock: ManualClock) -> None:
    """Memory does not grow with everybody who has ever written."""
    windows = Windows(clock)
    for number in range(SWEEP):
        windows.acquire_entry(str(number), 1, 60)
    clock.advance(61.0)
    for number in range(SWEEP, 2 * SWEEP):
        windows.acquire_entry(str(number), 1, 60)
    assert windows.check()
    assert windows.reset() == SWEEP
    windows.acquire_entry("a", 1, 60)
    windows.clear("a")
    assert windows.acquire_entry("a", 1, 60)


def test_an_answer_over_http_says_when_to_come_back(tmp_path: Path) -> None:
    """429 with Retry-After and a code; the message was not stored, and others may post."""
    site = make_site(tmp_path / "site", NEOLITH_RATE_POSTS="1/minute")
    try:
        ann = site.as_("ann")
        path = f"channels/{ann.get('channels')['items'][0]['id']}/messages"
        assert ann.call("POST", path, json={"content": "one"}).status_code == 201
        refused = ann.call("POST", path, json={"content": "two"})
        assert (refused.status_code, refused.json["code"]) == (429, "too-many-requests")
        assert 0 < int(refused.headers["Retry-After"]) <= 60
        assert [one["content"] for one in ann.get(path)["items"]] == ["one"]
        assert site.as_("bob").call("POST", path, json={"content": "three"}).status_code == 201
    finally:
        site.close()
