"""One `comflowy.yaml`: read, checked, changed in place and written atomically."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from filelock import FileLock, Timeout
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from comflowy_nb.errors import FieldError, WorkflowError
from comflowy_nb.workflow.field_spec import read_field, write_field
from comflowy_nb.workflow.files import MAX_JSON_BYTES, MAX_YAML_BYTES, bounded_yaml, read_text, write_text
from comflowy_nb.workflow.graph import Graph, parse_graph

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from importlib.resources.abc import Traversable

    from ruamel.yaml import YAML

    from comflowy_nb.workflow.fields import Field

__all__ = ["FILE_NAME", "CatalogueFile", "Entry", "field_node", "under"]

FILE_NAME = "comflowy.yaml"
_LOCK_S = 10.0  # a change takes milliseconds; longer means that a process does not release the lock


@dataclass(frozen=True, slots=True)
class Entry:
    """One workflow of the catalogue.

    `ids` maps the identity of a service to the workflow's id there. `fields` are those the editor's console printed.
    `folder` is the folder that the graph's file must be in; None allows any.
    """

    name: str
    ids: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, Field] = field(default_factory=dict)
    graph_file: Path | Traversable | None = None
    folder: Path | None = None

    @property
    def graph(self) -> Graph | None:
        """Return the workflow's graph, read now.

        Raises
        ------
        WorkflowError
            If the file that the catalogue names is missing, not allowed, too large or holds no graph.
        """
        file = self.graph_file
        if file is None:
            return None
        called = f"the graph of {self.name}, {file.name},"
        try:
            if not isinstance(file, Path):  # of this package
                return parse_graph(file.read_text("utf-8"), called)
            if self.folder is not None and not file.resolve().is_relative_to(self.folder.resolve()):
                raise WorkflowError(
                    f"{called} is outside the project's folder, and is not read: copy it into the folder, or "
                    f"%comflowy workflow add {self.name} FILE"
                )
            text = read_text(file, MAX_JSON_BYTES)
        except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a null byte, not UTF-8
            why = getattr(error, "strerror", None) or "it is not a text file"
            raise WorkflowError(f"{called} can't be read: {why}") from error
        return parse_graph(text, f"{file.name}, the graph of {self.name},")


class CatalogueFile:
    """The entries of one file; a file that isn't there has none.

    Parameters
    ----------
    folder
        Where the file is; graphs are relative to it.
    label
        Name of the folder for errors: notebooks must not show paths.
    confined
        Refuse graphs outside the folder: the file came with a project, and the user did not write it.

    Raises
    ------
    WorkflowError
        If the file is damaged; the text names the line. Such a file is never written to.
    """

    def __init__(self, folder: Path, label: str, *, confined: bool = False) -> None:
        self.folder = folder
        self._confined = confined
        self.path = folder / FILE_NAME
        self._called = f"{FILE_NAME} of the {label}"
        self.entries = self._entries(self._load(bounded_yaml(), self._text()))

    def change(self, name: str, change: Callable[[CommentedMap], None], *, lock: Path) -> None:
        """Change or create one entry; keep everything else in the file, including comments.

        Raises
        ------
        WorkflowError
            If the file is damaged or can't be written; it is then as it was.
        """
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(lock, timeout=_LOCK_S):
                text = self._text()
                self._entries(self._load(bounded_yaml(), text))
                yaml = bounded_yaml("rt")
                yaml.width = 4096
                root = self._load(yaml, text)
                buffer = io.StringIO()
                if not isinstance(root, CommentedMap):  # nothing but comments
                    root = CommentedMap()
                    buffer.write(text if not text or text.endswith("\n") else f"{text}\n")
                change(under(under(root, "workflows"), name))
                yaml.dump(root, buffer)
                entries = self._entries(self._load(bounded_yaml(), buffer.getvalue()))
                write_text(self.path, buffer.getvalue())
        except Timeout:
            raise WorkflowError(f"{self._called} is being written by another kernel; try again") from None
        except OSError as error:
            raise WorkflowError(f"{self._called} can't be written: {error.strerror}") from error
        self.entries = entries

    def _text(self) -> str:
        try:
            return read_text(self.path, MAX_YAML_BYTES)
        except FileNotFoundError:
            return ""
        except UnicodeDecodeError as error:
            raise WorkflowError(
                f"{self._called} is not text in UTF-8, UTF-16 or UTF-32; nothing was changed"
            ) from error
        except OSError as error:
            raise WorkflowError(f"{self._called} can't be read: {error.strerror}") from error

    def _load(self, yaml: YAML, text: str) -> Any:
        try:
            return yaml.load(text)
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = f", line {mark.line + 1}" if mark is not None else ""
            raise WorkflowError(
                f"{self._called}{line}: {error.problem or error.context}; correct the file in an editor"
            ) from None
        except (YAMLError, ValueError, RecursionError) as error:
            first = str(error).strip().partition("\n")[0]
            raise WorkflowError(f"{self._called}: {first or 'not YAML'}; correct the file in an editor") from None

    def _entries(self, root: Any) -> dict[str, Entry]:
        if root is None:
            return {}
        workflows = self._mapping(self._mapping(root, "the file").get("workflows"), "workflows")
        return {str(name): self._entry(str(name), value) for name, value in workflows.items()}

    def _entry(self, name: str, value: Any) -> Entry:
        parts = self._mapping(value, name)
        graph = parts.get("graph")
        if graph is not None and not isinstance(graph, str):
            self._refuse(f"{name}.graph", "the name of a file")
        fields = {}
        for field_id, described in self._mapping(parts.get("fields"), f"{name}.fields").items():
            try:
                fields[str(field_id)] = _read_described(str(field_id), described)
            except FieldError as error:
                raise WorkflowError(f"{self._called}, {name}.fields: {error}") from None
        return Entry(
            name,
            self._texts(parts.get("ids"), f"{name}.ids"),
            self._texts(parts.get("aliases"), f"{name}.aliases"),
            fields,
            self.folder / graph if graph else None,
            self.folder if self._confined else None,
        )

    def _mapping(self, value: Any, what: str) -> dict[Any, Any]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            self._refuse(what, "a mapping")
        return value

    def _texts(self, value: Any, what: str) -> dict[str, str]:
        found = self._mapping(value, what)
        if any(isinstance(item, (dict, list)) or item is None for item in found.values()):
            self._refuse(what, "a mapping of texts")
        return {str(key): str(item) for key, item in found.items()}

    def _refuse(self, what: str, wanted: str) -> NoReturn:
        raise WorkflowError(f"{self._called}: {what} must be {wanted}; correct the file in an editor")


def field_node(one: Field) -> Any:
    """Return a field as the file holds it: ComfyUI's form in one line, with the node's title where it is known."""
    info = _flow(write_field(one))
    if one.node_title is None and one.class_type is None:
        return info
    known = {"info": info, "title": one.node_title, "class": one.class_type}
    return CommentedMap({key: value for key, value in known.items() if value is not None})


def _read_described(field_id: str, described: Any) -> Field:
    if not isinstance(described, dict):
        return read_field(field_id, described)
    title, class_type = described.get("title"), described.get("class")
    return read_field(
        field_id,
        described.get("info"),
        node_title=None if title is None else str(title),
        class_type=None if class_type is None else str(class_type),
    )


def under(node: CommentedMap, key: str) -> CommentedMap:
    """Return the mapping under a key; create it if necessary."""
    found = node.get(key)
    if not isinstance(found, CommentedMap):
        found = CommentedMap()
        node[key] = found
    return found


def _flow(value: Any) -> Any:
    if isinstance(value, dict):
        mapping = CommentedMap({key: _flow(item) for key, item in value.items()})
        mapping.fa.set_flow_style()
        return mapping
    if isinstance(value, (list, tuple)):
        sequence = CommentedSeq([_flow(item) for item in value])
        sequence.fa.set_flow_style()
        return sequence
    return value
