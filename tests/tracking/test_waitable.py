"""Listeners of runs and sweeps: a listener affects neither the others nor the lifetime of a sweep."""

from __future__ import annotations

import gc
import itertools
import threading
import time
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_api import CHECK
from waiting import wait_until

from comflowy_nb.database.records import ImageRecord, RunRecord
from comflowy_nb.services.types import Progress, RunEvent
from comflowy_nb.status import Status, may_follow
from comflowy_nb.tracking.run import Run

AXES = {"3::cfg": [2, 4, 6], "3::seed": 7}


def record(status=Status.RUNNING, **changes):
    defaults = {"identity": "i", "origin": "o", "service": "s", "workflow": "w", "workflow_id": "w", "owner": "a" * 32}
    values = {"token": "t", "number": 1, "params": {}, "key": "k", "created_at": time.time(), "status": status}
    return RunRecord(**(defaults | values | changes))


def test_a_listener_that_raises_does_not_stop_the_others(caplog):
    """A run stayed `running` on the screen, because a listener called before that of the view had raised."""
    run, statuses = Run(record()), []

    def broken(_):
        raise NameError("stop")

    run.listen(broken)
    run.listen(lambda changed: statuses.append(changed.status))
    run.update(record(Status.SUCCESS))
    assert statuses == ["success"]
    assert "NameError" in caplog.text


def test_repr_of_a_running_run_has_its_progress():
    run = Run(record())
    for value, expected in ((5, " 5/20 "), (None, " 0/20 "), (2.5, " 2.5/20 ")):
        run.report(progress=Progress(node="3", value=value, max=20))
        assert expected in repr(run)
    run.update(record(Status.SUCCESS))
    assert "/20" not in repr(run)


def test_repr_of_a_run_has_its_name_or_its_workflow():
    assert "'boat'" in repr(Run(record(name="boat")))
    assert "'default'" in repr(Run(record(workflow="default")))


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (RunEvent("waiting", 0.0), "waiting"),
        (RunEvent("running", 0.0, progress=Progress(title="KSampler", value=5, max=20)), "running KSampler 5/20"),
        (RunEvent("running", 0.0, progress=Progress(node="3", max=20)), "running node 3 0/20"),
        (RunEvent("message", 0.0, text="half"), "message 'half'"),
    ],
)
def test_repr_of_an_event_has_its_text_and_progress(event, text):
    assert repr(event) == f"<RunEvent {text}>"


def test_a_removed_listener_is_not_called():
    run, statuses = Run(record()), []
    stop = run.listen(lambda changed: statuses.append(changed.status))
    run.listen(lambda _: stop())
    run.report(warning="none")
    run.update(record(Status.SUCCESS))
    stop()  # a second call changes nothing
    assert statuses == ["running"]


def test_listener_added_with_once_is_called_once_for_changes_on_many_threads():
    """`stop = run.listen(...)`: a change on another thread before the assignment raised NameError in the listener."""
    for _ in range(200):
        run, done = Run(record()), []
        start = threading.Barrier(4)

        def change(run=run, start=start):
            start.wait()
            run.update(record(Status.SUCCESS))

        threads = [threading.Thread(target=change) for _ in range(3)]
        for thread in threads:
            thread.start()
        start.wait()
        run.once(lambda run=run: not run.status.is_live, lambda done=done: done.append(1))
        for thread in threads:
            thread.join()
        assert done == [1]


@given(st.lists(st.sampled_from(list(Status)), max_size=8))
def test_a_status_never_goes_back(statuses):
    """A success became `waiting` again: it was not in the history yet, and an older record was read from there."""
    run = Run(record(Status.SUBMITTING))
    statuses_seen = [run.status]
    run.listen(lambda changed: statuses_seen.append(changed.status))
    for status in statuses:
        run.update(record(status))
    assert all(old is new or may_follow(old, new) for old, new in itertools.pairwise(statuses_seen))


def test_images_of_an_older_record_are_kept():
    expected = [ImageRecord(index, "9", index) for index in range(2)]
    run = Run(record(Status.SUCCESS).with_outputs(expected))
    image_on_disk = ImageRecord(1, "9", 1, state="kept", file="a.png", format="PNG")
    run.update(record(Status.WAITING).with_outputs([image_on_disk]))
    assert run.status == "success"
    assert [image.record.state for image in run.images] == ["expected", "kept"]
    assert not run.record.is_settled


@pytest.mark.usefixtures("short_delays")
def test_a_sweep_that_is_run_again_leaves_no_earlier_sweep_or_listener(client, api):
    """After 21 runs of a cell 21 sweeps were alive, and each change of a run called 42 listeners."""
    api.live_statuses = []
    sweeps = [client.sweep("wf-1", AXES, timeout=60) for _ in range(11)]
    runs = [cell.run for cell in sweeps[0].cells]
    assert [cell.run for cell in sweeps[-1].cells] == runs
    alive = [weakref.ref(sweep) for sweep in sweeps]
    del sweeps

    def are_collected():
        gc.collect()  # a worker may still refer to the last sweep
        return not any(reference() for reference in alive)

    wait_until(are_collected)


@pytest.mark.usefixtures("short_delays")
def test_a_sweep_is_notified_of_a_run_whose_image_is_fetched_again(client, api):
    """A sweep listens to its runs as long as it lives: a run that has ended can fetch images again."""
    api.live_statuses = []
    sweep = client.sweep("wf-1", AXES, timeout=60)
    run = sweep.cells[0].run
    run.images[0].path.unlink()
    before = api.count(CHECK)
    assert client.connection.registry.refresh(run)
    sweep.wait(60)
    assert run.images[0].path.exists()
    assert api.count(CHECK) == before + 1


def test_an_end_is_reported_although_the_garbage_collector_removes_another_listener_meanwhile():
    """A sweep stayed unfinished for ever: the end of a run was not counted.

    The garbage collector may run in the middle of the removal of a listener, and the finalizer of an old sweep then
    removes its own listeners. The first removal seemed to have found none.
    """
    run, thresholds = Run(record()), gc.get_threshold()
    calls = []
    gc.collect()
    gc.freeze()  # each collection below examines the objects of this test only
    try:
        for count in range(1, 60):  # the collector runs at another allocation each time
            gc.disable()
            gc.collect()
            stop_other = run.listen(lambda _: None)
            garbage = _Cycle()
            weakref.finalize(garbage, stop_other)
            garbage.itself = garbage
            del garbage

            def is_met(count=count):
                gc.set_threshold(count)
                gc.enable()
                return True

            run.once(is_met, lambda count=count: calls.append(count))
            gc.set_threshold(*thresholds)
    finally:
        gc.set_threshold(*thresholds)
        gc.enable()
        gc.unfreeze()
    assert calls == list(range(1, 60))


class _Cycle:
    """An object that only the garbage collector frees."""

    itself = None
