"""The one boundary with requests: an exchange gives an answer or a failure, never an exception of the network.

What leaves this module carries no address, no key and no exception of another library: whatever they raise holds the
whole URL in its frames, and a notebook prints frames. So an exception is read, dropped, and only then is there an
error of ours.
"""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any, TypeVar

import requests

from comflowy_nb.errors import AnswerError, RateLimitError, ServerError, ServiceError, UnreachableError
from comflowy_nb.services.http.bodies import read_pieces
from comflowy_nb.services.http.deadlines import Limit, holding
from comflowy_nb.services.http.origins import is_loopback
from comflowy_nb.services.http.responses import MAX_PAUSE_S, Answer, Failure, explain
from comflowy_nb.services.http.transport import Session, make_session
from comflowy_nb.settings import Secret, settings

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping

__all__ = ["Http", "pause_before", "retried"]

MAX_ANSWER_BYTES = 1024 * 1024

T = TypeVar("T")


class Http:
    """Exchanges with one origin.

    Parameters
    ----------
    origin
        Scheme, host and port; a path after it stands before every path that is asked.
    headers
        Sent with every request.
    """

    def __init__(self, origin: str, headers: Mapping[str, Secret] | None = None) -> None:
        self.origin = origin
        self._headers = dict(headers or {})
        self._kept = make_session()
        self._fresh = make_session(fresh=True)
        # a proxy named in the environment would get requests to this machine too, key included
        self._direct = is_loopback(origin)

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
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> Answer | Failure:
        """Send one request once, and read its answer: at most `max_bytes`, within the deadline, following no redirect.

        Parameters
        ----------
        body
            Sent as JSON.
        files
            Sent as a form: name -> file name and content.
        fresh
            Over a connection of its own.
        """
        limit = Limit(settings.answer_deadline_s)
        options: dict[str, Any] = {"auth": None if token is None else _Bearer(token), "max_bytes": max_bytes}
        if body is not None:
            options["data"] = json.dumps(body, allow_nan=False).encode()
            options["headers"] = {"Content-Type": "application/json"}
        if files is not None:
            options["files"] = dict(files)
        session = self._fresh if fresh else self._kept
        interrupted = False
        outcome: Answer | Failure | None = None
        try:
            with holding(limit):
                outcome = self._perform(session, method, path, query, limit, options)
        except KeyboardInterrupt:
            interrupted = True  # raised anew below: its frames hold the address
        except Exception as error:  # noqa: BLE001 - whatever it is, its frames hold the key
            outcome = explain(error, limit)
        if interrupted or outcome is None:
            del body, options  # they hold the addresses of our receiver, and Verbose tracebacks show locals
            raise KeyboardInterrupt
        return outcome

    def _perform(  # noqa: PLR0917 - called from one place
        self,
        session: Session,
        method: str,
        path: str,
        query: Mapping[str, str | Secret] | None,
        limit: Limit,
        options: dict[str, Any],
    ) -> Answer:
        max_bytes: int = options.pop("max_bytes")
        if self._headers:
            own = {name: value.reveal() for name, value in self._headers.items()}
            options = {**options, "headers": {**own, **options.get("headers", {})}}
        shown = {name: value.reveal() if isinstance(value, Secret) else value for name, value in (query or {}).items()}
        with session.once(
            method,
            self.origin + path,
            params=shown,
            timeout=(settings.connect_timeout_s, settings.read_timeout_s),
            direct=self._direct,
            **options,
        ) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            body, flaw = bytearray(), None
            try:
                for piece in read_pieces(response):
                    body += piece
                    if len(body) > max_bytes:
                        flaw = f"the answer is larger than {max_bytes // 1024**2} MiB"
                        break
            except Exception as error:  # noqa: BLE001 - the head is known, so the answer stands, with a flaw
                flaw = explain(error, limit).text
            return Answer(response.status_code, headers, b"" if flaw else bytes(body), flaw)

    def close(self) -> None:
        self._kept.close()
        self._fresh.close()


class _Bearer(requests.auth.AuthBase):
    """An auth object, because a ~/.netrc entry replaces a plain Authorization header."""

    def __init__(self, token: Secret) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token.reveal()}"
        return request


# -- again ------------------------------------------------------------------------------------------------------

_WORTH_ANOTHER = (UnreachableError, ServerError, AnswerError, RateLimitError)


def retried(call: Callable[[], T], closing: threading.Event) -> T:
    """A read that is tried again after a pause when another try may help.

    Full jitter: anything up to 0.5 s, 1 s, 2 s ... 8 s; a Retry-After instead where there was one, unless it reaches
    `MAX_PAUSE_S`.
    """
    attempt = 0
    while True:
        try:
            return call()
        except _WORTH_ANOTHER as error:
            pause_s = pause_before(attempt, error)
            if pause_s is None:
                raise
        attempt += 1
        if closing.wait(pause_s):
            raise UnreachableError("the connection was closed")


def pause_before(attempt: int, error: ServiceError) -> float | None:
    """Seconds before try number `attempt` + 1 of a read, or None if there should be none."""
    if attempt >= settings.retries:
        return None
    asked_s = error.retry_after_s if isinstance(error, RateLimitError) else None
    if asked_s is not None:
        return asked_s if asked_s < MAX_PAUSE_S else None
    longest: float = min(settings.retry_max_s, settings.retry_base_s * 2**attempt)
    return random.uniform(0, longest)  # noqa: S311 - jitter
