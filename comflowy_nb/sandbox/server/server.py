"""The sandbox: the Comflowy API v0 on this machine's loopback address, rendering by itself."""

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

from comflowy_nb.sandbox.server.api import BODY_MAX_BYTES, make_application
from comflowy_nb.sandbox.server.auth import ApiKeyCheck, new_key
from comflowy_nb.sandbox.server.callbacks import WebhookQueue
from comflowy_nb.sandbox.server.lifetime import OneRunsAlready, Usage, hold_lock
from comflowy_nb.sandbox.server.paths import Address, Places, home_folder
from comflowy_nb.sandbox.server.routes import House
from comflowy_nb.sandbox.server.run_queue import Runs
from comflowy_nb.sandbox.server.run_store import Store, StoreError
from comflowy_nb.sandbox.server.worker_pool import WorkerPool, count_cores

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ALREADY", "FAILED", "main"]

FAILED = 1
ALREADY = 3  # exit status: the home folder has a sandbox

_HOST = "127.0.0.1"
HEADER_S = 5.0  # for the head of a request, and for the next one on a kept connection; clients let go after 4 s
BODY_S = 60.0
_LOOK_S = 0.5  # between two looks at the clients' locks


def main(*, port: int | None = None, until_unused: bool = False) -> int:
    """Serve until Ctrl-C or SIGTERM.

    Parameters
    ----------
    port
        On 127.0.0.1. None or 0 takes the last sandbox's port again if it is free, so that addresses given out stay
        good, else any free one.
    until_unused
        Ends also when no client of the home folder is left.

    Returns
    -------
    The exit status: 0; 1 if it could not start; 3 if the home folder has a sandbox already.
    """
    places = Places(home_folder())
    try:
        places.make()
        lock = hold_lock(places)
    except OSError as error:
        return _complain(f"the home folder can't be written ({error.strerror or error}); set COMFLOWY_HOME to another")
    except OneRunsAlready as already:
        where = f" at {already.address.url} (process {already.address.pid})" if already.address else ""
        _complain(f"a sandbox runs already{where}; connect with: %comflowy connect sandbox")
        return ALREADY
    try:
        places.clear_up()
        last = places.read_address()
        sockets = _bind(port, last)
        key = last.key if last else new_key()
        with contextlib.closing(Store.open(places.database)) as store:
            asyncio.run(_serve(places, store, sockets, key, until_unused=until_unused))
    except StoreError as error:
        return _complain(str(error))
    except OSError as error:
        asked = f"port {port} can't be had: " if port else ""
        return _complain(f"{asked}{error.strerror or error}")
    except KeyboardInterrupt:  # before the loop took the signal
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


async def _serve(
    places: Places, store: Store, sockets: Sequence[socket.socket], key: str, *, until_unused: bool
) -> None:
    ending = asyncio.Event()
    _heed_signals(ending)
    port = sockets[0].getsockname()[1]
    address = Address(f"http://{_HOST}:{port}", key, os.getpid())
    crew = WorkerPool(places, size=count_cores())
    couriers = WebhookQueue()
    runs = Runs(store=store, crew=crew, couriers=couriers, places=places, base_url=address.url)
    usage = Usage(places.client_locks)
    house = House(
        door=ApiKeyCheck(key), runs=runs, crew=crew, store=store, places=places, port=port, on_stay=usage.stay
    )
    server = HTTPServer(
        make_application(house),
        max_body_size=BODY_MAX_BYTES,
        idle_connection_timeout=HEADER_S,
        body_timeout=BODY_S,
    )
    server.add_sockets(sockets)
    places.write_address(address)
    try:
        taken_up = runs.take_up()
        _say(f"sandbox at {address.url}; connect with: %comflowy connect sandbox", _describe(taken_up))
        if not until_unused:
            _say(f"its key for other tools is in {places.address}", "Ctrl-C ends it")
        crew.warm()
        if until_unused:
            await _await_unused(usage, ending)
        else:
            await ending.wait()
    finally:
        server.stop()
        couriers.close()
        await crew.close()
        await server.close_all_connections()


async def _await_unused(usage: Usage, ending: asyncio.Event) -> None:
    while not ending.is_set() and not usage.is_over():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ending.wait(), _LOOK_S)
    if not ending.is_set():
        _say("ended: no client is left")


def _heed_signals(ending: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, ending.set)
        except NotImplementedError:  # on Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(ending.set))


def _describe(taken_up: int) -> str:
    if not taken_up:
        return ""
    return f"{taken_up} accepted {'run' if taken_up == 1 else 'runs'} of an earlier sandbox taken up"


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines if line))
    sys.stdout.flush()


def _complain(words: str) -> int:
    sys.stderr.write(f"comflowy-nb sandbox: {words}\n")
    return FAILED
