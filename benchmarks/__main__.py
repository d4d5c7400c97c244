"""Measure and print one table."""

from __future__ import annotations

import logging
import platform
import sys

from .measures import idle_daemons, idle_dispatch, import_cost, login_cost


def main() -> None:
    """Run every measurement, one after another."""
    logging.getLogger("flask_neolith_orchestrator").setLevel(logging.ERROR)
    sys.stdout.write(f"Python {platform.python_version()}, {platform.machine()}\n\n")
    sys.stdout.write(f"{'what':<58} {'measured':>12}   aim\n")
    for measure in (idle_dispatch, login_cost, idle_daemons, import_cost):
        for what, figure, aim in measure():
            sys.stdout.write(f"{what:<58} {figure:>12}   {aim}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
