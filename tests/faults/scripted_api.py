"""A well-behaved Comflowy API on the scripted server: tests then break one route of it."""

from __future__ import annotations

import io
import itertools
from collections import defaultdict

from faulty_server import FaultyServer, choose, reply
from PIL import Image

BASE = "/api/open/v0"
TOKEN, RUN, CHECK = f"GET {BASE}/auth/token", f"POST {BASE}/run", f"POST {BASE}/check"


def png(color: str = "teal", size: tuple[int, int] = (64, 48)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, "PNG")
    return buffer.getvalue()


class ScriptedApi(FaultyServer):
    """Takes every run, goes through `words` one check at a time and then gives `outputs`.

    `outputs` maps a node id to its picture paths; `finished` is the answer at the end where it isn't a success.
    """

    def __init__(self) -> None:
        super().__init__()
        self.words = ["waiting", "running"]
        self.outputs: dict[str, list[str]] = {"9": ["/pictures/a.png"]}
        self.finished: dict[str, object] | None = None
        self._ids = (f"run-{number}" for number in itertools.count(1))
        self._asked: dict[str, int] = defaultdict(int)
        self.on(TOKEN, reply({"access_token": "token-of-the-service"}))
        self.on(RUN, choose(lambda _: reply({"success": True, "data": {"run_id": next(self._ids)}})))
        self.on(CHECK, choose(lambda seen: reply({"success": True, "data": self.state(seen.query["id"])})))
        self.on("GET /pictures/*", reply(png(), headers={"Content-Type": "image/png"}))

    def state(self, run_id: str) -> dict[str, object]:
        asked = self._asked[run_id]
        self._asked[run_id] += 1
        if asked < len(self.words):
            return {"status": self.words[asked], "output_images": [], "full_outputs": {}}
        if self.finished is not None:
            return self.finished
        urls = {node: [f"{self.url}{path}" for path in paths] for node, paths in self.outputs.items()}
        return {
            "status": "success",
            "output_images": [url for paths in urls.values() for url in paths],
            "full_outputs": {node: {"images": paths} for node, paths in urls.items()},
        }
