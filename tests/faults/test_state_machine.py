"""A state machine of clients, the history and a service with a fake clock: every order of events keeps the promises."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from chaotic_api import image_of
from faulty_server import FaultyServer, choose, close_after_reading, html, redirect, reply, truncated
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from promises import broken_images, broken_statuses, damage, log_statuses, lost_runs, read_rows
from scripted_api import BASE, CHECK, RUN, TOKEN
from waiting import wait_until

from comflowy_nb.database.process_locks import ProcessLock
from comflowy_nb.database.records import RunRequest
from comflowy_nb.database.runs import History
from comflowy_nb.errors import ServiceError
from comflowy_nb.images.prune import prune
from comflowy_nb.services.comflowy.service import Comflowy
from comflowy_nb.services.types import Event
from comflowy_nb.settings import Secret, settings
from comflowy_nb.status import Status
from comflowy_nb.tracking.registry import RunRegistry
from comflowy_nb.tracking.submit import Submitter
from comflowy_nb.tracking.tracker import Tracker

CANCEL = f"POST {BASE}/cancel"
NUMBERS = st.integers(0, 3)
# Index of a run. No rule draws from the current runs: their number depends on the speed of threads, and hypothesis
# must draw the same values when it repeats an example.
PICKS = st.integers(0, 11)
ENDS = {"success", "failed", "cancelled"}
STATUSES: Counter[str] = Counter()  # statuses that the runs of all examples have had
REPORTED = ["success", "success", "failed", "running", "waiting", "pending"]

# name -> (response to a submit, whether the service accepts it, whether it may be submitted again)
SUBMITS = {
    "accepted": (reply, True, False),
    "response lost": (lambda body: close_after_reading(), True, False),
    "500 after accepting": (lambda body: reply({}, 500), True, False),
    "truncated": (truncated, True, False),
    "redirect": (lambda body: redirect("/elsewhere"), False, False),
    "html": (lambda body: html(), False, False),
    "lost request": (lambda body: close_after_reading(), False, False),
    "rejected": (lambda body: reply({"success": False, "error": "no credit"}), False, True),
    "400": (lambda body: reply({}, 400), False, True),
    "429": (lambda body: reply({}, 429, {"Retry-After": "1"}), False, True),
    "401": (lambda body: reply({}, 401), False, True),
}
READS = {
    "closed": close_after_reading(),
    "500": reply({}, 500),
    "429": reply({}, 429, {"Retry-After": "2"}),
    "html": html(),
    "401": reply({}, 401),
}


@dataclass
class ServiceRun:
    """A run of the service."""

    number: int
    token: str
    status: str = "waiting"
    is_known: bool = True  # False: the service has forgotten it


@dataclass
class State:
    """What the service knows, and the faults of its next responses."""

    runs: dict[str, ServiceRun] = field(default_factory=dict)
    may_submit: dict[int, bool] = field(default_factory=dict)
    doubled: list[str] = field(default_factory=list)
    submit_fault: str = "accepted"
    early_event: str | None = None  # a webhook that arrives before the response to the submit
    check_faults: list[str] = field(default_factory=list)
    image_faults: list[str] = field(default_factory=list)


class Clock:
    """A monotonic clock that moves only by `advance`."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Addresses:
    """A webhook receiver without a server: the addresses name the run, and the machine itself delivers the events."""

    def urls(self, token: str) -> dict[str, str]:
        return {"on_result_url": f"http://127.0.0.1:1/{token}"}

    def forget(self, token: str) -> None:
        """Do nothing."""


class Kernel:
    """The objects of one client, with a fake clock and one thread."""

    def __init__(self, home: Path, url: str, clock: Clock) -> None:
        self.clock = clock
        self.lock = ProcessLock(home / "locks")
        self.history = History.open(home)
        self.images = home / "images"
        # the kind `sandbox` has a route to cancel a run
        self.service = Comflowy(url, key=Secret("k"), identity="test", label="test", kind="sandbox")
        self.tracker = Tracker(self.service, self.history, images=self.images, clock=clock)
        self.tracker.webhooks = Addresses()
        self.registry = RunRegistry(
            self.tracker, owner=self.lock.name, owners=home / "locks", images_folder=self.images
        )
        self.submitter = Submitter(self.tracker, self.registry, lock_name=self.lock.name, inputs=home / "inputs")

    def request(self, number: int) -> RunRequest:
        names = dict.fromkeys(("identity", "service"), "test")
        return RunRequest(
            token=str(uuid.uuid4()),
            **names,
            origin=self.registry.origin,
            workflow="wf-1",
            workflow_id="wf-1",
            params={"3::seed": number},
            key=f"key {number}",
            owner=self.lock.name,
        )

    def finish(self) -> None:
        """Wait until every action that is due has ended, and no image is being downloaded."""
        for _ in range(3):  # an action may have scheduled another one
            self._pass_barrier()
        wait_until(self._is_settled)

    def _pass_barrier(self) -> None:
        done, scheduler = threading.Event(), self.tracker.scheduler
        scheduler.submit_at(scheduler.clock(), done.set)
        wait_until(lambda: done.is_set() or scheduler.pause_left_s > 0)  # a 429 pauses until the clock is advanced

    def _is_settled(self) -> bool:
        if not any(run.status.is_final for run in self.tracker.live()):
            return True
        self.clock.now_s += 1.0  # the check that gives the addresses of the images is repeated later
        self._pass_barrier()
        return False

    def end(self) -> None:
        """End without any further write, as a process that is killed."""
        self.tracker.scheduler.close()
        self.tracker.downloads.close()
        self.lock.release()
        self.service.close()
        self.history.close()


class Promises(RuleBasedStateMachine):
    """The state machine: its rules are events and faults, its invariants are the promises."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.home = self.folder / "home"
        self.clock = Clock()
        self.state = State()
        self.guard = threading.Lock()
        self.server = FaultyServer()
        self.server.on(TOKEN, reply({"access_token": "t"}))
        self.server.on(RUN, choose(self.answer_submit))
        self.server.on(CHECK, choose(self.answer_check))
        self.server.on(CANCEL, choose(self.answer_cancel))
        self.server.on("GET /images/*", choose(self.answer_image))
        self.kernel = Kernel(self.home, self.server.url, self.clock)
        log_statuses(self.home)

    def teardown(self) -> None:
        STATUSES.update(status for (status,) in read_rows(self.home, "SELECT new FROM status_log"))
        self.kernel.end()
        self.server.close()
        assert self.server.failures == []
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- the service ----------------------------------------------------------------------------------------------

    def answer_submit(self, request):
        number = request.json["params"]["3::seed"]
        token = request.json["callback_urls"]["on_result_url"].rpartition("/")[2]
        with self.guard:
            state = self.state
            if not state.may_submit.get(number, True):
                state.doubled.append(f"intent {number} after {state.submit_fault}")
            answer, accepts, may_submit = SUBMITS[state.submit_fault]
            state.submit_fault = "accepted"  # a repeated submit succeeds
            state.may_submit[number] = may_submit
            run_id = f"run-{len(state.runs) + 1}"
            if accepts:
                state.runs[run_id] = ServiceRun(number, token)
            early, state.early_event = state.early_event, None
        if accepts and early is not None:
            self.kernel.tracker.handle_event(Event(token, Status(early), run_id))
        return answer({"success": True, "data": {"run_id": run_id}})

    def answer_check(self, request):
        with self.guard:
            fault = self.state.check_faults.pop() if self.state.check_faults else None
            run = self.state.runs.get(request.query["id"])
            if fault is not None:
                return READS[fault]
            if run is None or not run.is_known:
                return reply({"success": False, "error": "no such run"}, 404)
            if run.status in {"failed", "cancelled"}:
                self.state.may_submit[run.number] = True
                return reply({"success": True, "data": {"status": "failed", "error": run.status}})
            url = f"{self.server.url}/images/{run.number}.png"
            outputs = {"output_images": [url], "full_outputs": {"9": {"images": [url]}}}
            data = {"status": run.status, **(outputs if run.status == "success" else {})}
            return reply({"success": True, "data": data})

    def answer_cancel(self, request):
        with self.guard:
            run = self.state.runs.get(request.query["id"])
            if run is None or not run.is_known:
                return reply({}, 404)
            if run.status in ENDS:
                return reply({}, 409)
            run.status = "cancelled"
            return reply({"success": True, "data": {"status": "cancelled"}})

    def answer_image(self, request):
        with self.guard:
            fault = self.state.image_faults.pop() if self.state.image_faults else None
        content = image_of(int(request.path.rpartition("/")[2].removesuffix(".png")))
        if fault == "truncated":
            return truncated(content)
        return READS[fault] if fault else reply(content, headers={"Content-Type": "image/png"})

    # -- rules ----------------------------------------------------------------------------------------------------

    @initialize(fault=st.sampled_from(["response lost", "429", "rejected", "500 after accepting"]))
    def first(self, fault):
        """Begin each example with a run that succeeds and a run that ends otherwise."""
        self.submit(0, "accepted", None, "failed")
        self.state.runs["run-1"].status = "success"
        self.check(40.0, [])
        self.submit(1, fault, None, "failed")

    @rule(
        number=NUMBERS,
        fault=st.sampled_from(["accepted", "accepted", *SUBMITS]),
        early=st.sampled_from([None, None, "running", "success", "failed"]),
        retry=st.sampled_from(["failed", "failed", "unknown", "none"]),
    )
    def submit(self, number, fault, early, retry):
        with self.guard:
            self.state.submit_fault, self.state.early_event = fault, early
            if retry == "unknown" and self._newest_status(number) in {"unknown", "lost"}:
                self.state.may_submit[number] = True  # the user types --retry unknown
        try:
            decision, _ = self.kernel.submitter.submit(self.kernel.request(number), fresh=False, retry=retry)
        except ServiceError:  # a lost run can't be checked
            return
        self.kernel.finish()
        if retry == "none":
            assert decision.kind != "new" or not self._earlier(number)

    @rule(number=NUMBERS)
    def duplicate(self, number):
        """Submit the same request on several threads at the same time."""
        threads = [threading.Thread(target=self._submit_quietly, args=(number,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.kernel.finish()

    def _submit_quietly(self, number):
        with contextlib.suppress(ServiceError):
            self.kernel.submitter.submit(self.kernel.request(number), fresh=False, retry="failed")

    @rule(
        seconds=st.sampled_from([0.2, 1.0, 5.0, 40.0, 3600.0]),
        faults=st.lists(st.sampled_from(sorted(READS)), max_size=2),
    )
    def check(self, seconds, faults):
        """Advance the clock, so that runs are checked; some checks fail."""
        self.state.check_faults = list(faults)
        self.clock.now_s += seconds
        self.kernel.finish()

    @rule(
        pick=PICKS,
        status=st.sampled_from(REPORTED),
        seconds=st.sampled_from([40.0, 5.0, 0.0]),
        image_faults=st.lists(st.sampled_from([*sorted(READS), "truncated"]), max_size=5),
    )
    def progress(self, pick, status, seconds, image_faults):
        """Let the service change the status of a run, and advance the clock; downloads may fail."""
        with self.guard:
            self.state.image_faults = list(image_faults)
            for run in self._open_run(pick):
                run.status = status
        self.check(seconds, [])

    @rule(pick=PICKS, status=st.sampled_from([*REPORTED, None]), times=st.integers(1, 2), knows_id=st.booleans())
    def webhook(self, pick, status, times, knows_id):
        """Deliver a late, early, repeated or wrong event."""
        run_id = sorted(self.state.runs)[pick % len(self.state.runs)]
        event = Event(self.state.runs[run_id].token, status and Status(status), run_id if knows_id else None)
        for _ in range(times):
            self.kernel.tracker.handle_event(event)
        self.kernel.finish()

    @rule(pick=PICKS)
    def forget_run(self, pick):
        """Let the service lose a run, which it then does not execute."""
        with self.guard:
            for run in self._open_run(pick):
                run.is_known = False
                self.state.may_submit[run.number] = True

    @rule(number=NUMBERS)
    def cancel(self, number):
        for run in self.kernel.tracker.live():
            if run.record.params["3::seed"] == number:
                self.kernel.registry.cancel(run)
        self.kernel.finish()

    @rule(with_submit=st.booleans(), number=NUMBERS, is_accepted=st.booleans())
    def crash_and_reopen(self, with_submit, number, is_accepted):
        """Kill the process, in some examples during a submit; a new process adopts its runs."""
        killed = self.kernel
        if with_submit:
            with self.guard:
                self.state.submit_fault = "response lost" if is_accepted else "lost request"
                self.state.early_event = None
            with contextlib.suppress(ServiceError):
                killed.submitter.submit(killed.request(number), fresh=False, retry="failed")
        killed.end()
        self.kernel = Kernel(self.home, self.server.url, self.clock)
        self.kernel.registry.adopt_orphans()
        self.kernel.finish()

    @rule()
    def resume(self):
        self.kernel.registry.resume_all()
        self.kernel.finish()

    @rule(stars=st.integers(0, 5), is_refetched=st.booleans())
    def rate_and_prune(self, stars, is_refetched):
        for record in self.kernel.history.recent(2):
            for image in self.kernel.registry.run(record).images:
                image.rate(stars)
                assert image.rating == (stars or None)
        prune(self.kernel.history, self.kernel.images, 0)
        assert read_rows(self.home, "SELECT * FROM removals") == []
        for record in self.kernel.history.recent(3) if is_refetched else ():
            self.kernel.registry.refresh(self.kernel.registry.run(record), refetch=True)
        self.kernel.finish()

    # -- invariants ----------------------------------------------------------------------------------------------

    def _open_run(self, pick: int) -> list[ServiceRun]:
        """Return one run that has not ended, in a list that is empty if there is none."""
        runs = [run for run in self.state.runs.values() if run.status not in ENDS and run.is_known]
        return [runs[pick % len(runs)]] if runs else []

    def _earlier(self, number: int) -> list[str]:
        return [run_id for run_id, run in self.state.runs.items() if run.number == number][:-1]

    def _newest_status(self, number: int) -> str | None:
        rows = read_rows(
            self.home, "SELECT status FROM runs WHERE key = ? ORDER BY number DESC LIMIT 1", f"key {number}"
        )
        return rows[0][0] if rows else None

    @invariant()
    def no_request_is_submitted_twice(self):
        assert self.state.doubled == []

    @invariant()
    def no_accepted_run_is_lost(self):
        with self.guard:
            accepted = [(run.number, run_id) for run_id, run in self.state.runs.items()]
        assert lost_runs(self.home, accepted) == []

    @invariant()
    def no_status_goes_back(self):
        assert broken_statuses(self.home) == []

    @invariant()
    def ends_are_those_of_the_service(self):
        ended = read_rows(self.home, "SELECT service_run_id, status FROM runs WHERE status IN ('success', 'failed')")
        for run_id, status in ended:
            allowed = {"failed", "cancelled"} if status == "failed" else {"success"}
            assert self.state.runs[run_id].status in allowed

    @invariant()
    def every_listed_image_is_complete(self):
        assert broken_images(self.home) == []
        pruned = read_rows(self.home, "SELECT file FROM images WHERE state = 'pruned'")
        assert [file for (file,) in pruned if (self.home / "images" / file).exists()] == []

    @invariant()
    def the_history_is_intact(self):
        assert damage(self.home) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_order_of_events_keeps_the_promises(monkeypatch):
    settings.workers = 1  # so that a barrier in the queue shows that all due actions have ended
    settings.retry_base_s, settings.retry_max_s, settings.lost_gap_s = 0.01, 0.02, 0.01
    machine = Promises.TestCase
    machine.settings = hypothesis_settings(
        max_examples=25,
        stateful_step_count=40,
        phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink a failure takes minutes
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    machine().runTest()
    assert set(STATUSES) >= {"waiting", "success", "unknown"}
