"""Properties of the status of a run that two processes change and read in one history file."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import uuid
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comflowy_nb.database.process_locks import ProcessLock
from comflowy_nb.database.records import ImageRecord, RunRequest
from comflowy_nb.database.runs import History
from comflowy_nb.status import Status, StatusEvent, may_follow
from comflowy_nb.tracking.run import Run


class RunProcess:
    """Changes and reads one run; a child process executes it through `main`."""

    def __init__(self, home):
        self.lock = ProcessLock(home / "locks")
        self.history = History.open(home)
        self.run = None
        self.statuses = []

    def submit(self, key):
        names = dict.fromkeys(("identity", "origin", "service", "workflow", "workflow_id"), "sandbox")
        request = RunRequest(token=str(uuid.uuid4()), **names, params={}, key=key, owner=self.lock.name)
        return self.watch(self.history.record_or_reuse(request).record.token)

    def watch(self, token):
        self.run = Run(self.history.get(token))
        self.statuses = [str(self.run.status)]
        self.run.listen(lambda run: self.statuses.append(str(run.status)))
        return token

    def apply(self, event):
        """Apply an event as the tracker does; a success has one image."""
        event = StatusEvent(event)
        images = [ImageRecord(0, "9", 0)] if event is StatusEvent.SEEN_SUCCESS else None
        with self.run.record_lock:
            record = self.history.apply(self.run.token, event, images=images) or self.history.get(self.run.token)
            self.run.update(record)

    def set_image(self, state):
        """Record that the image, if there is one, is on disk or missing."""
        with self.run.record_lock:
            for image in self.run.record.images:
                self.run.update(self.history.set_images(self.run.token, replace(image, state=state)))

    def read(self):
        with self.run.record_lock:
            self.run.update(self.history.get(self.run.token))
        return [str(self.run.status), [image.record.state for image in self.run.images], self.statuses]

    def adopt_orphans(self):
        self.history.orphans()


CHILD = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_two_processes import RunProcess
reader = RunProcess(Path(sys.argv[1]))
for line in sys.stdin:
    name, *args = json.loads(line)
    print(json.dumps(getattr(reader, name)(*args)), flush=True)
"""


class ChildProcess:
    """A `RunProcess` in another process."""

    def __init__(self, home):
        command = [sys.executable, "-c", CHILD, str(home), __file__.rpartition("/")[0]]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __getattr__(self, name):
        def call(*args):
            self.process.stdin.write(json.dumps([name, *args]) + "\n")
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline())

        return call

    def kill(self):
        self.process.kill()
        self.process.communicate()


STEPS = st.one_of(
    st.tuples(st.just("apply"), st.integers(0, 1), st.sampled_from([str(event) for event in StatusEvent])),
    st.tuples(st.just("apply"), st.integers(0, 1), st.sampled_from(["accepted", "seen running", "seen success"])),
    st.tuples(st.just("set_image"), st.integers(0, 1), st.sampled_from(["kept", "missing"])),
    st.just(("crash",)),
)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_processes_agree_on_a_status_that_never_goes_back(tmp_path_factory):
    """Events may arrive in any order, repeatedly, from either process, and a process may be killed."""
    home = tmp_path_factory.mktemp("home")
    pair = [RunProcess(home), ChildProcess(home)]
    keys = itertools.count()

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, 1), st.lists(STEPS, max_size=10))
    def check(submitter, steps):
        token = pair[submitter].submit(f"key {next(keys)}")
        pair[1 - submitter].watch(token)
        status = Status.SUBMITTING
        for name, *rest in steps:
            if name == "crash":
                pair[1].kill()
                pair[1] = ChildProcess(home)
                pair[1].watch(token)
                pair[0].adopt_orphans()
                if submitter == 1 and status is Status.SUBMITTING:
                    assert pair[0].history.get(token).status is Status.UNKNOWN
            else:
                index, value = rest
                getattr(pair[index], name)(value)
            (status_here, states_here, statuses_here), (status_there, states_there, statuses_there) = (
                run_process.read() for run_process in pair
            )
            stored = pair[0].history.get(token)
            assert status_here == status_there == stored.status
            assert states_here == states_there == [image.state for image in stored.images]
            assert stored.status is status or may_follow(status, stored.status)
            status = stored.status
            for sequence in (statuses_here, statuses_there):
                assert sequence[-1] == status
                changes = [old for old, new in itertools.pairwise(sequence) if old != new]
                assert all(may_follow(Status(old), Status(new)) for old, new in itertools.pairwise([*changes, status]))
                # a listener is called with the same status again only if an image changed
                repeated = [new for old, new in itertools.pairwise(sequence) if old == new]
                assert len(repeated) <= sum(step[0] == "set_image" for step in steps)

    try:
        check()
    finally:
        pair[1].kill()
        pair[0].history.close()
        pair[0].lock.release()
