"""Serve the Comflowy API without rendering: a FIFO queue, slots, and runs of a fixed time. Count all requests.

    python benchmarks/server.py        print the address, serve until stdin is closed

The server is a separate process, so that its CPU is not counted, and responds in one loop without a framework, so that
it does not limit the client. Times are from the monotonic clock, which all processes of a machine share on Linux.
Two more routes: `POST /reset` takes `{"slots", "seconds", "spread", "delay_s", "images", "image_px"}`, and `GET /stats`
returns the numbers of requests and the end of each run.
"""

from __future__ import annotations

import asyncio
import functools
import heapq
import io
import itertools
import json
import math
import random
import sys
import time
from collections import Counter, deque
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

API = "/api/open/v0"
DIFFERENT = 12  # images, used in turn


def durations_s(seconds: float, spread: float) -> Iterator[float]:
    """Yield the durations of runs, the same ones each time: log-normal with this median and this sigma of the log."""
    numbers = random.Random(18)
    while True:
        yield numbers.lognormvariate(math.log(seconds), spread) if seconds else 0.0


def ideal_s(runs: int, *, slots: int, seconds: float, spread: float = 0.0) -> float:
    """Return the time of a sweep if each slot begins the next run at once."""
    free_s = [0.0] * slots  # a heap: when each slot becomes free
    for duration_s in itertools.islice(durations_s(seconds, spread), runs):
        heapq.heapreplace(free_s, free_s[0] + duration_s)
    return max(free_s)


class Service:
    """The queue and the slots."""

    def __init__(self) -> None:
        self.origin = ""
        self.notifications: set[asyncio.Task] = set()
        self.reset({})

    def reset(self, options: dict) -> None:
        self.slots = options.get("slots", 16)
        self.durations_s = durations_s(options.get("seconds", 0.2), options.get("spread", 0.0))
        self.delay_s = options.get("delay_s", 0.0)  # of each response, and of each event
        self.images = options.get("images", 0)
        self.image_px = options.get("image_px", 64)
        self.ids = (f"run-{number}" for number in itertools.count(1))
        self.waiting: deque[str] = deque()
        self.running = 0
        self.states: dict[str, str] = {}
        self.callbacks: dict[str, str] = {}
        self.ends_s: dict[str, float] = {}
        self.first_s: float | None = None
        self.counts: Counter[str] = Counter()

    def take(self, body: dict) -> str:
        run_id = next(self.ids)
        self.first_s = self.first_s or time.monotonic()
        url = (body.get("callback_urls") or {}).get("on_result_url")
        if url:
            self.callbacks[run_id] = url
        self.states[run_id] = "waiting"
        self.waiting.append(run_id)
        self.start()
        return run_id

    def start(self) -> None:
        while self.waiting and self.running < self.slots:
            self.running += 1
            run_id = self.waiting.popleft()
            self.states[run_id] = "running"
            asyncio.get_running_loop().call_later(next(self.durations_s), self.end, run_id)

    def end(self, run_id: str) -> None:
        self.running -= 1
        self.states[run_id] = "success"
        self.ends_s[run_id] = time.monotonic()
        self.start()
        if run_id in self.callbacks:
            task = asyncio.ensure_future(self.notify(run_id, self.callbacks.pop(run_id)))
            self.notifications.add(task)  # the loop holds only a weak reference
            task.add_done_callback(self.notifications.discard)

    async def notify(self, run_id: str, url: str) -> None:
        """Send the event of a result and read the response, as a service does."""
        await asyncio.sleep(self.delay_s)
        parts = urlsplit(url)
        body = json.dumps({"type": "success", "run_id": run_id}).encode()
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        await reader.read()
        writer.close()

    def answer(self, method: str, target: str, body: bytes) -> tuple[int, object]:
        parts = urlsplit(target)
        route = f"{method} {parts.path.removeprefix(API)}"
        if route == "GET /stats":
            return 200, {"counts": self.counts, "ends_s": self.ends_s, "first_s": self.first_s}
        if route == "POST /reset":
            self.reset(json.loads(body or b"{}"))
            return 200, {}
        if parts.path.startswith("/images/"):
            self.counts["GET /images"] += 1
            number = int("".join(filter(str.isdecimal, parts.path.split("-")[1])))
            return 200, make_image(self.image_px, number % DIFFERENT)
        self.counts[route] += 1
        if route == "GET /auth/token":
            return (200, {"access_token": "token"}) if parts.query else (401, {"success": False, "error": "no key"})
        if route == "POST /run":
            return 200, {"success": True, "data": {"run_id": self.take(json.loads(body))}}
        if route == "POST /check":
            run_id = parse_qs(parts.query)["id"][0]
            if run_id not in self.states:
                return 404, {"success": False, "error": "no such run"}
            urls = [f"{self.origin}/images/{run_id}-{number}.png" for number in range(self.images)]
            done = urls if self.states[run_id] == "success" else []
            outputs = {"9": {"images": done}} if done else {}
            data = {"status": self.states[run_id], "output_images": done, "full_outputs": outputs}
            return 200, {"success": True, "data": data}
        return 404, {"success": False, "error": "no such route"}


class Connection(asyncio.Protocol):
    """HTTP/1.1 with Content-Length, enough for the measured clients."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.received = b""

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            first, *lines = self.received[:end].decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            whole = end + 4 + int(headers.get("content-length", 0))
            if len(self.received) < whole:
                return
            body, self.received = self.received[end + 4 : whole], self.received[whole:]
            method, target, _ = first.split(" ")
            status, content = self.service.answer(method, target, body)
            kind = "image/png" if isinstance(content, bytes) else "application/json"
            raw = content if isinstance(content, bytes) else json.dumps(content).encode()
            head = f"HTTP/1.1 {status} OK\r\nContent-Type: {kind}\r\nContent-Length: {len(raw)}\r\n\r\n"
            is_last = headers.get("connection", "").lower() == "close"
            if self.service.delay_s:
                asyncio.get_running_loop().call_later(self.service.delay_s, self.send, head.encode() + raw, is_last)
            else:
                self.send(head.encode() + raw, is_last)

    def send(self, response: bytes, is_last: bool) -> None:  # noqa: FBT001 - positional in `call_later`
        self.transport.write(response)
        if is_last:
            self.transport.close()


@functools.cache
def make_image(size_px: int, number: int) -> bytes:
    """Return a colour gradient with noise, which compresses like a photograph: about 1.2 MB at 1024 pixels."""
    from PIL import Image, ImageChops

    slope = Image.linear_gradient("L").resize((size_px, size_px)).rotate(360 * number / DIFFERENT)
    colours = Image.merge("RGB", (slope, ImageChops.invert(slope), slope.rotate(90)))
    grain = Image.effect_noise((size_px, size_px), 6).convert("RGB")
    out = io.BytesIO()
    ImageChops.add(colours, grain, offset=-128).save(out, "PNG")
    return out.getvalue()


async def main() -> None:
    service, loop = Service(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(service), "127.0.0.1", 0, backlog=512)
    service.origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    print(service.origin, flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
