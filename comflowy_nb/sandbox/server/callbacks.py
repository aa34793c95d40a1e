"""Tells a run's callback addresses what happens to it: in order, without making the run wait."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tornado.httpclient import AsyncHTTPClient, HTTPRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["WebhookQueue", "WebhookSender", "is_loopback_url"]

_CONNECT_S = 1.0
_ANSWER_S = 2.0
_RESULT_PAUSES_S = (0.2, 1.0)  # between the tries to deliver a result
_PROGRESS_GAP_S = 0.1
_DEAF_AFTER = 3  # progress that was not taken so often in a row is not sent any more


def is_loopback_url(url: str) -> bool:
    """Whether an address may be called back: http or https, and on this machine."""
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


@dataclass(frozen=True, slots=True)
class _Letter:
    body: Mapping[str, Any]
    is_result: bool = False
    is_step: bool = False  # progress that newer progress makes worthless


class WebhookQueue:
    """One for each run that has an address on loopback; the rest are not delivered."""

    def __init__(self) -> None:
        # Enough places that receivers which hang don't keep the others waiting.
        self._client = AsyncHTTPClient(force_instance=True, max_clients=100)
        self._tasks: set[asyncio.Task[None]] = set()

    def engage(self, run_id: str, callbacks: Mapping[str, str]) -> WebhookSender:
        return WebhookSender(self, run_id, callbacks)

    async def post(self, url: str, body: Mapping[str, Any]) -> int:
        """The status of the receiver's answer; 0 for none."""
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
        except Exception:  # noqa: BLE001 - whatever the receiver does is its own affair
            return 0

    def start(self, courier: WebhookSender) -> None:
        task = asyncio.create_task(courier.deliver())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._client.close()


class WebhookSender:
    """Delivers the news of one run."""

    def __init__(self, couriers: WebhookQueue, run_id: str, callbacks: Mapping[str, str]) -> None:
        self._couriers = couriers
        self._run_id = run_id
        self._result_url = _usable(callbacks.get("on_result_url"))
        self._progress_url = _usable(callbacks.get("on_progress_event_url"))
        self._letters: deque[_Letter] = deque()
        self._is_delivering = False
        self._hurry = asyncio.Event()
        self._last_step_s = 0.0
        self._deaf = 0

    def tell(self, kind: str, payload: Mapping[str, Any]) -> None:
        """News on the way: `waiting`, `pending`, `running` or `message`."""
        if self._progress_url is None:
            return
        letter = _Letter({"type": kind, "payload": payload, "run_id": self._run_id}, is_step=kind == "running")
        if letter.is_step and self._letters and self._letters[-1].is_step:
            self._letters.pop()
        self._send(letter)

    def finish(self, result: Mapping[str, Any]) -> None:
        """The end: nothing is told after it."""
        self._hurry.set()
        if self._result_url is not None:
            self._send(_Letter({**result, "run_id": self._run_id}, is_result=True))

    def _send(self, letter: _Letter) -> None:
        self._letters.append(letter)
        if not self._is_delivering:
            self._is_delivering = True
            self._couriers.start(self)

    async def deliver(self) -> None:
        """Deliver what there is, one after the other."""
        try:
            while self._letters:
                if self._letters[0].is_step:
                    await self._pause()  # a newer step may take its place meanwhile
                letter = self._letters.popleft()
                if letter.is_result:
                    await self._deliver_result(letter)
                else:
                    await self._deliver_progress(letter)
        finally:
            self._is_delivering = False

    async def _pause(self) -> None:
        rest_s = self._last_step_s + _PROGRESS_GAP_S - time.monotonic()
        if rest_s > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), rest_s)
        self._last_step_s = time.monotonic()

    async def _deliver_progress(self, letter: _Letter) -> None:
        if self._progress_url is None or self._deaf >= _DEAF_AFTER:
            return
        code = await self._couriers.post(self._progress_url, letter.body)
        self._deaf = 0 if 200 <= code < 300 else self._deaf + 1

    async def _deliver_result(self, letter: _Letter) -> None:
        assert self._result_url is not None
        for pause_s in (*_RESULT_PAUSES_S, None):
            code = await self._couriers.post(self._result_url, letter.body)
            # A receiver that refuses it will do so again; only one that is away or broken may come back.
            if 200 <= code < 500 or pause_s is None:
                return
            await asyncio.sleep(pause_s)


def _usable(url: str | None) -> str | None:
    return url if url is not None and is_loopback_url(url) else None
