"""The error tree. The docstring of a class is its default message and holds the remedy.

NeolithError
 +-- ConfigurationError        settings that cannot be used, all of them at once
 +-- SetupError                the extension is wired the wrong way
 |    +-- AlreadyInitialised
 |    +-- NotInitialised
 |    +-- BadTool              a function that cannot be a tool
 |    +-- SchemaMissing        tables or columns that the database does not have yet
 |    +-- CopyRefused          a database that cannot be moved to another server as it is
 |    +-- UnsupportedDatabase  daemons need a database that threads can share
 |    +-- UnsupportedServer    an async mode that daemons cannot run in
 +-- DaemonError               one orchestrator's daemon
 |    +-- OrchestratorModeOff
 |    +-- NotAnOrchestrator
 |    +-- WrongTransition      a move the daemon's state does not allow
 |    |    +-- Superseded      what was going on in it hung, and was begun afresh by somebody else
 |    +-- DaemonStuck          it does not answer: a start or stop hangs
 |    +-- StartFailed          could not start; trying again would not help
 +-- InboxError
 |    +-- OpenTransaction      handle_message inside a transaction that already writes
 |    +-- StoreClosed          used after the process's runtime was shut down
 |    +-- UnknownDelivery
 +-- ActionError               an action nobody can perform
 +-- ToolError                 what a tool has to tell the model instead of a result
 +-- ModelError                what a model provider did instead of answering
 |    +-- ModelUnavailable     passing: overloaded, limited, unreachable, silent
 |    +-- ModelInterrupted     the stream broke after it had begun
 |    |    +-- EmptyAnswer     it ended properly and said nothing
 |    +-- ModelRejected        permanent: bad key, bad request
 |         +-- ModelNotServed  this model is not there for us: another one may be
 |              +-- ModelUnpriced  dollars are limited, and nobody knows what it takes
 +-- OverBudget               there is nothing left to spend on a model call
 +-- RequestError              what a caller asked for and cannot have
      +-- NotFound
      +-- Forbidden
      +-- Conflict
      |    +-- Unconfirmed     a charter that is less safe than the one before
      +-- Invalid
      |    +-- BadCharter
      +-- TooMany            too many requests within a moment

Control signals (a turn that was stopped) are not errors: see `core.cancel`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


class NeolithError(Exception):
    """Something went wrong in flask_neolith_orchestrator."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or " ".join((type(self).__doc__ or "").split()))


class ConfigurationError(NeolithError):
    """Some settings cannot be used; each bad key is listed with what was expected of it."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems: Sequence[str] = tuple(problems)
        super().__init__("Bad settings:\n" + "\n".join(f"  - {problem}" for problem in self.problems))


class SetupError(NeolithError):
    """The extension is not wired correctly."""


class AlreadyInitialised(SetupError):
    """init_app was already called for this app. Call it once, in the place where the app is created."""


class NotInitialised(SetupError):
    """The current app does not use flask_neolith_orchestrator. Call neolith.init_app(app) in create_app."""


class BadTool(SetupError):
    """This function cannot be a tool. See docs/tools.md for what a tool needs."""


class SchemaMissing(SetupError):
    """The database lacks tables or columns. Run `flask db migrate` and `flask db upgrade`, or
    `flask neolith create-tables` if you use no migrations."""


class CopyRefused(SetupError):
    """The database cannot be copied as it is; what is said besides tells why. The new one is as it was before."""


class UnsupportedDatabase(SetupError):
    """Daemons run on threads, and an in-memory or single-connection database cannot be shared by threads.
    Use a SQLite file or Postgres, or in tests call neolith.run_until_idle()."""


class NeedsServer(SetupError):
    """NEOLITH_ENGINE=celery is for many machines, and a SQLite file is for one. Set SQLALCHEMY_DATABASE_URI to
    Postgres, or NEOLITH_ENGINE=embedded."""


class UnsupportedServer(SetupError):
    """Flask-SocketIO runs in an async mode that is not supported. Create SocketIO(async_mode="threading")."""


class DaemonError(NeolithError):
    """A daemon could not do what was asked of it."""


class OrchestratorModeOff(DaemonError):
    """Daemons are switched off. Set ORCHESTRATOR_MODE=true in the app's config or environment."""


class NotAnOrchestrator(DaemonError):
    """There is no orchestrator with this id. Check that the user has is_orchestrator set and a row in
    neolith_orchestrator."""


class WrongTransition(DaemonError):
    """The daemon's present state does not allow this move."""


class Superseded(WrongTransition):
    """This start or stop took too long and was given up: the daemon has been begun afresh meanwhile. Look at its
    status, and ask again if need be."""


class DaemonStuck(DaemonError):
    """The daemon does not answer: something that it waits for during a start or stop hangs."""


class StartFailed(DaemonError):
    """The daemon could not start, for a cause that trying again would not cure."""


class InboxError(NeolithError):
    """The inbox could not do what was asked of it."""


class OpenTransaction(InboxError):
    """This session has already begun to write, and waiting for it here would wait for ourselves.
    Use neolith.accept(message) inside that session instead of handle_message, or commit first."""


class StoreClosed(InboxError):
    """The runtime of this process has been shut down. The next use of the app builds a new one."""


class UnknownDelivery(InboxError):
    """There is no delivery with this id."""


class ActionError(NeolithError):
    """There is no handler for this action. Known types: send_message, react, update_status, join_channel,
    leave_channel."""


class ToolError(NeolithError):
    """The tool could not do this.

    A tool raises it with a sentence for the model, which is told this text as it is; of any other exception it is told
    nothing but that the tool failed.
    """


class ModelError(NeolithError):
    """The model provider did not answer.

    `request_id` is the provider's own id of the call, where it gave one; `tried` are the models that were asked, with
    the class of what each raised, where there were several.
    """

    def __init__(self, message: str | None = None, *, request_id: str | None = None) -> None:
        super().__init__(message)
        self.request_id = request_id
        self.tried: tuple[tuple[str, str], ...] = ()


class ModelUnavailable(ModelError):
    """The model cannot be reached now. The answer is tried again later.

    `retry_after` is the provider's wish in seconds, or None.
    """

    def __init__(
        self, message: str | None = None, *, retry_after: float | None = None, request_id: str | None = None
    ) -> None:
        super().__init__(message, request_id=request_id)
        self.retry_after = retry_after


class ModelInterrupted(ModelError):
    """The model's answer broke off in the middle. The answer is tried again later."""


class EmptyAnswer(ModelInterrupted):
    """The model gave an empty answer. The answer is tried again later, and this attempt counts."""


class ModelRejected(ModelError):
    """The model provider refuses this request for good. Check the key, the model's name and the charter."""


class ModelNotServed(ModelRejected):
    """The provider does not serve this model to us. Check the model's name, and what the key may use and spend."""


class ModelUnpriced(ModelNotServed):
    """There is a budget in dollars, and nobody knows what this model costs. Add its price to NEOLITH_PRICES, or limit
    tokens instead."""


class OverBudget(NeolithError):
    """There is nothing left of a budget. Wait until its period is over, or raise it in the charter.

    `scope` says whose budget it is (orchestrator, organization, person), `period` for how long (hour, day, month),
    `reason` what of (budget, or replies) and `until` when that ends (epoch seconds). `passing`: only calls that go on
    stand in the way, until then.
    """

    def __init__(
        self,
        message: str | None = None,
        *,
        scope: str = "",
        period: str = "",
        until: float = 0.0,
        reason: str = "budget",
        passing: bool = False,
    ) -> None:
        super().__init__(message)
        self.scope = scope
        self.period = period
        self.until = until
        self.reason = reason
        self.passing = passing


class RequestError(NeolithError):
    """What was asked for cannot be had."""


class NotFound(RequestError):
    """There is no such thing, or you may not see it."""


class Forbidden(RequestError):
    """You may see this but not do that."""


class Conflict(RequestError):
    """The present state does not allow this."""


class Invalid(RequestError):
    """The input cannot be used."""


class Unconfirmed(Conflict):
    """The charter is less safe than the one before it. Confirm that this is meant (`confirm`, or `--yes`).

    `weakenings` names each thing: path, before, after, text.
    """

    def __init__(self, weakenings: Sequence[Mapping[str, Any]]) -> None:
        self.weakenings = tuple(weakenings)
        listed = "; ".join(str(one["text"]) for one in weakenings)
        super().__init__(f"The charter is less safe than the one before it ({listed}). Confirm that this is meant.")


class BadCharter(Invalid):
    """The charter cannot be used. Correct the fields that are named; `problems` has path and problem of each."""

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        self.problems = tuple(problems)
        listed = "; ".join(f"{path}: {problem}" for path, problem in problems)
        super().__init__(f"The charter cannot be used. Correct these fields: {listed}.")


class TooMany(RequestError):
    """Too many requests within a moment. Wait a little, and try again."""

    def __init__(self, message: str | None = None, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after
