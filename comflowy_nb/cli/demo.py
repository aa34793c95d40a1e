"""Executes a notebook on the sandbox with progress on the terminal; leaves an HTML page and the grid as PNG.

The demo has a home folder of its own, made anew each time: it never mixes with a person's history, and what it shows
is the same each time.
"""

from __future__ import annotations

import base64
import copy
import io
import os
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

from comflowy_nb.cli.progress import ProgressReporter, one_line
from comflowy_nb.errors import ComflowyError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "await_end_of_sandbox",
    "execute",
    "find_quickstart",
    "images",
    "kernel_environment",
    "run_demo",
    "strip",
    "to_html",
]

CELL_TIMEOUT_S = 600  # a cell of the quickstart takes seconds; a stuck kernel must not keep the terminal for ever
SANDBOX_END_S = 30.0  # the sandbox ends by itself soon after its last client


def run_demo(out: Path, notebook: Path | None = None, *, stream: TextIO | None = None) -> None:
    """Run a notebook on the sandbox and leave `quickstart.html`, `grid.png` and the executed notebook in a folder.

    Parameters
    ----------
    out
        Folder for the results; its `home` is the demo's own history and is emptied first.
    notebook
        What to run; None takes the quickstart.
    stream
        Where progress goes; None takes stdout.

    Raises
    ------
    ComflowyError
        One plain line: no notebook, a cell that failed, a kernel that died.
    """
    began_s = time.monotonic()
    teller = ProgressReporter(stream or sys.stdout)
    source = notebook or find_quickstart()
    content = _read(source)
    out = out.resolve()
    home = out / "home"
    shutil.rmtree(home, ignore_errors=True)
    try:
        home.mkdir(parents=True)
    except OSError as error:
        raise ComflowyError(f"the folder {out} can't be made: {error.strerror}") from error
    teller.line(f"Running {source.name} on the sandbox: no key, no GPU, no network.")
    try:
        execute(content, out, kernel_environment(home), teller)
    finally:
        await_end_of_sandbox(home, teller)

    page = out / f"{source.stem}.html"
    page.write_text(to_html(content, title=source.stem), encoding="utf-8")
    nbformat.write(content, out / source.name)
    grid = _write_grid(content, out / "grid.png")
    teller.line(f"Done in {time.monotonic() - began_s:.0f} s.")
    teller.line(f"  page: {page}")
    if grid is not None:
        teller.line(f"  grid: {grid}")


def find_quickstart() -> Path:
    """The quickstart notebook: the repository's, else the copy in an installed package.

    Raises
    ------
    ComflowyError
        If there is neither.
    """
    package = Path(__file__).parent.parent
    for candidate in (package.parent / "notebooks" / "quickstart.ipynb", package / "quickstart.ipynb"):
        if candidate.is_file():
            return candidate
    raise ComflowyError("the quickstart notebook is not in this installation; name one: comflowy-nb demo NOTEBOOK")


def kernel_environment(home: Path) -> dict[str, str]:
    """The environment of a kernel that knows nothing of this person's services, and keeps everything under `home`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COMFLOWY_")}
    return kept | {"COMFLOWY_HOME": str(home), "IPYTHONDIR": str(home / "ipython")}


def execute(
    content: nbformat.NotebookNode, folder: Path, environment: Mapping[str, str], teller: ProgressReporter
) -> None:
    """Execute every cell in place, in a kernel of this very Python.

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
        One plain line that names the cell.
    """
    client = _Client(content, teller, timeout=CELL_TIMEOUT_S, resources={"metadata": {"path": str(folder)}})
    # What the kernel itself says on stderr is for its log: it warns of its transport, and says more when it dies.
    log = folder / "kernel.log"
    try:
        with log.open("w", encoding="utf-8") as stderr:
            client.execute(env=dict(environment), stderr=stderr)
    except CellExecutionError as error:
        where = f"cell {teller.position} failed"
        raise ComflowyError(f"{where}: {one_line(error.ename)}: {one_line(error.evalue)}") from error
    except CellTimeoutError as error:
        raise ComflowyError(f"cell {teller.position} was not done within {CELL_TIMEOUT_S} s") from error
    except DeadKernelError as error:
        if client.interrupted:
            raise KeyboardInterrupt from error
        raise ComflowyError(f"the kernel died in cell {teller.position}; its log is {log}") from error
    finally:
        teller.end()


def strip(content: nbformat.NotebookNode) -> None:
    """Take out what should not be committed: widgets, timing, and the kernel's own noise on stderr.

    A widget without its kernel is nothing; what was beside it (a figure, a text) stays.
    """
    _drop_widgets(content)
    content.metadata.language_info = {"name": "python"}
    for cell in content.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [out for out in cell.outputs if (out.output_type, out.get("name")) != ("stream", "stderr")]


def _drop_widgets(content: nbformat.NotebookNode) -> None:
    content.metadata.pop("widgets", None)
    for cell in content.cells:
        for output in cell.get("outputs", ()):
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)


def images(content: nbformat.NotebookNode) -> Iterator[bytes]:
    """The bytes of every image among the outputs, PNG or JPEG, from the first to the last."""
    for cell in content.cells:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            found = data.get("image/png") or data.get("image/jpeg")
            if found:
                yield base64.b64decode(found)


def to_html(content: nbformat.NotebookNode, *, title: str) -> str:
    """One HTML page with everything in it. It holds no script and asks for nothing, so it opens anywhere."""
    content = copy.deepcopy(content)
    _drop_widgets(content)  # a widget would stand before what was put beside it for such a page
    exporter = HTMLExporter(raw_template=_PAGE)
    body, _ = exporter.from_notebook_node(content, {"metadata": {"name": title}})
    return str(body)


# nbconvert's page without the scripts it would fetch from a content network (require.js, MathJax, mermaid)
_PAGE = """
{%- extends 'lab/index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block jupyter_widgets -%}{%- endblock -%}
"""


class _Client(NotebookClient):  # type: ignore[misc]  # nbclient is looked at without types
    """A notebook client that tells what every message says, and runs this very Python."""

    def __init__(self, content: nbformat.NotebookNode, teller: ProgressReporter, **options: Any) -> None:
        super().__init__(content, **options)
        self._teller = teller
        code = [index for index, cell in enumerate(content.cells) if cell.cell_type == "code" and cell.source.strip()]
        self._order = {index: place for place, index in enumerate(code, start=1)}
        self.interrupted = False
        self.on_cell_execute = self._tell_cell

    def create_kernel_manager(self) -> AsyncKernelManager:
        # No folders: a kernel named python3 that a person once registered may be another Python altogether.
        specs = KernelSpecManager(kernel_dirs=[])
        self.km = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=specs)
        return self.km

    async def _async_cleanup_kernel(self) -> None:
        # An interrupt calls it while a cell is running, and then it is called once more at the end.
        running = self.task_poll_for_reply is not None and not self.task_poll_for_reply.done()
        self.interrupted = self.interrupted or running
        if self.km is not None:
            await super()._async_cleanup_kernel()

    def _tell_cell(self, cell: nbformat.NotebookNode, cell_index: int) -> None:
        self._teller.cell(self._order[cell_index], len(self._order), cell.source)

    def process_message(self, msg: dict[str, Any], cell: nbformat.NotebookNode, cell_index: int) -> Any:
        content = msg["content"]
        if msg["msg_type"] == "stream" and content["name"] == "stdout":
            self._teller.output(content["text"])
        elif msg["msg_type"] == "error":
            self._teller.output("\n".join(content["traceback"]))
        elif "data" in content and not any(kind.startswith("image/") for kind in content["data"]):
            text = content["data"].get("text/plain", "")
            tell = self._teller.output if "\n" in text else self._teller.status
            tell(text)
        return super().process_message(msg, cell, cell_index)


def _read(path: Path) -> nbformat.NotebookNode:
    try:
        return nbformat.read(path, as_version=4)
    except (OSError, UnicodeDecodeError, nbformat.reader.NotJSONError, nbformat.ValidationError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no notebook"
        raise SettingsError(f"{path} can't be read: {why}") from error


def _write_grid(content: nbformat.NotebookNode, path: Path) -> Path | None:
    first = next(images(content), None)
    if first is None:
        return None
    from PIL import Image  # noqa: PLC0415 - only where there is an image

    with Image.open(io.BytesIO(first)) as image:
        image.save(path)
    return path


def await_end_of_sandbox(home: Path, teller: ProgressReporter) -> None:
    """Wait until the sandbox of a home folder has ended, as it does by itself soon after its last client."""
    lock = home / "sandbox" / "sandbox.lock"  # held by the process for as long as it lives
    if not lock.exists():
        return
    try:
        FileLock(lock, timeout=SANDBOX_END_S).acquire().lock.release()
    except Timeout:
        teller.line("The sandbox is still running; it ends by itself once nothing uses it.")
