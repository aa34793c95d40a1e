"""Images from the addresses a service names, which are not to be trusted.

At the service's own origin any address will do; elsewhere only https to the public internet, and each redirect is
looked at anew. No key and no token is ever sent, headers that a person set for the origin go nowhere else, and no
error repeats an address: they may be signed.
"""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urljoin, urlsplit

import requests

from comflowy_nb.errors import (
    AnswerError,
    AuthError,
    NotFoundError,
    ServerError,
    ServiceError,
    SettingsError,
    UnreachableError,
)
from comflowy_nb.services.http.bodies import read_pieces
from comflowy_nb.services.http.deadlines import Limit, holding
from comflowy_nb.services.http.origins import is_loopback, origin_of
from comflowy_nb.services.http.responses import Failure, Trouble, error_of_proxy, explain, rate_limit, read_pause
from comflowy_nb.services.http.transport import hiding_queries, is_public, make_session
from comflowy_nb.settings import Secret, settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

__all__ = ["Images"]

MAX_REDIRECTS = 3
_NOT_IN_A_URL = re.compile(r"""[^!-~]|["<>\\^`{|}]|%(?![0-9A-Fa-f]{2})""")  # RFC 3986
FLOOR_BYTES_PER_S = 1024.0  # slower than this for as long as silence is borne is taken for stuck


class Images:
    """Opens the images of one service.

    Parameters
    ----------
    origin
        The service's own.
    label
        What the service is called in a message.
    headers
        For the service's own origin alone.
    asks_for_headers
        Whether only a proxy before the service refuses anybody, which wants headers.
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
        self._own = make_session()
        self._public = make_session(public=True)

    def open(self, url: str) -> _Opening:
        """Open an address inside `with`; it may be one relative to the service's origin."""
        return _Opening(self, _joined(self._origin + "/", url))

    def close(self) -> None:
        self._own.close()
        self._public.close()

    def follow(self, address: Secret, limit: Limit) -> tuple[requests.Response, str]:
        """The answer that holds the image, and what to call its host.

        Raises
        ------
        ServiceError
            If an address on the way may not be asked, or there was no image.
        """
        for _ in range(MAX_REDIRECTS + 1):
            own = self._is_own(address)
            name = self._label if own else _name(address)
            refusal = None if own else _refusal(address)
            if refusal is not None:
                raise ServiceError(f"the image is at {name}, {refusal}; it was not fetched")
            answer = self._ask(address, limit, own=own)
            if isinstance(answer, Failure):
                raise _no_answer(answer, name)
            if answer.status_code == 200:
                return answer, name
            answer.close()
            following = _redirected(address, answer)
            if following is None:
                refused = error_of_proxy(answer.status_code, name) if own and self._asks_for_headers else None
                raise refused or _no_image(answer.status_code, {k.lower(): v for k, v in answer.headers.items()}, name)
            address = following
        raise ServiceError(f"the image at {name} was moved more than {MAX_REDIRECTS} times; it was not fetched")

    def _ask(self, address: Secret, limit: Limit, *, own: bool) -> requests.Response | Failure:
        try:
            with holding(limit), hiding_queries():
                return (self._own if own else self._public).once(
                    "GET",
                    address.reveal(),
                    headers={
                        "Accept": "image/*,*/*;q=0.5",
                        "Accept-Encoding": "identity",
                        **({name: value.reveal() for name, value in self._headers.items()} if own else {}),
                    },
                    timeout=(settings.connect_timeout_s, settings.read_timeout_s),
                    direct=own and is_loopback(self._origin),
                )
        except Exception as error:  # noqa: BLE001 - whatever it is, its frames hold the address
            return explain(error, limit)

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
        self._limit = Limit(
            settings.image_deadline_s, floor_bytes_per_s=FLOOR_BYTES_PER_S, window_s=settings.read_timeout_s
        )
        self._response: requests.Response | None = None
        self._name = ""

    def __enter__(self) -> _Opening:  # noqa: PYI034 - final
        self._response, self._name = self._images.follow(self._address, self._limit)
        self._limit.begin_body()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._response is not None:
            self._response.close()

    @property
    def length(self) -> int | None:
        """Bytes to expect; with a Content-Encoding the number counts other bytes, so it is not given."""
        assert self._response is not None
        headers = self._response.headers
        text = headers.get("Content-Length", "")
        if headers.get("Content-Encoding", "identity") != "identity" or "Transfer-Encoding" in headers:
            return None
        return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None

    def chunks(self) -> Iterator[bytes]:
        assert self._response is not None
        pieces = read_pieces(self._response)
        while True:
            failure = None
            piece = b""
            try:
                piece = next(pieces, b"")
            except Exception as error:  # noqa: BLE001 - whatever it is, its frames hold the address
                failure = explain(error, self._limit)
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
    """What to call the place of an address elsewhere."""
    host = _host(address)
    return host[:100] if host else "an address without a host"


def _refusal(address: Secret) -> str | None:
    """Why an address elsewhere may not be asked, as far as its text tells; names are looked at when connecting."""
    parts, host = _parts(address), _host(address)
    if parts is None or not host:
        scheme = "" if parts is None else parts.scheme
        return f"a {scheme[:20]}: one, which is never opened" if scheme else "which can't be read"
    if parts.scheme != "https":
        return "which is not reached by https"
    if "@" in parts.netloc:
        return "and names a user, which is never sent"
    if _is_inside(host):
        return "which is not public"
    if _proxy_of(address) and not _looks_public(host):
        return "which is not public"
    return None


def _redirected(address: Secret, answer: requests.Response) -> Secret | None:
    location = answer.headers.get("Location")
    if answer.status_code not in {301, 302, 303, 307, 308} or not location:
        return None
    return _joined(address.reveal(), location)


def _joined(base: str, url: str) -> Secret:
    """An address relative to another, with every sign percent-encoded that no path and no query may hold."""
    try:
        parts = urlsplit(urljoin(base, url))
        path, query = (_NOT_IN_A_URL.sub(lambda sign: quote(sign[0]), text) for text in (parts.path, parts.query))
        return Secret(parts._replace(path=path, query=query, fragment="").geturl())
    except ValueError:
        return Secret(url)  # it is refused as one that can't be read


def _is_inside(host: str) -> bool:
    """Whether a host's very text says that it is none of the public internet's."""
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
        return True
    if ":" in host or host.replace(".", "").isdigit():
        return not is_public(host)
    return False


def _proxy_of(address: Secret) -> bool:
    url = address.reveal()
    return bool(requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url)))


def _looks_public(host: str) -> bool:
    """Behind a proxy names may be unknown here; what is known here must be public all the same."""
    try:
        return all(is_public(str(entry[4][0])) for entry in socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError):
        return True


def _no_answer(failure: Failure, name: str) -> ServiceError:
    if failure.trouble is Trouble.NOT_SENT:
        return UnreachableError(f"can't reach {name} for the image: {failure.text}")
    if failure.trouble is Trouble.NOT_PUBLIC:
        return ServiceError(f"the image is at {name}, which is not public; it was not fetched")
    if failure.trouble is Trouble.UNTRUSTED:
        return ServiceError(f"the image was not fetched from {name}: {failure.text}")
    return AnswerError(f"no image from {name}: {failure.text}")


def _no_image(status: int, headers: dict[str, str], name: str) -> ServiceError:
    if status in {401, 402, 403}:
        return AuthError(f"{name} did not give the image out (status {status})")
    if status in {404, 410}:
        return NotFoundError(f"{name} no longer has the image (status {status})")
    if status == 429:
        return rate_limit(name, read_pause(headers))
    if status >= 500 or status == 408:
        return ServerError(f"{name} failed to give the image (status {status})")
    return AnswerError(f"{name} answered with status {status} instead of an image")
