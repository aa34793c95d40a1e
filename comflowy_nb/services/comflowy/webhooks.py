"""The webhook receiver: an HTTP server on loopback for a service's notifications of results and progress.

An event never changes a status: it updates the display or triggers an early check. A caller that knows the URL of a run
can therefore only trigger a check.

A process has one HTTP server for all its clients, so that a tunnel to its port serves them all. A public address leads
to it directly, or through the server extension (`comflowy_nb.server_extension`) of a Jupyter server.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import os
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tornado.httpserver import HTTPServer
from tornado.web import Application

from comflowy_nb.errors import ServiceError
from comflowy_nb.services.comflowy.webhook_events import read_body, read_event
from comflowy_nb.services.comflowy.webhook_files import Registration
from comflowy_nb.services.comflowy.webhook_handler import (
    MAX_EVENT_BYTES,
    PATH,
    READ_TIMEOUT_S,
    VIA_HEADER,
    Gate,
    WebhookHandler,
    digest_of,
    new_secret,
)
from comflowy_nb.settings import Secret

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tornado.httputil import HTTPServerRequest
    from tornado.iostream import IOStream

    from comflowy_nb.services.comflowy.webhook_files import WebhookFiles
    from comflowy_nb.services.types import Event


MAX_WAITING_EVENTS = 1000  # events that listeners have not handled yet; more are dropped
MAX_CONNECTIONS = 200
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Route:
    """The run that a secret belongs to, and the client that handles its events."""

    token: str
    receiver: Receiver


@dataclass(slots=True)
class Arrival:
    """An expected test event. `via` is the route by which it arrived; None before that."""

    changed: threading.Event
    via: str | None = None


class Receiver:
    """Receives the webhooks of one client, from construction until `close`.

    Parameters
    ----------
    on_event : callable
        Called with one event after the other, on another thread of the receiver. Its exceptions are ignored.
    public_url : str, optional
        A URL that leads to the receiver, for services that can't reach 127.0.0.1.
    files : WebhookFiles, optional
        Where the runs are registered for the server extension, if there is a public URL.
    owner : str
        The name of the client's lock.
    port : int, optional
        The port; by default any free one.
    hide : callable, optional
        Returns the secrets to mask in the texts of events.

    Attributes
    ----------
    counts
        Number of events by kind; `unknown` for others.
    via
        Number of events by way: `server extension` or `direct`.
    newest_s
        When the newest event arrived, on the monotonic clock, or None.

    Raises
    ------
    ServiceError
        If the port can't be opened.
    """

    def __init__(
        self,
        on_event: Callable[[Event], None],
        *,
        public_url: str | None = None,
        files: WebhookFiles | None = None,
        owner: str = "",
        port: int | None = None,
        hide: Callable[[], tuple[Secret, ...]] = tuple,
    ) -> None:
        self.public_url = public_url
        self.counts: Counter[str] = Counter()
        self.via: Counter[str] = Counter()
        self.newest_s: float | None = None
        self._on_event = on_event
        self._files = files
        self._owner = owner
        self._hide = hide
        self._secrets: dict[str, Secret] = {}  # token of a run -> the secret in its URL
        self._expected: dict[str, Arrival] = {}  # token of a test -> its event
        self._is_closed = False
        self._server = _Server.acquire(port)
        self.port = self._server.port

    def __repr__(self) -> str:
        return f"<Receiver of {len(self._secrets)} runs>"  # URLs contain secrets

    @property
    def base_url(self) -> str:
        """The address of all webhooks, without the secret."""
        return f"{(self.public_url or f'http://127.0.0.1:{self.port}').rstrip('/')}/{PATH}"

    def urls(self, token: str) -> dict[str, str]:
        """Return the `callback_urls` of the run with our `token`. With a public URL, register the run."""
        secret = self._secrets.get(token)
        if secret is None:
            secret = self._secrets[token] = Secret(new_secret())
            self._server.gate.routes[digest_of(secret.reveal())] = _Route(token, self)
        if self.public_url is not None and self._files is not None:
            # Without the file, a tunnel to the receiver still works, and the run is polled in any case.
            with contextlib.suppress(OSError):
                self._files.register(digest_of(secret.reveal()), Registration(self.port, self._owner))
        url = f"{self.base_url}/{secret.reveal()}"
        return {"on_result_url": url, "on_progress_event_url": url}

    def forget(self, token: str) -> None:
        """Reject further notifications of a run."""
        self._expected.pop(token, None)
        secret = self._secrets.pop(token, None)
        if secret is not None:
            digest = digest_of(secret.reveal())
            self._server.gate.routes.pop(digest, None)
            if self._files is not None:
                self._files.remove(digest)

    def expect(self, token: str, changed: threading.Event) -> Arrival:
        """Set `changed` when an event for `token` arrives, which is a test and not passed to the listener."""
        arrival = self._expected[token] = Arrival(changed)
        return arrival

    def close(self) -> None:
        """Reject further notifications. The last receiver of a process stops the thread and frees the port."""
        for token in list(self._secrets):
            self.forget(token)
        if not self._is_closed:
            self._is_closed = True
            self._server.release()

    def handle(self, token: str, secret: str, body: bytes, *, via: str) -> bool:
        """Pass an event to the listener, on another thread. Return False if the body is not a JSON object."""
        content = read_body(body, (Secret(secret), *self._hide()))
        if content is None:
            return False
        expected = self._expected.get(token)
        if expected is not None:
            expected.via = via
            expected.changed.set()
            return True
        event = read_event(token, content)
        self.counts[event.kind or "unknown"] += 1
        self.via[via] += 1
        self.newest_s = time.monotonic()
        self._server.call(self._call, event)
        return True

    def _call(self, event: Event) -> None:
        try:
            self._on_event(event)
        except Exception:  # noqa: BLE001 - a failed event must not end the receiver
            _log.debug("dropped an event of a service", exc_info=True)


class _LocalGate(Gate[_Route]):
    """Find the run of a request among the runs of this process."""

    def __init__(self) -> None:
        super().__init__()
        self.routes: dict[str, _Route] = {}  # digest of the secret -> run

    def find(self, digest: str) -> _Route | None:
        return self.routes.get(digest)

    async def deliver(self, found: _Route, secret: str, body: bytes, request: HTTPServerRequest) -> int:
        via = "server extension" if VIA_HEADER in request.headers else "direct"
        return 204 if found.receiver.handle(found.token, secret, body, via=via) else 400


class _HttpServer(HTTPServer):
    """An HTTP server with a maximum number of connections."""

    def initialize(self, *args: Any, **options: Any) -> None:
        super().initialize(*args, **options)
        self._open = 0

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        if self._open >= MAX_CONNECTIONS:
            stream.close()
            return
        self._open += 1
        super().handle_stream(stream, address)

    def on_close(self, server_conn: object) -> None:
        self._open -= 1
        super().on_close(server_conn)


class _Server:
    """The HTTP server of this process, with its thread. The receivers share it; `acquire` makes it."""

    _lock: ClassVar[threading.Lock] = threading.Lock()  # protects `_current`, `_last_port` and `users`
    _current: ClassVar[_Server | None] = None
    _last_port: ClassVar[int] = 0  # used again, so that a tunnel stays valid when the user connects again

    def __init__(self, port: int) -> None:
        self.users = 0  # number of open receivers
        self.process = os.getpid()
        self.gate = _LocalGate()
        listener = socket.create_server(("127.0.0.1", port), backlog=128)
        listener.setblocking(False)
        self.port: int = listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._calls = concurrent.futures.ThreadPoolExecutor(1, "comflowy-events")
        self._slots = threading.Semaphore(MAX_WAITING_EVENTS)  # for events in `_calls`
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="comflowy-webhooks")
        self._thread.start()
        self._http = asyncio.run_coroutine_threadsafe(self._serve(listener), self._loop).result()

    @classmethod
    def acquire(cls, port: int | None) -> _Server:
        """Return the server of this process, on this port if one is given. `release` ends its use."""
        with cls._lock:
            server = cls._current
            if server is None or server.process != os.getpid() or port not in {None, server.port}:
                server = cls._current = cls._open(port)
            server.users += 1
            cls._last_port = server.port
            return server

    @classmethod
    def _open(cls, port: int | None) -> _Server:
        if port is None and cls._last_port:
            with contextlib.suppress(OSError):
                return cls(cls._last_port)
        try:
            return cls(port or 0)
        except OSError as error:
            taken = "" if port is None else f" at the port {port} of callback_port"
            raise ServiceError(
                f"the webhook receiver can't start{taken}: {error.strerror}; %config Comflowy.webhooks = 'off' "
                "disables it"
            ) from error

    def release(self) -> None:
        """End the use by a receiver. The last one stops the thread and frees the port."""
        with _Server._lock:
            self.users -= 1
            if self.users > 0:
                return
            if _Server._current is self:
                _Server._current = None
        self._close()

    def _close(self) -> None:
        if self._thread.is_alive() and self.process == os.getpid():
            asyncio.run_coroutine_threadsafe(self._stop(), self._loop)
            self._thread.join(timeout=10)
            if not self._loop.is_running():
                self._loop.close()
        self._calls.shutdown(wait=False, cancel_futures=True)

    def call(self, function: Callable[[Event], None], event: Event) -> None:
        """Call a function on the thread of the listeners, unless too many events wait."""
        if self._slots.acquire(blocking=False):
            with contextlib.suppress(RuntimeError):  # the receiver was closed meanwhile
                self._calls.submit(self._call, function, event)

    def _call(self, function: Callable[[Event], None], event: Event) -> None:
        self._slots.release()
        function(event)

    async def _stop(self) -> None:
        self._http.stop()
        await self._http.close_all_connections()
        self._loop.stop()

    async def _serve(self, listener: socket.socket) -> HTTPServer:
        server = _HttpServer(
            Application([(r"(.*)", WebhookHandler, {"gate": self.gate})]),  # any path may precede the secret
            max_body_size=MAX_EVENT_BYTES,
            max_header_size=16 * 1024,
            idle_connection_timeout=READ_TIMEOUT_S,
            body_timeout=READ_TIMEOUT_S,
            no_keep_alive=True,
        )
        server.add_socket(listener)
        return server
