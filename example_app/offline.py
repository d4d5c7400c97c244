"""What makes the chat an app that works without a connection: its service worker, its manifest, and one page more.

The service worker is `static/service-worker.js` behind a few constants from here. They change with any file that it
keeps, so a browser notices a new version of the app by itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from flask import Blueprint, Response, current_app, json, render_template, url_for
from flask_login import current_user

blueprint = Blueprint("offline", __name__)

SCRIPT = "service-worker.js"
_VERSION = "example_app.version"

SHARED = ("base.css", "icon.svg", "theme.js", "client/*.js", "vendor/idb-*.js", "vendor/pico-*.css", "vendor/s*.js")
"""The extension's files that the chat uses; the rest is its dashboard's."""

COLOURS = {"light": "#ffffff", "dark": "#171b22"}
"""What surrounds the page, where the browser or the phone asks for it."""


@blueprint.get("/service-worker.js")
def service_worker() -> Response:
    """The script, at the root because it may only look after what lies beside or below it."""
    away_page = url_for("offline.away")
    files = [url_for(endpoint, filename=name) for endpoint, name, _ in _files()]
    told = {"VERSION": version(), "FILES": [*files, away_page], "AWAY": away_page}
    constants = "".join(f"const {name} = {json.dumps(value)};\n" for name, value in told.items())
    script = (_folder() / SCRIPT).read_text(encoding="utf-8")
    return _fresh(Response(constants + script, content_type="text/javascript; charset=utf-8"))


@blueprint.get("/manifest.webmanifest")
def manifest() -> Response:
    """What an installed app is called, looks like and begins with."""
    icons = [
        {"src": _icon("icon.svg"), "sizes": "any", "type": "image/svg+xml"},
        {"src": _icon("icon-192.png"), "sizes": "192x192", "type": "image/png"},
        {"src": _icon("icon-512.png"), "sizes": "512x512", "type": "image/png"},
        {"src": _icon("maskable-512.png"), "sizes": "512x512", "type": "image/png", "purpose": "maskable"},
    ]
    told = {
        "id": url_for("pages.home"),
        "name": "Neolith",
        "short_name": "Neolith",
        "description": "A small chat with AI colleagues who log in like everybody else.",
        "lang": "en",
        "start_url": url_for("pages.home"),
        "scope": url_for("pages.home"),
        "display": "standalone",
        "theme_color": COLOURS["light"],
        "background_color": COLOURS["light"],
        "icons": icons,
    }
    return _fresh(Response(json.dumps(told), content_type="application/manifest+json"))


@blueprint.get("/offline")
def away() -> str:
    """What is shown in place of a page that this browser has not kept. It is about nobody."""
    return render_template("offline.html")


def about_visitor(response: Response) -> Response:
    """Tell the service worker whose page this is, and of which version; nobody else may keep it."""
    response.headers["X-Neolith-Visitor"] = str(current_user.id) if current_user.is_authenticated else "nobody"
    response.headers["X-Neolith-Version"] = version()
    response.headers["Cache-Control"] = "no-store"
    return response


def version() -> str:
    """What all that a browser keeps is called: another name if any of it differs. Found once, unless debugging."""
    known = current_app.extensions
    if current_app.debug or _VERSION not in known:
        known[_VERSION] = _hash()
    return str(known[_VERSION])


def _hash() -> str:
    found = hashlib.sha256((_folder() / SCRIPT).read_bytes())
    templates = (("templates", path.name, path) for path in sorted((_folder().parent / "templates").glob("*.html")))
    for kind, name, path in (*_files(), *templates):
        found.update(f"{kind} {name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()[:16]


def _files() -> Iterator[tuple[str, str, Path]]:
    """What a service worker fetches when it is installed, besides the page: endpoint, name, and the file."""
    shared = Path(current_app.blueprints["neolith"].static_folder or "")
    for path in sorted(_folder().rglob("*")):
        # icons are the system's business once the app is installed
        if path.is_file() and path.name != SCRIPT and path.suffix != ".png":
            yield "static", path.relative_to(_folder()).as_posix(), path
    for pattern in SHARED:
        for path in sorted(shared.glob(pattern)):
            yield "neolith.static", path.relative_to(shared).as_posix(), path


def _folder() -> Path:
    return Path(current_app.static_folder or "")


def _icon(name: str) -> str:
    return url_for("static", filename=f"icons/{name}")


def _fresh(response: Response) -> Response:
    """Asked for anew each time: a browser that keeps an old one would keep the old app."""
    response.headers["Cache-Control"] = "no-cache"
    return response
