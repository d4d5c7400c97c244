"""What the example app tells browsers so that they keep it: service worker, manifest, versions, icons."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, json

import example_app
from example_app import icons, offline
from example_app.models import db, neolith


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the demo data is, made once."""
    return tmp_path_factory.mktemp("offline")


@pytest.fixture
def app(folder: Path) -> Iterator[Flask]:
    """The example app."""
    made = example_app.create_app({"INSTANCE_PATH": str(folder), "ORCHESTRATOR_MODE": "false", "TESTING": True})
    yield made
    neolith.shutdown(made)
    with made.app_context():
        db.engine.dispose()


def constants(script: str) -> dict[str, Any]:
    """What the server writes before the script."""
    lines = [line.removeprefix("const ").removesuffix(";") for line in script.splitlines()[:3]]
    return {name: json.loads(value) for name, _, value in (line.partition(" = ") for line in lines)}


def test_the_service_worker_keeps_files_that_are_there(app: Flask) -> None:
    """It comes from the root, is never served from a cache, and each file that it fetches exists, once."""
    client = app.test_client()
    answer = client.get("/service-worker.js")
    assert answer.mimetype == "text/javascript"
    assert answer.headers["Cache-Control"] == "no-cache"
    told = constants(answer.text)
    assert told["AWAY"] in told["FILES"]
    assert len(set(told["FILES"])) == len(told["FILES"])
    for path in told["FILES"]:
        with client.get(path) as found:
            assert found.status_code == 200, path
    assert "worker-src 'self'; manifest-src 'self'" in answer.headers["Content-Security-Policy"]


def test_any_other_file_is_another_version(app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The version is that of the content: the same for the same, another for a changed, a new or a renamed file."""
    seen = set()
    folder = tmp_path / "static"
    folder.mkdir()
    (folder / offline.SCRIPT).write_text("//", encoding="utf-8")
    monkeypatch.setattr(app, "static_folder", str(folder))
    monkeypatch.setattr(app, "debug", True)
    with app.test_request_context():
        seen.add(offline.version())
        (folder / "a.js").write_text("1", encoding="utf-8")
        seen.add(offline.version())
        assert offline.version() in seen
        (folder / "a.js").write_text("2", encoding="utf-8")
        seen.add(offline.version())
        (folder / "a.js").rename(folder / "b.js")
        seen.add(offline.version())
        (folder / offline.SCRIPT).write_text("///", encoding="utf-8")
        seen.add(offline.version())
    assert len(seen) == 5


def test_pages_say_whose_they_are(app: Flask) -> None:
    """A page is kept for its visitor alone, the login page for nobody; nothing else may keep them."""
    client = app.test_client()
    answer = client.get("/login")
    assert answer.headers["X-Neolith-Visitor"] == "nobody"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "X-Neolith-Visitor" not in client.get("/offline").headers
    with client.session_transaction() as session:
        session["_user_id"] = "1"
    answer = client.get("/")
    assert answer.headers["X-Neolith-Visitor"] == "1"
    assert answer.headers["X-Neolith-Version"] == constants(client.get("/service-worker.js").text)["VERSION"]


def test_the_manifest_names_icons_of_their_size(app: Flask) -> None:
    """Name, start, display and icons, the PNG ones with the size that is said."""
    client = app.test_client()
    told = json.loads(client.get("/manifest.webmanifest").data)
    assert (told["name"], told["start_url"], told["display"]) == ("Neolith", "/", "standalone")
    assert {"any", "maskable"} == {one.get("purpose", "any") for one in told["icons"]}
    for icon in told["icons"]:
        with client.get(icon["src"]) as found:
            data = found.data
        if icon["type"] == "image/png":
            assert f"{int.from_bytes(data[16:20])}x{int.from_bytes(data[20:24])}" == icon["sizes"]


@pytest.mark.parametrize("name", ["icon-192.png", "apple-touch-icon.png"])
def test_the_icons_are_what_the_script_draws(name: str) -> None:
    """Whoever changes the drawing runs `python -m example_app.icons`."""
    drawn = icons.png(*{**icons.SIZES, **icons.FULL}[name])
    assert pixels((icons.FOLDER / name).read_bytes()) == pixels(drawn)
    assert (icons.FOLDER / "icon.svg").read_text(encoding="utf-8") == icons.svg()


def pixels(png: bytes) -> bytes:
    """Two libraries may pack the same picture differently."""
    length = int.from_bytes(png[33:37])
    return zlib.decompress(png[41 : 41 + length])
