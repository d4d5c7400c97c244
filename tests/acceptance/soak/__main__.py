"""`python -m tests.acceptance.soak --minutes 30`: 0 if all is flat and nothing was lost, else 1 and the reasons."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from .run import soak


def main() -> int:
    """Run one soak and print what it found."""
    parser = argparse.ArgumentParser(prog="python -m tests.acceptance.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="time under load")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the load and the faults")
    parser.add_argument("--folder", type=Path, help="where logs and the database stay; else a new one, which is named")
    parser.add_argument("--leak", default="", help="plant leaks (fd, thread, memory): must be RED")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="neolith-soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    say(f"seed {options.seed}, {options.minutes:g} minutes, in {folder}")
    result = soak(folder, seconds=options.minutes * 60, seed=options.seed, leak=options.leak, say=say)
    say(result.shown())
    return 1 if result.problems else 0


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
