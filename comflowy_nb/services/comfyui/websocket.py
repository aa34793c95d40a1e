"""The WebSocket of a ComfyUI server: one thread that keeps it open and passes its messages on.

A broken socket costs latency only: the status of a run is requested over HTTP.
"""

from __future__ import annotations

import logging
import random
import ssl
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import certifi
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from comflowy_nb.services.http.transport import ca_bundle, revealed
from comflowy_nb.services.targets import is_loopback
from comflowy_nb.settings import Secret, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Socket"]

MAX_MESSAGE_BYTES = 64 * 1024 * 1024  # a frame can be a whole image
PING_S = 20.0  # the server sends no pings: ours detect a dead connection
CLOSE_TIMEOUT_S = 1.0
MAX_PAUSE_S = 10.0  # between attempts to reopen it
FLAGS = '{"type":"feature_flags","data":{"supports_preview_metadata":true}}'
# websockets logs the headers of the handshake, which may be secret
_no_log = logging.Logger("comflowy-websocket", logging.CRITICAL + 1)  # noqa: LOG001 - not reachable by its name


class Socket:
    """Opened by `start` and reopened whenever it breaks, until `close`.

    Parameters
    ----------
    address : str
        The http or https URL of the server, with the path before its routes.
    headers : mapping of str to Secret
        Sent with the handshake.
    on_message : callable
        Called with every message, on the socket's thread. Its exceptions are dropped.
    """

    def __init__(self, address: str, headers: Mapping[str, Secret], on_message: Callable[[str | bytes], None]) -> None:
        self.client_id = uuid.uuid4().hex
        self.is_open = False
        self.opened_s = float("inf")  # when it was opened last, on the monotonic clock
        self._address = "ws" + address.removeprefix("http")
        self._is_loopback = is_loopback(address)
        self._headers = dict(headers)
        self._on_message = on_message
        self._changed = threading.Condition()
        self._has_failed = False  # the last attempt: do not wait for the next
        self._closing = threading.Event()
        self._connection: ClientConnection | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Open it on its own thread; a second call does nothing."""
        with self._changed:
            if self._thread is None and not self._closing.is_set():
                self._thread = threading.Thread(target=self._run, name="comflowy-socket", daemon=True)
                self._thread.start()

    def wait_open(self, timeout_s: float) -> bool:
        """Wait until it is open, or until an attempt to open it has failed; return whether it is open."""
        with self._changed:
            self._changed.wait_for(
                lambda: self.is_open or self._has_failed or self._closing.is_set(), timeout=timeout_s
            )
            return self.is_open

    def renew(self) -> None:
        """Close a socket that delivers nothing any more, and open another with a new client id.

        A server forgets a client id when an older socket of that id closes, and sends it nothing any more.
        """
        self.client_id = uuid.uuid4().hex
        with self._changed:
            connection = self._connection
            if connection is not None:
                self.is_open = False
        if connection is not None:
            connection.close()

    def close(self) -> None:
        self._closing.set()
        with self._changed:
            self._changed.notify_all()
            connection, thread = self._connection, self._thread
        if connection is not None:
            connection.close()
        if thread is not None and thread is not threading.current_thread():
            thread.join(CLOSE_TIMEOUT_S + 1)

    # -- its thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        failures = 0
        while not self._closing.is_set():
            began_s, has_failed = time.monotonic(), False
            try:
                self._receive()
            except Exception:  # noqa: BLE001 - it is reopened after any error; the frames hold the headers
                has_failed = True
            with self._changed:
                self.is_open, self._has_failed, self._connection = False, has_failed, None
                self._changed.notify_all()
            failures = 0 if time.monotonic() - began_s > MAX_PAUSE_S else failures + 1
            longest_s = min(MAX_PAUSE_S, settings.retry_base_s * 2 ** min(failures - 1, 10)) if failures else 0.0
            self._closing.wait(random.uniform(0.1, 1.0) * longest_s)  # noqa: S311 - jitter

    def _receive(self) -> None:
        """Open it, pass its messages on until it closes, and close it."""
        options: dict[str, Any] = {"proxy": None} if self._is_loopback else {}
        if self._address.startswith("wss:"):
            options["ssl"] = _ssl_context()
        with connect(
            f"{self._address}/ws?clientId={self.client_id}",
            additional_headers=revealed(self._headers),
            compression=None,
            open_timeout=settings.connect_timeout_s,
            ping_interval=PING_S,
            ping_timeout=PING_S,
            close_timeout=CLOSE_TIMEOUT_S,
            max_size=MAX_MESSAGE_BYTES,
            create_connection=_DirectConnection,
            logger=_no_log,
            **options,
        ) as connection:
            with self._changed:
                self._connection = connection
            connection.send(FLAGS)  # the server reads it only as the first message
            first = connection.recv(timeout=settings.connect_timeout_s)  # now the server has registered the client id
            with self._changed:
                self.is_open, self._has_failed, self.opened_s = True, False, time.monotonic()
                self._changed.notify_all()
            self._pass_on(first)
            try:
                while not self._closing.is_set():
                    self._pass_on(connection.recv())
            except ConnectionClosed:
                return

    def _pass_on(self, message: str | bytes) -> None:
        try:
            self._on_message(message)
        except Exception:
            logging.getLogger(__name__).debug("dropped a message of a server", exc_info=True)


def _ssl_context() -> ssl.SSLContext:
    """Trust the certificates that requests trusts, so that the socket works with every server that HTTP works with."""
    trusted = ca_bundle() or certifi.where()
    is_folder = Path(trusted).is_dir()
    return ssl.create_default_context(cafile=None if is_folder else trusted, capath=trusted if is_folder else None)


class _DirectConnection(ClientConnection):
    """A connection that follows no redirect: the headers are for one server."""

    def handshake(self, *args: Any, **options: Any) -> None:
        status = None
        try:
            super().handshake(*args, **options)
        except InvalidStatus as error:
            status = error.response.status_code
        if status is not None:
            raise InvalidHandshake(f"status {status}")
