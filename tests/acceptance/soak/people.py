"""The people of the soak: each does what people do in a chat, by a seed, and writes down what came of it."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import requests

from tests.integration.socket_ear import Ear, Refused

from .cast import ORCHESTRATORS, PEOPLE

CHANNELS = ("1", "2")


@dataclass(eq=False)
class Question:
    """Something that was accepted for an orchestrator. `gone`: deleted or stopped, so that no answer is owed."""

    message_id: int
    orchestrator: str
    place: tuple[str, str | None]
    gone: bool = False


@dataclass
class Diary:
    """What all of them did and saw. Lifetime: a soak; safe for all threads, as each entry is one append."""

    questions: list[Question] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    odd: list[str] = field(default_factory=list)


class Person:
    """Somebody at a browser. Lifetime: a soak; one thread of its own."""

    def __init__(self, user_id: int, url: str, seed: int, diary: Diary, quiet: Quiet) -> None:
        self.id = user_id
        self._url = url
        self._api = f"{url}/neolith/api/v1"
        self._random = random.Random(f"{seed}/{user_id}")
        self._diary = diary
        self._quiet = quiet
        self._browser = requests.Session()
        self._browser.headers["Sec-Fetch-Site"] = "same-origin"
        self._mine: list[Question] = []
        self._direct: dict[str, str] = {}
        self._colleague: requests.Session | None = None
        self._thread = threading.Thread(target=self._live, name=f"person-{user_id}", daemon=True)

    def log_in(self) -> None:
        """Log in."""
        assert self._browser.post(f"{self._url}/login/{self.id}", timeout=30).status_code == 200

    def greet(self) -> None:
        """Ask each orchestrator something, and listen for a moment: what is only made at its first use is made now."""
        for who in ORCHESTRATORS:
            message = self._post(CHANNELS[0], f"@{who} good morning")
            self._note(message, who, (CHANNELS[0], None if message is None else message["id"]))
        self._listen()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def join(self) -> None:
        """Wait until this person has gone home; the browser stays open for who asks by `call`."""
        self._thread.join(60)
        assert not self._thread.is_alive()

    def close(self) -> None:
        """Close the browsers."""
        self._browser.close()
        if self._colleague is not None:
            self._colleague.close()

    def _live(self) -> None:
        acts: dict[Callable[[], None], int] = {
            self._ask: 6,
            self._ask_further: 4,
            self._ask_directly: 4,
            self._talk: 3,
            self._read: 6,
            self._listen: 3,
            self._look_around: 2,
            self._edit: 2,
            self._delete: 1,
            self._stop: 1,
            self._react: 1,
            self._colleague_comes_or_goes: 1,
            self._restart: 1,
        }
        chances = [*acts.values()]
        while self._quiet.wait(self._random.uniform(0.1, 0.5)):
            act = self._random.choices([*acts], chances)[0]
            name = act.__name__.strip("_")
            try:
                act()
            except (requests.RequestException, Refused, OSError) as error:
                self._diary.odd.append(f"{name}: {error!r}"[:200])
            self._diary.done[name] += 1

    def call(self, method: str, path: str, *fine: int, **more: Any) -> Any:
        """Call the API; an answer that is neither among `fine` nor 200 or 201 is odd."""
        answer = self._browser.request(method, f"{self._api}/{path}", timeout=30, **more)
        if answer.status_code not in (200, 201, *fine):
            self._diary.odd.append(f"{method} {path.split('?')[0]}: {answer.status_code} {answer.text[:150]}")
            return None
        return answer.json()

    def _post(self, channel: str, content: str, thread: str | None = None) -> Any:
        body = {"content": content, "clientId": f"{self.id}-{self._random.getrandbits(60)}"}
        if thread is not None:
            body["threadId"] = thread
        # its thread may have been deleted
        answer = self.call("POST", f"channels/{channel}/messages", *((409,) if thread else ()), json=body)
        return answer if answer is not None and "id" in answer else None

    def _someone(self) -> str:
        return self._random.choice(ORCHESTRATORS)

    def _words(self) -> str:
        return " ".join(f"word{self._random.randint(1, 999)}" for _ in range(self._random.randint(1, 60)))

    def _note(self, message: Any, orchestrator: str, place: tuple[str, str | None]) -> None:
        if message is not None:
            question = Question(int(message["id"]), orchestrator, place)
            self._diary.questions.append(question)
            self._mine = [*self._mine[-19:], question]

    def _ask(self) -> None:
        channel, who = self._random.choice(CHANNELS), self._someone()
        message = self._post(channel, f"@{who} {self._words()}")
        self._note(message, who, (channel, None if message is None else message["id"]))

    def _ask_further(self) -> None:
        channel, who = self._random.choice(CHANNELS), self._someone()
        roots = [one.place for one in self._mine if one.place[0] == channel and one.place[1] is not None]
        if roots:
            place = self._random.choice(roots)
            self._note(self._post(channel, f"And you, @{who}? {self._words()}", place[1]), who, place)

    def _ask_directly(self) -> None:
        who = self._someone()
        if who not in self._direct:
            other = str(len(PEOPLE) + ORCHESTRATORS.index(who) + 1)
            opened = self.call("POST", "channels", json={"userIds": [other]})
            if opened is None:
                return
            self._direct[who] = opened["id"]
        self._note(self._post(self._direct[who], self._words()), who, (self._direct[who], None))

    def _talk(self) -> None:
        self._post(self._random.choice(CHANNELS), self._words())

    def _read(self) -> None:
        channel = self._random.choice([*CHANNELS, *self._direct.values()])
        page = self.call("GET", f"channels/{channel}/messages?limit={self._random.randint(1, 50)}")
        roots = [one["id"] for one in (page or {"items": []})["items"] if one.get("replyCount")]
        if roots:
            self.call("GET", f"channels/{channel}/messages?threadId={self._random.choice(roots)}")

    def _listen(self) -> None:
        cookie = "; ".join(f"{one.name}={one.value}" for one in self._browser.cookies)
        ear = Ear(self._url, cookie)
        try:
            ear.ask("channel:join", {"channelId": self._random.choice(CHANNELS)})
            self._quiet.wait(self._random.uniform(0.1, 1.0))
        finally:
            ear.close()

    def _look_around(self) -> None:
        self.call("GET", self._random.choice(("orchestrators", "deliveries?limit=50", "channels", "health/ready")), 503)
        self._browser.get(f"{self._url}/neolith/", timeout=30)

    def _edit(self) -> None:
        if self._mine:
            one = self._random.choice(self._mine)
            body = {"content": f"@{one.orchestrator} changed: {self._words()}"}
            self.call("PATCH", f"messages/{one.message_id}", 409, json=body)

    def _delete(self) -> None:
        if self._mine:
            one = self._mine.pop(self._random.randrange(len(self._mine)))
            root = one.place[1]
            for other in self._diary.questions:  # a thread goes with its root
                if other is one or (root == str(one.message_id) and other.place == one.place):
                    other.gone = True
            self.call("DELETE", f"messages/{one.message_id}", 404)

    def _stop(self) -> None:
        if self._mine:
            one = self._mine[-1]
            one.gone = True
            self.call("POST", f"messages/{one.message_id}/stop", 409, json={})

    def _react(self) -> None:
        if self._mine:
            self.call("PUT", f"messages/{self._random.choice(self._mine).message_id}/reactions/%F0%9F%94%A5", 409)

    def _colleague_comes_or_goes(self) -> None:
        """An orchestrator logs in in a browser of its own, or out of it."""
        if self._colleague is None:
            self._colleague = requests.Session()
            user_id = len(PEOPLE) + 1 + self._random.randrange(len(ORCHESTRATORS))
            self._colleague.post(f"{self._url}/login/{user_id}", timeout=30).raise_for_status()
        else:
            with suppress(requests.RequestException):
                self._colleague.post(f"{self._url}/logout", timeout=30)
            self._colleague.close()
            self._colleague = None

    def _restart(self) -> None:
        what = self._random.choice(("restart", "restart", "stop", "start"))
        number = self._random.randint(1, len(ORCHESTRATORS))
        self.call("POST", f"orchestrators/{number}/{what}", 409, json={})
        if what == "stop":
            self._quiet.wait(self._random.uniform(0.5, 2.0))
            self.call("POST", f"orchestrators/{number}/start", 409, json={})


class Quiet:
    """When all are quiet, and when the soak is over. Lifetime: a soak.

    Every so often all are quiet for a moment (times in seconds): what is still used then is what stays.
    """

    def __init__(self, every: float, lull: float) -> None:
        self._every, self._lull = every, lull
        self._over = threading.Event()
        self._began = time.monotonic()

    def wait(self, seconds: float) -> bool:
        """Wait for so long, and while all are quiet; False once it is over."""
        into = (time.monotonic() - self._began) % self._every
        if into + seconds > self._every - self._lull:
            seconds += self._lull
        return not self._over.wait(seconds)

    def end(self) -> None:
        """Everybody goes home."""
        self._over.set()
