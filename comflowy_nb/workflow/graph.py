"""Graphs in ComfyUI's API format: read them from JSON, describe their fields, and apply params."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import FieldError, WorkflowError, nearest_tip
from comflowy_nb.workflow.fields import Field, FieldType, split_id
from comflowy_nb.workflow.files import MAX_JSON_BYTES, read_typed_file
from comflowy_nb.workflow.syntax.json_values import TOO_DEEP, is_too_deep, listed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path


HOW_TO_EXPORT = (
    "in ComfyUI choose Workflow > Export (API) and use that file, "
    "or run it there once and use server:last as the workflow"
)

_KEPT_KEYS = ("class_type", "inputs", "_meta")  # other keys of a node are notes of one server about one run
_MAX_LISTED_KEYS = 3
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

# ComfyUI writes the float 8.0 as 8, so a value does not tell its type. Fields with these names are always INT.
_INT_NAMES = frozenset({"steps", "width", "height", "batch_size", "start_at_step", "end_at_step", "color", "length"})


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph in ComfyUI's API format.

    Attributes
    ----------
    nodes
        Node id -> node, a mapping with `class_type`, `inputs` and optionally `_meta`.
    notes
        Notes about inputs that the conversion from the editor's format left out; None for other graphs.
    """

    nodes: Mapping[str, Mapping[str, Any]]
    notes: tuple[str, ...] | None = field(default=None, compare=False)

    def title(self, node: str) -> str | None:
        """Return the title of a node, or its class; None if there is no such node."""
        if node not in self.nodes:
            return None
        meta = self.nodes[node].get("_meta")
        title = meta.get("title") if isinstance(meta, dict) else None
        shown = _one_line(title) if isinstance(title, str) else ""
        return shown or _one_line(str(self.nodes[node]["class_type"]))

    def group(self, node: str) -> str:
        """Return the title of the group or subgraph that contains a node in the editor; empty if unknown."""
        meta = self.nodes.get(node, {}).get("_meta")
        group = meta.get("group") if isinstance(meta, dict) else None
        return _one_line(group) if isinstance(group, str) else ""

    def fields(self) -> dict[str, Field]:
        """Return the inputs with values as fields by id. Their types are derived from the values.

        A graph does not contain options and ranges, so the fields do not have them.
        """
        fields = {}
        for node, content in self.nodes.items():
            class_type = str(content["class_type"])
            for name, value in content["inputs"].items():
                if link_target(value) in self.nodes:
                    continue
                type_ = _type_of(name, value, class_type)
                fields[f"{node}::{name}"] = Field(
                    f"{node}::{name}",
                    type_,
                    default=value,
                    multiline=type_ is FieldType.STRING and "\n" in value,
                    node_title=self.title(node),
                    class_type=class_type,
                )
        return fields

    def apply(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return a copy of the nodes with params set in their inputs.

        Parameters
        ----------
        params
            Field id -> value.

        Raises
        ------
        FieldError
            If a node does not exist.
        """
        nodes = {node: {**content, "inputs": dict(content.get("inputs") or {})} for node, content in self.nodes.items()}
        problems = []
        for field_id, value in params.items():
            node, name = split_id(field_id)
            if node in nodes:
                nodes[node]["inputs"][name] = value
            else:
                problems.append(f"{field_id}: the graph has no node {node!r}{nearest_tip(node, nodes)}")
        if problems:
            raise FieldError(*problems)
        return nodes


class InEditorFormat(WorkflowError):
    """A workflow has the format of ComfyUI's editor, but a graph in API format is required.

    Attributes
    ----------
    editor
        The workflow.
    name
        The name of its file or image.
    """

    def __init__(self, name: str, contains: str, editor: Mapping[str, Any]) -> None:
        super().__init__(
            f"{name} {contains}. To use it, connect to a ComfyUI server, which describes its nodes: "
            "%comflowy connect comfyui, or its address"
        )
        self.name = name
        self.editor = editor


def link_target(value: object) -> str | None:
    """Return the node id of a link (`[node id, output index]`); None for any other value."""
    is_link = isinstance(value, list) and len(value) == 2 and type(value[1]) is int
    return str(value[0]) if is_link else None  # type: ignore[index]  # a list


def _one_line(text: str) -> str:
    """Return a text in one line, without control characters, which a terminal may execute."""
    return " ".join(_CONTROL.sub(" ", text).split())


def _type_of(name: str, value: object, class_type: str) -> FieldType:
    if isinstance(value, bool):
        return FieldType.BOOLEAN
    if isinstance(value, str):
        is_upload = class_type in {"LoadImage", "LoadImageMask"} and name == "image"
        return FieldType.IMAGEUPLOAD if is_upload else FieldType.STRING
    if isinstance(value, int) and ("seed" in name.lower() or name in _INT_NAMES):
        return FieldType.INT
    return FieldType.FLOAT if isinstance(value, (int, float)) else FieldType.UNKNOWN


# -- reading -------------------------------------------------------------------------------------------------------


def read_graph(path: str | Path) -> Graph:
    """Read a graph in API format from a file.

    Parameters
    ----------
    path
        A JSON file. The graph may be inside a request or a response of a server, such as `{"prompt": {...}}` or
        `{"input": {"workflow": {...}}}`.

    Raises
    ------
    WorkflowError
        If the file does not exist or contains no graph in API format. The text names its content, and
        how to export the API format.
    """
    file, text = read_typed_file(path, MAX_JSON_BYTES)
    return parse_graph(text, file.name)


def graph_from(read: Callable[[], Graph], convert: Callable[[InEditorFormat], Graph] | None) -> Graph:
    """Return the result of `read`. If it raises InEditorFormat, convert the workflow.

    Raises
    ------
    WorkflowError
        If there is no graph, or no converter for the editor's format.
    """
    try:
        return read()
    except InEditorFormat as found:
        if convert is None:
            raise WorkflowError(str(found)) from None
        return convert(found)


def parse_graph(text: str, name: str) -> Graph:
    """Return the graph in a JSON text. `name` is its name in errors.

    Raises
    ------
    WorkflowError
        If the text does not contain a valid graph in API format.
    """
    graph = _find_graph(_decode(text, name), name)
    if is_too_deep(graph):  # the graph may come from JSON within a string
        raise WorkflowError(f"{name} can't be read as JSON: {TOO_DEEP}")
    nodes = {}
    for node, content in graph.items():
        if not _is_node(content):
            continue
        nodes[node] = {"class_type": content["class_type"], "inputs": {}} | {
            key: content[key] for key in _KEPT_KEYS if key in content
        }
        if not isinstance(nodes[node]["inputs"], dict):
            raise WorkflowError(f"{name}: the inputs of node {node!r} must be a JSON object")
        try:
            json.dumps(nodes[node]["inputs"], allow_nan=False)
        except ValueError:
            raise WorkflowError(f"{name}: node {node!r} contains NaN or Infinity; use a finite number") from None
    for key, note in graph.items():
        if key not in nodes:
            _check_note(key, note, nodes, name)
    return Graph(nodes)


def _decode(text: str, name: str) -> Any:
    try:
        value = json.loads(text.lstrip("\ufeff"))
    except json.JSONDecodeError as error:
        raise WorkflowError(f"{name} is not JSON: {error.msg}, line {error.lineno}") from None
    except ValueError:  # Python reads at most 4300 digits
        raise WorkflowError(f"{name} can't be read as JSON: it contains a number of more than 4300 digits") from None
    except RecursionError:
        raise WorkflowError(f"{name} can't be read as JSON: {TOO_DEEP}") from None
    if is_too_deep(value):
        raise WorkflowError(f"{name} can't be read as JSON: {TOO_DEEP}")
    return value


def _find_graph(root: Any, name: str) -> dict[str, Any]:
    """Return the root if it is a graph, else the outermost graph inside it.

    Requests and responses of servers wrap a graph in many ways, some as JSON in a string.

    Raises
    ------
    WorkflowError
        If there is no graph, or several different ones at the same depth.
    """
    root = _unwrap(root)
    if _is_graph(root):
        return root  # type: ignore[no-any-return]  # a mapping
    if is_editor_format(root):
        raise InEditorFormat(name, "is in the editor's format", root)
    level: list[tuple[str, Any]] = [("", root)]
    editors: list[tuple[str, Any]] = []
    while level:
        graphs = {path: value for path, value in level if _is_graph(value) and _has_inputs(value)}
        if graphs:
            first = graphs.get("prompt", next(iter(graphs.values())))  # `prompt` of a request to ComfyUI is what runs
            if "prompt" in graphs or all(value == first for value in graphs.values()):
                return first  # type: ignore[no-any-return]  # a mapping
            raise WorkflowError(
                f"{name} contains {len(graphs)} different graphs, in {_quoted(graphs)}: save the one to run as a "
                "separate file"
            )
        editors += [(path, value) for path, value in level if is_editor_format(value)]
        level = [inner for path, value in level if not is_editor_format(value) for inner in _children(path, value)]
    if editors:
        path, editor = editors[0]
        raise InEditorFormat(name, f"contains a workflow in the editor's format (in {path})", editor)
    keys = f" (no class_type in {_quoted(root)})" if isinstance(root, dict) and root else ""
    raise WorkflowError(f"{name} contains no graph in API format{keys}; {HOW_TO_EXPORT}")


def _children(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the mappings and lists directly inside a value, each with its path."""
    items: Iterable[tuple[str, Any]] = ()
    if isinstance(value, dict):
        items = ((f"{path}.{key}" if path else str(key), item) for key, item in value.items())
    elif isinstance(value, list):
        items = ((f"{path}[{index}]", item) for index, item in enumerate(value))
    for where, item in items:
        inner = _unwrap(item)
        if isinstance(inner, (dict, list)):
            yield where, inner


def _unwrap(value: Any) -> Any:
    """Decode a string that contains JSON with a graph; return other values unchanged."""
    while isinstance(value, str) and ("class_type" in value or "nodes" in value):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            break
    return value


def _is_node(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("class_type"), str)


def _is_graph(value: object) -> bool:
    return isinstance(value, dict) and any(map(_is_node, value.values()))


def _has_inputs(graph: Mapping[str, Any]) -> bool:
    """Return True if a node has inputs. The nodes in error responses of a server have a class_type but no inputs."""
    return any(isinstance(node.get("inputs"), dict) for node in graph.values() if _is_node(node))


def is_editor_format(value: object) -> bool:
    """Return True if a decoded JSON value is a workflow in the format of ComfyUI's editor."""
    return isinstance(value, dict) and isinstance(value.get("nodes"), list) and not _is_graph(value)


def _check_note(key: str, note: Any, nodes: Mapping[str, Mapping[str, Any]], name: str) -> None:
    """Raise a WorkflowError if an entry without a class_type is a damaged node, not a note.

    The entry is a node if it has links, if its id is a number, or if its class_type is not text.
    """
    inputs = note.get("inputs") if isinstance(note, dict) else None
    targets = {link_target(value) for value in inputs.values()} if isinstance(inputs, dict) else set()
    is_linked = any(key == link_target(value) for node in nodes.values() for value in node["inputs"].values())
    is_node = isinstance(note, dict) and (key.isdecimal() or "class_type" in note)
    if is_node or is_linked or not targets.isdisjoint(nodes):
        raise WorkflowError(f"{name}: node {key!r} has no class_type: give it one, or remove it and the links to it")


def _quoted(keys: Iterable[str]) -> str:
    return listed([repr(key) for key in keys], _MAX_LISTED_KEYS)
