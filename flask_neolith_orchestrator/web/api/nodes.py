"""The route of nodes: the processes that run turns, for those who manage anything."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from ...core.errors import NotFound
from ...store.chat.views import iso
from ...store.lives.nodes import NodeRow
from ..calls import Call, Route
from ..shapes import Page, Wire

TAG: Final = "nodes"


class NodeView(Wire):
    """One process. `alive`: its lock is held, or it was seen within its lease. `threads` is how many turns it can run.

    `bootId` is the machine's, null where no lock file can be written.
    """

    id: str
    name: str = Field(examples=["chat-1:4711"])
    host: str
    pid: int | None
    boot_id: str | None
    version: str | None
    engine: str | None = Field(examples=["embedded"])
    started_at: str
    last_seen_at: str
    alive: bool
    running_turns: int
    threads: int | None
    is_this: bool = Field(description="whether it is the process that answered this request")


def list_nodes(call: Call) -> Page[NodeView]:
    """The processes that run turns, over all hosts."""
    if not call.rights.manages_anything():
        raise NotFound
    nodes = call.house.stores.nodes
    return Page[NodeView](items=[_view(one, nodes.id) for one in nodes.survey(call.reading)], next=None)


def _view(one: NodeRow, this: str) -> NodeView:
    host, _, place = one.host.partition("/")
    pid = one.name.rpartition(":")[2]
    return NodeView(
        id=one.id,
        name=one.name,
        host=host,
        pid=int(pid) if pid.isdecimal() else None,
        boot_id=place.partition("/")[0] or None,
        version=one.version,
        engine=one.engine,
        started_at=iso(one.started_at) or "",
        last_seen_at=iso(one.seen_at) or "",
        alive=one.alive,
        running_turns=one.running,
        threads=one.threads,
        is_this=one.id == this,
    )


ROUTES: Final = (Route("GET", "nodes", list_nodes, "List processes", TAG, "orchestrators:read", answer=Page[NodeView]),)
