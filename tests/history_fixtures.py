"""Fixtures: a history in an empty home folder, with requests, sweeps and images for it."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import uuid
from dataclasses import replace

import pytest
from PIL import Image

from comflowy_nb.database.process_locks import ProcessLock
from comflowy_nb.database.records import ImageRecord, RunRequest, SweepRequest
from comflowy_nb.database.runs import History
from comflowy_nb.images.store import store_output, write_sidecar
from comflowy_nb.library import Library
from comflowy_nb.services.types import Output
from comflowy_nb.status import Status, StatusEvent, event_of
from comflowy_nb.sweeps.sweep import Sweep
from comflowy_nb.workflow.axes.expand import expand
from comflowy_nb.workflow.axes.types import Axes, Axis, AxisValue, axes_to_json

SCRIPT_START = """
import json, os, signal, sys, uuid
from pathlib import Path
from comflowy_nb.database.runs import History
from comflowy_nb.images.store import store_output
from comflowy_nb.database.process_locks import ProcessLock
from comflowy_nb.database.records import ImageRecord, RunRequest
from comflowy_nb.status import Status, StatusEvent, event_of

home = Path(sys.argv[1])
process_lock = ProcessLock(home / "locks")
history = History.open(home)

def run_request(key):
    return RunRequest(token=str(uuid.uuid4()), identity="sandbox", origin="o", service="sandbox", workflow="w",
                  workflow_id="w", params={"3::seed": 1}, key=key, owner=process_lock.name)

def say(*words):
    print(*words, flush=True)

def die():
    os.kill(os.getpid(), signal.SIGKILL)
"""


EVENTS = {
    Status.WAITING: StatusEvent.ACCEPTED,
    Status.REJECTED: StatusEvent.REJECTED,
    Status.UNKNOWN: StatusEvent.RESPONSE_LOST,
    Status.LOST: StatusEvent.GONE,
}


def advance_to(history, token, status, **changes):
    """Apply events until a run has a status; return its record."""
    if status is Status.SUBMITTING:
        return history.get(token)
    if status in {Status.CANCELLED, Status.LOST}:
        history.apply(token, StatusEvent.ACCEPTED)
    return history.apply(token, EVENTS.get(status) or event_of(status), **changes)


def newest(table):
    """Return the newest run of a history, or the newest sweep of `history.sweeps`."""
    return next(iter(table.recent(1)), None)


@contextlib.contextmanager
def each_connection(history, prepare):
    """Call `prepare` with every connection that the history uses within the block."""
    store, real_take = history._store, history._store._take

    def take():
        connection = real_take()
        prepare(connection)
        return connection

    store._take = take
    try:
        yield
    finally:
        store._take = real_take


def fill_disk(connection):
    """Limit the file to its present size: SQLite then fails as on a full disk."""
    connection.execute(f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').fetchone()[0]}")


@pytest.fixture
def history(home):
    new_history = History.open(home)
    yield new_history
    new_history.close()


@pytest.fixture
def library(home):
    new_library = Library(home)
    yield new_library
    new_library.close()


@pytest.fixture
def process_lock(home):
    lock = ProcessLock(home / "locks")
    yield lock
    lock.release()


@pytest.fixture
def run_request(process_lock):
    """Return a function: `run_request("key", ...)` makes a request for a run of the default workflow."""

    def make(key="k", **changes):
        defaults = {
            "token": str(uuid.uuid4()),
            "identity": "sandbox",
            "origin": "http://127.0.0.1:1",
            "service": "sandbox",
            "workflow": "default",
            "workflow_id": "default",
            "params": {"3::cfg": 7.5, "6::text": "glass bottle"},
            "key": key,
            "owner": process_lock.name,
            "set_params": ("3::cfg", "6::text"),
        }
        return RunRequest(**(defaults | changes))

    return make


@pytest.fixture
def sweep_request():
    """Return a function: `sweep_request("key", ...)` makes a request for a sweep of the default workflow."""

    def make(key="sk", **changes):
        defaults = {
            "token": str(uuid.uuid4()),
            "identity": "sandbox",
            "origin": "http://127.0.0.1:1",
            "service": "sandbox",
            "workflow": "default",
            "workflow_id": "default",
            "key": key,
            "spec": {"axes": [{"name": "cfg", "labels": ["4", "8"]}], "layout": {"x": "cfg"}},
        }
        return SweepRequest(**(defaults | changes))

    return make


@pytest.fixture
def cells():
    """Return a function: `cells(3)` makes cells 1 to 3 of one axis, with the request keys k1 to k3."""

    def make(count, key="k"):
        return [(n, (n - 1,), {"3::cfg": n, "6::text": "glass bottle"}, f"{key}{n}") for n in range(1, count + 1)]

    return make


@pytest.fixture
def start(home):
    """Return a function: `start(code)` runs code in a process with a history, a process lock and `run_request`."""
    processes = []

    def start_process(code):
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT_START + code, str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start_process
    for process in processes:
        process.kill()
        process.communicate()


class Stream:
    """The stream of one image: chunks of bytes, and their announced length."""

    def __init__(self, content, length=-1, *, piece=65536):
        self.content = content
        self.length = len(content) if length == -1 else length
        self.piece = piece

    def chunks(self):
        for start in range(0, len(self.content), self.piece):
            yield self.content[start : start + self.piece]


@pytest.fixture
def stream():
    return Stream


@pytest.fixture
def output():
    """Return a function: `output(0)` makes the output of that index, from node 9."""
    return lambda index=0, node="9": Output(index, node, index, url="https://never.shown/secret")


@pytest.fixture
def image():
    """Return a function: `image("PNG")` makes the bytes of a small image of noise, which hardly compresses."""

    def make(kind="PNG", size=(96, 64), mode="RGB", **options):
        image = Image.effect_noise(size, 60).convert(mode)
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    return make


@pytest.fixture
def axis():
    """Return a function: `axis("3::cfg", 4, 6)` makes an axis; `axis("6::text", day="at noon")` has labelled values."""

    def make(name, *values, kind="values", field=None, **labelled):
        axis_values = [AxisValue({field or name: value}, str(value)) for value in values]
        axis_values += [AxisValue({field or name: value}, label, is_named=True) for label, value in labelled.items()]
        return Axis(name, kind, (field or name,), tuple(axis_values))

    return make


@pytest.fixture
def make_sweep(library, run_request, sweep_request, stream):
    """Return a function: `make_sweep(axis, axis, images=.., ends=..)` makes a sweep whose cells have runs.

    By default each cell has one image. `images(cell)` returns the images of a cell that succeeds. `ends` maps the
    number of other cells to their status; None is not submitted.
    """

    def make(*axes, fixed=None, images=None, ends=None, layout=None, seeds=(), **changes):
        fixed = {} if fixed is None else fixed
        set_params = tuple(dict.fromkeys([*(key for axis in axes for key in axis.fields), *fixed]))
        axes_of_sweep = Axes(fixed, axes, seeds, set_params)
        draws = iter(range(1000, 10**6))
        cells = expand(axes_of_sweep, workflow_content="default", identity="sandbox", seed_of=lambda *_: next(draws))
        keyed = [(cell, f"{changes.get('key', 'sk')}-{cell.number}") for cell in cells]
        layout = layout or {}
        request = sweep_request(spec={**axes_to_json(axes_of_sweep), "layout": layout}, **changes)
        rows = [(cell.number, cell.at, cell.params, key) for cell, key in keyed]
        history = library.history
        record = history.sweeps.record_or_update(request, rows)
        sweep = Sweep(
            axes_of_sweep,
            keyed,
            workflow="default",
            service="sandbox",
            layout=layout,
            images_folder=library.folder,
            record=record,
        )
        for cell in sweep.cells:
            end = (ends or {}).get(cell.number, Status.SUCCESS)
            if end is not None:
                sweep.attach(cell, library.run(run_of(cell, record, set_params, end, images or colour)))
        return sweep

    def run_of(cell, record, set_params, end, images):
        history = library.history
        changes_of_run = {"params": dict(cell.params), "set_params": set_params, "cell": (record.token, cell.number)}
        run = history.record_or_reuse(run_request(cell.key, **changes_of_run)).record
        if end is Status.SUBMITTING:
            return run
        if end is not Status.SUCCESS:
            return advance_to(history, run.token, end, reason=f"no luck with {cell.number}")
        images = images(cell)
        expected = [ImageRecord(index, "9", index) for index in range(len(images))]
        run = history.apply(run.token, StatusEvent.SEEN_SUCCESS, service_run_id=f"id{cell.number}", images=expected)
        for index, image in enumerate(images):
            if image is None:
                run = history.set_images(run.token, ImageRecord(index, "9", index, "missing", error="refused"))
                continue
            content = io.BytesIO()
            image.save(content, "PNG")
            image_record = store_output(
                stream(content.getvalue()),
                folder=library.folder,
                token=run.token,
                output=Output(index, "9", index, url=""),
            )
            run = history.set_images(run.token, image_record)
        return run

    return make


@pytest.fixture
def stored(library, run_request, stream, output, image):
    """Return a function: `stored("k", 2)` records a run with two images; other arguments are those of `run_request`."""

    def make(key, count=1, *, event=StatusEvent.SEEN_SUCCESS, **changes):
        history = library.history
        run = history.record_or_reuse(run_request(key, **changes), fresh=True).record
        outputs = [output(index) for index in range(count)]
        expected = [ImageRecord(each.index, each.node, each.node_index) for each in outputs]
        run = history.apply(run.token, event, service_run_id=f"id-{key}", images=expected)
        for each in outputs:
            kept = store_output(stream(image()), folder=library.folder, token=run.token, output=each)
            run = history.set_images(run.token, kept)
        write_sidecar(library.folder, run)
        return run

    return make


def colour(cell):
    """Return one image, in the colour of the cell."""
    return [Image.new("RGB", (96, 64), colour_of(cell.number))]


def colour_of(number):
    return (number * 53 % 256, number * 101 % 256, number * 197 % 256)


@pytest.fixture
def runs(library, run_request, stream, output, image):
    """Create r1 `best` (id abc-1; two images of node 9, one of 12:3), r2 (abd-2, failed) and r3 (submitting)."""
    history = library.history
    first = history.record_or_reuse(run_request("a", name="best")).record
    expected = [ImageRecord(0, "9", 0), ImageRecord(1, "9", 1), ImageRecord(2, "12:3", 0)]
    history.apply(first.token, StatusEvent.SEEN_SUCCESS, service_run_id="abc-1", images=expected)
    for index in range(3):
        image_record = store_output(
            stream(image(size=(40 + index, 30))), folder=library.folder, token=first.token, output=output(index)
        )
        first = history.set_images(
            first.token, replace(image_record, node=expected[index].node, node_index=expected[index].node_index)
        )
    second = history.record_or_reuse(run_request("b")).record
    history.apply(second.token, StatusEvent.ACCEPTED, service_run_id="abd-2")
    second = history.apply(second.token, StatusEvent.SEEN_FAILED)
    third = history.record_or_reuse(run_request("c")).record
    return first, second, third
