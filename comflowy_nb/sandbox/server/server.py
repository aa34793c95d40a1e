"""Serve the Comflowy API v0 on the loopback address: start and stop the components of the sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from comflowy_nb.sandbox.server.home import Address, AlreadyRunning, Paths, Usage, hold_lock, home_folder
from comflowy_nb.sandbox.server.routes import BODY_MAX_BYTES, ApiKeyCheck, Context, make_application, new_key
from comflowy_nb.sandbox.server.run_queue import RunQueue
from comflowy_nb.sandbox.server.run_store import Store, StoreError
from comflowy_nb.sandbox.server.webhook_sender import WebhookClient
from comflowy_nb.sandbox.server.worker_pool import WorkerPool, count_cores

if TYPE_CHECKING:
    from collections.abc import Sequence


FAILED = 1
ALREADY = 3  # exit status: another sandbox serves the home folder

_HOST = "127.0.0.1"
HEADER_S = 5.0  # timeout for request headers and idle connections; clients close idle connections after 4 s
BODY_S = 60.0
_POLL_S = 0.5  # interval between checks of the clients' locks


def main(*, port: int | None = None, until_unused: bool = False) -> int:
    """Serve until Ctrl-C or SIGTERM.

    Parameters
    ----------
    port : int, optional
        Port on 127.0.0.1. None or 0 uses the port of the last sandbox if it is free, so that the addresses of its
        images stay valid, else any free port.
    until_unused : bool, default False
        Stop after the last client of the home folder has exited.

    Returns
    -------
    int
        The exit status: 0; 1 if the server could not start; 3 if a sandbox already serves the home folder.
    """
    paths = Paths(home_folder())
    try:
        paths.make()
        lock = hold_lock(paths)
    except OSError as error:
        return _fail(f"cannot write to the home folder ({error.strerror or error}); set COMFLOWY_HOME to another")
    except AlreadyRunning as already:
        where = f" at {already.address.url} (process {already.address.pid})" if already.address else ""
        _fail(f"a sandbox is already running{where}; connect with: %comflowy connect sandbox")
        return ALREADY
    try:
        paths.remove_partial_files()
        last = paths.read_address()
        sockets = _bind(port, last)
        key = last.key if last else new_key()
        with contextlib.closing(Store.open(paths.database)) as store:
            asyncio.run(_serve(paths, store, sockets, key, until_unused=until_unused))
    except StoreError as error:
        return _fail(str(error))
    except OSError as error:
        prefix = f"cannot use port {port}: " if port else ""
        return _fail(f"{prefix}{error.strerror or error}")
    except KeyboardInterrupt:  # before the signal handler was installed
        return 0
    finally:
        lock.release()
    return 0


def _bind(port: int | None, last: Address | None) -> Sequence[socket.socket]:
    if port:
        return bind_sockets(port, _HOST, family=socket.AF_INET)
    with contextlib.suppress(OSError, ValueError):
        if last and (used := urlsplit(last.url).port):
            return bind_sockets(used, _HOST, family=socket.AF_INET)
    return bind_sockets(0, _HOST, family=socket.AF_INET)


async def _serve(paths: Paths, store: Store, sockets: Sequence[socket.socket], key: str, *, until_unused: bool) -> None:
    ending = asyncio.Event()
    _handle_signals(ending)
    port = sockets[0].getsockname()[1]
    address = Address(f"http://{_HOST}:{port}", key, os.getpid())
    workers = WorkerPool(paths, size=count_cores())
    webhooks = WebhookClient()
    runs = RunQueue(store=store, workers=workers, webhooks=webhooks, paths=paths, base_url=address.url)
    usage = Usage(paths.client_locks)
    context = Context(
        auth=ApiKeyCheck(key),
        runs=runs,
        workers=workers,
        store=store,
        paths=paths,
        port=port,
        on_client_expected=usage.stay,
    )
    server = HTTPServer(
        make_application(context),
        max_body_size=BODY_MAX_BYTES,
        idle_connection_timeout=HEADER_S,
        body_timeout=BODY_S,
    )
    server.add_sockets(sockets)
    paths.write_address(address)
    try:
        resumed = runs.resume()
        _print(f"sandbox at {address.url}; connect with: %comflowy connect sandbox")
        if resumed:
            _print(f"resuming {resumed} {'run' if resumed == 1 else 'runs'} accepted by an earlier sandbox")
        if not until_unused:
            _print(f"the key for other tools is in {paths.address}\nCtrl-C stops it")
        workers.warm()
        if until_unused:
            await _await_unused(usage, ending)
        else:
            await ending.wait()
    finally:
        server.stop()
        webhooks.close()
        await workers.close()
        await server.close_all_connections()


async def _await_unused(usage: Usage, ending: asyncio.Event) -> None:
    while not ending.is_set() and not usage.is_over():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ending.wait(), _POLL_S)
    if not ending.is_set():
        _print("stopped: no client is left")


def _handle_signals(ending: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, ending.set)
        except NotImplementedError:  # on Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(ending.set))


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _fail(message: str) -> int:
    sys.stderr.write(f"comflowy-nb sandbox: {message}\n")
    return FAILED
