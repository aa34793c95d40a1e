"""Download images from the URLs that a service returns, which are untrusted (server-side request forgery).

Any URL at the service's own origin is allowed; elsewhere only https to public addresses, checked again at each
redirect. Neither key nor token is sent, headers that the user configured go to the service's origin only, and errors
name the host at most: a URL may be signed.
"""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urljoin, urlsplit

from comflowy_nb.errors import (
    AnswerError,
    AuthError,
    NotFoundError,
    ServerError,
    ServiceError,
    SettingsError,
    UnreachableError,
)
from comflowy_nb.services.http.origins import is_loopback, is_public, origin_of
from comflowy_nb.services.http.responses import (
    Failure,
    FailureKind,
    classify,
    error_of_proxy,
    rate_limit_error,
    read_retry_after,
)
from comflowy_nb.services.http.transport import Deadline, Session, read_body
from comflowy_nb.settings import Secret, settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    import requests

__all__ = ["Images"]

MAX_REDIRECTS = 3
_NOT_IN_A_URL = re.compile(r"""[^!-~]|["<>\\^`{|}]|%(?![0-9A-Fa-f]{2})""")  # RFC 3986
MIN_BYTES_PER_S = 1024.0  # a download that is slower for `read_timeout_s` is given up


class Images:
    """Opens the images of one service.

    Parameters
    ----------
    origin
        The service's own.
    label
        The service's name in messages.
    headers
        Sent to the service's own origin only.
    asks_for_headers
        Whether a 401 or 403 of the service comes from a proxy before it that needs `headers`.
    """

    def __init__(
        self,
        origin: str,
        label: str,
        headers: Mapping[str, Secret] | None = None,
        *,
        asks_for_headers: bool = False,
    ) -> None:
        self._origin = origin
        self._headers = dict(headers or {})
        self._label = label
        self._asks_for_headers = asks_for_headers
        self._own = Session()
        self._public = Session(public=True)

    def open(self, url: str) -> _Opening:
        """Open a URL, which may be relative to the service's origin, as a context manager."""
        return _Opening(self, _joined(self._origin + "/", url))

    def close(self) -> None:
        self._own.close()
        self._public.close()

    def follow(self, address: Secret, deadline: Deadline) -> tuple[requests.Response, str]:
        """Follow redirects to the image; return its response and the name of its host.

        Raises
        ------
        ServiceError
            If a URL on the way is not allowed or returns no image.
        """
        for _ in range(MAX_REDIRECTS + 1):
            own = self._is_own(address)
            name = self._label if own else _name(address)
            refusal = None if own else _refusal(address)
            if refusal is not None:
                raise ServiceError(f"the image is at {name}, {refusal}; it was not fetched")
            response = self._get(address, deadline, own=own)
            if isinstance(response, Failure):
                raise _failure_error(response, name)
            if response.status_code == 200:
                return response, name
            response.close()
            target = _redirect_target(address, response)
            if target is None:
                proxy_error = error_of_proxy(response.status_code, name) if own and self._asks_for_headers else None
                raise proxy_error or _status_error(response, name)
            address = target
        raise ServiceError(f"the image at {name} was moved more than {MAX_REDIRECTS} times; it was not fetched")

    def _get(self, address: Secret, deadline: Deadline, *, own: bool) -> requests.Response | Failure:
        headers = {"Accept": "image/*,*/*;q=0.5", "Accept-Encoding": "identity"}
        try:
            if own:
                headers |= {name: value.reveal() for name, value in self._headers.items()}
            return (self._own if own else self._public).fetch(
                "GET", address.reveal(), deadline, headers=headers, bypass_proxy=own and is_loopback(self._origin)
            )
        except Exception as error:  # noqa: BLE001 - the frames of any exception hold the URL
            return classify(error, deadline)

    def _is_own(self, address: Secret) -> bool:
        parts = _parts(address)
        try:
            return parts is not None and origin_of(f"{parts.scheme}://{parts.netloc}") == self._origin
        except SettingsError:
            return False


class _Opening:
    """One image, open inside `with`."""

    def __init__(self, images: Images, address: Secret) -> None:
        self._images = images
        self._address = address
        self._deadline = Deadline(
            settings.image_deadline_s, min_bytes_per_s=MIN_BYTES_PER_S, window_s=settings.read_timeout_s
        )
        self._response: requests.Response | None = None
        self._name = ""

    def __enter__(self) -> _Opening:  # noqa: PYI034 - final
        self._deadline.__enter__()
        try:
            self._response, self._name = self._images.follow(self._address, self._deadline)
        except BaseException:
            self._deadline.__exit__()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._deadline.__exit__()
        if self._response is not None:
            self._response.close()

    @property
    def length(self) -> int | None:
        """Size of the body in bytes, or None: with a Content-Encoding, Content-Length counts other bytes."""
        assert self._response is not None
        headers = self._response.headers
        text = headers.get("Content-Length", "")
        if headers.get("Content-Encoding", "identity") != "identity" or "Transfer-Encoding" in headers:
            return None
        return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None

    def chunks(self) -> Iterator[bytes]:
        assert self._response is not None
        pieces = read_body(self._response, self._deadline)
        while True:
            failure = None
            piece = b""
            try:
                piece = next(pieces, b"")
            except Exception as error:  # noqa: BLE001 - the frames of any exception hold the URL
                failure = classify(error, self._deadline)
            if failure is not None:
                raise AnswerError(f"the image from {self._name} broke off: {failure.text}")
            if not piece:
                return
            yield piece


def _parts(address: Secret) -> Any:
    try:
        return urlsplit(address.reveal())
    except ValueError:
        return None


def _host(address: Secret) -> str:
    parts = _parts(address)
    return "" if parts is None else (parts.hostname or "").rstrip(".")


def _name(address: Secret) -> str:
    """Return the name of a foreign URL's host for messages."""
    host = _host(address)
    return host[:100] if host else "an address without a host"


def _refusal(address: Secret) -> str | None:
    """Return why a foreign URL is not allowed; the session checks the address again when it connects."""
    parts, host = _parts(address), _host(address)
    if parts is None or not host:
        scheme = "" if parts is None else parts.scheme
        return f"a {scheme[:20]}: one, which is never opened" if scheme else "which can't be read"
    if parts.scheme != "https":
        return "which is not reached by https"
    if "@" in parts.netloc:
        return "and names a user, which is never sent"
    if _is_private(host) or not _resolves_public(host):
        return "which is not public"
    return None


def _redirect_target(address: Secret, response: requests.Response) -> Secret | None:
    location = response.headers.get("Location")
    if response.status_code not in {301, 302, 303, 307, 308} or not location:
        return None
    return _joined(address.reveal(), location)


def _joined(base: str, url: str) -> Secret:
    """Resolve a URL against another, and percent-encode characters that are invalid in a path or query."""
    try:
        parts = urlsplit(urljoin(base, url))
        path, query = (_NOT_IN_A_URL.sub(lambda sign: quote(sign[0]), text) for text in (parts.path, parts.query))
        return Secret(parts._replace(path=path, query=query, fragment="").geturl())
    except ValueError:
        return Secret(url)  # `_refusal` rejects it


def _is_private(host: str) -> bool:
    """Return whether a host is a private name or the literal of a private address."""
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
        return True
    if ":" in host or host.replace(".", "").isdigit():
        return not is_public(host)
    return False


def _resolves_public(host: str) -> bool:
    """Return whether all addresses of a host are public; behind a proxy its name may be unknown here."""
    try:
        return all(is_public(str(entry[4][0])) for entry in socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError):
        return True


def _failure_error(failure: Failure, name: str) -> ServiceError:
    if failure.kind is FailureKind.NOT_SENT:
        return UnreachableError(f"can't reach {name} for the image: {failure.text}")
    if failure.kind is FailureKind.NOT_PUBLIC:
        return ServiceError(f"the image is at {name}, which is not public; it was not fetched")
    if failure.kind is FailureKind.UNTRUSTED:
        return ServiceError(f"the image was not fetched from {name}: {failure.text}")
    return AnswerError(f"no image from {name}: {failure.text}")


def _status_error(response: requests.Response, name: str) -> ServiceError:
    status = response.status_code
    if status in {401, 402, 403}:
        return AuthError(f"{name} did not give the image out (status {status})")
    if status in {404, 410}:
        return NotFoundError(f"{name} no longer has the image (status {status})")
    if status == 429:
        return rate_limit_error(name, read_retry_after(response.headers.get("Retry-After")))
    if status >= 500 or status == 408:
        return ServerError(f"{name} failed to give the image (status {status})")
    return AnswerError(f"{name} answered with status {status} instead of an image")
