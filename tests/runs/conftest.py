"""A history in an empty home folder, and intents to put into it."""

from __future__ import annotations

import io
import subprocess
import sys
import uuid

import pytest
from PIL import Image

from comflowy_nb.runs.claims import Intent
from comflowy_nb.runs.history import History
from comflowy_nb.runs.library import Library
from comflowy_nb.runs.owners import Owner
from comflowy_nb.runs.sweep_rows import SweepIntent
from comflowy_nb.services.base import Output

BEGIN = """
import json, os, signal, sys, uuid
from pathlib import Path
from comflowy_nb.runs.claims import Intent
from comflowy_nb.runs.history import History
from comflowy_nb.runs.owners import Owner
from comflowy_nb.runs.record import PictureRecord
from comflowy_nb.services.base import Status

home = Path(sys.argv[1])
owner = Owner(home / "locks")
history = History.open(home)

def intent(key):
    return Intent(token=str(uuid.uuid4()), identity="sandbox", origin="o", service="sandbox", workflow="w",
                  workflow_id="w", params={"3::seed": 1}, key=key, owner=owner.name)

def say(*words):
    print(*words, flush=True)

def die():
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def history(home):
    opened = History.open(home)
    yield opened
    opened.close()


@pytest.fixture
def library(home):
    opened = Library(home)
    yield opened
    opened.close()


@pytest.fixture
def owner(home):
    held = Owner(home / "locks")
    yield held
    held.release()


@pytest.fixture
def intent(owner):
    """`intent("key", ...)`: a run of the default workflow that this process wants."""

    def make(key="k", **changes):
        given = {
            "token": str(uuid.uuid4()),
            "identity": "sandbox",
            "origin": "http://127.0.0.1:1",
            "service": "sandbox",
            "workflow": "default",
            "workflow_id": "default",
            "params": {"3::cfg": 7.5, "6::text": "glass bottle"},
            "key": key,
            "owner": owner.name,
            "set_params": ("3::cfg", "6::text"),
        }
        return Intent(**(given | changes))

    return make


@pytest.fixture
def sweep_intent():
    """`sweep_intent("key", ...)`: a sweep of the default workflow that this process wants."""

    def make(key="sk", **changes):
        given = {
            "token": str(uuid.uuid4()),
            "identity": "sandbox",
            "origin": "http://127.0.0.1:1",
            "service": "sandbox",
            "workflow": "default",
            "workflow_id": "default",
            "key": key,
            "spec": {"axes": [{"name": "cfg", "labels": ["4", "8"]}], "layout": {"x": "cfg"}},
        }
        return SweepIntent(**(given | changes))

    return make


@pytest.fixture
def cells():
    """`cells(3)`: cells 1 to 3 of one axis, with the request keys k1 to k3."""

    def make(count, key="k"):
        return [(n, (n - 1,), {"3::cfg": n, "6::text": "glass bottle"}, f"{key}{n}") for n in range(1, count + 1)]

    return make


@pytest.fixture
def start(home):
    """`start(code)`: a process that has a history, an owner and `intent`, ready and waiting for its standard input."""
    processes = []

    def begin(code):
        process = subprocess.Popen(
            [sys.executable, "-c", BEGIN + code, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


class Stream:
    """What a service hands over for one picture: pieces of bytes, and how many it said there would be."""

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
    """`output(0)`: the picture of that index, from node 9."""
    return lambda index=0, node="9": Output(index, node, index, url="https://never.shown/secret")


@pytest.fixture
def picture():
    """`picture("PNG")`: the bytes of a small picture that no encoder shrinks to nothing."""

    def make(kind="PNG", size=(96, 64), mode="RGB", **options):
        image = Image.effect_noise(size, 60).convert(mode)
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    return make
