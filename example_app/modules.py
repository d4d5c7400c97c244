"""Which modules the script of a page needs, so that the page names them all and a browser fetches them at once."""

from __future__ import annotations

import posixpath
import re
from functools import lru_cache
from pathlib import Path

from flask import Blueprint, current_app, url_for

blueprint = Blueprint("modules", __name__)

_IMPORT = re.compile(r"""^import\b[^;]*?"([^"]+\.js)";""", re.MULTILINE)


@blueprint.app_template_global()
def modules(*scripts: str) -> list[str]:
    """Addresses of everything that these scripts (below static/) import, and their own; not what they fetch later."""
    ours, theirs = url_for("static", filename=""), url_for("neolith.static", filename="")
    folders = ((ours, current_app.static_folder), (theirs, current_app.blueprints["neolith"].static_folder))
    return _reached(tuple(ours + one for one in scripts), tuple((prefix, str(folder)) for prefix, folder in folders))


@lru_cache(maxsize=16)
def _reached(begin: tuple[str, ...], folders: tuple[tuple[str, str], ...]) -> list[str]:
    found: dict[str, None] = dict.fromkeys(begin)
    waiting = list(begin)
    while waiting:
        address = waiting.pop(0)
        prefix, folder = next(one for one in folders if address.startswith(one[0]))
        text = (Path(folder) / address.removeprefix(prefix)).read_text(encoding="utf-8")
        for wanted in _IMPORT.findall(text):
            full = posixpath.normpath(posixpath.join(posixpath.dirname(address), wanted))
            if full not in found:
                found[full] = None
                waiting.append(full)
    return list(found)
