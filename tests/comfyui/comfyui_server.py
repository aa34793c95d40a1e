"""A scripted ComfyUI server on loopback with the measured protocol: messages, their order, and faults.

with ComfyServer(folder) as server:
    server.hold()                       # accept runs without starting them
    server.drop_at("executing")         # cut the socket instead of sending this message
    server.lose("/prompt")              # execute the request, send no response
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import threading
import uuid
from pathlib import Path
from urllib.parse import urlsplit

from comfyui_nodes import object_info, validate
from comfyui_queue import Queue
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError, RequestHandler
from tornado.websocket import WebSocketClosedError, WebSocketHandler

MAX_BODY = 104_857_600
TROUBLE = "500 Internal Server Error\n\nServer got itself in trouble"
_TYPES = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp", "wav": "audio/x-wav", "mp4": "video/mp4"}


class ComfyServer:
    """The server. `folder` holds its images; `base_path` prefixes every route, as behind a proxy."""

    def __init__(
        self, folder, *, port=0, base_path="", max_body=MAX_BODY, ssl_options=None, wants_header=None, refuses=401
    ):
        self.folder = Path(folder)
        self.inputs = self.folder / "input"
        self.inputs.mkdir(parents=True, exist_ok=True)
        self.base_path, self.max_body = base_path, max_body
        self.wants_header, self.refuses = wants_header, refuses  # the status that a proxy returns without the header
        self.requests = []  # (method, path) of every request, without the prefixes
        self.bodies = []  # every JSON body
        self.failures = []  # exceptions of routes, as text
        self.sent = []  # (client id, type) of every message, also of those not delivered
        self.previews = False
        self.metadata = True  # False: as with --disable-metadata
        self.silent = False
        self.held = False
        self.step_s = self.node_s = 0.0  # minimum duration of a sampler's step and of a node
        self.pause_node = None  # a node id, or (node id, step), where the worker waits
        self.paused = threading.Event()
        self.nodes = object_info()
        self._resumed = threading.Event()
        self._sends_images = threading.Event()
        self._sends_images.set()
        self._cut = None  # type of the message that cuts the socket
        self._lost, self._failing, self._late = {}, {}, {}
        self._ended = {}
        self.sockets = {}
        self.every_socket = []
        self.flags = set()
        self.sockets_opened = 0
        self.queue = Queue(self)
        self._scheme = "http" if ssl_options is None else "https"
        self._ssl = ssl_options
        self._listening = bind_sockets(port, "127.0.0.1")
        self.port = self._listening[0].getsockname()[1]
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="comfyui-http", daemon=True)
        self._thread.start()
        self._ready.wait()

    @property
    def url(self):
        return f"{self._scheme}://127.0.0.1:{self.port}{self.base_path}"

    # -- the script ---------------------------------------------------------------------------------------------

    def hold(self):
        """Accept runs without starting them."""
        self.held = True

    def release(self):
        self.held = False
        with self.queue.changed:
            self.queue.changed.notify_all()

    def pause_at(self, node_id, step=None):
        """Stop the worker at this node until `resume`; an interrupt still works."""
        self.pause_node = node_id if step is None else (node_id, step)
        self.paused.clear()
        self._resumed.clear()

    def resume(self):
        self.pause_node = None
        self._resumed.set()

    def hold_images(self):
        """Receive requests for images, and respond after `send_images`."""
        self._sends_images.clear()

    def send_images(self):
        self._sends_images.set()

    def drop_at(self, kind):
        """Cut the socket without a close frame instead of sending this message; once."""
        self._cut = kind

    def lose(self, path, times=1):
        """Execute the request, and close the connection instead of responding."""
        self._lost[path] = times

    def fail(self, path, status, times=1):
        """Respond with this status without executing the request."""
        self._failing[path] = [status, times]

    def answer_after_end(self, path="/prompt"):
        """Send the response to the submit only after the run has ended."""
        self._late[path] = True

    def restart(self):
        """Lose queue, history, temporary images and all sockets."""
        self.queue.restart()
        for file in (self.folder / "temp").glob("**/*.png"):
            file.unlink()
        self.cut_sockets()

    def cut_sockets(self):
        self._in_loop(lambda: [socket.cut() for socket in list(self.every_socket)])

    def requests_to(self, method, path):
        """Return the number of requests to a route."""
        return sum(request == (method, path) for request in self.requests)

    # -- calls of the worker ------------------------------------------------------------------------------------

    def at_node(self, execution, node_id):
        self._pause(execution, self.node_s)
        self._wait_here(execution, node_id)

    def at_step(self, execution, node_id, step):
        self._pause(execution, self.step_s)
        self._wait_here(execution, (node_id, step))

    def _pause(self, execution, seconds):
        if seconds:
            with self.queue.changed:
                self.queue.changed.wait_for(lambda: execution.prompt_id in self.queue.interrupts, seconds)

    def _wait_here(self, execution, node):
        if self.pause_node != node:
            return
        self.paused.set()
        while not self._resumed.wait(0.005):
            if execution.prompt_id in self.queue.interrupts:
                return

    def at_end(self, prompt_id):
        self._ended.setdefault(prompt_id, threading.Event())

    def note_end(self, prompt_id):
        self._ended[prompt_id].set()

    def wait_end(self, prompt_id, timeout=60):
        assert self._ended.setdefault(prompt_id, threading.Event()).wait(timeout), "it did not end"

    def inputs_listed(self):
        return {path.relative_to(self.inputs).as_posix() for path in self.inputs.rglob("*") if path.is_file()}

    def described(self):
        """Return the node types, LoadImage with the uploaded files."""
        load = dict(self.nodes["LoadImage"])
        load["input"] = {"required": {"image": [sorted(self.inputs_listed()), {"image_upload": True}]}}
        return self.nodes | {"LoadImage": load}

    def has_flag(self, client):
        return client in self.flags

    def send(self, client, kind, data):
        """Send a message to the socket of a client, or to all sockets if it has none."""
        self.sent.append((client, kind))
        text = json.dumps({"type": kind, "data": data})
        name = "END" if kind == "executing" and data.get("node") is None else kind
        if self._cut == name:
            self._cut = None
            self._in_loop(lambda: [socket.cut() for socket in self._of(client)])
        else:
            self._post(client, text)

    def send_frame(self, client, frame):
        self._post(client, frame)

    def _post(self, client, content):
        if self.silent:
            return

        def write():
            for socket in self._of(client):
                socket.post(content)

        self._in_loop(write)

    def _of(self, client):
        if client is None:
            return list(self.every_socket)
        return [self.sockets[client]] if client in self.sockets else []

    def _in_loop(self, action):
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(action)

    # -- running ------------------------------------------------------------------------------------------------

    async def _serve(self):
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        routes = []
        for path, handler in (
            ("/ws", _Socket), ("/prompt", _Prompt), ("/queue", _Queue), ("/history", _History),
            (r"/history/([^/]+)", _History), ("/interrupt", _Interrupt), ("/view", _View), ("/upload/image", _Upload),
            ("/object_info", _ObjectInfo), (r"/object_info/([^/]+)", _ObjectInfo), ("/system_stats", _Stats),
            ("/features", _Features), ("/free", _Free),
        ):  # fmt: skip
            routes += [(f"{self.base_path}{prefix}{path}", handler, {"server": self}) for prefix in ("", "/api")]
        app = Application(routes, log_function=lambda _: None, default_handler_class=_UnknownRoute)
        http = HTTPServer(app, max_buffer_size=2 * MAX_BODY, max_body_size=2 * MAX_BODY, ssl_options=self._ssl)
        http.add_sockets(self._listening)
        self._ready.set()
        await self._stop.wait()
        http.stop()
        for socket in list(self.every_socket):
            socket.cut()
        await http.close_all_connections()

    def close(self):
        self.resume()
        self.send_images()
        self.queue.close()
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(60)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class _Checks:
    """Base of all routes: counts, origin check, the header of a proxy, and scripted faults."""

    def initialize(self, server):
        self.server = server

    @property
    def route(self):
        return self.request.path.removeprefix(self.server.base_path).removeprefix("/api")

    def prepare(self):
        server, route = self.server, self.route
        parts = route.split("/")
        short = f"/{parts[1]}" if parts[1] in {"history", "object_info"} else route
        server.requests.append((self.request.method, short))
        if server.wants_header is not None:
            name, value = server.wants_header
            if self.request.headers.get(name) != value:
                raise HTTPError(server.refuses)
        if not _origin_is_fine(self.request):
            raise HTTPError(403)
        if len(self.request.body or b"") > server.max_body:
            self.set_status(413)
            self.finish(f"Maximum request body size {server.max_body} exceeded.")
            return
        failing = server._failing.get(short)
        if failing and failing[1]:
            failing[1] -= 1
            self.set_status(failing[0])
            self.set_header("Content-Type", "text/plain; charset=utf-8")
            self.finish(TROUBLE if failing[0] == 500 else "")
            return
        if server._lost.get(short):
            server._lost[short] -= 1
            self.lost = True

    def write_error(self, status_code, **_):
        self.set_status(status_code)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(TROUBLE if status_code == 500 else "")

    def log_exception(self, kind, error, trace):
        if not isinstance(error, HTTPError):
            self.server.failures.append(repr(error))


class _Handler(_Checks, RequestHandler):
    lost = False

    def compute_etag(self):
        return None

    def answer(self, value=None):
        if self.lost:
            self.cut()
        elif value is not None:
            self.set_header("Content-Type", "application/json; charset=utf-8")
            self.finish(json.dumps(value))
        else:
            self.clear_header("Content-Type")
            self.finish()

    def cut(self):
        self._finished = True
        self.request.connection.stream.close()

    def body(self):
        """Return the JSON body, or respond with an error."""
        value = json.loads(self.request.body)
        self.server.bodies.append((self.route, value))
        return value


def _origin_is_fine(request):
    origin, host = request.headers.get("Origin"), request.host
    if origin in {None, "null"} or urlsplit(f"//{host}").hostname not in {"127.0.0.1", "localhost"}:
        return True
    origin_url, host_url = urlsplit(origin), urlsplit(f"//{host}")
    return origin_url.hostname == host_url.hostname and (origin_url.port is None or origin_url.port == host_url.port)


class _UnknownRoute(RequestHandler):
    def prepare(self):
        raise HTTPError(404)

    def write_error(self, status_code, **_):
        self.set_status(status_code)
        self.finish("404: Not Found")


class _Prompt(_Handler):
    def get(self):
        self.answer({"exec_info": {"queue_remaining": self.server.queue.remaining()}})

    async def post(self):
        server, body = self.server, self.body()
        if not isinstance(body, dict) or "prompt" not in body:
            self.set_status(400)
            error = {"type": "no_prompt", "message": "No prompt provided", "details": "No prompt provided"}
            self.answer({"error": error | {"extra_info": {}}, "node_errors": {}})
            return
        graph = body["prompt"]
        if any(not isinstance(node, dict) for node in graph.values()):
            raise HTTPError(500)  # the editor's own format
        outputs, errors, rejection = validate(graph, server.nodes, server.inputs_listed())
        if rejection is not None:
            self.set_status(400)
            self.answer(rejection)
            return
        number, prompt_id = server.queue.put(body, outputs)
        if server._late.pop("/prompt", None):
            await asyncio.to_thread(server.wait_end, prompt_id)
        self.answer({"prompt_id": prompt_id, "number": number, "node_errors": errors})


class _Queue(_Handler):
    def get(self):
        self.answer(self.server.queue.listed())

    def post(self):
        body = self.body()
        if body.get("clear"):
            body = {"delete": [item[1] for item in self.server.queue.listed()["queue_pending"]]}
        self.server.queue.delete(body.get("delete", []))
        self.answer()


class _History(_Handler):
    def get(self, prompt_id=None):
        with self.server.queue.changed:
            entries = dict(self.server.queue.history)
        if prompt_id is not None:
            entries = {prompt_id: entries[prompt_id]} if prompt_id in entries else {}
        elif self.get_argument("max_items", None) is not None:
            count = int(self.get_argument("max_items"))
            entries = dict(list(entries.items())[-count:])
        self.answer(entries)

    def post(self):
        body = self.body()
        with self.server.queue.changed:
            for prompt_id in body.get("delete", []):
                self.server.queue.history.pop(prompt_id, None)
            if body.get("clear"):
                self.server.queue.history.clear()
        self.answer()


class _Interrupt(_Handler):
    def post(self):
        body = self.body() if self.request.body else {}
        self.server.queue.interrupt(body.get("prompt_id"))
        self.answer()


class _View(_Handler):
    async def get(self):
        await asyncio.to_thread(self.server._sends_images.wait)
        name, subfolder = self.get_argument("filename", None), self.get_argument("subfolder", "")
        kind = self.get_argument("type", "output")
        if name is None:
            raise HTTPError(404)
        if ".." in name or name.startswith("/") or kind not in {"output", "temp", "input"}:
            raise HTTPError(400)
        root = (self.server.folder / kind).resolve()
        path = (root / subfolder / name).resolve()
        if not path.is_relative_to(root):
            raise HTTPError(403)
        if not path.is_file():
            raise HTTPError(404)
        if self.lost:
            self.cut()
            return
        content = path.read_bytes()
        self.set_header("Content-Type", _TYPES.get(path.suffix[1:], "application/octet-stream"))
        in_utf8 = path.name.encode().decode("latin-1")  # as aiohttp writes a header; tornado writes Latin-1
        self.set_header("Content-Disposition", f'filename="{in_utf8}"')
        self.set_header("Accept-Ranges", "bytes")
        self.set_header("Etag", f'"{hashlib.md5(content).hexdigest()}"')
        self.finish(content)


class _Upload(_Handler):
    def post(self):
        files = self.request.files.get("image")
        kind, subfolder = self.get_body_argument("type", "input"), self.get_body_argument("subfolder", "")
        if not files:
            raise HTTPError(400)
        if kind not in {"input", "temp", "output"}:
            raise HTTPError(500)
        root = (self.server.folder / kind).resolve()
        target = (root / subfolder).resolve()
        if not target.is_relative_to(root):
            raise HTTPError(400)
        target.mkdir(parents=True, exist_ok=True)
        content, name = files[0]["body"], files[0]["filename"]
        stem, dot, ending = name.rpartition(".")
        overwrite = self.get_body_argument("overwrite", "") in {"true", "1"}
        number = 0
        while (target / name).exists() and not overwrite and (target / name).read_bytes() != content:
            number += 1
            name = f"{stem} ({number}){dot}{ending}"
        (target / name).write_bytes(content)
        self.answer({"name": name, "subfolder": subfolder, "type": kind})


class _ObjectInfo(_Handler):
    def get(self, name=None):
        nodes = self.server.described()
        self.answer(nodes if name is None else {name: nodes[name]} if name in nodes else {})


class _Stats(_Handler):
    def get(self):
        self.answer({"system": {"comfyui_version": "0.3.64"}, "devices": [{"name": "cpu", "type": "cpu"}]})


class _Features(_Handler):
    def get(self):
        self.answer({"supports_preview_metadata": True, "max_upload_size": MAX_BODY})


class _Free(_Handler):
    def post(self):
        self.answer()


class _Socket(_Checks, WebSocketHandler):
    lost = False

    def check_origin(self, origin):
        return True  # `prepare` has checked it

    def open(self):
        server = self.server
        server.sockets_opened += 1
        self.sid = self.get_argument("clientId", None) or uuid.uuid4().hex
        self.is_first = True
        self.set_nodelay(True)
        server.sockets[self.sid] = self
        server.every_socket.append(self)
        status = {"exec_info": {"queue_remaining": server.queue.remaining()}}
        self.post(json.dumps({"type": "status", "data": {"status": status, "sid": self.sid}}))
        running = server.queue.running
        if running is not None and running[3].get("client_id") == self.sid:
            self.post(json.dumps({"type": "executing", "data": {"node": running[4][0]}}))

    def on_message(self, message):
        if self.is_first:
            message_data = json.loads(message)
            if message_data.get("type") == "feature_flags":
                if message_data["data"].get("supports_preview_metadata"):
                    self.server.flags.add(self.sid)
                about = {"supports_preview_metadata": True, "max_upload_size": MAX_BODY}
                self.post(json.dumps({"type": "feature_flags", "data": about}))
        self.is_first = False

    def post(self, content):
        with contextlib.suppress(WebSocketClosedError):
            self.write_message(content, binary=isinstance(content, bytes))

    def cut(self):
        if self.ws_connection is not None and self.ws_connection.stream is not None:
            self.ws_connection.stream.close()

    def on_close(self):
        server = self.server
        if self in server.every_socket:
            server.every_socket.remove(self)
        # as in ComfyUI: a socket that closes removes its client id, although a newer socket uses the same id
        server.sockets.pop(self.sid, None)
        server.flags.discard(self.sid)


def main():
    """Serve until the standard input closes; the address is the first line of the output."""
    import sys
    import tempfile

    with tempfile.TemporaryDirectory() as folder, ComfyServer(folder) as server:
        server.previews = "--previews" in sys.argv
        print(server.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
