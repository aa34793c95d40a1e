"""Fixtures: an IPython shell in this process, with or without display handles, and recorded runs."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from IPython import get_ipython
from IPython.testing.globalipapp import start_ipython
from IPython.utils.capture import capture_output
from PIL import Image
from waiting import wait_until

from comflowy_nb.images.thumbnails import make_thumbnails
from comflowy_nb.notebook import interrupts
from comflowy_nb.notebook.commands import show
from comflowy_nb.notebook.display import live, views
from comflowy_nb.notebook.display.status_line import StatusLine
from comflowy_nb.status import Status
from comflowy_nb.tracking.run import ImageRecord, Run, RunRecord
from comflowy_nb.workflow.catalogue import FILE_NAME

PROMPT = "beautiful scenery nature glass bottle landscape, purple galaxy bottle,"


class Cell:
    """The result of one executed cell: its value, its error, and the bundles of its displays in order."""

    def __init__(self, shell, source):
        with capture_output() as captured:
            result = shell.run_cell(source)
        self.value = result.result
        self.error = result.error_before_exec or result.error_in_exec
        self.stdout, self.stderr = captured.stdout, captured.stderr
        self.sent = [output.__dict__ if hasattr(output, "__dict__") else output for output in captured._outputs]

    @property
    def handles(self):
        """Return the bundles of each display id, in the order in which this cell created its handles."""
        found = {}
        for number, output in enumerate(self.sent):
            name = (output.get("transient") or {}).get("display_id", f"alone {number}")
            if output.get("update") and name not in found:
                continue  # the view thread, into an earlier cell
            found.setdefault(name, []).append(output)
        return found

    @property
    def last(self):
        """Return the last bundle of each handle, as in a saved notebook."""
        return [output[-1]["data"] for output in self.handles.values()]

    @property
    def lines(self):
        """Return the lines of the error as IPython shows them."""
        if not hasattr(self.error, "_render_traceback_"):
            return None
        return "\n".join(self.error._render_traceback_()).splitlines()


@pytest.fixture
def shell(monkeypatch):
    """Load the extension into IPython, and unload it afterwards."""
    shell = get_ipython() or start_ipython()
    for name in list(shell.user_ns):
        if not name.startswith("_") and name not in {"In", "Out", "exit", "quit", "get_ipython", "open"}:
            del shell.user_ns[name]
    shell.run_line_magic("load_ext", "comflowy_nb")
    yield shell
    shell.run_line_magic("unload_ext", "comflowy_nb")
    shell.config.pop("Comflowy", None)  # IPython stores the values of `%config`, also rejected ones


@pytest.fixture
def cell(shell):
    """Return a function that executes a source in the shell."""
    return lambda source: Cell(shell, source)


@pytest.fixture
def handles(shell, monkeypatch):
    """Simulate a kernel: the shell has display handles, and no user can answer prompts."""
    monkeypatch.setattr(shell, "kernel", object(), raising=False)


@pytest.fixture
def answering(handles, shell, monkeypatch):
    """Simulate a kernel whose user can answer prompts and use widgets."""
    monkeypatch.setattr(shell, "kernel", SimpleNamespace(_allow_stdin=True))


@pytest.fixture
def interrupting(monkeypatch):
    """Return a context manager that sends SIGINT once the cell waits and the condition holds."""
    waits = threading.Event()
    for module in (interrupts, show):

        def wait(*args, real=module.wait_drawing):
            waits.set()  # within the block that catches an interrupt
            return real(*args)

        monkeypatch.setattr(module, "wait_drawing", wait)

    @contextlib.contextmanager
    def around(condition=lambda: True):
        over = threading.Event()
        waits.clear()

        def interrupt():
            wait_until(lambda: over.is_set() or (waits.is_set() and condition()), timeout_s=60)
            if not over.is_set():
                os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    return around


@pytest.fixture
def status_lines(monkeypatch):
    """Return the status lines that cells have shown so far, including updates."""
    lines, real_bundle = [], StatusLine.bundle.fget
    monkeypatch.setattr(StatusLine, "bundle", property(lambda line: lines.append(line) or real_bundle(line)))
    return lines


@pytest.fixture
def fast_updates(monkeypatch):
    """Update displays fifty times a second."""
    for module in (live, views):
        monkeypatch.setattr(module, "UPDATE_S", 0.02)


@pytest.fixture
def sandbox(shell, shared_home, monkeypatch, cell, handles):
    """Connect to one sandbox that the tests of this folder share. Each test submits different requests.

    The names and aliases of workflows are removed after each test: a form shows the alias of a field as its label.
    """
    monkeypatch.setenv("COMFLOWY_HOME", str(shared_home))
    connected = cell("%comflowy connect sandbox")
    assert connected.error is None
    yield cell
    (shared_home / FILE_NAME).unlink(missing_ok=True)


@pytest.fixture
def connected(on_shared_sandbox, cell, handles):
    """Connect to the shared sandbox with an empty history."""
    assert cell("%comflowy connect sandbox").error is None
    return cell


class Folder:
    """A folder of images, in which tests create runs."""

    def __init__(self, root):
        self.root = root
        self.count = 0

    def run(self, *images, params=None, set_params=None, status=Status.SUCCESS, missing=None, **changes):
        """Return a run with images (node, width, height); `missing` maps an index to a reason."""
        self.count += 1
        number = changes.pop("number", self.count)
        params = {"6::text": PROMPT} if params is None else params
        records = []
        for index, (node, width, height) in enumerate(images):
            if missing and index in missing:
                records.append(ImageRecord(index, node, 0, "missing", error=missing[index]))
                continue
            name = f"token{number}_{index}.png"
            wave = np.linspace(0, 255, width * height * 3).reshape(height, width, 3).astype("uint8")
            image = Image.fromarray(wave)
            image.save(self.root / name)
            make_thumbnails(image, self.root / name)
            # without a sha256, so that tests may replace the file
            records.append(ImageRecord(index, node, 0, "kept", name, None, None, width, height, "PNG"))
        now = time.time()
        record = RunRecord(
            token=f"token{number}",
            number=number,
            identity="sandbox",
            origin="http://127.0.0.1:1",
            service="sandbox",
            workflow=changes.pop("workflow", "default"),
            workflow_id="default",
            params=params,
            key="key",
            status=status,
            created_at=changes.pop("created_at", now - 5.2),
            finished_at=changes.pop("finished_at", None if status.is_live else now),
            owner="me",
            set_params=tuple(params if set_params is None else set_params),
            images=tuple(records),
            **changes,
        )
        return Run(record, self.root)


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)
