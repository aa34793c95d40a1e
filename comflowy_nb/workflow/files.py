"""Read files that the user names, with limits and in common encodings, and write files atomically.

An atomic write creates a locked `*.part` file beside its target and renames it when it is complete. A `*.part` file
of a dead process is recognised by its free lock.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import stat
import sys
import uuid
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, NodeEvent
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.scanner import Scanner

from comflowy_nb.errors import WorkflowError, did_you_mean, nearest, option
from comflowy_nb.settings import expand_home
from comflowy_nb.workflow.syntax.json_values import MAX_DEPTH, TOO_DEEP

if TYPE_CHECKING:
    from collections.abc import Iterator

if sys.platform != "win32":
    import fcntl


MAX_JSON_BYTES = 16 * 1024 * 1024
MAX_YAML_BYTES = 1024 * 1024  # parsing this much YAML takes about ten seconds
_MAX_COMPARED_NAMES = 2000  # names in a folder to compare with the name of a missing file
_NOT_REGULAR = "it is not a regular file"
_MAX_YAML_NODES = 100_000  # with every alias expanded

_FILE_NAME = re.compile(
    r".*\.(?:png|jpe?g|webp|gif|bmp|tiff?|avif|jxl|mp4|webm|json|jsonl|ya?ml|csv|tsv|parquet|txt|html?|zip|ipynb)",
    re.IGNORECASE | re.DOTALL,
)
# Context of a YAML error that is detected after its line -> problem; None keeps the problem of ruamel.yaml.
_UNCLOSED = {
    "while parsing a flow sequence": "the bracket [ is not closed, or a comma is missing",
    "while parsing a flow mapping": "the bracket { is not closed, or a comma is missing",
    "while parsing a flow node": "a value is missing here, or a bracket above is not closed",
    "while scanning a quoted scalar": "the quote is not closed",
    "while scanning a simple key": None,
}
_BOM = re.compile(r"\A(\s*)\ufeff+")


# -- reading -------------------------------------------------------------------------------------------------------


def decode_text(content: bytes) -> str:
    """Decode UTF-8, UTF-16 or UTF-32, with or without a BOM, and convert line ends to line feeds.

    Windows PowerShell writes UTF-16 where output is redirected to a file.

    Raises
    ------
    UnicodeDecodeError
        If the content is in another encoding.
    """
    text = content.decode(json.detect_encoding(content))  # also valid for YAML: its first two characters are ASCII
    return without_bom(text.replace("\r\n", "\n").replace("\r", "\n"))


def without_bom(text: str) -> str:
    """Remove a BOM before the first character that is not white space. Pasted text may contain one."""
    return _BOM.sub(r"\1", text)


def read_text(path: Path, max_bytes: int) -> str:
    """Return the text of a regular file in UTF-8, UTF-16 or UTF-32.

    Devices and pipes are rejected, because a read may block or never end.

    Raises
    ------
    OSError
        If the file can't be read, is not a regular file, or is larger than `max_bytes`. `strerror` is the reason.
    UnicodeDecodeError
        If it is in another encoding.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OSError(errno.EINVAL, _NOT_REGULAR)
    with path.open("rb") as file:  # raises IsADirectoryError for a folder
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {max_bytes // 1024**2} MiB")
    return decode_text(content)


def read_named_text(path: Path, max_bytes: int, name: str) -> str:
    """Return the text of a file, as `read_text` does. `name` is its name in errors.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    WorkflowError
        If the file can't be read, or is in another encoding.
    """
    try:
        return read_text(path, max_bytes)
    except FileNotFoundError:
        raise
    except UnicodeDecodeError as error:
        raise WorkflowError(f"{name} is not text in UTF-8, UTF-16 or UTF-32; save it in UTF-8") from error
    except OSError as error:
        is_folder = isinstance(error, IsADirectoryError)
        reason = "is a folder, not a file" if is_folder else f"can't be read: {error.strerror}"
        raise WorkflowError(f"{name} {reason}") from error


def read_typed_file(typed: str | os.PathLike[str], max_bytes: int) -> tuple[Path, str]:
    """Return the path and the text of a file that the user named, such as a graph or a sweep file.

    Raises
    ------
    WorkflowError
        If the file does not exist, can't be read, or is in another encoding.
    """
    file = expand_home(typed)
    try:
        return file, read_named_text(file, max_bytes, file.name or repr(str(typed)))
    except FileNotFoundError:
        raise WorkflowError(no_such_file(typed)) from None


def is_file_name(text: str) -> bool:
    """Return True if a text has the suffix of an image, a graph, a table or another file that users name."""
    return _FILE_NAME.fullmatch(text) is not None


def no_such_file(typed: str | os.PathLike[str], what: str = "file") -> str:
    """Return the error for a file that does not exist, with similar names in its folder, or is not a regular file."""
    path = Path(typed)
    text = f"there is no {what} {str(typed)!r}"
    with contextlib.suppress(OSError, ValueError):  # no such folder, or an invalid name
        if expand_home(path).is_dir():
            return f"{str(typed)!r} is a folder, not a file"
        if expand_home(path).exists():
            return f"{str(typed)!r} can't be read: {_NOT_REGULAR}"
        with os.scandir(expand_home(path).parent) as entries:
            names = [entry.name for entry in islice(entries, _MAX_COMPARED_NAMES)]
        same_kind = [name for name in names if Path(name).suffix.lower() == path.suffix.lower()]
        near = [str(path.with_name(name)) for name in nearest(path.name, sorted(same_kind))]
        return text + did_you_mean(near)
    return text


def bounded_yaml(typ: str = "safe") -> YAML:
    """Return a YAML parser that raises MarkedYAMLError for deep nesting and for aliases that expand too far."""
    yaml = YAML(typ=typ, pure=True)
    yaml.Scanner = type("BoundedScanner", (_BoundedScanner, yaml.Scanner or Scanner), {})
    yaml.Parser = type("BoundedParser", (_BoundedParser, yaml.Parser), {})
    return yaml


def yaml_problem(error: Exception, text: str) -> tuple[str, str]:
    """Return the line of a YAML error as `, line 3`, and its text. Some errors are detected only on a later line."""
    if isinstance(error, ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return f", line {line}", f"the character {chr(error.character)!r} is not allowed"
    if not isinstance(error, MarkedYAMLError):
        return "", str(error).strip().partition("\n")[0] or "this is not YAML"
    problem = error.problem or error.context or "this is not YAML"
    mark = error.problem_mark or error.context_mark
    if error.context_mark is not None and error.context in _UNCLOSED:
        mark, problem = error.context_mark, _UNCLOSED[error.context] or f"{error.context}: {problem}"
    if mark is None:
        return "", problem
    number = mark.line + 1
    if problem.startswith("mapping values are not allowed"):
        above = [(index, line) for index, line in enumerate(text.splitlines()[: mark.line], 1) if line.strip()]
        if above and not re.search(r":(\s|$)|^\s*#", above[-1][1]):
            number, problem = above[-1][0], "KEY: VALUE is expected here, but the colon is missing"
    return f", line {number}", problem


class _BoundedParser:
    """Mixin for a parser of ruamel.yaml that counts nodes before the composer creates them."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._open: list[tuple[str | None, int]] = []  # open collections: anchor, and number of nodes before it
        self._nodes = 0
        self._nodes_of: dict[str, int] = {}  # anchor -> number of nodes that an alias of it expands to

    def get_event(self) -> Any:
        event = super().get_event()  # type: ignore[misc]
        problem = self._count(event)
        if problem is not None:
            raise MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        return event

    def _count(self, event: Any) -> str | None:
        if isinstance(event, AliasEvent):
            if any(anchor == event.anchor for anchor, _ in self._open):
                return f"the alias *{event.anchor} refers to a node that contains it"
            self._nodes += self._nodes_of.get(event.anchor, 1)
        elif isinstance(event, CollectionEndEvent):
            anchor, before = self._open.pop()
            if anchor is not None:
                self._nodes_of[anchor] = self._nodes - before
        elif isinstance(event, NodeEvent):
            self._nodes += 1
            if isinstance(event, CollectionStartEvent):
                self._open.append((event.anchor, self._nodes - 1))
                if len(self._open) > MAX_DEPTH:
                    return TOO_DEEP
            elif event.anchor is not None:
                self._nodes_of[event.anchor] = 1
        if self._nodes > _MAX_YAML_NODES:
            return f"it has more than {_MAX_YAML_NODES:,} values with aliases expanded"
        return None


class _BoundedScanner:
    """Mixin for a scanner that limits open brackets, because its time is quadratic in their number."""

    def fetch_flow_collection_start(self, *args: Any, **options: Any) -> None:
        if len(self.flow_context) == MAX_DEPTH:  # type: ignore[attr-defined]
            raise MarkedYAMLError(problem=TOO_DEEP, problem_mark=self.reader.get_mark())  # type: ignore[attr-defined]
        super().fetch_flow_collection_start(*args, **options)  # type: ignore[misc]


# -- writing -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def atomic_write(path: Path, *, mode: int = 0o666) -> Iterator[Path]:
    """Yield a temporary path. Rename it to `path` if the block succeeds; delete it if the block raises."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    with locked_file(part, mode=mode):
        yield part
        part.replace(path)


@contextlib.contextmanager
def locked_file(part: Path, *, mode: int = 0o666) -> Iterator[None]:
    """Create a file, and lock it against `remove_leftovers` during the block. Delete it if the block raises."""
    descriptor = _create_and_lock(part, mode)
    try:
        yield
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    finally:
        if descriptor is not None:
            os.close(descriptor)


def write_file(path: Path, content: bytes) -> None:
    """Write a file atomically, without flushing it to disk."""
    with atomic_write(path) as part:
        part.write_bytes(content)


def check_new(path: Path, content: str, *, overwrite: bool) -> None:
    """Check that writing a file does not replace a file with another content.

    Raises
    ------
    FileExistsError
        If a file with another content exists, and `overwrite` is false; `strerror` names the option.
    """
    if overwrite or not path.exists() or path.is_dir():  # writing to a folder fails with its own error
        return
    encoded = content.encode()
    if path.stat().st_size != len(encoded) or path.read_bytes() != encoded:
        advice = f"{option('overwrite', value=True)} replaces it, or use another name"
        raise FileExistsError(errno.EEXIST, f"a different file with this name exists; {advice}")


def new_folder(path: str | Path) -> str:
    """Return ` in the new folder NAME`, as text after a file name, if its folder does not exist; else ""."""
    folder = expand_home(path).parent
    return "" if folder.exists() else f" in the new folder {folder.name}"


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically and flush it to disk, so that readers see either the old or the new content.

    Raises
    ------
    OSError
        If the file can't be written. The old content is kept.
    """
    path = path.resolve()  # keep a symbolic link
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, mode=0o600) as part:
        with part.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)


def remove_leftovers(folder: Path, pattern: str = "*.part") -> None:
    """Remove the files matching `pattern` that no process is writing."""
    for part in folder.glob(pattern):
        with contextlib.suppress(OSError):  # a folder, or removed or locked by another process
            _remove_if_unlocked(part)


if sys.platform == "win32":  # an open file can't be removed there, so no lock is needed

    def _create_and_lock(_part: Path, _mode: int) -> int | None:
        return None

    def _remove_if_unlocked(part: Path) -> None:
        part.unlink()

else:

    def _create_and_lock(part: Path, mode: int) -> int | None:
        while True:
            descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode)
            with contextlib.suppress(OSError):  # no lock support: `remove_leftovers` fails to lock too, and skips it
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if part.exists():
                return descriptor
            os.close(descriptor)  # another process removed it as a leftover before it was locked

    def _remove_if_unlocked(part: Path) -> None:
        descriptor = os.open(part, os.O_RDWR | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink()
        finally:
            os.close(descriptor)
