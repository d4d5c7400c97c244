"""The host as a real process: `python -m benchmarks.server FOLDER API`. Prints when it listens, and where."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

from werkzeug.serving import make_server

from .app import make_app
from .claude import KEY


def main() -> None:
    """Serve until a signal comes."""
    folder, api = sys.argv[1:3]
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    settings: dict[str, Any] = {
        "ANTHROPIC_API_KEY": KEY,
        "ANTHROPIC_BASE_URL": api,
        "NEOLITH_MODEL": "claude-sonnet-5-5",
    }
    server = make_server("127.0.0.1", 0, make_app(folder, **settings), threaded=True)
    sys.stdout.write(json.dumps([f"http://127.0.0.1:{server.server_port}", time.monotonic()]) + "\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
