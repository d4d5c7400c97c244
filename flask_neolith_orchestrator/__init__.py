"""AI colleagues as ordinary users of your Flask chat app.

neolith = NeolithOrchestrator(db=db, user_model=User)
neolith.init_app(app, socketio=socketio)
"""

__version__ = "0.1.0"

from .chat.tool_context import ChatAccess, Found, ToolContext
from .core.errors import (
    ActionError,
    BadCharter,
    BadTool,
    ConfigurationError,
    NeedsServer,
    NeolithError,
    NotAnOrchestrator,
    OpenTransaction,
    OrchestratorModeOff,
    SchemaMissing,
    StartFailed,
    ToolError,
    Unconfirmed,
    UnsupportedDatabase,
)
from .core.ports import ChatStore, ReplyDraft, ReplyWrite
from .core.types import (
    DaemonState,
    DaemonStatus,
    DeliveryState,
    HealthStatus,
    IncomingMessage,
    Line,
    Member,
    MessageState,
    OrchestratorAction,
    OrchestratorDaemonConfig,
    OrchestratorSnapshot,
    OrchestratorStatus,
    OutgoingMessage,
    Place,
)
from .extension import NeolithOrchestrator, create_orchestrator_daemon, get_daemon_manager, should_run_daemon
from .runtime.arrival.intake import Accepted
from .runtime.charters.file import load_charter_file
from .runtime.daemons.daemon import OrchestratorDaemon
from .runtime.daemons.manager import OrchestratorDaemonManager
from .store.tables.mixins import OrchestratorUserMixin

__all__ = [
    "Accepted",
    "ActionError",
    "BadCharter",
    "BadTool",
    "ChatAccess",
    "ChatStore",
    "ConfigurationError",
    "DaemonState",
    "DaemonStatus",
    "DeliveryState",
    "Found",
    "HealthStatus",
    "IncomingMessage",
    "Line",
    "Member",
    "MessageState",
    "NeedsServer",
    "NeolithError",
    "NeolithOrchestrator",
    "NotAnOrchestrator",
    "OpenTransaction",
    "OrchestratorAction",
    "OrchestratorDaemon",
    "OrchestratorDaemonConfig",
    "OrchestratorDaemonManager",
    "OrchestratorModeOff",
    "OrchestratorSnapshot",
    "OrchestratorStatus",
    "OrchestratorUserMixin",
    "OutgoingMessage",
    "Place",
    "ReplyDraft",
    "ReplyWrite",
    "SchemaMissing",
    "StartFailed",
    "ToolContext",
    "ToolError",
    "Unconfirmed",
    "UnsupportedDatabase",
    "create_orchestrator_daemon",
    "get_daemon_manager",
    "load_charter_file",
    "should_run_daemon",
]
