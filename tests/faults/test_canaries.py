"""A real kernel meets every fault; afterwards, nothing that it wrote contains a secret.

Its webhooks come through a real Jupyter server with the extension, which logs at DEBUG and meets faults too.
`tests/services/test_secrets.py` checks the errors, logs and reprs of each request by itself.
"""

from __future__ import annotations

import base64
import functools
import io
import json
import os
import re
import signal
import socket
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, urlsplit

import nbformat
import pytest
from faulty_server import FaultyServer, choose, closed_port, reply
from jupyter_server_process import running_server
from nbclient import NotebookClient
from PIL import Image, PngImagePlugin
from scripted_api import BASE, CHECK, RUN, TOKEN, ScriptedApi, png
from test_fault_matrix import FAULTS

from comflowy_nb.services.comflowy.webhook_handler import MAX_BURST, MAX_EVENT_BYTES, PATH, new_secret

KEY = "canary-key-4f7c+/9"
ACCESS = "canary-token-81d2.x_y"
SIGNATURE = "canary-signature-55aa"
HEADER = "canary-header-90bb"
MODES = ["Plain", "Context", "Verbose"]
IMAGES = "GET /images/*"
# The address of any run, also of one that the service has never seen.
ADDRESS = re.compile(rb"comflowy(?:/|%2F)hooks(?:/|%2F)[\w-]{16,}")

SETUP = """
import logging
logging.basicConfig(level=logging.DEBUG, filename={log!r}, force=True)
%load_ext comflowy_nb
import comflowy_nb
from comflowy_nb.settings import settings
settings.retries, settings.retry_base_s, settings.retry_max_s, settings.lost_gap_s = 1, 0.001, 0.002, 0.01
settings.connect_timeout_s = settings.read_timeout_s = 0.4
settings.answer_deadline_s = settings.image_deadline_s = 0.9
%comflowy connect cloud --webhooks {public}
client = comflowy_nb.connect("cloud", webhooks={public!r})
number = 0
"""
# Each shows a traceback in the mode of the kernel; that of the Python call has frames of the package.
FAILING = """
%xmode {mode}
number += 1
%comflowy run wf-1 3::seed={{number}} --timeout 1
"""
FAILING_CALL = """
number += 1
client.run("wf-1", {"3::seed": number}, timeout=1)
"""
CONNECTING = """
comflowy_nb.connect("cloud")
"""
LIVE = """
settings.connect_timeout_s = settings.read_timeout_s = settings.answer_deadline_s = settings.image_deadline_s = 30
number += 1
live = client.submit("wf-1", {"3::seed": number}).run
while live.status == "submitting":
    live.wait_change(1)
"""
VALUES = """
runs = client.runs(limit=None)
webhooks = client.connection.tracker.webhooks
print(repr(client), repr(client.service), vars(client.service), repr(webhooks), repr(webhooks.receiver))
for run in runs:
    print(repr(run), run, run.record, run.warning, run.error, run.images, vars(run))
runs[0]
"""


def echo(status):
    """Repeat the request in the response, as debug pages do."""

    def decide(request):
        text = f"bad request {request.query} {request.headers} {request.body!r}"
        return reply({"success": False, "error": text, "detail": [text]}, status)

    return choose(decide)


ECHOES = {f"echo {status}": echo(status) for status in (200, 400, 401, 403, 404, 429, 500)}
ANSWERS = {**{fault.name: fault.answer for fault in FAULTS}, **ECHOES}


# -- the search ---------------------------------------------------------------------------------------------------


@functools.cache
def forms(secret: str) -> list[bytes]:
    """Return the possible forms of a secret: plain, quoted, in JSON, hexadecimal and in base64 at each alignment."""
    plain = secret.encode()
    texts = {secret, quote(secret), quote(secret, safe=""), json.dumps(secret)[1:-1], plain.hex()}
    encoded = [base64.b64encode(b"x" * shift + plain)[4 if shift else 0 : -4] for shift in range(3)]
    return [*(text.encode() for text in texts), *encoded]


def contents(name: str, content: bytes):
    """Yield a content, and what is compressed or encoded in it."""
    yield name, content
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.namelist():
                yield from contents(f"{name}: {member}", archive.read(member))
    elif content.startswith(b"\x89PNG"):
        with Image.open(io.BytesIO(content)) as image:
            yield f"{name}: metadata", repr(image.info).encode()
    elif content.startswith(b"\x1f\x8b"):
        yield f"{name}: gzip", zlib.decompress(content, 31)
    else:
        for number, match in enumerate(re.finditer(rb"[A-Za-z0-9+/]{80,}={0,2}", content)):
            text = match.group()
            yield from contents(f"{name}: base64 {number}", base64.b64decode(text[: len(text) // 4 * 4]))


def leaks(secrets: dict[str, str], name: str, content: bytes) -> list[str]:
    """Return where a content holds a secret, or the address of a webhook."""
    found = []
    for where, part in contents(name, content):
        found += [
            f"{kind} in {where}" for kind, secret in secrets.items() if any(form in part for form in forms(secret))
        ]
        found += [f"{match.decode()} in {where}" for match in ADDRESS.findall(part)]
    return found


def read_files(folder: Path) -> dict[str, bytes]:
    """Return the contents of all files by their relative path. A running kernel deletes the files of settled runs."""
    contents = {}
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            if path.is_file():
                contents[path.relative_to(folder).as_posix()] = path.read_bytes()
    return contents


def process_list() -> bytes:
    """Return the command lines of all processes. The environment of a process is readable by its user only."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes())
        except OSError:  # it has ended
            continue
    return b"\n".join(lines)


# -- the kernel ---------------------------------------------------------------------------------------------------


class SignedApi(ScriptedApi):
    """A Comflowy API whose images have signed addresses, with one fault at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.live_statuses = []
        self.outputs = {"9": [f"/images/a.png?sig={SIGNATURE}"]}
        self.repair()

    def repair(self) -> None:
        self.on(TOKEN, reply({"access_token": ACCESS}))
        self.on(RUN, choose(lambda _: reply({"success": True, "data": {"run_id": f"run-{next(self._ids)}"}})))
        self.on(CHECK, choose(lambda request: reply({"success": True, "data": self.state(request.query["id"])})))
        self.on(IMAGES, reply(png(), headers={"Content-Type": "image/png"}))
        self.on(f"GET {BASE}/workflows*", reply({"success": False, "error": "no such route"}, 404))

    def webhook_secrets(self) -> dict[str, str]:
        """Return the secret parts of the addresses for webhooks."""
        urls = [request.json["callback_urls"]["on_result_url"] for request in self.requests(RUN)]
        return {f"webhook secret {number}": url.rpartition("/")[2] for number, url in enumerate(urls)}


@pytest.fixture
def server(tmp_path, home):
    """Start a Jupyter server with the extension; its log is one of the searched files."""
    pytest.importorskip("jupyter_server")
    with running_server(tmp_path / "server", home) as running:
        yield running


@pytest.fixture
def notebook(tmp_path, home, server):
    """Return a notebook client with a running kernel, and a function that executes one more cell."""
    with SignedApi() as api, FaultyServer() as proxied:
        environment = {
            **os.environ,
            "COMFLOWY_HOME": str(home),
            "COMFLOWY_API_KEY": KEY,
            "COMFLOWY_URL": api.url,
            "COMFLOWY_HEADERS": json.dumps({proxied.url: {"X-Proxy-Token": HEADER}}),
        }
        client = NotebookClient(
            nbformat.v4.new_notebook(), timeout=90, kernel_name="python3", allow_errors=True, store_widget_state=True,
            resources={"metadata": {"path": str(tmp_path)}},
        )  # fmt: skip

        def execute(source):
            client.nb.cells.append(nbformat.v4.new_code_cell(source))
            return client.execute_cell(client.nb.cells[-1], len(client.nb.cells) - 1)

        with client.setup_kernel(env=environment):
            execute(SETUP.format(log=str(tmp_path / "debug.log"), public=server.url))
            yield client, execute, api, proxied


def send_raw(server, head: str) -> bytes:
    """Send a request unchanged; return the response."""
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as sender:
        sender.sendall(head.encode())
        return sender.makefile("rb").read()


def send_events(server, url: str, home: Path, kernel_pid: int) -> None:
    """Send to the address of a run what the server accepts, what it rejects, and what it fails on."""
    path = f"/{PATH}/{url.rpartition('/')[2]}"
    full_path = urlsplit(url).path
    assert server.post(url) == 204
    assert server.post(url, b"[") == 400
    assert server.request("POST", path, b"{}", {"Origin": "http://evil.example"})[0] == 404
    for wrong in (path, f"{path}%FF", f"{path}/", f"/{PATH}/{path}", f"{path}?token={path}"):
        assert server.request("GET", wrong)[0] == 404, wrong
    for head in ("Content-Length: x", "Content-Length: 2\r\nTransfer-Encoding: chunked", "no header", "Host: a b"):
        assert b" 204 " not in send_raw(server, f"POST {full_path} HTTP/1.1\r\n{head}\r\nConnection: close\r\n\r\n{{}}")
    send_raw(server, f"POST {full_path} HTTP/9\r\n\r\n")
    with suppress(ConnectionError):  # it closes the connection, because it does not read the body
        assert server.post(url, b"x" * 2 * MAX_EVENT_BYTES) in {400, 413}
    folder = home / "webhooks"
    folder.rename(home / "renamed")
    folder.write_text("not a folder")
    assert server.post(url) in {404, 500}
    folder.unlink()
    (home / "renamed").rename(folder)
    if hasattr(signal, "SIGSTOP"):
        os.kill(kernel_pid, signal.SIGSTOP)
        try:
            assert server.post(url) == 503
        finally:
            os.kill(kernel_pid, signal.SIGCONT)
    statuses = [server.post(url) for _ in range(4 * int(MAX_BURST))]
    assert 204 in statuses
    assert set(statuses) <= {204, 429}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_secret_is_written_anywhere_after_any_failure(notebook, server, home, tmp_path):
    client, execute, api, proxied = notebook
    errors = 0
    for number, (name, answer) in enumerate(ANSWERS.items()):
        mode = MODES[number % len(MODES)]
        for route in (TOKEN, RUN, CHECK, IMAGES):
            api.on(route, answer)
            if route == TOKEN:
                cell = execute(CONNECTING)
            else:
                cell = execute(FAILING.format(mode=mode) if (number + len(route)) % 2 else FAILING_CALL)
            errors += any(output.output_type == "error" for output in cell.outputs)
            api.repair()
        proxied.on("* /*", answer)
        cell = execute(f'comflowy_nb.connect("home={proxied.url}")')
        assert any(output.output_type == "error" for output in cell.outputs), name
    assert errors > len(ANSWERS), "most faults raise an error"
    api.on(CHECK, reply({"success": True, "data": {"status": "running"}}))
    execute(LIVE)
    live_url = api.requests(RUN)[-1].json["callback_urls"]["on_result_url"]
    assert live_url.startswith(server.url)
    send_events(server, live_url, home, int(execute("import os; print(os.getpid())").outputs[0].text))
    arrived = execute("print(f'{len(live.events)} {live.status}')").outputs[0].text  # one write, so one output
    api.repair()
    for source in (
        VALUES,
        "%comflowy run wf-1 3::seed=1000 --as good",
        "%comflowy runs",
        "%comflowy webhooks",
        f"%comflowy connect cloud --webhooks http://127.0.0.1:{closed_port()}",
        "%comflowy form wf-1 3::steps=20",
        "comflowy_nb.explore('good')",
        "%comflowy save good page.html",
        "%comflowy save good good.zip",
        "%comflowy save good copies/",
        "%tb",
        "%history",
    ):
        outputs = execute(source).outputs
        shown_errors = [output.evalue for output in outputs if output.output_type == "error"]
        assert bool(shown_errors) == (source == "%tb"), f"{source}: {shown_errors}"
    client.set_widgets_metadata()
    assert client.nb.metadata["widgets"], "the state of the widgets is saved"

    secrets = {"key": KEY, "token": ACCESS, "signature": SIGNATURE, "header": HEADER, **api.webhook_secrets()}
    assert len(secrets) > 40
    written = read_files(tmp_path)
    assert {"debug.log", "page.html", "good.zip", "home/history.sqlite"} <= set(written)
    assert any(name.endswith(".json") and "images/" in name for name in written), "a sidecar"
    found = [leak for name, content in written.items() for leak in leaks(secrets, name, content)]
    found += leaks(secrets, "the notebook", nbformat.writes(client.nb).encode())
    found += leaks(secrets, "the process list", process_list())
    assert found == []
    assert int(arrived.split()[0]) >= 1
    assert arrived.split()[1] == "running", "an event moves no status"
    log = (tmp_path / "debug.log").read_text()
    assert "urllib3" in log, "the log has the requests"
    server_log = server.log.read_text()
    assert "/user/ann/api" in server_log, "the access log has the other requests"
    assert "webhooks are accepted below /user/ann/comflowy/hooks/" in server_log


def test_the_search_finds_a_secret_in_each_container():
    """A search that finds nothing anywhere would pass the test above."""
    secrets = {"key": KEY}
    text = f"...{KEY}...".encode()
    info = PngImagePlugin.PngInfo()
    info.add_text("note", text.decode(), zip=True)
    image_file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(image_file, "PNG", pnginfo=info)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as writer:
        writer.writestr("a.png", image_file.getvalue())
    page = b"<img src='data:image/png;base64," + base64.b64encode(image_file.getvalue()) + b"'>"
    containers = {
        "text": text,
        "quoted": quote(KEY, safe="").encode(),
        "JSON": json.dumps({"k": KEY}).encode(),
        "base64": b"a" + base64.b64encode(b"ab" + text) + b"b",
        "PNG": image_file.getvalue(),
        "zip": archive.getvalue(),
        "page": page,
        "gzip": _gzip(text),
    }
    missed = [name for name, content in containers.items() if not leaks(secrets, name, content)]
    assert missed == []
    assert leaks(secrets, "nothing", b"canary-key http://127.0.0.1:1/comflowy/hooks/*** comflowy/hooks/") == []
    for secret in (new_secret(), "-" * 20):
        assert leaks({}, "the address of a webhook", f"POST /user/ann/{PATH}/{secret}".encode())
        assert leaks({}, "the same, quoted", quote(f"/user/ann/{PATH}/{secret}", safe="").encode())


def _gzip(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=31)
    return packer.compress(content) + packer.flush()
