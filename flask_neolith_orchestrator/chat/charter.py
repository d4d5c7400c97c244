"""Charters: who an orchestrator is and what it may do. Frozen models, pure.

Every field is optional. Files and JSON may write snake_case or camelCase; a key that is not known here is refused
(see `charter_reading`, which also has the short forms). `charter_text` renders a charter as a system prompt,
`charter_parent` puts it under its organization's.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AliasChoices, BeforeValidator, Field, StrictInt, model_validator

from .charter_words import (
    Hours,
    Label,
    Labels,
    ModelName,
    Money,
    Names,
    OptionalModelName,
    Part,
    Quality,
    Seconds,
    Switch,
    Text,
    TimeZone,
    Tokens,
)

MAX_OUTPUT_TOKENS: Final = 128_000
"""The highest `max_tokens` a charter may ask for; a model may allow less."""

ANY: Final = "*"
"""In a list of tools: those that no list names."""

Rule = Literal["approve", "confirm", "escalate", "reject"]
"""What is done about a tool's call: runs by itself; its requester is asked; those responsible are; never runs."""


class Personality(Part):
    """How it is to talk to. Written as plain text, all of it is `background`.

    Keys that are not known become `qualities`, by the name that they have.
    """

    tone: Label = Field(default="", description="How it sounds: warm, dry, ...")
    traits: Labels = Field(default=(), description="What it is like: curious, exact, ...")
    decision_style: Label = Field(default="", description="How it decides.")
    interaction_style: Label = Field(default="", description="How it deals with people.")
    background: Text = Field(default="", description="Where it comes from; any text.")
    qualities: Mapping[Label, Quality] = Field(default_factory=dict, description="Anything else, by name.")

    @model_validator(mode="before")
    @classmethod
    def _gather_qualities(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        known = cls.spellings()
        free = {key: value for key, value in given.items() if not get_close_matches(str(key), known, 1, 0.7)}
        if not free:
            return given
        named = {key: value for key, value in given.items() if key not in free}
        return {**named, "qualities": {**_or_empty(named.get("qualities")), **free}}


class Communication(Part):
    """How it writes."""

    response_length: Literal["brief", "normal", "detailed"] | None = Field(
        default=None, description="How long answers are."
    )
    technical_level: Label = Field(default="", description="For whom it writes: beginners, experts, ...")
    formality: Label = Field(default="", description="How formal it is.")
    languages: Labels = Field(default=(), description="Languages it answers in, the first where it cannot tell.")


class Safety(Part):
    """Which tools it may use, by their names; `*` stands for those that no list names.

    A tool in two lists is a contradiction, and an error.
    """

    auto_approve: Names = Field(default=(), description="Tools that run without being asked for.")
    require_confirmation: Names = Field(default=(), description="Tools that run when the person who asked approves.")
    always_reject: Names = Field(default=(), description="Tools that never run.")
    escalate: Names = Field(default=(), description="Tools that run when somebody responsible for it approves.")

    def rule(self, tool: str) -> Rule | None:
        """What holds for a tool; None where the charter says nothing and the tool's own default counts."""
        for wanted in (tool, ANY):
            for rule, tools in self.lists.items():
                if wanted in tools:
                    return rule
        return None

    @property
    def lists(self) -> Mapping[Rule, tuple[str, ...]]:
        """The four lists, the strictest first."""
        return {
            "reject": self.always_reject,
            "escalate": self.escalate,
            "confirm": self.require_confirmation,
            "approve": self.auto_approve,
        }

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        names = [name for tools in self.lists.values() for name in tools]
        if len(set(names)) < len(names):
            raise ValueError("a tool is in two of its lists; keep it in the one that is meant")
        return self


class Limits(Part):
    """What it may use up at the most. None is no limit of its own; periods are those of the clock, in UTC."""

    concurrent_conversations: Annotated[StrictInt, Field(ge=1, le=1_000)] | None = Field(
        default=None, description="Turns it works on at once."
    )
    tokens_per_turn: Tokens | None = Field(
        default=None, description="Tokens of one turn, all its model calls together."
    )
    tool_rounds: Annotated[StrictInt, Field(ge=0, le=100)] | None = Field(
        default=None, description="How often in one turn the model may call tools."
    )
    tokens_per_hour: Tokens | None = Field(default=None, description="Tokens of an hour.")
    tokens_per_day: Tokens | None = Field(default=None, description="Tokens of a day.")
    tokens_per_month: Tokens | None = Field(default=None, description="Tokens of a month.")
    cost_per_hour: Money | None = Field(default=None, description="US dollars of an hour.")
    cost_per_day: Money | None = Field(default=None, description="US dollars of a day.")
    cost_per_month: Money | None = Field(default=None, description="US dollars of a month.")


class Preference(Part):
    """Which model it thinks with. Written as plain text, it is the model's name."""

    name: OptionalModelName = Field(default=None, description="The model; without one the app's (`NEOLITH_MODEL`).")
    fallbacks: Annotated[tuple[ModelName, ...], Field(max_length=10)] = Field(
        default=(), description="Models to ask, in order, where it cannot serve."
    )
    max_tokens: Annotated[StrictInt, Field(ge=1, le=MAX_OUTPUT_TOKENS)] | None = Field(
        default=None, description="Tokens of one answer at the most."
    )
    effort: Literal["low", "medium", "high"] | None = Field(
        default=None, description="How hard it thinks, where it can."
    )


class Behaviour(Part):
    """When it answers, where, and how often."""

    auto_reply: Switch | None = Field(
        default=None, description="Whether it answers at all; none: `DAEMON_AUTO_RESPOND`."
    )
    reply_in: Literal["thread", "channel"] | None = Field(default=None, description="None: `DAEMON_REPLY_IN`.")
    mention_only: Switch = Field(default=False, description="Nothing but its own mention (and a DM) calls it.")
    keyword_triggers: Labels = Field(default=(), description="Words that call it without a mention.")
    watched_channels: Names = Field(default=(), description="Channels (names or ids) where every message is for it.")
    role_mentions: Switch = Field(default=False, description="@role and @discipline call it too.")
    follow_threads: Switch = Field(
        default=False, description="It goes on answering in a thread that it has answered in."
    )
    channel_window: Annotated[StrictInt, Field(ge=0, le=200)] = Field(
        default=0, description="Messages of the channel's main line that it is shown besides a thread."
    )
    reply_delay: Seconds = Field(default=0.0, description="Seconds that it waits before it answers.")
    debounce: Seconds | None = Field(
        default=None, description="Seconds of quiet that it waits for; none: `DAEMON_DEBOUNCE`."
    )
    replies_per_hour: Annotated[StrictInt, Field(ge=1)] | None = Field(default=None, description="Answers of an hour.")
    replies_per_day: Annotated[StrictInt, Field(ge=1)] | None = Field(default=None, description="Answers of a day.")
    answers_bots: Names = Field(default=(), description="Orchestrators (handles) and bots (names) that it may answer.")


class Escalation(Part):
    """Whom to tell of something."""

    on: Literal["refusal", "failure", "budget", "approval", "hours", "keyword"] = Field(description="What happened.")
    to: Annotated[Names, Field(min_length=1)] = Field(description="Handles, names or ids of users.")
    keywords: Labels = Field(default=(), description="For `on: keyword`: the words.")

    @model_validator(mode="after")
    def _has_its_words(self) -> Self:
        if (self.on == "keyword") is not bool(self.keywords):
            raise ValueError("keywords belong to `on: keyword`, and it needs them")
        return self


class Availability(Part):
    """When it works, and what happens otherwise."""

    timezone: TimeZone = Field(default="UTC", description="Where its hours are meant, like Europe/Berlin.")
    hours: Hours = Field(default=None, description="Spans of time by day (mon to sun), like 09:00-17:00; none: always.")
    offline_message: Text = Field(default="", description="What it says, once, to whoever calls it outside of them.")
    escalation: Annotated[tuple[Escalation, ...], Field(max_length=50)] = Field(
        default=(), description="Whom to tell of what."
    )


def _or_empty(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else {} if value is None else value


def _as_personality(value: Any) -> Any:
    return {"background": value} if isinstance(value, str) else _or_empty(value)


def _as_preference(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else _or_empty(value)


class CharterDocument(Part):
    """A charter as it is written."""

    name: Label = Field(default="", description="What it is called; none: as its user is.")
    handle: Label = Field(default="", description="Whose charter this is; a charter renames nobody.")
    description: Text = Field(default="", description="What it is good for, in a sentence or two, for people.")
    role: Label = Field(default="", description="Its role; none: as the orchestrator's row says.")
    discipline: Label = Field(default="", description="Its discipline; none: as the orchestrator's row says.")
    tier: Annotated[StrictInt, Field(ge=1, le=3)] = Field(default=1, description="1 to 3; fixed once it has been set.")
    mission: Text = Field(
        default="",
        validation_alias=AliasChoices("mission", "system_prompt", "systemPrompt"),
        description="What it is there for: the heart of the prompt. `system_prompt` is another name for it.",
    )
    personality: Annotated[Personality, BeforeValidator(_as_personality)] = Personality()
    expertise: Labels = Field(default=(), description="What it knows well.")
    responsibilities: Labels = Field(default=(), description="What it answers for.")
    communication: Annotated[Communication, BeforeValidator(_or_empty)] = Communication()
    safety: Annotated[Safety, BeforeValidator(_or_empty)] = Safety()
    limits: Annotated[Limits, BeforeValidator(_or_empty)] = Limits()
    model: Annotated[Preference, BeforeValidator(_as_preference)] = Preference()
    max_tokens: Annotated[StrictInt, Field(ge=1, le=MAX_OUTPUT_TOKENS)] | None = Field(
        default=None, description="Short for `model.max_tokens`."
    )
    behaviour: Annotated[Behaviour, BeforeValidator(_or_empty)] = Field(
        default=Behaviour(), validation_alias=AliasChoices("behaviour", "behavior")
    )
    availability: Annotated[Availability, BeforeValidator(_or_empty)] = Availability()


class Charter(CharterDocument):
    """The charter in force: under its organization's, with the orchestrator's own identity, and its version.

    `version` 0 is the empty charter of one that has none yet.
    """

    version: int = 0
    parent_version: int = 0
