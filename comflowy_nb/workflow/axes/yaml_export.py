"""Writing a sweep's file from its axes: what a cell meant when it was exported, with nothing left to expand."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import WorkflowError
from comflowy_nb.workflow.axes.images import label_images, save_image
from comflowy_nb.workflow.axes.yaml_file import OPTIONS
from comflowy_nb.workflow.fields import split_id
from comflowy_nb.workflow.files.atomic import write_text
from comflowy_nb.workflow.images import InputImage
from comflowy_nb.workflow.syntax.ranges import is_number

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from comflowy_nb.workflow.axes.types import Axes, Axis, AxisValue

__all__ = ["write_sweep_file"]

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
        Of those that a file can have; None for one that was not given.

    Raises
    ------
    WorkflowError
        If it can't be written.
    """
    file = Path(path).expanduser()
    given = {name: value for name, value in (options or {}).items() if value is not None}
    unknown = [name for name in given if name not in OPTIONS]
    if unknown:
        raise WorkflowError(f"a sweep's file has no {unknown[0]}")
    try:
        lines = [f"workflow: {_text(workflow)}"]
        lines += [f"{name}: {_option(value)}" for name, value in given.items()]
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
        """The lines of the fields, in the order in which they were set."""
        order = [name for name in self._axes.fixed if name not in self._axes.set_params]
        done: set[str] = set()
        for name in [*order, *self._axes.set_params]:
            if name in done:
                continue
            found = [axis for axis in self._axes.axes if name in axis.fields]
            wish = next((wish for wish in self._axes.seeds if name in wish.fields), None)
            if wish is not None:
                done.update(wish.fields)
                yield f"{_key(_together(wish.fields))}: {wish.word}"
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
    """Whether the images among them would get the same labels by their names, which are all that the file keeps."""
    firsts = [(next(iter(value.params.values()), None), value.label) for value in values]  # the others are the same
    images = [(one, label) for one, label in firsts if isinstance(one, InputImage)]
    labels = label_images([replace(one, source="") for one, _ in images])
    return labels == [label for _, label in images]


def _together(fields: Sequence[str]) -> str:
    """The word for fields that are set as one."""
    return fields[0] if len(fields) == 1 else f"all::{split_id(fields[0])[1]}"


def _key(word: str) -> str:
    return word if _PLAIN_KEY.fullmatch(word) else _text(word)


def _option(value: Any) -> str:
    return json.dumps(value) if isinstance(value, (bool, int)) else _text(str(value))


def _text(text: str) -> str:
    """A text in YAML's double quotes, in which every character can stand."""
    return '"' + "".join(_ESCAPES.get(char) or _escaped(char) for char in text) + '"'


def _escaped(char: str) -> str:
    if char.isprintable():
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
