"""All parts of one app in one process, wired; and the life of the process: start, run, stop.

`state.State` belongs to the app and survives forks; a `House` belongs to one process id and is built again after a
fork. Building a house starts nothing.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable

from ..chat.markdown import to_html
from ..chat.split import split
from ..core.errors import OrchestratorModeOff
from ..store.chat.messages import Messages
from ..store.chat.rooms import Rooms
from ..store.chat.session_views import SessionViews
from ..store.people.keys import Keys
from ..store.people.organizations import Organizations
from ..store.people.people import People
from ..store.stores import Stores, Texts, make_stores
from .arrival.front import Front
from .arrival.intake import Intake
from .broadcast.membership import Membership
from .broadcast.news import News
from .charters.book import CharterBook
from .charters.keeper import CharterKeeper
from .chatting.actions import BundledActions
from .chatting.approvals import Approvals
from .chatting.chat import Chat
from .chatting.directory import Directory
from .chatting.escalation import Escalator
from .chatting.rights import ChatParts
from .daemons.crew import LAST_WORDS, Crew
from .daemons.desk import Desk
from .daemons.duty import Duty
from .daemons.lives import Lives
from .daemons.manager import OrchestratorDaemonManager
from .daemons.notes import Note
from .daemons.statuses import Statuses
from .daemons.supervisor import Supervisor
from .money.bursar import Bursar
from .tools.toolboxes import make_toolboxes
from .turns.elsewhere import Anywhere
from .turns.thinking import Thinking
from .turns.worker import Worker
from .upkeep.alarm import Alarm
from .upkeep.caretaker import Caretaker
from .upkeep.health import Health, Part
from .upkeep.idle import Idle
from .upkeep.jobs import Jobs
from .upkeep.node import NodeLife
from .upkeep.once import Once
from .upkeep.sweeper import Sweeper
from .wiring import Wiring

log = logging.getLogger("flask_neolith_orchestrator")


class House:
    """The parts of one app in one process. Lifetime: that process, from its first use."""

    def __init__(
        self,
        wiring: Wiring,
        on_membership: Callable[[str, str, bool], None],
        socket_seen: Callable[[], None] = lambda: None,
    ) -> None:
        self.pid, self.socket_seen = os.getpid(), socket_seen
        self.wiring, self.settings = wiring, (settings := wiring.settings)
        self.models, self.clock, self.session = wiring.models, wiring.clock, wiring.session
        self.database = wiring.open_database()
        self.people = People(wiring.models, wiring.display_name)
        self.stores: Stores = make_stores(
            wiring.models,
            self.database,
            settings,
            self.people,
            texts=Texts(to_html, lambda text: split(text, settings.max_answer_length)),
            state_dir=wiring.state_dir,
            chat=wiring.chat_store,
        )
        self.views, self.chat_store = self.stores.views, self.stores.chat
        self.turns, self.daemons = self.stores.turns, self.stores.daemons
        self.keys = Keys(wiring.models, self.database)
        self.charters = CharterBook(self.stores)
        self.keeper = CharterKeeper(self.charters, self.stores)
        self.channel, self.neighbours = wiring.channel, wiring.make_neighbours()
        self.dispatcher = wiring.make_dispatcher(self.neighbours)
        self.news = News(self.stores, wiring.channel, wiring.clock)
        from .upkeep.clockwork import Clockwork  # here, as APScheduler is needed only where something may run

        self.clockwork = Clockwork(wiring.clock)
        self._alarm = Alarm(self.dispatcher.ring)
        self._wire_runtime()
        self._wire_chat(on_membership)
        self._looked = threading.Event()
        self._started = Once(self._start, self._looked.set)
        parts = {
            "scheduler": self.clockwork.health,
            "dispatcher": self.dispatcher.health,
            "leases": self.worker.health,
            "channel": self.channel.health,
            "listeners": self.manager.listeners_health,
        }
        self.health = Health(self.stores, wiring.check_schema, self._started, parts, self.supervisor.hanging)
        self.manager.liveness = self.health.liveness
        self._closed = self.quiet = False

    def _wire_runtime(self) -> None:
        wiring, stores, settings = self.wiring, self.stores, self.settings
        bursar = Bursar(stores, lambda *a, **k: self.manager.emit(*a, **k), wiring.channel)
        self._thinking = thinking = Thinking(wiring, stores, self.charters, bursar)
        self.model_for, self.treasury = thinking.models, thinking.treasury
        self.study, self.summaries = thinking.study, thinking.summaries
        crew = Crew(stores, settings, self.study, self.news, lambda: self.worker, lambda k: self.manager.get_daemon(k))
        ring, tell = self.dispatcher.ring, self.dispatcher.tell
        lives = Lives(stores, settings, crew, tell=lambda *a, **k: self.manager.emit(*a, **k), ring=ring)
        statuses = Statuses(stores, wiring.check_schema)
        self.manager = OrchestratorDaemonManager(
            stores, settings, lives, statuses, context=wiring.context, ensure_started=self.ensure_started
        )
        self.charters.on_change += [crew.make_room, lambda *new: self.front.listening.heard(*new), lambda *_: tell()]
        self.charters.on_read.append(crew.follow)
        self.duty = Duty(stores, self.manager, self.news)
        self.approvals = Approvals(stores, wiring.channel, self.news, emit=self.manager.emit, ring=self._ring)
        self.worker = Worker(self.study, wiring.channel, self.news, self.duty)
        self.worker.let_go, self._cancel = self.dispatcher.abandon, Anywhere(self.worker, self.dispatcher).cancel
        self.node = NodeLife(stores, self.manager, self.news, self.dispatcher, self.neighbours, self.channel)
        self.supervisor = Supervisor(stores, settings, self.manager, self.worker, self.news)
        lives.died, lives.wished, self.duty.will_restart = self.supervisor.died, tell, self.supervisor.will_restart
        self.sweeper = Sweeper(
            stores, settings, self.duty, self.worker, self.news, ring=ring, money=lambda: self.treasury.sweep(ring)
        )
        self.duty.parked, self.sweeper.late = self.approvals.requested, self.approvals.expire
        self.caretaker = Caretaker(stores, settings)
        self.desk = Desk(
            stores, settings, self.duty, wiring.channel, ttl=wiring.login_ttl, ensure_started=self.ensure_started
        )
        self._wire_front()

    def _wire_front(self) -> None:
        wiring, stores, manager = self.wiring, self.stores, self.manager
        self.front = Front(
            self.settings, stores, self.study.charters, wiring.channel, ring=self._ring, ended=manager.ended
        )
        self.front.pauses.add(self.treasury.pauses)
        self.reception, self.duty.overheard = self.front.reception, self.front.overhearing
        self.reception.listen(wiring.scoped_session)
        self.sweeper.openings, self.sweeper.waiting = self.front.openings(self.news).sweep, self.front.waiting.look
        self.intake = Intake(stores, self.reception, wiring.session, ended=manager.ended, cancel=self._cancel)
        manager.intake, manager.readiness = self.intake, self.readiness
        manager.ring, manager.cancel_turn = self.dispatcher.ring, self._cancel
        manager.logged_in = lambda user_id: self.desk.put(Note("login", user_id, fresh=True))
        manager.logged_out = lambda user_id: self.desk.put(Note("logout-all", user_id))

    def _wire_chat(self, on_membership: Callable[[str, str, bool], None]) -> None:
        rooms = Rooms(self.models, self.database, self.people)
        parts = ChatParts(
            session=self.session,
            settings=self.settings,
            database=self.database,
            people=self.people,
            rooms=rooms,
            messages=Messages(self.models, self.database, self.views),
            sessions=SessionViews(self.models, self.database, self.stores.sessions),
            turns=self.turns,
            reception=self.reception,
            channel=self.channel,
            parking=self.stores.parking,
            approvals=self.approvals,
            cancel_turn=self._cancel,
            ended=lambda deliveries: self.manager.ended(deliveries),
            on_membership=Membership(rooms, self.database, self.channel, on_membership),
            can_manage=self.wiring.can_manage,
            external=self.stores.external,
            rates=self.front.rates,
            audit=self.stores.records.audit,
        )
        self.chat = Chat(parts)
        self.escalator = Escalator(parts, self.stores, self.charters, self.manager.emit)
        self.sweeper.escalate = self.escalator.sweep
        organizations = Organizations(self.models, self.database)
        self.directory = Directory(self.session, self.database, self.people, rooms, organizations, self.keeper)
        bundled = BundledActions(self.stores, self.chat, self.news, lambda: self.wiring.scope(self.database))
        self.manager.actions = self.wiring.actions or bundled
        self._thinking.toolboxes = make_toolboxes(self.wiring, self.stores, self.chat, bundled.scope)

    def _ring(self, orchestrator_id: str, delay: float = 0.0) -> None:
        self.ensure_started(wait=False)
        if self.manager.is_daemon_running(orchestrator_id):
            self._alarm.ring(orchestrator_id, delay)

    def ensure_started(self, *, wait: bool = True) -> None:
        """Start this process's runtime once. With `wait`, raises what kept it from starting."""
        if not self._closed and not self.quiet and self.database.threads:
            self._started(wait=wait)

    def wait_looked(self, seconds: float) -> None:
        """Wait until a start that is under way has looked at the tables; at once when there is none."""
        if self._started.is_under_way and not self._looked.is_set():
            self._looked.wait(seconds)

    def _start(self) -> None:
        self.wiring.check_schema()
        self._looked.set()
        if self.settings.mode:
            self.node.join()
            self.dispatcher.run(self.worker.drain, self.duty.limit_of, lambda: self.clockwork.hurry("renew", "sweep"))
        self.clockwork.start(self._jobs().table())
        if self.settings.mode:
            self._resume()
        log.info("Started", extra={"action": "process-started"})

    def _resume(self) -> None:
        try:
            with self.database.read() as tx:
                wanted = [key for key, state in self.daemons.wanted(tx).items() if state != "error"]
            self.sweeper.recover()
            self.duty.resume(wanted)
            self.sweeper.ring_ready()
        except Exception:
            # the sweep does the same again within a second, and shows what it cannot do
            log.exception("Not everybody could be started again yet", extra={"action": "resume-failed"})

    def _jobs(self) -> Jobs:
        return Jobs(
            settings=self.settings,
            supervisor=self.supervisor,
            sweeper=self.sweeper,
            worker=self.worker,
            nodes=self.stores.nodes,
            node=self.node,
            desk=self.desk,
            caretaker=self.caretaker,
            socket_seen=self.socket_seen,
            login_ttl=self.wiring.login_ttl,
        )

    def readiness(self) -> dict[str, Part]:
        """Per part whether it works (see `health.Health`), and whether daemons may run at all."""
        return {**self.health.readiness(), "mode": {"ok": True, "on": self.settings.mode}}

    def run_until_idle(self, timeout: float = 10.0) -> None:
        """Work until nothing is ready (see `idle.Idle`)."""
        if not self.settings.mode:
            raise OrchestratorModeOff
        if self.database.threads:
            self.ensure_started()
        Idle(self.stores, self.worker, self.duty, self.desk, self.sweeper, self.summaries).run(timeout)

    def forked(self) -> None:
        """In a forked child: let go of what only the parent may use."""
        self._closed = True
        self.stores.nodes.forked()
        self.neighbours.forked()
        self.database.forked()

    def close(self, timeout: float | None = None) -> None:
        """Stop this process's runtime in order, within DAEMON_STOP_TIMEOUT. What is wanted stays so. Safe twice."""
        if self._closed or self.pid != os.getpid():
            return
        self._closed = self.manager.lives.closed = True
        budget = self.settings.stop_timeout / 1000 if timeout is None else timeout
        for step in (
            lambda: self._started.end(budget),
            self.supervisor.close,
            self._alarm.close,
            self.caretaker.close,
            self.clockwork.close,
            self.desk.close,
            lambda: self._wind_down(budget),
            self.summaries.close,
            lambda: self.duty.settle(LAST_WORDS),
            self._leave,
            lambda: self.news.flush(LAST_WORDS),
            self.model_for.close,
            self.manager.close,
            self.neighbours.close,
            self.database.close,
        ):
            try:
                step()
            except Exception:
                log.exception("A step of the shutdown failed", extra={"action": "stop-error"})

    def _wind_down(self, budget: float) -> None:
        for daemon in self.manager.get_running_daemons():
            daemon.quiesce()
        self.dispatcher.close(0.0)
        # the scheduler is gone, so the leases of those that still run are renewed here
        self.manager.lives.crew.wind_down(None, timeout=budget, meanwhile=self.worker.renew)
        self.dispatcher.close(1.0)
        self.worker.close()

    def _leave(self) -> None:
        if self._started.done and self.settings.mode:
            self.node.leave()
