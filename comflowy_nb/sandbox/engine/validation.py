"""Is this graph one that can be run? The answers have the shape of ComfyUI's 400.

`{"error": {"type", "message", "details", "extra_info"}, "node_errors": {"3": {"errors": [...], "dependent_outputs",
"class_type"}}}`. Unlike ComfyUI, an unknown input is an error, a number is never cut to fit (7.5 steps), and one wrong
output fails the run, where ComfyUI leaves it out without a word.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from comflowy_nb.sandbox.engine.input_values import Body, check_range, make_error, read_literal, short, type_name
from comflowy_nb.sandbox.engine.nodes import MAX_BATCH, OBJECT_INFO, input_path
from comflowy_nb.sandbox.engine.pixels import MAX_AREA_PX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

Graph: TypeAlias = "dict[str, dict[str, Any]]"

MAX_NODES: Final = 1000


def validate(graph: Any, input_folder: Path | None = None) -> Body | None:
    """What is wrong with a graph in API format, as ComfyUI's 400 body; None if it can be run.

    Parameters
    ----------
    graph
        Node id -> {"class_type", "inputs", "_meta"?}.
    input_folder
        Where LoadImage's files are; without it they are not looked for.
    """
    if not isinstance(graph, dict):
        return _body("no_prompt", "No prompt provided", "No prompt provided")
    if len(graph) > MAX_NODES:
        return _body("invalid_prompt", f"A graph of {len(graph)} nodes; the sandbox runs up to {MAX_NODES}.")
    for node_id, node in graph.items():
        problem = _check_class(node_id, node)
        if problem:
            return problem
    outputs = [node_id for node_id, node in graph.items() if OBJECT_INFO[node["class_type"]]["output_node"]]
    if not outputs:
        return _body("prompt_no_outputs", "Prompt has no outputs")
    reached: dict[str, list[str]] = {}
    for output in outputs:
        order = reach(graph, output)
        if order is None:
            return _failed({})
        for node_id in order:
            reached.setdefault(node_id, []).append(output)
    errors = {node_id: list(_node_errors(graph, node_id, input_folder)) for node_id in reached}
    return _failed({k: _node_body(graph, k, found, reached[k]) for k, found in errors.items() if found}, or_none=True)


def apply_params(graph: Mapping[str, Any], params: Mapping[str, Any]) -> tuple[Graph, Body | None]:
    """The graph with `NodeId::field` values put in, and what is wrong with them (None if nothing).

    Unknown nodes and fields and values of a wrong type are wrong here; ranges and choices are `validate`'s.
    """
    changed: Graph = copy.deepcopy(dict(graph))
    found: dict[str, list[Body]] = {}
    for field_id, value in params.items():
        node_id, separator, name = field_id.partition("::")
        node = changed.get(node_id)
        if not separator or not name:
            return changed, _body("invalid_prompt", f"{short(field_id)} is no field: a field is written NodeId::name")
        if not isinstance(node, dict) or node.get("class_type") not in OBJECT_INFO:
            message = f"Cannot set {short(field_id)} because node {short(node_id)} does not exist."
            return changed, _body("invalid_prompt", message, f"Node ID '#{short(node_id)}'")
        config = _inputs(node).get(name)
        if config is None:
            found.setdefault(node_id, []).append(_unknown_input(node, name, value))
            continue
        error = None
        if not _is_link_like(value):
            value, error = read_literal(name, config, value)  # noqa: PLW2901  # the value as its type reads it
        if error:
            found.setdefault(node_id, []).append(error)
        node.setdefault("inputs", {})[name] = value
    if not found:
        return changed, None
    dependent = {node_id: [o for o in _outputs(changed) if node_id in (reach(changed, o) or [])] for node_id in found}
    return changed, _failed({k: _node_body(changed, k, errors, dependent[k]) for k, errors in found.items()})


def normalise(graph: Graph) -> Graph:
    """A valid graph with every literal in the type of its input (8 -> 8.0), as ComfyUI does before it runs one."""
    plain: Graph = copy.deepcopy(graph)
    for node in plain.values():
        for name, config in _inputs(node).items():
            if name in node.get("inputs", {}) and not _is_link_like(node["inputs"][name]):
                node["inputs"][name], _ = read_literal(name, config, node["inputs"][name])
    return plain


def reach(graph: Mapping[str, Any], start: str) -> list[str] | None:
    """The nodes that `start` needs, each after those it needs, `start` last; None if they form a circle."""
    order: list[str] = []
    open_nodes: set[str] = set()
    stack: list[tuple[str, bool]] = [(start, False)]
    done: set[str] = set()
    while stack:
        node_id, is_left = stack.pop()
        if is_left:
            open_nodes.discard(node_id)
            done.add(node_id)
            order.append(node_id)
            continue
        if node_id in done:
            continue
        if node_id in open_nodes:
            return None
        open_nodes.add(node_id)
        stack.append((node_id, True))
        needed = [linked for linked in linked_nodes(graph[node_id]) if linked in graph]
        if any(linked in open_nodes for linked in needed):
            return None
        stack.extend((linked, False) for linked in needed if linked not in done)
    return order


def linked_nodes(node: Mapping[str, Any]) -> list[str]:
    inputs = node.get("inputs")
    values = inputs.values() if isinstance(inputs, dict) else ()
    return [value[0] for value in values if _is_link(value)]


def _outputs(graph: Graph) -> list[str]:
    known = ((k, OBJECT_INFO.get(node.get("class_type", ""))) for k, node in graph.items() if isinstance(node, dict))
    return [node_id for node_id, entry in known if entry and entry["output_node"]]


def _check_class(node_id: str, node: Any) -> Body | None:
    details = f"Node ID '#{short(node_id)}'"
    if not isinstance(node, dict) or not isinstance(node.get("class_type"), str):
        message = "Cannot execute because a node is missing the class_type property."
        return _body("invalid_prompt", message, details)
    if node["class_type"] not in OBJECT_INFO:
        message = f"Cannot execute because node {short(node['class_type'])} does not exist."
        return _body("invalid_prompt", message, details)
    if not isinstance(node.get("inputs", {}), dict):
        return _body("invalid_prompt", "Cannot execute because the inputs of a node are no mapping.", details)
    return None


def _node_errors(graph: Graph, node_id: str, input_folder: Path | None) -> Iterator[Body]:
    node = graph[node_id]
    given = node.get("inputs", {})
    known = _inputs(node)
    read: dict[str, Any] = {}
    sound = True
    for name, value in given.items():
        if name not in known:
            yield _unknown_input(node, name, value)
    for name, config in known.items():
        if name not in given:
            error: Body | None = make_error(
                "required_input_missing", "Required input is missing", name, input_name=name
            )
        elif _is_link_like(given[name]):
            error = _check_link(graph, name, config, given[name])
        else:
            read[name], error = read_literal(name, config, given[name])
            error = error or check_range(name, config, read[name])
            if not error and name == "image" and node["class_type"] == "LoadImage":
                error = _check_file(read[name], input_folder)
        if error:
            sound = False
            yield error
    if sound and {"width", "height", "batch_size"} <= read.keys():
        area = read["width"] * read["height"] * read["batch_size"]
        if area > MAX_AREA_PX:
            details = (
                f"width - {read['batch_size']} x {read['width']}x{read['height']} are {area / 1e6:.1f} million pixels; "
                f"the sandbox makes up to {MAX_AREA_PX / 1e6:.1f} million in one batch of up to {MAX_BATCH}"
            )
            yield make_error(
                "custom_validation_failed", "Custom validation failed for node", details, input_name="width"
            )


def _check_link(graph: Graph, name: str, config: list[Any], value: list[Any]) -> Body | None:
    if len(value) != 2:
        message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
        return make_error(
            "bad_linked_input", message, name, input_name=name, input_config=config, received_value=short(value)
        )
    linked, slot = value
    source = graph.get(linked) if isinstance(linked, str) else None
    given_types = OBJECT_INFO[source["class_type"]]["output"] if source else []
    if isinstance(slot, bool) or not isinstance(slot, int) or not 0 <= slot < len(given_types):
        message = "Exception when validating inner node"
        kind = "KeyError" if source is None else "IndexError"
        return make_error(
            "exception_during_validation", message, f"{short(linked)!r}", exception_type=kind, traceback=[]
        )
    if given_types[slot] == config[0]:
        return None
    details = f"{name}, received_type({given_types[slot]}) mismatch input_type({type_name(config)})"
    return make_error(
        "return_type_mismatch",
        "Return type mismatch between linked nodes",
        details,
        input_name=name,
        input_config=config,
        received_type=given_types[slot],
        linked_node=value,
    )


def _check_file(name: str, input_folder: Path | None) -> Body | None:
    if input_folder is None:
        return None
    try:
        input_path(input_folder, name)
    except ValueError:
        details = f"image - Invalid image file: {short(name)}"
        return make_error("custom_validation_failed", "Custom validation failed for node", details, input_name="image")
    return None


def _unknown_input(node: Mapping[str, Any], name: str, value: Any) -> Body:
    known = ", ".join(_inputs(node))
    details = f"{short(name)}, {node['class_type']} has {known}"
    return make_error("unknown_input", "Unknown input", details, input_name=short(name), received_value=short(value))


def _inputs(node: Mapping[str, Any]) -> dict[str, list[Any]]:
    entry = OBJECT_INFO[node["class_type"]]["input"]
    return {**entry["required"], **entry.get("optional", {})}


def _is_link_like(value: Any) -> bool:
    return isinstance(value, list)


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


def _node_body(graph: Graph, node_id: str, errors: list[Body], outputs: list[str]) -> Body:
    return {"errors": errors, "dependent_outputs": outputs, "class_type": graph[node_id]["class_type"]}


def _body(kind: str, message: str, details: str = "") -> Body:
    return {"error": make_error(kind, message, details), "node_errors": {}}


def _failed(node_errors: Body, *, or_none: bool = False) -> Body | None:
    if or_none and not node_errors:
        return None
    body = _body("prompt_outputs_failed_validation", "Prompt outputs failed validation")
    return {**body, "node_errors": node_errors}
