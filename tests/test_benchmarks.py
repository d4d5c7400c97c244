"""The benchmarks measure what they say, and a figure that was taken while something went wrong is void."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import update

from benchmarks.__main__ import EXTRA, SUBJECTS, machine, measured
from benchmarks.app import World, copy_of, db, neolith
from benchmarks.backlog import Call, Log, Plan, bring_up, drain, filled, judge
from benchmarks.drain import floor_of, one_round, record
from benchmarks.fleet import Fleet
from benchmarks.fleet_app import COMPLAINTS, Lines
from benchmarks.rows import Faults, Row, markdown, table
from benchmarks.witness import SCHEDULER, listen_for_skipped_jobs, watch

SMALL = Plan(conversations=5, depth=3)
FINE = Row("a thing", "1 ms", "<= 2 ms", reached=True)


def test_a_drain_and_its_floor_do_the_same_work_and_nothing_goes_wrong() -> None:
    """Every question is answered in order by the product, and by its own statements through bare sqlite3."""
    with filled(SMALL) as made:
        took, faults = one_round(made, SMALL, 0.0)
        tape = record(made, SMALL)
        floor, floor_faults = floor_of(made, SMALL, tape)
    assert not (faults + floor_faults).any, (faults + floor_faults).details
    assert 0 < floor.processor < took.processor
    assert tape.count("COMMIT") >= SMALL.jobs  # at least one transaction for each turn


def test_a_floor_that_does_less_work_is_void() -> None:
    """A tape with statements missing does not answer everybody, and says so."""
    with filled(SMALL) as made:
        tape = record(made, SMALL)
        ends = [place for place, (text, _, _) in enumerate(tape.statements) if text == "COMMIT"]
        del tape.statements[ends[len(ends) // 2] + 1 :]
        _, faults = floor_of(made, SMALL, tape)
    assert replace(FINE, faults=faults).verdict == "VOID"


def test_violations_of_order_overlap_limit_and_rows_make_a_figure_void() -> None:
    """The judge finds each of the four in the log of a real drain, or in its rows, once it is planted there."""
    with filled(SMALL) as made, copy_of(made) as copy:
        bring_up(copy)
        _, log = drain(copy, SMALL, 0.0)
        assert not judge(copy, SMALL, log.calls).any
        planted = {
            "was asked in the order": _swapped(log),
            "overlap": _at_once(log),
            "turns at once": _at_once(log),
        }
        for words, calls in planted.items():
            faults = judge(copy, SMALL, calls)
            assert any(words in one for one in faults.details), words
            assert replace(FINE, faults=faults).verdict == "VOID"
        with copy.app.app_context():
            db.session.execute(update(neolith.models.Delivery).values(state="failed"))
            db.session.commit()
        assert judge(copy, SMALL, log.calls).violations


def _swapped(log: Log) -> list[Call]:
    """Two neighbours of a conversation in the wrong order."""
    first, second = [call for call in log.calls if call.conversation == 0][:2]
    return [
        *(call for call in log.calls if call not in (first, second)),
        replace(first, number=second.number),
        replace(second, number=first.number),
    ]


def _at_once(log: Log) -> list[Call]:
    """Every call goes on until the end of time, and all are the first orchestrator's."""
    return [replace(call, orchestrator=0, ended=1e9) for call in log.calls]


def test_warnings_dead_threads_and_skipped_renewals_make_a_figure_void() -> None:
    """Whatever is logged as a warning, and a renewal that the scheduler leaves out, stands beside the figure."""
    listen_for_skipped_jobs()
    with watch() as witness:
        assert not witness.faults.any
        skipped = "Execution of job %s skipped: maximum number of running instances reached (1)"
        logging.getLogger(SCHEDULER).warning(skipped, "renew (trigger: interval)")
        logging.getLogger(SCHEDULER).warning(skipped, "sweep (trigger: interval)")
        logging.getLogger("flask_neolith_orchestrator").error("An answer could not be written yet")
        thread = threading.Thread(target=_die, name="unlucky")
        thread.start()
        thread.join()
    assert (witness.faults.errors, witness.faults.skipped_renewals) == (2, 1)
    assert "unlucky died" in witness.faults.details[1]
    assert replace(FINE, faults=witness.faults).verdict == "VOID"


def _die() -> None:
    raise ValueError("as planted")


def test_the_table_shows_what_went_wrong_beside_each_figure() -> None:
    """A missed aim is called missed, a void figure VOID with its reasons, and rows travel between processes."""
    void = replace(FINE, what="another", faults=Faults(1, 2, 3, ("two calls overlap",)))
    rows = [FINE, replace(FINE, what="a third", reached=False), void]
    assert [Row.from_json(row.to_json()) for row in rows] == rows
    for shown in (table(rows), markdown(rows)):
        assert "1 / 2 / 3" in shown
        assert "two calls overlap" in shown
        assert [word for word in shown.replace("|", " ").split() if word in ("reached", "missed", "VOID")] == [
            "reached",
            "missed",
            "VOID",
        ]


def test_a_subject_is_measured_in_a_process_of_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    """The command line's way from a name to rows, for the cheapest subject; one that fails is void."""
    rows = measured("organization", quick=True)
    assert [row.faults for row in rows] == [Faults(), Faults()], capfd.readouterr().err
    assert all("ms" in row.figure for row in rows)
    assert [row.verdict for row in measured("no such subject", quick=True)] == ["VOID"]
    assert "cores" in machine()


def test_what_workers_complain_of_makes_a_figure_void(tmp_path: Path) -> None:
    """Warnings and skipped renewals of other processes count, but for what they are to say."""
    lines = Lines(tmp_path / COMPLAINTS)
    lines.add("ours", "A turn was taken over")
    lines.add("scheduler", "renew skipped: maximum number")
    lines.add("ours", "An answer could not be written yet")
    fleet = Fleet(World(Flask("x"), tmp_path, "1", "2", "3", (), ()), tmp_path, {})
    assert fleet.faults("taken over") == Faults(
        0, 1, 1, ("ours: An answer could not be written yet", "scheduler: renew skipped: maximum number")
    )
    assert fleet.faults().errors == 2


def test_every_subject_can_be_imported() -> None:
    """A name on the command line has a function behind it."""
    for where in (SUBJECTS | EXTRA).values():
        module, function = where.split(".")
        assert callable(getattr(import_module(f"benchmarks.{module}"), function))
