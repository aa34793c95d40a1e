"""Read and write the keys of a sweep file that determine its cells: `table`, `lines`, `zip`, `where` and others.

    table: {file: prompts.csv, sha256: 9f86d0...}
    info: [mood]
    lines: {6::text: prompts.txt}
    zip: [[cfg, steps]]
    where: cfg < 6 or steps > 20
    sample: 40

The path of a file is relative to the sweep file. If there is a sha256 and the file has changed, there is a warning.
`rows` contains the rows of a table in the sweep file itself.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from comflowy_nb.errors import WorkflowError
from comflowy_nb.settings import expand_home
from comflowy_nb.workflow.syntax.json_values import read_untyped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from comflowy_nb.workflow.axes.selection import CellOptions
    from comflowy_nb.workflow.axes.types import Axes, Axis


CELL_KEYS = ("table", "rows", "info", "empty", "lines", "zip", "where", "sample", "sample_seed", "pinned")
_OPTION_OF = {"rows": "table", "zip": "zipped"}


class NodeReader:
    """Reads the YAML nodes of a file. Every error contains the file and the line."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def _where(self, node: Any) -> str:
        return f"{self._file.name}, line {node.start_mark.line + 1}"

    def _fail(self, node: Any, problem: str) -> NoReturn:
        where = self._where(node) if node is not None else self._file.name  # an empty file has no node
        raise WorkflowError(f"{where}: {problem}")

    def _scalar(self, node: Any, name: str, key_node: Any = None) -> str:
        if not isinstance(node, ScalarNode):
            self._fail(key_node or node, f"{name} must be one value")
        return str(node.value)


class CellReader(NodeReader):
    """Reads the keys of a sweep file that determine the cells.

    Parameters
    ----------
    read_value
        Returns the value of a node that is not a plain text, such as `!image`.
    """

    def __init__(self, file: Path, read_value: Callable[[Any], Any]) -> None:
        super().__init__(file)
        self._folder = file.parent
        self._read_value = read_value
        self.warnings: list[str] = []

    def read(self, parts: Mapping[str, Any]) -> CellOptions:
        """Return the options, from the YAML nodes by key."""
        readers: dict[str, Callable[[Any], Any]] = {
            "table": lambda node: self._path(node, "table"),
            "rows": lambda node: [self._row(row) for row in self._items(node, "rows")],
            "info": lambda node: [self._scalar(item, "info") for item in self._items(node, "info")],
            "empty": lambda node: self._scalar(node, "empty"),
            "lines": lambda node: {name: self._lines(part) for name, part in self._pairs(node, "lines")},
            "zip": lambda node: [self._names(group) for group in self._items(node, "zip")],
            "where": lambda node: self._scalar(node, "where"),
            "sample": lambda node: self._number(node, "sample"),
            "sample_seed": lambda node: self._number(node, "sample_seed"),
            "pinned": lambda node: {name: self._seeds(part) for name, part in self._pairs(node, "pinned")},
        }
        if "table" in parts and "rows" in parts:
            self._fail(parts["rows"], "a sweep file has table or rows, not both")
        values: Any = {_OPTION_OF.get(key, key): readers[key](node) for key, node in parts.items()}
        if values.get("empty", "missing") not in {"missing", "text"}:
            self._fail(parts["empty"], "empty is missing or text")
        options: CellOptions = values
        return options

    def _path(self, node: Any, key: str) -> str:
        """Return the path of a file, and warn if its content has changed."""
        if not isinstance(node, MappingNode):
            return str(self._folder / self._scalar(node, key))
        parts = dict(self._pairs(node, key))
        if not {"file"} <= set(parts) <= {"file", "sha256"}:
            self._fail(node, f"{key} is a file, as in {key}: prompts.csv or {key}: {{file: prompts.csv, sha256: ...}}")
        name = self._scalar(parts["file"], key)
        path = self._folder / name
        if "sha256" in parts and path.is_file() and sha256_of(path) != self._scalar(parts["sha256"], "sha256"):
            self.warnings.append(f"{name} has changed since this sweep file was written")
        return str(path)

    def _lines(self, node: Any) -> str | list[str]:
        if isinstance(node, SequenceNode):
            return [self._scalar(item, "a line") for item in node.value]
        return self._path(node, "lines")

    def _row(self, node: Any) -> dict[str, Any]:
        return {name: self._value(part) for name, part in self._pairs(node, "a row")}

    def _value(self, node: Any) -> Any:
        if isinstance(node, ScalarNode) and not str(node.tag).startswith("!"):
            return node.value if node.style else read_untyped(node.value)
        return self._read_value(node)

    def _names(self, node: Any) -> list[str]:
        if isinstance(node, ScalarNode):
            return [name.strip() for name in node.value.split(",")]
        return [self._scalar(item, "zip") for item in self._items(node, "zip")]

    def _seeds(self, node: Any) -> int | list[int]:
        if isinstance(node, SequenceNode):
            return [self._number(item, "pinned") for item in node.value]
        return self._number(node, "pinned")

    def _number(self, node: Any, key: str) -> int:
        text = self._scalar(node, key)
        if not text.isdecimal() or len(text) > 20:  # 2**64 has 20 digits
            self._fail(node, f"{key} is a whole number, 0 or greater")
        return int(text)

    def _items(self, node: Any, key: str) -> Sequence[Any]:
        if not isinstance(node, SequenceNode):
            self._fail(node, f"{key} must be a list")
        items: Sequence[Any] = node.value
        return items

    def _pairs(self, node: Any, key: str) -> list[tuple[str, Any]]:
        if not isinstance(node, MappingNode):
            self._fail(node, f"{key} must be a mapping, KEY: VALUE")
        return [(self._scalar(name, key), value) for name, value in node.value]


def write_cells(
    file: Path, axes: Axes, cells: CellOptions, write_value: Callable[[Any], str], pinned: Mapping[str, Sequence[int]]
) -> Iterator[str]:
    """Yield lines of a sweep file that `CellReader` reads as the same options.

    Parameters
    ----------
    file
        The sweep file.
    cells
        The options of the sweep. Tables and files of lines are written as paths, not copied.
    write_value
        Returns a value as YAML.
    pinned
        Field id -> the generated seed of each cell, so that the seeds are not generated again.
    """
    for axis in axes.simple:
        if axis.kind == "rows":
            yield from _rows(file, axis, cells, write_value)
    yield from _lines(file, [axis for axis in axes.simple if axis.kind == "lines"], cells)
    groups = [[part.name for part in axis.parts] for axis in axes.axes if axis.parts]
    if groups:
        yield f"zip: [{', '.join(map(_list, groups))}]"
    if axes.where is not None:
        yield f"where: {quote(axes.where)}"
    if axes.sample is not None:
        yield f"sample: {axes.sample}"
        yield f"sample_seed: {axes.sample_seed}"
    seeds = {**axes.pinned, **pinned}
    if seeds:
        yield "pinned:"
        for name, values in seeds.items():
            yield f"  {quote(name)}: {values[0] if len(set(values)) == 1 else list(values)}"


def _lines(file: Path, axes: Sequence[Axis], cells: CellOptions) -> Iterator[str]:
    if axes:
        yield "lines:"
    for axis in axes:
        source = cells.get("lines", {}).get(axis.name)
        texts = [next(iter(value.params.values())) for value in axis.values]
        yield f"  {quote(axis.name)}: {_named_file(file, source) if isinstance(source, (str, Path)) else _list(texts)}"


def _rows(file: Path, axis: Axis, cells: CellOptions, write_value: Callable[[Any], str]) -> Iterator[str]:
    info = list(dict.fromkeys(name for value in axis.values for name in value.info))
    table = cells.get("table")
    if isinstance(table, (str, Path)):
        yield f"table: {_named_file(file, table)}"
        if "empty" in cells:
            yield f"empty: {cells['empty']}"
    else:
        yield "rows:"
        for value in axis.values:
            columns = {name: write_value(param) for name, param in value.params.items()}
            if value.is_named:
                columns["label"] = quote(value.label)
            columns |= {name: quote(text) for name, text in value.info.items()}
            pairs = ", ".join(f"{quote(name)}: {text}" for name, text in columns.items())
            yield f"  - {{{pairs}}}"
    if info:
        yield f"info: {_list(info)}"


def quote(text: str) -> str:
    """Return a text in double quotes: a JSON string with YAML's escapes for characters that are not printable."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in quoted)


def _list(texts: Sequence[str]) -> str:
    return f"[{', '.join(map(quote, texts))}]"


def _named_file(file: Path, source: str | Path) -> str:
    """Return the path of a file relative to the sweep file, and the hash of its content."""
    path = expand_home(source)
    relative = Path(os.path.relpath(path.resolve(), file.resolve().parent)).as_posix()
    return f"{{file: {quote(relative)}, sha256: {sha256_of(path)}}}"


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
