"""The long form:

    python -m tests.acceptance.campaign --kills 200 --processes 1,2,3 [--seed N] [--fault NAME] [--folder F]

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

from .campaign import Campaign
from .faults import FAULTS
from .nursery import Nursery


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one campaign; returns the exit code."""
    parser = argparse.ArgumentParser(prog="campaign", description="Kill server processes under load, and judge.")
    parser.add_argument("--kills", type=int, default=200, help="kills while work is running")
    parser.add_argument("--processes", default="1,2,3", help="how many at once, one layout after the other")
    parser.add_argument("--seed", type=int, default=None, help="repeat the series of this seed")
    parser.add_argument("--fault", choices=sorted(FAULTS), default="", help="plant this fault: it must turn red")
    parser.add_argument("--drain", type=float, default=60.0, help="seconds that everything may take to end")
    parser.add_argument("--folder", type=Path, default=None, help="keep database, ledgers and logs here")
    options = parser.parse_args(arguments)
    seed = secrets.randbelow(10**6) if options.seed is None else options.seed
    processes = [int(one) for one in options.processes.split(",")]
    began = time.monotonic()
    print(f"seed {seed}, {options.kills} kills, processes {processes}", flush=True)
    with tempfile.TemporaryDirectory(prefix="campaign-") as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        with Nursery() as nursery, Campaign(nursery, folder, seed=seed, fault=options.fault) as campaign:
            campaign.rampage(processes, options.kills)
            campaign.drain(options.drain)
            report = campaign.judge()
    print("\n".join(report.lines()))
    verdict = f"RED: repeat with --seed {seed}" if report.violations else "clean"
    print(f"{verdict}, {time.monotonic() - began:.0f} s")
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
