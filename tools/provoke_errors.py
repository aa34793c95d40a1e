"""Provoke the errors that a user can meet, and write them to `docs/reference/errors.md`; `make errors` runs it.

`error_cells.txt` has the cells, under headings and separated by blank lines. Each cell runs in an IPython shell with an
empty home folder, the sandbox, and a scripted Comflowy API on loopback. A line that begins with `! ` is Python that
prepares the next cell and is not shown. With `--check` nothing is written: the exit status is 1 if the page is out of
date, if a cell raises nothing, or if a `raise` of the package is neither provoked nor excused in
`unprovoked_errors.txt`.
"""

from __future__ import annotations

import ast
import contextlib
import io
import os
import re
import shlex
import shutil
import sqlite3
import sys
import tempfile
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "comflowy_nb"
PAGE = ROOT / "docs" / "reference" / "errors.md"
CELLS = Path(__file__).with_name("error_cells.txt")
EXCUSES = Path(__file__).with_name("unprovoked_errors.txt")
INTRODUCTION = """\
# Errors

Each example is a cell and the error that it shows. `make errors` runs the cells and writes this page.
In Python the classes are in `comflowy_nb.errors`; `UsageError` is IPython's. A full traceback appears after
`%config Comflowy.tracebacks = True`.
"""
WIDTH = 110


@dataclass(frozen=True)
class Cell:
    """One cell of the page: its heading, the Python that prepares it, and its text."""

    heading: str
    setup: tuple[str, ...]
    source: str


def read_cells(text: str) -> list[Cell]:
    """Parse the file of the cells."""
    cells: list[Cell] = []
    heading, setup = "", []
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = block.splitlines()
        if lines[0].startswith("## "):
            heading = lines[0].removeprefix("## ")
            continue
        setup += [line.removeprefix("! ") for line in lines if line.startswith("! ")]
        shown = [line for line in lines if not line.startswith("! ")]
        if shown:
            cells.append(Cell(heading, tuple(setup), "\n".join(shown)))
            setup = []
    return cells


def read_excuses(text: str) -> set[str]:
    """Return the functions whose `raise` statements no cell needs to reach, as `module:function`."""
    return {line for line in text.splitlines() if line and not line.startswith("#")}


def record_errors() -> set[tuple[str, int]]:
    """Record from now on where a ComflowyError is created: file and line of the first frame outside of `errors.py`."""
    from comflowy_nb import errors  # noqa: PLC0415 - after the environment is set

    made: set[tuple[str, int]] = set()

    def record(self: Exception, *args: object) -> None:
        Exception.__init__(self, *args)
        frame = sys._getframe(1)  # noqa: SLF001 - the documented function for a caller's frame
        while frame is not None and frame.f_code.co_filename == errors.__file__:
            frame = frame.f_back
        if frame is not None:
            made.add((frame.f_code.co_filename, frame.f_lineno))

    errors.ComflowyError.__init__ = record  # type: ignore[method-assign]
    return made


def raises() -> Iterator[tuple[Path, str, int, int, str]]:
    """Yield each `raise SomeError(...)` of the package: path, function, first and last line, and text."""
    from comflowy_nb import errors  # noqa: PLC0415 - after the environment is set

    for path in sorted(PACKAGE.rglob("*.py")):
        if "sandbox" in path.relative_to(PACKAGE).parts:
            continue
        yield from _raises_in(ast.parse(path.read_text(encoding="utf-8")), path, "", set(errors.__all__))


def _raises_in(node: ast.AST, path: Path, function: str, names: set[str]) -> Iterator[tuple[Path, str, int, int, str]]:
    for child in ast.iter_child_nodes(node):
        inner = function
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            inner = f"{function}.{child.name}".lstrip(".")
        if isinstance(child, ast.Raise) and isinstance(child.exc, ast.Call):
            called = child.exc.func
            if isinstance(called, ast.Name) and called.id in names:
                yield path, inner, child.lineno, child.end_lineno or child.lineno, ast.unparse(child.exc)
        yield from _raises_in(child, path, inner, names)


def place(path: Path, function: str) -> str:
    """Return the name of a function as in `unprovoked_errors.txt`."""
    return f"{path.relative_to(PACKAGE).with_suffix('').as_posix()}:{function}"


def missing(
    made: set[tuple[str, int]], excused: set[str], statements: list[tuple[Path, str, int, int, str]]
) -> list[str]:
    """Return the `raise` statements that no cell reached and that are not excused."""
    found = []
    for path, function, first, last, text in statements:
        name = place(path, function)
        if name not in excused and not any((str(path), line) in made for line in range(first, last + 1)):
            found.append(f"{name}, line {first}: {text}")
    return found


class Notebook:
    """An IPython shell in an empty folder, with the names that the prepared lines use."""

    def __init__(self, folder: Path) -> None:
        sys.path[:0] = [str(ROOT / "tests" / name) for name in ("", "faults", "comfyui")]
        from faulty_server import html, redirect, reply, truncated  # type: ignore[import-not-found] # noqa: PLC0415 - on the path now
        from IPython.core.interactiveshell import InteractiveShell  # noqa: PLC0415 - after the environment is set
        from scripted_api import RUN, TOKEN, ScriptedApi  # type: ignore[import-not-found] # noqa: PLC0415
        from traitlets.config import Config  # noqa: PLC0415

        from comflowy_nb.settings import settings  # noqa: PLC0415

        self.folder = folder
        self.api = ScriptedApi()
        settings.retry_base_s, settings.retry_max_s, settings.retries = 0.001, 0.002, 1
        settings.lost_gap_s = 0.05
        # Minimal, because IPython takes most of the time to format tracebacks, which the page does not show.
        options = {"HistoryManager": {"enabled": False}, "InteractiveShell": {"xmode": "Minimal"}}
        self.shell = InteractiveShell.instance(config=Config(options))
        self.shell.run_cell("import comflowy_nb, numpy as np\nfrom comflowy_nb import connect, form, compare")
        # So that there are display handles, as in a notebook. ipywidgets 7, imported above, would need a real kernel.
        self.shell.kernel = object()
        self.shell.run_line_magic("load_ext", "comflowy_nb")
        self.setup_names = {
            "os": os, "sqlite3": sqlite3, "shell": self.shell, "api": self.api, "reply": reply, "html": html,
            "RUN": RUN, "TOKEN": TOKEN, "redirect": redirect, "truncated": truncated, "settings": settings,
            "write": self.write,
            "folder": folder, "home": folder / "home",
        }  # fmt: skip

    def error_of(self, cell: Cell) -> str:
        """Run a cell and return the error as the shell shows it; "" if there is none."""
        from IPython.utils.capture import capture_output  # noqa: PLC0415 - after the environment is set

        with capture_output() as captured:
            for line in cell.setup:
                exec(line, self.setup_names)  # noqa: S102 - the lines are ours
            if cell.source.startswith("$ "):
                return self.plain(self.error_of_command(cell.source.removeprefix("$ ")))
            result = self.shell.run_cell(cell.source)
        error = result.error_before_exec or result.error_in_exec
        if error is None:  # `%config` prints its errors
            return self.plain(captured.stderr.strip())
        lines = error._render_traceback_() if hasattr(error, "_render_traceback_") else None
        text = "\n".join(lines) if lines else f"{type(error).__name__}: {error}"
        return self.plain(text)

    def error_of_command(self, line: str) -> str:
        """Run a command of the terminal and return what it writes to stderr."""
        from comflowy_nb.cli.main import main  # noqa: PLC0415 - after the environment is set

        stderr = io.StringIO()
        with contextlib.redirect_stderr(stderr):
            main(shlex.split(line)[1:])
        return stderr.getvalue().strip()

    def plain(self, text: str) -> str:
        """Return a text without the parts that differ between executions."""
        text = text.replace(str(self.folder), "/path/to")
        return re.sub(r"127\.0\.0\.1:(?!9\b|8188\b|99999\b)\d+", "127.0.0.1:8000", text)

    def write(self, name: str, text: str) -> None:
        """Write a file of the folder."""
        (self.folder / name).write_text(text)

    def close(self) -> None:
        """Disconnect, and stop the servers."""
        self.shell.run_line_magic("unload_ext", "comflowy_nb")
        self.api.close()


def _nested(depth: int) -> str:
    """Return a graph with a value of deeply nested lists."""
    return f'{{"3": {{"class_type": "KSampler", "inputs": {{"cfg": {"[" * depth + "]" * depth}}}}}}}'


def make_files(folder: Path) -> None:
    """Write the files that the cells name."""
    import json  # noqa: PLC0415

    from PIL import Image  # noqa: PLC0415
    from PIL.PngImagePlugin import PngInfo  # noqa: PLC0415

    default = json.loads((PACKAGE / "workflow" / "builtin" / "default.json").read_text())
    img2img = (PACKAGE / "workflow" / "builtin" / "img2img.json").read_text()
    without_class = json.loads(json.dumps(default))
    del without_class["3"]["class_type"]
    in_editor_format = {"nodes": [{"id": 1, "type": "KSampler"}], "links": [], "version": 0.4}
    files = {
        "default.json": json.dumps(default),
        "img2img.json": img2img,
        "editor.json": json.dumps(in_editor_format),
        "wrapped.json": json.dumps({"workflow": in_editor_format}),
        "inputs.json": '{"3": {"class_type": "KSampler", "inputs": [7]}}',
        "nested.json": _nested(200),
        "string.json": json.dumps({"prompt": _nested(100)}),
        "deep.json": "[" * 5000 + "]" * 5000,
        "digits.json": f'{{"3": {{"class_type": "KSampler", "inputs": {{"seed": {"9" * 5000}}}}}}}',
        "look.yaml": "workflow: default\nfields:\n  cfg: [4, 5]\n",
        "broken.yaml": "workflow: default\nfields: [\n",
        "unknown.yaml": "workflow: default\nfeilds:\n  cfg: [4, 5]\n",
        "image.yaml": "workflow: default\nfields:\n  1::image: !image {file: plain.png}\n",
        "changed.yaml": "workflow: default\nfields:\n"
        "  1::image: !image {file: plain.png, name: plain.png, identity: '0', sha256: '0'}\n",
        "two.json": json.dumps({"a": default, "b": json.loads(img2img)}),
        "notes.json": '{"title": "my notes"}',
        "broken.json": '{"3": {"class_type": "KSampler",}',
        "without_class.json": json.dumps(without_class),
        "nan.json": '{"3": {"class_type": "KSampler", "inputs": {"cfg": NaN}}}',
        "notes.txt": "notes",
        "empty.txt": "# nothing else\n\n",
        "empty.csv": "cfg,steps\n",
        "semicolons.csv": "6::text;cfg\na cat;7\n",
        "short.csv": "6::text,cfg\na cat\na dog, brown,7\n",
        "quotes.csv": '6::text,cfg\n"a "red" cat",7\n',
        "twice.csv": "text_1,cfg,3::cfg\na,7,8\n",
        "header.csv": "cfg,cfg,\n7,8,9\n",
        "broken.jsonl": '{"cfg": 7\n[7]\n{"cfg": 7, "cfg": 8}\n',
        "values.csv": "cfg,steps,sampler_name\nwarm,20,euler\n7,2.5,eular\n",
        "moods.csv": "cfg,mood\n7,warm\n5,cold\n",
        "moods.yaml": "workflow: default\ntable: moods.csv\ninfo: [mood]\n",
        "pinned.yaml": "workflow: default\nfields:\n  cfg: [4, 5]\npinned: {3::seed: [1, 2, 3]}\n",
        "tables.yaml": "workflow: default\ntable: moods.csv\nrows: []\n",
        "fake.png": "not an image",
        "large.png": "x" * 2000,
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    for name in ("folder.json", "folder.png", "folder.yaml", "folder.html"):
        (folder / name).mkdir()
    (folder / "latin.yaml").write_bytes("workflow: é".encode("latin-1"))
    (folder / "latin.json").write_bytes('{"1": "é"}'.encode("latin-1"))
    image = Image.new("RGB", (64, 48), "teal")
    image.save(folder / "plain.png")
    texts = {
        "other.png": ("prompt", "a cat"),
        "editor.png": ("workflow", json.dumps(in_editor_format)),
        "params.png": ("comflowy", '{"params": {"3::cfg": 7}}'),
        "settings.png": ("parameters", "a cat\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 64x64"),
    }
    for name, (key, text) in texts.items():
        chunks = PngInfo()
        chunks.add_text(key, text)
        image.save(folder / name, pnginfo=chunks)


def page(cells: list[Cell], errors: list[str]) -> str:
    """Return the text of the page."""
    parts = [INTRODUCTION]
    heading = ""
    for cell, error in zip(cells, errors, strict=True):
        if cell.heading != heading:
            heading = cell.heading
            parts.append(f"## {heading}\n")
        shown = "\n".join(
            wrapped for line in error.splitlines() for wrapped in textwrap.wrap(line, WIDTH,
                replace_whitespace=False, break_long_words=False, subsequent_indent="    ") or [""]
        )  # fmt: skip
        parts.append(f"```text\n{cell.source}\n\n{shown}\n```\n")
    return "\n".join(parts)


def main() -> int:
    """Write the page, or compare it."""
    check = "--check" in sys.argv
    folder = Path(tempfile.mkdtemp(prefix="comflowy-errors-"))
    for name in [name for name in os.environ if name.startswith("COMFLOWY_")]:
        del os.environ[name]
    os.environ.update(COMFLOWY_HOME=str(folder / "home"), PYTHON_KEYRING_BACKEND="keyring.backends.null.Keyring")
    os.environ["IPYTHONDIR"] = str(folder / "ipython")
    make_files(folder)
    os.chdir(folder)
    made = record_errors()
    notebook = Notebook(folder)
    try:
        cells = read_cells(CELLS.read_text(encoding="utf-8"))
        errors = [notebook.error_of(cell) for cell in cells]
    finally:
        notebook.close()
        os.chdir(ROOT)
        shutil.rmtree(folder, ignore_errors=True)
    silent = [cell.source for cell, error in zip(cells, errors, strict=True) if not error]
    excused = read_excuses(EXCUSES.read_text(encoding="utf-8"))
    statements = list(raises())
    unreached = missing(made, excused, statements)
    unused = sorted(excused - {place(path, function) for path, function, *_ in statements})
    text = page(cells, errors)
    is_new = not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text
    if not check:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(text, encoding="utf-8")
    for source in silent:
        print(f"this cell raises nothing: {source}")
    for name in unreached:
        print(f"neither provoked nor excused: {name}")
    for name in unused:
        print(f"excused, but not in the package: {name}")
    if check and is_new:
        print("docs/reference/errors.md is out of date: make errors")
    print(f"{len(cells)} cells, {len(silent)} raise nothing, {len(unreached)} raises neither provoked nor excused")
    return 1 if silent or unreached or unused or (check and is_new) else 0


if __name__ == "__main__":
    sys.exit(main())
