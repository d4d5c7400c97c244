"""The deployment page and its files: what it says to type works, and the files are what their readers want."""

from __future__ import annotations

import configparser
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
import yaml
from jsonschema.validators import validator_for  # type: ignore[import-untyped]  # it has none

from flask_neolith_orchestrator.cli.group import make_group
from flask_neolith_orchestrator.settings import KEYS, load_settings
from tests.integration.postgres_server import PostgresServer
from tests.integration.redis_server import RedisServer

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "deployment.md"
FILES = ROOT / "docs" / "deployment"
UNITS = sorted((FILES / "systemd").glob("*.service"))
TRY = re.compile(r"<!-- try: (\w+) -->\n```sh\n(.*?)```", re.DOTALL)
HOSTS = {"SQLALCHEMY_DATABASE_URI", "SECRET_KEY", "SOCKETIO_MESSAGE_QUEUE", "NEOLITH_EXAMPLE_INSTANCE"}
"""What the example app itself reads from the environment."""


def blocks() -> dict[str, str]:
    """What the page has its reader type, by name."""
    return dict(TRY.findall(PAGE.read_text(encoding="utf-8")))


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def type_in(block: str, folder: Path, **addresses: str) -> str:
    """Type a block into a shell at the top of the repository, with ports, folder and servers that we have here."""
    for port in set(re.findall(r"127\.0\.0\.1:(\d+)", block)):
        block = block.replace(port, str(free_port()))
    for address, here in addresses.items():
        block, count = re.subn(rf"(?<={address}=)\S+", f"'{here}'", block)
        assert count == 1, f"{address} is not in the block"
    block = block.replace("$PWD/instance", str(folder))
    known = {*KEYS, *HOSTS}
    environment = {key: value for key, value in os.environ.items() if key not in known and not key.startswith("COV_")}
    environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    with (folder / "typed").open("w+", encoding="utf-8") as said:
        process = subprocess.Popen(
            ["bash", "-euc", block], cwd=ROOT, env=environment, stdout=said, stderr=said, start_new_session=True
        )
        try:
            code = process.wait(100)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # nobody, unless it went wrong
        said.seek(0)
        text = said.read()
    assert code == 0, text
    return text


def check(said: str, *, ready: int) -> None:
    """It ran, answered and ended as the page says."""
    assert said.count('{"status": "ok"}') == ready, said
    assert "BAD" not in said, said
    assert re.search(r"answered +orchestrator=1 message=1 ", said), said
    assert "Traceback" not in said, said


@contextlib.contextmanager
def addresses(folder: Path, postgres: PostgresServer) -> Iterator[dict[str, str]]:
    """What the block of many machines takes the place of its own names."""
    redis = RedisServer(folder)
    try:
        yield {
            "SQLALCHEMY_DATABASE_URI": postgres.database(),
            "NEOLITH_BROKER_URL": redis.url,
            "SOCKETIO_MESSAGE_QUEUE": redis.url.replace("/0", "/1"),
        }
    finally:
        redis.client.close()
        redis.stop()


@pytest.mark.process
@pytest.mark.postgres
def test_many_machines_as_the_page_says(tmp_path: Path, postgres: PostgresServer) -> None:
    """Two web processes and a worker on Postgres and Redis, word for word; main() does the other blocks too."""
    with addresses(tmp_path, postgres) as ours:
        check(type_in(blocks()["many"], tmp_path, **ours), ready=2)


def test_the_first_block_is_the_others_with_one_process() -> None:
    """The one that is not typed in here differs from the second in nothing but its processes and its folder."""

    def lines(name: str) -> list[str]:
        text = re.sub(r"%\d", "%1", re.sub(r"( %\d)+", " %1", blocks()[name])).replace("instance/one", "instance/apart")
        return [re.sub(r"800\d", "8000", line) for line in text.splitlines()]

    more = set(lines("apart")) - set(lines("one"))
    assert set(lines("one")) <= set(lines("apart"))
    assert more == {
        "flask --app example_app neolith create-tables",
        "export NEOLITH_MAX_THREADS=0",
        "flask --app example_app neolith run --concurrency 32 &",
    }


def unit(path: Path) -> configparser.ConfigParser:
    """A unit, read as systemd does: keys have their case, and `%` its own meaning."""
    parser = configparser.ConfigParser(interpolation=None, strict=False, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # configparser's documented way to keep case
    parser.read_string(path.read_text(encoding="utf-8"))
    return parser


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_ends_in_order_and_starts_again(path: Path, tmp_path: Path) -> None:
    """It tells the main process alone to end, waits longer than gunicorn, is started again; systemd agrees."""
    service = unit(path)["Service"]
    assert set(unit(path).sections()) == {"Unit", "Service", "Install"}
    assert (service["KillMode"], service["Restart"]) == ("mixed", "always")
    graceful = re.search(r"graceful_timeout = (\d+)", (ROOT / "example_app" / "gunicorn_conf.py").read_text())
    assert graceful is not None
    assert load_settings({}, {}).stop_timeout / 1000 < int(graceful[1]) < int(service["TimeoutStopSec"])
    program = service["ExecStart"].split()[0]
    assert program.startswith(service["WorkingDirectory"] + "/.venv/bin/")
    if shutil.which("systemd-analyze") is None:
        return
    here = tmp_path / path.name  # with a program that this machine has
    here.write_text(path.read_text(encoding="utf-8").replace(program, "/bin/true"), encoding="utf-8")
    said = subprocess.run(["systemd-analyze", "verify", here], capture_output=True, text=True, timeout=60, check=False)
    assert [line for line in said.stderr.splitlines() if path.stem in line] == []


def test_the_compose_file_is_one() -> None:
    """Valid by the official schema, with every file that it names; who needs a server waits until it is well."""
    compose = yaml.safe_load((FILES / "compose.yaml").read_text(encoding="utf-8"))
    schema = json.loads((files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json").read_text())
    validator = validator_for(schema, default=None)(schema)
    assert [error.message for error in validator.iter_errors(compose)] == []
    broken = {**compose, "services": {**compose["services"], "web1": {"imagen": "neolith"}}}
    assert list(validator.iter_errors(broken)), "the schema has teeth"
    services = compose["services"]
    for service in services.values():
        build = service.get("build")
        if build is not None:
            assert (FILES / build["context"] / build["dockerfile"]).is_file()
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (FILES / source).is_file() if source.startswith(".") else source in compose["volumes"]
        for other in service.get("depends_on", []):
            assert other in services
    upstream = (FILES / "nginx" / "compose-upstream.conf").read_text(encoding="utf-8")
    for host in re.findall(r"server (\w+):", upstream):
        assert host in services


def test_every_name_is_one_that_exists() -> None:
    """Variables of units, compose file and page are settings or the example's; commands and extras are there."""
    texts = [path.read_text(encoding="utf-8") for path in [PAGE, *FILES.rglob("*")] if path.is_file()]
    commands = set(make_group(None).commands)  # type: ignore[arg-type]  # nothing is run
    known = {*KEYS, *HOSTS}
    prefixes = ("ORCHESTRATOR_", "DAEMON_", "NEOLITH_", "ANTHROPIC_", "SQLALCHEMY_D", "SOCKETIO_", "SECRET_")
    for text in texts:
        found = {one for one in re.findall(r"\b[A-Z][A-Z_]{5,}\b", text) if one.startswith(prefixes)}
        assert found <= known
        assert set(re.findall(r"flask,? (?:--app,? \w+,? )?neolith,? ([a-z-]+)", text)) <= commands


def test_what_it_says_of_failures_is_what_is_said() -> None:
    """Each text that the page quotes of a log or of health is in the code."""
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "flask_neolith_orchestrator").rglob("*.py"))
    spoken = re.sub(r'"\s*f?"', "", code)
    page = PAGE.read_text(encoding="utf-8")
    for text in (
        "The bell is out of order: ",
        ". The sweep finds the work",
        "Redis cannot be reached (",
        "the sweep finds the work",
        "The bell works again",
        "A part of the sweep failed: ",
        "A turn was taken over from a process that is gone",
        "Nobody saw the end of a model call: it counts as it was reserved",
        "Waiting for the model, which cannot be reached right now.",
        " process(es) runs turns. Start ",
        "No process runs turns. Start ",
        "Processes that cannot hear each other run on this database. For live updates between machines give SocketIO",
        "This process must be restarted: ",
        "The tables are of version ",
    ):
        assert text in page
        assert text in spoken


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not here")
def test_nginx_takes_its_files(tmp_path: Path) -> None:
    """`nginx -t` has no complaint about the server and its upstream."""
    parts = "".join(f"include {FILES}/nginx/{name}.conf;" for name in ("neolith", "neolith-upstream"))
    (tmp_path / "nginx.conf").write_text(f"pid {tmp_path}/pid; events {{}} http {{ {parts} }}", encoding="utf-8")
    command = ["nginx", "-t", "-c", str(tmp_path / "nginx.conf"), "-e", "stderr"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode == 0, said.stderr


def main() -> None:
    """python -m tests.acceptance.test_deployment: type in every block of the page."""
    postgres = PostgresServer()
    for name, ready in (("one", 1), ("apart", 2), ("many", 2)):
        with tempfile.TemporaryDirectory() as made, addresses(Path(made), postgres) as ours:
            check(type_in(blocks()[name], Path(made), **(ours if name == "many" else {})), ready=ready)
            sys.stdout.write(f"{name}: as the page says\n")
    postgres.close()


if __name__ == "__main__":
    main()
