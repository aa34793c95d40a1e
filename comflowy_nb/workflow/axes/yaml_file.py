"""Read and write sweep files: YAML with the workflow, the fields as in a body, and the options.

    workflow: default
    name: bottles
    x: cfg
    fields:
      cfg: 2..8..2
      sampler_name: [euler, heun]
      prompt: {day: "glass bottle, noon", night: "glass bottle, stars"}
      seed: random#3

`{name}` is not expanded. A plain text is parsed as in a body. A text in quotes, or below `|` or `>`, is never split.
`!json` marks a quoted text that is a JSON value; `!image` is an image that was saved with the file.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, get_args

from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from comflowy_nb.errors import ImageError, WorkflowError, nearest_tip, write_problem
from comflowy_nb.settings import expand_home
from comflowy_nb.status import Retry
from comflowy_nb.workflow.axes.selection import CellOptions
from comflowy_nb.workflow.axes.yaml_cells import CELL_KEYS, CellReader, NodeReader, quote, write_cells
from comflowy_nb.workflow.fields import split_id
from comflowy_nb.workflow.files import (
    MAX_YAML_BYTES,
    bounded_yaml,
    check_new,
    read_typed_file,
    write_text,
    yaml_problem,
)
from comflowy_nb.workflow.images import InputImage, label_images, open_saved_image, saved_parts
from comflowy_nb.workflow.syntax.json_values import TOO_DEEP, as_json, shown
from comflowy_nb.workflow.syntax.lists import Item, Labelled, MultipleValues, Setting
from comflowy_nb.workflow.syntax.ranges import is_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from comflowy_nb.workflow.axes.types import Axes, Axis, AxisValue
    from comflowy_nb.workflow.syntax.lists import ParsedValue


_WHOLE_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]{0,14})\.0")  # as Python writes them
_PLAIN_KEY = re.compile(r"[A-Za-z_0-9]+(?:::[A-Za-z_0-9]+)?")

_TEXT = (r"(?s).+", str, "a text")
_COUNT = (r"[1-9][0-9]{0,8}", int, "a whole number, 1 or greater")
FILE_OPTIONS: dict[str, tuple[str, Callable[[str], Any], str]] = {  # pattern, conversion, what is accepted
    "name": _TEXT,
    "x": _TEXT,
    "y": _TEXT,
    "z": _TEXT,
    "fresh": (r"(?i)true|false", lambda text: text.lower() == "true", "true or false"),
    "retry": ("|".join(get_args(Retry)), str, f"one of {', '.join(get_args(Retry))}"),
    "max_runs": _COUNT,
    "stop_after": (r"[0-9]{1,9}", int, "a whole number, 0 or greater"),
    "window": _COUNT,
}


@dataclass(frozen=True, slots=True)
class SweepFile:
    """The content of a sweep file: workflow name, arguments for `read_axes`, and other options."""

    workflow: str
    settings: list[Setting]
    options: dict[str, Any] = field(default_factory=dict)
    cells: CellOptions = field(default_factory=CellOptions)
    warnings: tuple[str, ...] = ()


def read_sweep_file(path: str | Path) -> SweepFile:
    """Read a sweep file.

    Raises
    ------
    WorkflowError
        If the file does not exist or is not a valid sweep file. The text contains the file and the line.
    """
    file, text = read_typed_file(path, MAX_YAML_BYTES)
    try:
        return _FileReader(file, text).sweep(bounded_yaml().compose(text))
    except (YAMLError, ValueError, RecursionError) as error:
        line, problem = yaml_problem(error, text)
        raise WorkflowError(f"{file.name}{line}: {problem}") from None


def _is_plain_text(node: Any) -> bool:
    """Return True for a value without quotes and tag, which is parsed as in a body; False for floats like 2.0."""
    is_plain = isinstance(node, ScalarNode) and not node.style and not str(node.tag).startswith("!")
    return is_plain and not _WHOLE_FLOAT.fullmatch(node.value)


class _FileReader(NodeReader):
    """Reads a whole sweep file."""

    def __init__(self, file: Path, text: str) -> None:
        super().__init__(file)
        self._text = text

    def sweep(self, root: Any) -> SweepFile:
        if not isinstance(root, MappingNode):
            self._fail(root, "a sweep file contains workflow: NAME and fields: with one FIELD: VALUES in each line")
        parts = self._pairs(root)
        options: dict[str, Any] = {}
        for key, (key_node, node) in parts.items():
            if key in {"workflow", "fields", *CELL_KEYS}:
                continue
            if key not in FILE_OPTIONS:
                keys = ["workflow", "fields", *FILE_OPTIONS, *CELL_KEYS]
                tip = nearest_tip(key, keys) or f": use {', '.join(keys)}"
                self._fail(key_node, f"unknown key {key!r} in a sweep file{tip}")
            pattern, convert, accepted = FILE_OPTIONS[key]
            text = self._scalar(node, key, key_node)
            if not re.fullmatch(pattern, text):
                self._fail(key_node, f"{key} is {accepted}, not {shown(text)}")
            options[key] = convert(text)
        if "workflow" not in parts:
            self._fail(root, "workflow: NAME is missing")
        key_node, node = parts["workflow"]
        workflow = self._scalar(node, "workflow", key_node)
        if not workflow:
            self._fail(key_node, "workflow is empty")
        settings = self._settings(parts["fields"][1]) if "fields" in parts else []
        reader = CellReader(self._file, self._exact)
        cells = reader.read({key: value for key, (_, value) in parts.items() if key in CELL_KEYS})
        return SweepFile(workflow, settings, options, cells, tuple(reader.warnings))

    def _exact(self, node: Any) -> Any:
        """Return the value of a node with a tag."""
        value = self._read(node)
        if not isinstance(value, Item):
            self._fail(node, "one value is expected here")
        return value.value

    def _settings(self, node: Any) -> list[Setting]:
        if isinstance(node, ScalarNode) and not node.value:
            return []
        if not isinstance(node, MappingNode):
            self._fail(node, "fields must be a mapping with one FIELD: VALUES in each line")
        settings = []
        for key, (key_node, value) in self._pairs(node).items():
            where, key_where = self._where(value), self._where(key_node)
            if _is_plain_text(value):
                plain = (value.value, False)
                settings.append(Setting(key, value.value, where=where, plain=plain, key_where=key_where))
            else:
                settings.append(Setting(key, self._read(value), where=where, is_python_value=True, key_where=key_where))
        return settings

    def _read(self, node: Any) -> ParsedValue:
        tag = str(node.tag)
        if tag == "!json":
            try:
                content = as_json(json.loads(self._scalar(node, "!json")))
            except (ValueError, RecursionError):
                self._fail(node, f"{shown(node.value)} is not JSON, or {TOO_DEEP}")
            return Item(content, is_python_value=True, exact=True)
        if tag == "!image":
            parts = {key: self._scalar(part, key) for key, (_, part) in self._pairs(node).items()}
            try:
                return Item(open_saved_image(self._file.parent, parts), is_python_value=True, exact=True)
            except ImageError as error:
                self._fail(node, str(error))
        if tag.startswith("!"):
            self._fail(node, f"unknown tag {tag}; use !json or !image")
        if isinstance(node, MappingNode):
            return Labelled(tuple((key, self._read(part)) for key, (_, part) in self._pairs(node).items()))
        if isinstance(node, SequenceNode):
            text = self._text[node.start_mark.index : node.end_mark.index] if node.flow_style else None
            return MultipleValues(tuple(self._read(part) for part in node.value), text)
        if not node.style and _WHOLE_FLOAT.fullmatch(node.value):
            return Item(float(node.value), is_python_value=True, where=self._where(node))
        return Item(node.value, quoted=bool(node.style), where=self._where(node))

    def _pairs(self, node: Any) -> dict[str, tuple[Any, Any]]:
        """Return a mapping from key to the YAML nodes of the key and the value."""
        if not isinstance(node, MappingNode):
            self._fail(node, "a mapping, KEY: VALUE, is expected here")
        pairs: dict[str, tuple[Any, Any]] = {}
        for key_node, value in node.value:
            key = self._scalar(key_node, "a key")
            if key in pairs:
                self._fail(key_node, f"duplicate key {key!r}")
            pairs[key] = key_node, value
        return pairs


def write_sweep_file(
    path: str | Path,
    *,
    workflow: str,
    axes: Axes,
    options: Mapping[str, Any] | None = None,
    cells: CellOptions | None = None,
    pinned: Mapping[str, Sequence[int]] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a file that `read_sweep_file` and `read_axes` read as the same axes.

    Parameters
    ----------
    path
        The file, written atomically. Images are saved in a folder beside it.
    workflow
        The name of the workflow.
    options
        Options of a sweep file; None for an option that is not set.
    cells
        The options of the sweep. Their files are written as paths, not copied.
    pinned
        Field id -> the generated seed of each cell (`--pin`).
    overwrite
        Whether to replace a file that has another content.

    Raises
    ------
    WorkflowError
        If another file has this name, it can't be written, or an option is unknown.
    """
    file = expand_home(path)
    explicit = {name: value for name, value in (options or {}).items() if value is not None}
    unknown = [name for name in explicit if name not in FILE_OPTIONS]
    if unknown:
        raise WorkflowError(f"a sweep file has no option {unknown[0]}")
    try:
        lines = [f"workflow: {quote(workflow)}"]
        lines += [f"{name}: {_scalar(value)}" for name, value in explicit.items()]
        writer = _Writer(file, axes)
        lines += write_cells(file, axes, cells or {}, writer.value, pinned or {})
        fields = [f"  {line}" for line in writer.lines()]
        lines += ["fields:", *fields] if fields else []
        text = "\n".join(lines) + "\n"
        check_new(file, text, overwrite=overwrite)
        for name, image in writer.images.items():
            saved = file.parent / name
            saved.parent.mkdir(parents=True, exist_ok=True)
            saved.write_bytes(image.load())
        write_text(file, text)
    except OSError as error:
        raise WorkflowError(f"{file.name} can't be written: {write_problem(error, file.parent)}") from error


class _Writer:
    """Write axes as lines of YAML, and collect their images by the names of their files."""

    def __init__(self, file: Path, axes: Axes) -> None:
        self._file = file
        self._axes = axes
        self.images: dict[str, InputImage] = {}

    def lines(self) -> Iterator[str]:
        """Yield the lines of the fields, in the order in which they were set."""
        before = [name for name in self._axes.fixed if name not in self._axes.set_params]
        done: set[str] = set()
        for name in [*before, *self._axes.set_params]:
            if name in done:
                continue
            axes = [axis for axis in self._axes.simple if name in axis.fields and axis.kind not in {"rows", "lines"}]
            word = next((word for word in self._axes.seeds if name in word.fields), None)
            if word is not None:
                done.update(word.fields)
                yield f"{_key(_shared_key(word.fields))}: {word.word}"
            elif axes:
                done.update(*(axis.fields for axis in axes))
                yield from self._replace(axes) if axes[0].kind == "replace" else self._axis(axes[0])
            elif name in self._axes.fixed:
                done.add(name)
                yield f"{_key(name)}: {self.value(self._axes.fixed[name])}"

    def _axis(self, axis: Axis) -> Iterator[str]:
        if axis.kind == "seeds":
            yield f"{_key(axis.name)}: random#{len(axis.values)}"
        elif axis.kind == "preset":
            yield f"{_key(axis.name)}:"
            for value in axis.values:
                fields = ", ".join(f"{_key(name)}: {self.value(param)}" for name, param in value.params.items())
                yield f"  {_key(value.label)}: {{{fields}}}"
        else:
            yield from self._values(
                axis.name, axis.values, [self.value(value.params[axis.fields[0]]) for value in axis.values]
            )

    def _replace(self, axes: Sequence[Axis]) -> Iterator[str]:
        fields = axes[0].fields
        texts = {self._axes.texts[name] for name in fields}
        yield f"{_key(_shared_key(fields))}:"
        if len(texts) == 1:  # otherwise these are the values of the workflow
            yield f"  in: {quote(texts.pop())}"
        yield "  replace:"
        for axis in axes:
            for line in self._values(axis.name, axis.values, [quote(value.word or "") for value in axis.values]):
                yield f"    {line}"

    def _values(self, key: str, values: Sequence[AxisValue], texts: Sequence[str]) -> Iterator[str]:
        if any(value.is_named for value in values) or not _name_themselves(values):
            yield f"{_key(key)}:"
            yield from (f"  {_key(value.label)}: {text}" for value, text in zip(values, texts, strict=True))
        elif all(map(is_number, texts)):
            yield f"{_key(key)}: [{', '.join(texts)}]"
        else:
            yield f"{_key(key)}:"
            yield from (f"  - {text}" for text in texts)

    def value(self, value: Any) -> str:
        if not isinstance(value, InputImage):
            return _scalar(value)
        parts = saved_parts(self._file, value)
        self.images[parts["file"]] = value
        return f"!image {{{', '.join(f'{key}: {quote(text)}' for key, text in parts.items())}}}"


def _name_themselves(values: Sequence[AxisValue]) -> bool:
    """Return True if the labels of the images follow from their names, which are all that the file stores."""
    firsts = [(next(iter(value.params.values()), None), value.label) for value in values]  # all fields are equal
    images = [(image, label) for image, label in firsts if isinstance(image, InputImage)]
    labels = label_images([replace(image, source="") for image, _ in images])
    return labels == [label for _, label in images]


def _shared_key(fields: Sequence[str]) -> str:
    """Return a key that sets all these fields, such as `all::seed`."""
    return fields[0] if len(fields) == 1 else f"all::{split_id(fields[0])[1]}"


def _key(key: str) -> str:
    return key if _PLAIN_KEY.fullmatch(key) else quote(key)


def _scalar(value: Any) -> str:
    """Return a value as YAML. Images are handled by the caller."""
    if isinstance(value, str):
        return quote(value)
    text = json.dumps(value)
    return text if value is None or isinstance(value, (bool, int, float)) else f"!json {quote(text)}"
