"""Download images from the URLs that a service returns. The URLs are untrusted (server-side request forgery).

Any URL at the service's own origin is allowed; other URLs must use https and public addresses, which is checked again
at each redirect. Keys and tokens are never sent, and configured headers are sent only to the service's own origin.
Errors contain at most the host, because a URL may be signed.
"""

from __future__ import annotations

import re
import socket
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from comflowy_nb.errors import (
    AnswerError,
    AuthError,
    NotFoundError,
    ServerError,
    ServiceError,
    SettingsError,
)
from comflowy_nb.services.http.responses import (
    Failure,
    FailureKind,
    classify,
    error_of,
    error_of_proxy,
    rate_limit_error,
    read_retry_after,
)
from comflowy_nb.services.http.transport import Deadline, Session, is_public, read_body, reveal_all
from comflowy_nb.services.targets import is_loopback, origin_of
from comflowy_nb.services.types import ImageStream
from comflowy_nb.settings import Secret, settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

    import requests


MAX_REDIRECTS = 3
MIN_BYTES_PER_S = 1024.0  # a download that is slower for `read_timeout_s` is given up
_NOT_IN_A_URL = re.compile(r"""[^!-~]|["<>\\^`{|}]|%(?![0-9A-Fa-f]{2})""")  # RFC 3986
_HEADERS = {"Accept": "image/*,*/*;q=0.5", "Accept-Encoding": "identity"}


class Images:
    """Downloads the images of one service.

    Parameters
    ----------
    origin : str
        The origin of the service.
    label : str
        The service's name in errors.
    headers : mapping of str to Secret, optional
        Headers that are sent only to the service's own origin.
    behind_proxy : bool
        Whether a 401 or 403 comes from a proxy in front of the service, which requires `headers`.
    """

    def __init__(
        self, origin: str, label: str, headers: Mapping[str, Secret] | None = None, *, behind_proxy: bool = False
    ) -> None:
        self._origin = origin
        self._headers = headers or {}
        self._label = label
        self._behind_proxy = behind_proxy
        self._own = Session(direct=is_loopback(origin))
        self._public = Session(public=True)

    def open(self, url: str) -> AbstractContextManager[ImageStream]:
        """Open a URL, which may be relative to the service's origin. Return a context manager."""
        return self._open(_join_url(self._origin + "/", url))

    @contextmanager
    def _open(self, url: Secret) -> Iterator[ImageStream]:
        deadline = Deadline(
            settings.image_deadline_s, min_bytes_per_s=MIN_BYTES_PER_S, window_s=settings.read_timeout_s
        )
        with deadline:
            response, host = self._follow(url, deadline)
            with closing(response):
                yield ImageStream(_length(response.headers), partial(_chunks, response, host, deadline))

    def close(self) -> None:
        self._own.close()
        self._public.close()

    def _follow(self, url: Secret, deadline: Deadline) -> tuple[requests.Response, str]:
        """Follow redirects to the image. Return the response and the name of the host.

        Raises
        ------
        ServiceError
            If one of the URLs is not allowed, or the last one does not return an image.
        """
        for _ in range(MAX_REDIRECTS + 1):
            is_own = self._is_own(url)
            host = self._label if is_own else _host(url)[:100] or "an address without a host"
            rejection = None if is_own else _rejection(url)
            if rejection is not None:
                raise ServiceError(f"the image is at {host}, {rejection}; it was not fetched")
            response = self._get(url, deadline, is_own=is_own)
            if isinstance(response, Failure):
                raise _failure_error(response, host)
            if response.status_code == 200:
                return response, host
            response.close()
            target = _redirect_target(url, response)
            if target is None:
                proxy_error = error_of_proxy(response.status_code, host) if is_own and self._behind_proxy else None
                raise proxy_error or _status_error(response, host)
            url = target
        raise ServiceError(f"the image at {host} was redirected more than {MAX_REDIRECTS} times; it was not fetched")

    def _get(self, url: Secret, deadline: Deadline, *, is_own: bool) -> requests.Response | Failure:
        session, headers = (self._own, self._headers) if is_own else (self._public, {})
        try:
            return session.fetch("GET", url.reveal(), deadline, headers=_HEADERS | reveal_all(headers))
        except Exception as error:  # noqa: BLE001 - the frames of any exception hold the URL
            return classify(error, deadline)

    def _is_own(self, url: Secret) -> bool:
        parts = _parts(url)
        try:
            return parts is not None and origin_of(f"{parts.scheme}://{parts.netloc}") == self._origin
        except SettingsError:
            return False


def _length(headers: Mapping[str, str]) -> int | None:
    """Return the size in bytes; None if unknown. With a Content-Encoding, Content-Length is the encoded size."""
    text = headers.get("Content-Length", "")
    if headers.get("Content-Encoding", "identity") != "identity" or "Transfer-Encoding" in headers:
        return None
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None  # less than 2**63


def _chunks(response: requests.Response, host: str, deadline: Deadline) -> Iterator[bytes]:
    body = read_body(response, deadline)
    while True:
        chunk = b""  # a traceback with locals must not show the one before
        try:
            chunk = next(body, b"")
        except Exception as error:  # noqa: BLE001 - the frames of any exception hold the URL
            failure = classify(error, deadline)
            break
        if not chunk:
            return
        yield chunk
    raise AnswerError(f"the image from {host} is incomplete: {failure.text}")


# -- URLs -------------------------------------------------------------------------------------------------------


def _join_url(base: str, url: str) -> Secret:
    """Resolve a URL against another, and percent-encode characters that are invalid in a path or query."""
    try:
        parts = urlsplit(urljoin(base, url))
        path, query = (_NOT_IN_A_URL.sub(lambda char: quote(char[0]), text) for text in (parts.path, parts.query))
        return Secret(parts._replace(path=path, query=query, fragment="").geturl())
    except ValueError:
        return Secret(url)  # `_rejection` rejects it


def _redirect_target(url: Secret, response: requests.Response) -> Secret | None:
    location = response.headers.get("Location")
    if response.status_code not in {301, 302, 303, 307, 308} or not location:
        return None
    return _join_url(url.reveal(), location)


def _parts(url: Secret) -> SplitResult | None:
    try:
        return urlsplit(url.reveal())
    except ValueError:
        return None


def _host(url: Secret) -> str:
    parts = _parts(url)
    return "" if parts is None else (parts.hostname or "").rstrip(".")


def _rejection(url: Secret) -> str | None:
    """Return why a URL of another host is not allowed. The session checks the address again when it connects."""
    parts, host = _parts(url), _host(url)
    if parts is None or not host:
        scheme = "" if parts is None else parts.scheme
        return f"a {scheme[:20]}: URL, which is never opened" if scheme else "which is not a valid URL"
    if parts.scheme != "https":
        return "which is not reached by https"
    if "@" in parts.netloc:
        return "with a user name in its URL, which is never sent"
    if not _is_public_host(host):
        return "which is not public"
    return None


def _is_public_host(host: str) -> bool:
    """Return whether all addresses of a host are public. Behind a proxy, the name may be unknown on this machine."""
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
        return False
    if ":" in host or host.replace(".", "").isdigit():
        return is_public(host)
    try:
        return all(is_public(str(entry[4][0])) for entry in socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError):
        return True


# -- errors -----------------------------------------------------------------------------------------------------


def _failure_error(failure: Failure, host: str) -> ServiceError:
    if failure.kind is FailureKind.NOT_PUBLIC:
        return ServiceError(f"the image is at {host}, which is not public; it was not fetched")
    return error_of(failure, host)


def _status_error(response: requests.Response, host: str) -> ServiceError:
    status = response.status_code
    if status in {401, 402, 403}:
        return AuthError(f"{host} did not permit the download of the image (status {status})")
    if status in {404, 410}:
        return NotFoundError(f"{host} no longer has the image (status {status})")
    if status == 429:
        pause_s = read_retry_after(response.headers.get("Retry-After"), response.headers.get("Date"))
        return rate_limit_error(host, pause_s)
    if status >= 500 or status == 408:
        return ServerError(f"{host} failed to return the image (status {status})")
    return AnswerError(f"{host} answered with status {status} instead of an image")
