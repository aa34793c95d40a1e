"""Validate graphs and params; errors have the shape of ComfyUI's 400 responses.

`{"error": {"type", "message", "details", "extra_info"}, "node_errors": {"3": {"errors": [...], "dependent_outputs",
"class_type"}}}`. Unlike in ComfyUI, an unknown input is an error, a number is never truncated (7.5 steps), and one
invalid output fails the run, where ComfyUI silently skips it.
"""

from __future__ import annotations

import copy
import math
import operator
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from comflowy_nb.sandbox.engine.image_ops import MAX_AREA_PX
from comflowy_nb.sandbox.engine.nodes import MAX_BATCH, NODE_TYPES, input_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

Body: TypeAlias = "dict[str, Any]"
Graph: TypeAlias = "dict[str, dict[str, Any]]"

MAX_NODES: Final = 1000
MAX_TEXT: Final = 100_000  # characters of one text
_SHOWN: Final = 200  # characters of a received value that an error shows
_LITERALS: Final = {"INT", "FLOAT", "STRING"}


def validate(graph: Any, input_folder: Path) -> Body | None:
    """Return the errors of a graph in API format as ComfyUI's 400 body; None for a valid graph.

    Parameters
    ----------
    graph : object
        Node id -> {"class_type", "inputs", "_meta"?}.
    input_folder : Path
        Folder of LoadImage.
    """
    if not isinstance(graph, dict):
        return _body("no_prompt", "No prompt provided", "No prompt provided")
    if len(graph) > MAX_NODES:
        return _body("invalid_prompt", f"A graph of {len(graph)} nodes; the sandbox runs up to {MAX_NODES}.")
    for node_id, node in graph.items():
        problem = _check_class(node_id, node)
        if problem:
            return problem
    outputs = _outputs(graph)
    if not outputs:
        return _body("prompt_no_outputs", "Prompt has no outputs")
    reached: dict[str, list[str]] = {}
    for output in outputs:
        order = _reach(graph, output)
        if order is None:
            return _failed({})
        for node_id in order:
            reached.setdefault(node_id, []).append(output)
    errors = {node_id: list(_node_errors(graph, node_id, input_folder)) for node_id in reached}
    bodies = {
        node_id: _node_body(graph, node_id, found, reached[node_id]) for node_id, found in errors.items() if found
    }
    return _failed(bodies) if bodies else None


def apply_params(graph: Mapping[str, Any], params: Mapping[str, Any]) -> tuple[Graph, Body | None]:
    """Return a valid graph with `NodeId::field` values set, and the errors (None without errors).

    This function checks nodes, fields and types; `validate` checks ranges and choices.
    """
    changed: Graph = copy.deepcopy(dict(graph))
    errors: dict[str, list[Body]] = {}
    for field_id, value in params.items():
        node_id, _, name = field_id.partition("::")
        node = changed.get(node_id)
        if not name:
            return changed, _body("invalid_prompt", f"{_short(field_id)} is not a field: use NodeId::name")
        if node is None:
            message = f"Cannot set {_short(field_id)} because node {_short(node_id)} does not exist."
            return changed, _body("invalid_prompt", message, f"Node ID '#{_short(node_id)}'")
        config = _inputs(node).get(name)
        if config is None:
            errors.setdefault(node_id, []).append(_unknown_input(node, name, value))
            continue
        error = None
        if not isinstance(value, list):
            value, error = _read_literal(name, config, value)  # noqa: PLW2901
        if error:
            errors.setdefault(node_id, []).append(error)
        node.setdefault("inputs", {})[name] = value
    if not errors:
        return changed, None
    dependent = {node_id: [o for o in _outputs(changed) if node_id in (_reach(changed, o) or [])] for node_id in errors}
    return changed, _failed({k: _node_body(changed, k, node_errors, dependent[k]) for k, node_errors in errors.items()})


def normalise(graph: Mapping[str, Any]) -> Graph:
    """Return a valid graph with each literal converted to the type of its input (8 -> 8.0), as ComfyUI does."""
    plain: Graph = copy.deepcopy(dict(graph))
    for node in plain.values():
        for name, config in _inputs(node).items():
            if name in node.get("inputs", {}) and not isinstance(node["inputs"][name], list):
                node["inputs"][name], _ = _read_literal(name, config, node["inputs"][name])
    return plain


def execution_order(graph: Graph) -> list[str]:
    """Return the nodes of a valid graph that its outputs need, in topological order."""
    return list(dict.fromkeys(node_id for output in _outputs(graph) for node_id in _reach(graph, output) or ()))


def linked_nodes(node: Mapping[str, Any]) -> list[str]:
    return [value[0] for value in node.get("inputs", {}).values() if _is_link(value)]


def _reach(graph: Graph, start: str) -> list[str] | None:
    """Return the nodes that `start` needs in topological order, `start` last; None for a cycle."""
    order: dict[str, None] = {}
    path = {start: linked_nodes(graph[start])}  # node -> the links that are left to follow
    while path:
        node_id, links = next(reversed(path.items()))
        linked = links.pop() if links else None
        if linked is None:
            del path[node_id]
            order[node_id] = None
        elif linked in path:
            return None
        elif linked in graph and linked not in order:
            path[linked] = linked_nodes(graph[linked])
    return list(order)


def _outputs(graph: Graph) -> list[str]:
    return [node_id for node_id, node in graph.items() if NODE_TYPES[node["class_type"]].output_kind]


def _check_class(node_id: str, node: Any) -> Body | None:
    details = f"Node ID '#{_short(node_id)}'"
    if not isinstance(node, dict) or not isinstance(node.get("class_type"), str):
        message = "Cannot execute because a node is missing the class_type property."
        return _body("invalid_prompt", message, details)
    if node["class_type"] not in NODE_TYPES:
        message = f"Cannot execute because node {_short(node['class_type'])} does not exist."
        return _body("invalid_prompt", message, details)
    if not isinstance(node.get("inputs", {}), dict):
        return _body("invalid_prompt", "Cannot execute because the inputs of a node are not a mapping.", details)
    return None


def _node_errors(graph: Graph, node_id: str, input_folder: Path) -> Iterator[Body]:
    node = graph[node_id]
    inputs = node.get("inputs", {})
    known = _inputs(node)
    values: dict[str, Any] = {}
    sound = True
    for name, value in inputs.items():
        if name not in known:
            yield _unknown_input(node, name, value)
    for name, config in known.items():
        if name not in inputs:
            error: Body | None = _error("required_input_missing", "Required input is missing", name, input_name=name)
        elif isinstance(inputs[name], list):
            error = _check_link(graph, name, config, inputs[name])
        else:
            values[name], error = _read_literal(name, config, inputs[name])
            error = error or _check_range(name, config, values[name])
            if not error and name == "image" and node["class_type"] == "LoadImage":
                error = _check_file(values[name], input_folder)
        if error:
            sound = False
            yield error
    if sound and {"width", "height", "batch_size"} <= values.keys():
        area = values["width"] * values["height"] * values["batch_size"]
        if area > MAX_AREA_PX:
            details = (
                f"width - {values['batch_size']} x {values['width']}x{values['height']} are "
                f"{area / 1e6:.1f} million pixels; "
                f"the sandbox renders up to {MAX_AREA_PX / 1e6:.1f} million in one batch of up to {MAX_BATCH}"
            )
            yield _error("custom_validation_failed", "Custom validation failed for node", details, input_name="width")


def _check_link(graph: Graph, name: str, config: list[Any], value: list[Any]) -> Body | None:
    facts = {"input_name": name, "input_config": config}
    if len(value) != 2:
        message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
        return _error("bad_linked_input", message, name, **facts, received_value=_short(value))
    linked, slot = value
    source = graph.get(linked) if isinstance(linked, str) else None
    given_types = NODE_TYPES[source["class_type"]].outputs if source else []
    if isinstance(slot, bool) or not isinstance(slot, int) or not 0 <= slot < len(given_types):
        message = "Exception when validating inner node"
        kind = "KeyError" if source is None else "IndexError"
        return _error("exception_during_validation", message, f"{_short(linked)!r}", exception_type=kind, traceback=[])
    if given_types[slot] == config[0]:
        return None
    facts |= {"received_type": given_types[slot], "linked_node": value}
    expected = config[0] if isinstance(config[0], str) else "COMBO"
    details = f"{name}, received_type({given_types[slot]}) mismatch input_type({expected})"
    return _error("return_type_mismatch", "Return type mismatch between linked nodes", details, **facts)


def _check_file(name: str, input_folder: Path) -> Body | None:
    try:
        input_path(input_folder, name)
    except ValueError:
        details = f"image - Invalid image file: {_short(name)}"
        return _error("custom_validation_failed", "Custom validation failed for node", details, input_name="image")
    return None


def _unknown_input(node: Mapping[str, Any], name: str, value: Any) -> Body:
    known = ", ".join(_inputs(node))
    details = f"{_short(name)}, {node['class_type']} has {known}"
    return _error("unknown_input", "Unknown input", details, input_name=_short(name), received_value=_short(value))


def _inputs(node: Mapping[str, Any]) -> Mapping[str, list[Any]]:
    return NODE_TYPES[node["class_type"]].inputs


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


def _node_body(graph: Graph, node_id: str, errors: list[Body], outputs: list[str]) -> Body:
    return {"errors": errors, "dependent_outputs": outputs, "class_type": graph[node_id]["class_type"]}


def _body(kind: str, message: str, details: str = "") -> Body:
    return {"error": _error(kind, message, details), "node_errors": {}}


def _failed(node_errors: Body) -> Body:
    body = _body("prompt_outputs_failed_validation", "Prompt outputs failed validation")
    return {**body, "node_errors": node_errors}


# -- one value --------------------------------------------------------------------------------------------------------


def _read_literal(name: str, config: list[Any], value: Any) -> tuple[Any, Body | None]:
    """Return the value in the type of its input, or unchanged with its error."""
    if isinstance(config[0], list):
        return value, None
    try:
        return _convert(config[0], value), None
    except (ValueError, TypeError, OverflowError) as error:
        message = f"Failed to convert an input value to a {config[0]} value"
        details = f"{name}, {_short(value)}, {error}"
        facts = {"input_name": name, "input_config": config, "received_value": _short(value)}
        return value, _error("invalid_input_type", message, details, **facts, exception_message=str(error))


def _convert(kind: str, value: Any) -> Any:
    if kind not in _LITERALS:
        raise ValueError(f"an input of type {kind} takes a link to another node")
    if value is None or isinstance(value, (list, dict)):
        raise TypeError(f"not {'an' if kind == 'INT' else 'a'} {kind}")
    if kind == "STRING":
        text = str(value)
        if len(text) > MAX_TEXT:
            raise ValueError(f"a text of {len(text)} characters; the sandbox accepts up to {MAX_TEXT}")
        return text
    if isinstance(value, bool):
        raise TypeError("true and false are not numbers")
    if isinstance(value, str) and len(value) > 400:  # the longest float has about 310 digits
        raise ValueError("too long for a number")
    if kind == "INT":
        if isinstance(value, float) and value != int(value):
            raise ValueError("not a whole number")
        return int(value)
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number


def _check_range(name: str, config: list[Any], value: Any) -> Body | None:
    kind, options = config
    facts = {"input_name": name, "input_config": config}
    if isinstance(kind, list):
        if isinstance(value, str) and (value in kind or options.get("image_upload")):
            return None
        shown = f"{_short(value)!r}" if isinstance(value, str) else _short(value)
        details = f"{name}: {shown} not in {kind}"
        return _error("value_not_in_list", "Value not in list", details, **facts, received_value=_short(value))
    for limit, compared, is_beyond in (("min", "smaller", operator.lt), ("max", "bigger", operator.gt)):
        if limit in options and is_beyond(value, options[limit]):
            message = f"Value {_short(value)} {compared} than {limit} of {options[limit]}"
            received = value if abs(value) < 10**_SHOWN else _short(value)
            return _error(f"value_{compared}_than_{limit}", message, name, **facts, received_value=received)
    return None


def _error(kind: str, message: str, details: str, **extra_info: Any) -> Body:
    return {"type": kind, "message": message, "details": details, "extra_info": extra_info}


def _short(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**_SHOWN:
        return "a number of more than 200 digits"
    text = str(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
