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
def times():
    table = Scheduler("test", workers=2)
    yield table
    table.close()


@pytest.fixture
def busy(times):
    """The same, with all its threads at work."""
    go_on = threading.Event()
    for _ in range(2):
        times.execute(go_on.wait)
    yield times
    go_on.set()


def test_what_must_go_first_goes_before_what_is_due():
    done = []
    finished = threading.Event()
    table = Scheduler("test", workers=1)
    hold = threading.Event()
    table.execute(lambda: hold.wait(60))
    table.submit_at(0.0, lambda: (done.append("due"), finished.set()))
    table.execute(lambda: done.append("first"))
    hold.set()
    assert finished.wait(60)
    assert done == ["first", "due"]
    table.close()


def test_due_actions_keep_their_order():
    done = []
    finished, hold = threading.Event(), threading.Event()
    table = Scheduler("test", workers=1)
    table.execute(lambda: hold.wait(30))
    start_s = time.monotonic()
    table.submit_at(start_s + 0.10, lambda: (done.append("late"), finished.set()))
    table.submit_at(start_s + 0.02, lambda: done.append("early"))
    hold.set()
    assert finished.wait(30)
    assert done == ["early", "late"]
    assert time.monotonic() - start_s >= 0.10
    table.close()


@pytest.mark.timeout(100)
def test_what_is_due_does_not_wait_for_what_a_thread_is_at(times):
    """A thread that waits for the next action goes off with it; another has to wait for the one after that."""
    both = threading.Barrier(3)
    for _ in range(2):
        times.execute(lambda: both.wait(60))
    both.wait(60)
    go_on, done = threading.Event(), threading.Event()
    first_s = time.monotonic() + 0.3
    times.submit_at(first_s, lambda: go_on.wait(60))
    times.submit_at(first_s + 0.1, done.set)
    assert done.wait(30)
    go_on.set()


@pytest.mark.timeout(100)
def test_many_actions_from_many_threads_are_all_done_in_time():
    table = Scheduler("test", workers=3)
    late_s, left = [], threading.Semaphore(0)

    def act(due_s):
        late_s.append(time.monotonic() - due_s)
        left.release()

    def hand_in(seed):
        draw = random.Random(seed)
        for _ in range(100):
            due_s = time.monotonic() + draw.choice([0.0, 0.001, 0.01, 0.05, 0.1])
            if draw.random() < 0.3:
                table.execute(lambda now_s=time.monotonic(): act(now_s))  # noqa: B008 - of this turn
            else:
                table.submit_at(due_s, lambda due_s=due_s: act(due_s))
            time.sleep(draw.random() / 500)  # so that threads fall idle in between: no result hangs on how long

    threads = [threading.Thread(target=hand_in, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(400):
        assert left.acquire(timeout=60), f"{len(late_s)} of 400 done"
    assert min(late_s) >= 0
    table.close()


def test_a_call_returns_or_raises_what_the_function_did(times):
    assert times.submit(lambda: 6 * 7).result(60) == 42

    def fail():
        raise KeyError("no")

    with pytest.raises(KeyError):
        times.submit(fail).result(60)


def test_an_action_that_raises_does_not_end_its_thread(times):
    for _ in range(5):
        times.execute(lambda: 1 / 0)
    assert times.submit(lambda: "alive").result(60) == "alive"


def test_a_pause_holds_everything(times):
    start_s = time.monotonic()
    times.pause(0.2)
    times.submit(lambda: None).result(60)
    assert time.monotonic() - start_s >= 0.2
    assert times.pause_left_s == 0.0


def test_close_drops_what_was_not_begun():
    table = Scheduler("test", workers=1)
    hold, began = threading.Event(), threading.Event()
    done = []
    table.execute(lambda: (began.set(), hold.wait(60)))
    assert began.wait(60)
    table.execute(lambda: done.append("never"))
    table.close()
    hold.set()
    for thread in table._threads:
        thread.join(60)
        assert not thread.is_alive()
    assert done == []


def test_what_must_not_break_ends_before_an_interrupt_is_told(times):
    done = []

    def work():
        signal.raise_signal(signal.SIGINT)  # reaches the main thread, which waits
        time.sleep(0.2)
        done.append("to its end")
        return 42

    with pytest.raises(DeferredInterrupt) as caught:
        run_uninterrupted(work, times)
    assert done == ["to its end"]
    assert caught.value.result == 42


@pytest.mark.parametrize("error", [KeyError, TimeoutError])
def test_what_must_not_break_raises_its_own_error(times, error):
    def work():
        raise error("its own")

    with pytest.raises(error, match="its own"):
        run_uninterrupted(work, times)


@pytest.mark.timeout(100)
def test_what_must_not_break_waits_for_no_thread_of_a_busy_scheduler(busy):
    assert run_uninterrupted(lambda: 42, busy) == 42


@pytest.mark.timeout(100)
def test_nor_for_one_that_is_closed(times):
    times.close()
    assert run_uninterrupted(lambda: 42, times) == 42


def test_an_interrupt_while_the_thread_starts_is_not_lost(busy, monkeypatch):
    """The interrupt came while the new thread was waited for: the work went on, and nobody was told of its result."""
    real, began = threading.Thread.start, threading.Event()

    def start(self):
        real(self)
        assert began.wait(60)
        raise KeyboardInterrupt

    def work():
        began.set()
        return 42

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(DeferredInterrupt) as caught:
        run_uninterrupted(work, busy)
    assert caught.value.result == 42


def test_an_interrupt_before_anything_began_is_a_plain_one(busy, monkeypatch):
    def start(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", start)
    done = []
    with pytest.raises(KeyboardInterrupt) as caught:
        run_uninterrupted(lambda: done.append(1), busy)
    assert not isinstance(caught.value, DeferredInterrupt)
    assert done == []


@pytest.mark.parametrize("was_handed", [True, False])
def test_an_interrupt_while_it_is_handed_over_does_it_wholly_or_not_at_all(busy, monkeypatch, was_handed):
    """It was still in the queue, and would have been done after the person had been told that it was interrupted."""
    real = Scheduler.submit

    def submit(self, function, future):
        if was_handed:
            real(self, function, future)
        raise KeyboardInterrupt

    monkeypatch.setattr(Scheduler, "submit", submit)
    done = []
    with pytest.raises(KeyboardInterrupt) as caught:
        run_uninterrupted(lambda: done.append(1), busy)
    assert not isinstance(caught.value, DeferredInterrupt)
    busy.close()
    assert done == []


@pytest.mark.timeout(100)
def test_a_question_waits_for_no_thread_of_a_busy_scheduler(busy):
    assert busy.run(lambda: 42) == 42


@pytest.mark.parametrize("error", [KeyError, TimeoutError])
@pytest.mark.parametrize("table", ["times", "busy"])
def test_a_question_raises_its_own_error(request, table, error):
    def ask():
        raise error("its own")

    with pytest.raises(error, match="its own"):
        request.getfixturevalue(table).run(ask)


def test_a_question_waits_for_the_end_of_a_pause(busy):
    busy.pause(0.3)
    end_s = busy.clock() + busy.pause_left_s
    assert busy.run(busy.clock) >= end_s


def test_what_is_done_every_so_often_goes_on_after_a_failure(times):
    """One read of a busy history ended the watch of a run for good: it rescheduled itself only after a success."""
    done = []

    def act():
        done.append(len(done))
        if len(done) == 2:
            raise HistoryError("locked")
        if len(done) == 3:
            raise ValueError("anything else")
        return len(done) < 5

    times.every(0.01, act)
    wait_until(lambda: len(done) == 5)
    settled = threading.Event()
    times.submit_at(times.clock() + 0.1, settled.set)
    assert settled.wait(60)
    assert len(done) == 5


def test_an_idle_thread_keeps_nothing_alive():
    """A client that was referenced nowhere stayed open: an idle thread still held the last action of it."""

    class Client:
        def act(self):
            done.set()

    table, done, client = Scheduler("test", workers=1), threading.Event(), Client()
    reference = weakref.ref(client)
    table.execute(client.act)
    assert done.wait(60)
    del client
    wait_until(lambda: reference() is None)
    table.close()
