"""The doors between the house and the outside: small protocols, each with an in-memory twin in `testing`.

The door to the models is `core.model`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from .types import Line, Member, MessageState, OrchestratorAction, OrchestratorSnapshot, Place


class Dispatcher(Protocol):
    """Carries the hint "this orchestrator has work" to whoever runs turns. Hints may be lost or repeated."""

    @property
    def threads(self) -> int:
        """Calls that it runs in this process at one time at the most; 0 where others run them."""
        ...

    def run(
        self,
        handler: Callable[[str], bool],
        limit_of: Callable[[str], int] | None = None,
        look: Callable[[], None] | None = None,
    ) -> None:
        """Begin to call `handler(orchestrator_id)` for hints; it returns True if work was left over.

        More than `limit_of(orchestrator_id)` calls for one orchestrator at a time would find no slot. `look` is called
        when another process has told that there is something to see.
        """
        ...

    def ring(self, orchestrator_id: str, count: int = 1) -> None:
        """Hint that `count` conversations of an orchestrator have work. Never blocks, never raises."""
        ...

    def tell(self) -> None:
        """Have every process look soon at what was decided: a stop, a cancel, a change. Never blocks, never raises."""
        ...

    def abandon(self, thread: int) -> None:
        """The call on this thread (`threading.get_ident`) hangs: let others have its place.

        The thread itself ends when its call does, if that ever happens.
        """
        ...

    def serve(self, threads: int) -> None:
        """Run so many calls at one time in this process, whatever its settings say. Before `run`."""
        ...

    def close(self, seconds: float) -> bool:
        """Take no more hints and wait for running handlers; True if all ended in time. Safe twice."""
        ...

    def check(self) -> str | None:
        """What it needs and does not have, with the remedy; None if nothing. May take seconds: for the doctor."""
        ...

    def health(self) -> Mapping[str, Any]:
        """{"ok": bool, "threads": int, "detail": why it is not ok, "alive": bool, ...}

        `alive` is False where only a new process helps.
        """
        ...


class Channel(Protocol):
    """What the outside hears. Implementations never raise into the caller and never block for long."""

    def emit(self, event: str, payload: Mapping[str, Any], room: str) -> None:
        """Tell everybody in `room` (see `core.events`)."""
        ...

    def cut(self, room: str) -> None:
        """Disconnect every socket in `room`, on this and every other process."""
        ...

    def health(self) -> Mapping[str, Any]:
        """{"ok": bool, ...}"""
        ...


class Neighbours(Protocol):
    """The other processes on this machine that run on the same database. Never blocks, never raises."""

    @property
    def are_there(self) -> bool:
        """Whether anybody may hear what is told."""
        ...

    def on(self, kind: str, hear: Callable[..., None]) -> None:
        """Call `hear(*what)` for what others tell of this kind; what nobody hears is dropped."""
        ...

    def start(self, name: str) -> bool:
        """Begin to hear and to tell, as `name`; False where that cannot be."""
        ...

    def names(self) -> set[str]:
        """The other processes that can be told something."""
        ...

    def tell(self, kind: str, *what: Any) -> None:
        """Tell all others; `what` is what JSON can carry. What cannot be told is lost."""
        ...

    def close(self) -> None:
        """Tell what waits, and be gone. Safe twice."""
        ...

    def forked(self) -> None:
        """In a forked child: let go of what is the parent's."""
        ...


@runtime_checkable
class Neighbourly(Protocol):
    """What a Channel can do besides: let other processes on this machine hear what is told here."""

    def live_beside(self, neighbours: Neighbours) -> None:
        """Tell them, and hear them. Once per process, before they start."""
        ...


@runtime_checkable
class Crowd(Protocol):
    """What a Channel can do besides, where it knows its rooms: for news of thousands at once."""

    def emit_list(self, event: str, payloads: Sequence[Mapping[str, Any]], room: str) -> None:
        """Tell everybody in `room` of many things by one event, whose payload is the list."""
        ...

    def is_heard(self, room: str) -> bool:
        """Whether anybody may be in `room`; True where that cannot be known."""
        ...


@runtime_checkable
class Posting(Protocol):
    """What a Channel can do besides, where what it tells goes to other processes by itself, a little later."""

    def flush(self, seconds: float) -> bool:
        """Wait until all is on its way; False if that takes too long."""
        ...


@dataclass(frozen=True, slots=True)
class ReplyDraft:
    """What is needed to open an answer's row."""

    orchestrator_id: str
    user_id: str
    place: Place
    reply_to_id: str | None
    epoch: int
    at: float


@dataclass(frozen=True, slots=True)
class ReplyWrite:
    """A change of an answer's row. `text` None leaves the text; `notice` is a short sentence for people, or None.

    `reply_to_id` is given at another attempt: what it answers now, which may be less than at the one before.
    `channel_id` is given where it is known without a look.
    """

    reply_id: str
    text: str | None
    state: MessageState
    epoch: int
    seq: int
    at: float
    notice: str | None = None
    reply_to_id: str | None = None
    channel_id: str | None = None


class ChatStore(Protocol):
    """Where messages live. The bundled chat is one; a host with its own tables implements another.

    `tx` is a SQLAlchemy Connection inside a transaction of ours on the host's database. Implementations
    join it, use Core statements, and never commit or roll back.
    """

    def members(self, tx: Any, channel_id: str, handles: frozenset[str] | None = None) -> Sequence[Member]:
        """Who is in a channel; orchestrators carry their handle and orchestrator id.

        Where `handles` is given, those whose handle is among them are enough: a channel may have thousands.
        """
        ...

    def history(self, tx: Any, place: Place, *, until: str | None, own: str, limit: int) -> Sequence[Line]:
        """The last `limit` messages of a place, oldest first, up to and with message `until`.

        Later ones of the user `own` (the orchestrator's answers to others) belong to it too. Deleted messages and
        replies that are not final (or interrupted with text) are left out.
        """
        ...

    def present(self, tx: Any, message_ids: Sequence[str]) -> frozenset[str]:
        """Those of `message_ids` that have not been deleted."""
        ...

    def open_reply(self, tx: Any, draft: ReplyDraft) -> str:
        """Write the empty `streaming` row of an answer; returns its id."""
        ...

    def write_reply(self, tx: Any, write: ReplyWrite) -> None:
        """Change an answer's row, unless a newer epoch has written it."""
        ...

    def drop_reply(self, tx: Any, reply_id: str, at: float) -> None:
        """Take an answer's row off the screen: its question is gone."""
        ...

    def view(self, tx: Any, message_id: str) -> Mapping[str, Any] | None:
        """The message as the wire shows it (DESIGN: "A message"), or None."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """The further messages of an answer: `ids` in order, and `gone`, those that it has no more."""

    ids: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


@runtime_checkable
class Volumes(Protocol):
    """What a ChatStore can do besides: answers of several messages, and former versions of them.

    Without it a long answer is one message, and no answer can be written anew.
    """

    def write_parts(self, tx: Any, write: ReplyWrite, texts: Sequence[str]) -> Parts:
        """Let the answer `write.reply_id`, written already, go on with these further messages and no others."""
        ...

    def keep_version(self, tx: Any, reply_id: str, turn_id: str | None, at: float) -> None:
        """Keep what the answer is now as a former version; `turn_id` is whose work it was."""
        ...

    def touch_reply(self, tx: Any, reply_id: str, epoch: int, notice: str | None) -> None:
        """Leave an answer as it is, with a notice: what was to take its place did not. Raises the row's epoch."""
        ...


@runtime_checkable
class Readers(Protocol):
    """What a ChatStore can do besides: say who may read a channel. Without it, nobody is shown more than a thread."""

    def may_read(self, tx: Any, user_id: str, channel_id: str) -> bool:
        """Whether a user may read a channel now."""
        ...


class Actions(Protocol):
    """What an orchestrator can do besides answering. A host with a chat of its own brings its own."""

    def perform(self, orchestrator: OrchestratorSnapshot, action: OrchestratorAction) -> Mapping[str, Any]:
        """Do it and say what came of it. Raises ActionError for an unknown type or a bad payload."""
        ...


class Clock(Protocol):
    """Time. Durations use `monotonic`; leases and rows use the database's clock, or `wall` where it is ours.

    `database` says whether statements should ask the database for the time (Postgres: clock_timestamp());
    a clock under test control says False and is then the only clock there is.
    """

    database: bool

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    def wall(self) -> float:
        """Seconds since the epoch."""
        ...
