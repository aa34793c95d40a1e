"""The WebSocket of a ComfyUI server: one thread that keeps it open and hands on what comes.

It costs latency and nothing else when it breaks: what became of a run is asked over HTTP.
"""

from __future__ import annotations

import logging
import os
import random
import ssl
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comflowy_nb.services.http.origins import is_loopback
from comflowy_nb.settings import Secret, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from websockets.sync.client import ClientConnection

__all__ = ["Socket"]

MAX_MESSAGE_BYTES = 64 * 1024 * 1024  # a frame can be a whole image
PING_S = 20.0  # the server sends no pings: a dead connection is found by ours
CLOSE_S = 1.0
LONGEST_WAIT_S = 10.0  # between tries to open it again
FLAGS = '{"type":"feature_flags","data":{"supports_preview_metadata":true}}'
# websockets writes the headers of the handshake, which may be secret, to its log
_quiet = logging.Logger("comflowy-websocket", logging.CRITICAL + 1)  # noqa: LOG001 - none that anybody may turn on


class Socket:
    """Opened by `start`, opened again when it breaks, until `close`.

    Parameters
    ----------
    address
        Of the server, http or https, with the path before its routes.
    headers
        Sent with the handshake.
    on_message
        Called with every message, on the thread of the socket. What it raises is dropped.
    """

    def __init__(self, address: str, headers: Mapping[str, Secret], on_message: Callable[[str | bytes], None]) -> None:
        self.client_id = uuid.uuid4().hex
        self._address = "ws" + address.removeprefix("http")
        self._direct = is_loopback(address)
        self._headers = dict(headers)
        self._on_message = on_message
        self._changed = threading.Condition()
        self._is_open = False
        self.opened_s = float("inf")  # when it was opened last, on the monotonic clock
        self._has_failed = False  # the last try; nobody waits for the next
        self._closing = threading.Event()
        self._connection: ClientConnection | None = None
        self._thread: threading.Thread | None = None

    @property
    def is_open(self) -> bool:
        return self._is_open

    def start(self) -> None:
        """Open it, on a thread of its own; a second time does nothing."""
        with self._changed:
            if self._thread is None and not self._closing.is_set():
                self._thread = threading.Thread(target=self._run, name="comflowy-socket", daemon=True)
                self._thread.start()

    def wait_open(self, timeout_s: float) -> bool:
        """Wait until it is open, or until it is known that it can't be opened now."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_open or self._has_failed or self._closing.is_set(), timeout=timeout_s
            )
            return self._is_open

    def renew(self) -> None:
        """Leave a socket that went deaf: close it, and open another under another name.

        A server forgets a client's name when an older socket of that name closes, and says nothing to it any more.
        """
        self.client_id = uuid.uuid4().hex
        with self._changed:
            connection = self._connection
            if connection is not None:
                self._is_open = False
        if connection is not None:
            connection.close()

    def close(self) -> None:
        self._closing.set()
        with self._changed:
            self._changed.notify_all()
            thread = self._thread
        connection = self._connection
        if connection is not None:
            connection.close()
        if thread is not None and thread is not threading.current_thread():
            thread.join(CLOSE_S + 1)

    # -- its thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        failures = 0
        while not self._closing.is_set():
            began_s, failed = time.monotonic(), False
            try:
                self._listen()
            except Exception:  # noqa: BLE001 - whatever broke it, it is opened again; the frames hold the headers
                failed = True
            with self._changed:
                self._is_open, self._has_failed, self._connection = False, failed, None
                self._changed.notify_all()
            failures = 0 if time.monotonic() - began_s > LONGEST_WAIT_S else failures + 1
            longest_s = min(LONGEST_WAIT_S, settings.retry_base_s * 2 ** min(failures - 1, 10)) if failures else 0.0
            self._closing.wait(random.uniform(0.1, 1.0) * longest_s)  # noqa: S311 - jitter

    def _listen(self) -> None:
        """Open it and hand on what comes until it closes. It is closed before this returns."""
        from websockets.exceptions import ConnectionClosed  # noqa: PLC0415 - only where there is a ComfyUI server
        from websockets.sync.client import connect  # noqa: PLC0415 - as above

        headers = {name: value.reveal() for name, value in self._headers.items()}
        options: dict[str, Any] = {"proxy": None} if self._direct else {}
        if self._address.startswith("wss:"):
            options["ssl"] = _trusted()
        with connect(
            f"{self._address}/ws?clientId={self.client_id}",
            additional_headers=headers,
            compression=None,
            open_timeout=settings.connect_timeout_s,
            ping_interval=PING_S,
            ping_timeout=PING_S,
            close_timeout=CLOSE_S,
            max_size=MAX_MESSAGE_BYTES,
            create_connection=_own_connection(),
            logger=_quiet,
            **options,
        ) as connection:
            with self._changed:
                self._connection = connection
            connection.send(FLAGS)  # counts only as the first message
            first = connection.recv(timeout=settings.connect_timeout_s)  # the server knows us from here on
            with self._changed:
                self._is_open, self._has_failed, self.opened_s = True, False, time.monotonic()
                self._changed.notify_all()
            self._hand_on(first)
            try:
                while not self._closing.is_set():
                    self._hand_on(connection.recv())
            except ConnectionClosed:
                return

    def _hand_on(self, message: str | bytes) -> None:
        try:
            self._on_message(message)
        except Exception:
            logging.getLogger(__name__).debug("a message of a server was dropped", exc_info=True)


def _trusted() -> ssl.SSLContext:
    """The certificates that requests trusts, so that the socket is reached wherever the rest is."""
    import certifi  # noqa: PLC0415 - what requests takes them from

    named = Path(os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or certifi.where())
    if named.is_dir():
        return ssl.create_default_context(capath=named)
    return ssl.create_default_context(cafile=named)


def _own_connection() -> Any:
    """A connection that follows no redirect: the headers are for one server."""
    from websockets.exceptions import InvalidHandshake, InvalidStatus  # noqa: PLC0415 - as above
    from websockets.sync.client import ClientConnection  # noqa: PLC0415 - as above

    class Direct(ClientConnection):
        def handshake(self, *args: Any, **options: Any) -> None:
            status = None
            try:
                super().handshake(*args, **options)
            except InvalidStatus as error:
                status = error.response.status_code
            if status is not None:
                raise InvalidHandshake(f"status {status}")

    return Direct
