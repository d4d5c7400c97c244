"""What is done is forgotten by age, in small batches, and nothing that was answered is ever answered again for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from flask_neolith_orchestrator.core.cancel import StopReason
from flask_neolith_orchestrator.core.errors import SchemaMissing
from flask_neolith_orchestrator.core.types import DeliveryState, IncomingMessage, Place
from flask_neolith_orchestrator.runtime.upkeep import caretaker as caretaking
from flask_neolith_orchestrator.runtime.upkeep.caretaker import Caretaker
from flask_neolith_orchestrator.store.inbox.inbox import Arrival, conversation_key
from flask_neolith_orchestrator.store.records import retention as keeping
from flask_neolith_orchestrator.store.records.retention import BATCH, Retention
from flask_neolith_orchestrator.store.tables.models import SCHEMA_VERSION
from flask_neolith_orchestrator.store.turns.endings import Fate, Outcome
from flask_neolith_orchestrator.store.turns.turns import Stopped, Target
from flask_neolith_orchestrator.testing import ManualClock

from .conftest import Databases, MakeWorld
from .stage import PATIENCE, Door
from .test_inbox import ANSWER, Desk
from .web_site import make_site
from .world import World, until

DAY = 86_400.0
KEEP = 30 * DAY
KEEP_FAILED = 90 * DAY
FAILED = Outcome(Fate.FAILED, text="Sorry.", error_kind="model-rejected")


@pytest.fixture
def clock() -> ManualClock:
    """Stands still until told."""
    return ManualClock()


@pytest.fixture
def desk(make_world: MakeWorld, databases: Databases, clock: ManualClock) -> Desk:
    """A wanted orchestrator with two slots; nothing runs but what the test does."""
    made = Desk(make_world(on=databases, clock=clock), clock)
    made.want()
    return made


@pytest.fixture
def other(make_world: MakeWorld, desk: Desk) -> Desk:
    """A second process on the same database."""
    return Desk(make_world(like=desk.world, clock=desk.clock), desk.clock)


def answer(desk: Desk, **more: Any) -> Any:
    """Accept something, answer it at once, and show its row."""
    accepted = desk.accept(**more)
    claim = desk.take()
    desk.settle(claim)
    return desk.row(accepted)


def later(desk: Desk, seconds: float) -> None:
    """Let time pass, and the job run."""
    desk.clock.advance(seconds)
    desk.world.house.caretaker.run()


def keys(world: World, *names: str) -> list[set[int]]:
    """The keys of what is there."""
    return [{row["id"] for row in world.rows(name)} for name in names or ("Delivery", "Turn", "Conversation")]


def fill(world: World, count: int, *, state: str = "answered", ago: float = 0.0, letters: bool = False) -> None:
    """Write so many answered questions, each with its turn in a conversation of its own, as they are after `ago`."""
    models, at = world.neolith.models, world.stores.database.clock.wall() - ago
    numbers = range(count)
    with world.stores.database.write() as tx:
        first = {name: (max(keys(world, name)[0], default=0) + 1) for name in ("Conversation", "Turn", "Delivery")}
        base = first["Conversation"]
        for name, make in (("Conversation", _conversation), ("Turn", _turn), ("Delivery", _delivery)):
            rows = []
            for n in numbers:
                row = {**make(base + n, at), "orchestrator_id": int(world.ada), "id": first[name] + n}
                rows.append(row | ({"state": state, "turn_id": first["Turn"] + n} if name == "Delivery" else {}))
            tx.execute(models.table(name).insert(), rows)
        tx.execute(models.table("Session").insert(), [_session(world, base + n, at) for n in numbers])
        if letters:
            tx.execute(models.table("Outbox").insert(), [_letter(world, f"{base}-{n}", at) for n in numbers])
        if tx.dialect.name == "postgresql":  # its sequences do not know of keys that were given
            for name in (*first, "Outbox"):
                table = models.table(name).name
                tx.execute(text(f"SELECT setval('{table}_id_seq', (SELECT coalesce(max(id), 1) FROM {table}))"))


def _conversation(number: int, _at: float) -> dict[str, Any]:
    return {"key": f"9/{number}", "channel_id": "9", "is_dm": False, "epoch": 1}


def _session(world: World, number: int, at: float) -> dict[str, Any]:
    times = {"started_at": at, "last_at": at}
    return {"conversation_id": number, "orchestrator_id": int(world.ada), "channel_id": "9", **times}


def _turn(number: int, at: float) -> dict[str, Any]:
    ended = {"state": "done", "epoch": 1, "started_at": at, "ended_at": at}
    return {"conversation_id": number, "requester_id": "1", **ended}


def _delivery(number: int, at: float) -> dict[str, Any]:
    times = {"ready_at": at, "accepted_at": at, "ended_at": at}
    return {"conversation_id": number, "dedupe_key": f"filled:{number}", "author_id": "1", **times}


def _letter(world: World, reply: str, at: float) -> dict[str, Any]:
    row = {"reply_id": reply, "channel_id": "9", "content": "x", "created_at": at, "sent_at": at}
    return {"orchestrator_id": int(world.ada), "state": "final", "claimed_until": 0.0, **row}


@contextmanager
def statements(world: World) -> Iterator[list[tuple[str, Any]]]:
    """What is executed meanwhile, with its parameters."""
    heard: list[tuple[str, Any]] = []

    def on_execute(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        heard.append((statement, parameters))

    engine: Any = world.stores.database._engine  # type: ignore[attr-defined]  # both kinds have one
    event.listen(engine, "before_cursor_execute", on_execute)
    yield heard
    event.remove(engine, "before_cursor_execute", on_execute)


def test_what_has_ended_goes_by_its_age(desk: Desk) -> None:
    """Answered, cancelled and refused ones go after their time, failed and expired ones after a longer one."""
    for state in ("answered", "cancelled", "refused", "failed", "expired"):
        fill(desk.world, 1, state=state)
    waiting = desk.row(desk.accept())["id"]
    newest = answer(desk, who="bob")["id"]
    later(desk, KEEP - 1)
    assert len(desk.world.rows("Delivery")) == 7
    later(desk, 2)
    assert [row["state"] for row in desk.world.rows("Delivery")[:2]] == ["failed", "expired"]
    assert keys(desk.world, "Delivery")[0] >= {waiting, newest}
    later(desk, KEEP_FAILED - KEEP)
    assert keys(desk.world, "Delivery")[0] == {waiting, newest}


def test_turns_and_conversations_go_with_their_work(desk: Desk) -> None:
    """A turn goes with the last of its deliveries, a conversation with the last of its work; messages stay."""
    first = answer(desk)
    second = answer(desk)
    later(desk, DAY)
    last = answer(desk, thread=first["message_id"])
    messages = len(desk.world.rows("Message"))
    later(desk, KEEP - DAY + 1)
    deliveries, turns, conversations = keys(desk.world)
    assert (deliveries, turns) == ({last["id"]}, {last["turn_id"]})
    # the first conversation has later work in it; the second is the newest, which stays
    assert conversations == {first["conversation_id"], second["conversation_id"]}
    answer(desk)
    later(desk, KEEP + 1)
    assert second["conversation_id"] not in keys(desk.world)[2]
    assert first["conversation_id"] not in keys(desk.world)[2]
    assert len(desk.world.rows("Message")) == messages + 2


def test_a_turn_stays_while_one_of_its_questions_can_be_tried_again(desk: Desk) -> None:
    """A failed delivery keeps its turn, and the retry after weeks writes into the same answer."""
    failed = desk.accept()
    beside = desk.accept(thread=desk.row(failed)["message_id"])
    claim = desk.take()
    assert len(claim.deliveries) == 2
    desk.settle(claim, FAILED)
    with desk.database.write() as tx:
        tx.execute(text(f"UPDATE neolith_delivery SET state = 'cancelled' WHERE id = {beside.delivery_id}"))
    answer(desk)
    later(desk, KEEP + 1)
    assert int(beside.delivery_id) not in keys(desk.world, "Delivery")[0]
    with desk.database.write() as tx:
        assert desk.stores.turns.retry(tx, failed.delivery_id)
    again = desk.take()
    assert (again.turn_id, again.reply_id) == (claim.turn_id, claim.reply_id)


def test_counts_do_not_change(desk: Desk) -> None:
    """What a daemon has done counts for ever, whatever is left of it."""
    for _ in range(3):
        answer(desk)
    desk.accept()
    desk.settle(desk.take(), FAILED)
    before = desk.world.rows("Slot")
    later(desk, KEEP_FAILED + 1)
    assert len(desk.world.rows("Delivery")) == 1
    assert desk.world.rows("Slot") == before
    assert (sum(row["answered"] for row in before), sum(row["failed"] for row in before)) == (3, 1)


def test_twice_within_the_time_is_once(desk: Desk, other: Desk) -> None:
    """The same message again, in another process, up to the last moment and after many looks: no work."""
    first = answer(desk, key="k")
    answer(desk)
    for _ in range(10):
        later(desk, KEEP / 10 - 1)
        found = other.accept(key="k")
        assert (found.fresh, found.delivery_id) == (False, str(first["id"]))
    assert desk.claim() is None
    later(desk, 11)
    assert other.accept(key="k").fresh  # what is promised ends here, and says so in docs/concepts.md


def test_an_edit_of_an_old_message_wakes_nobody(
    make_world: MakeWorld, databases: Databases, clock: ManualClock
) -> None:
    """Who answered it may be forgotten by then: a mention added to an old direct message is no second question."""
    world = make_world(on=databases, clock=clock)
    world.start("ada")
    with world.context():
        dm = world.neolith.chat.open_dm(world.ids["ann"], [world.ids["ada"]])["id"]
        world.db.session.commit()
    posted = [world.post("ann", text, channel=dm)["id"] for text in ("hello", "and you?", "really?")]
    world.rest()
    calls = len(world.model.scenes)

    def edit(number: int) -> None:
        with world.context():
            world.neolith.chat.edit(world.ids["ann"], posted[number], "@ada hello")
            world.db.session.commit()

    edit(0)
    clock.advance(KEEP + 1)
    world.house.caretaker.run()
    edit(1)
    world.rest()
    assert len(world.model.scenes) == calls
    assert "waiting" not in world.deliveries()


def test_an_old_claim_finds_nothing_to_write(desk: Desk, other: Desk) -> None:
    """A process that slept through it all writes nothing, even where its place began anew: no key came again."""
    thread = desk.say()
    question = desk.accept(thread=thread)
    old = desk.take()
    before = keys(desk.world)
    desk.lose(old)
    other.settle(other.take())
    assert other.row(question)["state"] == "answered"
    answer(other)
    later(other, KEEP + 1)
    answer(other)
    later(other, KEEP + 1)
    assert all(not now & then for now, then in zip(keys(desk.world), before, strict=True))
    other.accept(thread=thread)
    now = other.take()
    assert desk.settle(old, ANSWER) is None
    assert not desk.stores.turns.checkpoint(old, "late", 9)
    assert (now.conversation_id, now.turn_id) != (old.conversation_id, old.turn_id)
    assert other.settle(now) is not None


def test_no_key_comes_again_when_all_is_forgotten(desk: Desk) -> None:
    """The newest delivery, turn, conversation and letter stay, whatever they are."""
    fill(desk.world, 5, letters=True)
    with desk.database.write() as tx:
        tx.execute(text("UPDATE neolith_delivery SET state = 'refused', turn_id = NULL WHERE id = 5"))
    before = keys(desk.world, "Delivery", "Turn", "Conversation", "Outbox")
    later(desk, 10 * KEEP)
    assert keys(desk.world, "Delivery", "Turn", "Conversation", "Outbox") == [{max(one)} for one in before]
    found = answer(desk)
    assert found["id"] > max(before[0])
    assert found["turn_id"] > max(before[1])
    assert found["conversation_id"] > max(before[2])


def test_a_batch_is_small(desk: Desk) -> None:
    """No transaction takes more than a batch, and others can write between two of them."""
    fill(desk.world, 2 * BATCH + 203, ago=KEEP + 1)
    retention, sizes = desk.stores.retention, []

    def some() -> int:
        sizes.append(retention.deliveries(DeliveryState.ANSWERED, KEEP))
        desk.accept()  # would wait for ever inside
        return sizes[-1]

    until(lambda: not some(), "the end")
    assert sizes == [BATCH, BATCH, 202, 0]  # the one of the newest turn stays
    assert len(desk.world.rows("Turn")) == 1


def test_a_run_ends_with_the_process(desk: Desk) -> None:
    """Whoever closes waits for one batch at the most, not for all that is old."""
    fill(desk.world, 3 * BATCH, ago=KEEP + 1)
    caretaker = desk.world.house.caretaker
    batches = []

    def closing() -> Any:
        batches.append(1)
        caretaker.close()

    with heard_deletes(desk.world, closing):
        caretaker.run()
    assert len(batches) == 1
    assert len(desk.world.rows("Delivery")) == 2 * BATCH


@contextmanager
def heard_deletes(world: World, act: Callable[[], Any]) -> Iterator[None]:
    """Do something at each deletion of deliveries."""
    engine: Any = world.stores.database._engine  # type: ignore[attr-defined]  # both kinds have one

    def on_execute(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("DELETE FROM neolith_delivery"):
            act()

    event.listen(engine, "before_cursor_execute", on_execute)
    yield
    event.remove(engine, "before_cursor_execute", on_execute)


def test_two_processes_at_once(desk: Desk, other: Desk) -> None:
    """Two that forget the same rows at the same instant harm nobody, and each row is counted once."""
    fill(desk.world, 4 * BATCH + 1, ago=KEEP + 1)
    together = threading.Barrier(2)

    def forget(retention: Retention) -> int:
        together.wait(PATIENCE)
        total = 0
        while count := retention.deliveries(DeliveryState.ANSWERED, KEEP):
            total += count
        retention.conversations(0)
        return total

    with ThreadPoolExecutor(2) as pool:
        counts = list(pool.map(forget, [desk.stores.retention, other.stores.retention]))
    # on Postgres one may find a whole batch in the other's hands, and take that for the end
    left = desk.stores.retention.deliveries(DeliveryState.ANSWERED, KEEP)
    assert sum(counts) + left == 4 * BATCH
    assert len(desk.world.rows("Delivery")) == len(desk.world.rows("Turn")) == 1


class Slow(Retention):
    """Waits before its commit."""

    door: Door
    there: threading.Event

    def _forget_turns(self, tx: Connection, turn_ids: list[int]) -> None:
        super()._forget_turns(tx, turn_ids)
        self.there.set()
        self.door.wait()


@pytest.mark.postgres
def test_two_processes_at_one_turn(make_world: MakeWorld, on_postgres: Databases, clock: ManualClock) -> None:
    """Each forgets another delivery of one turn, neither sees the other's: the turn goes all the same."""
    desk = Desk(make_world(on=on_postgres, clock=clock), clock)
    fill(desk.world, 2, ago=KEEP + 1)
    turn = desk.world.rows("Turn")[0]["id"]
    with desk.database.write() as tx:
        tx.execute(text("UPDATE neolith_delivery SET conversation_id = 1, turn_id = 1"))
        tx.execute(text("UPDATE neolith_delivery SET state = 'cancelled' WHERE id = 1"))
    fill(desk.world, 1)
    slow = Slow(desk.world.neolith.models, desk.database)
    slow.door, slow.there = Door(), threading.Event()
    waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"

    def waiting() -> bool:
        with desk.database.read() as tx:
            return tx.execute(text(waits)).first() is not None

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(slow.deliveries, DeliveryState.CANCELLED, KEEP)
        assert slow.there.wait(PATIENCE)
        two = pool.submit(desk.stores.retention.deliveries, DeliveryState.ANSWERED, KEEP)
        try:
            until(waiting, "the second waits for the turn")
        finally:
            slow.door.open()
        assert (one.result(PATIENCE), two.result(PATIENCE)) == (1, 1)
    assert turn not in keys(desk.world, "Turn")[0]


@pytest.mark.postgres
def test_nobody_is_forgotten_whom_somebody_just_begins_to_use(
    make_world: MakeWorld, on_postgres: Databases, clock: ManualClock
) -> None:
    """While a host's transaction has accepted something, no conversation goes: it may be the one; and nobody waits."""
    desk = Desk(make_world(on=on_postgres, clock=clock), clock)
    desk.want()
    thread = desk.say()
    question = answer(desk, thread=thread)
    answer(desk)
    answer(desk)
    retention = desk.stores.retention
    clock.advance(KEEP + 1)
    assert retention.deliveries(DeliveryState.ANSWERED, KEEP) == 2
    arrival = Arrival(desk.world.ada, Place(desk.world.general, thread), "new", desk.world.ids["ann"], "mention")
    with desk.world.context():
        session = desk.world.db.session
        place = {"b_key": conversation_key(arrival.place), "b_channel": desk.world.general, "b_thread": thread}
        # the first half of accept: the conversation is there, so nothing is written and no row is locked
        desk.stores.inbox._open.run(session.connection(), b_orchestrator=int(desk.world.ada), b_dm=False, **place)
        assert retention.conversations(0) == keeping.Walk(0, 0, kept_out=True)
        (accepted,) = desk.stores.inbox.accept(session(), [arrival])
        assert retention.conversations(0) == keeping.Walk(0, 0, kept_out=True)
        session.commit()
    assert retention.conversations(0).forgotten == 1
    row = desk.row(accepted.delivery_id)
    assert row["conversation_id"] == question["conversation_id"]
    assert row["conversation_id"] in keys(desk.world)[2]
    assert desk.claim() is not None


def test_all_conversations_are_walked_over(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page by page, run by run, from the beginning again at the end: the empty ones between the others all go."""
    monkeypatch.setattr(keeping, "BATCH", 4)
    fill(desk.world, 23)
    with desk.database.write() as tx:
        tx.execute(text("DELETE FROM neolith_delivery WHERE id % 3 > 0"))
        tx.execute(text("DELETE FROM neolith_turn WHERE id % 3 > 0"))
    after, pages = 0, 0
    while pages == 0 or after:
        step = desk.stores.retention.conversations(after)
        after, pages = step.after or 0, pages + 1
    assert pages == 8
    assert keys(desk.world, "Conversation")[0] == {3, 6, 9, 12, 15, 18, 21, 23}


def test_a_run_goes_on_where_the_last_one_stopped(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many conversations there are, all of them are looked at in turn."""
    monkeypatch.setattr(keeping, "BATCH", 4)
    monkeypatch.setattr(caretaking, "PAGES", 1)
    fill(desk.world, 23)
    with desk.database.write() as tx:
        tx.execute(text("DELETE FROM neolith_delivery WHERE id % 3 > 0"))
        tx.execute(text("DELETE FROM neolith_turn WHERE id % 3 > 0"))
    for _ in range(8):
        desk.world.house.caretaker.run()
    assert keys(desk.world, "Conversation")[0] == {3, 6, 9, 12, 15, 18, 21, 23}


BY_AGE = ("ix_neolith_delivery_ended", "ix_neolith_outbox_sent_at")


def test_every_look_goes_by_an_index(desk: Desk) -> None:
    """Among many rows, no statement of a run reads a whole table."""
    fill(desk.world, 700, ago=KEEP + 1, letters=True)
    fill(desk.world, 300, letters=True)
    with statements(desk.world) as heard:
        desk.world.house.caretaker.run()
    assert len(desk.world.rows("Delivery")) == 300
    sql = [one for one in heard if "neolith_" in one[0] and not one[0].startswith("LOCK")]
    assert len(sql) > 15
    explain, whole = ("EXPLAIN QUERY PLAN ", "SCAN neolith_")
    with desk.database.write() as tx:
        if tx.dialect.name == "postgresql":
            explain, whole = "EXPLAIN ", "Seq Scan on neolith_"
            tx.execute(text("ANALYZE"))
            tx.execute(text("SET LOCAL enable_seqscan = off"))  # these tables are small: is there another way at all?
        used = set()
        for statement, parameters in sql:
            plan = [str(row) for row in tx.exec_driver_sql(explain + statement, parameters)]
            assert [line for line in plan if whole in line] == [], statement
            if statement.startswith("SELECT"):
                used |= {name for name in BY_AGE if name in "".join(plan)}
    # a search by the primary key alone would be a walk over all that is not the newest
    assert used == set(BY_AGE)


def test_a_year_stays_bounded(desk: Desk) -> None:
    """Fortnight by fortnight for a year: never more rows than the time they are kept for, whatever has gone by."""
    most: dict[str, int] = {}
    names = ("Delivery", "Turn", "Conversation", "Outbox")
    for _ in range(26):
        fill(desk.world, 40, letters=True)
        fill(desk.world, 1, state="failed")
        later(desk, 14 * DAY)
        for name in names:
            most[name] = max(most.get(name, 0), len(desk.world.rows(name)))
    kept = 2 * 40  # of the last four weeks
    assert most["Outbox"] <= kept + 1
    for name in ("Delivery", "Turn", "Conversation"):
        assert most[name] <= kept + 6 + 1, name  # and failed ones of twelve weeks
    assert max(keys(desk.world, "Delivery")[0]) == 26 * 41


def test_a_host_with_a_chat_of_its_own(make_world: MakeWorld, databases: Databases, clock: ManualClock) -> None:
    """Letters go once they were told and are old; the copies of the host's messages are the history and stay."""
    world = make_world(on=databases, clock=clock)
    told = []

    def host_message(number: int) -> IncomingMessage:
        return IncomingMessage(
            id=f"host-{number}",
            timestamp=clock.wall(),
            content="@ada hello",
            channel_id="room-9",
            author_id=world.ids["ann"],
        )

    with world.context():
        world.neolith.manager.on("daemon:message-send", lambda response, **_: told.append(response))
        world.start()
        daemon = world.neolith.get_orchestrator(world.ids["ada"])
        assert daemon is not None
        for number in (1, 2, 3):
            assert daemon.handle_message(host_message(number))
            until(lambda: len([row for row in world.rows("Outbox") if row["sent_at"]]) == number, "told")  # noqa: B023 -- called here
        with world.stores.database.write() as tx:
            tx.execute(text("UPDATE neolith_outbox SET sent_at = NULL, claimed_until = 9e9 WHERE id = 1"))
        messages = len(world.rows("Message"))
        clock.advance(KEEP - 1)
        world.house.caretaker.run()
        assert daemon.handle_message(host_message(2)).reason == "duplicate"
        clock.advance(2)
        world.house.caretaker.run()
        assert [(row["id"], row["sent_at"] is None) for row in world.rows("Outbox")] == [(1, True), (3, False)]
        assert len(world.rows("Message")) == messages
        assert (len(told), len(world.model.scenes)) == (3, 3)


def test_people_ask_about_what_is_forgotten(tmp_path: Path) -> None:
    """GET turns/<id> is 404, the list leaves it out, Stop says that it is over; the answer itself is still there."""
    site = make_site(tmp_path)
    try:
        with site.app.app_context():
            neolith, db, house = site.neolith, site.db, site.state.house
            world = World(site.app, db, neolith, object, house.channel, house.model_for, site.ids)
            world.orchestrators["ada"], world.general = site.ids["ada-orchestrator"], site.ids["general"]
            desk = Desk(world, ManualClock())  # that one is not asked
            desk.want()
            old, _newest = answer(desk), answer(desk)
        ann = site.as_("ann")
        assert ann.get(f"turns/{old['turn_id']}")["deliveries"][0]["id"] == str(old["id"])
        with house.database.write() as tx:
            tx.execute(text(f"UPDATE neolith_delivery SET ended_at = ended_at - {KEEP}"))
        house.caretaker.run()
        assert ann.call("GET", f"turns/{old['turn_id']}").status_code == 404
        assert str(old["id"]) not in [one["id"] for one in ann.get("deliveries")["items"]]
        assert ann.call("POST", f"deliveries/{old['id']}/retry").status_code == 404
        assert ann.call("POST", f"messages/{old['message_id']}/stop").json["state"] == "over"
        thread = ann.get(f"channels/{world.general}/messages?threadId={old['message_id']}")["items"]
        assert [one["content"] for one in thread] == ["hello", ANSWER.text]
    finally:
        site.close()


def test_stop_of_what_has_just_been_forgotten(desk: Desk) -> None:
    """Who had looked before and presses after is told that it is over."""
    old = answer(desk)
    answer(desk)
    target = Target(desk.world.ada, desk.world.ids["ann"], old["turn_id"], (old["id"],))
    later(desk, KEEP + 1)
    with desk.database.write() as tx:
        assert desk.stores.turns.stop(tx, target, StopReason.PERSON).found is Stopped.OVER


def test_ended_logins_go_in_small_batches(desk: Desk) -> None:
    """A crowd of ended logins is not forgotten in one long transaction."""
    logins = desk.stores.logins
    with desk.database.write() as tx:
        for number in range(5):
            logins.record(tx, f"token-{number}", desk.world.ada)
            logins.end(tx, f"token-{number}", "logout")
    desk.clock.advance(100)
    for left in (3, 1, 0):
        with desk.database.write() as tx:
            logins.prune(tx, 50, limit=2)
        assert len(desk.world.rows("Login")) == left


def test_zero_is_for_ever(make_world: MakeWorld, clock: ManualClock) -> None:
    """0 keeps failed ones, or everything."""
    for key, left in (("NEOLITH_KEEP_FAILED", 3), ("NEOLITH_KEEP_DELIVERIES", 4)):
        config: Any = {key: 0}
        desk = Desk(make_world(clock=clock, **config), clock)
        fill(desk.world, 2, state="failed")
        fill(desk.world, 2)
        later(desk, 1_000 * DAY)
        assert len(desk.world.rows("Delivery")) == left


def test_failed_ones_are_never_kept_shorter(make_world: MakeWorld, clock: ManualClock) -> None:
    """A short NEOLITH_KEEP_FAILED does not undercut NEOLITH_KEEP_DELIVERIES."""
    desk = Desk(make_world(clock=clock, NEOLITH_KEEP_FAILED=1_000), clock)
    fill(desk.world, 2, state="failed")
    later(desk, KEEP - 1)
    assert len(desk.world.rows("Delivery")) == 2
    later(desk, 2)
    assert len(desk.world.rows("Delivery")) == 1


def test_tables_of_the_release_before(make_world: MakeWorld) -> None:
    """A database without the new indexes is named with the commands that mend it, and create-tables mends it."""
    world = make_world()
    new = ["ix_neolith_delivery_conversation", "ix_neolith_delivery_ended"]
    with world.stores.database.write() as tx:
        for name in new:
            tx.execute(text(f"DROP INDEX {name}"))
        tx.execute(text("UPDATE neolith_schema SET version = 1"))
    with world.context():
        with pytest.raises(SchemaMissing, match="flask neolith create-tables"):
            world.start("ada")
        assert world.neolith.create_tables() == [*new, f"version {SCHEMA_VERSION}"]
        world.start("ada")


def test_a_broken_batch_is_seen(desk: Desk) -> None:
    """A run that cannot write raises, so that the scheduler and health tell of it; the next one goes on."""
    fill(desk.world, 3, ago=KEEP + 1)

    def broken() -> None:
        raise ValueError("broken")

    caretaker: Caretaker = desk.world.house.caretaker
    with heard_deletes(desk.world, broken), pytest.raises(ValueError, match="broken"):
        caretaker.run()
    assert len(desk.world.rows("Delivery")) == 3
    caretaker.run()
    assert len(desk.world.rows("Delivery")) == 1


def test_a_session_goes_with_its_conversation_unless_it_was_closed(desk: Desk) -> None:
    """A conversation in which something was closed stays: else what was said before would be read again."""
    fill(desk.world, 4)
    with desk.database.write() as tx:
        tx.execute(text("DELETE FROM neolith_delivery"))
        tx.execute(text("DELETE FROM neolith_turn"))
        tx.execute(text("UPDATE neolith_session SET state = 'closed' WHERE conversation_id = 2"))
        tx.execute(text("UPDATE neolith_session SET since = 5 WHERE conversation_id = 3"))
    assert desk.stores.retention.conversations(0).forgotten == 1
    assert keys(desk.world, "Conversation")[0] == {2, 3, 4}
    assert {row["conversation_id"] for row in desk.world.rows("Session")} == {2, 3, 4}
