"""Send the events of a run to its callback URLs, in order, without blocking the run."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import time
from collections import deque
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tornado.httpclient import AsyncHTTPClient, HTTPRequest

if TYPE_CHECKING:
    from collections.abc import Mapping


_CONNECT_S = 1.0
_ANSWER_S = 2.0
_RESULT_PAUSES_S = (0.2, 1.0)  # between attempts to deliver a result
_PROGRESS_GAP_S = 0.1
_FAILURES_MAX = 3  # after this many consecutive failures, progress is no longer sent


def is_loopback_url(url: str) -> bool:
    """Return whether a URL may be called: http or https, on this machine."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        return False
    if parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname).is_loopback
    except ValueError:
        return False


class WebhookClient:
    """The HTTP client, and the deliveries of all runs."""

    def __init__(self) -> None:
        # Enough connections, so that receivers that hang do not delay other receivers.
        self._client = AsyncHTTPClient(force_instance=True, max_clients=100)
        self._tasks: set[asyncio.Task[None]] = set()

    async def post(self, url: str, body: Mapping[str, Any]) -> int:
        """Post a message and return the HTTP status, or 0 without a response."""
        request = HTTPRequest(
            url,
            method="POST",
            headers={"Content-Type": "application/json"},
            body=json.dumps(body),
            connect_timeout=_CONNECT_S,
            request_timeout=_ANSWER_S,
            follow_redirects=False,
        )
        try:
            return (await self._client.fetch(request, raise_error=False)).code
        except Exception:  # noqa: BLE001 - an error of the receiver must not reach the run
            return 0

    def start(self, sender: WebhookSender) -> None:
        task = asyncio.create_task(sender.deliver())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._client.close()


class WebhookSender:
    """Delivers the events of one run, then its result; only addresses on loopback get any."""

    def __init__(self, client: WebhookClient, run_id: str, callbacks: Mapping[str, str]) -> None:
        self._client = client
        self._run_id = run_id
        self._result_url = _usable(callbacks.get("on_result_url"))
        self._progress_url = _usable(callbacks.get("on_progress_event_url"))
        self._events: deque[Mapping[str, Any]] = deque()
        self._result: Mapping[str, Any] | None = None
        self._is_delivering = False
        self._is_finished = asyncio.Event()
        self._last_step_s = 0.0
        self._failures = 0

    def send_progress(self, kind: str, payload: Mapping[str, Any]) -> None:
        """Send an event: `waiting`, `pending`, `running` or `message`."""
        if self._progress_url is None:
            return
        if kind == "running" and self._events and self._events[-1]["type"] == "running":
            self._events.pop()  # the newer step replaces it
        self._events.append({"type": kind, "payload": payload, "run_id": self._run_id})
        self._start()

    def finish(self, result: Mapping[str, Any]) -> None:
        """Send the result, the last message of a run."""
        self._is_finished.set()
        if self._result_url is not None:
            self._result = {**result, "run_id": self._run_id}
            self._start()

    def _start(self) -> None:
        if not self._is_delivering:
            self._is_delivering = True
            self._client.start(self)

    async def deliver(self) -> None:
        """Deliver the queued events in order, then the result."""
        try:
            while self._events:
                if self._events[0]["type"] == "running":
                    await self._pause()  # a newer step may replace it meanwhile
                await self._deliver_event(self._events.popleft())
            if self._result is not None and self._result_url is not None:
                await self._deliver_result(self._result_url, self._result)
        finally:
            self._is_delivering = False

    async def _pause(self) -> None:
        wait_s = self._last_step_s + _PROGRESS_GAP_S - time.monotonic()
        if wait_s > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._is_finished.wait(), wait_s)
        self._last_step_s = time.monotonic()

    async def _deliver_event(self, event: Mapping[str, Any]) -> None:
        if self._progress_url is not None and self._failures < _FAILURES_MAX:
            code = await self._client.post(self._progress_url, event)
            self._failures = 0 if 200 <= code < 300 else self._failures + 1

    async def _deliver_result(self, url: str, result: Mapping[str, Any]) -> None:
        for pause_s in (*_RESULT_PAUSES_S, None):
            code = await self._client.post(url, result)
            # Retry only if the receiver is unreachable or fails (5xx): a 4xx would repeat.
            if 200 <= code < 500 or pause_s is None:
                return
            await asyncio.sleep(pause_s)


def _usable(url: str | None) -> str | None:
    return url if url is not None and is_loopback_url(url) else None
