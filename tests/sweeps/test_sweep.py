"""Sweeps of a client of a scripted service: submits, reasons to stop, texts."""

from __future__ import annotations

import re
import threading
import time

import pytest
from faulty_server import choose, close_after_reading, reply
from scripted_api import CHECK, RUN, TOKEN
from waiting import wait_until

from comflowy_nb import connect, history
from comflowy_nb.errors import FieldError, RefError, RunFailed, RunTimeout, SettingsError
from comflowy_nb.settings import settings
from comflowy_nb.workflow.syntax.lists import Setting

pytestmark = pytest.mark.usefixtures("short_delays")

AXES = {"3::cfg": [2, 4, 6], "3::sampler_name": ["euler", "heun"], "3::seed": 7}


@pytest.fixture
def api(api):
    """Let every run succeed at the first check."""
    api.live_statuses = []
    return api


def params_of_submits(api):
    return [request.json["params"] for request in api.requests(RUN)]


def test_every_combination_is_submitted_once_and_linked_to_its_cell(client, api):
    sweep = client.sweep("wf-1", AXES, timeout=60)
    assert repr(sweep) == "<Sweep s1 6 cells: 6 success>"
    assert len(sweep.cells) == 6
    assert [cell.number for cell in sweep.cells] == [1, 2, 3, 4, 5, 6]
    assert [dict(cell.labels) for cell in sweep.cells[:2]] == [
        {"3::cfg": "2", "3::sampler_name": "euler"},
        {"3::cfg": "2", "3::sampler_name": "heun"},
    ]
    params = params_of_submits(api)
    assert len(params) == 6
    for cell in sweep.cells:
        assert cell.params in params
        assert cell.run.params == cell.params
        assert cell.ref == f"s1.{cell.number}"
        assert cell.images[0].path.exists()


def test_the_same_sweep_again_submits_nothing(client, api):
    plans = []
    client.sweep("wf-1", AXES, timeout=60)
    again = client.sweep("wf-1", AXES, timeout=60, on_plan=lambda sweep: plans.append(sweep.plan.text))
    assert again.ref == "s1"
    assert plans == ["6 cells: 6 done (today, test)"]
    assert api.count(RUN) == 6


def test_an_extended_sweep_submits_only_new_cells(client, api):
    client.sweep("wf-1", AXES, timeout=60)
    extended = client.sweep("wf-1", {**AXES, "3::cfg": range(2, 9, 2)}, timeout=60)
    assert extended.plan.text.startswith("8 cells: 6 done (today, test), 2 new")
    assert extended.ref == "s2"
    assert api.count(RUN) == 8


def test_single_run_is_reused_for_a_cell(client, api):
    run = client.run("wf-1", {"3::cfg": 4, "3::sampler_name": "heun", "3::seed": 7}, timeout=60)
    sweep = client.sweep("wf-1", AXES, timeout=60)
    assert sweep.cells[3].run is run
    assert api.count(RUN) == 6


def test_plan_sweep_records_and_submits_nothing(client, api):
    sweep = client.plan_sweep("wf-1", AXES)
    assert sweep.record is None
    assert sweep.plan.text == "6 cells: 6 new"
    assert [cell.status for cell in sweep.cells] == [None] * 6
    assert api.count(RUN) == 0
    assert history.runs() == []
    with pytest.raises(RefError):
        history.find("s1")


def test_an_error_of_on_plan_prevents_all_submits(client, api):
    def refuse(sweep):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.sweep("wf-1", AXES, on_plan=refuse)
    assert api.count(RUN) == 0


def test_a_sweep_over_max_runs_is_an_error_and_not_truncated(client, api):
    with pytest.raises(SettingsError, match="permits 5"):
        client.sweep("wf-1", AXES, max_runs=5)
    assert api.count(RUN) == 0
    assert client.sweep("wf-1", AXES, max_runs=6, timeout=60).status_counts() == {"success": 6}


def test_all_errors_are_reported_before_a_submit(client, api):
    with pytest.raises(FieldError) as caught:
        client.sweep("wf-1", [Setting("3::cfg", "8..2"), Setting("3::steps", "1..5..0"), Setting("nope", "1")])
    message = str(caught.value)
    for word in ("8..2", "1..5..0", "nope"):
        assert word in message
    assert api.count(RUN) == 0


def test_a_failing_cell_does_not_stop_the_others(client, api):
    def state(request):
        number = int(request.query["id"].removeprefix("run-"))
        if number == 2:
            return reply({"success": True, "data": {"status": "failed", "error": "node 3: out of memory"}})
        return reply({"success": True, "data": api.state(request.query["id"])})

    api.on(CHECK, choose(state))
    sweep = client.sweep("wf-1", AXES, timeout=60)
    assert sweep.status_counts() == {"success": 5, "failed": 1}
    ((ref, text),) = sweep.errors.items()
    assert ref.startswith("s1.")
    assert "out of memory" in text
    with pytest.raises(RunFailed, match="1 of 6 cells"):
        client.sweep("wf-1", AXES, retry="none", strict=True, timeout=60)
    assert api.count(RUN) == 6
    api.on(CHECK, choose(lambda request: reply({"success": True, "data": api.state(request.query["id"])})))
    again = client.sweep("wf-1", AXES, timeout=60)
    assert re.fullmatch(r"6 cells: 5 done \(today, test\), 1 failed \(tried again\), about \d+ s", again.plan.text)
    assert api.count(RUN) == 7


def test_three_failures_before_any_success_stop_the_sweep(client, api):
    settings.window = 1
    api.finished = {"status": "failed", "error": "no model"}
    sweep = client.sweep("wf-1", {"3::cfg": range(1, 21)}, timeout=60)
    assert "stopped after 3 failures in a row" in sweep.stopped
    assert "no model" in sweep.stopped
    assert 3 <= api.count(RUN) <= 5
    assert sweep.status_counts()["not submitted"] >= 15


def test_stop_after_0_never_stops(client, api):
    api.finished = {"status": "failed", "error": "no model"}
    sweep = client.sweep("wf-1", {"3::cfg": range(1, 9)}, stop_after=0, timeout=60)
    assert sweep.stopped is None
    assert sweep.status_counts() == {"failed": 8}


def test_three_lost_responses_in_a_row_stop_the_sweep_and_nothing_is_repeated(client, api):
    settings.window = 1
    api.on(RUN, close_after_reading())
    sweep = client.sweep("wf-1", {"3::cfg": range(1, 21)}, timeout=60)
    assert "3 lost responses in a row" in sweep.stopped
    count = api.count(RUN)
    assert count <= 5
    assert sweep.status_counts()["unknown"] == count
    api.on(RUN, choose(lambda _: reply({"success": True, "data": {"run_id": f"again-{time.monotonic()}"}})))
    again = client.sweep("wf-1", {"3::cfg": range(1, 21)}, timeout=60)
    assert f"{count} unknown (skipped)" in again.plan.text
    assert again.status_counts() == {"success": 20 - count, "unknown": count}


def test_rejected_key_stops_the_sweep_immediately(client, api):
    settings.window = 1
    api.on(TOKEN, reply({"success": False, "error": "key revoked"}, 401))
    api.on(RUN, reply({"success": False, "error": "invalid token"}, 401))
    sweep = client.sweep("wf-1", {"3::cfg": range(1, 21)}, timeout=60)
    assert sweep.stopped
    assert sweep.status_counts()["rejected"] <= 2
    assert sweep.status_counts()["not submitted"] >= 18


def test_cancel_stops_submits(client, api):
    api.live_statuses = ["running"] * 100_000
    sweep = client.sweep("wf-1", {"3::cfg": range(1, 31)}, wait=False, window=2)
    api.wait_for(RUN, 2)
    sweep.cancel()
    api.live_statuses = []
    sweep.wait(60)
    assert api.count(RUN) == 2
    assert "28 cells not submitted" in sweep.stopped
    assert sweep.status_counts() == {"success": 2, "not submitted": 28}
    again = client.sweep("wf-1", {"3::cfg": range(1, 31)}, timeout=30)
    assert again.status_counts() == {"success": 30}
    assert api.count(RUN) == 30


def test_timeout_does_not_cancel_the_sweep(client, api):
    api.live_statuses = ["running"] * 100
    with pytest.raises(RunTimeout) as caught:
        client.sweep("wf-1", AXES, timeout=0.3)
    api.live_statuses = []
    assert caught.value.run.wait(60).status_counts() == {"success": 6}


def count_live(api):
    """Return the number of runs in flight at each submit."""
    lock, live, live_counts = threading.Lock(), set(), []

    def submit(request):
        with lock:
            live.add(str(request.json["params"]))
            live_counts.append(len(live))
        return reply({"success": True, "data": {"run_id": str(request.json["params"])}})

    def check(request):
        with lock:
            live.discard(request.query["id"])
        return reply({"success": True, "data": {"status": "success", "output_images": [], "full_outputs": {}}})

    api.on(RUN, choose(submit))
    api.on(CHECK, choose(check))
    return live_counts


def test_a_fixed_window_is_never_exceeded(client, api):
    live_counts = count_live(api)
    client.sweep("wf-1", {"3::cfg": range(1, 41)}, window=3, timeout=30)
    assert max(live_counts) <= 3
    assert api.count(RUN) == 40


def test_a_window_fixed_at_the_initial_size_does_not_grow(client, api):
    """The fixed limit grew: once the probe had begun, twice as many runs were in flight."""
    api.live_statuses = ["running"] * 100_000
    assert settings.window == 8
    sweep = client.sweep("wf-1", {"3::cfg": range(1, 41)}, wait=False, window=8)
    wait_until(lambda: sweep.status_counts().get("running") == 8)
    checks = api.count(CHECK)
    wait_until(lambda: api.count(CHECK) >= checks + 16)  # each was checked again, without a change
    assert api.count(RUN) == 8
    sweep.cancel()


def test_the_limit_grows_once_the_probe_has_started(client, api):
    api.live_statuses = ["running"] * 100_000
    assert settings.window == 8
    sweep = client.sweep("wf-1", {"3::cfg": range(1, 41)}, wait=False)
    wait_until(lambda: api.count(RUN) > 8, timeout_s=90)
    sweep.cancel()


def test_a_fixed_window_applies_only_to_its_sweep(client, api):
    api.live_statuses = ["running"] * 100_000
    fixed = client.sweep("wf-1", {"3::cfg": range(1, 11)}, wait=False, window=2)
    wait_until(lambda: fixed.status_counts().get("running") == 2)
    other = client.sweep("wf-1", {"3::steps": range(1, 11)}, wait=False)
    checks = api.count(CHECK)
    wait_until(lambda: api.count(CHECK) >= checks + 8)
    assert api.count(RUN) == 2, "a concurrent sweep does not raise the fixed limit"
    fixed.cancel()
    wait_until(
        lambda: other.status_counts().get("running", 0) >= 6, timeout_s=90, message=lambda: f"{api.count(RUN)} submits"
    )
    other.cancel()


def test_sweep_is_found_in_the_history_and_select_returns_its_cells(client, api):
    client.sweep("wf-1", {**AXES, "6::text": {"day": "noon", "night": "stars"}}, name="bottles", timeout=60)
    client.close()
    with connect(f"test={api.url}", key="the-key") as another:
        result = another.find("bottles")
        sweep = another.connection.reopen(result.sweep)
    assert len(sweep.cells) == 12
    assert {cell.params["3::cfg"] for cell in sweep.select(cfg=4)} == {4}
    assert len(sweep.select(cfg=4, sampler_name="heun")) == 2
    assert all(cell.params["6::text"] == "stars" for cell in sweep.select(**{"6::text": "night"}))
    with pytest.raises(RefError, match="no axis"):
        sweep.select(color="red")
    assert history.find("s1.12").run.params["6::text"] == "stars"
    assert history.find("bottles").sweep.count == 12


def test_first_cells_are_in_different_quarters_of_the_grid(client, api):
    client.sweep("wf-1", {"3::cfg": range(1, 5), "3::steps": range(1, 5)}, window=1, timeout=60)
    first = [(params["3::cfg"], params["3::steps"]) for params in params_of_submits(api)[:4]]
    assert len({cfg for cfg, _ in first}) >= 2
    assert len({steps for _, steps in first}) >= 2
    quarters = {(cfg > 2, steps > 2) for cfg, steps in first}
    assert len(quarters) == 4, "each quarter of the grid has an image before any has two"


def test_generated_seeds_are_kept_until_fresh(client, api):
    axes = {"3::seed": "random#3", "3::cfg": [1, 2]}
    first = client.sweep("wf-1", axes, timeout=60)
    seeds = {cell.params["3::seed"] for cell in first.cells}
    assert len(seeds) == 3
    extended = client.sweep("wf-1", {**axes, "3::cfg": [1, 2, 3]}, timeout=60)
    assert {cell.params["3::seed"] for cell in extended.cells} == seeds
    assert api.count(RUN) == 9
    fresh = client.sweep("wf-1", axes, fresh=True, timeout=60)
    assert {cell.params["3::seed"] for cell in fresh.cells}.isdisjoint(seeds)
    assert api.count(RUN) == 15


def test_an_unfinished_fresh_sweep_is_continued(client, api):
    client.sweep("wf-1", AXES, timeout=60)
    api.live_statuses = ["running"] * 100_000
    sweep = client.sweep("wf-1", AXES, fresh=True, wait=False, window=2)
    api.wait_for(RUN, 8)
    sweep.cancel()
    api.live_statuses = []
    sweep.wait(60)
    continued = client.sweep("wf-1", AXES, fresh=True, timeout=60)
    assert continued.ref == sweep.ref
    assert continued.status_counts() == {"success": 6}
    assert api.count(RUN) == 12, "two of six were done, the others submitted once"
    started_again = client.sweep("wf-1", AXES, fresh=True, timeout=60)
    assert started_again.ref != sweep.ref
    assert api.count(RUN) == 18


def test_more_than_500_runs_require_max_runs_on_a_free_service(client, api):
    """15,000 cells were submitted to a local server: only services that cost money required --max-runs."""
    with pytest.raises(SettingsError, match="max_runs"):
        client.sweep("wf-1", {"3::cfg": list(range(501))})
    assert api.count(RUN) == 0
    with pytest.raises(SettingsError, match="501 runs to submit, and max_runs= permits 500"):
        client.sweep("wf-1", {"3::cfg": list(range(501))}, max_runs=500)
    assert client.plan_sweep("wf-1", {"3::cfg": list(range(501))}).plan.to_submit == 501
    permitted = client.sweep("wf-1", {"3::cfg": list(range(501))}, max_runs=501, wait=False)
    permitted.cancel()
    assert len(permitted.cells) == 501


@pytest.mark.parametrize("target", ["x.jpg", "x.tar.gz"])
def test_invalid_save_target_is_an_error_before_a_submit(client, api, tmp_path, target):
    with pytest.raises(SettingsError, match="zip"):
        client.sweep("wf-1", {"3::cfg": [1, 2]}, save=tmp_path / target)
    with pytest.raises(SettingsError, match="zip"):
        client.run("wf-1", {"3::cfg": 1}, save=tmp_path / "x.tar.gz")
    assert api.count(RUN) == 0


def test_a_sweep_is_a_sequence_of_its_cells(client, api):
    sweep = client.sweep("wf-1", AXES, timeout=60, name="looks")
    assert len(sweep) == 6
    assert list(sweep) == sweep.cells
    assert (sweep[0], sweep[-1], sweep[1:3]) == (sweep.cells[0], sweep.cells[5], sweep.cells[1:3])
    assert sweep["s1.6"] is sweep["looks.6"] is sweep.cells[5]
    assert [image.run for image in sweep.images] == [cell.run for cell in sweep]
    assert repr(sweep.images) == "<Images of s1: 6>"


def test_a_cell_that_does_not_exist_names_the_range(client):
    sweep = client.sweep("wf-1", AXES, timeout=60)
    text = r's1 has 6 cells, so there is no .*: use \[0\] to \[5\], or \["s1.1"\] to \["s1.6"\]'
    for key in (6, -7, "7", "s1.7", "s2.1", "s1", "r1", True, 1.0, None):
        with pytest.raises(RefError, match=text):
            sweep[key]


def test_a_planned_sweep_has_cells_and_no_images(client):
    sweep = client.plan_sweep("wf-1", AXES)
    assert (len(sweep), list(sweep.images)) == (6, [])
    assert sweep["sweep.2"] is sweep[1]
