"""One soak from its first process to its verdict."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import requests

from . import audit, verdict
from .cast import ORCHESTRATORS, PEOPLE
from .people import Diary, Person, Quiet
from .probe import Probe, Sample
from .traces import is_foreign, tracebacks

ROOT = Path(__file__).parents[3]
APP = "tests.acceptance.soak.server:create_app"
EXPECTED = re.compile(r"ERROR \[turn-rejected\]|ERROR \[turn-abandoned\]")
"""Lines at ERROR that a provider's fault may cause."""
REQUESTS = 12
"""Requests and WebSockets that the server works on at once."""
SETTINGS = {
    "DAEMON_STOP_TIMEOUT": 4_000,
    "DAEMON_LOGIN_TTL": 20_000,
    "DAEMON_MAX_CONCURRENT_CONVERSATIONS": 5,
    "NEOLITH_READ_TIMEOUT": 1_500,
    "NEOLITH_CONNECT_TIMEOUT": 1_000,
    "NEOLITH_PRUNE_INTERVAL": 1_000,
    "DAEMON_HEARTBEAT_INTERVAL": 2_000,
    "DAEMON_HEALTH_CHECK_INTERVAL": 2_000,
}


@dataclass
class Result:
    """What a soak found. It is green without `problems`."""

    lines: list[verdict.Line]
    samples: list[Sample]
    counts: dict[str, dict[str, int]]
    problems: list[str] = field(default_factory=list)

    def shown(self) -> str:
        """As it is printed."""
        parts = [verdict.table(self.lines)]
        parts += [
            f"{name}: " + ", ".join(f"{k} {v}" for k, v in sorted(of.items())) for name, of in self.counts.items()
        ]
        parts += [f"PROBLEM: {one}" for one in self.problems[:40]]
        parts.append("RED" if self.problems else "GREEN")
        return "\n".join(parts)


class Site:
    """The server and the provider. Lifetime: a soak; `close` is safe twice."""

    def __init__(self, folder: Path, seed: int, *, keep: float, leak: str) -> None:
        self.folder = folder
        self.model_port, self.port = _free_port(), _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        kept = {"NEOLITH_KEEP_DELIVERIES": int(keep * 1000), "NEOLITH_KEEP_FAILED": int(keep * 1000)}
        config = {key: str(value) for key, value in {**SETTINGS, **kept}.items()}
        own = ("ANTHROPIC_", "NEOLITH_", "DAEMON_", "COV_", "WERKZEUG_", "MALLOC_")
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(own)},
            **config,
            "ANTHROPIC_API_KEY": "soak",
            "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{self.model_port}",
            "SOAK_FOLDER": str(folder),
            "SOAK_LEAK": leak,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }
        self._processes: list[subprocess.Popen[bytes]] = []
        seeding = self._start("seed", "flask", "--app", APP, "seed")
        assert seeding.wait(60) == 0, self.log()
        module = "tests.acceptance.soak.provider"
        self.provider = self._start("provider", module, "--port", str(self.model_port), "--seed", str(seed))
        gunicorn = ["gunicorn", "-b", f"127.0.0.1:{self.port}", "-w", "1", "--threads", str(REQUESTS)]
        # nobody is quiet for so long: a connection that is closed just when it is used again is nobody's fault
        gunicorn += ["--keep-alive", "75", "--no-control-socket"]
        self.server = self._start("server", *gunicorn, f"{APP}()")
        until(lambda: _listens(self.port) and _listens(self.model_port), "both listen", 30)
        self.pid = self._warm()

    def _start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=ROOT,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def _warm(self) -> int:
        """Have the server make all its threads for requests, so that none come later; its process id."""
        with ThreadPoolExecutor(REQUESTS) as pool:
            url = f"{self.url}/threads?after=0.5"
            answers = list(pool.map(lambda _: requests.get(url, timeout=30).json(), range(REQUESTS)))
        return int(answers[0]["pid"])

    def log(self) -> str:
        """What the server said."""
        return (self.folder / "server.log").read_text(errors="replace") if len(self._processes) > 2 else ""

    def report(self) -> dict[str, Any]:
        """What the provider did."""
        found: dict[str, Any] = requests.get(f"http://127.0.0.1:{self.model_port}/fake/report", timeout=10).json()
        return found

    def threads(self) -> Counter[str]:
        """Names of the server's threads."""
        return Counter(requests.get(f"{self.url}/threads", timeout=30).json()["threads"])

    def stop(self) -> int:
        """End the server in order; its exit code."""
        self.server.send_signal(signal.SIGTERM)
        return self.server.wait(30)

    def close(self) -> None:
        """End everything."""
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def until(true: Callable[[], Any], what: str, seconds: float) -> None:
    """Wait for it. Raises TimeoutError."""
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        pause.wait(0.05)


def soak(folder: Path, *, seconds: float, seed: int, leak: str = "", say: Callable[[str], object] = str) -> Result:
    """Run one, with so much time under load."""
    every = min(15.0, max(4.0, seconds / 6))
    diary, quiet = Diary(), Quiet(every, min(2.0, 0.3 * every))
    site = Site(folder, seed, keep=min(30.0, seconds / 8), leak=leak)
    people = [Person(number, site.url, seed, diary, quiet) for number in range(1, len(PEOPLE) + 1)]
    try:
        for number in range(len(PEOPLE) + 1, len(PEOPLE) + len(ORCHESTRATORS) + 1):
            requests.post(f"{site.url}/login/{number}", timeout=30).raise_for_status()
        for person in people:
            person.log_in()
        people[0].greet()
        until(lambda: not audit.unfinished(site.folder / "app.db"), "the first answers", 60)
        for person in people:
            person.start()
        probe = Probe(site.pid, site.model_port, site.folder / "app.db")
        samples = _sampled(probe, seconds, say)
        quiet.end()
        for person in people:
            person.join()
        site.provider.send_signal(signal.SIGUSR1)
        problems = _drained(site, people[0], probe)
        taken_back = sum(one.gone for one in diary.questions)
        counts: dict[str, dict[str, int]] = {
            "people": diary.done,
            "questions": {"accepted": len(diary.questions), "taken back": taken_back},
            "provider": site.report()["done"],
            "threads at rest": site.threads(),
        }
        if site.stop() != 0:
            problems.append(f"the server ended with {site.server.returncode}")
        problems += _broken(site, diary, probe.answered)
        return _judged(site, samples, problems, counts)
    finally:
        quiet.end()
        for person in people:
            person.close()
        site.close()


def _sampled(probe: Probe, seconds: float, say: Callable[[str], object]) -> list[Sample]:
    began, samples, pause = time.monotonic(), [], threading.Event()
    every = min(2.0, seconds / 60)
    while (at := time.monotonic() - began) < seconds:
        samples.append(probe.look(at))
        if len(samples) % 30 == 1:
            one = samples[-1]
            say(
                f"{at:6.0f} s  {one.rss:6.1f} MB  threads {one.threads:3}  files {one.files:3}  to the model "
                f"{one.model_sockets:2}  database {one.database:.1f} MB  log {one.wal:.1f} MB  {one.rows}"
            )
        pause.wait(every)
    return samples


def _drained(site: Site, person: Person, probe: Probe) -> list[str]:
    """Everybody works, the provider behaves: whatever was accepted is dealt with now."""

    def done() -> bool:
        probe.look(0.0)  # who answered what is forgotten soon
        return not audit.unfinished(site.folder / "app.db")

    for number in range(1, len(ORCHESTRATORS) + 1):
        person.call("POST", f"orchestrators/{number}/start", 409, json={})
    try:
        until(done, "the inbox is empty", 120)
        probe.look(0.0)
    except TimeoutError:
        return [f"not dealt with: {audit.unfinished(site.folder / 'app.db')}"]
    return []


def _broken(site: Site, diary: Diary, answered: Mapping[int, set[str]]) -> list[str]:
    """What went wrong, apart from growth."""
    log = site.log()
    problems = audit.violations(site.folder / "app.db", diary.questions, answered)
    problems += [f"a person met with {one}" for one in diary.odd]
    problems += [line for line in log.splitlines() if _is_odd(line)]
    problems += [f"a traceback: {trace[1]}" for trace in tracebacks(log) if not is_foreign(trace)]
    if "[pruned]" not in log:
        problems.append("retention never forgot anything")
    return problems


def _judged(site: Site, samples: list[Sample], problems: list[str], counts: dict[str, dict[str, int]]) -> Result:
    lines = verdict.judge(samples)
    log = site.log()
    grown = [one for one in lines if not one.flat]
    problems += [f"{one.name}: {one.first:.1f} became {one.last:.1f}, not at most {one.bound:.1f}" for one in grown]
    counts["attempts that failed"] = Counter(re.findall(r"\[turn-(?:retry|rejected|abandoned)\] ([a-z-]+)", log))
    counts["answers"] = audit.answers(site.folder / "app.db")
    counts["tracebacks"] = {"of the WebSocket server alone": sum(is_foreign(one) for one in tracebacks(log))}
    counts["retention"] = {"runs that forgot something": log.count("[pruned]")}
    (site.folder / "samples.json").write_text(json.dumps([asdict(one) for one in samples]))
    return Result(lines, samples, counts, problems)


def _is_odd(line: str) -> bool:
    bad = line.startswith(("ERROR", "CRITICAL")) or "[ERROR]" in line or "[CRITICAL]" in line
    return bad and not EXPECTED.search(line)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
