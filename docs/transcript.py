"""Write `docs/transcript.md`: a conversation with two people, and every request that it took.

    python -m docs.transcript

The app, the daemons, the SDK and HTTP are real; only Claude is not: `FakeClaude` says what the script below tells it
to. `tests/test_docs.py` plays it again and fails where the page says anything else.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from flask import Flask
from flask_login import LoginManager, UserMixin
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column

from flask_neolith_orchestrator import NeolithOrchestrator, OrchestratorUserMixin
from flask_neolith_orchestrator.testing import FakeClaude, error, silence, text, tool

PAGE: Final = Path(__file__).parent / "transcript.md"

CHARTER: Final = {
    "mission": "Help the team of a small bakery with its orders. Be short and exact.",
    "personality": {"tone": "warm", "traits": ["careful with numbers"]},
    "safety": {"require_confirmation": ["order_flour"]},
    "model": {"name": "claude-sonnet-5-5", "fallbacks": ["claude-haiku-5-5"], "max_tokens": 600},
}

HEAD: Final = """\
# A conversation, and what was sent for it

Written by `python -m docs.transcript`: a real app, real daemons and the real SDK, over HTTP, against the fake Claude of
[the test kit](testing.md). What Ada says is scripted; everything around it is what the extension does. Maya and Tom are
people; Ada is an orchestrator with this charter:
"""


class Bakery:
    """An app with three users and a tool. Lifetime: one play; `close` ends it."""

    def __init__(self, folder: Path, api: FakeClaude) -> None:
        self.api = api
        self.flour: list[int] = []
        self.db = SQLAlchemy()
        self.user = self._user_class(self.db)
        self.neolith = NeolithOrchestrator(db=self.db, user_model=self.user)
        self._offer()
        self.app = self._app(folder)
        self.sent = 0
        self.shown: dict[str, Any] = {}
        self.page: list[str] = []
        with self.app.app_context():
            self.channel, self.ada = self._fill()

    @staticmethod
    def _user_class(db: SQLAlchemy) -> Any:
        class User(OrchestratorUserMixin, UserMixin, db.Model):  # type: ignore[name-defined,misc]  # made at run time
            """Somebody in the bakery."""

            id: Mapped[int] = mapped_column(primary_key=True)
            name: Mapped[str]

        return User

    def _offer(self) -> None:
        @self.neolith.tool
        def order_flour(kilograms: int) -> str:
            """Order flour from the mill.

            Args:
                kilograms: How much, in kilograms.
            """
            self.flour.append(kilograms)
            return f"Ordered {kilograms} kg. It comes on Thursday."

    def _app(self, folder: Path) -> Flask:
        app = Flask("bakery", instance_path=str(folder))
        app.config.update(
            SECRET_KEY="a transcript",  # noqa: S106 -- of an app that lives for seconds
            SQLALCHEMY_DATABASE_URI=f"sqlite:///{folder / 'bakery.db'}",
            ORCHESTRATOR_MODE=True,
            ANTHROPIC_API_KEY="sk-transcript",
            ANTHROPIC_BASE_URL=self.api.url,
            NEOLITH_BUILTIN_TOOLS="none",
            NEOLITH_SUMMARY_MODEL="",
        )
        self.db.init_app(app)
        LoginManager(app).user_loader(lambda user_id: self.db.session.get(self.user, int(user_id)))
        self.neolith.init_app(app)
        return app

    def _fill(self) -> tuple[str, str]:
        self.db.create_all()
        people = [self.user(name="Maya"), self.user(name="Tom"), self.user(name="Ada", is_orchestrator=True)]
        people[2].orchestrator_config = {"charter": CHARTER}
        self.db.session.add_all(people)
        self.db.session.flush()
        self.ids = {one.name: str(one.id) for one in people}
        directory = self.neolith.directory
        bakery = directory.create_organization("Bakery", "bakery")
        directory.add_to_organization(bakery, self.ids["Maya"], "owner")
        directory.add_to_organization(bakery, self.ids["Tom"], "member")
        ada = directory.create_orchestrator(self.ids["Ada"], bakery, "ada", role="assistant")
        members = [self.ids["Tom"], self.ids["Ada"]]
        channel = self.neolith.chat.create_channel(
            self.ids["Maya"], organization_id=bakery, name="orders", member_ids=members
        )
        self.db.session.commit()
        return channel["id"], str(ada)

    def tell(self, *paragraphs: str) -> None:
        """Something on the page between the messages."""
        self.page.extend(f"{one}\n" for one in paragraphs)

    def say(self, who: str, words: str, thread: str | None = None) -> str:
        """Somebody posts; the id of the message."""
        with self.app.app_context():
            posted = self.neolith.chat.post(self.ids[who], self.channel, words, thread_id=thread)
            self.db.session.commit()
        self.page.append(f"**{who}**: {words}\n")
        return str(posted.message["id"])

    def act(self, done: Callable[[Any], Any]) -> Any:
        """Something that somebody does in the chat, by hand."""
        with self.app.app_context():
            found = done(self.neolith.chat)
            self.db.session.commit()
            return found

    def look(self, thread: str) -> list[dict[str, Any]]:
        """The messages of a thread."""
        with self.app.app_context():
            found: list[dict[str, Any]] = self.neolith.chat.messages(self.ids["Maya"], self.channel, thread_id=thread)[
                0
            ]
            return found

    def answer(self, thread: str, count: int, state: str = "final") -> dict[str, Any]:
        """Wait for Ada's so manieth answer in a thread, put it on the page, and what was sent for it."""

        def found() -> dict[str, Any] | None:
            answers = [one for one in self.look(thread) if one["author"]["name"] == "Ada"]
            return answers[count - 1] if len(answers) >= count and answers[count - 1]["state"] == state else None

        shown: dict[str, Any] = wait(found, f"answer {count} in state {state}")
        quoted = "\n".join(f"> {line}".rstrip() for line in shown["content"].split("\n"))
        self.tell(f"**Ada** ({shown['state']}):", quoted if shown["content"] else "*(nothing yet)*")
        if shown["notice"]:
            self.tell(f"*Below it: {undated(shown['notice'])}*")
        self.show_requests()
        return shown

    def show_requests(self) -> None:
        """What was sent since the last time, in full; what is the same as before is not said again."""
        for request in self.api.requests[self.sent :]:
            self.sent += 1
            body = {name: self._once(name, value) for name, value in request.body.items()}
            count = len(body["messages"])
            summary = f"Request {self.sent}: {body['model']}, {count} message{'' if count == 1 else 's'}"
            code = json.dumps(body, indent=2, ensure_ascii=False)
            self.page.append(f"<details><summary>{summary}</summary>\n\n```json\n{code}\n```\n\n</details>\n")

    def _once(self, name: str, value: Any) -> Any:
        if name not in ("system", "tools"):
            return value
        if self.shown.get(name) == value:
            return "(as before)"
        self.shown[name] = value
        return value

    def call(self, who: str, method: str, path: str, body: Any = None) -> Any:
        """One call of the HTTP API by somebody who is logged in."""
        client = self.app.test_client()
        with client.session_transaction() as cookie:
            cookie.update(_user_id=self.ids[who], _fresh=True)
        headers = {"Origin": "http://localhost"}
        answer = client.open(f"/neolith/api/v1/{path}", method=method, json=body, headers=headers)
        if answer.status_code >= 400:
            raise RuntimeError(answer.get_data(as_text=True))
        return answer.get_json()

    def turn_of(self, message_id: str) -> Any:
        """The turn that wrote an answer, as `GET turns/<id>` shows it."""
        turns = self.neolith.models.Turn
        with self.app.app_context():
            found = self.db.session.query(turns.id).filter(turns.reply_id == message_id).one()
        return self.call("Maya", "GET", f"turns/{found[0]}")

    def close(self) -> None:
        """Stop everybody."""
        self.neolith.shutdown(self.app)


def undated(words: str) -> str:
    """Without the day on which it was played."""
    return re.sub(r"\d{1,2} \w+ \d{4}, 00:00 UTC|\d{4}-\d\d-\d\dT00:00:00.000Z", "(midnight, UTC)", words)


def wait(found: Callable[[], Any], what: str, seconds: float = 20.0) -> Any:
    """What `found` gives once that is something. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not (value := found()):
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        threading.Event().wait(0.02)
    return value


def talk(bakery: Bakery, api: FakeClaude) -> None:
    """Two people in a thread."""
    bakery.tell("## Two people in a thread", "A mention opens a thread; whoever mentions her in it is answered there.")
    api.script(text("We sold 120 rye loaves yesterday."), text("Yes, Tom: 30 more than on Tuesday."))
    thread = bakery.say("Maya", "@ada how many rye loaves did we sell yesterday? It was 120 by my count.")
    bakery.answer(thread, 1)
    bakery.say("Tom", "Tuesday it was 90. @ada is that more?", thread)
    bakery.answer(thread, 2)


def order(bakery: Bakery, api: FakeClaude) -> None:
    """A tool with an approval."""
    bakery.tell("## A tool that asks first", "By her charter, whoever asks for flour confirms the order.")
    api.script(
        tool("order_flour", {"kilograms": 50}, say="I would order 50 kg of flour."),
        text("Done: 50 kg, it comes on Thursday."),
    )
    asked = bakery.say("Maya", "@ada please order 50 kg of flour")
    turn = bakery.answer(asked, 1, "interrupted")["approval"]["turnId"]
    bakery.tell(f"Ordered so far: {bakery.flour}. *Maya presses Approve.*")
    bakery.act(lambda chat: chat.decide(bakery.ids["Maya"], turn, "approve"))
    bakery.answer(asked, 1)
    bakery.tell(f"Ordered now: {bakery.flour}.")


def stop(bakery: Bakery, api: FakeClaude) -> None:
    """A stop in the middle of an answer."""
    bakery.tell("## A stop", "The provider goes silent in the middle, and Tom has read enough.")
    api.script(silence(after=7, say="Rye flour is milled from whole grains of rye, and"))
    asked = bakery.say("Tom", "@ada tell me everything about rye")
    wait(lambda: [one for one in bakery.look(asked) if one["content"].startswith("Rye")], "some text")
    bakery.tell("*Tom presses Stop.*")
    bakery.act(lambda chat: chat.stop(bakery.ids["Tom"], asked))
    bakery.answer(asked, 1, "interrupted")


def fall_back(bakery: Bakery, api: FakeClaude) -> None:
    """An overloaded model."""
    bakery.tell("## A fallback", "The first model is overloaded, twice; the next in the charter's list answers.")
    api.script(error(529), error(529), text("At six."))
    asked = bakery.say("Tom", "@ada when do we open?")
    shown = bakery.turn_of(bakery.answer(asked, 1)["id"])
    bakery.tell(f"`GET turns/<id>` says: `model` {json.dumps(shown['model'])}, `tried` {json.dumps(shown['tried'])}.")


def spend(bakery: Bakery, api: FakeClaude) -> None:
    """A budget that is used up."""
    bakery.tell("## A budget that is used up", "Maya gives Ada 100 tokens a day, and they are gone already.")
    address = f"orchestrators/{bakery.ada}/charter"
    version = bakery.call("Maya", "GET", address)["version"]
    limited = {**CHARTER, "limits": {"tokens_per_day": 100}}
    bakery.call("Maya", "PUT", address, {"charter": limited, "version": version, "reason": "A small experiment"})
    asked = bakery.say("Maya", "@ada and when do we close?")
    bakery.answer(asked, 1, "interrupted")
    status = bakery.call("Maya", "GET", f"orchestrators/{bakery.ada}/status")
    bakery.tell(
        f"Nothing was sent. `GET orchestrators/<id>/status` says: `paused` {undated(json.dumps(status['paused']))}."
    )


def play(bakery: Bakery, api: FakeClaude) -> str:
    """All scenes; the page."""
    with bakery.app.app_context():
        bakery.neolith.manager.start_daemon(bakery.ada)
    bakery.tell(HEAD, f"```json\n{json.dumps(CHARTER, indent=2)}\n```")
    for scene in (talk, order, stop, fall_back, spend):
        scene(bakery, api)
    return "\n".join(bakery.page)


def written() -> str:
    """The page, played anew."""
    with tempfile.TemporaryDirectory() as folder, FakeClaude() as api:
        bakery = Bakery(Path(folder), api)
        try:
            return play(bakery, api)
        finally:
            bakery.close()


def main() -> None:
    """Play it, and write the page where it has changed."""
    page = written()
    if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page:
        PAGE.write_text(page, encoding="utf-8")
        sys.stdout.write(f"docs/{PAGE.name}\n")


if __name__ == "__main__":
    main()
