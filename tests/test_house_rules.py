"""The house's own rules: sizes, docstrings and names. An exception needs a line here saying why."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "flask_neolith_orchestrator"
MODULES = sorted([*PACKAGE.rglob("*.py"), *(ROOT / "example_app").rglob("*.py")])
MAX_LINES = 300
MAX_FUNCTION = 50
FORBIDDEN_NAMES = {"utils", "util", "common", "helpers", "helper", "misc", "base"}
LONG_FUNCTIONS: dict[str, str] = {
    "extension.py:init_app": "its docstring lists every setting, and the wiring is one table",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.Module) -> Iterator[Function]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_short_and_says_what_it_is(path: Path) -> None:
    """A module has at most 300 lines, a docstring, and a name that means something."""
    source = path.read_text()
    assert len(source.splitlines()) <= MAX_LINES, "split it"
    assert ast.get_docstring(ast.parse(source)), "say what it is for"
    assert path.stem not in FORBIDDEN_NAMES


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_function_fits_on_a_screen(path: Path) -> None:
    """A function has at most 50 lines."""
    for node in functions(ast.parse(path.read_text())):
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        if f"{path.name}:{node.name}" not in LONG_FUNCTIONS:
            assert length <= MAX_FUNCTION, f"{node.name} has {length} lines"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_public_names_say_what_they_are(path: Path) -> None:
    """Public classes, functions and methods carry a docstring; a Protocol's stub may be one line of dots."""
    for scope in [ast.parse(path.read_text())]:
        for node in _public(scope):
            stub = isinstance(node, Function) and ast.unparse(node.body[-1]) == "..."
            assert ast.get_docstring(node) or stub, f"{node.name} has no docstring"


def _public(scope: ast.Module | ast.ClassDef) -> Iterator[ast.ClassDef | Function]:
    for node in scope.body:
        if isinstance(node, ast.ClassDef | Function) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from _public(node)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_waits_in_its_sleep(path: Path) -> None:
    """Loops wait on an event, never on time.sleep, so that a stop is instant."""
    assert "time.sleep(" not in path.read_text()


def test_an_exemption_gives_its_reason() -> None:
    """Each noqa names its rule and, like each type: ignore, why."""
    for path in MODULES:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            where = f"{path.relative_to(ROOT)}:{number}"
            if "# noqa" in line:
                assert " -- " in line.split("# noqa", 1)[1], f"{where}: say why"
            if "# type: ignore" in line:
                assert "#" in line.split("# type: ignore", 1)[1], f"{where}: say why"
