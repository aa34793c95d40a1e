"""The webhook receiver: an HTTP server on loopback for a service's notifications of results and progress.

An event never changes a status: it updates the display or triggers an early check. A caller that knows the URL of a run
can therefore only trigger a check.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import hmac
import logging
import secrets
import socket
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from comflowy_nb.errors import ServiceError
from comflowy_nb.services.comflowy.schema import STATUSES, as_run_id
from comflowy_nb.services.http.error_text import json_object, number, text_or_id
from comflowy_nb.services.types import Event, Progress

if TYPE_CHECKING:
    from collections.abc import Callable


MAX_EVENT_BYTES = 1024 * 1024  # a result lists the URLs of all images
READ_TIMEOUT_S = 5.0
_log = logging.getLogger(__name__)


class Receiver:
    """Receives webhooks in its own thread, from construction until `close`.

    Parameters
    ----------
    on_event : callable
        Called with one event after the other, on another thread of the receiver. Its exceptions are ignored.
    public_url : str, optional
        A URL that leads to the receiver, for services that can't reach 127.0.0.1.

    Raises
    ------
    ServiceError
        If no port can be opened.
    """

    def __init__(self, on_event: Callable[[Event], None], *, public_url: str | None = None) -> None:
        self._on_event = on_event
        self._path_secrets: dict[str, str] = {}  # token of a run -> the random part of its path
        try:
            sockets = bind_sockets(0, "127.0.0.1", family=socket.AF_INET)
            self._loop = asyncio.new_event_loop()
        except OSError as error:
            raise ServiceError(
                f"the webhook receiver can't start: {error.strerror}; %config Comflowy.webhooks = 'off' disables it"
            ) from error
        self.port: int = sockets[0].getsockname()[1]
        self._base = (public_url or f"http://127.0.0.1:{self.port}").rstrip("/")
        self._hosts = {f"127.0.0.1:{self.port}", f"localhost:{self.port}"}
        if public_url:
            self._hosts.add(urlsplit(public_url).netloc.lower())
        self._calls = concurrent.futures.ThreadPoolExecutor(1, "comflowy-events")
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="comflowy-webhooks")
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._serve(sockets), self._loop).result()

    def __repr__(self) -> str:
        return f"<Receiver of {len(self._path_secrets)} runs>"  # without paths

    def urls(self, token: str) -> dict[str, str]:
        """Return the `callback_urls` of the run with our `token`."""
        path_secret = self._path_secrets.setdefault(token, secrets.token_urlsafe(32))
        base = f"{self._base}/{token}/{path_secret}"
        return {"on_result_url": f"{base}/result", "on_progress_event_url": f"{base}/progress"}

    def forget(self, token: str) -> None:
        """Reject further notifications of a run."""
        self._path_secrets.pop(token, None)

    def close(self) -> None:
        """Stop the thread and free the port."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._stop(), self._loop)
            self._thread.join(timeout=10)
            if not self._loop.is_running():
                self._loop.close()
        self._calls.shutdown(wait=False, cancel_futures=True)

    def accepts(self, token: str, path_secret: str) -> bool:
        """Return whether a path belongs to a run. The time is constant, also for an unknown run."""
        known = self._path_secrets.get(token)
        expected = (known or "-").encode()
        return hmac.compare_digest(path_secret.encode("utf-8", "surrogatepass"), expected) and known is not None

    def accepts_host(self, host: str) -> bool:
        """Return whether the Host header names the receiver, to prevent DNS rebinding."""
        return host.lower() in self._hosts

    def notify(self, event: Event) -> None:
        with contextlib.suppress(RuntimeError):  # the receiver was closed meanwhile
            self._calls.submit(self._call, event)

    def _call(self, event: Event) -> None:
        try:
            self._on_event(event)
        except Exception:  # noqa: BLE001 - a failed event must not end the receiver
            _log.debug("dropped an event of a service", exc_info=True)

    async def _stop(self) -> None:
        self._server.stop()
        await self._server.close_all_connections()
        self._loop.stop()

    async def _serve(self, sockets: list[socket.socket]) -> HTTPServer:
        routes = Application(
            # a public address may have a path before ours
            [(r"(?:/.*)?/([^/]+)/([^/]+)/(?:result|progress)", _Webhook, {"receiver": self})],
            default_handler_class=_NotFound,
            log_function=lambda _: None,  # the access log would contain the path
        )
        server = HTTPServer(
            routes,
            max_body_size=MAX_EVENT_BYTES,
            max_header_size=16 * 1024,
            idle_connection_timeout=READ_TIMEOUT_S,
            body_timeout=READ_TIMEOUT_S,
            no_keep_alive=True,
        )
        server.add_sockets(sockets)
        return server


class _NotFound(RequestHandler):
    """Respond to any other path with status 404 and no body."""

    def prepare(self) -> None:
        self.set_status(404)
        self.finish()

    def write_error(self, status_code: int, **_: Any) -> None:
        self.set_status(status_code)
        self.finish()

    def log_exception(self, *_: Any) -> None:
        """Do nothing: it would write the path to the log."""


class _Webhook(_NotFound):
    def initialize(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def prepare(self) -> None:
        # a web page in a browser sends its origin, and DNS rebinding sends the page's host
        if self.request.headers.get("Origin") is not None or not self._receiver.accepts_host(self.request.host):
            self.set_status(403)
            self.finish()

    def post(self, token: str, path_secret: str) -> None:
        if not self._receiver.accepts(token, path_secret):
            self.set_status(404)
            return
        body = json_object(self.request.body)
        if body is None:
            self.set_status(400)
            return
        self.set_status(204)
        self.finish()  # the service does not wait for the listener
        self._receiver.notify(read_event(token, body))


# -- events -----------------------------------------------------------------------------------------------------


def read_event(token: str, body: dict[str, Any]) -> Event:
    """Parse `ON_RESULT_PAYLOAD` or `ON_PROGRESS_EVENT_PAYLOAD`. Undocumented content is ignored."""
    kind = body.get("type")
    status = STATUSES.get(kind) if isinstance(kind, str) else None
    progress = _progress(body.get("payload"), is_message=kind == "message")
    return Event(token, status, as_run_id(body.get("run_id")), progress)


def _progress(payload: Any, *, is_message: bool) -> Progress | None:
    if isinstance(payload, str):
        payload = {"message": payload} if is_message else None
    if not isinstance(payload, dict):
        return None
    inner = payload.get("data")
    fields = {**inner, **payload} if isinstance(inner, dict) else payload
    progress = Progress(
        node=text_or_id(fields.get("node")),
        title=text_or_id(fields.get("title")),
        value=number(fields.get("value")),
        max=number(fields.get("max")),
        nodes_done=_count(fields.get("nodes_done")),
        nodes_total=_count(fields.get("nodes_total")),
        message=text_or_id(fields.get("message")),
    )
    return None if progress == Progress() else progress


def _count(value: object) -> int | None:
    count = number(value)
    return int(count) if count is not None and count.is_integer() else None
