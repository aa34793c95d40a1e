"""A correct Comflowy API on the scripted server; tests break one route of it."""

from __future__ import annotations

import io
import itertools
from collections import defaultdict
from typing import TYPE_CHECKING

from faulty_server import FaultyServer, choose, reply
from PIL import Image

from comflowy_nb.client import Client
from comflowy_nb.database.process_locks import ProcessLock
from comflowy_nb.library import open_library
from comflowy_nb.services.comflowy.service import Comflowy
from comflowy_nb.settings import Secret

if TYPE_CHECKING:
    from faulty_server import Answer, Request

BASE = "/api/open/v0"
TOKEN, RUN, CHECK = f"GET {BASE}/auth/token", f"POST {BASE}/run", f"POST {BASE}/check"
UPLOAD = "POST /upload/image"


def png(color: str = "teal", size: tuple[int, int] = (64, 48)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, "PNG")
    return buffer.getvalue()


class ScriptedApi(FaultyServer):
    """Accept every run, report one status of `live_statuses` per check, and then return `outputs`.

    `outputs` maps a node id to its image paths; `finished` is the last response if it isn't a success.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live_statuses = ["waiting", "running"]
        self.outputs: dict[str, list[str]] = {"9": ["/images/a.png"]}
        self.finished: dict[str, object] | None = None
        self._ids = itertools.count(1)
        self._checks: dict[str, int] = defaultdict(int)
        self.on(TOKEN, reply({"access_token": "token-of-the-service"}))
        self.on(RUN, choose(lambda _: reply({"success": True, "data": {"run_id": f"run-{next(self._ids)}"}})))
        self.on(CHECK, choose(lambda request: reply({"success": True, "data": self.state(request.query["id"])})))
        self.on("GET /images/*", reply(png(), headers={"Content-Type": "image/png"}))

    def state(self, run_id: str) -> dict[str, object]:
        check = self._checks[run_id]
        self._checks[run_id] += 1
        if check < len(self.live_statuses):
            return {"status": self.live_statuses[check], "output_images": [], "full_outputs": {}}
        if self.finished is not None:
            return self.finished
        urls = {node: [f"{self.url}{path}" for path in paths] for node, paths in self.outputs.items()}
        return {
            "status": "success",
            "output_images": [url for paths in urls.values() for url in paths],
            "full_outputs": {node: {"images": paths} for node, paths in urls.items()},
        }


class ScriptedSandbox(ScriptedApi):
    """A scripted API with the routes of a sandbox: uploads, and the fields of its only workflow, `img2img`."""

    def __init__(self) -> None:
        super().__init__()
        self.live_statuses = []
        fields = {
            "1::image": [["example.png"], {"image_upload": True}],
            "3::denoise": ["FLOAT", {"default": 0.6, "min": 0, "max": 1}],
            "3::seed": ["INT", {"default": 0, "min": 0}],
        }
        self.on(UPLOAD, choose(lambda _: reply({"name": f"input-{self.count(UPLOAD)}.png"})))
        self.on(f"GET {BASE}/workflows", reply({"success": True, "data": [{"id": "img2img", "name": "img2img"}]}))
        self.on(f"GET {BASE}/workflows/*", reply({"success": True, "data": {"fields": fields, "nodes": {}}}))

    def run_until_cancelled(self) -> set[str]:
        """Let runs continue until they are cancelled; return the ids of the cancelled ones."""
        cancelled: set[str] = set()

        def cancel(request: Request) -> Answer:
            cancelled.add(request.query["id"])
            return reply({"success": True, "data": {"status": "cancelled"}})

        def check(request: Request) -> Answer:
            failed = {"status": "failed", "error": "cancelled"}
            return reply(
                {"success": True, "data": failed if request.query["id"] in cancelled else {"status": "running"}}
            )

        self.on(f"POST {BASE}/cancel", choose(cancel))
        self.on(CHECK, choose(check))
        return cancelled

    def connect(self) -> Client:
        """Return a client that uses it as the sandbox of its home folder."""
        library = open_library()
        owner = ProcessLock(library.locks)
        service = Comflowy(self.url, key=Secret("k"), identity="sandbox", label="sandbox", kind="sandbox")
        return Client(service, library, owner)
