"""Write the tables of the documentation from the code that they are about: `python -m docs.build`.

A table stands between `<!-- table: NAME -->` and `<!-- end -->`; everything else is written by hand.
`tests/test_docs.py` fails where a table is not what this would write.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from . import tables

ROOT: Final = Path(__file__).parent.parent
ENVIRONMENT: Final = ROOT / ".env.orchestrator.example"
TABLES: Final[Mapping[str, Callable[[], str]]] = {
    "charter": tables.charter,
    "commands": tables.commands,
    "errors": tables.errors,
    "modules": tables.modules,
    "reasons": tables.reasons,
    "routes": tables.routes,
    "scopes": tables.scopes,
    "settings": tables.settings,
    "settings-most-used": tables.settings_most_used,
}

_TABLE: Final = re.compile(r"<!-- table: (\S+) -->\n.*?<!-- end -->", re.DOTALL)


def pages() -> list[Path]:
    """Every page that may hold a table."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def filled(text: str) -> str:
    """A page with its tables written anew. Raises KeyError for a table that nobody makes."""
    return _TABLE.sub(lambda found: f"<!-- table: {found[1]} -->\n{TABLES[found[1]]()}\n<!-- end -->", text)


def stale() -> dict[Path, str]:
    """What must be written, by file: nothing, where everything is true already."""
    wanted = {page: filled(page.read_text(encoding="utf-8")) for page in pages()}
    wanted[ENVIRONMENT] = tables.environment()
    return {
        path: text for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text
    }


def main() -> None:
    """Write what is stale and say what that was."""
    for path, text in stale().items():
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
