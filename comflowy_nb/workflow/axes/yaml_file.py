"""Sweep files for the terminal: YAML with the workflow, the fields as in a body, and the options.

    workflow: default
    name: bottles
    x: cfg
    fields:
      cfg: 2..8..2
      sampler_name: [euler, heun]
      prompt: {day: "glass bottle, noon", night: "glass bottle, stars"}
      seed: random#3

Nothing is expanded. A plain text is read as in a body; a text in quotes, or below `|` or `>`, is never split. `!json`
before a quoted text is that JSON value; `!image` is an image that was saved with the file.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from comflowy_nb.errors import ImageError, WorkflowError
from comflowy_nb.workflow.axes.images import label_images, read_image, save_image
from comflowy_nb.workflow.fields import nearest, split_id
from comflowy_nb.workflow.files import MAX_YAML_BYTES, bounded_yaml, read_text, write_text
from comflowy_nb.workflow.images import InputImage
from comflowy_nb.workflow.syntax.json_values import TOO_DEEP, as_json, shown
from comflowy_nb.workflow.syntax.lists import Item, Labelled, MultipleValues, Setting
from comflowy_nb.workflow.syntax.ranges import is_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from comflowy_nb.workflow.axes.types import Axes, Axis, AxisValue
    from comflowy_nb.workflow.syntax.lists import Written

__all__ = ["OPTIONS", "SweepFile", "read_sweep_file", "write_sweep_file"]

_OPENS = ("while parsing a flow", "while scanning a quoted scalar", "while scanning a simple key")
_WHOLE_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]{0,14})\.0")  # those that Python writes in the same way
_RETRY = ("failed", "unknown", "all", "none")


@dataclass(frozen=True, slots=True)
class SweepFile:
    """The content of a sweep file: the workflow's name, the settings for `read_axes`, and the options."""

    workflow: str
    settings: list[Setting]
    options: dict[str, Any] = field(default_factory=dict)


def read_sweep_file(path: str | Path) -> SweepFile:
    """Read a sweep file.

    Raises
    ------
    WorkflowError
        If the file does not exist or is not a valid sweep file; the text names the file and the line.
    """
    file = Path(path).expanduser()
    try:
        text = read_text(file, MAX_YAML_BYTES)
    except FileNotFoundError:
        raise WorkflowError(f"there is no file {str(path)!r}") from None
    except UnicodeDecodeError as error:
        raise WorkflowError(f"{file.name} is not text in UTF-8, UTF-16 or UTF-32; save it in UTF-8") from error
    except OSError as error:
        raise WorkflowError(f"{file.name} can't be read: {error.strerror}") from error
    reader = _FileReader(file, text)
    try:
        root = bounded_yaml().compose(text)
        return reader.sweep(root)
    except MarkedYAMLError as error:
        line, problem = _locate(error, text)
        raise WorkflowError(f"{file.name}{line}: {problem}") from None
    except ReaderError as error:
        line = f", line {text.count(chr(10), 0, error.position) + 1}"
        raise WorkflowError(f"{file.name}{line}: the character {chr(error.character)!r} is not allowed") from None
    except (YAMLError, ValueError, RecursionError) as error:
        first = str(error).strip().partition("\n")[0]
        raise WorkflowError(f"{file.name}: {first or 'this is not YAML'}") from None


def _locate(error: MarkedYAMLError, text: str) -> tuple[str, str]:
    """Return the line of the mistake, as `, line 3`, and the problem: YAML notices some of them lines later."""
    problem = error.problem or error.context or "this is not YAML"
    mark = error.problem_mark or error.context_mark
    if error.context_mark is not None and str(error.context).startswith(_OPENS):
        mark, problem = error.context_mark, f"{error.context}: {problem}"
    if mark is None:
        return "", problem
    number = mark.line + 1
    if problem.startswith("mapping values are not allowed"):
        before = [(index, line) for index, line in enumerate(text.splitlines()[: mark.line], 1) if line.strip()]
        if before and not re.search(r":(\s|$)|^\s*#", before[-1][1]):
            number, problem = before[-1][0], "KEY: VALUE is expected here, but the colon is missing"
    return f", line {number}", problem


def _whole(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
        raise ValueError("a whole number from 1")
    return int(text)


def _whole_or_none(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ValueError("a whole number from 0")
    return int(text)


def _boolean(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise ValueError("true or false")
    return text.lower() == "true"


def _word(text: str) -> str:
    if not text:
        raise ValueError("a text")
    return text


def _retry(text: str) -> str:
    if text not in _RETRY:
        raise ValueError(f"one of {', '.join(_RETRY)}")
    return text


OPTIONS: dict[str, Callable[[str], Any]] = {
    "name": _word,
    "x": _word,
    "y": _word,
    "z": _word,
    "fresh": _boolean,
    "retry": _retry,
    "max_runs": _whole,
    "stop_after": _whole_or_none,
    "window": _whole,
}


def _is_plain_text(node: Any) -> bool:
    """Return whether a value is read as in a body: without quotes and tag, and not a float like 2.0 for an INT 2."""
    plain = isinstance(node, ScalarNode) and not node.style and not str(node.tag).startswith("!")
    return plain and not _WHOLE_FLOAT.fullmatch(node.value)


class _FileReader:
    def __init__(self, file: Path, text: str) -> None:
        self._file = file
        self._text = text

    def sweep(self, root: Any) -> SweepFile:
        if not isinstance(root, MappingNode):
            self._refuse(root, "a sweep file contains workflow: NAME and fields: with one FIELD: VALUES in each line")
        parts = self._pairs(root)
        options: dict[str, Any] = {}
        for key, (key_node, node) in parts.items():
            if key in {"workflow", "fields"}:
                continue
            if key not in OPTIONS:
                near = nearest(key, [*OPTIONS, "workflow", "fields"])
                tip = f"nearest: {', '.join(near)}" if near else f"use workflow, fields, {', '.join(OPTIONS)}"
                self._refuse(key_node, f"unknown key {key!r} in a sweep file; {tip}")
            try:
                options[key] = OPTIONS[key](self._scalar(node, key, key_node))
            except ValueError as error:
                self._refuse(key_node, f"{key} is {error}, not {shown(self._scalar(node, key))}")
        if "workflow" not in parts:
            self._refuse(root, "workflow: NAME is missing")
        key_node, node = parts["workflow"]
        workflow = self._scalar(node, "workflow", key_node)
        if not workflow:
            self._refuse(key_node, "workflow is empty")
        return SweepFile(workflow, self._settings(parts["fields"][1]) if "fields" in parts else [], options)

    def _settings(self, node: Any) -> list[Setting]:
        if isinstance(node, ScalarNode) and not node.value:
            return []
        if not isinstance(node, MappingNode):
            self._refuse(node, "fields: must be a mapping, FIELD: VALUES in each line")
        found = []
        for key, (key_node, value) in self._pairs(node).items():
            where, key_where = self._where(value), self._where(key_node)
            if _is_plain_text(value):
                plain = (value.value, False)
                found.append(Setting(key, value.value, where=where, plain=plain, key_where=key_where))
            else:
                found.append(Setting(key, self._written(value), where=where, typed=True, key_where=key_where))
        return found

    def _written(self, node: Any) -> Written:
        tag = str(node.tag)
        if tag == "!json":
            try:
                found = as_json(json.loads(self._scalar(node, "!json")))
            except (ValueError, RecursionError):
                self._refuse(node, f"{shown(node.value)} is not JSON, or {TOO_DEEP}")
            return Item(found, typed=True, exact=True)
        if tag == "!image":
            parts = {key: self._scalar(part, key) for key, (_, part) in self._pairs(node).items()}
            try:
                return Item(read_image(self._file.parent, parts), typed=True, exact=True)
            except ImageError as error:
                self._refuse(node, str(error))
        if tag.startswith("!"):
            self._refuse(node, f"unknown tag {tag}; use !json or !image")
        if isinstance(node, MappingNode):
            return Labelled(tuple((key, self._written(part)) for key, (_, part) in self._pairs(node).items()))
        if isinstance(node, SequenceNode):
            typed = self._text[node.start_mark.index : node.end_mark.index] if node.flow_style else None
            return MultipleValues(tuple(self._written(part) for part in node.value), typed)
        if not node.style and _WHOLE_FLOAT.fullmatch(node.value):
            return Item(float(node.value), typed=True, where=self._where(node))
        return Item(node.value, quoted=bool(node.style), where=self._where(node))

    def _where(self, node: Any) -> str:
        return f"{self._file.name}, line {node.start_mark.line + 1}"

    def _pairs(self, node: Any) -> dict[str, tuple[Any, Any]]:
        """Return the nodes of the key and of the value, by the key."""
        if not isinstance(node, MappingNode):
            self._refuse(node, "a mapping, KEY: VALUE, is expected here")
        found: dict[str, tuple[Any, Any]] = {}
        for key_node, value in node.value:
            key = self._scalar(key_node, "a key")
            if key in found:
                self._refuse(key_node, f"{key!r} is written twice")
            found[key] = key_node, value
        return found

    def _scalar(self, node: Any, what: str, key_node: Any = None) -> str:
        if not isinstance(node, ScalarNode):
            self._refuse(key_node or node, f"{what} must be one value")
        return str(node.value)

    def _refuse(self, node: Any, what: str) -> NoReturn:
        line = f", line {node.start_mark.line + 1}" if node is not None else ""
        raise WorkflowError(f"{self._file.name}{line}: {what}")


_PLAIN_KEY = re.compile(r"[A-Za-z_0-9]+(?:::[A-Za-z_0-9]+)?")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def write_sweep_file(path: str | Path, *, workflow: str, axes: Axes, options: Mapping[str, Any] | None = None) -> None:
    """Write a file from which `read_sweep_file` and `read_axes` make the same axes.

    Parameters
    ----------
    path
        The file, written at once or not at all. Images are saved in a folder beside it.
    workflow
        The word for the workflow.
    options
        Of those that a file can have; None for one that is not set.

    Raises
    ------
    WorkflowError
        If it can't be written.
    """
    file = Path(path).expanduser()
    explicit = {name: value for name, value in (options or {}).items() if value is not None}
    unknown = [name for name in explicit if name not in OPTIONS]
    if unknown:
        raise WorkflowError(f"a sweep file has no option {unknown[0]}")
    try:
        lines = [f"workflow: {_text(workflow)}"]
        lines += [f"{name}: {_option(value)}" for name, value in explicit.items()]
        fields = [f"  {line}" for line in _Writer(file, axes).lines()]
        lines += ["fields:", *fields] if fields else []
        write_text(file, "\n".join(lines) + "\n")
    except OSError as error:
        raise WorkflowError(f"{file.name} can't be written: {error.strerror}") from error


class _Writer:
    def __init__(self, file: Path, axes: Axes) -> None:
        self._file = file
        self._axes = axes

    def lines(self) -> Iterator[str]:
        """Return the lines of the fields, in the order in which they were set."""
        order = [name for name in self._axes.fixed if name not in self._axes.set_params]
        done: set[str] = set()
        for name in [*order, *self._axes.set_params]:
            if name in done:
                continue
            found = [axis for axis in self._axes.axes if name in axis.fields]
            word = next((word for word in self._axes.seeds if name in word.fields), None)
            if word is not None:
                done.update(word.fields)
                yield f"{_key(_together(word.fields))}: {word.word}"
            elif found:
                done.update(*(axis.fields for axis in found))
                yield from self._replace(found) if found[0].kind == "replace" else self._axis(found[0])
            else:
                done.add(name)
                yield f"{_key(name)}: {self._value(self._axes.fixed[name])}"

    def _axis(self, axis: Axis) -> Iterator[str]:
        if axis.kind == "seeds":
            yield f"{_key(axis.name)}: random#{len(axis.values)}"
        elif axis.kind == "preset":
            yield f"{_key(axis.name)}:"
            for value in axis.values:
                fields = ", ".join(f"{_key(name)}: {self._value(one)}" for name, one in value.params.items())
                yield f"  {_key(value.label)}: {{{fields}}}"
        else:
            yield from self._values(
                axis.name, axis.values, [self._value(value.params[axis.fields[0]]) for value in axis.values]
            )

    def _replace(self, axes: Sequence[Axis]) -> Iterator[str]:
        fields = axes[0].fields
        texts = {self._axes.texts[name] for name in fields}
        yield f"{_key(_together(fields))}:"
        if len(texts) == 1:  # else they are the workflow's own
            yield f"  in: {_text(texts.pop())}"
        yield "  replace:"
        for axis in axes:
            for line in self._values(axis.name, axis.values, [_text(value.word or "") for value in axis.values]):
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

    def _value(self, value: Any) -> str:
        if isinstance(value, InputImage):
            parts = save_image(self._file, value)
            return f"!image {{{', '.join(f'{key}: {_text(text)}' for key, text in parts.items())}}}"
        if isinstance(value, str):
            return _text(value)
        if value is None or isinstance(value, (bool, int, float)):
            return json.dumps(value)
        return f"!json {_text(json.dumps(value))}"


def _name_themselves(values: Sequence[AxisValue]) -> bool:
    """Return whether the images would get the same labels from their names alone, which is all the file stores."""
    firsts = [(next(iter(value.params.values()), None), value.label) for value in values]  # the others are the same
    images = [(one, label) for one, label in firsts if isinstance(one, InputImage)]
    labels = label_images([replace(one, source="") for one, _ in images])
    return labels == [label for _, label in images]


def _together(fields: Sequence[str]) -> str:
    """Return the word for fields that are set as one."""
    return fields[0] if len(fields) == 1 else f"all::{split_id(fields[0])[1]}"


def _key(word: str) -> str:
    return word if _PLAIN_KEY.fullmatch(word) else _text(word)


def _option(value: Any) -> str:
    return json.dumps(value) if isinstance(value, (bool, int)) else _text(str(value))


def _text(text: str) -> str:
    """Return a text in YAML's double quotes, in which every character can stand."""
    return '"' + "".join(_ESCAPES.get(char) or _escaped(char) for char in text) + '"'


def _escaped(char: str) -> str:
    if char.isprintable():
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
