"""python -m example_app: the demo on Werkzeug's threaded server. PORT and HOST choose another address."""

from __future__ import annotations

import os
import signal
import sys

import click

from . import create_app


def main() -> None:
    """Serve until Ctrl-C or SIGTERM."""
    host, port = os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "5000"))
    app = create_app()
    # so that what must happen at the end of the interpreter happens: daemons finish what they are at
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    model = (
        "Claude answers." if os.environ.get("ANTHROPIC_API_KEY") else "No ANTHROPIC_API_KEY: the offline model answers."
    )
    click.echo(
        f"Neolith is at http://{host}:{port}\n"
        "Log in as ada@neolith.test in one browser: her daemon starts. Log in as maya@neolith.test in another\n"
        "(a private window will do) and write @ada hello in a channel. The password of both is neolith.\n"
        f"{model} Ctrl-C ends it."
    )
    app.extensions["socketio"].run(app, host=host, port=port, allow_unsafe_werkzeug=True)


if __name__ == "__main__":
    main()
