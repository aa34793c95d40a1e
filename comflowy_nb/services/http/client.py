"""The boundary with requests: an exchange returns a response or a failure, and raises no network exception.

The frames of an exception of requests contain the whole URL with the key, and notebooks print frames with their locals.
An exception is therefore classified and discarded here, and our own error is raised after the `except` block.
"""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any, TypeVar

from comflowy_nb.errors import AnswerError, RateLimitError, ServerError, ServiceError, UnreachableError
from comflowy_nb.services.http.responses import MAX_PAUSE_S, Failure, Response, classify
from comflowy_nb.services.http.transport import Deadline, Session, read_body, reveal_all
from comflowy_nb.services.targets import is_loopback
from comflowy_nb.settings import Secret, settings

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping

    import requests


MAX_RESPONSE_BYTES = 1024 * 1024

T = TypeVar("T")


class Http:
    """Send requests to one origin.

    Parameters
    ----------
    origin : str
        Scheme, host and port, and optionally a path that prefixes every request path.
    headers : mapping of str to Secret, optional
        Headers for every request.
    """

    def __init__(self, origin: str, headers: Mapping[str, Secret] | None = None) -> None:
        self._origin = origin
        self._headers = headers or {}
        self._session = self._new_session()

    def _new_session(self) -> Session:
        return Session(direct=is_loopback(self._origin))

    def exchange(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | Secret] | None = None,
        token: Secret | None = None,
        body: Any = None,
        files: Mapping[str, tuple[str, bytes]] | None = None,
        fresh: bool = False,
        max_bytes: int = MAX_RESPONSE_BYTES,
    ) -> Response | Failure:
        """Send one request, without retries or redirects, and read the response within the deadline.

        Parameters
        ----------
        method, path : str
            The request.
        query : mapping, optional
            The query string.
        token : Secret, optional
            The bearer token.
        body : object, optional
            The body, which is sent as JSON.
        files : mapping, optional
            Form data: name -> file name and content.
        fresh : bool
            Use a new connection, because a server may close an idle one while the request is in flight.
        max_bytes : int
            The maximum size of the body.
        """
        data = None if body is None else json.dumps(body, allow_nan=False).encode()
        session = self._new_session() if fresh else self._session
        deadline = Deadline(settings.answer_deadline_s)

        def receive() -> Response:
            headers = reveal_all(self._headers)
            if token is not None:
                headers["Authorization"] = f"Bearer {token.reveal()}"
            if data is not None:
                headers["Content-Type"] = "application/json"
            options = {"params": reveal_all(query or {}), "headers": headers, "data": data, "files": files}
            with deadline, session.fetch(method, self._origin + path, deadline, **options) as response:
                content, body_error = _read_all(response, deadline, max_bytes)
                names = {name.lower(): value for name, value in response.headers.items()}
                return Response(response.status_code, names, content, body_error)

        try:
            return receive()
        except KeyboardInterrupt:
            pass  # raised again below: the frames of `receive` hold the URL and the key
        except Exception as error:  # noqa: BLE001 - the frames of any exception hold the key
            return classify(error, deadline)
        finally:
            if fresh:
                session.close()
        body = data = None  # they hold the URLs of the webhook receiver, and Verbose tracebacks show locals
        raise KeyboardInterrupt

    def close(self) -> None:
        self._session.close()


def _read_all(response: requests.Response, deadline: Deadline, max_bytes: int) -> tuple[bytes, str | None]:
    """Return the body, or why it is incomplete. Even then the status of the response is known."""
    body = bytearray()
    try:
        for chunk in read_body(response, deadline):
            body += chunk
            if len(body) > max_bytes:
                return b"", f"the response is larger than {max_bytes // 1024**2} MiB"
    except Exception as error:  # noqa: BLE001 - the frames of any exception hold the key
        return b"", classify(error, deadline).text
    return bytes(body), None


# -- retries ----------------------------------------------------------------------------------------------------

_TRANSIENT = (UnreachableError, ServerError, AnswerError, RateLimitError)


def retry_read(call: Callable[[], T], closing: threading.Event) -> T:
    """Call a function that only reads, and retry it after transient errors.

    The pause before a retry is the server's Retry-After, or an exponential backoff with full jitter (at most 0.5 s,
    1 s, 2 s ... 8 s). If Retry-After is `MAX_PAUSE_S` or more, there is no retry.
    """
    attempt = 0
    while True:
        try:
            return call()
        except _TRANSIENT as error:
            pause_s = _pause_before(attempt, error)
            if pause_s is None:
                raise
        attempt += 1
        if closing.wait(pause_s):
            raise UnreachableError("the connection was closed")


def _pause_before(attempt: int, error: ServiceError) -> float | None:
    """Return the pause in seconds before retry number `attempt` + 1, or None if there is no further retry."""
    if attempt >= settings.retries:
        return None
    retry_after_s = error.retry_after_s if isinstance(error, RateLimitError) else None
    if retry_after_s is not None:
        return retry_after_s if retry_after_s < MAX_PAUSE_S else None
    longest_s: float = min(settings.retry_max_s, settings.retry_base_s * 2**attempt)
    return random.uniform(0, longest_s)  # noqa: S311 - jitter
