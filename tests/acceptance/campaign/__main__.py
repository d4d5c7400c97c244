"""The long form:

    python -m tests.acceptance.campaign --kills 200 --processes 1,2,3 [--seed N] [--fault NAME] [--folder F]
    python -m tests.acceptance.campaign --engine celery --kills 50 --webs 2 --workers 3 [--seed N] ...

It prints a table, and exits with 1, the seed and the violations where there are any.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.integration.postgres_server import PostgresServer

from .backing import Servers
from .campaign import LEASE, Campaign, Report
from .faults import FAULTS
from .nursery import Nursery
from .storm import Storm


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one campaign; returns the exit code."""
    parser = argparse.ArgumentParser(prog="campaign", description="Kill server processes under load, and judge.")
    parser.add_argument("--kills", type=int, default=200, help="kills while work is running")
    parser.add_argument("--processes", default="1,2,3", help="how many at once, one layout after the other")
    parser.add_argument("--engine", choices=("embedded", "celery"), default="embedded", help="celery: see storm.py")
    parser.add_argument("--webs", type=int, default=2, help="server processes, with the engine celery")
    parser.add_argument("--workers", type=int, default=3, help="worker processes, with the engine celery")
    parser.add_argument("--calm", type=int, default=10, help="kills of workers afterwards, to measure the fail-over")
    parser.add_argument("--seed", type=int, default=None, help="repeat the series of this seed")
    parser.add_argument("--fault", choices=sorted(FAULTS), default="", help="plant this fault: it must turn red")
    parser.add_argument("--drain", type=float, default=60.0, help="seconds that everything may take to end")
    parser.add_argument("--folder", type=Path, default=None, help="keep database, ledgers and logs here")
    options = parser.parse_args(arguments)
    seed = secrets.randbelow(10**6) if options.seed is None else options.seed
    began = time.monotonic()
    print(f"seed {seed}, {options.kills} kills, engine {options.engine}", flush=True)
    with tempfile.TemporaryDirectory(prefix="campaign-") as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        with Nursery() as nursery:
            report = (_celery if options.engine == "celery" else _embedded)(nursery, folder, seed, options)
    print("\n".join(report.lines()))
    verdict = f"RED: repeat with --seed {seed}" if report.violations else "clean"
    print(f"{verdict}, {time.monotonic() - began:.0f} s")
    return 1 if report.violations else 0


def _embedded(nursery: Nursery, folder: Path, seed: int, options: argparse.Namespace) -> Report:
    with Campaign(nursery, folder, seed=seed, fault=options.fault) as campaign:
        campaign.rampage([int(one) for one in options.processes.split(",")], options.kills)
        campaign.drain(options.drain)
        return campaign.judge()


def _celery(nursery: Nursery, folder: Path, seed: int, options: argparse.Namespace) -> Report:
    postgres = PostgresServer()
    try:
        many = {"webs": options.webs, "workers": options.workers}
        with Storm(nursery, folder, Servers(postgres), seed=seed, fault=options.fault, **many) as storm:
            storm.storm(options.kills)
            storm.drain(options.drain)
            took = sorted(storm.fail_over() for _ in range(options.calm))
            report = storm.judge()
    finally:
        postgres.close()
    print(f"fail-over of single turns (lease {LEASE} s): {', '.join(f'{one:.2f}' for one in took)} s")
    print(f"drains: {len(storm.drains)}, the longest took {max(storm.drains, default=0.0):.2f} s")
    return report


if __name__ == "__main__":
    sys.exit(main())
