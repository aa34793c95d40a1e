"""A run that a test changes and reads in a separate process.

Without pytest and hypothesis, so that a child process starts fast.
"""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from dataclasses import replace
from pathlib import Path

from comflowy_nb.database.process_locks import ProcessLock
from comflowy_nb.database.records import ImageRecord, RunRequest
from comflowy_nb.database.runs import History
from comflowy_nb.status import StatusEvent
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
        """Apply an event as the tracker does; a success brings an image."""
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
from run_process import RunProcess
reader = RunProcess(Path(sys.argv[1]))
for line in sys.stdin:
    name, *args = json.loads(line)
    print(json.dumps(getattr(reader, name)(*args)), flush=True)
"""


class ChildProcess:
    """A `RunProcess` in another process."""

    def __init__(self, home):
        command = [sys.executable, "-c", CHILD, str(home), str(Path(__file__).parent)]
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
