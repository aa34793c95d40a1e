"""Jupyter Server extension: accept webhooks at the server's address, and pass them to the kernel.

`jupyter server extension enable comflowy_nb` enables it. It adds one route, `comflowy/hooks/<secret>` below the prefix
of the server, which needs no login, because a service that runs workflows has no account there. Only POST requests with
the secret of a run that a kernel of this user has registered are passed on, to that kernel's receiver on loopback. The
kernel checks the secret again. See docs/howto/webhooks.md.
"""

from __future__ import annotations

import asyncio
import re
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from tornado.httpclient import AsyncHTTPClient, HTTPError, HTTPRequest

from comflowy_nb.database.process_locks import ProcessLock, is_alive, is_alive_in
from comflowy_nb.errors import ComflowyError
from comflowy_nb.services.comflowy.webhook_files import Registration, ServerNote, WebhookFiles
from comflowy_nb.services.comflowy.webhook_handler import MAX_BODIES, PATH, VIA_HEADER, Gate, WebhookHandler, digest_of
from comflowy_nb.settings import home

if TYPE_CHECKING:
    from pathlib import Path

    from tornado.httputil import HTTPServerRequest


KERNEL_TIMEOUT_S = 5.0
ALIVE_S = 2.0  # a kernel that was found alive is not probed again for this time
COUNT_PERIOD_S = 600.0  # between log lines with the numbers of requests


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Return the module of the extension, as Jupyter Server requires."""
    return [{"module": "comflowy_nb.server_extension"}]


def _load_jupyter_server_extension(app: Any) -> None:
    """Add the route to a Jupyter server. Jupyter Server calls this function at its start.

    Parameters
    ----------
    app : jupyter_server.serverapp.ServerApp
        The server.
    """
    prefix = app.web_app.settings["base_url"]
    gate = KernelGate(home())
    try:
        gate.announce(prefix)
    except (ComflowyError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its lock file can't be created"
        app.log.warning("comflowy_nb: webhooks are accepted, but no kernel can see that: %s", reason)
    pattern = f"{re.escape(prefix.rstrip('/'))}/{PATH}(|/.*)"
    app.web_app.add_handlers(".*$", [(pattern, _handler(), {"gate": gate})])
    app.log.info("comflowy_nb: webhooks are accepted below %s", f"{prefix.rstrip('/')}/{PATH}/")
    app.io_loop.call_later(COUNT_PERIOD_S, log_counts, gate, app.log, app.io_loop, {})


def _handler() -> type[WebhookHandler]:
    """Return the handler class. Newer servers require a login unless a handler is marked as public.

    Raises
    ------
    ComflowyError
        If Jupyter Server is not installed.
    """
    try:
        import jupyter_server  # noqa: F401, PLC0415 - not a dependency of the package
    except ImportError:
        raise ComflowyError(
            "the server extension needs Jupyter Server, which is not installed here: pip install jupyter_server"
        ) from None
    try:
        from jupyter_server.auth.decorator import allow_unauthenticated  # noqa: PLC0415
    except ImportError:  # before jupyter_server 2.13
        return WebhookHandler

    class OpenWebhookHandler(WebhookHandler):
        post = allow_unauthenticated(WebhookHandler.post)

    return OpenWebhookHandler


class KernelGate(Gate[Registration]):
    """Find the kernel of a run by the files in the home folder, and pass events to it.

    Parameters
    ----------
    folder
        The home folder.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._files = WebhookFiles(folder)
        self._locks = folder / "locks"
        self._client = AsyncHTTPClient(force_instance=True, max_clients=MAX_BODIES)
        self._alive: dict[str, float] = {}  # owner -> time of its next probe, on the monotonic clock
        self._lock: ProcessLock | None = None

    def announce(self, base_url: str) -> None:
        """Write the file by which kernels find this server. Delete the files of dead processes.

        Raises
        ------
        OSError, HistoryError
            If the file can't be written.
        """
        self._files.remove_stale(partial(is_alive_in, (self._locks, self._files.folder)))
        self._lock = ProcessLock(self._files.folder)
        self._files.add_server(ServerNote(base_url, self._lock.name))

    def find(self, digest: str) -> Registration | None:
        return self._files.find(digest)

    async def deliver(self, found: Registration, secret: str, body: bytes, request: HTTPServerRequest) -> int:
        del request
        if not await self._is_alive(found.owner):
            self._files.remove(digest_of(secret))
            return 404
        forwarded = HTTPRequest(
            f"http://127.0.0.1:{found.port}/{PATH}/{secret}",
            method="POST",
            headers={"Content-Type": "application/json", VIA_HEADER: "jupyter"},
            body=body,
            connect_timeout=KERNEL_TIMEOUT_S,
            request_timeout=KERNEL_TIMEOUT_S,
            follow_redirects=False,
        )
        try:
            response = await self._client.fetch(forwarded, raise_error=False)
        except (HTTPError, OSError):
            return 503
        # 599: the kernel did not respond in time, so the service may try again
        return {204: 204, 400: 400, 429: 429, 599: 503}.get(response.code, 404)

    async def _is_alive(self, owner: str) -> bool:
        """Return whether the client that registered a run is alive. The probe of its lock file runs on a thread."""
        now_s = time.monotonic()
        if self._alive.get(owner, 0.0) > now_s:
            return True
        loop = asyncio.get_running_loop()
        alive = await loop.run_in_executor(None, is_alive, self._locks, owner)
        self._alive = {name: until_s for name, until_s in self._alive.items() if until_s > now_s}
        if alive:
            self._alive[owner] = now_s + ALIVE_S
        return alive


def log_counts(gate: KernelGate, log: Any, loop: Any, logged: dict[str, int]) -> None:
    """Log the numbers of requests now and every `COUNT_PERIOD_S` seconds, if they differ from `logged`.

    Nothing else about requests is logged.
    """
    counts = dict(gate.counts)
    if counts != logged:
        texts = [f"{counts.get(kind, 0)} {kind}" for kind in ("accepted", "rejected", "limited")]
        log.info("comflowy_nb: webhooks since the start: %s", ", ".join(texts))
    loop.call_later(COUNT_PERIOD_S, log_counts, gate, log, loop, counts)
