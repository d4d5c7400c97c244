"""Every SQL statement that the product runs, written down and run again through bare sqlite3 in one thread.

That is the floor of a drain: the same statements with the same values in the same order, without anything around
them. It is taken from the product at each run, so it cannot drift from it. Row ids come out the same, because the
file that both begin with is the same and SQLite writes in one order.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from .rows import Meter, Spent

Statement = tuple[str, Any, bool]
"""Text, parameters, and whether there are many sets of them."""


@dataclass(slots=True)
class Tape:
    """What was run, in order. `mark` is where the timed part begins."""

    statements: list[Statement] = field(default_factory=list)
    mark: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, text: str, parameters: Any = (), many: bool = False) -> None:
        """Write one statement down."""
        if not text.lstrip().upper().startswith("PRAGMA"):
            with self._lock:
                self.statements.append((text, parameters, many))

    def set_mark(self) -> None:
        """What comes from here on is timed."""
        with self._lock:
            self.mark = len(self.statements)

    @property
    def timed(self) -> Sequence[Statement]:
        """The statements of the part that counts."""
        return self.statements[self.mark :]

    def count(self, word: str) -> int:
        """How many timed statements begin with `word`."""
        return sum(text.lstrip().upper().startswith(word) for text, _, _ in self.timed)


@contextmanager
def recording() -> Iterator[Tape]:
    """Write down what every sqlite3 connection opened in the block runs and finishes."""
    tape = Tape()
    cursor = type("Cursor", (_Cursor,), {"tape": tape})
    connection = type("Connection", (_Connection,), {"tape": tape, "cursors": cursor})
    original = sqlite3.connect

    def connect(*arguments: Any, **options: Any) -> Any:
        return original(*arguments, **{"factory": connection, **options})

    modules: tuple[Any, ...] = (sqlite3, sqlite3.dbapi2)
    for module in modules:
        module.connect = connect
    try:
        yield tape
    finally:
        for module in modules:
            module.connect = original


class _Cursor(sqlite3.Cursor):
    tape: Tape

    def execute(self, sql: str, parameters: Any = ()) -> Self:
        before = self.connection.in_transaction
        super().execute(sql, parameters)
        self._note(before, sql, parameters, many=False)
        return self

    def executemany(self, sql: str, parameters: Any) -> Self:
        kept, before = list(parameters), self.connection.in_transaction
        super().executemany(sql, kept)
        self._note(before, sql, kept, many=True)
        return self

    def _note(self, before: bool, sql: str, parameters: Any, *, many: bool) -> None:
        if self.connection.in_transaction and not before and not sql.startswith("BEGIN"):
            self.tape.add("BEGIN")  # which the module does by itself before a first write
        self.tape.add(sql, parameters, many)


class _Connection(sqlite3.Connection):
    tape: Tape
    cursors: type[_Cursor]

    def cursor(self, factory: Any = None) -> Any:
        return super().cursor(factory or self.cursors)

    def execute(self, sql: str, parameters: Any = ()) -> Any:
        return self.cursor().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Any) -> Any:
        return self.cursor().executemany(sql, parameters)

    def commit(self) -> None:
        self._note("COMMIT")
        super().commit()

    def rollback(self) -> None:
        self._note("ROLLBACK")
        super().rollback()

    def _note(self, word: str) -> None:
        if self.in_transaction:  # noted before it is done: afterwards another thread may be quicker
            self.tape.add(word)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one statement of a tape took in all."""

    text: str
    times: int
    seconds: float


def play(tape: Tape, file: Path) -> Spent:
    """Run the tape on a file; returns how long its timed part took."""
    with _ready(tape, file) as cursor:
        meter = Meter()
        _run(cursor, tape.timed)
        return meter.read()


def costs(tape: Tape, file: Path) -> list[Cost]:
    """As `play`, but with a clock around each statement; the dearest first."""
    seconds: Counter[str] = Counter()
    times: Counter[str] = Counter()
    with _ready(tape, file) as cursor:
        for statement in tape.timed:
            began = time.perf_counter()
            _run(cursor, (statement,))
            seconds[statement[0]] += time.perf_counter() - began  # type: ignore[assignment]  # typeshed: ints only
            times[statement[0]] += 1
    return [Cost(text, times[text], took) for text, took in seconds.most_common()]


@contextmanager
def _ready(tape: Tape, file: Path) -> Iterator[sqlite3.Cursor]:
    with closing(sqlite3.connect(file, isolation_level=None, cached_statements=1000)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        cursor = connection.cursor()
        _run(cursor, tape.statements[: tape.mark])
        yield cursor


def _run(cursor: sqlite3.Cursor, statements: Sequence[Statement]) -> None:
    for text, parameters, many in statements:
        if many:
            cursor.executemany(text, parameters)
        else:
            cursor.execute(text, parameters)
            cursor.fetchall()
