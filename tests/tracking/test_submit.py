"""A failure between the record of a run and its submit does not leave a run that waits forever."""

from __future__ import annotations

import contextlib
import sqlite3
import threading

import pytest
import requests
from faulty_server import reply
from scripted_api import CHECK, RUN, ScriptedApi
from waiting import wait_until

from comflowy_nb import connect
from comflowy_nb.errors import ComflowyError, HistoryError, RunHeld
from comflowy_nb.settings import settings

SAMPLES = "CREATE TABLE samples (id INTEGER PRIMARY KEY AUTOINCREMENT, identity TEXT, workflow_key TEXT, seconds REAL)"


def sql(home, script):
    with contextlib.closing(sqlite3.connect(home / "history.sqlite")) as connection:
        connection.executescript(script)


def test_run_is_rejected_after_a_failed_history_read_before_its_submit(api, client, home):
    """The run stayed `submitting` while the client lived, and the same request joined it and waited forever.

    The usual duration of the workflow is read from the history after the run is recorded in it.
    """
    sql(home, "DROP TABLE samples")
    with pytest.raises(HistoryError, match="no such table: samples"):
        client.run("wf-1", {"3::cfg": 7}, timeout=60)
    (run,) = client.runs()
    assert run.status == "rejected"
    assert "it was not submitted" in run.error
    assert client.live() == []
    assert api.count(RUN) == 0
    sql(home, SAMPLES)
    assert client.run("wf-1", {"3::cfg": 7}, timeout=60).status == "success"
    assert api.count(RUN) == 1


def test_run_of_a_closed_client_is_not_recorded(api, client):
    """A run of a closed client was recorded and stayed `submitting`: no thread was left to submit it."""
    client.run("wf-1", {"3::cfg": 7}, timeout=60)
    client.close()
    with pytest.raises(ComflowyError, match="the connection to test is closed; connect again"):
        client.run("wf-1", {"3::cfg": 8}, timeout=60)
    assert [run.status for run in client.runs()] == ["success"]
    assert api.count(RUN) == 1


def test_a_service_that_breaks_while_it_submits_leaves_an_unknown_run(api, client, monkeypatch):
    """The client does not know whether the request was sent, so the run is held and not submitted again."""

    def submit(submission):
        raise ZeroDivisionError("a fault in a service")

    monkeypatch.setattr(client.service, "submit", submit)
    run = client.run("wf-1", {"3::cfg": 7}, wait=False)
    wait_until(lambda: run.status == "unknown")
    assert "ZeroDivisionError: a fault in a service" in run.error
    monkeypatch.undo()
    with pytest.raises(RunHeld):
        client.run("wf-1", {"3::cfg": 7}, timeout=60)
    assert api.count(RUN) == 0


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_events_are_read_while_the_history_is_slow(short_delays, home):
    """Webhooks and submits waited up to ten seconds whenever the history was busy.

    The tracker read the usual duration of a workflow from the history while it held the lock that every event needs.
    """
    with ScriptedApi() as api:
        api.on(CHECK, reply({"success": False, "error": "no such run"}, status=404))
        with connect(f"test={api.url}", key="the-key") as first, pytest.raises(RunHeld, match="lost"):
            first.run("wf-slow", timeout=60)
        api.on(CHECK, reply({"success": True, "data": {"status": "running"}}))
        with connect(f"test={api.url}", key="the-key") as client:
            run = client.submit("wf-1", {"3::cfg": 7}).run
            wait_until(lambda: run.status == "running")
            sql(
                home,
                "DROP TABLE samples; CREATE VIEW samples AS "
                "WITH RECURSIVE slow(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM slow WHERE n < 5000000) "
                "SELECT 1 AS id, 'test' AS identity, 'wf-slow' AS workflow_key, count(*) * 1.0 AS seconds FROM slow",
            )
            reading = threading.Thread(target=lambda: client.resume("r1"))
            reading.start()
            callback = api.requests(RUN)[1].json["callback_urls"]["on_progress_event_url"]
            event = {"type": "running", "payload": {"value": 3, "max": 20, "node": "3"}}
            requests.post(callback, json=event, timeout=60)
            wait_until(lambda: run.progress is not None and run.progress.value == 3)
            assert reading.is_alive(), "the event waited until the history had been read"
            reading.join()


def test_a_run_that_was_not_submitted_before_a_close_is_cancelled(api):
    """The next client showed such runs as `unknown` and held them, though nothing had been submitted.

    `close` left them `submitting`; the service may have accepted such a run of a dead client.
    """
    settings.window = 1
    api.live_statuses = ["running"] * 100_000
    with connect(f"test={api.url}", key="the-key") as client:
        runs = [client.submit("wf-1", {"3::cfg": number}).run for number in range(3)]
        wait_until(lambda: runs[0].status == "running")
    assert [run.status for run in runs] == ["running", "cancelled", "cancelled"]
    assert "closed before it was submitted" in runs[1].error
    with connect(f"test={api.url}", key="the-key") as client:
        assert [run.status for run in client.runs()] == ["cancelled", "cancelled", "running"]
        assert client.submit("wf-1", {"3::cfg": 1}).outcome == "new"
    assert api.count(RUN) == 1


def test_close_during_a_repeated_submit_cancels_the_run(api):
    """It became `unknown` in the next client, though the service had certainly not accepted it."""
    api.on(RUN, reply({"success": False}, status=429, headers={"Retry-After": "60"}))
    with connect(f"test={api.url}", key="the-key") as client:
        run = client.submit("wf-1", {"3::cfg": 1}).run
        wait_until(lambda: run.warning is not None)
    assert run.status == "cancelled"


def test_a_repeated_submit_is_described_in_one_sentence(api, client):
    """The status line had `is the server running?; trying again in 1 s`."""
    workflow = client.workflow("wf-1")
    client.run(workflow, {"3::cfg": 7}, timeout=60)  # requests the token
    settings.retry_base_s = settings.retry_max_s = 60.0
    api.refuse()
    run = client.submit(workflow, {"3::cfg": 8}).run
    wait_until(lambda: run.warning)
    assert "connection refused; is the server running? - trying again in " in run.warning
