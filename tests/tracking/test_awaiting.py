"""`await run`, `await sweep` and `on_done`: other ways to wait for the same run."""

from __future__ import annotations

import asyncio
import threading

import pytest
from waiting import wait_until

from comflowy_nb.errors import ComflowyError, SettingsError
from comflowy_nb.status import Status

pytestmark = pytest.mark.usefixtures("short_delays")

AXES = {"3::cfg": [2, 4, 6], "3::seed": 7}


@pytest.fixture
def held(api):
    """Let runs stay `running` until `held()` is called."""
    api.live_statuses = ["running"] * 100_000

    def release():
        api.live_statuses = []

    return release


def test_await_returns_the_settled_run_or_sweep(client, api):
    run = client.run("wf-1", {"3::cfg": 7}, wait=False)
    sweep = client.sweep("wf-1", AXES, wait=False)

    async def main():
        return await run, await sweep, await run

    assert asyncio.run(main()) == (run, sweep, run)
    assert run.is_settled
    assert sweep.status_counts() == {"success": 3}


def test_several_awaits_run_at_once_while_the_loop_continues(client, held):
    runs = [client.run("wf-1", {"3::cfg": cfg}, wait=False) for cfg in range(4)]
    sweep = client.sweep("wf-1", AXES, wait=False)
    ticks = []

    async def tick():
        while len(ticks) < 5:
            ticks.append(1)
            await asyncio.sleep(0.01)
        held()

    async def main():
        return await asyncio.gather(tick(), *runs, sweep, sweep)

    _, *done = asyncio.run(main())
    assert done == [*runs, sweep, sweep]
    assert len(ticks) == 5


def test_a_cancelled_await_only_stops_waiting(client, held):
    run = client.run("wf-1", {"3::cfg": 7}, wait=False)

    async def main():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(run, 0.2)
        task = asyncio.ensure_future(run)
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert run.status.is_live
        held()
        return await run

    assert asyncio.run(main()).status is Status.SUCCESS


def test_an_await_needs_no_thread_and_leaves_no_listener(client, held):
    run = client.run("wf-1", {"3::cfg": 7}, wait=False)
    wait_until(lambda: run.status is Status.RUNNING)

    async def main():
        before = threading.active_count()
        tasks = [asyncio.ensure_future(run) for _ in range(200)]
        await asyncio.sleep(0.05)
        assert threading.active_count() <= before + 8, "the workers of the client may have started meanwhile"
        for task in tasks[:100]:
            task.cancel()
        held()
        return await asyncio.gather(*tasks, return_exceptions=True)

    found = asyncio.run(main())
    assert found[100:] == [run] * 100
    assert all(isinstance(one, asyncio.CancelledError) for one in found[:100])
    run.report(warning="a later change reaches no closed loop")


def test_a_failed_run_is_returned_as_by_wait(client, api):
    api.live_statuses, api.finished = (
        [],
        {"status": "failed", "error": "no luck", "output_images": [], "full_outputs": {}},
    )
    run = client.run("wf-1", {"3::cfg": 7}, wait=False)

    async def main():
        return await run

    assert asyncio.run(main()).status is Status.FAILED
    assert run.wait() is run


def test_on_done_calls_once_with_the_object(client, held):
    run = client.run("wf-1", {"3::cfg": 7}, wait=False)
    sweep = client.sweep("wf-1", AXES, wait=False)
    done = []
    run.on_done(lambda one: done.append((one, one.is_settled)))
    sweep.on_done(lambda one: done.append((one, one.is_settled)))
    run.on_done(done.append)()  # removed
    assert done == []
    held()
    wait_until(lambda: len(done) == 2)
    assert sorted(done, key=repr) == sorted([(run, True), (sweep, True)], key=repr)
    run.report(warning="a later change")
    assert len(done) == 2
    run.on_done(done.append)
    assert done[2:] == [run], "at once, because the run is settled"


def test_a_function_of_on_done_may_wait_for_other_runs_and_raise(client, held, caplog):
    """It runs on its own thread: in a listener of the tracker, waiting for another run would stop all of them."""
    first = client.run("wf-1", {"3::cfg": 7}, wait=False)
    seen = []

    def follow(run):
        seen.append(client.run("wf-1", {"3::cfg": 8}, timeout=60).status)
        raise ValueError("broken")

    first.on_done(follow)
    held()
    wait_until(lambda: "broken" in caplog.text)
    assert seen == ["success"]
    assert first.on_done(follow) is not None, "the exception of a settled run is logged too"
    assert caplog.text.count("ValueError: broken") == 2


def test_on_done_needs_a_function(client, api):
    api.live_statuses = []
    run = client.run("wf-1", {"3::cfg": 7}, timeout=60)
    with pytest.raises(SettingsError, match="on_done needs a function of one argument, such as print, not 7"):
        run.on_done(7)
    with pytest.raises(ComflowyError, match=r"use a number of seconds, as in wait\(timeout=60\)"):
        run.wait("5")
