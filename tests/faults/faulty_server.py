"""A scripted HTTP server on loopback that produces faults and counts requests.

    with FaultyServer() as server:
        server.on("GET /token", reply({"access_token": "t"}))
        server.on("POST /run", close_after_reading(), reply({"run_id": "1"}))   # the last one is repeated
        ...
        assert server.count("POST /run") == 1
        assert server.requests("POST /run")[0].json == {...}

A route is `METHOD /path` without the query. `*` matches any method (`* /path`), and a path ending in `*` matches all
paths with this prefix; the most specific route responds. Other requests get a JSON 404, and are counted too.
An answer is any callable `(Request, Wire) -> None | KEEP`; the functions below make the usual ones. A callable
`(Request) -> answer` wrapped by `choose` decides at each request.

One thread accepts, one more serves each connection; `close` ends them all.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl, urlsplit

from ports import free_port

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping

    Answer = Callable[["Request", "Wire"], str | None]

KEEP = "keep"  # returned by an answer if the connection may serve another request

__all__ = [
    "KEEP",
    "FaultyServer",
    "Request",
    "Wire",
    "choose",
    "close_after_reading",
    "closed_port",
    "html",
    "no_response",
    "oversize",
    "raw",
    "redirect",
    "reply",
    "reset_after_reading",
    "send_in_pieces",
    "slow",
    "truncated",
    "unresponsive_port",
]


@dataclass(frozen=True)
class Request:
    """A received request."""

    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    at_s: float = field(default_factory=time.monotonic)
    connection: int = 0  # number of the connection that carried it, from 1

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Wire:
    """The connection, for a scripted response."""

    def __init__(self, sock: socket.socket, closing: threading.Event) -> None:
        self.sock = sock
        self.closing = closing  # set when the server is being closed
        self.is_reset = False

    def send(self, content: bytes) -> None:
        self.sock.sendall(content)

    def pause(self, seconds: float) -> bool:
        """Wait; return whether the server is being closed."""
        return self.closing.wait(seconds)

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.is_reset = True


class FaultyServer:
    """The server; it listens from its construction.

    Parameters
    ----------
    tls
        A server-side context, for https.
    host
        The address to listen at; any of 127.0.0.0/8 works on Linux.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.host = host
        self._tls = tls
        self._routes: dict[tuple[str, str], list[Answer]] = {}

        self._all: list[Request] = []
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self.failures: list[Exception] = []  # exceptions of answers
        self._open: set[socket.socket] = set()
        self.connections = 0  # accepted so far
        self.port = 0
        self._listener: socket.socket | None = None
        self.listen()

    # -- address ------------------------------------------------------------------------------------------------

    @property
    def netloc(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.netloc}"

    def listen(self) -> None:
        """Listen at the same port as before `refuse`."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self.host, self.port))
        listener.listen(128)
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True, name="faulty-accept").start()

    def refuse(self) -> None:
        """Refuse new connections and drop the open ones, until `listen`."""
        listener, self._listener = self._listener, None
        if listener is not None:
            _shut(listener)
        with self._changed:
            waiting = list(self._open)
        for sock in waiting:
            _shut(sock)

    def close(self) -> None:
        self._closing.set()
        self.refuse()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        assert self.failures == []

    # -- behaviour ----------------------------------------------------------------------------------------------

    def on(self, route: str, *answers: Answer) -> FaultyServer:
        """Set the responses of a route: each is used once, in turn; the last one is repeated."""
        if not answers:
            raise ValueError(f"no answer for {route}")
        method, path = route.split(" ", 1)
        with self._changed:
            self._routes[method.upper(), path] = list(answers)
        return self

    def drop_idle(self) -> None:
        """Close the open connections, as a server does with idle ones."""
        with self._changed:
            waiting = list(self._open)
        for sock in waiting:
            _shut(sock)

    # -- requests -----------------------------------------------------------------------------------------------

    def count(self, route: str | None = None) -> int:
        """Return the number of requests to a route (`METHOD /path`, without the query), or of all requests."""
        return len(self.requests(route))

    def requests(self, route: str | None = None) -> list[Request]:
        with self._changed:
            if route is None:
                return list(self._all)
            method, path = route.split(" ", 1)
            return [request for request in self._all if _fits((method.upper(), path), request)]

    def reset_counts(self) -> None:
        """Reset the counts; keep the routes."""
        with self._changed:
            self._all.clear()

    def wait_for(self, route: str, count: int = 1, timeout_s: float = 30.0) -> list[Request]:
        """Wait until a route has received `count` requests.

        Raises
        ------
        TimeoutError
            If it has not received them within `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while len(self.requests(route)) < count:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(
                        f"{route}: {len(self.requests(route))} requests after {timeout_s} s, not {count}"
                    )
                self._changed.wait(left)
            return self.requests(route)

    # -- threads ------------------------------------------------------------------------------------------------

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with self._changed:
                self.connections += 1
                number = self.connections
            threading.Thread(target=self._serve, args=(sock, number), daemon=True, name="faulty-serve").start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        wire = Wire(sock, self._closing)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                sock = wire.sock = self._tls.wrap_socket(sock, server_side=True)
            with self._changed:
                self._open.add(sock)
            with sock.makefile("rb") as reader:
                if reader.peek(1)[:1] == b"\x16":  # TLS on a plain port: real servers respond without TLS
                    wire.send(_head(400, {"Connection": "close"}))
                    return
                while (request := _read_request(reader, number)) is not None:
                    answer = self._record(request)
                    try:
                        keeps_open = answer(request, wire) == KEEP
                    except Exception as error:
                        if not isinstance(error, OSError):  # an error of the test, not of the connection
                            self.failures.append(error)
                        raise
                    if not keeps_open:
                        break
        except (OSError, ValueError):
            pass  # the client disconnected, or a test closed the server
        finally:
            with self._changed:
                self._open.discard(sock)
            if wire.is_reset:
                sock.close()
            else:
                _shut(sock)

    def _record(self, request: Request) -> Answer:
        with self._changed:
            self._all.append(request)
            self._changed.notify_all()
            fitting = [route for route in self._routes if _fits(route, request)]
            if not fitting:
                return reply({"success": False, "error": "no such route"}, 404)
            answers = self._routes[max(fitting, key=lambda route: (route[1] == request.path, len(route[1]), route[0]))]
            return answers.pop(0) if len(answers) > 1 else answers[0]


def _fits(route: tuple[str, str], request: Request) -> bool:
    method, path = route
    if method not in {"*", request.method}:
        return False
    return request.path.startswith(path[:-1]) if path.endswith("*") else request.path == path


def _read_request(reader: Any, number: int) -> Request | None:
    line = reader.readline(65537)
    if not line.strip():
        return None
    method, target, _ = line.decode("latin-1").split(" ", 2)
    headers: dict[str, str] = {}
    while (line := reader.readline(65537)) not in {b"\r\n", b"\n", b""}:
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(reader.readline().split(b";")[0], 16):
            body += reader.read(size)
            reader.readline()
        reader.readline()
    else:
        length = int(headers.get("content-length", 0))
        body = reader.read(length)
        if len(body) < length:  # the sender has ended: its kernel was killed during the request
            return None
    parts = urlsplit(target)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    return Request(method, parts.path, query, headers, body, connection=number)


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads from it
    sock.close()


# -- responses --------------------------------------------------------------------------------------------------


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def reply(
    body: object = b"",
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    *,
    latency_s: float = 0.0,
    close: bool = False,
) -> Answer:
    """Send a complete response: bytes unchanged, text as UTF-8, anything else as JSON; optionally after a pause."""
    content, kind = _content(body)
    head = {"Content-Type": kind, "Content-Length": str(len(content)), **(headers or {})}
    if close:
        head["Connection"] = "close"

    def answer(_: Request, wire: Wire) -> str | None:
        if latency_s and wire.pause(latency_s):
            return None
        wire.send(_head(status, head) + content)
        return None if close else KEEP

    return answer


def _content(body: object) -> tuple[bytes, str]:
    if isinstance(body, bytes):
        return body, "application/octet-stream"
    if isinstance(body, str):
        return body.encode(), "text/plain"
    return json.dumps(body).encode(), "application/json"


PAGE = "<!DOCTYPE html><html><title>Bad gateway</title><body>oops</body></html>"


def html(status: int = 200, text: str = PAGE) -> Answer:
    return reply(text, status, {"Content-Type": "text/html"})


def raw(content: bytes) -> Answer:
    """Send these bytes only, then close."""

    def answer(_: Request, wire: Wire) -> None:
        wire.send(content)

    return answer


def close_after_reading() -> Answer:
    """Read the complete request, then close the connection without a response."""
    return lambda _seen, _wire: None


def reset_after_reading() -> Answer:
    """Read the complete request, then reset the connection."""

    def answer(_: Request, wire: Wire) -> None:
        wire.reset()

    return answer


def no_response() -> Answer:
    """Read the request and send nothing until the server is closed."""

    def answer(_: Request, wire: Wire) -> None:
        wire.pause(3600)

    return answer


def truncated(body: object, *, keep: float = 0.5, with_length: bool = True, status: int = 200) -> Answer:
    """Send the first part of a body, then close; the headers have the complete length, or none."""
    content, kind = _content(body)

    def answer(_: Request, wire: Wire) -> None:
        head = {"Content-Type": kind}
        if with_length:
            head["Content-Length"] = str(len(content))
        wire.send(_head(status, head) + content[: int(len(content) * keep)])

    return answer


def send_in_pieces(
    body: object, *, every_s: float = 0.3, piece: int = 1, status: int = 200, head_too: bool = False
) -> Answer:
    """Send the correct response a few bytes at a time; with `head_too` also the headers."""
    content, kind = _content(body)

    def answer(_: Request, wire: Wire) -> None:
        head = _head(status, {"Content-Type": kind, "Content-Length": str(len(content))})
        if not head_too:
            wire.send(head)
        flow = head + content if head_too else content
        for start in range(0, len(flow), piece):
            if wire.pause(every_s):
                return
            wire.send(flow[start : start + piece])

    return answer


def slow(body: object, *, bytes_per_s: float, status: int = 200) -> Answer:
    """Send the correct response at a low bandwidth."""
    return send_in_pieces(body, every_s=0.05, piece=max(1, int(bytes_per_s * 0.05)), status=status)


def redirect(to: str, status: int = 302) -> Answer:
    return reply(b"", status, {"Location": to})


def oversize(size_bytes: int, *, with_length: bool = True, status: int = 200, begin: bytes = b"") -> Answer:
    """Send a body of `size` zeros after `begin`."""

    def answer(_: Request, wire: Wire) -> None:
        head = {"Content-Type": "application/json"}
        if with_length:
            head["Content-Length"] = str(size_bytes)
        wire.send(_head(status, head) + begin)
        left = size_bytes - len(begin)
        while left > 0 and not wire.closing.is_set():
            wire.send(b"0" * min(left, 65536))
            left -= 65536

    return answer


def choose(decide: Callable[[Request], Answer]) -> Answer:
    """Choose the response by the request."""
    return lambda request, wire: decide(request)(request, wire)


@contextlib.contextmanager
def unresponsive_port(host: str = "127.0.0.1") -> Iterator[int]:
    """Yield a port whose backlog is full: a new connection is neither accepted nor refused."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((host, 0))
        listener.listen(0)
        port: int = listener.getsockname()[1]
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex((host, port))
        yield port


def closed_port(host: str = "127.0.0.1") -> int:
    """Return a port at which no process listens."""
    return free_port(host)
