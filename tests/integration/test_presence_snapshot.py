"""Who connects while somebody comes or goes learns of it, in the first list or as news."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flask_neolith_orchestrator import OrchestratorStatus
from tests.integration.live import LiveServer
from tests.integration.socket_ear import Ear
from tests.integration.web_site import make_site


def test_nobody_comes_between_the_list_and_the_news(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change right after the list was read is heard, and dated after the list."""
    site = make_site(tmp_path)
    people, news = site.state.house.people, site.state.house.news
    read = people.snapshots

    def read_and_change(tx: Any, *ids: Any) -> Any:
        found = read(tx, *ids)
        news.presence(found[0], OrchestratorStatus.ONLINE)
        return found

    with LiveServer(site.app) as server:
        browser = site.as_("bob").client
        cookie = browser.get_cookie("session")
        assert cookie is not None
        monkeypatch.setattr(people, "snapshots", read_and_change)
        ear = Ear(server.url, f"session={cookie.value}")
        change = ear.next("presence")
        there = ear.next("presence:snapshot")
        ear.close()
        assert (there[0]["status"], change["status"]) == ("OFFLINE", "ONLINE")
        assert change["at"] >= there[0]["at"]
    site.close()
