"""A real kernel meets every fault; afterwards, nothing that it wrote contains a secret.

`tests/services/test_secrets.py` checks the errors, logs and reprs of each request by itself.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import zipfile
import zlib
from pathlib import Path
from urllib.parse import quote

import nbformat
import pytest
from faulty_server import FaultyServer, choose, reply
from nbclient import NotebookClient
from PIL import Image, PngImagePlugin
from scripted_api import BASE, CHECK, RUN, TOKEN, ScriptedApi, png
from test_fault_matrix import FAULTS

KEY = "canary-key-4f7c+/9"
ACCESS = "canary-token-81d2.x_y"
SIGNATURE = "canary-signature-55aa"
HEADER = "canary-header-90bb"
MODES = ["Plain", "Context", "Verbose"]
IMAGES = "GET /images/*"

SETUP = """
import logging
logging.basicConfig(level=logging.DEBUG, filename={log!r}, force=True)
%load_ext comflowy_nb
import comflowy_nb
from comflowy_nb.settings import settings
settings.retries, settings.retry_base_s, settings.retry_max_s, settings.lost_gap_s = 1, 0.001, 0.002, 0.01
settings.connect_timeout_s = settings.read_timeout_s = 0.4
settings.answer_deadline_s = settings.image_deadline_s = 0.9
%comflowy connect cloud
client = comflowy_nb.connect("cloud")
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
VALUES = """
runs = client.runs(limit=None)
print(repr(client), repr(client.service), vars(client.service))
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
    """Return where a content holds a secret."""
    return [
        f"{kind} in {where}"
        for where, part in contents(name, content)
        for kind, secret in secrets.items()
        if any(form in part for form in forms(secret))
    ]


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
def notebook(tmp_path, home, monkeypatch):
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
            execute(SETUP.format(log=str(tmp_path / "debug.log")))
            yield client, execute, api, proxied


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_secret_is_written_anywhere_after_any_failure(notebook, home, tmp_path):
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
    for source in (
        VALUES,
        "%comflowy run wf-1 3::seed=1000 --as good",
        "%comflowy runs",
        "%comflowy webhooks",
        "form = comflowy_nb.form('wf-1')\nform",
        "comflowy_nb.explore('good')",
        "%comflowy save good page.html",
        "%comflowy save good good.zip",
        "%comflowy save good copies/",
        "%tb",
        "%history",
    ):
        execute(source)
    client.set_widgets_metadata()
    assert client.nb.metadata["widgets"], "the state of the widgets is saved"

    secrets = {"key": KEY, "token": ACCESS, "signature": SIGNATURE, "header": HEADER, **api.webhook_secrets()}
    assert len(secrets) > 40
    written = {path.relative_to(tmp_path).as_posix(): path for path in tmp_path.rglob("*") if path.is_file()}
    assert {"debug.log", "page.html", "good.zip", "home/history.sqlite"} <= set(written)
    assert any(name.endswith(".json") and "images/" in name for name in written), "a sidecar"
    found = [leak for name, path in written.items() for leak in leaks(secrets, name, path.read_bytes())]
    found += leaks(secrets, "the notebook", nbformat.writes(client.nb).encode())
    found += leaks(secrets, "the process list", process_list())
    assert found == []
    log = (tmp_path / "debug.log").read_text()
    assert "urllib3" in log, "the log has the requests"


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
    assert leaks(secrets, "nothing", b"canary-key") == []


def _gzip(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=31)
    return packer.compress(content) + packer.flush()
