"""What the value of a setting can be: a number, a duration in milliseconds, a path, a rate. Pure."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field


def _no_flag(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a number is expected, not a truth value")  # noqa: TRY004 -- pydantic collects these
    return value


def _absolute_path(value: str) -> str:
    if not value.startswith("/") or value == "/" or value.endswith("/"):
        raise ValueError("a path such as /neolith is expected")
    return value


def _web_address(value: str | None) -> str | None:
    if value is not None and not value.startswith(("https://", "http://")):
        raise ValueError("an address such as https://chat.example.org is expected")
    return None if value is None else value.rstrip("/")


def _link(value: str) -> str:
    is_path = value.startswith("/") and not value.startswith("//")
    if not is_path and not value.startswith(("https://", "http://")):
        raise ValueError("a path such as /chat, or an address such as https://chat.example.org, is expected")
    return value


def _redis(value: str) -> str:
    if not value.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("an address such as redis://localhost:6379/0 is expected")
    return value


def _blank_is_none(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


Number = BeforeValidator(_no_flag)
Blank = BeforeValidator(_blank_is_none)
"""`KEY=` in an env file means that there is none."""
Milliseconds = Annotated[int, Number, Field(ge=1, le=10**12)]
Pause = Annotated[int, Number, Field(ge=0, le=10**9)]
Keep = Annotated[int, Number, Field(ge=0, le=10**12)]
Count = Annotated[int, Number, Field(ge=1, le=10**9)]
Prefix = Annotated[str, AfterValidator(_absolute_path)]
WebAddress = Annotated[str | None, Blank, AfterValidator(_web_address)]
Broker = Annotated[str, AfterValidator(_redis)]
Link = Annotated[str, AfterValidator(_link)]
Rate = Annotated[Annotated[str, Field(pattern=r"^[1-9]\d{0,8}/(\d{1,5} )?(second|minute|hour|day)s?$")] | None, Blank]
"""As the package `limits` writes it; blank: no limit."""
