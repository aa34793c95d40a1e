"""Receives what a service says by itself. An event is a hint: it changes the display, or makes us ask earlier.

The receiver listens on loopback; whoever knows the path of a run can do no more than make us ask once.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import hmac
import json
import logging
import math
import secrets
import socket
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from comflowy_nb.errors import ServiceError
from comflowy_nb.services.base import Event, Progress
from comflowy_nb.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Receiver", "read_event"]

MAX_EVENT_BYTES = 1024 * 1024  # a result lists the addresses of all images
SLOWEST_S = 5.0
_STATUS = {word: Status(word) for word in ("waiting", "pending", "running", "success", "failed")}
_log = logging.getLogger(__name__)


class Receiver:
    """Listens from the moment it is made, in a thread of its own.

    Parameters
    ----------
    on_event
        Called with each event, one after the other, on a thread of the receiver. What it raises is dropped.
    public_url
        An address that leads here, for services that can't reach 127.0.0.1.

    Raises
    ------
    ServiceError
        If no port can be opened.
    """

    def __init__(self, on_event: Callable[[Event], None], *, public_url: str | None = None) -> None:
        self._on_event = on_event
        self._secrets: dict[str, str] = {}  # token of a run -> the word in its path
        try:
            self._sockets = bind_sockets(0, "127.0.0.1", family=socket.AF_INET)
        except OSError as error:
            raise ServiceError(f"no port could be opened for callbacks: {error.strerror}") from error
        self.port: int = self._sockets[0].getsockname()[1]
        self._base = (public_url or f"http://127.0.0.1:{self.port}").rstrip("/")
        self._hosts = {f"127.0.0.1:{self.port}", f"localhost:{self.port}"}
        if public_url:
            self._hosts.add(urlsplit(public_url).netloc.lower())
        self._calls = concurrent.futures.ThreadPoolExecutor(1, "comflowy-events")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="comflowy-webhooks")
        self._thread.start()
        self._ready.wait()
        if self._loop is None:
            raise ServiceError(
                "the receiver of callbacks could not start; %config Comflowy.webhooks = 'off' does without"
            )

    def __repr__(self) -> str:
        return f"<Receiver of {len(self._secrets)} runs>"  # no path

    def urls(self, token: str) -> dict[str, str]:
        """The addresses at which the service tells us of the run with our `token`."""
        word = self._secrets.setdefault(token, secrets.token_urlsafe(32))
        base = f"{self._base}/{token}/{word}"
        return {"on_result_url": f"{base}/result", "on_progress_event_url": f"{base}/progress"}

    def forget(self, token: str) -> None:
        """Hear no more of a run."""
        self._secrets.pop(token, None)

    def close(self) -> None:
        """Stop the thread and free the port."""
        loop, stop = self._loop, self._stop
        if loop is not None and stop is not None and self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # it is closed already
                loop.call_soon_threadsafe(stop.set)
            if self._thread is not threading.current_thread():
                self._thread.join(timeout=10)
        self._calls.shutdown(wait=False, cancel_futures=True)

    def accepts_host(self, host: str) -> bool:
        """Whether a request was meant for us, and not for a name that somebody pointed at 127.0.0.1."""
        return host.lower() in self._hosts

    def knows(self, token: str, word: str) -> bool:
        """Whether a path is one of ours. Both words are compared, also for a run we don't know."""
        known = self._secrets.get(token)
        expected = (known or "-").encode()
        return hmac.compare_digest(word.encode("utf-8", "surrogatepass"), expected) and known is not None

    def tell(self, event: Event) -> None:
        with contextlib.suppress(RuntimeError):  # it was closed while the event came in
            self._calls.submit(self._call, event)

    def _call(self, event: Event) -> None:
        try:
            self._on_event(event)
        except Exception:  # noqa: BLE001 - an event is a hint; the next one must still be heard
            _log.debug("an event of a service was dropped", exc_info=True)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        routes = Application(
            # a public address may have a path before ours
            [(r"(?:/.*)?/([^/]+)/([^/]+)/(?:result|progress)", _Route, {"receiver": self})],
            default_handler_class=_Nowhere,
            log_function=lambda _: None,  # a line of the log would hold the path
        )
        server = HTTPServer(
            routes,
            max_body_size=MAX_EVENT_BYTES,
            max_header_size=16 * 1024,
            idle_connection_timeout=SLOWEST_S,
            body_timeout=SLOWEST_S,
            no_keep_alive=True,
        )
        server.add_sockets(self._sockets)
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._ready.set()
        await self._stop.wait()
        server.stop()
        await server.close_all_connections()


class _Nowhere(RequestHandler):
    """Everything that is none of our paths: not found, and nothing about why."""

    def prepare(self) -> None:
        self.set_status(404)
        self.finish()

    def write_error(self, status_code: int, **_: Any) -> None:
        self.set_status(status_code)
        self.finish()

    def log_exception(self, *_: Any) -> None:
        """Nothing: it would write the path to the log."""


class _Route(_Nowhere):
    def initialize(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def prepare(self) -> None:
        # a page in a browser sends its origin, and one that rebinds its name sends that name
        if self.request.headers.get("Origin") is not None or not self._receiver.accepts_host(self.request.host):
            self.set_status(403)
            self.finish()

    def post(self, token: str, word: str) -> None:
        if not self._receiver.knows(token, word):
            self.set_status(404)
            return
        try:
            body = json.loads(self.request.body)
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            self.set_status(400)
            return
        self.set_status(204)
        self.finish()  # the service need not wait for what we do with it
        self._receiver.tell(read_event(token, body))


def read_event(token: str, body: dict[str, Any]) -> Event:
    """An event of the API: `ON_RESULT_PAYLOAD` or `ON_PROGRESS_EVENT_PAYLOAD`, and whatever a service makes of them."""
    kind = body.get("type")
    run_id = body.get("run_id")
    if isinstance(run_id, bool) or not isinstance(run_id, str | int) or not str(run_id).strip():
        run_id = None
    status = _STATUS.get(kind) if isinstance(kind, str) else None
    progress = _progress(body.get("payload"), is_message=kind == "message")
    return Event(token, status, None if run_id is None else str(run_id), progress)


def _progress(payload: Any, *, is_message: bool) -> Progress | None:
    if isinstance(payload, str):
        return Progress(message=_text(payload)) if is_message and _text(payload) else None
    if not isinstance(payload, dict):
        return None
    inner = payload.get("data")
    found = {**inner, **payload} if isinstance(inner, dict) else payload
    progress = Progress(
        node=_text(found.get("node")),
        title=_text(found.get("title")),
        value=_number(found.get("value")),
        max=_number(found.get("max")),
        nodes_done=_count(found.get("nodes_done")),
        nodes_total=_count(found.get("nodes_total")),
        message=_text(found.get("message")),
    )
    return None if progress == Progress() else progress


def _text(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = " ".join("".join(sign if sign.isprintable() else " " for sign in str(value)[:400]).split())
    return text or None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _count(value: object) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number.is_integer() else None
