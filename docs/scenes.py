"""What is to be seen on the pictures of the docs: days of a small company that works with the example app.

The server, the daemons, the SDK and HTTP are real; only Claude is not: `FakeClaude` says what the lines below have. A
day that has been played is dated back, so that charts have something to show.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import requests

from flask_neolith_orchestrator.testing import FakeClaude, Step, error, text, tool
from tests.acceptance.example_server import ExampleServer

HOUR: Final = 3600.0
PATIENCE: Final = 30.0
"""Seconds in which an answer must have come."""

KEPT: Final = (
    "neolith_budget",
    "neolith_conversation",
    "neolith_daemon",
    "neolith_login",
    "neolith_node",
    "neolith_schema",
    "neolith_slot",
)
"""Tables of what is now, which are not dated back."""

EVIDENCE: Final = """\
Short answer: **yes, but less than the headlines say.** Three field studies agree on the direction, not on the size.

| study | teams | change in hours to an answer | quality |
| --- | ---: | ---: | --- |
| Lindqvist 2024 | 41 | -34 % | randomised |
| Okafor 2025 | 12 | -51 % | before and after |
| Hu and Berg 2026 | 88 | -29 % | randomised |

The strongest is Hu and Berg: largest, randomised, and their data are open. A trial longer than a quarter would settle \
the rest; all three stop when the novelty does.

```python
pooled = sum(w * d for w, d in zip(weights, changes)) / sum(weights)   # -31 %, 95 % CI -38 to -24
```

Shall I look for studies with support teams only?
"""
PLAN: Final = """\
Here is a plan that fits into two days:

1. **Export** the customers table and freeze writes for the old form.
2. **Import** into the new schema; the script is idempotent, so run it twice.
3. **Compare** counts and checksums. Anything above 0.1 % stops the move.

I would do it on a Tuesday: support is at full strength, and there is time until the weekend.
"""
LETTER: Final = """\
> Dear Ms Aydin,
>
> thank you for waiting. The part will be with you on **Thursday before noon**. The repair costs you nothing.

I left out the paragraph about the supplier: it explains, but it does not help her.
"""
BUDGET: Final = """\
We are at **62 %** of the month with 71 % of the days gone. Travel is over by €410, software under by €1,380.
"""
SMALL: Final = (
    ("general", "otto", "is the staging server back?", "Yes, since 9:12. The disk was full of old build logs."),
    ("general", "ada", "who first called a bug a bug?", "Edison used the word in 1878; Hopper's moth came in 1947."),
    ("research", "ada", "how many interviews do we need?", "Twelve. After that new themes become rare."),
    ("writing", "iris", "a better word for 'leverage'?", "Use. Almost always: *use*."),
    ("general", "otto", "when is the next backup test?", "Friday at 14:00. I restore a random table and compare."),
    ("research", "ada", "is n = 40 enough?", "For an effect of 0.5, barely: power is 0.6. I would take 64 a group."),
)
"""Channel, whom one asks, the question, and the answer."""


@dataclass
class Company:
    """The example app with people at work. Lifetime: the with blocks of its server and its model."""

    server: ExampleServer
    api: FakeClaude
    people: dict[str, requests.Session]

    @property
    def database(self) -> Path:
        """The app's database file."""
        return self.server.log.parent / "instance" / "neolith.db"

    def ask(self, who: str, method: str, path: str, **body: Any) -> Any:
        """A call of the API as somebody; the answer must be good."""
        answer = self.people[who].request(method, f"{self.server.url}/neolith/api/v1/{path}", json=body or None)
        if not answer.ok:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else None

    def channel(self, name: str) -> str:
        """The id of a channel of Maya's."""
        return str(next(one["id"] for one in self.ask("maya", "GET", "channels")["items"] if one["name"] == name))

    def say(self, who: str, channel: str, content: str, thread: str | None = None) -> str:
        """Post a message; returns its id."""
        more = {"threadId": thread} if thread else {}
        return str(self.ask(who, "POST", f"channels/{channel}/messages", content=content, **more)["id"])

    def rest(self) -> None:
        """Wait until everything has been answered, or waits for a person's approval."""
        deadline = time.monotonic() + PATIENCE
        busy = "SELECT count(*) FROM neolith_delivery WHERE state IN ('waiting', 'running')"
        with closing(sqlite3.connect(self.database)) as connection:
            while connection.execute(busy).fetchone()[0]:
                if time.monotonic() > deadline:
                    raise TimeoutError("An answer never came.")
                time.sleep(0.1)

    def date_back(self, seconds: float) -> None:
        """All that has happened so far was this much earlier."""
        with closing(sqlite3.connect(self.database, timeout=10)) as connection, connection:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'neolith_%'")
            for (table,) in tables.fetchall():
                names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
                columns = [name for name in names if name == "at" or name.endswith("_at")]
                if columns and table not in KEPT:
                    changes = ", ".join(f"{name} = {name} - {seconds}" for name in columns)
                    connection.execute(f"UPDATE {table} SET {changes}")  # noqa: S608 -- names of our own schema


def play(company: Company) -> None:
    """Days of work, the last of which is now."""
    company.api.answer_with(lambda _request: text("Noted.", delay=0.2, gap=0.01))
    for hour in range(22, 0, -1):
        _hour(company, hour)
        company.date_back(HOUR)
    _morning(company)


def _hour(company: Company, hour: int) -> None:
    busy = (2, 3, 1)[hour % 3] if hour < 9 or hour > 18 else 1
    for place in range(busy):
        channel, handle, question, answer = SMALL[(hour + place) % len(SMALL)]
        if hour in (7, 15) and place == 0:
            company.api.script(error(400))
        else:
            company.api.script(text(answer, delay=0.1 * (hour % 5), usage=_usage(hour)))
        company.say("maya" if hour % 2 else "sam", company.channel(channel), f"@{handle} {question}")
        company.rest()


def _usage(hour: int) -> Mapping[str, int]:
    return {"input_tokens": 2_000 + 137 * hour, "output_tokens": 90 + 11 * hour}


def _morning(company: Company) -> None:
    research, general, writing = (company.channel(name) for name in ("research", "general", "writing"))
    company.say("sam", research, "Morning! The workshop is moved to Thursday.")
    _answered(
        company, "maya", research, "@ada do AI colleagues really make teams faster? What is known?", text(EVIDENCE)
    )
    company.say("sam", research, "That table is what I needed for the board.")
    _answered(company, "maya", general, "@otto how do we move the customers to the new database?", text(PLAN))
    _answered(company, "sam", writing, "@iris please soften my letter to Ms Aydin", text(LETTER))
    pinned = {"text": "The lift is out of order until Friday. Please use the east stairs."}
    company.api.script(tool("pin_notice", pinned, say="I can put that on the noticeboard for everybody."))
    company.say("maya", general, "@ada please tell everybody that the lift is out of order until Friday")
    company.rest()
    dm = str(company.ask("maya", "POST", "channels", userIds=[_user(company, "ada")])["id"])
    _answered(company, "maya", dm, "What did we decide about the interviews?", text("Twelve, in two rounds of six."))
    first = company.ask("sam", "GET", f"channels/{research}/messages?limit=50")["items"][-1]
    company.ask("maya", "PUT", f"messages/{first['id']}/reactions/🎉")
    company.ask("sam", "PUT", f"messages/{first['id']}/reactions/🎉")


def _answered(company: Company, who: str, channel: str, content: str, step: Step) -> str:
    company.api.script(step)
    said = company.say(who, channel, content)
    company.rest()
    return said


def _user(company: Company, handle: str) -> str:
    people = company.ask("maya", "GET", f"channels/{company.channel('general')}/members")["items"]
    return str(next(one["userId"] for one in people if one["handle"] == handle))
