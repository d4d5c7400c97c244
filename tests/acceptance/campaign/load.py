"""People who post over HTTP, and keep what they were told: what is not acknowledged is posted again until it is."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import requests

from .questions import HANDLES, ask

SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}
RETRY = 0.05


@dataclass(slots=True)
class Post:
    """One message of a person: what was asked where, and every id that acknowledged it."""

    number: int
    handle: str
    author: str
    channel: str
    thread: str | None
    content: str
    sent: float
    is_dm: bool = False
    acknowledged: float | None = None
    ids: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    tries: int = 0

    @property
    def conversation(self) -> tuple[str, str, str]:
        """The orchestrator's conversation that it belongs to: one on a main line opens a thread."""
        opened = "" if self.is_dm or not self.ids else self.ids[0]
        return self.handle, self.channel, self.thread or opened


@dataclass(frozen=True, slots=True)
class Place:
    """Where to post: a channel's main line, a thread in it, or a direct message with one orchestrator."""

    channel: str
    thread: str | None
    dm: str | None


class Crowd:
    """What all posters share. Lifetime: a campaign."""

    def __init__(self, urls: Mapping[str, str], places: Sequence[Place], seed: int) -> None:
        self.posts: list[Post] = []
        self.stop = threading.Event()
        self.give_up = threading.Event()
        self.full: Callable[[], bool] = lambda: False
        self.seed = seed
        self.urls = urls
        self.places = places
        self.numbers = count(1)
        self._threads: list[threading.Thread] = []

    def begin(self, people: Mapping[str, requests.Session], rate: float) -> None:
        """Let people post, each on a thread, `rate` times a second each."""
        for name, browser in people.items():
            poster = Poster(self, name, browser, rate)
            thread = threading.Thread(target=poster.run, name=f"campaign-{name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def end(self, timeout: float) -> None:
        """Let everybody finish what they have begun to post, then go."""
        self.stop.set()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self.give_up.set()
        for thread in self._threads:
            thread.join()


class Poster:
    """One person at a browser. Lifetime: a campaign. Used by one thread."""

    def __init__(self, crowd: Crowd, name: str, browser: requests.Session, rate: float = 1.0) -> None:
        self._crowd = crowd
        self._name = name
        self._browser = browser
        self._rate = rate
        self._random = random.Random(f"{crowd.seed}-{name}")

    def run(self) -> None:
        """Post until told to stop."""
        while not self._crowd.stop.wait(self._random.expovariate(self._rate)):
            if not self._crowd.full():
                self.post(self._place(), milliseconds=self._random.choice((0, 0, 60, 150, 300, 600, 1200)))

    def _place(self) -> Place:
        return self._random.choice([one for one in self._crowd.places if one.dm is None or self._name == "maya"])

    def post(self, place: Place, *, milliseconds: int, handle: str | None = None) -> Post:
        """Post a question until it is acknowledged; now and then once more although it has been."""
        handle = handle or place.dm or self._random.choice(list(HANDLES.values()))
        number = next(self._crowd.numbers)
        content = ask(handle, number, milliseconds)
        post = Post(
            number, handle, self._name, place.channel, place.thread, content, time.monotonic(), place.dm is not None
        )
        self._crowd.posts.append(post)
        self._until_acknowledged(post)
        if self._random.random() < 0.1:
            self._until_acknowledged(post)
        if self._random.random() < 0.1:
            self.again(post)
        return post

    def _until_acknowledged(self, post: Post) -> None:
        where = f"/neolith/api/v1/channels/{post.channel}/messages"
        body = {"content": post.content, "threadId": post.thread, "clientId": f"q{post.number}"}
        while not self._crowd.give_up.is_set():
            post.tries += 1
            answer = self._send(where, {key: value for key, value in body.items() if value is not None})
            if answer is None or answer.status_code >= 500:
                self._crowd.give_up.wait(RETRY)
            elif answer.status_code in (200, 201):
                post.ids.append(str(answer.json()["id"]))
                post.acknowledged = post.acknowledged or time.monotonic()
                return
            else:
                post.refused.append(f"{answer.status_code} {answer.text}")
                return

    def again(self, post: Post) -> None:
        """Have a server accept the message again, as a host that hears of it twice; once is enough to try."""
        if post.ids:
            body = {"id": post.ids[0], "content": post.content, "channelId": post.channel, "threadId": post.thread}
            self._send("/again", body)

    def _send(self, where: str, body: Mapping[str, Any]) -> requests.Response | None:
        url = self._random.choice(list(self._crowd.urls.values()))
        try:
            return self._browser.post(f"{url}{where}", json=body, headers=SAME_ORIGIN, timeout=(2, 8))
        except (requests.RequestException, OSError):
            return None


def read_everything(url: str, browser: requests.Session, places: Sequence[Place]) -> list[dict[str, Any]]:
    """Every message in these channels and all their threads, as the API shows them."""
    found: dict[str, dict[str, Any]] = {}
    for channel in {place.channel for place in places}:
        line = _pages(url, browser, channel, {})
        for message in line:
            found[message["id"]] = message
            if message["replyCount"]:
                for reply in _pages(url, browser, channel, {"threadId": message["id"]}):
                    found.setdefault(reply["id"], reply)
    return list(found.values())


def _pages(url: str, browser: requests.Session, channel: str, which: Mapping[str, str]) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    query = {"limit": "200", **which}
    while True:
        answer = browser.get(f"{url}/neolith/api/v1/channels/{channel}/messages", params=query, timeout=10).json()
        items += answer["items"]
        if answer["next"] is None:
            return items
        query["before"] = answer["next"]
