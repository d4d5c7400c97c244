"""The documentation tells the truth: its examples run, its tables are made from the code, its links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from docs import build, transcript
from docs.tables import shown_default
from flask_neolith_orchestrator.cli.group import make_group
from flask_neolith_orchestrator.core import errors, events
from flask_neolith_orchestrator.settings import KEYS, Settings, load_settings
from flask_neolith_orchestrator.web.blueprint import API, ROUTES

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
STEP = re.compile(r"<!-- (run|file: (?P<name>\S+)) -->\n```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
OURS = ("ORCHESTRATOR_", "NEXT_PUBLIC_", "DAEMON_", "NEOLITH_", "ANTHROPIC_")


def page_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


@dataclass(frozen=True, slots=True)
class Step:
    """One marked block of a page: a file to write, or Python or shell to run."""

    kind: str
    text: str
    name: str | None


def steps(path: Path) -> list[Step]:
    return [Step(one["kind"], one["text"], one["name"]) for one in STEP.finditer(path.read_text(encoding="utf-8"))]


def run(step: Step, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a block in a folder as a reader would, without settings of the outside; warnings are errors."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(OURS)}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    if step.kind == "python":
        command = [sys.executable, "-W", "error", "-c", step.text]
    else:
        assert step.kind == "sh", f"nobody knows how to run {step.kind}"
        command = ["bash", "-euc", step.text]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100, check=False
    )


def play(path: Path, folder: Path) -> None:
    """Do everything that a page says, from its top."""
    for step in steps(path):
        if step.name is not None:
            (folder / step.name).write_text(step.text, encoding="utf-8")
        else:
            done = run(step, folder)
            assert done.returncode == 0, f"{step.text}\n{done.stdout}\n{done.stderr}"


@pytest.mark.process
@pytest.mark.parametrize("path", [one for one in PAGES if steps(one)], ids=page_id)
def test_the_examples_of_a_page_run(path: Path, tmp_path: Path) -> None:
    """What a page marks as runnable works from its top to its end, without a warning."""
    play(path, tmp_path)


@pytest.mark.process
def test_the_app_of_the_readme_answers(tmp_path: Path) -> None:
    """Given the app of the README: Ada logs in, Maya mentions her, and the answer stands in the thread."""
    play(ROOT / "README.md", tmp_path)
    check = Step("python", TALK, None)
    done = run(check, tmp_path)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert done.stdout == "Maya Ada\n"


TALK = """\
from app import create_app, neolith, db
from flask_neolith_orchestrator.testing import run_until_idle, shutdown

app = create_app()
with app.test_client() as ada, app.test_client() as maya:
    ada.post("/login/2")
    maya.post("/login/1")
    sent = {"content": "@ada hello"}
    said = maya.post("/neolith/api/v1/channels/1/messages", json=sent, headers={"Sec-Fetch-Site": "same-origin"})
    with app.app_context():
        run_until_idle(app)
    thread = maya.get(f"/neolith/api/v1/channels/1/messages?threadId={said.json['id']}").json["items"]
    print(*(message["author"]["name"] for message in thread))
shutdown(app)
"""


@pytest.mark.process
def test_the_line_for_power_loss_does_what_it_says(tmp_path: Path) -> None:
    """With the documented lines every connection, ours and the host's, is in WAL mode and synchronous=FULL."""
    for step in steps(DOCS / "testing.md"):
        if step.name is not None:
            (tmp_path / step.name).write_text(step.text, encoding="utf-8")
    done = run(Step("python", POWER, None), tmp_path)
    assert done.stdout == "wal 2\nwal 2\n", done.stderr


POWER = """\
import sqlite3
from pathlib import Path
from chat_app import create_app, db, fill

path = Path.cwd() / "test.db"
once = sqlite3.connect(path)
once.execute("PRAGMA journal_mode=WAL")
once.close()
app = create_app(f"sqlite:///{path}", NEOLITH_SQLITE_PRAGMAS=False)
with app.app_context():
    fill()
    with app.extensions["neolith"].house.database.write() as ours, db.engine.connect() as host:
        for tx in (ours, host):
            print(*(tx.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")))
    app.extensions["neolith"].close()
    db.engine.dispose()
"""


def test_the_tables_are_made_from_the_code() -> None:
    """No table is older than what it is about; `python -m docs.build` writes them."""
    assert [page_id(path) for path in build.stale()] == []


def test_every_setting_is_documented_with_its_default() -> None:
    """Each key stands in docs/settings.md and .env.orchestrator.example, with the default that really holds."""
    page = (DOCS / "settings.md").read_text(encoding="utf-8")
    example = build.ENVIRONMENT.read_text(encoding="utf-8")
    for key, name in KEYS.items():
        default = shown_default(Settings.model_fields[name])
        row = next(line for line in page.splitlines() if line.startswith(f"| `{key}` |"))
        assert f"| `{default}` |" in row
        assert f"\n# {key}={'' if default == 'unset' else default}\n" in example


def test_the_example_environment_means_the_defaults() -> None:
    """Taking away every # from .env.orchestrator.example changes nothing, where a default has a value."""
    lines = re.findall(r"^# ([A-Z_]+)=(.+)$", build.ENVIRONMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert load_settings({}, dict(lines)) == load_settings({}, {})


@pytest.mark.parametrize("name", [*events.DAEMON_EVENTS, *events.MANAGER_EVENTS, *events.WIRE_EVENTS])
def test_every_event_is_documented(name: str) -> None:
    """Each event of core.events has a row in docs/events.md."""
    assert f"\n| `{name}` |" in (DOCS / "events.md").read_text(encoding="utf-8")


def test_no_event_is_documented_that_does_not_exist() -> None:
    """Each row of docs/events.md is an event of core.events, or one that clients send."""
    known = {*events.DAEMON_EVENTS, *events.MANAGER_EVENTS, *events.WIRE_EVENTS}
    known |= {"channel:join", "channel:leave", "message:send", "message:stop", "message:regenerate", "message:retry"}
    known |= {"dashboard:watch"}
    known.add("approval:decide")
    rows = re.findall(r"^\| `([^`]+)` \|", (DOCS / "events.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(rows) == known


def test_every_route_is_documented() -> None:
    """Each route has a row in docs/http.md."""
    page = (DOCS / "http.md").read_text(encoding="utf-8")
    missing = [one.name for one in ROUTES if f"| `{one.method} {API}/{one.path}` |" not in page]
    assert missing == []


def kinds(kind: type[errors.NeolithError]) -> Iterator[str]:
    yield kind.__name__
    for one in kind.__subclasses__():
        if one.__module__ == errors.__name__:
            yield from kinds(one)


def test_every_error_is_documented() -> None:
    """Each class of the error tree has a row in docs/errors.md."""
    page = (DOCS / "errors.md").read_text(encoding="utf-8")
    assert [name for name in kinds(errors.NeolithError) if f"\n| `{name}` |" not in page] == []


def anchors(path: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in titles}


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_every_link_leads_somewhere(path: Path) -> None:
    """Each relative link names a file that is there, and a heading that is in it."""
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_every_command_exists(path: Path) -> None:
    """Each `flask neolith X` that a page names is a command."""
    commands = set(make_group(None).commands)  # type: ignore[arg-type]  # the commands are looked at, never called
    named = re.findall(r"flask (?:--app \S+ )?neolith ([a-z][a-z-]*)", path.read_text(encoding="utf-8"))
    assert set(named) <= commands


def test_one_line_of_the_readme_runs_the_tests() -> None:
    """CI takes the test command out of the README: there is one line that has it."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = [line for line in readme.splitlines() if "-m pytest" in line]
    assert lines == [
        "python3 -m venv .venv && .venv/bin/pip install -q -e '.[dev]' && .venv/bin/python -m pytest -n auto"
    ]


def test_the_transcript_is_what_happens() -> None:
    """Played again, the conversation of the transcript and all that is sent for it are the same."""
    assert transcript.PAGE.read_text(encoding="utf-8") == transcript.written()
