"""Read the node types of a ComfyUI server (`/object_info`), and derive the fields of a graph from them."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import FieldError, ServiceError
from comflowy_nb.workflow.fields import FieldType
from comflowy_nb.workflow.object_info import read_field

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from comflowy_nb.workflow.fields import Field
    from comflowy_nb.workflow.graph import Graph


CACHE_S = 20.0  # a new model file on the server is in the choices after this time
_DYNAMIC_COMBO = "COMFY_DYNAMICCOMBO_V3"  # a choice whose options have inputs


class NodeTypes:
    """The descriptions of a server's node classes. Each is requested when it is first needed.

    Parameters
    ----------
    request : callable
        Called with a node class; returns its description, or None if the server does not have the class.
    """

    def __init__(self, request: Callable[[str], Mapping[str, Any] | None]) -> None:
        self._request = request
        self._cache: dict[str, tuple[float, Mapping[str, Any] | None]] = {}

    def fields(self, graph: Graph) -> dict[str, Field]:
        """Return the fields of a graph by id, in the order of the graph. The values in the graph are the defaults.

        An input that takes a value is a field even if the graph does not contain it. For a class that the server does
        not have, only the inputs in the graph are fields.

        Raises
        ------
        ServiceError
            If there was no usable response.
        """
        from_graph = graph.fields()
        fields: dict[str, Field] = {}
        for node, entry in graph.nodes.items():
            class_type = str(entry["class_type"])
            title = graph.title(node)
            specs = _inputs(self._type(class_type), entry["inputs"])
            for name in [*entry["inputs"], *(name for name in specs if name not in entry["inputs"])]:
                field_id = f"{node}::{name}"
                known = from_graph.get(field_id)
                if known is None and name in entry["inputs"]:  # a link
                    continue
                field = _read_value_field(field_id, specs.get(name), title, class_type)
                if known is not None:
                    fields[field_id] = known if field is None else replace(field, default=known.default)
                elif field is not None and not field.extra.get("forceInput"):
                    fields[field_id] = field
        return fields

    def descriptions(self, classes: Iterable[str]) -> dict[str, Mapping[str, Any] | None]:
        """Return a mapping from node class to its description; None if the server does not have the class.

        Raises
        ------
        ServiceError
            If there was no usable response.
        """
        return {name: self._type(name) for name in classes}

    def options(self, class_type: str, name: str) -> tuple[str, ...]:
        """Return the choices of one input; empty if they are unknown."""
        try:
            spec = _inputs(self._type(class_type), {}).get(name)
            return tuple(str(option) for option in read_field(f"0::{name}", spec).options) if spec else ()
        except (ServiceError, FieldError):
            return ()

    def _type(self, class_type: str) -> Mapping[str, Any] | None:
        requested_s, description = self._cache.get(class_type, (float("-inf"), None))
        if time.monotonic() - requested_s > CACHE_S:
            description = self._request(class_type)
            self._cache[class_type] = (time.monotonic(), description)
        return description


def _read_value_field(field_id: str, spec: Any, title: str | None, class_type: str) -> Field | None:
    """Return the field of an input, or None if the input takes links or has no valid description."""
    if spec is None:
        return None
    try:
        field = read_field(field_id, spec, node_title=title, class_type=class_type)
    except FieldError:
        return None
    return field if field.type is not FieldType.UNKNOWN else None  # inputs of all other types are links


def _inputs(description: Mapping[str, Any] | None, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping from input name to description, for a node of this class with these values."""
    inputs: dict[str, Any] = {}
    for name, spec in _listed(description.get("input") if description is not None else None):
        for inner_name, inner_spec in _flatten(name, spec, values):
            inputs.setdefault(inner_name, inner_spec)
    return inputs


def _listed(inputs: object) -> Iterator[tuple[str, Any]]:
    for group in ("required", "optional"):
        listed = inputs.get(group) if isinstance(inputs, dict) else None
        if isinstance(listed, dict):
            yield from listed.items()


def _flatten(name: str, spec: Any, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield an input, and for a dynamic combo the inputs of its options, such as `format.bit_depth` of `format`.

    The inputs of the chosen option come first, because another option may have an input with the same name and another
    range.
    """
    options = _options_of_dynamic_combo(spec)
    if options is None:
        yield name, spec
        return
    yield name, ["COMBO", {**spec[1], "options": list(options)}]
    for option in sorted(options, key=lambda key: key != values.get(name)):
        for inner_name, inner_spec in _listed(options[option]):
            yield from _flatten(f"{name}.{inner_name}", inner_spec, values)


def _options_of_dynamic_combo(spec: Any) -> dict[str, Any] | None:
    """Return a mapping from option to its inputs, or None for an input that is not a dynamic combo."""
    is_dynamic = isinstance(spec, list) and len(spec) > 1 and spec[0] == _DYNAMIC_COMBO and isinstance(spec[1], dict)
    listed = spec[1].get("options") if is_dynamic else None
    if not isinstance(listed, list):
        return None
    options = [option for option in listed if isinstance(option, dict) and isinstance(option.get("key"), str)]
    return {option["key"]: option.get("inputs") for option in options}
