"""What is shipped: the wheel has everything the package needs at run time, and importing it is cheap."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "flask_neolith_orchestrator"

BASE = "import flask, flask_login, flask_socketio, flask_sqlalchemy, sqlalchemy.orm"
OURS = "import flask_neolith_orchestrator"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of what is in the repository.

    Without the network where setuptools is new enough; else in an environment of its own, as `python -m build` does.
    """
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.split("\0"):
        if name.startswith(("flask_neolith_orchestrator/", "setup", "pyproject", "README", "LICENSE", "MANIFEST")):
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    new_enough = int(version("setuptools").partition(".")[0]) >= 77
    alone = ["--no-build-isolation"] if new_enough else []
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", *alone, "-q", "-w", str(folder), "."]
    built = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=110, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (found,) = folder.glob("*.whl")
    return found


def test_the_wheel_has_every_file_and_nothing_else(wheel: Path) -> None:
    """Modules, templates, static files and py.typed; no tests, no example app, no benchmarks."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    there = {
        str(path.relative_to(ROOT)) for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }
    assert "flask_neolith_orchestrator/py.typed" in there
    assert any("/templates/" in name for name in there)
    assert any("/static/" in name for name in there)
    assert names == there


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    """Name, licence, the Python it needs, and its dependencies with lower bounds."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [one for one in archive.namelist() if one.endswith(".dist-info/METADATA")]
        metadata = archive.read(name).decode()
    lines = metadata.partition("\n\n")[0].splitlines()
    assert "License-Expression: MIT" in lines or "License: MIT" in lines
    assert "Requires-Python: >=3.11" in lines
    needed = [line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist: ")]
    plain = [one for one in needed if "extra ==" not in one]
    assert all(">=" in one for one in plain), plain
    assert not [one for one in plain if one.startswith(("redis", "celery", "pytest"))]


USE = """
import flask_neolith_orchestrator as front, sys
assert sys.argv[1] in front.__file__, front.__file__
from pathlib import Path
from flask import Flask
from flask_login import LoginManager, UserMixin
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column
db = SQLAlchemy()
class User(front.OrchestratorUserMixin, UserMixin, db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
neolith = front.NeolithOrchestrator(db=db, user_model=User)
app = Flask("host", instance_path=sys.argv[2])
app.config.update(SECRET_KEY="x", SQLALCHEMY_DATABASE_URI=f"sqlite:///{sys.argv[2]}/app.db")
db.init_app(app)
manager = LoginManager(app)
manager.user_loader(lambda key: db.session.get(User, int(key)))
neolith.init_app(app)
with app.app_context():
    db.create_all()
    db.session.add(User(name="maya"))
    db.session.flush()
    acme = neolith.directory.create_organization("Acme", "acme")
    neolith.directory.add_to_organization(acme, "1", "owner")
    db.session.commit()
browser = app.test_client()
with browser.session_transaction() as kept:
    kept["_user_id"] = "1"
page = browser.get("/neolith/")
assert page.status_code == 200, page.status_code
for word in page.text.replace("'", '"').split('"'):
    if word.startswith("/neolith/static/"):
        assert browser.get(word).status_code == 200, word
        print(word)
"""


def test_the_installed_wheel_serves_its_dashboard(wheel: Path, tmp_path: Path) -> None:
    """In a fresh environment, with the package installed from the wheel, the page and its files are there."""
    place = tmp_path / "venv"
    venv.create(place, with_pip=False)
    (site,) = place.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:  # what installing a pure wheel without dependencies is
        archive.extractall(site)
    outer = [path for path in sys.path if path.endswith("site-packages")]
    (site / "outer.pth").write_text("\n".join(outer))
    folder = tmp_path / "instance"
    folder.mkdir()
    command = [str(place / "bin" / "python"), "-I", "-c", USE, str(place), str(folder)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "/neolith/static/" in done.stdout


def test_importing_reaches_for_no_provider_and_no_broker() -> None:
    """anthropic, redis, celery and APScheduler are imported where they are used (benchmarks measure what it costs)."""
    program = f"import json, sys; {OURS}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    roots = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert "flask_neolith_orchestrator" in roots
    assert not roots & {"anthropic", "redis", "celery", "apscheduler", "apispec", "pytest", "playwright"}
