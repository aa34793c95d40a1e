"""Views of runs: two displays per run, few updates, and one thread for the views of background runs."""

from __future__ import annotations

import signal
import sys
import threading
import time
import weakref
from dataclasses import replace

import pytest
from IPython.utils.capture import capture_output
from waiting import wait_until

from comflowy_nb.errors import RunTimeout
from comflowy_nb.notebook.display.live import LiveUpdater, wait_drawing
from comflowy_nb.notebook.display.views import RunView
from comflowy_nb.services.types import Progress
from comflowy_nb.status import Status


def finish(run, folder, *images):
    """Let the run succeed with images."""
    done = folder.run(*images, number=run.number, params=run.params)
    run.update(replace(done.record, token=run.token))


@pytest.fixture
def threads():
    """Count the threads of updaters, without those of earlier tests."""
    before = set(threading.enumerate())
    return lambda: sum(each.name == "comflowy views" for each in set(threading.enumerate()) - before)


def bundles(captured, *, updates):
    return [output for output in captured._outputs if bool(output.get("update")) is updates]


def test_two_displays_are_created_at_once_the_second_empty(shell, folder):
    with capture_output() as captured:
        RunView(folder.run(status=Status.RUNNING), in_kernel=True)
    status, images = bundles(captured, updates=False)
    assert set(status["data"]) == {"text/plain", "text/html"}
    assert images["data"] == {"text/plain": ""}
    assert status["transient"]["display_id"] != images["transient"]["display_id"]


def test_frequent_progress_causes_at_most_four_updates_a_second(shell, folder):
    run = folder.run(status=Status.RUNNING)
    stop = threading.Event()

    def flood():
        step = 0
        while not stop.wait(0.002):
            step += 1
            run.report(progress=Progress(node="3", title="KSampler", value=step, max=10_000))

    with capture_output() as captured:
        view = RunView(run, in_kernel=True)
        flooding = threading.Thread(target=flood)
        flooding.start()
        began = time.monotonic()
        while len(bundles(captured, updates=True)) < 3:
            with pytest.raises(RunTimeout, match="and continues: %comflowy show"):
                wait_drawing([view], 1.5)
        took = time.monotonic() - began
        stop.set()
        flooding.join()
    updates = bundles(captured, updates=True)
    assert len(updates) <= 4 * took + 1


def test_the_end_updates_status_and_images_once(shell, folder):
    run = folder.run(status=Status.RUNNING)
    with capture_output() as captured:
        view = RunView(run, in_kernel=True)
        threading.Timer(0.2, finish, (run, folder, ("9", 64, 64))).start()
        wait_drawing([view], 20)
        view.finish()
    shown = [output for output in bundles(captured, updates=True) if "image/jpeg" in output["data"]]
    assert len(shown) == 1
    assert shown[0]["metadata"]["image/jpeg"]["width"] > 0
    assert "success" in bundles(captured, updates=True)[-2]["data"]["text/plain"]
    assert len(bundles(captured, updates=False)) == 2


def test_a_terminal_gets_a_line_for_each_change_and_the_paths(shell, folder, capsys):
    run = folder.run(status=Status.PENDING)
    view = RunView(run, in_kernel=False)
    view.draw(force=True)
    view.draw(force=True)
    run.update(replace(run.record, status=Status.RUNNING))
    for step in range(3):
        run.report(progress=Progress(node="3", title="KSampler", value=step, max=20))
        view.draw(force=True)
    finish(run, folder, ("9", 64, 64))
    view.finish()
    lines = capsys.readouterr().out.splitlines()
    assert ["pending" in lines[0], "running" in lines[1], "success" in lines[2]] == [True] * 3
    assert lines[3:] == [f"  {run.images[0].path}"]


def test_the_view_thread_draws_to_the_end_and_then_ends(shell, folder, threads):
    runs = [folder.run(status=Status.RUNNING) for _ in range(3)]
    updater = LiveUpdater()
    with capture_output() as captured:
        for run in runs:
            updater.add(RunView(run, in_kernel=True))
        assert threads() == 1
        for run in runs:
            finish(run, folder, ("9", 64, 64))
        wait_until(lambda: not threads())
    shown = [output for output in bundles(captured, updates=True) if "image/jpeg" in output["data"]]
    assert len({output["transient"]["display_id"] for output in shown}) == len(shown) == 3


def test_a_view_that_can_t_be_drawn_does_not_stop_the_others(shell, folder, threads, monkeypatch):
    from comflowy_nb.notebook.display import grids

    bad, good = folder.run(status=Status.RUNNING), folder.run(status=Status.RUNNING)
    draw = grids.Grid.bundle

    def fail_for_bad(self):
        if self._runs[0] is bad:
            raise MemoryError
        return draw(self)

    monkeypatch.setattr(grids.Grid, "bundle", fail_for_bad)
    updater = LiveUpdater()
    with capture_output() as captured:
        for run in (bad, good):
            updater.add(RunView(run, in_kernel=True))
            finish(run, folder, ("9", 64, 64))
        wait_until(lambda: not threads())
    updates = bundles(captured, updates=True)
    assert any("can't be drawn (MemoryError)" in output["data"]["text/plain"] for output in updates)
    assert sum("image/jpeg" in output["data"] for output in updates) == 1


def test_a_closed_display_does_not_end_the_thread(shell, folder):
    """After an error, background runs were no longer drawn.

    The message about the failed drawing failed too, which ended the only view thread.
    """
    bad, good = folder.run(status=Status.RUNNING), folder.run(status=Status.RUNNING)
    refused = []
    updater = LiveUpdater()
    with capture_output() as captured:
        view = RunView(bad, in_kernel=True)
        (handle, _) = (output["transient"]["display_id"] for output in bundles(captured, updates=False))
        publish = shell.display_pub.publish

        def refuse(*args, **options):
            if options["transient"]["display_id"] == handle:
                refused.append(handle)
                raise OSError("the connection to the front end is closed")
            publish(*args, **options)

        shell.display_pub.publish = refuse
        updater.add(view)
        bad.report(progress=Progress(node="3", title="KSampler", value=1, max=2))
        wait_until(lambda: len(refused) >= 2)  # the drawing, and the message about it
        updater.add(RunView(good, in_kernel=True))
        finish(good, folder, ("9", 64, 64))
        wait_until(lambda: any("image/jpeg" in output["data"] for output in bundles(captured, updates=True)))
        updater.close()


def test_close_stops_the_thread_and_not_the_runs(shell, folder, threads):
    updater = LiveUpdater()
    with capture_output():
        updater.add(RunView(folder.run(status=Status.RUNNING), in_kernel=True))
        updater.close()
    assert not threads()


def test_an_interrupt_that_python_discards_is_raised(shell, folder, monkeypatch):
    """CPython discards an interrupt within a weak reference callback, such as those of a freed figure."""
    dropped = []
    monkeypatch.setattr(sys, "unraisablehook", dropped.append)

    class Part:
        pass

    class Drawn(RunView):
        def draw(self, *, force=False):
            part = Part()
            self.seen = weakref.ref(part, lambda _: signal.raise_signal(signal.SIGINT))
            del part

    with capture_output():
        view = Drawn(folder.run(status=Status.RUNNING), in_kernel=True)
        with pytest.raises(KeyboardInterrupt):
            wait_drawing([view], 30)
    assert [unraisable.exc_type for unraisable in dropped] == [KeyboardInterrupt]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
