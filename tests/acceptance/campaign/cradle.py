"""Where the campaign's processes come from: it imports everything once, then forks one for each order.

A killed server is so replaced within a tenth of a second. It reads one line of JSON for each birth, answers with the
process id, and has no thread; its children end when the campaign's process does, however that ends.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anthropic  # noqa: F401 -- takes a second, which a restart should not

from . import app, faults, model, roles
from .points import Points


def main() -> None:
    """Fork until the standard input is closed."""
    alive = int(sys.argv[1])
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them: they are watched through pidfds
    while line := sys.stdin.readline():
        pid = os.fork()
        if pid == 0:
            _be(json.loads(line), alive)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


def _be(order: Mapping[str, Any], alive: int) -> None:
    """The whole life of a child."""
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _redirect(Path(order["log"]))
        os.environ.update(order["environment"])
        threading.Thread(target=_end_with_the_campaign, args=(alive,), daemon=True).start()
        _KINDS[order["kind"]](order)
        code = 0
    except BaseException:  # noqa: BLE001 -- told here, as nobody is above
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _redirect(log: Path) -> None:
    nothing, file = os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for source, target in ((nothing, 0), (file, 1), (file, 2)):
        os.dup2(source, target)


def _end_with_the_campaign(alive: int) -> None:
    os.read(alive, 1)  # nobody writes: it ends when the campaign's end of the pipe is closed
    os._exit(0)


def _serve(order: Mapping[str, Any]) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(threadName)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    faults.plant(order["fault"])
    Points(app.folder(), order["name"], order["who"]).install()
    if order["threads"]:
        roles.work(order["who"], order["threads"])
    else:
        roles.serve(order["who"], order["port"], order["exchange"])


_KINDS: Mapping[str, Callable[[Mapping[str, Any]], None]] = {
    "server": _serve,
    "seed": lambda _order: app.seed(),
    "model": lambda _order: model.serve(app.folder()),
}

if __name__ == "__main__":
    main()
