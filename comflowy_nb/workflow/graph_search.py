"""Where a graph in API format is within JSON: in a request or a response of a server, beside notes. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import WorkflowError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["HOW_TO_EXPORT", "check_note", "find_graph", "is_editors", "is_node"]

HOW_TO_EXPORT = (
    "in ComfyUI choose Workflow > Export (API) and use that file, or run it there once and name it server:last"
)


def find_graph(root: Any, name: str) -> dict[str, Any]:
    """Find the mapping of nodes: the root itself, else the outermost graph within the root.

    Requests and responses of servers wrap a graph in many ways, some as JSON in a string.

    Raises
    ------
    WorkflowError
        If there is none, or if several different ones are equally far out.
    """
    root = _opened(root)
    if _is_graph(root):
        return root  # type: ignore[no-any-return]  # checked to be a mapping
    if is_editors(root):
        raise WorkflowError(f"{name} is in the editor's format, which can't be run; {HOW_TO_EXPORT}")
    level: list[tuple[str, Any]] = [("", root)]
    editors = ""
    while level:
        graphs = {path: value for path, value in level if _is_graph(value) and _has_inputs(value)}
        if graphs:
            first = graphs.get("prompt", next(iter(graphs.values())))  # of a request to ComfyUI: what it runs
            if "prompt" in graphs or all(value == first for value in graphs.values()):
                return first  # type: ignore[no-any-return]  # as above
            raise WorkflowError(
                f"{name} contains {len(graphs)} different graphs, in {_listed(graphs)}: save the one to run as a file "
                "of its own"
            )
        editors = editors or next((path for path, value in level if is_editors(value)), "")
        level = [inner for path, value in level if not is_editors(value) for inner in _inside(path, value)]
    if editors:
        raise WorkflowError(
            f"{name} contains a workflow in the editor's format (in {editors}), which can't be run; {HOW_TO_EXPORT}"
        )
    keys = f" (no class_type in {_listed(root)})" if isinstance(root, dict) and root else ""
    raise WorkflowError(f"{name} contains no graph in API format{keys}; {HOW_TO_EXPORT}")


def _inside(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Return the mappings and lists directly within a value, each with its path."""
    if isinstance(value, dict):
        within = [(f"{path}.{key}" if path else str(key), each) for key, each in value.items()]
    else:
        within = [(f"{path}[{index}]", each) for index, each in enumerate(value)] if isinstance(value, list) else []
    for where, each in within:
        inner = _opened(each)
        if isinstance(inner, (dict, list)):
            yield where, inner


def _opened(value: Any) -> Any:
    """Return the value, or what a string contains that is JSON with a graph in it."""
    while isinstance(value, str) and ("class_type" in value or "nodes" in value):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            break
    return value


def is_node(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("class_type"), str)


def _is_graph(value: object) -> bool:
    return isinstance(value, dict) and any(map(is_node, value.values()))


def _has_inputs(graph: Mapping[str, Any]) -> bool:
    """Return whether a node has inputs. A server's errors name nodes and their class_type too, without inputs."""
    return any(isinstance(one.get("inputs"), dict) for one in graph.values() if is_node(one))


def is_editors(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("nodes"), list) and not _is_graph(value)


def check_note(key: str, graph: Mapping[str, Any], name: str) -> None:
    """Make sure that a key without a class_type is a note and not a damaged node.

    Raises
    ------
    WorkflowError
        If it is linked to or from, is numbered as a node, or has a class_type that is not a text.
    """
    value = graph[key]
    inputs = value.get("inputs") if isinstance(value, dict) else None
    linked = {str(link[0]) for one in graph.values() if is_node(one) for link in _links(one.get("inputs"))}
    is_linked = key in linked or any(str(link[0]) in graph for link in _links(inputs))
    if is_linked or (isinstance(value, dict) and (key.isdecimal() or "class_type" in value)):
        raise WorkflowError(f"{name}: node {key!r} has no class_type: give it one, or remove it and the links to it")


def _links(inputs: object) -> Iterator[list[Any]]:
    for value in inputs.values() if isinstance(inputs, dict) else ():
        if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and type(value[1]) is int:
            yield value


def _listed(keys: Iterable[str], most: int = 3) -> str:
    """Return the first keys, in quotes."""
    names = [repr(key) for key in keys]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
