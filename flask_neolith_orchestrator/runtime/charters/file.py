"""A charter in a file, for seeds, commands and the host's own code."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

from ...chat.charter_reading import UnusableCharter, read_document
from ...chat.charter_yaml import parse
from ...core.errors import BadCharter
from .keeper import bad


def load_charter_file(path: str | PathLike[str]) -> dict[str, Any]:
    """The charter in a YAML or JSON file, checked, as a mapping for `neolith.directory.set_charter`.

    Raises BadCharter naming every problem by its path or line, and OSError where the file cannot be read.
    """
    try:
        return read_charter_text(Path(path).read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise BadCharter([("file", "it is not UTF-8 text")]) from None


def read_charter_text(text: str) -> dict[str, Any]:
    """The same of a text. Raises BadCharter."""
    try:
        charter = parse(text)
        read_document(charter)
    except UnusableCharter as error:
        raise bad(error.problems) from None
    return charter
