"""The table of transitions, the function that applies it, and the rule that no other code changes a status."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import comflowy_nb
from comflowy_nb.status import TRANSITIONS, Status, StatusEvent, event_of, may_follow, next_status

PACKAGE = Path(comflowy_nb.__file__).parent

ALLOWED = {
    "submitting": "waiting pending running success failed rejected unknown cancelled",
    "waiting": "pending running success failed cancelled lost",
    "pending": "running success failed cancelled lost",
    "running": "success failed cancelled lost",
    "unknown": "waiting pending running success failed cancelled lost",
    "lost": "waiting pending running success failed cancelled",
}


def test_the_table_allows_exactly_the_documented_transitions():
    nexts = {status: {str(target) for (old, _), target in TRANSITIONS.items() if old is status} for status in Status}
    assert nexts == {status: set(ALLOWED.get(status, "").split()) for status in Status}


def test_a_run_that_is_being_submitted_is_cancelled_only_before_the_submit():
    assert next_status(Status.SUBMITTING, StatusEvent.DROPPED) is Status.CANCELLED
    assert next_status(Status.SUBMITTING, StatusEvent.CANCEL_CONFIRMED) is None


def test_an_event_of_a_status_leads_to_that_status():
    for (_, event), target in TRANSITIONS.items():
        if event.startswith("seen"):
            assert event_of(target) is event


def test_a_reader_may_miss_live_statuses_but_never_sees_one_go_back():
    live = [Status.SUBMITTING, Status.WAITING, Status.PENDING, Status.RUNNING]
    assert may_follow(Status.SUBMITTING, Status.LOST)
    for old in live:
        assert [new for new in live if may_follow(old, new)] == live[live.index(old) + 1 :]
    assert not [new for old in Status if old.is_final for new in Status if may_follow(old, new)]


def test_only_one_function_changes_a_status():
    """A status that another function assigned could go back, or differ between memory and history."""
    places, writers = [], set()
    for path in PACKAGE.rglob("*.py"):
        name = str(path.relative_to(PACKAGE))
        if name.startswith("sandbox/"):
            continue
        source = path.read_text()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "replace":
                places += [name for keyword in node.keywords if keyword.arg == "status"]
            elif isinstance(node, ast.Attribute) and node.attr == "status" and isinstance(node.ctx, ast.Store):
                # an HTTP response or a display, never a record: records are frozen
                assert ast.unparse(node.value) == "self", f"{name}: {ast.unparse(node)}"
        if re.search(r"UPDATE runs SET[^\"]*\bstatus\b|\bput_status\(", source):
            writers.add(name)
    assert sorted(places) == ["database/records.py", "tracking/run_events.py"]  # the latter is a copy for the display
    assert writers == {"database/rows.py", "database/runs.py"}  # the one definition, and `History` after `apply`
