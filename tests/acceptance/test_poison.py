"""A poison message: its turn kills the process each time (C9)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .campaign.campaign import Campaign
from .campaign.fleet import until
from .campaign.ledger import read_lines
from .campaign.load import SAME_ORIGIN, Post, read_everything
from .campaign.nursery import Nursery
from .campaign.points import POISONED

pytestmark = pytest.mark.process

ATTEMPTS = 3
SLOW = 1_500
"""Milliseconds in which the first answers of the threads are being written, while the others are posted behind them."""


def delivery(campaign: Campaign, post: Post) -> tuple[Any, ...]:
    """Id, state, outcome and attempts of a question's delivery."""
    statement = "SELECT id, state, outcome, attempts FROM neolith_delivery WHERE message_id = ?"
    (found,) = campaign.fleet.rows(statement, post.ids[0])
    return found


def state(campaign: Campaign, post: Post) -> str:
    """The state of a question's delivery."""
    return str(delivery(campaign, post)[1])


def answer_states(campaign: Campaign) -> list[str]:
    """The state of every answer, as people see them."""
    messages = read_everything(campaign.fleet.urls["p0"], campaign.browser("maya"), campaign.places)
    return [one["state"] for one in messages if one["author"]["isOrchestrator"]]


def die_until_done(campaign: Campaign, *posts: Post) -> int:
    """Start the server again whenever it has killed itself, until these have ended; how often it died."""
    deaths = 0
    while True:
        life = campaign.fleet.life("p0")
        while not life.process.is_gone(0.1):
            if all(state(campaign, one) in ("failed", "answered") for one in posts):
                return deaths
        deaths += 1
        campaign.fleet.kill(life)
        campaign.fleet.start("p0")


def test_a_poison_message_ends_alone(nursery: Nursery, tmp_path: Path) -> None:
    """After its attempts it is a dead letter; its neighbours are answered; API and CLI each give it another chance."""
    settings = {"DAEMON_MAX_ATTEMPTS": str(ATTEMPTS)}
    with Campaign(nursery, tmp_path, settings=settings) as campaign:
        campaign.fleet.start("p0")
        maya, noor = campaign.poster("maya"), campaign.poster("noor")
        one, other = [place for place in campaign.places if place.thread][:2]
        for place in (one, other):
            maya.post(place, milliseconds=SLOW, handle="leo")
        poison = maya.post(one, milliseconds=0, handle="leo")
        neighbour = maya.post(one, milliseconds=0, handle="leo")  # it waits with the poison: one turn has both
        bystander = noor.post(one, milliseconds=0, handle="leo")
        second = maya.post(other, milliseconds=0, handle="leo")
        poisons = [tmp_path / f"poison-{post.ids[0]}" for post in (poison, second)]
        for one_file in poisons:
            one_file.touch()

        until(campaign.fleet.life("p0").process.is_gone, "the first death")
        one_turn = "SELECT count(*) FROM neolith_delivery WHERE state = 'running' AND turn_id = (SELECT turn_id"
        assert campaign.fleet.rows(f"{one_turn} FROM neolith_delivery WHERE message_id = ?)", poison.ids[0]) == [(2,)]

        deaths = die_until_done(campaign, poison, neighbour, bystander, second)

        assert ATTEMPTS <= deaths <= 2 * ATTEMPTS  # two conversations may die of one kill
        for post in (poison, second):
            assert delivery(campaign, post)[1:] == ("failed", "dead-letter", ATTEMPTS)
        assert [state(campaign, post) for post in (neighbour, bystander)] == ["answered", "answered"]
        assert answer_states(campaign).count("failed") == 2  # each dead letter has its notice
        died_of = [line["messages"] for line in read_lines(tmp_path / POISONED)]
        assert died_of.count([poison.ids[0], neighbour.ids[0]]) <= 1  # after its first death it is alone
        assert len(died_of) == deaths

        for one_file in poisons:
            one_file.unlink()
        url = f"{campaign.fleet.urls['p0']}/neolith/api/v1/deliveries/{delivery(campaign, poison)[0]}/retry"
        assert campaign.browser("maya").post(url, headers=SAME_ORIGIN, json={}, timeout=10).status_code == 200
        until(lambda: state(campaign, poison) == "answered", "the answer after the API's retry")
        assert (
            "waits to be answered"
            in campaign.fleet.flask("neolith", "retry", str(delivery(campaign, second)[0])).stdout
        )
        until(lambda: state(campaign, second) == "answered", "the answer after the CLI's retry")
        assert answer_states(campaign) == ["final"] * len(campaign.crowd.posts)
