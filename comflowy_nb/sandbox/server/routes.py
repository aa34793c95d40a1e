"""What all routes of the sandbox have in common: who is let in, how large a body may be, how an error is said."""

from __future__ import annotations

import json
import sqlite3
import sys
import traceback
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, RequestHandler

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from tornado.httputil import HTTPServerRequest

    from comflowy_nb.sandbox.server.auth import ApiKeyCheck
    from comflowy_nb.sandbox.server.paths import Places
    from comflowy_nb.sandbox.server.run_queue import Runs
    from comflowy_nb.sandbox.server.run_store import Store
    from comflowy_nb.sandbox.server.worker_pool import WorkerPool

__all__ = ["MIB", "House", "Nowhere", "Refusal", "Route", "read_json", "read_object"]

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class House:
    """What the routes work with."""

    door: ApiKeyCheck
    runs: Runs
    crew: WorkerPool
    store: Store
    places: Places
    port: int
    on_stay: Callable[[], None]  # somebody is about to connect


class Refusal(HTTPError):
    """An answer other than yes, in words."""

    def __init__(self, code: HTTPStatus, words: str) -> None:
        super().__init__(code)
        self.words = words


class Route(RequestHandler):
    needs_token = True
    body_max_bytes = MIB

    def initialize(self, house: House) -> None:
        self.house = house

    def set_default_headers(self) -> None:
        self.set_header("Server", "comflowy_nb-sandbox")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cache-Control", "no-store")

    def compute_etag(self) -> None:
        """None: no answer here is asked for again to find out whether it changed."""

    @property
    def base_url(self) -> str:
        """The server as the asker names it, so that images are at the origin it knows."""
        return f"http://{self.request.host}"

    def prepare(self) -> None:
        self._refuse_strangers()
        if len(self.request.body) > self.body_max_bytes:
            words = f"the body is larger than {self.body_max_bytes // MIB} MiB"
            raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, words)
        if self.needs_token and not self.house.door.admits(self.request.headers.get("Authorization")):
            self.set_header("WWW-Authenticate", "Bearer")
            raise Refusal(HTTPStatus.UNAUTHORIZED, "the access token is missing, wrong or has expired")

    def _refuse_strangers(self) -> None:
        """A page in a browser must not get in: neither by a name of its own for 127.0.0.1, nor from its own origin."""
        port = self.house.port
        if self.request.host not in {f"127.0.0.1:{port}", f"localhost:{port}"}:
            raise Refusal(HTTPStatus.FORBIDDEN, "the sandbox answers only to 127.0.0.1 and localhost")
        origin = self.request.headers.get("Origin")
        if origin is not None and origin != self.base_url:
            raise Refusal(HTTPStatus.FORBIDDEN, "the sandbox answers no page of another origin")

    def answer(self, data: object) -> None:
        self.finish({"success": True, "data": data})

    def write_error(self, status_code: int, **options: Any) -> None:
        error = options.get("exc_info", (None, None, None))[1]
        if isinstance(error, Refusal):
            words = error.words
        elif isinstance(error, sqlite3.Error | OSError):
            words = f"the sandbox can't use its folder: {getattr(error, 'strerror', None) or error}"
        else:
            words = HTTPStatus(status_code).phrase.lower()
            if status_code == HTTPStatus.METHOD_NOT_ALLOWED:
                self.set_header("Allow", ", ".join(m for m in ("GET", "HEAD", "POST") if self._has(m)))
        self.finish({"success": False, "error": words})

    def _has(self, method: str) -> bool:
        return getattr(type(self), method.lower()) is not getattr(RequestHandler, method.lower())

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        # Tornado's own would write the request with its address, and so the key, into the log.
        if not isinstance(value, HTTPError | StreamClosedError):
            sys.stderr.write(f"{self.request.method} {type(self).__name__}\n")
            traceback.print_exception(typ, value, tb)

    def read_id(self) -> str:
        run_id = self.get_query_argument("id", "")
        if not run_id:
            raise Refusal(HTTPStatus.BAD_REQUEST, "the address needs ?id= with a run's id")
        return run_id


class Nowhere(Route):
    needs_token = False

    def prepare(self) -> None:
        self._refuse_strangers()
        raise Refusal(HTTPStatus.NOT_FOUND, "there is nothing at this address")


def read_json(request: HTTPServerRequest) -> Mapping[str, Any]:
    """The body, which must be a JSON object."""
    try:
        body = json.loads(request.body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise Refusal(HTTPStatus.BAD_REQUEST, "the body is no JSON") from None
    if not isinstance(body, dict):
        raise Refusal(HTTPStatus.BAD_REQUEST, "the body must be a JSON object")
    return body


def _refuse_constant(name: str) -> float:
    raise ValueError(name)  # NaN and Infinity are Python's, not JSON's


def read_object(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """One of the body's values, which must be an object; left out or null, it is an empty one."""
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Refusal(HTTPStatus.BAD_REQUEST, f"{name} must be an object")
    return value
