"""A client frees the state of a run when the run has ended, because it may submit thousands."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request

import pytest
from bare_client import empty_image
from comfyui_server import ComfyServer
from faulty_server import close_after_reading
from scripted_api import RUN, ScriptedSandbox
from waiting import wait_until

from comflowy_nb import connect
from comflowy_nb.database.runs import History

pytestmark = pytest.mark.usefixtures("quick")


def post(url):
    """Return the HTTP status of the response to a webhook."""
    request = urllib.request.Request(url, b'{"type": "message"}', {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_the_webhook_of_a_run_is_closed_when_it_has_ended(client, api):
    """The secrets in the paths of all runs were kept for the life of the client."""
    api.words = ["running"] * 100_000
    run = client.submit("wf-1", {"3::seed": 1}).run
    (seen,) = api.wait_for(RUN)
    wait_until(lambda: run.status == "running")
    urls = seen.json["callback_urls"].values()
    assert {post(url) for url in urls} == {204}
    api.words = []
    run.wait(60)
    for url in urls:
        wait_until(lambda url=url: post(url) == 404)


def test_the_webhook_of_a_run_whose_response_was_lost_stays_open(client, api):
    """The webhook may still report that the service accepted the run."""
    api.on(RUN, close_after_reading())
    run = client.submit("wf-1", {"3::seed": 1}).run
    run.wait(60)
    assert run.status == "unknown"
    wait_until(lambda: not client.live())
    (seen,) = api.seen(RUN)
    url = seen.json["callback_urls"]["on_result_url"]
    assert post(url) == 204
    api.words = []
    body = json.dumps({"type": "success", "run_id": "run-1"}).encode()
    urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "application/json"}), timeout=60).close()
    wait_until(lambda: run.status == "success")
    wait_until(lambda: post(url) == 404)


def test_the_id_of_a_cancelled_run_is_removed_when_the_run_has_ended():
    """The ids of all runs that were ever cancelled were kept."""
    with ScriptedSandbox() as api:
        api.run_until_cancelled()
        with api.connect() as client:
            run = client.submit("img2img", {"3::seed": 1}).run
            wait_until(lambda: run.status == "running")
            run.cancel()
            assert run.wait(60).status == "cancelled"
            # the API's own status: a client reads it as cancelled only after its own cancel
            wait_until(lambda: client.service.check(run.record.service_run_id).status == "failed")


def test_the_server_of_a_run_is_removed_when_the_run_has_ended(tmp_path):
    """The server of every run that was ever submitted was kept."""
    graph = tmp_path / "graph.json"
    graph.write_text(json.dumps(empty_image()))
    with (
        ComfyServer(tmp_path / "one") as one,
        ComfyServer(tmp_path / "two") as two,
        connect(f"home={one.url},{two.url}") as client,
    ):
        for server in (one, two):
            server.hold()
        runs = [client.submit(str(graph), {"1::color": color}).run for color in (1, 2)]
        wait_until(lambda: [run.record.service for run in runs] == ["home/1", "home/2"])
        for server in (one, two):
            server.release()
        for run in runs:
            assert run.wait(60).status == "success"
        wait_until(lambda: not client.live())
        asked = one.asked("GET", "/queue")
        client.service.check(runs[1].record.service_run_id)
        assert one.asked("GET", "/queue") > asked, "the client no longer knows the server, and asks the first one"


def test_a_joined_run_is_read_once_for_many_executions_of_its_cell(api, monkeypatch):
    """Each rerun of a cell with a joined run read the history once more, three times a second, until the run ended."""
    reads = []
    real = History.get
    monkeypatch.setattr(History, "get", lambda self, token: reads.append(token) or real(self, token))
    api.words = ["running"] * 100_000
    with connect(f"test={api.url}", key="the-key") as sender, connect(f"test={api.url}", key="the-key") as other:
        run = sender.submit("wf-1", {"3::cfg": 7}).run
        wait_until(lambda: run.status == "running")
        for _ in range(20):
            joined = other.submit("wf-1", {"3::cfg": 7})
            assert joined.outcome == "joined"
        before, start_s = reads.count(run.token), time.monotonic()
        wait_until(lambda: reads.count(run.token) >= before + 5)
        assert time.monotonic() - start_s > 4 * 0.2, "20 watches would read it 5 times in 0.1 s"
        api.words = []
        assert joined.run.wait(60).status == "success"
