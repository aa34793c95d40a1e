"""The client with a scripted service: the number of submits, and the resulting statuses and errors."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading

import pytest
from faulty_server import choose, close_after_reading, no_response, reply
from scripted_api import CHECK, RUN, ScriptedApi, png
from waiting import wait_until

from comflowy_nb import connect, history
from comflowy_nb.errors import (
    AuthError,
    FieldError,
    RefError,
    RunCancelled,
    RunFailed,
    RunHeld,
    RunRejected,
    RunTimeout,
    SettingsError,
    UnreachableError,
    WorkflowError,
)
from comflowy_nb.settings import settings

pytestmark = pytest.mark.usefixtures("short_delays")


def test_a_run_is_submitted_and_tracked_and_its_image_is_stored(client, api):
    run = client.run("wf-1", {"3::cfg": 7, "6::text": "a bottle"}, timeout=60)
    assert run.status == "success"
    assert run.images[0].bytes == png()
    assert run.images[0].node == "9"
    assert run.images[0].array().shape == (48, 64, 3)
    body = api.requests(RUN)[0].json
    assert body["workflow_id"] == "wf-1"
    assert body["params"] == {"3::cfg": 7, "6::text": "a bottle"}
    assert api.requests(RUN)[0].headers["authorization"] == "Bearer token-of-the-service"
    assert "authorization" not in api.requests("GET /images/a.png")[0].headers


def test_the_same_request_again_submits_nothing(client, api):
    first = client.run("wf-1", {"3::cfg": 7}, timeout=60)
    again = client.submit("wf-1", {"3::cfg": 7.0})
    assert again.outcome == "same"
    assert again.run.number == first.number
    assert api.count(RUN) == 1
    assert client.submit("wf-1", {"3::cfg": 8}).outcome == "new"


def test_fresh_submits_again(client, api):
    first = client.run("wf-1", {"3::cfg": 7}, timeout=60)
    second = client.run("wf-1", {"3::cfg": 7}, fresh=True, timeout=60)
    assert second.number == first.number + 1
    assert api.count(RUN) == 2


def test_a_live_run_is_joined_by_the_same_request(client, api):
    api.live_statuses = ["running"] * 100_000
    first = client.submit("wf-1", {"3::cfg": 7})
    second = client.submit("wf-1", {"3::cfg": 7}, fresh=True)
    api.live_statuses = []
    assert second.outcome == "joined"
    assert second.run is first.run
    first.run.wait(60)
    assert api.count(RUN) == 1


def test_a_run_with_a_lost_response_is_held_and_never_submitted_again_automatically(client, api):
    api.on(RUN, close_after_reading())
    with pytest.raises(RunHeld, match="it is not known whether"):
        client.run("wf-1", {"3::cfg": 7}, timeout=60)
    assert api.count(RUN) == 1
    for options in ({}, {"fresh": True}, {"retry": "none"}, {"retry": "failed"}):
        with pytest.raises(RunHeld):
            client.run("wf-1", {"3::cfg": 7}, timeout=60, **options)
    assert api.count(RUN) == 1
    api.on(RUN, reply({"success": True, "data": {"run_id": 77}}))
    run = client.run("wf-1", {"3::cfg": 7}, retry="unknown", timeout=60)
    assert run.status == "success"
    assert run.record.service_run_id == "77"
    assert api.count(RUN) == 2


def test_a_failed_run_raises_and_is_submitted_again(client, api):
    api.finished = {"status": "failed", "error": "node 3: out of memory"}
    with pytest.raises(RunFailed, match="out of memory") as caught:
        client.run("wf-1", timeout=60)
    assert caught.value.run.status == "failed"
    assert client.submit("wf-1", {}, retry="none").outcome == "ended"
    api.finished = None
    assert client.run("wf-1", timeout=60).status == "success"
    assert api.count(RUN) == 2


def test_success_false_is_a_rejection_with_its_text(client, api):
    api.on(RUN, reply({"success": False, "error": "no credit left"}))
    with pytest.raises(RunRejected, match="no credit left"):
        client.run("wf-1", timeout=60)
    assert api.count(RUN) == 1


def test_run_is_submitted_again_after_a_429(client, api):
    api.on(
        RUN,
        reply({"error": "slow down"}, status=429, headers={"Retry-After": "0.05"}),
        reply({"success": True, "data": {"run_id": "x"}}),
    )
    assert client.run("wf-1", timeout=60).status == "success"
    assert api.count(RUN) == 2


def test_a_run_that_the_service_no_longer_has_is_lost_after_three_responses(client, api):
    api.on(CHECK, reply({"success": False, "error": "no such run"}, status=404))
    with pytest.raises(RunHeld, match="lost"):
        client.run("wf-1", timeout=60)
    assert api.count(CHECK) == 3
    api.on(CHECK, choose(lambda request: reply({"success": True, "data": api.state(request.query["id"])})))
    (run,) = client.resume("last")
    wait_until(lambda: run.status == "success" and run.record.is_settled)
    assert api.count(RUN) == 1


def test_unexpected_responses_do_not_end_a_run(client, api):
    api.on(
        CHECK,
        reply("<html>maintenance</html>"),
        reply({"success": False, "error": "busy"}),
        reply({"success": True, "data": {"status": 7}}),
        reply({}, status=500),
        close_after_reading(),
        choose(lambda request: reply({"success": True, "data": api.state(request.query["id"])})),
    )
    api.live_statuses = []
    assert client.run("wf-1", timeout=60).status == "success"
    assert api.count(RUN) == 1


def test_timeout_does_not_cancel_the_run(client, api):
    api.live_statuses = ["running"] * 100
    with pytest.raises(RunTimeout) as caught:
        client.run("wf-1", timeout=0.3)
    run = caught.value.run
    assert run.status.is_live
    api.live_statuses = []
    run.wait(60)
    assert run.status == "success"


def test_cancel_on_a_service_without_cancel_gives_a_warning_and_the_run_continues(client, api):
    api.live_statuses = ["running"] * 100_000
    run = client.submit("wf-1", {}).run
    wait_until(lambda: run.status == "running")
    warnings = []
    run.listen(lambda changed: warnings.append(changed.warning))
    run.cancel()
    wait_until(lambda: any("can't cancel" in (text or "") for text in warnings))
    api.live_statuses = []
    run.wait(60)
    assert run.status == "success"


def test_a_cancel_before_the_response_leaves_the_run_tracked_if_the_service_cannot_cancel(client, api):
    """A run cancelled while its submit was in flight was never checked again, and `wait` never returned."""
    api.on(RUN, reply({"success": True, "data": {"run_id": "slow"}}, latency_s=0.3))
    run = client.submit("wf-1", {}).run
    api.wait_for(RUN)
    run.cancel()
    run.wait(60)
    assert run.status == "success"


def test_a_queued_run_is_cancelled_without_a_submit(client, api):
    settings.window = 1
    api.live_statuses = ["running"] * 20
    first = client.submit("wf-1", {"3::cfg": 1}).run
    second = client.submit("wf-1", {"3::cfg": 2}).run
    wait_until(lambda: first.status == "running")
    second.cancel()
    second.wait(60)
    assert second.status == "cancelled"
    assert api.count(RUN) == 1
    api.live_statuses = []
    first.wait(60)


@pytest.mark.timeout(60)
def test_a_submit_returns_while_every_worker_waits_for_the_service(api, short_delays):
    """A submit needs a workflow lookup and a record in the history; neither may wait for a busy worker."""
    settings.workers = 1
    released, ids = threading.Event(), itertools.count(1)

    def wait_for_release(_):
        released.wait(30)
        return reply({"success": True, "data": {"run_id": f"run-{next(ids)}"}})

    api.on(RUN, choose(wait_for_release))
    with connect(f"test={api.url}", key="the-key") as client:
        runs = [client.submit("wf-1", {"3::seed": 1}).run]
        wait_until(lambda: api.count(RUN) == 1)
        runs.append(client.submit("wf-1", {"3::seed": 2}).run)
        assert [str(run.status) for run in runs] == ["submitting", "submitting"]
        assert len(history.runs()) == 2, "its run_request is there, though nothing can be sent"
        assert api.count(RUN) == 1
        released.set()
        assert [run.wait(60).status for run in runs] == ["success", "success"]
    assert api.count(RUN) == 2


def test_an_end_lets_the_next_queued_run_start(client, api):
    settings.window = 2
    runs = [client.submit("wf-1", {"3::cfg": number}).run for number in range(6)]
    for run in runs:
        run.wait(60)
    assert [run.status for run in runs] == ["success"] * 6
    assert api.count(RUN) == 6


@pytest.mark.parametrize(
    "name", ["caf\u00e9", "\u732b\u304c", "\u0441\u043e\u0431\u0430\u043a\u0430", "\U0001f98a%20x"]
)
def test_images_with_urls_in_any_script_are_fetched(client, api, name):
    """Services write names beyond Latin-1 into URLs without percent-encoding."""
    api.outputs = {"9": [f"/images/{name}.png"]}
    run = client.run("wf-1", timeout=60)
    assert run.images[0].array().shape == (48, 64, 3)


def test_an_image_that_fails_leaves_a_success_and_is_fetched_again(client, api):
    api.outputs = {"9": ["/images/a.png", "/images/b.png"]}
    api.on("GET /images/b.png", reply(b"<html>not an image</html>"))
    run = client.run("wf-1", timeout=60)
    assert run.status == "success"
    assert [image.record.state for image in run.images] == ["kept", "missing"]
    assert run.images[1].record.error
    api.on("GET /images/b.png", reply(png("red")))
    assert client.connection.registry.refresh(run)
    run.wait(60)
    assert run.images[1].bytes == png("red")
    assert api.count("GET /images/a.png") == 1, "what is on disk is not fetched again"


def test_a_lost_file_is_fetched_by_the_same_request(client, api):
    run = client.run("wf-1", timeout=60)
    run.images[0].path.unlink()
    again = client.run("wf-1", timeout=60)
    assert again.images[0].bytes == png()
    assert api.count(RUN) == 1


def test_an_image_the_service_no_longer_has_is_missing_with_a_reason(client, api):
    run = client.run("wf-1", timeout=60)
    run.images[0].path.unlink()
    api.on(CHECK, reply({"success": False, "error": "gone"}, status=404))
    client.run("wf-1", timeout=60)
    assert "no longer has it" in run.images[0].record.error


def test_the_run_of_a_dead_process_is_adopted_on_connect(api, home):
    """The history had only the id when the process died; the next process checks the run and fetches the image."""
    api.live_statuses = ["running"] * 10_000
    script = (
        "import os, sys, time\n"
        "from comflowy_nb import connect\n"
        f"run = connect('test={api.url}', key='the-key').submit('wf-1', {{'3::cfg': 7}}).run\n"
        "while run.record.service_run_id is None: time.sleep(0.01)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", script], env={**os.environ}, check=False, timeout=60)
    api.live_statuses = []
    with connect(f"test={api.url}", key="the-key") as client:
        wait_until(client.connection.take_ended_orphans)
    run = history.find("r1").run
    assert run.status == "success"
    assert run.images[0].bytes == png()
    assert api.count(RUN) == 1


def test_a_process_that_dies_before_the_response_leaves_an_unknown_run(api):
    api.on(RUN, no_response())
    script = (
        "import os, time, threading\n"
        "from comflowy_nb import connect\n"
        f"client = connect('test={api.url}', key='the-key')\n"
        "client.submit('wf-1', {'3::cfg': 7})\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], env={**os.environ})
    api.wait_for(RUN, 1, 30)
    process.kill()
    process.wait(60)
    with connect(f"test={api.url}", key="the-key") as client, pytest.raises(RunHeld):
        client.run("wf-1", {"3::cfg": 7})
    assert api.count(RUN) == 1


@pytest.mark.slow
def test_the_live_run_of_another_process_is_joined_and_adopted_when_it_dies(api):
    api.live_statuses = ["running"] * 10_000
    script = (
        "import time\n"
        "from comflowy_nb import connect\n"
        f"run = connect('test={api.url}', key='the-key').submit('wf-1', {{'3::cfg': 7}}).run\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], env={**os.environ})
    try:
        wait_until(lambda: any(run.status == "running" for run in history.runs()), 30)
        with connect(f"test={api.url}", key="the-key") as client:
            joined = client.submit("wf-1", {"3::cfg": 7})
            assert joined.outcome == "joined"
            process.kill()
            process.wait(60)
            api.live_statuses = []
            joined.run.wait(60)
            assert joined.run.status == "success"
    finally:
        process.kill()
    assert api.count(RUN) == 1


def test_history_is_readable_without_a_connection(api, client):
    client.run("wf-1", {"6::text": "a galaxy in a bottle"}, name="night", timeout=60)
    client.close()
    (run,) = history.runs("galaxy")
    assert run.record.name == "night"
    assert run.images[0].bytes == png()
    assert history.find("night").run.number == run.number
    with pytest.raises(RefError, match="connect first"):
        run.cancel()


def test_the_error_without_a_connection_names_the_ways_to_connect():
    with pytest.raises(SettingsError, match="connect sandbox"):
        connect()


def test_the_error_without_a_key_names_the_ways_to_set_one(api):
    with pytest.raises(AuthError, match="login"):
        connect(api.url)


def test_a_wrong_key_is_rejected_before_any_submit(api):
    api.on("GET /api/open/v0/auth/token", reply({"success": False, "error": "bad key"}, status=401))
    with pytest.raises(AuthError):
        connect(api.url, key="wrong")
    assert api.count(RUN) == 0


def test_the_error_without_a_network_names_the_service(api):
    api.refuse()
    with pytest.raises(UnreachableError):
        connect(api.url, key="the-key")


def test_an_unknown_field_of_an_undescribed_workflow_needs_its_id(client, api):
    with pytest.raises(FieldError, match="cfg"):
        client.run("wf-1", {"cfg": 7})
    assert api.count(RUN) == 0


def test_an_invalid_workflow_name_is_an_error_before_any_request(client, api):
    with pytest.raises(WorkflowError):
        client.run("no such workflow")
    with pytest.raises(WorkflowError):
        client.run("missing.json")
    assert api.count(RUN) == 0


def test_default_has_no_id_on_a_service_that_runs_only_ids(client, api):
    with pytest.raises(WorkflowError, match="workflow add default"):
        client.run("default")
    assert api.count(RUN) == 0


def test_run_of_another_service_is_not_checked(api, client):
    run = client.run("wf-1", timeout=60)
    with ScriptedApi() as other, connect(f"other={other.url}", key="k") as other_client:
        with pytest.raises(RefError, match="test"):
            other_client.resume(run.ref)
        assert other.count(CHECK) == 0


def test_sixteen_threads_share_one_token(client, api):
    api.reset_counts()
    api.on("GET /api/open/v0/auth/token", reply({"access_token": "second"}))
    threads = [
        threading.Thread(target=lambda n=number: client.submit("wf-1", {"3::cfg": n}).run.wait(60))
        for number in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert api.count(RUN) == 16
    assert api.count("GET /api/open/v0/auth/token") == 0


def test_a_cancelled_run_raises_run_cancelled(client, api):
    api.live_statuses = ["running"] * 50
    settings.window = 1
    client.submit("wf-1", {"3::cfg": 1})
    run = client.submit("wf-1", {"3::cfg": 2}).run
    run.cancel()
    run.wait(60)
    from comflowy_nb.tracking.run_errors import error_for_status

    assert isinstance(error_for_status(run), RunCancelled)
