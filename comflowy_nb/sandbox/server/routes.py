"""Routes of the Comflowy open API v0, and additional routes of the sandbox."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import sqlite3
import sys
import time
import traceback
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tornado.web import Application, HTTPError, RequestHandler

from comflowy_nb.sandbox.server.run_queue import Cancelling
from comflowy_nb.sandbox.server.workflows import describe, graph_of, workflow_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from tornado.httputil import HTTPServerRequest

    from comflowy_nb.sandbox.server.home import Paths
    from comflowy_nb.sandbox.server.run_queue import RunQueue
    from comflowy_nb.sandbox.server.run_store import Store
    from comflowy_nb.sandbox.server.worker_pool import WorkerPool


MIB = 1024 * 1024
_UPLOAD_MAX_BYTES = 32 * MIB
BODY_MAX_BYTES = 2 * _UPLOAD_MAX_BYTES  # above the limit of each route, so that the route can answer with a message
_NONCE_MAX = 200
TOKEN_LIFE_S = 600.0
_TOKENS_MAX = 1000


def new_key() -> str:
    return secrets.token_urlsafe(32)


def _same(first: str, second: str) -> bool:
    # compare_digest accepts only ASCII texts, so compare bytes.
    return hmac.compare_digest(first.encode("utf-8", "surrogatepass"), second.encode("utf-8", "surrogatepass"))


class ApiKeyCheck:
    """Issues and checks access tokens for the API key."""

    def __init__(self, key: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._key = key
        self._clock = clock
        self._expires_at: dict[str, float] = {}  # token -> its expiry, oldest first

    def token_for(self, key: str) -> str | None:
        """Return a new access token, or None if the key is wrong."""
        if not _same(key, self._key):
            return None
        now = self._clock()
        self._expires_at = {token: end for token, end in self._expires_at.items() if end > now}
        while len(self._expires_at) >= _TOKENS_MAX:
            del self._expires_at[next(iter(self._expires_at))]
        token = secrets.token_urlsafe(32)
        self._expires_at[token] = now + TOKEN_LIFE_S
        return token

    def admits(self, authorization: str | None) -> bool:
        """Return whether an `Authorization` header has a valid token."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            return False
        end = self._expires_at.get(token.strip())
        return end is not None and end > self._clock()

    def prove(self, nonce: str) -> str:
        """Return the HMAC-SHA256 of a nonce, which proves that this server has the key without sending the key."""
        content = f"comflowy_nb sandbox {nonce}".encode("utf-8", "surrogatepass")
        return hmac.new(self._key.encode(), content, hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True)
class Context:
    """The objects that the routes work with."""

    auth: ApiKeyCheck
    runs: RunQueue
    workers: WorkerPool
    store: Store
    paths: Paths
    port: int
    on_client_expected: Callable[[], None]  # called when a client announces that it will connect


class _ApiError(HTTPError):
    """An error response and its text."""

    def __init__(self, code: HTTPStatus, message: str) -> None:
        super().__init__(code)
        self.message = message


class _Route(RequestHandler):
    needs_token = True
    body_max_bytes = MIB

    def initialize(self, context: Context) -> None:
        self.context = context

    def set_default_headers(self) -> None:
        self.set_header("Server", "comflowy_nb-sandbox")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cache-Control", "no-store")

    def compute_etag(self) -> None:
        """Return None: clients send no conditional requests."""

    @property
    def base_url(self) -> str:
        """The server's address as in the request, so that images are at the origin that the client knows."""
        return f"http://{self.request.host}"

    def prepare(self) -> None:
        self._check_origin()
        if len(self.request.body) > self.body_max_bytes:
            message = f"the body is larger than {self.body_max_bytes // MIB} MiB"
            raise _ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message)
        if self.needs_token and not self.context.auth.admits(self.request.headers.get("Authorization")):
            self.set_header("WWW-Authenticate", "Bearer")
            raise _ApiError(HTTPStatus.UNAUTHORIZED, "the access token is missing, wrong or has expired")

    def _check_origin(self) -> None:
        """Reject pages in a browser: with another host name for 127.0.0.1 (DNS rebinding), or of another origin."""
        port = self.context.port
        if self.request.host not in {f"127.0.0.1:{port}", f"localhost:{port}"}:
            raise _ApiError(HTTPStatus.FORBIDDEN, "the sandbox answers only to 127.0.0.1 and localhost")
        origin = self.request.headers.get("Origin")
        if origin is not None and origin != self.base_url:
            raise _ApiError(HTTPStatus.FORBIDDEN, "the sandbox does not answer pages of another origin")

    def answer(self, data: object) -> None:
        self.finish({"success": True, "data": data})

    def write_error(self, status_code: int, **options: Any) -> None:
        error = options.get("exc_info", (None, None, None))[1]
        if isinstance(error, _ApiError):
            message = error.message
        elif isinstance(error, sqlite3.Error | OSError):
            message = f"the sandbox cannot use its folder: {getattr(error, 'strerror', None) or error}"
        else:
            message = HTTPStatus(status_code).phrase.lower()
            if status_code == HTTPStatus.METHOD_NOT_ALLOWED:
                self.set_header("Allow", ", ".join(m for m in ("GET", "HEAD", "POST") if self._has(m)))
        self.finish({"success": False, "error": message})

    def _has(self, method: str) -> bool:
        return getattr(type(self), method.lower()) is not getattr(RequestHandler, method.lower())

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        # Tornado's implementation logs the address of the request, which may hold the key.
        if not isinstance(value, HTTPError):
            sys.stderr.write(f"{self.request.method} {type(self).__name__}\n")
            traceback.print_exception(typ, value, tb)

    def read_id(self) -> str:
        run_id = self.get_query_argument("id", "")
        if not run_id:
            raise _ApiError(HTTPStatus.BAD_REQUEST, "the id of a run is missing: ?id=RUN_ID")
        return run_id


class _NotFound(_Route):
    needs_token = False

    def prepare(self) -> None:
        self._check_origin()
        raise _ApiError(HTTPStatus.NOT_FOUND, "there is nothing at this address")


class _Ping(_Route):
    """Prove that this server has the key, without sending it: another program may have taken the port."""

    needs_token = False

    def get(self) -> None:
        nonce = self.get_query_argument("nonce", "")
        if len(nonce) > _NONCE_MAX:
            raise _ApiError(HTTPStatus.BAD_REQUEST, "the nonce is too long")
        if self.get_query_argument("stay", ""):
            self.context.on_client_expected()
        self.answer({"service": "comflowy_nb sandbox", "pid": os.getpid(), "proof": self.context.auth.prove(nonce)})


class _Token(_Route):
    needs_token = False

    def get(self) -> None:
        token = self.context.auth.token_for(self.get_query_argument("ppt", "", strip=False))
        if token is None:
            raise _ApiError(HTTPStatus.UNAUTHORIZED, "the API key is missing or wrong")
        self.finish({"access_token": token})


class _Run(_Route):
    def post(self) -> None:
        body = _read_json(self.request)
        workflow_id = body.get("workflow_id")
        if not isinstance(workflow_id, str):
            raise _ApiError(HTTPStatus.BAD_REQUEST, "workflow_id must be a text")
        if graph_of(workflow_id) is None:
            message = f"unknown workflow {workflow_id!r}: use {', '.join(workflow_ids())}"
            raise _ApiError(HTTPStatus.NOT_FOUND, message)
        params = _read_object(body, "params")
        callbacks = _read_object(body, "callback_urls")
        if not all(isinstance(url, str) for url in callbacks.values()):
            raise _ApiError(HTTPStatus.BAD_REQUEST, "each value of callback_urls must be a text")
        self.answer({"run_id": self.context.runs.accept(workflow_id, params, callbacks)})


class _Check(_Route):
    def post(self) -> None:
        data = self.context.runs.check(self.read_id(), self.base_url)
        if data is None:
            raise _ApiError(HTTPStatus.NOT_FOUND, "there is no such run")
        self.answer(data)


class _Cancel(_Route):
    def post(self) -> None:
        run_id = self.read_id()
        match self.context.runs.cancel(run_id):
            case Cancelling.DONE:
                self.answer({"run_id": run_id, "cancelled": True})
            case Cancelling.TOO_LATE:
                raise _ApiError(HTTPStatus.CONFLICT, "the run has already ended")
            case Cancelling.NO_SUCH_RUN:
                raise _ApiError(HTTPStatus.NOT_FOUND, "there is no such run")


class _Workflows(_Route):
    def get(self) -> None:
        self.answer([{"id": name, "name": name} for name in workflow_ids()])


class _Workflow(_Route):
    async def get(self, workflow_id: str) -> None:
        graph = graph_of(workflow_id)
        if graph is None:
            raise _ApiError(HTTPStatus.NOT_FOUND, "there is no such workflow")
        node_types = await self.context.workers.read_node_types()
        if node_types is None:
            raise _ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "no worker could start; sandbox.log says why")
        self.answer({"id": workflow_id, "name": workflow_id, **describe(graph, node_types)})


class _Upload(_Route):
    """ComfyUI's upload route, but it requires a token, and derives the file name from the content."""

    body_max_bytes = _UPLOAD_MAX_BYTES

    def post(self) -> None:
        files = self.request.files.get("image", [])
        if len(files) != 1 or not files[0].body:
            raise _ApiError(HTTPStatus.BAD_REQUEST, "the form needs one file named image")
        if self.get_body_argument("type", "input") != "input" or self.get_body_argument("subfolder", ""):
            raise _ApiError(HTTPStatus.BAD_REQUEST, "the sandbox accepts uploads of type input, without a subfolder")
        self.finish({"name": self.context.paths.keep_input(files[0].body), "subfolder": "", "type": "input"})


class _Image(_Route):
    """A finished image. Its address is secret, so it needs no token, like a signed URL."""

    needs_token = False

    def get(self, secret: str) -> None:
        image = self.context.store.image(secret)
        if image is None:
            raise _ApiError(HTTPStatus.NOT_FOUND, "there is no such image")
        try:
            content = (self.context.paths.images / image.file).read_bytes()
        except FileNotFoundError:
            raise _ApiError(HTTPStatus.GONE, "the sandbox no longer has this image") from None
        self.set_header("Content-Type", "image/png")
        self.set_header("Content-Disposition", f'inline; filename="{quote(image.file)}"')
        self.finish(content)

    head = get


def make_application(context: Context) -> Application:
    routes: list[tuple[str, type[_Route]]] = [
        (r"/api/open/v0/ping", _Ping),
        (r"/api/open/v0/auth/token", _Token),
        (r"/api/open/v0/run", _Run),
        (r"/api/open/v0/check", _Check),
        (r"/api/open/v0/cancel", _Cancel),
        (r"/api/open/v0/workflows", _Workflows),
        (r"/api/open/v0/workflows/([^/]+)", _Workflow),
        (r"/upload/image", _Upload),
        (r"/images/([\w-]+)\.png", _Image),
    ]
    return Application(
        [(path, route, {"context": context}) for path, route in routes],
        default_handler_class=_NotFound,
        default_handler_args={"context": context},
        # Addresses hold the key (`?ppt=`) and the secrets of images: requests are not logged.
        log_function=lambda _handler: None,
    )


def _read_json(request: HTTPServerRequest) -> Mapping[str, Any]:
    """Return the body, which must be a JSON object."""
    try:
        body = json.loads(request.body, parse_constant=_reject_constant)
    except (ValueError, RecursionError):
        raise _ApiError(HTTPStatus.BAD_REQUEST, "the body is not JSON") from None
    if not isinstance(body, dict):
        raise _ApiError(HTTPStatus.BAD_REQUEST, "the body must be a JSON object")
    return body


def _reject_constant(name: str) -> float:
    raise ValueError(name)  # NaN and Infinity are Python's, not JSON's


def _read_object(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a value of the body, which must be an object; an absent value and null are an empty object."""
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _ApiError(HTTPStatus.BAD_REQUEST, f"{name} must be an object")
    return value
