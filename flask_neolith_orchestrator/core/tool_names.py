"""The names of the built-in tools (see `runtime.tools.builtin`), and what the setting that chooses among them says."""

from __future__ import annotations

from typing import Final

BUILTIN_TOOLS: Final = (
    "current_time",
    "list_members",
    "post_message",
    "react",
    "read_messages",
    "search_messages",
)
"""Their names."""

ALL: Final = "all"
NONE: Final = "none"


def chosen_tools(value: str) -> str:
    """The setting's value in one form. Raises ValueError for a name that there is not."""
    names = {name.strip() for name in value.split(",")} - {""}
    unknown = names - {ALL, NONE, *BUILTIN_TOOLS}
    if unknown or not names or (len(names) > 1 and names & {ALL, NONE}):
        known = ", ".join(BUILTIN_TOOLS)
        raise ValueError(f"all, none, or names with commas between them are expected; there are {known}")
    return ",".join(sorted(names))
