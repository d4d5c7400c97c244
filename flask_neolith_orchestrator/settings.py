"""Every setting: its key, type, unit, default and check.

A value comes from `app.config`, else the environment, else the default; None and a key that is not there
mean the default. Durations are in milliseconds, as everywhere in the specification.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from .core.errors import ConfigurationError
from .core.money_input import read_limits, read_prices
from .core.setting_values import Blank, Broker, Count, Keep, Link, Milliseconds, Number, Pause, Prefix, Rate, WebAddress
from .core.tool_names import chosen_tools


class Settings(BaseModel):
    """All settings of one app, checked. Lifetime: app. The key of a field is its alias."""

    model_config = ConfigDict(frozen=True, populate_by_name=False, validate_default=True)

    mode: bool = Field(False, alias="ORCHESTRATOR_MODE", description="Daemons run only when this is on.")
    public_mode: bool | None = Field(
        None,
        alias="NEXT_PUBLIC_ORCHESTRATOR_MODE",
        description="What templates and scripts are told of the mode; unset: the same as ORCHESTRATOR_MODE.",
    )
    auto_start: bool = Field(True, alias="DAEMON_AUTO_START", description="A login starts the daemon.")
    auto_respond: bool = Field(True, alias="DAEMON_AUTO_RESPOND", description="Daemons answer those who address them.")
    heartbeat_interval: Milliseconds = Field(
        30_000, alias="DAEMON_HEARTBEAT_INTERVAL", description="Between two heartbeats of a daemon."
    )
    health_check_interval: Milliseconds = Field(
        60_000, alias="DAEMON_HEALTH_CHECK_INTERVAL", description="Between two health checks of a daemon."
    )
    auto_restart: bool = Field(True, alias="DAEMON_AUTO_RESTART", description="Dead daemons are started again.")
    max_restart_attempts: Annotated[int, Number, Field(ge=0, le=1000)] = Field(
        3, alias="DAEMON_MAX_RESTART_ATTEMPTS", description="Restarts within the window before giving up."
    )
    restart_window: Milliseconds = Field(
        600_000, alias="DAEMON_RESTART_WINDOW", description="The sliding window in which restarts count."
    )
    restart_delay: Milliseconds = Field(
        1_000, alias="DAEMON_RESTART_DELAY", description="Before the first restart; doubles with each further one."
    )
    verbose: bool = Field(False, alias="DAEMON_VERBOSE", description="One log line for each thing a daemon does.")
    max_concurrent_conversations: Annotated[int, Number, Field(ge=1, le=1000)] = Field(
        10, alias="DAEMON_MAX_CONCURRENT_CONVERSATIONS", description="Turns of one orchestrator at one time."
    )
    stop_on: Literal["last_logout", "any_logout", "never"] = Field(
        "last_logout", alias="DAEMON_STOP_ON", description="Which logout stops the daemon."
    )
    stop_timeout: Pause = Field(
        10_000, alias="DAEMON_STOP_TIMEOUT", description="How long running turns may go on when a daemon stops."
    )
    login_ttl: Milliseconds | None = Field(
        None,
        alias="DAEMON_LOGIN_TTL",
        description="A login not seen for this long has ended; unset: the app's PERMANENT_SESSION_LIFETIME.",
    )
    max_queue: Count = Field(
        1_000, alias="DAEMON_MAX_QUEUE", description="Waiting deliveries of one orchestrator; more are refused."
    )
    max_age: Milliseconds = Field(
        86_400_000, alias="DAEMON_MAX_AGE", description="Deliveries that waited longer expire."
    )
    max_attempts: Annotated[int, Number, Field(ge=1, le=100)] = Field(
        5, alias="DAEMON_MAX_ATTEMPTS", description="Attempts at a turn that crashes before it is a dead letter."
    )
    debounce: Pause = Field(
        0, alias="DAEMON_DEBOUNCE", description="Wait for further lines of the same person before answering."
    )
    loop_exchanges: Count = Field(
        4, alias="NEOLITH_LOOP_EXCHANGES", description="How often two orchestrators may ask each other in the window."
    )
    loop_window: Milliseconds = Field(
        300_000, alias="NEOLITH_LOOP_WINDOW", description="The sliding window in which that counts."
    )
    public_url: WebAddress = Field(
        None,
        alias="NEOLITH_PUBLIC_URL",
        description="Where people open the app, for links in messages to them; unset: links without a host.",
    )
    keep_deliveries: Keep = Field(
        2_592_000_000,
        alias="NEOLITH_KEEP_DELIVERIES",
        description="Ended deliveries and their turns are forgotten after this time; 0: nothing is ever forgotten.",
    )
    keep_failed: Keep = Field(
        7_776_000_000,
        alias="NEOLITH_KEEP_FAILED",
        description="The same for failed and expired ones, which can be tried again; 0: these are never forgotten.",
    )
    prune_interval: Milliseconds = Field(
        60_000, alias="NEOLITH_PRUNE_INTERVAL", description="Between two looks for what can be forgotten."
    )
    turn_timeout: Milliseconds = Field(600_000, alias="DAEMON_TURN_TIMEOUT", description="The longest a turn may take.")
    reply_in: Literal["thread", "channel"] = Field(
        "thread", alias="DAEMON_REPLY_IN", description="Where a mention on a channel's main line is answered."
    )
    lease: Annotated[int, Number, Field(ge=500, le=600_000)] = Field(
        5_000, alias="DAEMON_LEASE", description="How long a silent process keeps its turns."
    )
    renew_interval: Milliseconds = Field(1_000, alias="DAEMON_RENEW_INTERVAL", description="Between lease renewals.")
    sweep_interval: Milliseconds = Field(1_000, alias="DAEMON_SWEEP_INTERVAL", description="Between sweeps.")
    drain_turns: Count = Field(
        20, alias="DAEMON_DRAIN_TURNS", description="Turns a thread does for one orchestrator before the next one's go."
    )
    drain_time: Milliseconds = Field(10_000, alias="DAEMON_DRAIN_TIME", description="The same bound as time.")
    model: Annotated[str, Field(min_length=1)] = Field(
        "claude-sonnet-5-5", alias="NEOLITH_MODEL", description='The model; "scripted" is the offline one.'
    )
    fallback_models: str = Field(
        "",
        alias="NEOLITH_FALLBACK_MODELS",
        description="Models to ask in order where a model cannot serve, with commas; a charter's own win.",
    )
    api_key: Annotated[SecretStr | None, Blank] = Field(
        None, alias="ANTHROPIC_API_KEY", description="The key for Claude."
    )
    base_url: Annotated[str | None, Blank] = Field(
        None, alias="ANTHROPIC_BASE_URL", description="Another address of the Claude API."
    )
    max_tokens: Annotated[int, Number, Field(ge=1, le=128_000)] = Field(
        4_096, alias="NEOLITH_MAX_TOKENS", description="Tokens of one answer at the most."
    )
    context_tokens: Annotated[int, Number, Field(ge=1_000, le=10**7)] = Field(
        100_000, alias="NEOLITH_CONTEXT_TOKENS", description="Tokens of history given to the model, estimated."
    )
    history_limit: Annotated[int, Number, Field(ge=1, le=1_000)] = Field(
        50, alias="NEOLITH_HISTORY_LIMIT", description="Messages of history given to the model."
    )
    session_idle: Milliseconds = Field(
        604_800_000, alias="NEOLITH_SESSION_IDLE", description="A conversation quiet for longer begins a new session."
    )
    summary_model: Annotated[str, Field(max_length=200)] = Field(
        "claude-haiku-5-5", alias="NEOLITH_SUMMARY_MODEL", description="Who sums long talks up; empty: nobody does."
    )
    summary_after: Annotated[int, Number, Field(ge=2, le=1_000)] = Field(
        40, alias="NEOLITH_SUMMARY_AFTER", description="Messages of a session after which older ones are summed up."
    )
    connect_timeout: Milliseconds = Field(
        5_000, alias="NEOLITH_CONNECT_TIMEOUT", description="To reach the model provider."
    )
    read_timeout: Milliseconds = Field(
        90_000, alias="NEOLITH_READ_TIMEOUT", description="Silence of the model provider before the call is given up."
    )
    scripted_delay: Pause = Field(
        30, alias="NEOLITH_SCRIPTED_DELAY", description="Between two words of the offline model."
    )
    engine: Literal["embedded", "celery"] = Field(
        "embedded",
        alias="NEOLITH_ENGINE",
        description="Who carries the work: embedded, threads of each process; celery, workers of their own.",
    )
    broker_url: Broker = Field(
        "redis://localhost:6379/0", alias="NEOLITH_BROKER_URL", description="The Redis of the engine celery."
    )
    max_threads: Annotated[int, Number, Field(ge=0, le=1_000)] = Field(
        64,
        alias="NEOLITH_MAX_THREADS",
        description="Threads for turns in one process; 0: others run them (flask neolith run).",
    )
    url_prefix: Prefix = Field("/neolith", alias="NEOLITH_URL_PREFIX", description="Where the blueprint is mounted.")
    dashboard_name: Annotated[str, Field(min_length=1, max_length=100)] = Field(
        "Orchestrators",
        alias="NEOLITH_DASHBOARD_NAME",
        description="What the dashboard calls itself, on every page.",
    )
    dashboard_link: Link = Field(
        "/", alias="NEOLITH_DASHBOARD_LINK", description="Where the dashboard's link back to the app leads."
    )
    state_dir: Annotated[str | None, Blank] = Field(
        None, alias="NEOLITH_STATE_DIR", description="Folder of lock files; unset: neolith/ in the instance folder."
    )
    sqlite_pragmas: bool = Field(
        True, alias="NEOLITH_SQLITE_PRAGMAS", description="Set WAL, synchronous=NORMAL and a busy timeout on SQLite."
    )
    delta_interval: Pause = Field(
        60, alias="NEOLITH_DELTA_INTERVAL", description="Text of an answer is sent to browsers this often."
    )
    checkpoint_interval: Milliseconds = Field(
        1_000, alias="NEOLITH_CHECKPOINT_INTERVAL", description="Text of an unfinished answer is stored this often."
    )
    max_answer_length: Annotated[int, Number, Field(ge=200, le=10**6)] = Field(
        12_000, alias="NEOLITH_MAX_ANSWER_LENGTH", description="Characters of an answer that is one message."
    )
    max_message_length: Annotated[int, Number, Field(ge=1, le=10**6)] = Field(
        40_000, alias="NEOLITH_MAX_MESSAGE_LENGTH", description="Characters of one message at the most."
    )
    tool_rounds: Annotated[int, Number, Field(ge=1, le=100)] = Field(
        10, alias="NEOLITH_TOOL_ROUNDS", description="How often the model may call tools for one answer."
    )
    approval_timeout: Milliseconds = Field(
        3_600_000, alias="NEOLITH_APPROVAL_TIMEOUT", description="How long a call waits for somebody's approval."
    )
    tool_timeout: Milliseconds = Field(30_000, alias="NEOLITH_TOOL_TIMEOUT", description="The longest a tool may take.")
    prices: Annotated[Mapping[str, Any], BeforeValidator(read_prices)] = Field(
        {},
        alias="NEOLITH_PRICES",
        description="Dollars per million tokens by model (JSON, or a file of it), where genai-prices knows none.",
    )
    person_budget: Annotated[Mapping[str, Any], BeforeValidator(read_limits)] = Field(
        {},
        alias="NEOLITH_PERSON_BUDGET",
        description="What one person may spend (JSON): limits named as a charter's, such as cost_per_day.",
    )
    keep_ledger: Keep = Field(
        34_560_000_000, alias="NEOLITH_KEEP_LEDGER", description="Model calls are forgotten after this; 0: never."
    )
    keep_audit: Keep = Field(
        34_560_000_000,
        alias="NEOLITH_KEEP_AUDIT",
        description="Deeds in the audit log are forgotten after this; 0: never.",
    )
    keep_history: Keep = Field(
        7_776_000_000,
        alias="NEOLITH_KEEP_HISTORY",
        description="When daemons ran and did not is forgotten after this; 0: never.",
    )
    rate_orchestrator: Rate = Field(
        "60/minute", alias="NEOLITH_RATE_ORCHESTRATOR", description="Messages of one person for one orchestrator."
    )
    rate_person: Rate = Field(
        "120/minute", alias="NEOLITH_RATE_PERSON", description="Messages of one person for all orchestrators."
    )
    rate_posts: Rate = Field(
        "300/minute", alias="NEOLITH_RATE_POSTS", description="Posts of one user by HTTP or socket, to anybody."
    )
    builtin_tools: Annotated[str, AfterValidator(chosen_tools)] = Field(
        "all", alias="NEOLITH_BUILTIN_TOOLS", description="Tools of ours that orchestrators have: all, none, or names."
    )

    @property
    def fallbacks(self) -> tuple[str, ...]:
        """The models of NEOLITH_FALLBACK_MODELS."""
        return tuple(name for part in self.fallback_models.split(",") if (name := part.strip()))

    @property
    def shown_mode(self) -> bool:
        """The mode as templates and scripts are told."""
        return self.mode if self.public_mode is None else self.public_mode

    @property
    def message_link(self) -> str:
        """Where people find a message: {channel} and {message} stand for its ids. By default the example app's way."""
        base = self.public_url or ""
        return base if "{message}" in base else base + "/channels/{channel}#message-{message}"


KEYS: Mapping[str, str] = {str(field.alias): name for name, field in Settings.model_fields.items()}
"""Every key, with the name of its field."""


def load_settings(config: Mapping[str, Any], environment: Mapping[str, str]) -> Settings:
    """Read every key once. Raises one ConfigurationError that names every bad key and what was expected."""
    values: dict[str, Any] = {}
    for key in KEYS:
        value = config.get(key)
        if value is None:
            value = environment.get(key)
        if value is not None:
            values[key] = value
    try:
        settings = Settings.model_validate(values)
        problems = []
    except ValidationError as error:
        problems = [
            f"{item['loc'][0]}={_shown(str(item['loc'][0]), item['input'])}: {item['msg']}" for item in error.errors()
        ]
        bad = {item["loc"][0] for item in error.errors()}
        settings = Settings.model_validate({key: value for key, value in values.items() if key not in bad})
    if settings.renew_interval * 2 > settings.lease:
        half = f"at most half of DAEMON_LEASE ({settings.lease})"
        problems.append(f"DAEMON_RENEW_INTERVAL={settings.renew_interval}: {half}")
    if problems:
        raise ConfigurationError(problems)
    return settings


def _shown(key: str, value: object) -> str:
    return "***" if key in ("ANTHROPIC_API_KEY", "NEOLITH_BROKER_URL") else repr(value)[:80]
