"""Imported runs and sweeps are shown, but never submitted, tracked or reused."""

from __future__ import annotations

import time

import pytest
from history_fixtures import advance_to

from comflowy_nb import connect
from comflowy_nb.database.records import ImageRecord
from comflowy_nb.database.runs import History
from comflowy_nb.errors import RefError
from comflowy_nb.status import Status, StatusEvent


def imported(history, token, table="runs"):
    """Set the column `imported`, as the loader does."""
    with history._store.write() as connection:
        connection.execute(f"UPDATE {table} SET imported = 'bottles.zip' WHERE token = ?", (token,))
    return token


@pytest.fixture
def record(history, run_request):
    """Return a function that records an imported run with a status; it returns the record."""

    def make(status=Status.SUCCESS, key="k", **changes):
        token = history.record_or_reuse(run_request(key)).record.token
        advance_to(history, token, status, **changes)
        return history.get(imported(history, token))

    return make


def test_an_imported_success_is_not_reused_for_a_request(history, run_request, record):
    assert record().imported == "bottles.zip"
    decision = history.record_or_reuse(run_request())
    assert decision.kind == "new"
    assert decision.record.imported is None
    assert history.sweeps.peek(["k"])["k"].record.token == decision.record.token


def test_an_imported_run_without_a_known_result_holds_no_request(history, run_request, record):
    record(Status.UNKNOWN)
    assert history.record_or_reuse(run_request()).kind == "new"


def test_an_imported_run_is_never_adopted(home, history, start, run_request):
    process = start("say(history.record_or_reuse(run_request('k')).record.token); die()")
    token = process.stdout.readline().strip()
    process.wait(timeout=60)
    imported(history, token)
    assert history.orphans() == []
    assert history.adopt(token, run_request().owner) is None
    assert history.record_or_reuse(run_request("other")).kind == "new"  # holds unanswered submits
    assert history.get(token).status is Status.SUBMITTING
    reopened = History.open(home)
    assert reopened.orphans() == []
    reopened.close()


def test_an_imported_run_is_settled_and_no_event_changes_it(history, record):
    live = record(Status.RUNNING)
    assert live.is_settled
    assert history.apply(live.token, StatusEvent.SEEN_SUCCESS) is None
    assert history.get(live.token).status is Status.RUNNING
    assert record(key="k2", images=[ImageRecord(0, "9", 0)]).is_settled


def test_the_execution_time_of_an_imported_run_is_not_used(history, run_request, record):
    record()
    assert history.successes_of("sandbox", "default", limit=9) == []
    own = history.record_or_reuse(run_request()).record
    advance_to(history, own.token, Status.SUCCESS)
    assert [run.token for run in history.successes_of("sandbox", "default", limit=9)] == [own.token]


def test_an_imported_sweep_is_not_continued_and_not_listed_as_unfinished(history, sweep_request, cells):
    first = history.sweeps.record_or_update(sweep_request(), cells(2))
    assert [one.record.token for one in history.sweeps.unfinished(since=0, limit=9)] == [first.token]
    imported(history, first.token, "sweeps")
    assert history.sweeps.get(first.token).imported == "bottles.zip"
    assert history.sweeps.unfinished(since=0, limit=9) == []
    assert history.sweeps.find_same("sandbox", "sk", fresh=False) is None
    assert history.sweeps.record_or_update(sweep_request(), cells(2)).token != first.token


def test_an_imported_run_without_a_known_result_can_be_deleted(history, record):
    token = record(Status.UNKNOWN).token
    assert [run.token for run in history.cleanup.delete({token: None}, ()).runs] == [token]


def test_no_success_is_left_after_a_delete_if_only_an_imported_run_has_the_key(history, run_request, record):
    record()
    own = history.record_or_reuse(run_request()).record
    advance_to(history, own.token, Status.SUCCESS)
    assert history.cleanup.runs_to_delete({own.token: None}, ()).reusable_keys == frozenset()


def test_an_imported_live_run_does_not_keep_the_originals_of_a_sweep(
    history, run_request, sweep_request, cells, record
):
    sweep = history.sweeps.record_or_update(sweep_request(), cells(2))
    done = history.record_or_reuse(run_request("k1", cell=(sweep.token, 1))).record
    kept = ImageRecord(0, "9", 0, "kept", "a/b.png", "0" * 64, 9, 8, 8, "PNG")
    advance_to(history, done.token, Status.SUCCESS, images=[kept])
    live = history.record_or_reuse(run_request("k2", cell=(sweep.token, 2))).record
    assert history.cleanup.originals(before=time.time() + 9) == []
    imported(history, live.token)
    assert [each.run for each in history.cleanup.originals(before=time.time() + 9)] == [done.token]


def test_an_imported_run_is_never_checked(client, api):
    run = client.run("wf-1", {"3::cfg": 7}, timeout=60)
    run.images[0].path.unlink()
    with client.library.history._store.write() as connection:
        connection.execute("UPDATE runs SET imported = 'bottles.zip', status = 'lost'")
    client.close()
    with connect(f"test={api.url}", key="the-key") as other:
        count = len(api.requests())
        assert other.resume() == []
        again = other.connection.registry.run(other.library.find("r1").run.record)
        assert not other.connection.registry.refresh(again, refetch=True)
        with pytest.raises(RefError, match=r"loaded from bottles\.zip.*%comflowy run --from r1"):
            other.resume("r1")
        with pytest.raises(RefError, match=r"loaded from bottles\.zip"):
            again.cancel()
        assert len(api.requests()) == count
