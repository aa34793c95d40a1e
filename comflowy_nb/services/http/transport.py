"""The requests session: limits that hold, no connection used when it is stale, no secret in a log."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import re
import socket
import threading
import time
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NameResolutionError, NewConnectionError

from comflowy_nb.services.http.bodies import ACCEPT_ENCODING
from comflowy_nb.services.http.deadlines import TimedSocket, held

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["NotPublicError", "Session", "hiding_queries", "is_public", "make_session"]


class _Timed:
    """Mixed into urllib3's connections: limits, and no use of a connection that has been idle for too long."""

    longest_idle_s = 4.0  # servers close idle connections, some after 5 s; a POST that meets the close is lost
    _idle_from: float | None = None

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        self.sock: Any = TimedSocket(self.sock, held())

    def request(self, *args: Any, **options: Any) -> None:
        if isinstance(getattr(self, "sock", None), TimedSocket):
            self.sock.limit = held()
        self._idle_from = time.monotonic()
        super().request(*args, **options)  # type: ignore[misc]

    def getresponse(self) -> Any:
        response = super().getresponse()  # type: ignore[misc]
        self._idle_from = time.monotonic()
        return response

    @property
    def is_connected(self) -> bool:
        if self._idle_from is not None and time.monotonic() - self._idle_from >= self.longest_idle_s:
            return False
        return bool(super().is_connected)  # type: ignore[misc]


class _Http(_Timed, HTTPConnection):
    pass


class _Https(_Timed, HTTPSConnection):
    pass


class _FreshHttp(_Http):
    longest_idle_s = 0.0


class _FreshHttps(_Https):
    longest_idle_s = 0.0


class NotPublicError(NewConnectionError):
    """The name stands for an address that is none of the public internet's."""


class _PublicHttps(_Https):
    """Connects to the very addresses it has checked, so that a name can't change its meaning in between."""

    def _new_conn(self) -> socket.socket:
        try:
            found = socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)
        except OSError as error:
            reason = error if isinstance(error, socket.gaierror) else socket.gaierror(str(error))
            raise NameResolutionError(self.host, self, reason) from error
        addresses = [str(entry[4][0]) for entry in found]
        if not addresses or not all(is_public(address) for address in addresses):
            raise NotPublicError(self, "not a public address")
        name = self._dns_host
        try:
            for number, address in enumerate(addresses):
                self._dns_host = address
                try:
                    return super()._new_conn()
                except NewConnectionError:
                    if number == len(addresses) - 1:
                        raise
            raise AssertionError("there was an address")
        finally:
            self._dns_host = name  # what the certificate must be for


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet, also inside IPv6's ways to carry an IPv4 one."""
    try:
        ip = ipaddress.ip_address(address.split("%", maxsplit=1)[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped or ip in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
        carried = ip.sixtofour or (ip.teredo and ip.teredo[1])
        if carried and not is_public(str(carried)):
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified or ip.is_loopback)


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def _pools(http: type[HTTPConnection], https: type[HTTPSConnection]) -> dict[str, type[HTTPConnectionPool]]:
    return {
        "http": type("Pool", (HTTPConnectionPool,), {"ConnectionCls": http}),
        "https": type("TlsPool", (HTTPSConnectionPool,), {"ConnectionCls": https}),
    }


_KEPT = _pools(_Http, _Https)
_FRESH = _pools(_FreshHttp, _FreshHttps)
_PUBLIC = _pools(_Http, _PublicHttps)


class _Adapter(HTTPAdapter):
    def __init__(
        self, direct: dict[str, type[HTTPConnectionPool]], proxied: dict[str, type[HTTPConnectionPool]]
    ) -> None:
        self._direct = direct
        self._proxied = proxied
        self._last: tuple[str, Any] | None = None  # host and port, and their pool
        super().__init__(pool_connections=8, pool_maxsize=32)  # and no retries: they are decided elsewhere

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = self._direct

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = self._proxied
        return manager

    # The three below do what requests' own do, for the one case we have most: http without a proxy. A third of the CPU
    # of a small exchange goes into parsing its address again and into cookies and encodings that nobody reads.

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        url = request.url or ""
        if proxies or not url.startswith("http://"):
            return super().get_connection_with_tls_context(request, verify, proxies=proxies, cert=cert)
        place = url.split("/", 3)[2]
        last = self._last
        if last is not None and last[0] == place and last[1].pool is not None:  # None: it was closed meanwhile
            return last[1]
        pool: Any = super().get_connection_with_tls_context(request, verify, proxies=proxies, cert=cert)
        self._last = (place, pool)
        return pool

    def request_url(self, request: requests.PreparedRequest, proxies: Any) -> str:
        return super().request_url(request, proxies) if proxies else request.path_url

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        response = requests.Response()
        response.status_code = resp.status
        response.headers = resp.headers  # looked up in any case, as requests' own
        response.raw = resp
        response.reason = resp.reason
        response.url = req.url or ""
        response.request = req
        return response


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Stands where an auth object would: without one requests puts a ~/.netrc entry over our own header."""
    return request


class Session(requests.Session):
    def once(
        self,
        method: str,
        url: str,
        *,
        timeout: tuple[float, float],
        direct: bool,
        headers: Mapping[str, str] | None = None,
        **parts: Any,
    ) -> requests.Response:
        """Send one request and read its head, as `request(..., stream=True, allow_redirects=False)` does.

        Without what we have no use for: `request` merges cookies and hooks, reads ~/.netrc, and looks for proxies
        through the whole environment twice, which is half of the CPU of a small exchange.

        Parameters
        ----------
        direct
            Never through a proxy, whatever the environment says.
        parts
            `params`, `data`, `files` and `auth`, as for `request`.
        """
        prepared = self._prepare(method, url, headers={**self.headers, **(headers or {})}, **parts)
        assert prepared.url is not None
        if direct and prepared.url.startswith("http://"):
            options: Any = {"proxies": {}, "verify": True, "cert": None}
        else:  # the environment may name a proxy, and certificates
            proxies: Any = dict.fromkeys(("http", "https", "all")) if direct else {}
            options = self.merge_environment_settings(prepared.url, proxies, stream=True, verify=None, cert=None)
            options.pop("stream")
        adapter = self.get_adapter(prepared.url)
        return adapter.send(prepared, stream=True, timeout=timeout, **options)

    @staticmethod
    def _prepare(
        method: str,
        url: str,
        *,
        headers: Mapping[str, Any],
        params: Mapping[str, str] | None = None,
        data: bytes | None = None,
        auth: Any = None,
        files: Any = None,
    ) -> requests.PreparedRequest:
        prepared = requests.PreparedRequest()
        if files is not None or not url.isascii():
            prepared.prepare(method, url, headers=headers, params=params, data=data, auth=auth, files=files)
            return prepared
        # What `prepare` does to a request like this, a quarter of the CPU: our own addresses need no repair.
        prepared.method = method
        prepared.url = f"{url}?{urlencode(params)}" if params else url
        prepared.headers = CaseInsensitiveDict(headers)
        prepared.hooks = {"response": []}
        prepared.body = data
        if data is not None or method != "GET":
            prepared.headers["Content-Length"] = str(len(data or b""))
        return prepared if auth is None else auth(prepared)

    def get_redirect_target(self, resp: requests.Response) -> None:
        """No redirect is requests' business.

        Even with `allow_redirects=False` it prepares the next request, and for that reads the whole body, however
        large, outside every limit of ours.
        """


def make_session(*, fresh: bool = False, public: bool = False) -> Session:
    """A session without cookies, netrc and retries.

    Parameters
    ----------
    fresh
        Never use a connection twice: for what must not be lost by a server that closes idle ones.
    public
        https to public addresses only; through a proxy it is the proxy that connects.
    """
    session = Session()
    direct, proxied = (_PUBLIC, _KEPT) if public else (_FRESH, _FRESH) if fresh else (_KEPT, _KEPT)
    session.mount("http://", _Adapter(direct, proxied))
    session.mount("https://", _Adapter(direct, proxied))
    session.auth = _no_auth
    session.headers = CaseInsensitiveDict(
        {"User-Agent": session.headers["User-Agent"], "Accept-Encoding": ACCEPT_ENCODING}
    )
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session


# -- logs -------------------------------------------------------------------------------------------------------

# urllib3 writes whole addresses to its log: the key of the token request, the signatures of images
_SECRET_WORDS = re.compile(
    r"(?i)([?&](?:ppt|sig|signature|token|access_token|policy|credential|security-token|key-pair-id|awsaccesskeyid"
    r"|googleaccessid|x-[a-z]+-[a-z-]+)=)[^&\s\"'<>]*"
)
_QUERY = re.compile(r"\?\S*")


class _Logs(threading.local):
    hides_queries = False


_logs = _Logs()


@contextlib.contextmanager
def hiding_queries() -> Iterator[None]:
    """Mask whole query strings in what this thread logs: every storage service signs an address in its own way."""
    _logs.hides_queries = True
    try:
        yield
    finally:
        _logs.hides_queries = False


class _Masking(logging.Filter):
    """Rewrites what must not be read in a log; a record without it passes untouched."""

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            text = record.getMessage()
        except (TypeError, ValueError):
            return True
        masked = _QUERY.sub("?***", text) if _logs.hides_queries else _SECRET_WORDS.sub(r"\1***", text)
        if masked != text:
            record.msg, record.args = masked, ()
        return True


def _mask_logs() -> None:
    masking: Callable[[logging.LogRecord], bool] = _Masking().filter
    for name in ("urllib3.connectionpool", "urllib3.connection", "urllib3.poolmanager", "urllib3.util.retry"):
        logging.getLogger(name).addFilter(masking)


_mask_logs()
