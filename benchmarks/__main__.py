"""Measure and print one table: `python -m benchmarks`. See docs/performance.md.

Each subject is measured in a process of its own, one after another, so that none inherits another's threads, memory
or failures. `--only NAME` (may be repeated) measures some, `--quick` measures less of each (for finding out whether
the measurements work: the figures mean little), `--markdown` prints for the documentation.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from .rows import Faults, Row, markdown, table

SUBJECTS = {
    "dispatch": "dispatch.measure",
    "drain": "drain.measure",
    "streaming": "streaming.measure",
    "organization": "organization.measure",
    "daemons": "daemons.measure",
    "presence": "presence.measure",
    "restart": "restart.measure",
    "celery": "celery_dispatch.measure",
    "workers": "workers.measure",
    "scaling": "workers.scaling",
    "failover": "failover.measure",
    "host": "host.measure",
    "pages": "pages.measure",
    "inbox": "inbox.measure",
}
"""Name -> function. They are imported only where they are measured."""

EXTRA = {
    "costs": "costs.measure",
    "statements": "drain.dearest_statements",
}
"""What is measured only when it is asked for."""

TIMEOUT = 240
"""Seconds for one subject."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; returns 1 if any figure is void."""
    options = _options(arguments)
    if options.child:
        return _child(options.child, options.quick)
    began = time.monotonic()
    rows: list[Row] = []
    for name in options.only or SUBJECTS:
        started = time.monotonic()
        rows += measured(name, quick=options.quick)
        sys.stderr.write(f"{name}: measured in {time.monotonic() - started:.0f} s\n")
    shown = markdown(rows) if options.markdown else table(rows)
    sys.stdout.write(f"{machine()}; {time.monotonic() - began:.0f} s\n\n{shown}\n")
    return int(any(row.faults.any for row in rows))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure what docs/performance.md claims."
    )
    names = [*SUBJECTS, *EXTRA]
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--quick", action="store_true", help="less of everything: do the measurements work?")
    parser.add_argument("--markdown", action="store_true", help="print for the documentation")
    parser.add_argument("--child", choices=names, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def measured(name: str, *, quick: bool) -> Sequence[Row]:
    """The rows of one subject, from a process of its own. One that fails has one row, which is void."""
    command = [sys.executable, "-m", "benchmarks", "--child", name, *(["--quick"] if quick else [])]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True)
    try:
        said, _ = child.communicate(timeout=TIMEOUT)
        if child.returncode:
            raise subprocess.CalledProcessError(child.returncode, command)
        found = json.loads(said.splitlines()[-1])
    except (subprocess.SubprocessError, ValueError, IndexError) as error:
        return [Row(name, "-", "-", False, faults=Faults(errors=1, details=(f"{type(error).__name__}: {error}",)))]
    finally:
        _end_group(child)
    if isinstance(found, str):
        sys.stdout.write(f"{found}\n")
        return []
    return [Row.from_json(row) for row in found]


def _end_group(child: subprocess.Popen[str]) -> None:
    """End the child and whatever it has started and left behind."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.communicate()


ROOT = Path(__file__).parent.parent


def _child(name: str, quick: bool) -> int:
    logging.getLogger("flask_neolith_orchestrator").addHandler(logging.NullHandler())  # `witness` tells of them
    module, function = ({**SUBJECTS, **EXTRA})[name].split(".")
    measure: Callable[..., Sequence[Row] | str] = getattr(import_module(f".{module}", __package__), function)
    found = measure(quick=quick)
    sys.stdout.write(json.dumps(found if isinstance(found, str) else [row.to_json() for row in found]) + "\n")
    return 0


def machine() -> str:
    """What the figures were taken on."""
    model = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "?")
    return (
        f"{model}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {platform.system()}, "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    )


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


if __name__ == "__main__":
    sys.exit(main())
