"""Makes our classes for one database and one user model: `neolith.models.Message` and so on.

Several apps, and several calls for the same pair, share one set: it is kept in the metadata it belongs to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Column, Table, inspect
from sqlalchemy.orm import registry

from ...core.errors import SetupError
from . import chat, lives, money, talk
from . import records as record
from . import runs as run
from .columns import Tables, metadata_of

SCHEMA_VERSION = 5
"""Raised with each change that a migration must carry out."""


@dataclass(frozen=True, slots=True)
class Models:
    """Our mapped classes. Lifetime: the process, like the host's own classes.

    `user_key` is the primary key column of the host's users.
    """

    user: type[Any]
    user_key: Column[Any]
    Organization: type[chat.OrganizationColumns]
    OrganizationMember: type[chat.OrganizationMemberColumns]
    Orchestrator: type[chat.OrchestratorColumns]
    Channel: type[chat.ChannelColumns]
    ChannelMember: type[chat.ChannelMemberColumns]
    Message: type[chat.MessageColumns]
    Reaction: type[chat.ReactionColumns]
    Login: type[lives.LoginColumns]
    Daemon: type[lives.DaemonColumns]
    Node: type[lives.NodeColumns]
    Conversation: type[run.ConversationColumns]
    Delivery: type[run.DeliveryColumns]
    Turn: type[run.TurnColumns]
    Slot: type[run.SlotColumns]
    Outbox: type[run.OutboxColumns]
    ApiKey: type[run.ApiKeyColumns]
    CharterVersion: type[run.CharterVersionColumns]
    Session: type[talk.SessionColumns]
    Trigger: type[talk.TriggerColumns]
    Escalation: type[talk.EscalationColumns]
    MessageVersion: type[talk.MessageVersionColumns]
    Step: type[talk.StepColumns]
    OrganizationCharter: type[talk.OrganizationCharterColumns]
    Ledger: type[money.LedgerColumns]
    Budget: type[money.BudgetColumns]
    Audit: type[record.AuditColumns]
    History: type[record.HistoryColumns]
    Schema: type[run.SchemaColumns]

    def table(self, name: str) -> Table:
        """The Core table of the class called `name`."""
        return cast(Table, getattr(self, name).__table__)

    @property
    def user_table(self) -> Table:
        """The host's users."""
        return cast(Table, self.user.__table__)

    def user_id(self, user: Any) -> str:
        """`str(primary key)` of one of the host's user objects, or of what stands for one. Runs no SQL."""
        identity = getattr(getattr(user, "_sa_instance_state", None), "identity", None)
        if identity:
            return str(identity[0])
        name = inspect(self.user).get_property_by_column(self.user_key).key
        return str(getattr(user, name))

    def parse_user_id(self, text: str) -> Any:
        """The primary key that `text` (`str(primary key)`) stands for, or None if it cannot be one."""
        try:
            kind = self.user_key.type.python_type
        except NotImplementedError:
            return text
        try:
            value = kind(text)
        except (TypeError, ValueError):
            return None
        # int("1_0") and int(" 1") are numbers too, and 2**63 is not a key of any database
        if str(value) != text or (isinstance(value, int) and not -(2**63) <= value < 2**63):
            return None
        return value

    def tables(self) -> list[Table]:
        """Every table of ours."""
        return [self.table(name) for name in _COLUMNS]


_COLUMNS: dict[str, type[Any]] = {
    "Organization": chat.OrganizationColumns,
    "OrganizationMember": chat.OrganizationMemberColumns,
    "Orchestrator": chat.OrchestratorColumns,
    "Channel": chat.ChannelColumns,
    "ChannelMember": chat.ChannelMemberColumns,
    "Message": chat.MessageColumns,
    "Reaction": chat.ReactionColumns,
    "Login": lives.LoginColumns,
    "Daemon": lives.DaemonColumns,
    "Node": lives.NodeColumns,
    "Conversation": run.ConversationColumns,
    "Delivery": run.DeliveryColumns,
    "Turn": run.TurnColumns,
    "Slot": run.SlotColumns,
    "Outbox": run.OutboxColumns,
    "ApiKey": run.ApiKeyColumns,
    "CharterVersion": run.CharterVersionColumns,
    "Session": talk.SessionColumns,
    "Trigger": talk.TriggerColumns,
    "Escalation": talk.EscalationColumns,
    "MessageVersion": talk.MessageVersionColumns,
    "Step": talk.StepColumns,
    "OrganizationCharter": talk.OrganizationCharterColumns,
    "Ledger": money.LedgerColumns,
    "Budget": money.BudgetColumns,
    "Audit": record.AuditColumns,
    "History": record.HistoryColumns,
    "Schema": run.SchemaColumns,
}


def user_key(user_model: type[Any]) -> Column[Any]:
    """The one primary key column of the host's users. Raises SetupError where there is not exactly one."""
    keys = inspect(user_model).primary_key
    if len(keys) != 1:
        msg = f"{user_model.__name__} has {len(keys)} primary key columns; a user model with one is needed."
        raise SetupError(msg)
    return cast("Column[Any]", keys[0])


def make_models(user_model: type[Any]) -> Models:
    """Our classes on the user model's metadata; the same ones when called again.

    The user model must have been mapped and must use `OrchestratorUserMixin`, else SetupError.
    """
    metadata = metadata_of(user_model)
    kept: dict[type[Any], Models] = metadata.info.setdefault("neolith_models", {})
    if user_model in kept:
        return kept[user_model]
    if kept:
        msg = "One metadata can serve one user model; give the second one a bind of its own."
        raise SetupError(msg)
    if not hasattr(user_model, "is_orchestrator") or not hasattr(user_model, "orchestrator_config"):
        msg = f"{user_model.__name__} lacks the columns of OrchestratorUserMixin: add it to the bases of the class."
        raise SetupError(msg)
    key = metadata.info["neolith_user_key"] = user_key(user_model)
    own = registry(metadata=metadata)
    base = type(
        "NeolithTables",
        (Tables,),
        {"__abstract__": True, "registry": own, "_sa_registry": own, "metadata": metadata},
    )
    classes = {name: type(name, (columns, base), {"__doc__": columns.__doc__}) for name, columns in _COLUMNS.items()}
    kept[user_model] = Models(user=user_model, user_key=key, **classes)
    return kept[user_model]
