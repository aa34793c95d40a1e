"""Accept webhooks over HTTP, in the kernel and in the Jupyter server, and limit the requests that reach a run.

The last part of the path is the secret of one run. A request that does not know a secret gets status 404 before its
body is read, and an accepted body is limited in size, time and number, so that no caller can fill the memory. Nothing
is logged, because the access log would contain the secret.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from abc import ABC, abstractmethod
from collections import Counter
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from tornado.web import RequestHandler, stream_request_body

from comflowy_nb.services.types import WEBHOOK_PATH

if TYPE_CHECKING:
    from collections.abc import Callable

    from tornado.httputil import HTTPServerRequest


PATH = WEBHOOK_PATH
VIA_HEADER = "X-Comflowy-Via"  # set by the server extension
MAX_EVENT_BYTES = 1024 * 1024  # a result lists the URLs of all images
MAX_BODIES = 32  # bodies that are received and delivered at the same time
READ_TIMEOUT_S = 5.0
EVENTS_PER_S, MAX_BURST = 20.0, 60.0  # per run; a service reports about ten steps a second
MAX_LIMITED_RUNS = 4096  # runs with a rate limit at the same time

T = TypeVar("T")


def new_secret() -> str:
    """Return a new secret of 256 bits for the path of a run."""
    return secrets.token_urlsafe(32)


def digest_of(secret: str) -> str:
    """Return the sha256 under which a secret is stored, so that the time of a lookup reveals nothing about it."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


class RateLimit:
    """Limit the events of each run: `EVENTS_PER_S` on average, `MAX_BURST` at once.

    Parameters
    ----------
    clock
        Monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # key -> remaining events, time of the last one

    def allows(self, key: str) -> bool:
        """Count an event of a run. Return False if there are too many."""
        now_s = self._clock()
        left, since_s = self._buckets.pop(key, (MAX_BURST, now_s))
        left = min(MAX_BURST, left + (now_s - since_s) * EVENTS_PER_S)
        self._buckets[key] = (max(0.0, left - 1), now_s)  # the newest is last
        if len(self._buckets) > MAX_LIMITED_RUNS:
            del self._buckets[next(iter(self._buckets))]
        return left >= 1


class Gate(ABC, Generic[T]):
    """Decide which requests are accepted, and count them.

    Attributes
    ----------
    counts
        `accepted` events, and requests that were `rejected` (no such path) or `limited` (too many or too large).
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.limit = RateLimit()
        self.bodies = 0  # number of bodies in memory

    @abstractmethod
    def find(self, digest: str) -> T | None:
        """Return the receiver of the run whose secret has this digest, or None."""

    @abstractmethod
    async def deliver(self, found: T, secret: str, body: bytes, request: HTTPServerRequest) -> int:
        """Deliver an event. Return the HTTP status of the response."""


@stream_request_body
class WebhookHandler(RequestHandler):
    """Receive one event. The secret in the path is the permission: no cookie is read, no login is required."""

    def initialize(self, gate: Gate[Any]) -> None:
        self._gate = gate
        self._found: Any = None
        self._secret = ""
        self._body = bytearray()
        self._is_counted = False  # whether `gate.bodies` includes this request

    def decode_argument(self, value: bytes, name: str | None = None) -> str:
        del name
        return value.decode("utf-8", "replace")

    def prepare(self) -> None:
        """Reject every request except an event of a known run, before the body is read."""
        request = self.request
        # Also for a rejected request, whose body tornado reads and discards.
        request.connection.set_max_body_size(MAX_EVENT_BYTES)  # type: ignore[union-attr]
        request.connection.set_body_timeout(READ_TIMEOUT_S)  # type: ignore[union-attr]
        self._secret = (self.path_args[0] or "").rpartition("/")[2]
        digest = digest_of(self._secret)
        self._found = self._gate.find(digest)
        # A web page in a browser sends its origin; a service does not.
        if self._found is None or request.method != "POST" or "Origin" in request.headers:
            self._reject(404, "rejected")
        elif _length(request) > MAX_EVENT_BYTES:
            self._reject(413, "limited")
        elif self._gate.bodies >= MAX_BODIES or not self._gate.limit.allows(digest):
            self.set_header("Retry-After", "1")
            self._reject(429, "limited")
        else:
            self._gate.bodies += 1
            self._is_counted = True

    def _reject(self, status: int, kind: str) -> None:
        self._found = None
        self._gate.counts[kind] += 1
        self.set_status(status)
        self.set_header("Connection", "close")
        self.finish()

    def data_received(self, chunk: bytes) -> None:
        if self._found is not None:
            self._body += chunk

    async def post(self, *_: str) -> None:
        found, body = self._found, bytes(self._body)
        self._body.clear()
        if found is not None:
            status = await self._gate.deliver(found, self._secret, body, self.request)
            self._gate.counts["accepted" if status < 300 else "rejected"] += 1
            self.set_status(status)

    def on_finish(self) -> None:
        self._release()

    def on_connection_close(self) -> None:
        self._release()
        super().on_connection_close()

    def _release(self) -> None:
        if self._is_counted:
            self._is_counted = False
            self._gate.bodies -= 1
        self._body.clear()

    def check_xsrf_cookie(self) -> None:
        """Accept requests without the cookie of a browser."""

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.clear_header("Content-Type")

    def write_error(self, status_code: int, **_: Any) -> None:
        self.set_status(status_code)
        self.finish()

    def log_exception(self, *_: Any) -> None:
        """Do nothing: the text would contain the path."""

    def _log(self) -> None:
        """Do nothing: the access log would contain the path."""


def _length(request: HTTPServerRequest) -> int:
    """Return the length of the body in bytes; 0 if it is not stated or not a number, which tornado handles."""
    text = request.headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdecimal() else 0
