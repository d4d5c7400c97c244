"""Charters as files: YAML that says what it seems to say, and JSON, which is YAML too. Pure.

Plain YAML has traps that people who write charters would step into. Here `on`, `off`, `yes` and `no` are text (`on:`
is a field of an escalation), `17:30` is not a number and a date is text; a key that is given twice is a mistake; and
there are no anchors, so that a small file stays a small charter.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any, Final

from .charter_reading import Problem, UnusableCharter
from .text import one_line

if TYPE_CHECKING:
    import yaml

LONGEST: Final = 400_000
"""Characters of a file at the most."""

_CHANGED: Final = frozenset({"tag:yaml.org,2002:bool", "tag:yaml.org,2002:int", "tag:yaml.org,2002:timestamp"})
_SWITCH: Final = re.compile(r"(?:true|True|TRUE|false|False|FALSE)")
_NUMBER: Final = re.compile(r"[-+]?[0-9]+", re.ASCII)


def parse(text: str) -> dict[str, Any]:
    """The mapping that a file holds; an empty file holds an empty one. Raises UnusableCharter, naming the line."""
    import yaml  # only here: most processes never read a file

    if len(text) > LONGEST:
        raise UnusableCharter([Problem("file", f"it is too long: at most {LONGEST:,} characters are allowed")])
    try:
        found = yaml.load(text, _loader())  # noqa: S506 -- it is a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = "file" if error.problem_mark is None else f"line {error.problem_mark.line + 1}"
        raise UnusableCharter([Problem(line, one_line(error.problem or "it is no YAML")[:200])]) from None
    except (yaml.YAMLError, RecursionError):
        raise UnusableCharter([Problem("file", "it is neither YAML nor JSON")]) from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise UnusableCharter([Problem("file", "a mapping of fields is expected")])
    return found


def lines(text: str) -> dict[str, int]:
    """The line (from 1) of each field of a file that `parse` takes, by the path that a problem has."""
    import yaml

    found: dict[str, int] = {}

    def walk(node: yaml.Node, at: str) -> None:
        pairs: list[tuple[str, int, yaml.Node]] = []
        if isinstance(node, yaml.MappingNode):
            pairs = [(str(key.value), key.start_mark.line, value) for key, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            pairs = [(str(place), value.start_mark.line, value) for place, value in enumerate(node.value)]
        for key, line, value in pairs:
            path = f"{at}.{key}" if at else key
            found[path] = line + 1
            walk(value, path)

    root = yaml.compose(text, Loader=_loader())
    if root is not None:
        walk(root, "")
    return found


def to_yaml(charter: Mapping[str, Any]) -> str:
    """A charter as YAML that `parse` reads back as it was; text of several lines is shown as it is."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Writes text of several lines as a block."""

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)

    Dumper.add_representer(str, text)
    shown: str = yaml.dump(dict(charter), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=100)
    return shown


def _loader() -> type[yaml.SafeLoader]:
    import yaml

    class Loader(yaml.SafeLoader):
        """A SafeLoader without the traps."""

        def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
            if self.check_event(yaml.AliasEvent):
                mark = self.get_mark()
                raise yaml.MarkedYAMLError(problem="anchors are not taken here: write it out", problem_mark=mark)
            return super().compose_node(parent, index)

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
            keys = [key.value for key, _value in node.value if isinstance(key, yaml.ScalarNode)]
            twice = next((key for place, key in enumerate(keys) if key in keys[:place]), None)
            if twice is not None:
                problem = f"{one_line(twice)[:60]} is given twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
            return super().construct_mapping(node, deep)

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in _CHANGED]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(f"^{_SWITCH.pattern}$"), list("tTfF"))
    Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(f"^{_NUMBER.pattern}$"), list("-+0123456789"))
    return Loader
