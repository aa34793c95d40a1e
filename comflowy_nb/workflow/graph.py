"""Graphs in ComfyUI's API format: read them from JSON, describe their fields, and apply params."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import FieldError, WorkflowError, nearest_tip
from comflowy_nb.workflow.fields import Field, FieldType, split_id
from comflowy_nb.workflow.files import MAX_JSON_BYTES, read_typed_file
from comflowy_nb.workflow.syntax.json_values import TOO_DEEP, is_too_deep, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

__all__ = ["HOW_TO_EXPORT", "Graph", "is_editor_format", "link_target", "parse_graph", "read_graph"]

HOW_TO_EXPORT = (
    "in ComfyUI choose Workflow > Export (API) and use that file, or run it there once and name it server:last"
)

_KEPT_KEYS = ("class_type", "inputs", "_meta")  # other keys of a node are notes of one server about one run
_MAX_LISTED_KEYS = 3

# ComfyUI writes the float 8.0 as 8, so a value does not tell its type. Fields with these names are always INT.
_INT_NAMES = frozenset({"steps", "width", "height", "batch_size", "start_at_step", "end_at_step", "color", "length"})


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph in ComfyUI's API format.

    Attributes
    ----------
    nodes
        Node id -> node, a mapping with `class_type`, `inputs` and optionally `_meta`.
    """

    nodes: Mapping[str, Mapping[str, Any]]

    def title(self, node: str) -> str | None:
        """Return the title of a node, else its class; None if the graph has no such node."""
        if node not in self.nodes:
            return None
        meta = self.nodes[node].get("_meta")
        title = meta.get("title") if isinstance(meta, dict) else None
        one_line = " ".join(title.split()) if isinstance(title, str) else ""
        return one_line or str(self.nodes[node]["class_type"])

    def fields(self) -> dict[str, Field]:
        """Return the fields that hold values, not links, by id, with types derived from the values.

        The fields have no options and no ranges, because a graph does not contain them.
        """
        fields = {}
        for node, one in self.nodes.items():
            class_type = str(one["class_type"])
            for name, value in one["inputs"].items():
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
        nodes = {node: {**one, "inputs": dict(one.get("inputs") or {})} for node, one in self.nodes.items()}
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


def link_target(value: object) -> str | None:
    """Return the node id in a link, `[node id, index of an output]`; None for any other value."""
    is_link = isinstance(value, list) and len(value) == 2 and type(value[1]) is int
    return str(value[0]) if is_link else None  # type: ignore[index]  # a list


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


def parse_graph(text: str, name: str) -> Graph:
    """Return the graph in a JSON text; errors call the text `name`.

    Raises
    ------
    WorkflowError
        If the text contains no graph in API format, or a damaged one.
    """
    graph = _find_graph(_decode(text, name), name)
    if is_too_deep(graph):  # the graph may come from JSON within a string
        raise WorkflowError(f"{name} can't be read as JSON: {TOO_DEEP}")
    nodes = {}
    for node, one in graph.items():
        if not _is_node(one):
            continue
        nodes[node] = {"class_type": one["class_type"], "inputs": {}} | {
            key: one[key] for key in _KEPT_KEYS if key in one
        }
        if not isinstance(nodes[node]["inputs"], dict):
            raise WorkflowError(f"{name}: the inputs of node {node!r} are not a mapping")
        try:
            json.dumps(nodes[node]["inputs"], allow_nan=False)
        except ValueError:
            raise WorkflowError(f"{name}: node {node!r} contains NaN or Infinity") from None
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
    """Return the root if it is a graph, else the outermost graph within it.

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
        raise WorkflowError(f"{name} is in the editor's format, which can't be run; {HOW_TO_EXPORT}")
    level: list[tuple[str, Any]] = [("", root)]
    editor_path = ""
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
        editor_path = editor_path or next((path for path, value in level if is_editor_format(value)), "")
        level = [inner for path, value in level if not is_editor_format(value) for inner in _children(path, value)]
    if editor_path:
        raise WorkflowError(
            f"{name} contains a workflow in the editor's format (in {editor_path}), which can't be run; {HOW_TO_EXPORT}"
        )
    keys = f" (no class_type in {_quoted(root)})" if isinstance(root, dict) and root else ""
    raise WorkflowError(f"{name} contains no graph in API format{keys}; {HOW_TO_EXPORT}")


def _children(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the mappings and lists directly within a value, each with its path."""
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
    """Return True if a node has inputs. Errors of a server also contain nodes with a class_type, but no inputs."""
    return any(isinstance(one.get("inputs"), dict) for one in graph.values() if _is_node(one))


def is_editor_format(value: object) -> bool:
    """Return True if a decoded JSON value is a workflow in the format of ComfyUI's editor."""
    return isinstance(value, dict) and isinstance(value.get("nodes"), list) and not _is_graph(value)


def _check_note(key: str, note: Any, nodes: Mapping[str, Mapping[str, Any]], name: str) -> None:
    """Raise a WorkflowError if an entry of a graph without a class_type is a damaged node and not a note.

    A node is linked to or from, has a number as its id, or has a class_type of another type than text.
    """
    inputs = note.get("inputs") if isinstance(note, dict) else None
    targets = {link_target(value) for value in inputs.values()} if isinstance(inputs, dict) else set()
    is_linked = any(key == link_target(value) for one in nodes.values() for value in one["inputs"].values())
    is_node = isinstance(note, dict) and (key.isdecimal() or "class_type" in note)
    if is_node or is_linked or not targets.isdisjoint(nodes):
        raise WorkflowError(f"{name}: node {key!r} has no class_type: give it one, or remove it and the links to it")


def _quoted(keys: Iterable[str]) -> str:
    return listed([repr(key) for key in keys], _MAX_LISTED_KEYS)
