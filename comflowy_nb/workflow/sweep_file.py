"""Sweeps as files, for a terminal: YAML that says the workflow, the fields as a body has them, and the options.

    workflow: default
    name: bottles
    x: cfg
    fields:
      cfg: 2..8..2
      sampler_name: [euler, heun]
      prompt: {day: "glass bottle, noon", night: "glass bottle, stars"}
      seed: random#3

Nothing expands. A plain text means what it means in a body; one in quotes, or below `|` or `>`, is one text and never
divided. `!json` before a text in quotes is that JSON value; `!picture` is a picture that was saved with the file.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from comflowy_nb.errors import PictureError, WorkflowError
from comflowy_nb.workflow.fields import nearest
from comflowy_nb.workflow.json_values import TOO_DEEP, as_json, shown
from comflowy_nb.workflow.sweep_pictures import read_picture
from comflowy_nb.workflow.user_files import MAX_YAML_BYTES, bounded_yaml, read_text
from comflowy_nb.workflow.values import Setting
from comflowy_nb.workflow.written import Item, Labelled, Several

if TYPE_CHECKING:
    from collections.abc import Callable

    from comflowy_nb.workflow.written import Written

__all__ = ["OPTIONS", "SweepFile", "read_sweep_file"]

_RETRY = ("failed", "unknown", "all", "none")


@dataclass(frozen=True, slots=True)
class SweepFile:
    """What a file says: the workflow's word, the settings for `read_axes`, and the options that it gives."""

    workflow: str
    settings: list[Setting]
    options: dict[str, Any] = field(default_factory=dict)


def read_sweep_file(path: str | Path) -> SweepFile:
    """The sweep that a file holds.

    Raises
    ------
    WorkflowError
        If there is no such file, it is no YAML or no sweep; the text names the file and the line.
    """
    file = Path(path).expanduser()
    try:
        text = read_text(file, MAX_YAML_BYTES)
    except FileNotFoundError:
        raise WorkflowError(f"there is no file {str(path)!r}") from None
    except UnicodeDecodeError as error:
        raise WorkflowError(f"{file.name} is no UTF-8 text") from error
    except OSError as error:
        raise WorkflowError(f"{file.name} can't be read: {error.strerror}") from error
    reader = _FileReader(file, text)
    try:
        root = bounded_yaml().compose(text)
        return reader.sweep(root)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise WorkflowError(f"{file.name}{line}: {error.problem or error.context}") from None
    except (YAMLError, ValueError, RecursionError) as error:
        first = str(error).strip().partition("\n")[0]
        raise WorkflowError(f"{file.name}: {first or 'this is not YAML'}") from None


def _whole(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
        raise ValueError("a whole number from 1")
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
    "stop_after": _whole,
    "window": _whole,
}


class _FileReader:
    def __init__(self, file: Path, text: str) -> None:
        self._file = file
        self._text = text

    def sweep(self, root: Any) -> SweepFile:
        if not isinstance(root, MappingNode):
            self._refuse(root, "a sweep's file says workflow: NAME and, below fields:, what varies")
        parts = self._pairs(root)
        options: dict[str, Any] = {}
        for key, node in parts.items():
            if key in {"workflow", "fields"}:
                continue
            if key not in OPTIONS:
                near = nearest(key, [*OPTIONS, "workflow", "fields"])
                tip = f"nearest: {', '.join(near)}" if near else f"there are workflow, fields, {', '.join(OPTIONS)}"
                self._refuse(node, f"{key!r} is no part of a sweep's file; {tip}")
            try:
                options[key] = OPTIONS[key](self._scalar(node, key))
            except ValueError as error:
                self._refuse(node, f"{key} is {error}, not {shown(self._scalar(node, key))}")
        if "workflow" not in parts:
            self._refuse(root, "workflow: NAME is missing")
        workflow = self._scalar(parts["workflow"], "workflow")
        if not workflow:
            self._refuse(parts["workflow"], "workflow names none")
        return SweepFile(workflow, self._settings(parts.get("fields")), options)

    def _settings(self, node: Any) -> list[Setting]:
        if node is None or (isinstance(node, ScalarNode) and not node.value):
            return []
        if not isinstance(node, MappingNode):
            self._refuse(node, "fields: are a mapping, FIELD: VALUES in each line")
        found = []
        for key, value in self._pairs(node).items():
            where = f"{self._file.name}, line {value.start_mark.line + 1}"
            if isinstance(value, ScalarNode) and not value.style and not str(value.tag).startswith("!"):
                found.append(Setting(key, value.value, where=where, plain=(value.value, False)))
            else:
                found.append(Setting(key, self._written(value), where=where, typed=True))
        return found

    def _written(self, node: Any) -> Written:
        tag = str(node.tag)
        if tag == "!json":
            try:
                found = as_json(json.loads(self._scalar(node, "!json")))
            except (ValueError, RecursionError):
                self._refuse(node, f"{shown(node.value)} is no JSON, or {TOO_DEEP}")
            return Item(found, typed=True, exact=True)
        if tag == "!picture":
            parts = {key: self._scalar(part, key) for key, part in self._pairs(node).items()}
            try:
                return Item(read_picture(self._file.parent, parts), typed=True, exact=True)
            except PictureError as error:
                self._refuse(node, str(error))
        if tag.startswith("!"):
            self._refuse(node, f"{tag} means nothing here")
        if isinstance(node, MappingNode):
            return Labelled(tuple((key, self._written(part)) for key, part in self._pairs(node).items()))
        if isinstance(node, SequenceNode):
            typed = self._text[node.start_mark.index : node.end_mark.index] if node.flow_style else None
            return Several(tuple(self._written(part) for part in node.value), typed)
        return Item(node.value, quoted=bool(node.style))

    def _pairs(self, node: Any) -> dict[str, Any]:
        if not isinstance(node, MappingNode):
            self._refuse(node, "a mapping, KEY: VALUE, is meant here")
        found: dict[str, Any] = {}
        for key_node, value in node.value:
            key = self._scalar(key_node, "a key")
            if key in found:
                self._refuse(key_node, f"{key!r} stands there twice")
            found[key] = value
        return found

    def _scalar(self, node: Any, what: str) -> str:
        if not isinstance(node, ScalarNode):
            self._refuse(node, f"{what} is one value")
        return str(node.value)

    def _refuse(self, node: Any, what: str) -> NoReturn:
        line = f", line {node.start_mark.line + 1}" if node is not None else ""
        raise WorkflowError(f"{self._file.name}{line}: {what}")
