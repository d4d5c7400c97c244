"""The tables themselves, each made from the code that it is about. Lines of Markdown, without a newline at the end."""

from __future__ import annotations

import ast
import inspect
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, get_args, get_origin

import annotated_types
import click
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from flask_neolith_orchestrator.chat.charter import CharterDocument
from flask_neolith_orchestrator.chat.charter_reading import is_part
from flask_neolith_orchestrator.chat.charter_words import Part
from flask_neolith_orchestrator.chat.reasons import SENTENCES, WAKING, Reason
from flask_neolith_orchestrator.cli.group import make_group
from flask_neolith_orchestrator.core import errors as tree
from flask_neolith_orchestrator.core.setting_values import Keep, Milliseconds, Pause
from flask_neolith_orchestrator.settings import Settings
from flask_neolith_orchestrator.store.people.keys import SCOPES
from flask_neolith_orchestrator.web import problem
from flask_neolith_orchestrator.web.blueprint import API, ROUTES
from flask_neolith_orchestrator.web.calls import Route

PACKAGE: Final = Path(inspect.getfile(tree)).parent.parent
MOST_USED: Final = (
    "ORCHESTRATOR_MODE",
    "ANTHROPIC_API_KEY",
    "NEOLITH_MODEL",
    "DAEMON_AUTO_START",
    "DAEMON_STOP_ON",
    "DAEMON_MAX_CONCURRENT_CONVERSATIONS",
    "DAEMON_REPLY_IN",
    "DAEMON_STOP_TIMEOUT",
    "NEOLITH_URL_PREFIX",
)
DURATIONS: Final = frozenset({str(Milliseconds), str(Pause), str(Keep)})
DURATIONS_OF_THEIR_OWN: Final = frozenset({"DAEMON_LEASE"})  # its bounds are its own


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def settings() -> str:
    """Every setting."""
    return _settings(field.alias for field in Settings.model_fields.values())


def settings_most_used() -> str:
    """The settings that most apps look at."""
    return _settings(MOST_USED)


def _settings(keys: Iterable[str | None]) -> str:
    fields = {field.alias: (name, field) for name, field in Settings.model_fields.items()}
    rows = []
    for key in keys:
        name, field = fields[key]
        rows.append([f"`{key}`", _expected(name, field), f"`{shown_default(field)}`", field.description or ""])
    return _table(["key", "value", "default", "what it does"], rows)


def shown_default(field: FieldInfo) -> str:
    """A default as it is written in an environment."""
    if field.default is None:
        return "unset"
    return str(field.default).lower() if isinstance(field.default, bool) else str(field.default)


def is_duration(name: str) -> bool:
    """Whether a setting is in milliseconds."""
    annotation = str(typing.get_type_hints(Settings, include_extras=True)[name])
    alias = Settings.model_fields[name].alias
    return alias in DURATIONS_OF_THEIR_OWN or any(one in annotation for one in DURATIONS)


def _expected(name: str, field: FieldInfo) -> str:
    choices = [one for one in get_args(field.annotation) if isinstance(one, str)]
    if choices:
        return " or ".join(f"`{one}`" for one in choices)
    kinds = {one for one in (get_args(field.annotation) or (field.annotation,)) if one is not types.NoneType}
    if kinds & {bool}:
        return "true or false"
    if int not in kinds and not any("int" in str(one) for one in kinds):
        return "secret text" if SecretStr in kinds else "text"
    unit = "ms" if is_duration(name) else "number"
    return f"{unit}{_bounds(field)}"


def _bounds(field: FieldInfo) -> str:
    found = list(field.metadata)
    for kind in get_args(field.annotation):
        found += list(getattr(kind, "__metadata__", ()))
    low = next((one.ge for one in _constraints(found) if isinstance(one, annotated_types.Ge)), None)
    high = next((one.le for one in _constraints(found) if isinstance(one, annotated_types.Le)), None)
    if low is None or high is None or (isinstance(high, int) and high >= 10**9):
        return "" if low is None else f", at least {low}"
    return f", {low} to {high}"


def _constraints(found: Iterable[object]) -> Iterator[Any]:
    for one in found:
        yield from one.metadata if isinstance(one, FieldInfo) else [one]


def environment() -> str:
    """The file .env.orchestrator.example, whole."""
    lines = [
        "# Every setting of flask_neolith_orchestrator with its default. Written by `python -m docs.build`.",
        "# Take the # away from what you want to change. app.config wins over the environment.",
        "# Durations are in milliseconds. docs/settings.md says more.",
    ]
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else shown_default(field)
        lines += [
            "",
            f"# {field.description} ({_expected(name, field).replace('`', '')})",
            f"# {field.alias}={default}",
        ]
    return "\n".join(lines) + "\n"


def reasons() -> str:
    """Why somebody wakes or sleeps."""
    rows = [[f"`{one}`", "wakes" if one in WAKING else "sleeps", SENTENCES[one]] for one in Reason]
    return _table(("reason", "it", "because"), rows)


def routes() -> str:
    """Every route of the API."""
    rows = [
        [f"`{one.method} {API}/{one.path}`", one.summary, _taken(one), _key(one), str(one.status)]
        for one in [*ROUTES, _OPENAPI]
    ]
    return _table(["route", "what it does", "takes", "API key", "answers"], rows)


_OPENAPI: Final = Route(
    "GET", "openapi.json", lambda _call: None, "Describe the API (OpenAPI 3.1)", "health", public=True
)


def _key(route: Route) -> str:
    if route.public:
        return "nobody need log in"
    return "no" if route.scope is None else f"`{route.scope}`"


def _taken(route: Route) -> str:
    parts = []
    for what, model in (("query", route.query), ("JSON", route.body)):
        if model is not None:
            names = [f"`{one.alias}`{'' if one.is_required() else '?'}" for one in model.model_fields.values()]
            parts.append(f"{what}: {', '.join(names)}")
    return "; ".join(parts)


def scopes() -> str:
    """What an API key can be allowed to do."""
    rows = []
    for scope in SCOPES:
        uses = sorted({one.summary[0].lower() + one.summary[1:] for one in ROUTES if one.scope == scope})
        rows.append([f"`{scope}`", ", ".join(uses)])
    return _table(["scope", "lets a key"], rows)


def errors() -> str:
    """Every class of the error tree, in the order of the tree."""
    return _table(["error", "is a", "over HTTP", "what it says, and the remedy"], list(_errors(tree.NeolithError)))


def _errors(kind: type[tree.NeolithError]) -> Iterator[list[str]]:
    status = problem._STATUS.get(kind)  # noqa: SLF001 -- the one place that knows
    said = " ".join((kind.__doc__ or "").split())
    yield [
        f"`{kind.__name__}`",
        f"`{kind.__bases__[0].__name__}`",
        "" if status is None else f"{status[0]} `{status[1]}`",
        said,
    ]
    for one in kind.__subclasses__():
        if one.__module__ == tree.__name__:
            yield from _errors(one)


def commands() -> str:
    """Every `flask neolith` command."""
    group = make_group(None)  # type: ignore[arg-type]  # the commands are only looked at, never called
    rows = []
    for name, command in _commands(group):
        rows.append([f"`flask neolith {' '.join([name, *_usage(command)])}`", (command.help or "").split("\n\n")[0]])
    return _table(["command", "what it does"], rows)


def _commands(group: click.Group, at: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from _commands(command, f"{at}{name} ")
        else:
            yield f"{at}{name}", command


def _usage(command: click.Command) -> Iterator[str]:
    for one in command.params:
        if isinstance(one, click.Argument):
            yield str(one.name).upper()
        elif isinstance(one, click.Option):
            shown = f"{one.opts[0]} {str(one.name).upper()}"
            yield shown if one.required else f"[{shown}]"


def charter() -> str:
    """Every field of a charter."""
    return _table(["field", "value", "default", "what it says"], _charter_fields(CharterDocument))


def _charter_fields(part: type[Part], at: str = "") -> Iterator[list[str]]:
    for name, field in part.model_fields.items():
        path = f"{at}{name}"
        inner = next((one for one in (field.annotation, *get_args(field.annotation)) if is_part(one)), None)
        if is_part(inner):
            several = "" if inner is field.annotation else "[]"
            yield from _charter_fields(inner, f"{path}{several}.")
        else:
            yield [f"`{path}`", _charter_value(field), _charter_default(field), field.description or ""]


def _charter_value(field: FieldInfo) -> str:
    found = list(_inside(field.annotation))
    choices = dict.fromkeys(one for one in found if isinstance(one, str))
    if Mapping in found:
        return "spans of time by day" if choices else "text by name"
    if tuple in found:
        return "list of text"
    if choices:
        return " or ".join(f"`{one}`" for one in choices)
    plain = next(said for kind, said in _CHARTER_KINDS.items() if kind in found)
    return f"{plain}{_bounds(field)}" if plain == "number" else plain


def _inside(kind: object) -> Iterator[object]:
    """A type, what it is made of, and the words of a Literal."""
    yield get_origin(kind) or kind
    for one in get_args(kind):
        yield from _inside(one)


_CHARTER_KINDS: Final = {bool: "true or false", int: "number", float: "number", Decimal: "US dollars", str: "text"}


def _charter_default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    default = field.get_default(call_default_factory=True)
    if default is None or default in ("", ()) or default == {}:
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def modules() -> str:
    """Every module of the package, with the first sentence of its docstring."""
    rows = []
    for path in sorted(PACKAGE.rglob("*.py"), key=lambda one: (len(one.relative_to(PACKAGE).parts) > 1, str(one))):
        said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        rows.append([f"`{path.relative_to(PACKAGE)}`", _first_sentence(said)])
    return _table(["file", "what it is"], rows)


def _first_sentence(text: str) -> str:
    paragraph = " ".join(text.split("\n\n")[0].split())
    found = re.match(r".*?[.!?](?=\s|$)", paragraph)
    return (found[0] if found else paragraph).rstrip(":")
