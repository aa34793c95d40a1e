"""A JupyterLab server and notebooks open in it, used as a user does: for browser tests and screenshots.

Everything is on loopback and in a temporary HOME. Nothing waits for a fixed time: each wait has a condition and one of
the deadlines below.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import pytest
from filelock import FileLock, Timeout
from ports import free_port
from waiting import end_process, wait_until

START_S = 90  # the server, on a machine busy with other tests
CELL_MS = 180_000  # the execution of a cell, in parallel with three other test files
SHORT_MS = 60_000  # timeout for changes of the page without an execution
POLL_MS = 50  # Playwright's default is each frame, which keeps the browser busy during a long wait

SCREENSHOTS = Path(__file__).parents[1] / "build" / "screenshots"
TOKEN = "browser-tests"
VIEWPORT = {"width": 1280, "height": 1000}


@dataclass
class Lab:
    """A JupyterLab server: its address, the folder it shows, and where kernels are described."""

    origin: str
    folder: Path
    kernels: Path
    query: str = f"token={TOKEN}&"  # of the address of a page
    homes: list[Path] = field(default_factory=list)

    def request(self, path, method="GET"):
        request = urllib.request.Request(f"{self.origin}{path}", method=method)
        request.add_header("Authorization", f"token {TOKEN}")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as answer:
            return answer.read()


@contextmanager
def running_lab():
    """Run a JupyterLab server with the default settings in a temporary folder."""
    root = Path(tempfile.mkdtemp(prefix="comflowy-lab-"))
    folders = {
        "JUPYTER_CONFIG_DIR": root / "config",
        "JUPYTER_DATA_DIR": root / "data",
        "JUPYTER_RUNTIME_DIR": root / "runtime",
        "JUPYTERLAB_SETTINGS_DIR": root / "settings",
        "JUPYTERLAB_WORKSPACES_DIR": root / "workspaces",
        "IPYTHONDIR": root / "ipython",
        "MPLCONFIGDIR": root / "matplotlib",
    }
    overrides = root / "config" / "labconfig" / "default_setting_overrides.json"
    overrides.parent.mkdir(parents=True)
    # The popup that offers news would cover the page, and news needs the internet.
    plain = {"fetchNews": "false", "checkForUpdates": False}
    overrides.write_text(json.dumps({"@jupyterlab/apputils-extension:notification": plain}))
    notebook_folder = root / "notebooks"
    notebook_folder.mkdir()
    port = free_port()
    command = [
        *(sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"),
        *("--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={notebook_folder}"),
        *("--LabApp.expose_app_in_browser=True", "--JupyterNotebookApp.expose_app_in_browser=True"),
    ]
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("COMFLOWY_", "JUPYTER"))}
    environment = variables | {"HOME": str(root)} | {name: str(path) for name, path in folders.items()}
    log = (root / "server.log").open("w")
    server = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    running = Lab(f"http://127.0.0.1:{port}", notebook_folder, root / "data" / "kernels")
    try:
        _await_server(running, server, root / "server.log")
        yield running
    finally:
        end_process(server)
        log.close()
        shutil.rmtree(root, ignore_errors=True)


def _await_server(lab, server, log):
    deadline_s = time.monotonic() + START_S
    while True:
        try:
            lab.request("/api/status")
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            assert server.poll() is None, f"JupyterLab ended at once:\n{log.read_text()[-2000:]}"
            assert time.monotonic() < deadline_s, f"JupyterLab did not answer:\n{log.read_text()[-2000:]}"
            time.sleep(0.1)
        else:
            return


def sandboxes_left(homes):
    """Return the home folders whose sandbox still runs, after each had time to end."""
    homes_in_use = []
    for lock in (home / "sandbox" / "sandbox.lock" for home in homes):
        try:
            if lock.exists():
                FileLock(lock, timeout=30).acquire().lock.release()
        except Timeout:
            homes_in_use.append(lock)
    return homes_in_use


class Notebook:
    """One notebook open in JupyterLab, used like a user does, by keyboard and mouse."""

    def __init__(self, page, lab, name, home, *, within="lab/tree"):
        self.page = page
        self.within = within
        self.lab = lab
        self.name = name
        self.home = home
        self.path = lab.folder / name
        self.requested_hosts = set()
        self.problems = []  # errors on the console
        self._handlers = {
            "console": self._on_console,
            "pageerror": lambda error: self.problems.append(str(error)),
            "websocket": lambda socket: self.requested_hosts.add(urlsplit(socket.url).netloc),
            "request": self._note,
        }
        for event, handler in self._handlers.items():
            page.on(event, handler)

    def _on_console(self, message):
        # JupyterLab polls the list of kernels; its server may fail on a kernel that is ending.
        is_its_own = "status of 500" in message.text and "/api/kernels?" in message.location["url"]
        if message.type == "error" and not is_its_own:
            self.problems.append(f"{message.text} ({message.location['url']})")

    def _note(self, request):
        if request.url.startswith(("http:", "https:")):  # blob: and data: need no request
            self.requested_hosts.add(urlsplit(request.url).netloc)

    def open(self):
        """Load the page with this notebook."""
        self.page.goto(f"{self.lab.origin}/{self.within}/{self.name}?{self.lab.query}reset")
        return self._await_kernel()

    def open_in_loaded_page(self):
        """Open this notebook in a page of JupyterLab that is loaded and has no notebook."""
        self.page.evaluate(_OPEN, self.name)
        return self._await_kernel()

    def _await_kernel(self):
        self.page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=SHORT_MS * 2)
        idle = "name => { const widget = window.jupyterapp?.shell?.currentWidget; "
        idle += "return widget?.context?.path === name && widget.sessionContext?.session?.kernel?.status === 'idle' }"
        self.page.wait_for_function(idle, arg=self.name, timeout=CELL_MS, polling=POLL_MS)
        self.page.evaluate(_WATCH)
        self.problems.clear()  # errors before the first cell are not of this project (Notebook 7 has one)
        return self

    def close(self):
        """Close this notebook; return whether its page can be used for another one."""
        for event, handler in self._handlers.items():
            self.page.remove_listener(event, handler)
        if self.within != "lab/tree" or self.page.is_closed():
            return False
        self.page.set_viewport_size(VIEWPORT)
        self.page.emulate_media(reduced_motion="null")
        return self.page.evaluate(_CLOSE)

    def cell(self, index):
        return self.page.locator(".jp-Notebook .jp-Cell").nth(index)

    def type(self, index, text):
        """Type a text into a cell, key by key."""
        editor = self.cell(index).locator(".cm-content")
        editor.click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.type(text)

    def press_run(self, index):
        """Start the cell with Shift+Enter, without waiting for it."""
        self.cell(index).locator(".cm-content").click()
        self.page.evaluate("index => window.watch(index)", index)
        self.page.keyboard.press("Shift+Enter")

    def await_idle(self, index):
        """Wait for the end of the cell's execution: it then has a number."""
        ended = "index => window.watched[index].before !== window.number(index) && window.number(index)"
        self._await(ended, index, index)

    def run(self, index):
        self.press_run(index)
        self.await_idle(index)
        return self.text(index)

    def enter(self, index, text):
        """Paste a text into a cell and run it."""
        self.paste(index, text)
        return self.run(index)

    def paste(self, index, text):
        """Paste a text into a cell: a typed key takes 16 ms of CPU time, and the editor would indent typed lines."""
        self.cell(index).locator(".cm-content").click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(text)

    def enter_typed(self, index, text):
        """Type a text into a cell, key by key, and run it."""
        self.type(index, text)
        return self.run(index)

    def enter_until(self, index, text, expected):
        """Run a cell until its output has a text: ipywidgets delays a change until the previous one is handled."""
        self.enter(index, text)
        wait_until(
            lambda: self.text(index) == expected or self.run(index) == expected, message=lambda: self.text(index)
        )

    def text(self, index):
        """Return the text of the cell's output."""
        return self.page.evaluate("index => window.outputText(index)", index)

    def await_text(self, index, text):
        self._await("([index, text]) => window.outputText(index).includes(text)", [index, text], index)

    def texts_shown(self, index):
        """Return every text that the cell's output showed since its start, in order."""
        return self.page.evaluate("index => window.watched[index].texts", index)

    def most_images_seen(self, index):
        return self.page.evaluate("index => window.watched[index].most", index)

    def images(self, index):
        """Return width and height in pixels of the images in the cell's output, once they are decoded."""
        return self.page.evaluate("index => window.images(index)", index)

    def await_images(self, index, count):
        decoded = "([index, count]) => window.images(index).filter(size => size[0]).length === count"
        self._await(decoded, [index, count], index)

    def _await(self, condition, argument, index):
        from playwright.sync_api import TimeoutError as TooLate

        try:
            self.page.wait_for_function(condition, arg=argument, timeout=CELL_MS, polling=POLL_MS)
        except TooLate:  # the present text explains more than the timeout
            self.screenshot(f"timeout-{self.path.stem}")
            pytest.fail(f"{condition} {argument} did not come; cell {index} says {self.text(index)!r}")

    def command(self, name, arguments=None):
        self.page.evaluate(
            "async ([name, args]) => { await jupyterapp.commands.execute(name, args) }", [name, arguments or {}]
        )

    def save(self):
        self.command("docmanager:save")
        return nbformat.read(self.path, as_version=4)

    def check(self):
        """Assert that the page logged no error and sent requests only to the server."""
        assert not self.problems
        assert self.requested_hosts == {urlsplit(self.lab.origin).netloc}, "the page sent requests to another host"

    def screenshot(self, name, *, cells=None):
        """Save a screenshot of the notebook, or of its first cells."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        clip = None
        if cells is not None:
            first, last = self.cell(0).bounding_box(), self.cell(cells - 1).bounding_box()
            bottom = last["y"] + last["height"]
            clip = {"x": first["x"], "y": first["y"], "width": first["width"], "height": bottom - first["y"]}
        box = clip or self.page.locator(".jp-NotebookPanel").bounding_box()
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", clip=box)


# Helpers in the page: the cells of the panel, the text of an output, and a record of its changes.
_WATCH = """
() => {
  window.cell = index => jupyterapp.shell.currentWidget.content.widgets[index]
  window.area = index => window.cell(index).node.querySelector('.jp-Cell-outputArea')
  window.outputText = index => (window.area(index)?.innerText ?? '').trim()
  window.images = index => [...(window.area(index)?.querySelectorAll('img') ?? [])]
    .map(image => [image.naturalWidth, image.naturalHeight])
  window.number = index => Number(window.cell(index).node.querySelector('.jp-InputPrompt').innerText.match(/\\d+/))
  window.watched = {}
  window.watch = index => {
    const seen = window.watched[index] = {texts: [], most: 0, before: window.number(index)}
    const look = () => {
      const text = window.outputText(index)
      if (text && text !== seen.texts.at(-1)) seen.texts.push(text)
      seen.most = Math.max(seen.most, window.images(index).length)
    }
    new MutationObserver(look).observe(window.cell(index).node, {childList: true, subtree: true, characterData: true})
  }
}
"""


# Reads the kernel of the notebook first, which the page does not know yet.
_OPEN = """
async path => {
  await jupyterapp.serviceManager.kernelspecs.refreshSpecs()
  await jupyterapp.commands.execute('docmanager:open', {path})
}
"""

# A dialog, for example about a kernel that has died, would cover the next notebook.
_CLOSE = """
async () => {
  for (const widget of [...jupyterapp.shell.widgets('main')]) {
    if (widget.context) widget.context.model.dirty = false
    widget.close()
  }
  if (document.body.dataset.jpThemeName !== 'JupyterLab Light')
    await jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Light'})
  return !document.querySelector('.jp-Dialog')
}
"""


@contextmanager
def opening_notebooks(lab, browser, loaded=None):
    """Return a function that opens a notebook with a number of empty cells and a COMFLOWY_HOME.

    `loaded` is a list of pages of JupyterLab without a notebook. They are used first, because loading one takes
    seconds, and the pages of the notebooks are added to it at the end.
    """
    notebooks = []

    def make(cells, home, *, within="lab/tree"):
        name = f"notebook-{len(lab.homes)}"
        spec = lab.kernels / name
        spec.mkdir(parents=True)
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        variables = {"COMFLOWY_HOME": str(home)}
        described = {"argv": command, "display_name": "Python 3", "language": "python", "env": variables}
        (spec / "kernel.json").write_text(json.dumps(described))
        lab.homes.append(home)
        content = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell() for _ in range(cells)])
        content.metadata.kernelspec = {"name": name, "display_name": "Python 3", "language": "python"}
        nbformat.write(content, lab.folder / f"{name}.ipynb")
        is_loaded = bool(loaded) and within == "lab/tree"
        page = loaded.pop() if is_loaded else browser.new_context(viewport=VIEWPORT).new_page()
        notebook = Notebook(page, lab, f"{name}.ipynb", home, within=within)
        notebooks.append(notebook)
        return notebook.open_in_loaded_page() if is_loaded else notebook.open()

    yield make
    for notebook in notebooks:
        if loaded is not None and notebook.close():
            loaded.append(notebook.page)
        else:
            notebook.page.context.close()
        for session in json.loads(lab.request("/api/sessions")):
            if session["path"] == notebook.name:
                lab.request(f"/api/sessions/{session['id']}", "DELETE")
    for notebook in notebooks:
        notebook.check()
