"""What is kept for people to look at: deeds, changes of daemons, figures, nodes, turns; on both databases."""

from __future__ import annotations

import os
from typing import Any

import pytest
from sqlalchemy import insert, text

from flask_neolith_orchestrator.core.deeds import CLI, Actor, Deed
from flask_neolith_orchestrator.core.errors import SchemaMissing
from flask_neolith_orchestrator.core.money import Scope
from flask_neolith_orchestrator.runtime.upkeep.caretaker import Caretaker
from flask_neolith_orchestrator.store.records import figures as figures_module
from flask_neolith_orchestrator.store.records.audit import Seen, Wanted
from flask_neolith_orchestrator.store.records.figures import Span, Whose
from flask_neolith_orchestrator.store.tables.models import SCHEMA_VERSION

from .conftest import Databases, MakeWorld
from .test_life import ada
from .world import World, until

HOUR = 3600.0
NOON = 1_700_000_000 // 86_400 * 86_400.0 + 43_200
"""A day's noon, UTC."""


@pytest.fixture
def world(make_world: MakeWorld, databases: Databases) -> World:
    """ann, bob and ada in #general."""
    return make_world(on=databases)


def deeds(world: World, **wanted: Any) -> list[dict[str, Any]]:
    """What somebody who manages the organization sees, newest first."""
    with world.stores.database.read() as tx:
        seen = Seen(organizations=[world.organization])
        return world.stores.records.audit.page(tx, seen, Wanted(**wanted))


def changes(world: World) -> list[tuple[str, str | None, str | None]]:
    """ada's changes: (event, reason, error), oldest first."""
    return [(row["event"], row["reason"], row["error"]) for row in world.rows("History")]


def test_a_deed_is_written_with_the_name_of_the_time(world: World) -> None:
    """Who, what, to whom, and when; the organization of an orchestrator is found."""
    audit = world.stores.records.audit
    with world.stores.database.write() as tx:
        audit.add(tx, Deed(Actor.user(world.ids["ann"], "9"), "orchestrator.changed", orchestrator_id=world.ada))
        audit.add(tx, Deed(CLI, "charter.saved", organization_id=world.organization, details={"version": 2}))
    with world.context():
        user: Any = world.db.session.get(world.user, int(world.ids["ann"]))
        user.name = "anna"
        world.db.session.commit()
    by_cli, by_key = deeds(world)
    assert (by_key["actor_kind"], by_key["actor_name"], by_key["key_id"]) == ("key", "ann", "9")
    assert (str(by_key["orchestrator_id"]), str(by_key["organization_id"])) == (world.ada, world.organization)
    assert (by_cli["actor_kind"], by_cli["actor_id"], by_cli["details"]) == ("cli", None, {"version": 2})
    assert [row["action"] for row in deeds(world, actor="cli")] == ["charter.saved"]
    assert [row["action"] for row in deeds(world, actor=world.ids["ann"])] == ["orchestrator.changed"]
    assert [row["action"] for row in deeds(world, action="charter.")] == ["charter.saved"]
    assert [row["action"] for row in deeds(world, action="charter")] == []
    assert len(deeds(world, before=by_cli["id"])) == len(deeds(world, end=by_cli["at"])) == 1


def test_a_deed_that_is_rolled_back_was_never_done(world: World) -> None:
    """It is written in the transaction of the deed."""
    with world.context():
        world.neolith.directory.set_charter(world.ada, {"mission": "Count."}, author_id=world.ids["ann"])
        world.db.session.rollback()
        assert deeds(world) == []
        world.neolith.directory.set_charter(world.ada, {"mission": "Count."}, author_id=world.ids["ann"])
        world.db.session.commit()
    (saved,) = deeds(world)
    assert (saved["action"], saved["actor_name"], saved["details"]) == ("charter.saved", "ann", {"version": 1})


def test_a_start_and_a_stop_are_changes(world: World) -> None:
    """With the reason; a person's restart is one too; a heartbeat is none."""
    world.start("ada")
    world.start("ada")
    with world.context():
        world.house.supervisor.heartbeat()
        ada(world).restart()
        ada(world).stop()
    assert changes(world) == [
        ("started", None, None),
        ("restarted", "person", None),
        ("stopped", "person", None),
    ]


def test_a_death_is_told_until_it_runs_again_or_has_failed(make_world: MakeWorld, databases: Databases) -> None:
    """With the error and how many restarts there were."""
    world = make_world(on=databases, DAEMON_RESTART_DELAY=1, DAEMON_MAX_RESTART_ATTEMPTS=1)
    world.start("ada")
    world.house.supervisor.died(ada(world), RuntimeError("the disk is full"))
    until(lambda: len(changes(world)) == 3 and ada(world).is_running(), "a restart")
    world.house.supervisor.died(ada(world), RuntimeError("again"))
    until(lambda: len(changes(world)) == 4, "the end")
    assert changes(world) == [
        ("started", None, None),
        ("died", None, "the disk is full"),
        ("restarted", "died", None),
        ("failed", None, "again"),
    ]
    assert [row["restarts"] for row in world.rows("History")] == [None, 1, 1, None]


def test_the_last_process_says_that_nobody_is_left(world: World) -> None:
    """So that the time until the next start is known to be an outage."""
    world.start("ada")
    world.neolith.shutdown(world.app, 2.0)
    assert changes(world)[-1] == ("stopped", "no-node", None)


def test_who_was_killed_is_known_to_have_gone_when_it_was_last_seen(
    make_world: MakeWorld, databases: Databases
) -> None:
    """The next process writes it down: an outage is not longer up than anybody was there."""
    world = make_world(on=databases, ORCHESTRATOR_MODE=False)
    models, now = world.neolith.models, world.house.clock.wall()
    node = {"id": "gone", "name": "elsewhere:1", "host": "elsewhere", "started_at": now - 900}
    with world.stores.database.write() as tx:
        world.stores.daemons.ensure(tx, world.ada)
        tx.execute(models.table("Daemon").update().values(state="running", started_at=now - 900))
        tx.execute(insert(models.table("Node")).values(**node, seen_at=now - 300))
    successor = make_world(like=world)
    with successor.context():
        successor.house.ensure_started()
    (change,) = world.rows("History")
    assert (change["event"], change["reason"], change["at"]) == ("stopped", "no-node", now - 300)


def test_availability_is_of_the_rows_that_are_there(world: World) -> None:
    """And a daemon that has run for longer than changes are kept was up all the time."""
    history = world.stores.records.history
    world.start("ada")
    with world.stores.database.write() as tx:
        tx.execute(world.neolith.models.table("History").delete())
        old = world.neolith.models.table("Daemon").update().values(started_at=1.0)
        tx.execute(old)
    with world.stores.database.read() as tx:
        day, week = history.availabilities(tx, world.ada, (86_400.0, 7 * 86_400.0))
    assert (day.percent, week.percent, round(day.up)) == (100.0, 100.0, 86_400)


def test_availability_of_very_many_changes_is_of_those_that_are_looked_at(world: World) -> None:
    """The state before them is not taken for that of all the time before."""
    history, now = world.stores.records.history, world.house.clock.wall()
    changes = [("died" if n % 2 else "restarted", now - 30_000 + 10 * n) for n in range(2_200)]
    table = world.neolith.models.table("History")
    with world.stores.database.write() as tx:
        rows = [{"orchestrator_id": int(world.ada), "event": event, "at": at} for event, at in changes]
        tx.execute(insert(table), rows)
        (day,) = history.availabilities(tx, world.ada, (86_400.0,))
    # of the last 2,000 changes, ten seconds each, the last has held for longer
    assert (round(day.up), round(day.down - (now - changes[-1][1]), -1)) == (10_000, 9_990)


def test_a_node_says_what_it_can_do(world: World) -> None:
    """Version, engine, threads, and that it lives; one that is gone does not."""
    world.start("ada")
    with world.stores.database.read() as tx:
        (node,) = world.stores.nodes.survey(tx)
    assert (node.alive, node.running, node.engine, node.threads) == (True, 0, "embedded", 64)
    assert (node.id, node.name.rpartition(":")[2]) == (world.stores.nodes.id, str(os.getpid()))
    assert node.version


Rows = list[dict[str, Any]]


def ended(world: World, at: float, state: str, **more: Any) -> None:
    """A delivery for ada that ended then, accepted ten seconds before, with a turn if it has times of one."""
    models = world.neolith.models
    conversation, turn, delivery = (models.table(name) for name in ("Conversation", "Turn", "Delivery"))
    kind = more.pop("kind", "message")
    with world.stores.database.write() as tx:
        n = len(list(tx.execute(delivery.select())))
        key = {"orchestrator_id": int(world.ada), "key": f"test {n}", "channel_id": world.general}
        talk = tx.execute(insert(conversation).values(key).returning(conversation.c.id)).scalar_one()
        made = None
        if "began" in more:
            times = {"started_at": at - 10 + more["began"], "first_text_at": at - 10 + more["text"], "ended_at": at}
            values = {"orchestrator_id": int(world.ada), "conversation_id": talk, "requester_id": "1", "epoch": 1}
            made = tx.execute(insert(turn).values(**values, **times, state="done").returning(turn.c.id)).scalar_one()
        tx.execute(
            insert(delivery).values(
                orchestrator_id=int(world.ada),
                conversation_id=talk,
                kind=kind,
                dedupe_key=str(n),
                author_id="1",
                state=state,
                ready_at=at - 10,
                accepted_at=at - 10,
                ended_at=at,
                outcome=more.get("outcome"),
                turn_id=made,
            )
        )


def spent(world: World, at: float, cost: float | None, tokens: int, state: str = "settled") -> None:
    """A model call of ada."""
    ledger = world.neolith.models.table("Ledger")
    values = {"orchestrator_id": int(world.ada), "requester_id": "1", "model": "m", "state": state}
    with world.stores.database.write() as tx:
        tx.execute(insert(ledger).values(at=at, cost=cost, input_tokens=tokens, output_tokens=1, **values))


@pytest.fixture
def told(world: World) -> World:
    """Two hours of ada's work, and what lies outside of them."""
    for at in (NOON - 1, NOON + 2 * HOUR):
        ended(world, at, "answered", began=1, text=2)
        spent(world, at, 100.0, 100)
    for n in range(1, 5):
        ended(world, NOON + n, "answered", began=n, text=n + 1)
    ended(world, NOON + HOUR, "answered")
    ended(world, NOON + 5, "answered", kind="resume")
    for n, state in enumerate(("failed", "expired", "refused", "cancelled", "cancelled")):
        ended(world, NOON + HOUR + n, state, outcome=("deleted", "stopped")[n % 2])
    spent(world, NOON, 0.25, 10)
    spent(world, NOON + 1, None, 10)
    spent(world, NOON + 1, 7.0, 10, state="reserved")
    spent(world, NOON + HOUR, 0.5, 10)
    return world


def test_figures_are_of_the_rows_in_their_buckets(told: World) -> None:
    """The end of a bucket belongs to the next; a turn taken up again counts once; nearest ranks."""
    figures, span = told.stores.records.figures, Span(NOON, NOON + 2 * HOUR, HOUR)
    whose = Whose([told.ada])
    with told.stores.database.read() as tx:
        work = figures.work(tx, whose, span)
        money = figures.spending(tx, whose, span).buckets
        same = figures.work(tx, Whose(organizations=[told.organization]), span)
        nothing = figures.work(tx, Whose(), span)
    counted = [[work.buckets[n][kind] for kind in figures_module.KINDS] for n in (0, 1, None)]
    assert counted == [[4, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1], [5, 1, 1, 1, 1, 1]]
    assert work.counted_from == NOON
    assert same == work
    assert list(nothing.buckets) == [None]
    late, whole = work.buckets, work.buckets[None]
    first = {name: round(value, 3) for name, value in late[0].items()}
    assert (first["waiting_p50"], first["waiting_p95"]) == (2, 4)
    assert (first["first_text_p50"], first["first_text_p95"]) == (3, 5)
    assert (first["total_p50"], first["total_p95"]) == (10, 10)
    assert (late[1]["waiting_p50"], round(late[1]["total_p95"], 3)) == (None, 10)
    assert (round(whole["waiting_p50"], 3), round(whole["total_p50"], 3)) == (2, 10)
    names = ("calls", "cost", "unpriced", "input_tokens", "output_tokens")
    assert [money[0][name] for name in names] == [2, 0.25, 1, 20, 2]
    assert (money[1]["calls"], money[1]["cost"], money[1]["unpriced"]) == (1, 0.5, 0)


def test_figures_say_from_when_they_are_complete(told: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of too many rows only the newest are counted."""
    monkeypatch.setattr(figures_module, "MOST", 3)
    with told.stores.database.read() as tx:
        work = told.stores.records.figures.work(tx, Whose([told.ada]), Span(NOON, NOON + 2 * HOUR, HOUR))
    assert sum(work.buckets[None][kind] for kind in figures_module.KINDS) == 3
    assert work.counted_from == NOON + HOUR + 2


def test_a_turn_is_listed_with_what_it_took(world: World) -> None:
    """Where and why, how long it waited, and the answer only for those who may read it."""
    world.start("ada")
    world.post("bob", "@ada hello")
    world.rest()
    with world.stores.database.read() as tx:
        turns = world.stores.records.turn_list
        rows = turns.page(tx, world.ada, states=["done"], before=None, limit=5)
        (seen,), (other,) = turns.told(tx, rows, world.ids["ann"]), turns.told(tx, rows, "999")
        assert turns.page(tx, world.ada, states=["failed"], before=None, limit=5) == []
        assert turns.page(tx, world.ada, states=[], before=seen["id"], limit=5) == []
    assert seen["channel"]["name"] == "general"
    assert (seen["requester_name"], seen["reason"], seen["kind"]) == ("bob", "mentioned", "message")
    assert seen["queued_at"] <= seen["started_at"] <= seen["first_text_at"] <= seen["ended_at"]
    assert (seen["reply_id"], other["reply_id"]) == (str(world.answers()[0]["id"]), None)
    assert other["channel"] is None


def test_a_dead_letter_says_why_and_whether_it_can_be_tried_again(world: World) -> None:
    """And how many there are is counted by orchestrator."""
    ended(world, NOON, "failed", outcome="crash")
    ended(world, NOON, "expired", outcome="too old", kind="resume")
    ended(world, NOON, "answered")
    with world.stores.database.read() as tx:
        rows = world.house.turns.deliveries(tx, orchestrator_ids=[world.ada])
        turns = world.stores.records.turn_list
        shown = turns.deliveries(tx, rows, world.ids["ann"])
        assert turns.dead(tx, None) == turns.dead(tx, [world.ada]) == {world.ada: 2}
        assert turns.dead(tx, ["999"]) == {}
    found = [(row["state"], row["error_kind"], row["retryable"]) for row in shown]
    assert found == [("answered", None, False), ("expired", "too old", False), ("failed", "crash", True)]
    assert shown[0]["channel"]["name"] == "general"
    with world.context():
        state = world.neolith.manager.get_daemon_status(world.ada)
        assert state is not None
        assert state.dead_letters == 2


@pytest.mark.parametrize("table", ["Audit", "History"])
def test_what_is_old_is_forgotten(make_world: MakeWorld, databases: Databases, table: str) -> None:
    """By the age that is set, the newest row excepted; 0 keeps everything."""
    keys = {"Audit": "NEOLITH_KEEP_AUDIT", "History": "NEOLITH_KEEP_HISTORY"}
    for keep, left in ((1_000, 2), (0, 3)):
        config: Any = {keys[table]: keep}
        world = make_world(on=databases, ORCHESTRATOR_MODE=False, **config)
        now = world.house.clock.wall()
        rows = world.neolith.models.table(table)
        whose = {"orchestrator_id": int(world.ada)}
        more = {"event": "started"} if table == "History" else {"actor_kind": "cli", "action": "key.created"}
        with world.stores.database.write() as tx:
            for at in (now - 100, now, now - 50):
                tx.execute(insert(rows).values(at=at, **whose, **more))
        keeper = Caretaker(world.stores, world.app.extensions["neolith"].settings)
        keeper.run()
        assert len(world.rows(table)) == left


def test_tables_of_version_3_are_named_and_mended(make_world: MakeWorld, databases: Databases) -> None:
    """By create-tables: the new tables, columns and indexes, and the version; what was there stays."""
    before = make_world(on=databases, ORCHESTRATOR_MODE=False)
    message = before.post("ann", "before")
    before.close()
    world = make_world(like=before)
    new = {
        "neolith_node": ("version", "engine", "threads"),
        "neolith_channel_member": ("read_id",),
    }
    indexes = ["ix_neolith_delivery_dead", "ix_neolith_delivery_over", "ix_neolith_message_channel"]
    with world.stores.database.write() as tx:
        for table in ("neolith_audit", "neolith_history"):
            tx.execute(text(f"DROP TABLE {table}"))
        for table, columns in new.items():
            for column in columns:
                tx.execute(text(f"ALTER TABLE {table} DROP COLUMN {column}"))
        for name in indexes:
            tx.execute(text(f"DROP INDEX {name}"))
        tx.execute(text("UPDATE neolith_schema SET version = 3"))
    with world.context():
        with pytest.raises(SchemaMissing, match=r"neolith_audit, neolith_history.*are of version 3.*create-tables"):
            world.start("ada")
        made = world.neolith.create_tables()
        added = [f"{table}.{column}" for table, names in new.items() for column in names]
        assert set(made) == {"neolith_audit", "neolith_history", *added, *indexes, f"version {SCHEMA_VERSION}"}
        assert world.neolith.create_tables() == []
        (channel,) = world.neolith.chat.channels(world.ids["bob"])
        assert (channel["lastMessage"]["id"], channel["unread"]) == (message["id"], 1)
    world.start("ada")


def test_what_was_spent_is_added_up_by_day_and_model(world: World) -> None:
    """Days are those of UTC, the newest first; what has no price is counted apart, and what goes on not yet."""
    ledger = world.neolith.models.table("Ledger")
    who: dict[str, Any] = {
        "turn_id": 1,
        "epoch": 1,
        "orchestrator_id": int(world.ada),
        "organization_id": int(world.organization),
    }
    who |= {"requester_id": world.ids["ann"], "purpose": "answer", "state": "settled", "output_tokens": 1}
    calls = [
        (NOON - 43_200, "a", 0.5, {}),
        (NOON + 43_199, "a", None, {}),
        (NOON, "b", None, {}),
        (NOON, "b", 9.0, {"state": "reserved"}),
        (NOON - 43_201, "a", 0.25, {}),
        (NOON - 3 * 86_400, "a", 0.25, {}),
    ]
    with world.stores.database.write() as tx:
        for at, model, cost, more in calls:
            values = {**who, "at": at, "model": model, "cost": cost, "input_tokens": 10, **more}
            tx.execute(insert(ledger).values(cache_read_tokens=0, cache_write_tokens=0, **values))
    spending = world.stores.records.spending
    for scope, scope_id in ((Scope.ORCHESTRATOR, world.ada), (Scope.ORGANIZATION, world.organization)):
        with world.stores.database.read() as tx:
            found = spending.by_day(tx, scope, scope_id, NOON - 43_200 - 86_400)
        today = int(NOON // 86_400)
        shown = [(one["day"] - today, one["model"], one["calls"], one["unpriced"], one["cost"]) for one in found]
        assert shown == [(0, "a", 2, 1, 0.5), (0, "b", 1, 1, None), (-1, "a", 1, 0, 0.25)]
        assert [int(one["input_tokens"]) for one in found] == [20, 10, 10]
