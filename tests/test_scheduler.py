import random
import signal
import threading
import time
import weakref

import pytest
from waiting import wait_until

from comflowy_nb.errors import HistoryError
from comflowy_nb.scheduler import DeferredInterrupt, Scheduler, run_uninterrupted


@pytest.fixture
def scheduler():
    scheduler = Scheduler("test", workers=2)
    yield scheduler
    scheduler.close()


@pytest.fixture
def busy(scheduler):
    """Return a scheduler whose threads are all busy."""
    released = threading.Event()
    for _ in range(2):
        scheduler.execute(released.wait)
    yield scheduler
    released.set()


def test_execute_runs_before_actions_that_are_due():
    done = []
    finished = threading.Event()
    scheduler = Scheduler("test", workers=1)
    hold = threading.Event()
    scheduler.execute(lambda: hold.wait(60))
    scheduler.submit_at(0.0, lambda: (done.append("due"), finished.set()))
    scheduler.execute(lambda: done.append("first"))
    hold.set()
    assert finished.wait(60)
    assert done == ["first", "due"]
    scheduler.close()


def test_due_actions_keep_their_order():
    done = []
    finished, hold = threading.Event(), threading.Event()
    scheduler = Scheduler("test", workers=1)
    scheduler.execute(lambda: hold.wait(30))
    start_s = time.monotonic()
    scheduler.submit_at(start_s + 0.10, lambda: (done.append("late"), finished.set()))
    scheduler.submit_at(start_s + 0.02, lambda: done.append("early"))
    hold.set()
    assert finished.wait(30)
    assert done == ["early", "late"]
    assert time.monotonic() - start_s >= 0.10
    scheduler.close()


@pytest.mark.timeout(100)
def test_a_due_action_does_not_wait_for_a_busy_thread(scheduler):
    """A worker that waited for the next action takes it; another worker has to wait for the action after it."""
    both = threading.Barrier(3)
    for _ in range(2):
        scheduler.execute(lambda: both.wait(60))
    both.wait(60)
    released, done = threading.Event(), threading.Event()
    first_s = time.monotonic() + 0.3
    scheduler.submit_at(first_s, lambda: released.wait(60))
    scheduler.submit_at(first_s + 0.1, done.set)
    assert done.wait(30)
    released.set()


@pytest.mark.timeout(100)
def test_actions_of_many_threads_all_run_and_none_too_early():
    scheduler = Scheduler("test", workers=3)
    late_s, left = [], threading.Semaphore(0)

    def act(due_s):
        late_s.append(time.monotonic() - due_s)
        left.release()

    def submit_many(seed):
        draw = random.Random(seed)
        for _ in range(100):
            due_s = time.monotonic() + draw.choice([0.0, 0.001, 0.01, 0.05, 0.1])
            if draw.random() < 0.3:
                scheduler.execute(lambda now_s=time.monotonic(): act(now_s))  # noqa: B008 - of this turn
            else:
                scheduler.submit_at(due_s, lambda due_s=due_s: act(due_s))
            time.sleep(draw.random() / 500)  # lets workers become idle

    threads = [threading.Thread(target=submit_many, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(400):
        assert left.acquire(timeout=60), f"{len(late_s)} of 400 done"
    assert min(late_s) >= 0
    scheduler.close()


def test_submit_returns_the_result_or_raises_the_error_of_the_function(scheduler):
    assert scheduler.submit(lambda: 6 * 7).result(60) == 42

    def fail():
        raise KeyError("no")

    with pytest.raises(KeyError):
        scheduler.submit(fail).result(60)


def test_an_action_that_raises_does_not_end_its_thread(scheduler):
    for _ in range(5):
        scheduler.execute(lambda: 1 / 0)
    assert scheduler.submit(lambda: "alive").result(60) == "alive"


def test_a_pause_delays_all_actions(scheduler):
    start_s = time.monotonic()
    scheduler.pause(0.2)
    scheduler.submit(lambda: None).result(60)
    assert time.monotonic() - start_s >= 0.2
    assert scheduler.pause_left_s == 0.0


def test_close_drops_queued_actions():
    scheduler = Scheduler("test", workers=1)
    hold, started = threading.Event(), threading.Event()
    done = []
    scheduler.execute(lambda: (started.set(), hold.wait(60)))
    assert started.wait(60)
    scheduler.execute(lambda: done.append("never"))
    scheduler.close()
    hold.set()
    for thread in scheduler._threads:
        thread.join(60)
        assert not thread.is_alive()
    assert done == []


def test_an_uninterrupted_function_ends_before_the_interrupt_is_raised():
    done = []

    def work():
        signal.raise_signal(signal.SIGINT)  # delivered to the main thread, which waits
        time.sleep(0.2)
        done.append("to its end")
        return 42

    with pytest.raises(DeferredInterrupt) as caught:
        run_uninterrupted(work)
    assert done == ["to its end"]
    assert caught.value.result == 42


@pytest.mark.parametrize("error", [KeyError, TimeoutError])
def test_an_uninterrupted_function_raises_its_own_error(error):
    def work():
        raise error("its own")

    with pytest.raises(error, match="its own"):
        run_uninterrupted(work)


def test_an_interrupt_while_the_thread_starts_is_deferred(monkeypatch):
    """An interrupt arrived while the new thread started: the function continued, and its result was lost."""
    real_start, started = threading.Thread.start, threading.Event()

    def start(self):
        real_start(self)
        assert started.wait(60)
        raise KeyboardInterrupt

    def work():
        started.set()
        return 42

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(DeferredInterrupt) as caught:
        run_uninterrupted(work)
    assert caught.value.result == 42


def test_an_interrupt_before_the_function_begins_is_not_deferred(monkeypatch):
    def start(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", start)
    done = []
    with pytest.raises(KeyboardInterrupt) as caught:
        run_uninterrupted(lambda: done.append(1))
    assert not isinstance(caught.value, DeferredInterrupt)
    assert done == []


def test_an_action_for_which_no_thread_can_be_started_does_not_run(monkeypatch):
    """The caller reports that the action will not run, so it must not run later."""
    scheduler, done = Scheduler("test", workers=1), []

    def refuse(_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(
            threading.Thread, "start", lambda _: (_ for _ in ()).throw(RuntimeError("can't start new thread"))
        )
        with pytest.raises(RuntimeError):
            scheduler.execute(lambda: done.append("refused"))
    scheduler.submit(lambda: done.append("accepted")).result(60)
    assert done == ["accepted"]
    scheduler.close()


@pytest.mark.timeout(100)
def test_run_does_not_wait_for_busy_workers(busy):
    assert busy.run(lambda: 42) == 42


@pytest.mark.parametrize("error", [KeyError, TimeoutError])
@pytest.mark.parametrize("fixture", ["scheduler", "busy"])
def test_run_raises_the_error_of_the_function(request, fixture, error):
    def ask():
        raise error("its own")

    with pytest.raises(error, match="its own"):
        request.getfixturevalue(fixture).run(ask)


def test_run_waits_for_the_end_of_a_pause(busy):
    busy.pause(0.3)
    end_s = busy.clock() + busy.pause_left_s
    assert busy.run(busy.clock) >= end_s


def test_a_periodic_action_continues_after_a_failure(scheduler):
    """One failed read of a busy history ended the watch of a run: it was repeated only after a success."""
    done = []

    def act():
        done.append(len(done))
        if len(done) == 2:
            raise HistoryError("locked")
        if len(done) == 3:
            raise ValueError("anything else")
        return len(done) < 5

    scheduler.every(0.01, act)
    wait_until(lambda: len(done) == 5)
    settled = threading.Event()
    scheduler.submit_at(scheduler.clock() + 0.1, settled.set)
    assert settled.wait(60)
    assert len(done) == 5


def test_an_idle_thread_does_not_keep_its_last_action_alive():
    """An unreferenced client stayed open: an idle thread still held the client's last action."""

    class Client:
        def act(self):
            done.set()

    scheduler, done, client = Scheduler("test", workers=1), threading.Event(), Client()
    reference = weakref.ref(client)
    scheduler.execute(client.act)
    assert done.wait(60)
    del client
    wait_until(lambda: reference() is None)
    scheduler.close()
