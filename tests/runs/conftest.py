"""A history in an empty home folder, and intents to put into it."""

from __future__ import annotations

import io
import uuid

import pytest
from PIL import Image

from comflowy_nb.runs.claims import Intent
from comflowy_nb.runs.history import History
from comflowy_nb.runs.library import Library
from comflowy_nb.runs.owners import Owner
from comflowy_nb.services.base import Output


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
