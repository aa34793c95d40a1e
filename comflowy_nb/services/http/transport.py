"""The requests session: total deadlines, bounded bodies, connections to public addresses, masked logs."""

from __future__ import annotations

import ipaddress
import logging
import math
import os
import re
import socket
import threading
import time
import zlib
from contextlib import suppress
from contextvars import ContextVar
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import DecodeError, NewConnectionError

from comflowy_nb.countdown import READ_EVERY_S, Countdown
from comflowy_nb.services.http.error_text import mask_webhooks
from comflowy_nb.settings import Secret, settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


MAX_IDLE_S = 4.0  # some servers close idle connections after 5 s, and a request that is sent meanwhile is lost
CHUNK_BYTES = 64 * 1024


# -- deadlines --------------------------------------------------------------------------------------------------


class Deadline:
    """Shut down the connection of an exchange that takes too long.

    A timeout of requests limits one read from the socket, so a server that slowly sends single bytes never exceeds it.
    A thread therefore waits until the deadline and then shuts down the socket, which ends any read. Time counts only
    while this process runs: see `Countdown`.

    Parameters
    ----------
    seconds : float
        Time for the whole exchange, from now.
    min_bytes_per_s, window_s : float
        The minimum throughput of the body, measured in windows of `window_s`; 0 is no minimum.
    """

    def __init__(self, seconds: float, *, min_bytes_per_s: float = 0.0, window_s: float = 0.0) -> None:
        self._total = Countdown(seconds)
        self._window_s = window_s
        self._min_bytes = int(min_bytes_per_s * window_s)
        self._window: Countdown | None = None
        self._received = 0
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self.expired: str | None = None  # why this deadline ended the exchange
        self.chunk_bytes = min(CHUNK_BYTES, self._min_bytes or CHUNK_BYTES)

    def __enter__(self) -> Deadline:  # noqa: PYI034 - final
        threading.Thread(target=self._wait, name="comflowy-deadline", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._socket = None
        self._closed.set()

    def watch(self, sock: socket.socket) -> None:
        """Shut down `sock` at the deadline."""
        with self._lock:
            self._socket = sock
            self._shut_down_if_expired()

    def check(self) -> None:
        """Raise TimeoutError if the deadline has passed. Data read after it may be incomplete without another error."""
        if self.expired:
            raise TimeoutError(self.expired)

    def add(self, count: int) -> None:
        """Count bytes of the body. The first call starts the first window."""
        self.check()
        self._received += count
        if self._min_bytes and (self._received >= self._min_bytes or self._window is None):
            self._window = Countdown(self._window_s)
            self._received = 0

    def _wait(self) -> None:
        while (total_s := self._total.left_s()) > 0:
            window_s = math.inf if self._window is None else self._window.left_s()
            if window_s <= 0:
                break
            # Wake up once per window, because a window may begin meanwhile.
            if self._closed.wait(min(total_s, window_s, self._window_s or total_s, READ_EVERY_S)):
                return
        with self._lock:
            is_end = total_s <= 0
            self.expired = "the response was not complete in time" if is_end else "the response was too slow"
            self._shut_down_if_expired()

    def _shut_down_if_expired(self) -> None:
        if self.expired and self._socket is not None:
            with suppress(OSError):
                # Not SSLSocket.shutdown, which removes the TLS layer that another thread reads through.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


_deadline: ContextVar[Deadline | None] = ContextVar("deadline", default=None)  # deadline of the request of this thread


# -- connections ------------------------------------------------------------------------------------------------

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Return whether an IP address belongs to the public internet. IPv4 addresses embedded in IPv6 are checked too."""
    try:
        ip = ipaddress.ip_address(address.split("%", maxsplit=1)[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped or ip in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
        embedded = ip.sixtofour or (ip.teredo and ip.teredo[1])
        if embedded and not is_public(str(embedded)):
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified or ip.is_loopback)


class NotPublicError(NewConnectionError):
    """The host has an address that is not on the public internet."""


class _Watched:
    """Mixin for urllib3's connections. The deadline can shut them down; they are not reused after `MAX_IDLE_S`."""

    _used_at_s = math.inf

    def getresponse(self) -> Any:
        deadline = _deadline.get()
        if deadline is not None:
            deadline.watch(self.sock)  # type: ignore[attr-defined]
        response = super().getresponse()  # type: ignore[misc]
        self._used_at_s = time.monotonic()
        return response

    @property
    def is_connected(self) -> bool:
        return time.monotonic() - self._used_at_s < MAX_IDLE_S and bool(super().is_connected)  # type: ignore[misc]


class _HttpConnection(_Watched, HTTPConnection):
    pass


class _HttpsConnection(_Watched, HTTPSConnection):
    pass


class _PublicHttpsConnection(_HttpsConnection):
    """Close a connection to an address that is not public before sending anything. A proxy may have any address."""

    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        if self.proxy is None and not is_public(sock.getpeername()[0]):
            sock.close()
            raise NotPublicError(self, "not a public address")
        return sock


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection


class _PublicHttpsPool(HTTPSConnectionPool):
    ConnectionCls = _PublicHttpsConnection


class _Adapter(HTTPAdapter):
    """Use the connection classes above, directly or through a proxy, without retries."""

    def __init__(self, https_pool: type[HTTPSConnectionPool]) -> None:
        self._pools = {"http": _HttpPool, "https": https_pool}
        super().__init__(pool_connections=8, pool_maxsize=32, max_retries=0)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = self._pools
        return manager


def ca_bundle() -> str | None:
    """Return the file or folder of certificates that the environment names for requests, or None."""
    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")


class Session(requests.Session):
    """A session without cookies, netrc, retries and redirects.

    Parameters
    ----------
    public : bool
        Connect by https to public addresses only.
    direct : bool
        Ignore the proxies of the environment, which would also get requests to this machine, with the key.
    """

    def __init__(self, *, public: bool = False, direct: bool = False) -> None:
        super().__init__()
        adapter = _Adapter(_PublicHttpsPool if public else _HttpsPool)
        self.mount("http://", adapter)
        self.mount("https://", adapter)
        if direct:
            self.trust_env = False
            self.verify = ca_bundle() or True
        self.auth = _keep_headers
        self.headers["Accept-Encoding"] = "gzip"  # the one compression that `read_body` decompresses
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    def fetch(self, method: str, url: str, deadline: Deadline, **options: Any) -> requests.Response:
        """Send one request and read the head of its response. Redirects are not followed.

        Parameters
        ----------
        method, url : str
            The request.
        deadline : Deadline
            Limits the time until the head is read, and then the body.
        **options
            As for `requests.Session.request`.

        Raises
        ------
        TimeoutError
            If the deadline is over.
        """
        timeout = settings.connect_timeout_s, settings.read_timeout_s
        token = _deadline.set(deadline)
        try:
            response = self.request(method, url, stream=True, allow_redirects=False, timeout=timeout, **options)
        finally:
            _deadline.reset(token)
        deadline.check()
        return response

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return None. Otherwise requests would read the whole body of a redirect, even if it does not follow it."""


def reveal_all(values: Mapping[str, str | Secret]) -> dict[str, str]:
    """Return headers or a query with secrets as plain text. Call this only where no traceback shows the locals."""
    return {name: value.reveal() if isinstance(value, Secret) else value for name, value in values.items()}


def _keep_headers(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Do nothing. Without an auth object, requests replaces the Authorization header by an entry of ~/.netrc."""
    return request


# -- bodies -----------------------------------------------------------------------------------------------------


def read_body(response: requests.Response, deadline: Deadline) -> Iterator[bytes]:
    """Yield the body in chunks of at most 64 KiB. Only gzip is decompressed, no other Content-Encoding.

    urllib3 before 2.6 decompresses everything it has read at once, in any number of layers, so that 800 bytes can
    become 400 MB. The body is therefore read undecoded, and one layer of gzip is decompressed chunk by chunk.

    Raises
    ------
    urllib3.exceptions.HTTPError
        If the body is incomplete or is not gzip although its header says so.
    TimeoutError
        If the deadline is over.
    """
    blocks = _read_blocks(response, deadline)
    is_gzip = response.headers.get("Content-Encoding", "").strip().lower() in {"gzip", "x-gzip"}
    return _decompress(blocks) if is_gzip else blocks


def _read_blocks(response: requests.Response, deadline: Deadline) -> Iterator[bytes]:
    deadline.add(0)
    for block in response.raw.stream(deadline.chunk_bytes, decode_content=False):
        deadline.add(len(block))
        yield block
    deadline.check()


def _decompress(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the content of the gzip members. Trailing bytes that are not a gzip member are ignored."""
    member, is_first = None, True
    for block in blocks:
        rest = block
        while rest:
            if member is None:
                member = zlib.decompressobj(16 + zlib.MAX_WBITS)  # 16 selects the gzip format
            try:
                chunk = member.decompress(rest, CHUNK_BYTES)
            except zlib.error as error:
                if not is_first:
                    return
                raise DecodeError("the body is not gzip") from error
            if chunk:
                yield chunk
            rest = member.unconsumed_tail
            if member.eof:
                rest, member, is_first = member.unused_data, None, False
    if member is not None and is_first:
        raise DecodeError("the gzip is incomplete")


# -- logs -------------------------------------------------------------------------------------------------------

_QUERY = re.compile(r"\?\S*")


class _QueryMask(logging.Filter):
    """Mask query strings and webhook paths in urllib3's logs: they contain the API key, signatures and secrets."""

    def filter(self, record: logging.LogRecord) -> bool:
        if _deadline.get() is not None:
            with suppress(TypeError, ValueError):
                record.msg, record.args = mask_webhooks(_QUERY.sub("?***", record.getMessage())), ()
        return True


for _name in ("connectionpool", "connection", "poolmanager", "util.retry"):
    logging.getLogger(f"urllib3.{_name}").addFilter(_QueryMask())
