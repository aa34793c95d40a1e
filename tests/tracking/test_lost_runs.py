"""Runs that their service lost: when a run counts as lost, and when it is submitted again."""

from __future__ import annotations

import json

import pytest
from bare_client import empty_image
from comfyui_server import ComfyServer
from faulty_server import choose, reply
from scripted_api import CHECK, RUN, ScriptedApi
from tunnel import Tunnel
from waiting import wait_until

from comflowy_nb import connect
from comflowy_nb.cli import main as cli
from comflowy_nb.errors import RunCancelled, RunFailed, RunHeld, ServiceError, UnreachableError
from comflowy_nb.notebook.display.run_status_text import plain_run_line
from comflowy_nb.notebook.display.sweep_status_text import plain_sweep_line
from comflowy_nb.settings import settings

pytestmark = pytest.mark.usefixtures("short_delays")


@pytest.fixture
def flat(tmp_path):
    """Return the path of a graph that makes an image of one colour."""
    path = tmp_path / "flat.json"
    path.write_text(json.dumps(empty_image()))
    return str(path)


@pytest.fixture
def client(comfy):
    with connect(f"home={comfy.url}") as connected:
        yield connected


@pytest.fixture
def pair(tmp_path):
    with ComfyServer(tmp_path / "one") as first, ComfyServer(tmp_path / "two") as second:
        yield first, second


@pytest.fixture
def tunnel(comfy):
    with Tunnel(comfy.port) as history:
        yield history


def submits(*servers):
    return sum(server.requests_to("POST", "/prompt") for server in servers)


def pending(run):
    wait_until(lambda: run.status == "pending")
    return run


# -- one server -------------------------------------------------------------------------------------------------


def test_sweep_after_a_server_restart_submits_lost_cells_again(comfy, client, flat):
    """The second execution of the cell reported `4 unknown (left alone)`, submitted nothing and named no option.

    A lost run was treated as a run that the service may still execute, though the server's queue ends with its process.
    """
    comfy.hold()
    sweep = client.sweep(flat, {"1::color": [1, 2, 3, 4]}, wait=False)
    wait_until(lambda: submits(comfy) == 2)
    pending(sweep.cells[0].run)
    comfy.restart()
    comfy.release()
    sweep.wait(60)
    assert sweep.status_counts() == {"success": 2, "lost": 2}
    assert "2 cells lost: run the sweep again to submit them again" in plain_sweep_line(sweep)
    planned = client.plan_sweep(flat, {"1::color": [1, 2, 3, 4]})
    assert planned.plan.text.startswith("4 cells: 2 done (today, home), 2 lost (tried again)")
    again = client.sweep(flat, {"1::color": [1, 2, 3, 4]}, timeout=60)
    assert again.status_counts() == {"success": 4}
    assert submits(comfy) == 6


def test_a_lost_run_names_the_next_step_and_an_identical_request_submits_it_again(comfy, client, flat):
    """After a crash of the server, `run` raised RunHeld until the user typed `--retry unknown`."""
    comfy.hold()
    run = pending(client.submit(flat, {"1::color": 4}).run)
    comfy.restart()
    run.wait(60)
    assert run.status == "lost"
    assert "the same request submits it again" in plain_run_line(run)
    with pytest.raises(RunHeld, match="the same request submits it again"):
        client.run(flat, {"1::color": 4}, retry="none")
    comfy.release()
    assert client.run(flat, {"1::color": 4}).status == "success"
    assert submits(comfy) == 2


def test_runs_of_a_killed_server_are_lost_and_submitted_to_the_restarted_server(tmp_path, flat):
    """A run on a killed server stayed `pending` forever: only runs on a server of a group became `lost`."""
    with ComfyServer(tmp_path / "before") as before:
        before.hold()
        client = connect(f"home={before.url}")
        run = pending(client.submit(flat, {"1::color": 4}).run)
    run.wait(60)
    assert run.status == "lost"
    assert "refuses connections" in run.error
    with ComfyServer(tmp_path / "after", port=before.port) as after:
        assert client.run(flat, {"1::color": 4}).status == "success"
        assert submits(after) == 1
        client.close()


@pytest.mark.parametrize("fault", ["fail", "lose"])
def test_error_responses_and_broken_responses_do_not_make_a_run_lost(comfy, client, flat, fault):
    comfy.hold()
    run = pending(client.submit(flat, {"1::color": 4}).run)
    queue_requests = comfy.requests_to("GET", "/queue")
    if fault == "fail":
        comfy.fail("/queue", 503, times=12)
    else:
        comfy.lose("/queue", times=12)
    wait_until(lambda: comfy.requests_to("GET", "/queue") > queue_requests + 13)
    assert run.status == "pending"
    comfy.release()
    run.wait(60)
    assert run.status == "success"
    assert submits(comfy) == 1


def test_a_run_that_the_server_still_has_is_joined_and_not_submitted_again(comfy, tunnel, flat):
    """A closed tunnel refuses connections like a dead server, while the server still runs."""
    comfy.hold()
    with connect(f"home={tunnel.url}") as client:
        run = pending(client.submit(flat, {"1::color": 4}).run)
        tunnel.close()
        run.wait(60)
        assert run.status == "lost"
        tunnel.open()
        again = client.submit(flat, {"1::color": 4})
        assert (again.outcome, again.run) == ("joined", run)
        comfy.release()
        assert run.wait(60).status == "success"
    assert submits(comfy) == 1


def test_a_sweep_uses_images_that_the_server_made_while_it_was_unreachable(comfy, tunnel, flat):
    comfy.hold()
    with connect(f"home={tunnel.url}") as client:
        sweep = client.sweep(flat, {"1::color": [1, 2]}, wait=False)
        wait_until(lambda: all(cell.status == "pending" for cell in sweep.cells))
        tunnel.close()
        sweep.wait(60)
        assert sweep.status_counts() == {"lost": 2}
        comfy.release()
        wait_until(lambda: len(comfy.queue.history) == 2)
        tunnel.open()
        assert client.sweep(flat, {"1::color": [1, 2]}, timeout=60).status_counts() == {"success": 2}
    assert submits(comfy) == 2


def test_resume_finds_a_lost_run_in_the_history_of_a_reachable_server(comfy, tunnel, flat):
    comfy.hold()
    with connect(f"home={tunnel.url}") as client:
        run = pending(client.submit(flat, {"1::color": 4}).run)
        tunnel.close()
        run.wait(60)
        assert run.status == "lost"
        comfy.release()
        wait_until(lambda: comfy.queue.history)
        tunnel.open()
        client.resume(run.ref)
        wait_until(lambda: run.status == "success" and run.record.is_settled)
    assert submits(comfy) == 1


def test_a_lost_run_that_cannot_be_checked_is_not_submitted_again(comfy, client, flat):
    settings.retries = 1
    comfy.hold()
    run = pending(client.submit(flat, {"1::color": 4}).run)
    comfy.restart()
    run.wait(60)
    comfy.fail("/queue", 503, times=100)
    with pytest.raises(ServiceError, match="503"):
        client.run(flat, {"1::color": 4})
    assert submits(comfy) == 1


def test_a_run_that_another_kernel_removed_from_the_queue_is_cancelled_and_not_lost(comfy, client, flat):
    """A cancelled run in neither the queue nor the history counted as lost and was submitted again."""
    comfy.hold()
    run = pending(client.submit(flat, {"1::color": 4}).run)
    with connect(f"home={comfy.url}") as other:
        other.cancel(other.find(run.ref).run)
        with pytest.raises(RunCancelled):
            client.run(flat, {"1::color": 4}, timeout=60)
    assert run.status == "cancelled"
    assert submits(comfy) == 1


# -- a submit whose response was lost -----------------------------------------------------------------------------


def drop_submits(comfy, monkeypatch):
    """Let the server read the next submit and crash before queueing it."""
    real_put = comfy.queue.put

    def crash(body, outputs):
        monkeypatch.setattr(comfy.queue, "put", real_put)
        return 0, body["prompt_id"]

    comfy.lose("/prompt")
    monkeypatch.setattr(comfy.queue, "put", crash)


def test_an_unknown_run_that_the_server_does_not_have_becomes_lost(comfy, client, flat, monkeypatch):
    """A run stayed `unknown` forever after the server crashed during its submit: it was not checked again."""
    drop_submits(comfy, monkeypatch)
    run = client.submit(flat, {"1::color": 4}).run
    wait_until(lambda: run.status == "lost")
    assert client.run(flat, {"1::color": 4}).status == "success"
    assert submits(comfy) == 2


def test_an_unknown_run_of_an_earlier_kernel_is_checked_by_the_next(comfy, flat, monkeypatch):
    drop_submits(comfy, monkeypatch)
    settings.lost_gap_s = 30.0
    with connect(f"home={comfy.url}") as client:
        run = client.submit(flat, {"1::color": 4}).run
        wait_until(lambda: run.status == "unknown")
        with pytest.raises(RunHeld, match="retry='unknown'"):
            client.run(flat, {"1::color": 4})
    settings.lost_gap_s = 0.02
    with connect(f"home={comfy.url}") as client:
        wait_until(lambda: client.find(run.ref).run.status == "lost")
        assert client.run(flat, {"1::color": 4}).status == "success"
    assert submits(comfy) == 2


# -- several servers --------------------------------------------------------------------------------------------


def test_running_server_gets_the_cells_of_a_dead_server_during_the_same_sweep(pair, flat):
    """Two servers under one name, one killed: its cells stayed `lost`, and the living server never got them."""
    first, second = pair
    first.hold()
    second.hold()
    colours = list(range(1, 13))
    with connect(f"home={first.url},{second.url}") as client:
        sweep = client.sweep(flat, {"1::color": colours}, wait=False)
        wait_until(lambda: submits(first) == submits(second) == 2)
        second.close()
        first.release()
        sweep.wait(60)
        assert sweep.status_counts() == {"success": 12}
        assert {cell.run.record.service for cell in sweep.cells} == {"home/1"}
        assert submits(first) == 12
        assert client.sweep(flat, {"1::color": colours}).plan.text == "12 cells: 12 done (today, home/1)"
        assert submits(first) == 12


def test_cell_that_every_server_loses_is_not_submitted_again(pair, flat):
    """A graph that crashes its server must not be submitted forever."""
    first, second = pair
    first.hold()
    second.hold()
    with connect(f"home={first.url},{second.url}") as client:
        sweep = client.sweep(flat, {"1::color": [1]}, wait=False)
        for count in (1, 2):
            wait_until(lambda count=count: submits(first, second) == count)
            pending(sweep.cells[0].run)
            first.restart()
            second.restart()
        sweep.wait(60)
        assert sweep.status_counts() == {"lost": 1}
    assert submits(first, second) == 2


def test_sweep_ends_when_no_server_is_reachable(pair, flat):
    first, second = pair
    with connect(f"home={first.url},{second.url}") as client:
        first.close()
        second.close()
        with pytest.raises((RunFailed, UnreachableError), match="can't reach"):
            client.run(flat, {"1::color": 1})


# -- a service that costs money ---------------------------------------------------------------------------------


@pytest.fixture
def hosted():
    """Create a Comflowy service that reports 404 for every run it accepted."""
    with ScriptedApi() as server:
        server.on(CHECK, reply({"success": False, "error": "no such run"}, status=404))
        yield server


def test_lost_runs_of_comflowy_are_held_and_the_message_names_the_option(hosted, tmp_path, monkeypatch, capsys):
    """A sweep whose cells were skipped ended without naming the option."""
    monkeypatch.setenv("COMFLOWY_API_KEY", "the-key")
    monkeypatch.setenv("COMFLOWY_URL", hosted.url)
    with connect("cloud") as client:
        with pytest.raises(RunHeld, match="retry='unknown'"):
            client.run("wf-1", {"3::cfg": 7}, timeout=60)
        with pytest.raises(RunHeld, match="retry='unknown'"):
            client.run("wf-1", {"3::cfg": 7}, timeout=60)
        assert hosted.count(RUN) == 1
        hosted.on(CHECK, choose(lambda request: reply({"success": True, "data": hosted.state(request.query["id"])})))
        sweep = client.sweep("wf-1", {"3::cfg": [7, 8]}, timeout=60)
        assert sweep.plan.text == "2 cells: 1 lost (skipped), 1 new"
        assert "--retry unknown" in plain_sweep_line(sweep)
        with pytest.raises(RunFailed, match="retry='unknown'"):
            client.sweep("wf-1", {"3::cfg": [7, 8]}, strict=True, timeout=60)
    (tmp_path / "two.yaml").write_text("workflow: wf-1\nfields:\n  3::cfg: [7, 8]\n")
    assert cli.main(["sweep", str(tmp_path / "two.yaml"), "--connect", "cloud"]) == 1
    assert "retry: unknown in the file" in capsys.readouterr().err
    assert hosted.count(RUN) == 2
