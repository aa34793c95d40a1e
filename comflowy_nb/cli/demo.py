"""`comflowy-nb demo`: execute a notebook on the sandbox, and write it, an HTML page and its first image.

The demo uses a separate home folder, which is emptied first. It does not change the user's history, and has the same
results each time.
"""

from __future__ import annotations

import base64
import copy
import io
import os
import re
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import nbformat
from filelock import FileLock, Timeout
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbconvert import HTMLExporter
from PIL import Image

from comflowy_nb.errors import ComflowyError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


CELL_TIMEOUT_S = 600  # a cell of the quickstart takes seconds
SANDBOX_END_S = 30.0  # maximum wait for the end of the sandbox
HOME_FOLDER = "comflowy_home"  # this folder is deleted first, so its name must not be that of a user's folder
MAX_OUTPUT_LINES = 8  # per output of a cell
_WIDGET = "application/vnd.jupyter.widget-view+json"
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")

# nbconvert's page without the scripts that it would load from a CDN (require.js, MathJax, mermaid)
_PAGE = """
{%- extends 'lab/index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block jupyter_widgets -%}{%- endblock -%}
"""


def run_demo(out: Path, notebook: Path | None = None, *, stream: TextIO | None = None) -> None:
    """Execute a notebook on the sandbox and write `NAME.ipynb`, `NAME.html` and `grid.png` into a folder.

    Parameters
    ----------
    out
        Folder for the results. Its subfolder `comflowy_home` is the home folder of the demo, and is deleted first.
    notebook
        The notebook. None uses the quickstart.
    stream
        The stream for the progress. None uses stdout.

    Raises
    ------
    ComflowyError
        If the notebook can't be read, a cell failed, or the kernel died.
    """
    start_s = time.monotonic()
    progress = ProgressReporter(stream or sys.stdout)
    source = notebook or find_quickstart()
    content = _read(source)
    out = out.resolve()
    home = out / HOME_FOLDER
    shutil.rmtree(home, ignore_errors=True)
    try:
        home.mkdir(parents=True)
    except OSError as error:
        raise ComflowyError(f"can't make the folder {out}: {error.strerror}") from error
    progress.line(f"Running {source.name} on the sandbox: no key, no GPU, no network.")
    try:
        execute(content, out, kernel_environment(home), progress)
    finally:
        wait_for_sandbox_end(home, progress)

    page = out / f"{source.stem}.html"
    page.write_text(to_html(content, title=source.stem), encoding="utf-8")
    nbformat.write(content, out / source.name)
    progress.line(f"Done in {time.monotonic() - start_s:.0f} s.")
    progress.line(f"  page: {page}")
    first = next(_images(content), None)
    if first is not None:
        with Image.open(io.BytesIO(first)) as image:
            image.save(out / "grid.png")
        progress.line(f"  grid: {out / 'grid.png'}")


def find_quickstart() -> Path:
    """Return the quickstart notebook of the repository, else of the installed package.

    Raises
    ------
    ComflowyError
        If it is in neither.
    """
    package = Path(__file__).parent.parent
    for candidate in (package.parent / "notebooks" / "quickstart.ipynb", package / "quickstart.ipynb"):
        if candidate.is_file():
            return candidate
    raise ComflowyError("the quickstart notebook is not in this installation; name one: comflowy-nb demo NOTEBOOK")


def kernel_environment(home: Path) -> dict[str, str]:
    """Return the environment without the user's services and keys, and with `home` as the home folder."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COMFLOWY_")}
    return environment | {"COMFLOWY_HOME": str(home), "IPYTHONDIR": str(home / "ipython")}


def execute(
    content: nbformat.NotebookNode, folder: Path, environment: Mapping[str, str], progress: ProgressReporter
) -> None:
    """Execute every cell in place, in a kernel of this Python.

    Parameters
    ----------
    content
        The notebook; its outputs are replaced.
    folder
        The kernel's working folder.
    environment
        The kernel's environment variables.

    Raises
    ------
    ComflowyError
        If a cell failed or timed out, or the kernel died. The text names the cell.
    """
    # Without kernel folders: a user may have registered another Python under the name python3.
    kernel = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
    resources = {"metadata": {"path": str(folder)}}
    client = _Client(content, progress, km=kernel, timeout=CELL_TIMEOUT_S, resources=resources)
    log = folder / "kernel.log"  # stderr of the kernel: warnings about its transport, and why it died
    try:
        with log.open("w", encoding="utf-8") as stderr:
            client.execute(env=dict(environment), stderr=stderr, cleanup_kc=True)
    except CellExecutionError as error:
        cell = f"cell {client.position} failed"
        raise ComflowyError(f"{cell}: {one_line(error.ename)}: {one_line(error.evalue)}") from error
    except CellTimeoutError as error:
        raise ComflowyError(f"cell {client.position} timed out after {CELL_TIMEOUT_S} s") from error
    except DeadKernelError as error:
        if client.is_interrupted:
            raise KeyboardInterrupt from error
        raise ComflowyError(f"the kernel died in cell {client.position}; its log is {log}") from error
    finally:
        progress.end_status()


def strip(content: nbformat.NotebookNode) -> None:
    """Remove the outputs that must not be committed: widgets, timings and the kernel's stderr."""
    _remove_widgets(content)
    content.metadata.language_info = {"name": "python"}
    for cell in content.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [out for out in cell.outputs if (out.output_type, out.get("name")) != ("stream", "stderr")]


def _images(content: nbformat.NotebookNode) -> Iterator[bytes]:
    """Yield the bytes of every PNG or JPEG among the outputs."""
    for data in _data(content):
        image = data.get("image/png") or data.get("image/jpeg")
        if image:
            yield base64.b64decode(image)


def to_html(content: nbformat.NotebookNode, *, title: str) -> str:
    """Return a self-contained HTML page without scripts."""
    content = copy.deepcopy(content)
    _remove_widgets(content)  # nbconvert would show a widget instead of the text and the image beside it
    body, _ = HTMLExporter(raw_template=_PAGE).from_notebook_node(content, {"metadata": {"name": title}})
    return str(body)


def wait_for_sandbox_end(home: Path, progress: ProgressReporter) -> None:
    """Wait until the sandbox of a home folder has ended, which is soon after its last client has ended."""
    lock = home / "sandbox" / "sandbox.lock"  # the sandbox process holds this lock until its end
    if not lock.exists():
        return
    try:
        FileLock(lock, timeout=SANDBOX_END_S).acquire().lock.release()
    except Timeout:
        progress.line("The sandbox is still running; it ends once it has no clients.")


class ProgressReporter:
    """Print the cells of a notebook and their outputs, to a terminal or a log.

    A terminal shows every change of a status in one line; a log gets only the last one.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._status = ""  # on a terminal, this is the last line, without a line break

    def line(self, text: str) -> None:
        """Print a line."""
        self.end_status()
        self._write(f"{text}\n")

    def output(self, text: str) -> None:
        """Print the first lines of an output."""
        lines = _ANSI.sub("", text).splitlines()
        for line in lines[:MAX_OUTPUT_LINES]:
            self.line(f"      {line[: _width()]}")
        if len(lines) > MAX_OUTPUT_LINES:
            self.line(f"      ... {len(lines) - MAX_OUTPUT_LINES} lines more")

    def status(self, text: str) -> None:
        """Replace the current status."""
        text = one_line(text)
        if text and text != self._status:
            self._status = text
            if self._stream.isatty():
                self._write(f"\r\x1b[2K      {text[: _width()]}")

    def end_status(self) -> None:
        """End the line of the current status."""
        if self._status:
            self._write("\n" if self._stream.isatty() else f"      {self._status}\n")
            self._status = ""

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


class _Client(NotebookClient):  # type: ignore[misc]  # nbclient is not typed here
    """A notebook client that reports every message of the kernel."""

    def __init__(self, content: nbformat.NotebookNode, progress: ProgressReporter, **options: Any) -> None:
        super().__init__(content, on_cell_execute=self._report_cell, **options)
        self._progress = progress
        self._code_cells = [
            index for index, cell in enumerate(content.cells) if cell.cell_type == "code" and cell.source.strip()
        ]
        self.position = ""
        self.is_interrupted = False

    async def _async_cleanup_kernel(self) -> None:
        # nbclient calls this after an interrupt, while a cell is running, and again at the end without a kernel.
        is_running = self.task_poll_for_reply is not None and not self.task_poll_for_reply.done()
        self.is_interrupted = self.is_interrupted or is_running
        if self.km is not None:
            await super()._async_cleanup_kernel()

    def _report_cell(self, cell: nbformat.NotebookNode, cell_index: int) -> None:
        number, count = self._code_cells.index(cell_index) + 1, len(self._code_cells)
        self.position = f"{number} of {count}"
        first, *rest = cell.source.strip().splitlines()
        self._progress.line(f"[{number}/{count}] {first}{' ...' if rest else ''}")

    def process_message(self, msg: dict[str, Any], cell: nbformat.NotebookNode, cell_index: int) -> Any:
        content = msg["content"]
        if msg["msg_type"] == "stream" and content["name"] == "stdout":
            self._progress.output(content["text"])
        elif msg["msg_type"] == "error":
            self._progress.output("\n".join(content["traceback"]))
        elif "data" in content and not any(kind.startswith("image/") for kind in content["data"]):
            text = content["data"].get("text/plain", "")
            (self._progress.output if "\n" in text else self._progress.status)(text)
        return super().process_message(msg, cell, cell_index)


def one_line(text: str) -> str:
    """Return a text without line breaks and terminal colours."""
    return " ".join(_ANSI.sub("", text).split())


def _width() -> int:
    return shutil.get_terminal_size().columns - 8


def _read(path: Path) -> nbformat.NotebookNode:
    try:
        return nbformat.read(path, as_version=4)
    except (OSError, UnicodeDecodeError, nbformat.reader.NotJSONError, nbformat.ValidationError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a notebook"
        raise SettingsError(f"can't read {path}: {reason}") from error


def _remove_widgets(content: nbformat.NotebookNode) -> None:
    content.metadata.pop("widgets", None)
    for data in _data(content):
        data.pop(_WIDGET, None)


def _data(content: nbformat.NotebookNode) -> Iterator[dict[str, Any]]:
    """Yield the MIME bundle of every output."""
    for cell in content.cells:
        for output in cell.get("outputs", ()):
            yield output.get("data", {})
