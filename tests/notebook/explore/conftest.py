"""Fixtures: explorers whose messages to the browser are recorded."""

from __future__ import annotations

import threading

import pytest
from waiting import wait_until

from comflowy_nb.exploration.exploration import Exploration
from comflowy_nb.notebook.display.live import LiveUpdater
from comflowy_nb.notebook.explore.widget import Explorer


class View:
    """A view of an explorer that sends requests as the browser does, and records the replies."""

    def __init__(self, explorer, sent):
        self.explorer = explorer
        self.sent = sent
        self.count = 0

    def send(self, **request):
        """Send a request without waiting for its reply; return the request as it was sent."""
        self.count += 1
        request |= {"view": "v1", "n": self.count}
        self.explorer._handle_custom_msg(request, [])
        return request

    def ask(self, **request):
        """Send a request; return its reply and the buffers."""
        request = self.send(**request)
        wait_until(lambda: self.replies(request), message=lambda: self.sent)
        (found,) = self.replies(request)
        return {key: value for key, value in found[0].items() if key != "to"}, found[1]

    def replies(self, request):
        return [(content, buffers) for content, buffers in list(self.sent) if content.get("to") == request]

    @property
    def updates(self):
        """Return the updates so far."""
        return [content["update"] for content, _ in list(self.sent) if "update" in content]

    def newest(self, ref):
        """Return the newest item of this reference among the updates; None if there is none."""
        items = [item for update in self.updates for item in update.get("items", ()) if item["ref"] == ref]
        return items[-1] if items else None

    def threads(self):
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("comflowy-explorer")]


@pytest.fixture
def opened(monkeypatch):
    """Return a function that opens an explorer of sources and returns its view; all are closed afterwards."""
    explorers, updater = [], LiveUpdater()

    def make(*sources, **options):
        sent = []
        monkeypatch.setattr(Explorer, "send", lambda _, content, buffers=None: sent.append((content, buffers or [])))
        explorer = Explorer(Exploration(list(sources)), updater=updater, **options)
        explorers.append(explorer)
        return View(explorer, sent)

    yield make
    for explorer in explorers:
        explorer.close()
    updater.close()
