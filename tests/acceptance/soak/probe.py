"""What the server uses, from /proc and from its database, without asking it."""

from __future__ import annotations

import os
import re
import sqlite3
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

OPEN = ("01", "08")
"""States of a socket in /proc/net/tcp that our side still has open: established, and close-wait."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look. `at` is in seconds since the start, sizes in MB. `rows` by table, without its prefix."""

    at: float
    rss: float
    threads: int
    files: int
    model_sockets: int
    database: float
    wal: float
    rows: dict[str, int]
    names: dict[str, int]


ANSWERED = """
SELECT t.reply_id, d.message_id FROM neolith_delivery d JOIN neolith_turn t ON t.id = d.turn_id
WHERE d.state = 'answered'
"""
TABLES = ("delivery", "turn", "conversation", "login", "node", "message")


class Probe:
    """Looks at one process. Lifetime: a soak."""

    def __init__(self, pid: int, model_port: int, database: Path) -> None:
        self._pid = pid
        self._port = f"{model_port:04X}"
        self._database = database
        self.answered: dict[int, set[str]] = {}
        """By the answer's id: the questions it answers, as the work's own rows said before they were forgotten."""

    def look(self, at: float) -> Sample:
        """Now."""
        status = Path(f"/proc/{self._pid}/status").read_text()
        links = self._links()
        return Sample(
            at=at,
            rss=_number(status, "VmRSS") / 1024,
            threads=_number(status, "Threads"),
            files=sum(links.values()),
            model_sockets=self._model_sockets(links),
            database=_megabytes(self._database),
            wal=_megabytes(self._database.with_name(self._database.name + "-wal")),
            rows=self._rows(),
            names=dict(Counter(re.sub(r"\d+", "N", name).partition(":")[0] for name in links.elements())),
        )

    def _links(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for entry in os.listdir(f"/proc/{self._pid}/fd"):
            try:
                found[os.readlink(f"/proc/{self._pid}/fd/{entry}")] += 1
            except FileNotFoundError:
                continue  # closed since it was listed
        return found

    def _model_sockets(self, links: Counter[str]) -> int:
        lines = [line.split() for line in Path(f"/proc/{self._pid}/net/tcp").read_text().splitlines()[1:]]
        mine = {f"socket:[{one[9]}]" for one in lines if one[2].endswith(f":{self._port}") and one[3] in OPEN}
        return len(mine & set(links))

    def _rows(self) -> dict[str, int]:
        connection = sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=10)
        try:
            for reply, question in connection.execute(ANSWERED):
                self.answered.setdefault(int(reply), set()).add(question)
            return {
                name: int(connection.execute(f"SELECT count(*) FROM neolith_{name}").fetchone()[0]) for name in TABLES
            }
        finally:
            connection.close()


def _number(status: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+)", status, re.MULTILINE)
    assert found
    return int(found[1])


def _megabytes(path: Path) -> float:
    return path.stat().st_size / 1e6 if path.exists() else 0.0
