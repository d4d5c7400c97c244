"""What hot statements cost must not grow with what has ended: SQLite finds their rows by the indexes made for them."""

from __future__ import annotations

import pytest
from sqlalchemy.dialects import sqlite

from flask_neolith_orchestrator.store.chat.bundled import BundledChat
from flask_neolith_orchestrator.store.records.figures import Span, Whose
from flask_neolith_orchestrator.store.sql.prepared import Prepared
from flask_neolith_orchestrator.store.tables.runs import DEAD

from .conftest import MakeWorld
from .world import World


def plan(world: World, statement: Prepared) -> list[str]:
    """The steps of SQLite's plan."""
    text = statement.sql(sqlite.dialect(), 1)
    with world.stores.database.read() as tx:
        rows = tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", tuple([1] * text.count("?")))
        return [row[3] for row in rows]


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """An app on a SQLite file."""
    return make_world()


def how(steps: list[str], table: str) -> str:
    """By which index the rows of a table that is looked at once are found."""
    (found,) = [step for step in steps if step.split()[1:2] == [table]]
    return found.partition(" USING ")[2].removeprefix("COVERING ").removeprefix("INDEX ")


def test_a_claim_looks_only_at_what_waits(world: World) -> None:
    """The oldest ready delivery is found in order, by the index of those that wait, whatever has been answered."""
    steps = plan(world, world.stores.claims._pick)
    assert how(steps, "neolith_delivery").startswith("ix_neolith_delivery_waiting")
    assert how(steps, "earlier") == "ix_neolith_delivery_conversation (conversation_id=? AND state=? AND id<?)"
    assert not any("TEMP B-TREE" in step for step in steps)


def test_the_members_of_a_turn_are_looked_up(world: World) -> None:
    """A long conversation's answered deliveries are not looked at again."""
    for statement in (world.stores.claims._members, world.stores.claims._mark):
        assert "(conversation_id=? AND state=?" in how(plan(world, statement), "neolith_delivery")


def test_the_sweep_looks_only_at_what_waits(world: World) -> None:
    """What is looked for each second costs nothing while nothing waits."""
    steps = plan(world, world.stores.leases._ready)
    waits = "SEARCH neolith_delivery USING INDEX ix_neolith_delivery_waiting"
    looks = [step for step in steps if "neolith_delivery" in step and "earlier" not in step]
    # the first who is asked, the next one, and then the oldest of each
    assert looks == [waits, f"{waits} (orchestrator_id>?)", f"{waits} (orchestrator_id=?)"]
    assert how(steps, "earlier") == "ix_neolith_delivery_conversation (conversation_id=? AND state=? AND id<?)"
    overdue = plan(world, world.stores.leases._overdue)
    assert overdue == ["SEARCH neolith_delivery USING INDEX ix_neolith_delivery_age (accepted_at<?)"]
    held = "EXPLAIN QUERY PLAN SELECT orchestrator_id FROM neolith_delivery WHERE state = 'waiting' AND held = ?"
    with world.stores.database.read() as tx:
        assert "ix_neolith_delivery_held (held=?)" in str(tx.exec_driver_sql(held, ("budget",)).all())
    assert how(plan(world, world.stores.leases._expired), "neolith_slot").startswith("ix_neolith_slot_held")


def test_accept_counts_only_what_waits(world: World) -> None:
    """The length of the queue is counted once, and a known message is found by its key."""
    steps = plan(world, world.stores.inbox._insert)
    assert [step for step in steps if "ix_neolith_delivery_waiting" in step] != []
    assert sum("neolith_delivery " in step for step in steps) == 1
    assert how(steps, "known").startswith("sqlite_autoindex_neolith_delivery_1")


def test_who_listens_is_found_by_what_is_said(world: World) -> None:
    """Neither many orchestrators, nor many that listen, nor a long thread is looked through for a message."""
    triggers = world.stores.triggers
    for bundled in (False, True):
        for statement in (triggers._main[bundled], triggers._thread[bundled]):
            steps = plan(world, statement)
            assert "SEARCH neolith_trigger USING INDEX ix_neolith_trigger_value (kind=? AND value=?)" in steps
            assert not any(step.startswith("SCAN neolith_") for step in steps), steps
    steps = plan(world, triggers._thread[True])
    assert how(steps, "neolith_conversation") == "ix_neolith_conversation_key (key=?)"
    for state in ("answered", "running", "waiting"):
        assert how(steps, state) == "ix_neolith_delivery_conversation (conversation_id=? AND state=?)"
    assert not any(step.startswith("SCAN neolith_") for step in plan(world, triggers._there))


def test_what_machines_ask_each_other_is_counted_by_an_index_of_its_own(world: World) -> None:
    """And what is to be told is found where it waits."""
    escalations = world.stores.escalations
    assert how(plan(world, escalations._untold), "neolith_escalation").startswith("ix_neolith_escalation_untold")
    assert "ix_neolith_delivery_ended" in how(plan(world, escalations._failed), "neolith_delivery")
    table = world.neolith.models.table("Delivery")
    with world.stores.database.read() as tx:
        told = tx.exec_driver_sql(
            f"EXPLAIN QUERY PLAN SELECT outcome, count(*) FROM {table.name} WHERE by_machine = 1 "
            "AND orchestrator_id = 1 AND author_id = '1' AND accepted_at > 1 GROUP BY outcome"
        ).all()
    assert "ix_neolith_delivery_machine" in told[0][3]


def test_a_threads_history_is_not_looked_for_in_its_channel(world: World) -> None:
    """A thread's newest lines are found by its root, however long the channel is."""
    chat = world.stores.chat
    assert isinstance(chat, BundledChat)
    steps = plan(world, chat._thread)
    assert [step for step in steps if "ix_neolith_message_line (channel_id=? AND parent_id=?)" in step] != []
    assert not any(step.endswith("ix_neolith_message_line (channel_id=?)") for step in steps)


def test_budgets_are_found_by_their_key(world: World) -> None:
    """What a call is paid from is found by its key; what is looked for every other second, by what is open."""
    stores = world.stores
    for statement in (stores.budgets._reserve, stores.budgets._settle, stores.budgets._tell):
        assert "(scope=? AND scope_id=? AND period=? AND starts_at=?)" in how(plan(world, statement), "neolith_budget")
    orphans = plan(world, Prepared(stores.ledger.find_orphans(0.0)))
    assert how(orphans, "neolith_ledger") == "ix_neolith_ledger_reserved"
    assert how(orphans, "neolith_turn").startswith("INTEGER PRIMARY KEY (rowid=?)")


def test_a_turns_session_is_looked_up(world: World) -> None:
    """A conversation's newest session is found by its index, and so are a place's sessions and a line's reactions."""
    steps = plan(world, world.stores.sessions._latest)
    assert how(steps, "neolith_session").startswith("ix_neolith_session_conversation (conversation_id=?")
    assert not any("TEMP B-TREE" in step for step in steps)
    with world.stores.database.read() as tx:
        look = "EXPLAIN QUERY PLAN UPDATE neolith_session SET revision = 1 WHERE channel_id = '1' AND thread_id = '2'"
        assert "ix_neolith_session_place" in str(tx.exec_driver_sql(look).all())
    chat = world.stores.chat
    assert isinstance(chat, BundledChat)
    assert not any(step.startswith("SCAN neolith_reaction") for step in plan(world, chat._main_line))


def test_what_waits_for_approval_is_found_by_indexes(world: World) -> None:
    """Neither the sweep nor a page of messages nor a claim looks through turns and calls that have ended."""
    due = plan(world, world.stores.parking._due)
    assert how(due, "neolith_step") == "ix_neolith_step_waiting (state=? AND expires_at<?)"
    assert not any(step.startswith("SCAN neolith_") for step in due), due
    shown = plan(world, world.stores.views._asked)
    assert not any(step.startswith("SCAN ") for step in shown), shown
    assert "(turn_id=?)" in how(plan(world, world.stores.claims._lying), "neolith_delivery")


def test_the_charters_in_force_are_found_however_many_versions_there_are(world: World) -> None:
    """A turn learns the versions with its orchestrator's row; their history is not looked through."""
    steps = plan(world, world.house.people._shown_one)
    by = [step.partition(" USING INDEX ")[2] for step in steps if "charter" in step]
    own, parent = "uq_neolith_charter_version_active", "uq_neolith_organization_charter_active"
    assert by == [f"{own} (orchestrator_id=?)", *[f"{parent} (organization_id=?)"] * 2]
    active = plan(world, world.house.charters.own.versions._active)
    assert how(active, "neolith_charter_version") == f"{own} (orchestrator_id=?)"


def test_what_people_look_at_is_found_by_its_index(world: World) -> None:
    """A span of figures, a page of deeds, of changes or of turns, and dead letters: none looks through a table."""
    records, span = world.stores.records, Span(0.0, 1.0, 1.0)
    for whose in (Whose(["1"]), Whose(organizations=["1"])):
        steps = plan(world, Prepared(records.figures.find_work(whose, span)))
        within = "ix_neolith_delivery_over (orchestrator_id=? AND ended_at>? AND ended_at<?)"
        assert [step for step in steps if within in step] != [], steps
        assert [step for step in steps if "neolith_turn USING INTEGER PRIMARY KEY (rowid=?)" in step] != [], steps
        spent = plan(world, Prepared(records.figures.find_spending(whose, span)))
        by = "ix_neolith_ledger_orchestrator (orchestrator_id=? AND at>? AND at<?)"
        assert [step for step in spent if by in step] != [], spent
    looks = {
        "neolith_audit WHERE organization_id = 1 AND id < 9 ORDER BY id DESC": "ix_neolith_audit_organization",
        "neolith_history WHERE orchestrator_id = 1 AND at > 1 ORDER BY id DESC": "ix_neolith_history_orchestrator",
        "neolith_turn WHERE orchestrator_id = 1 ORDER BY id DESC": "ix_neolith_turn_orchestrator_id",
        f"neolith_delivery WHERE orchestrator_id = 1 AND {DEAD} ORDER BY id DESC": "ix_neolith_delivery_dead",
        "neolith_message WHERE channel_id = 1 AND id > 5 ORDER BY id DESC": "ix_neolith_message_channel",
    }
    with world.stores.database.read() as tx:
        for rows, index in looks.items():
            steps = [row[3] for row in tx.exec_driver_sql(f"EXPLAIN QUERY PLAN SELECT * FROM {rows}").all()]
            assert index in steps[0], steps
            assert not any("TEMP B-TREE" in step for step in steps), steps
