"""The node types of a ComfyUI server (`/object_info`), and the fields of a graph by them."""

from __future__ import annotations

import operator
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import FieldError, ServiceError
from comflowy_nb.workflow.field_spec import read_field
from comflowy_nb.workflow.fields import FieldType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from comflowy_nb.workflow.fields import Field
    from comflowy_nb.workflow.graph import Graph

__all__ = ["NodeTypes"]

FRESH_S = 20.0  # a LoRA that was put there meanwhile is found after so long
_BRANCHING = "COMFY_DYNAMICCOMBO_V3"
# what a person sets; all other types of an input are links
_VALUES = frozenset(
    {FieldType.INT, FieldType.FLOAT, FieldType.BOOLEAN, FieldType.STRING, FieldType.CHOICE, FieldType.IMAGEUPLOAD}
)


class NodeTypes:
    """What the server says of its node types, each asked for when it is needed.

    Parameters
    ----------
    ask
        Class of a node -> its description; None where the server has no such class.
    """

    def __init__(self, ask: Callable[[str], Mapping[str, Any] | None]) -> None:
        self._ask = ask
        self._known: dict[str, tuple[float, Mapping[str, Any] | None]] = {}
        self._last: tuple[Graph, list[Mapping[str, Any] | None], dict[str, Field]] | None = None

    def fields(self, graph: Graph) -> dict[str, Field]:
        """Field id -> field, in the order of the graph; what is set in the graph is the default.

        An input that the graph leaves out and that takes a value is a field too. Of a class that the server has not,
        the fields are as the graph tells.

        Raises
        ------
        ServiceError
            If there was no usable answer.
        """
        types = [self._type(str(one["class_type"])) for one in graph.nodes.values()]
        last = self._last
        if last is not None and last[0] == graph and all(map(operator.is_, last[1], types)):  # run after run
            return dict(last[2])
        found = self._read_fields(graph, types)
        self._last = (graph, types, found)
        return dict(found)

    @staticmethod
    def _read_fields(graph: Graph, types: Sequence[Mapping[str, Any] | None]) -> dict[str, Field]:
        told = graph.fields()
        found: dict[str, Field] = {}
        for (node, one), type_ in zip(graph.nodes.items(), types, strict=True):
            class_type = str(one["class_type"])
            title = graph.title(node)
            described = _inputs(type_, one["inputs"])
            for name in one["inputs"]:
                field_id = f"{node}::{name}"
                if field_id in told:
                    found[field_id] = _described(told[field_id], described.get(name), title, class_type)
            for name, spec in described.items():
                field_id = f"{node}::{name}"
                if name not in one["inputs"] and (extra := _unset(field_id, spec, title, class_type)) is not None:
                    found[field_id] = extra
        return found

    def options(self, class_type: str, name: str) -> tuple[str, ...]:
        """The choices of one input; none where they are not known."""
        try:
            spec = _inputs(self._type(class_type), {}).get(name)
            return tuple(str(option) for option in read_field(f"0::{name}", spec).options) if spec else ()
        except (ServiceError, FieldError):
            return ()

    def _type(self, class_type: str) -> Mapping[str, Any] | None:
        asked_s, known = self._known.get(class_type, (float("-inf"), None))
        if time.monotonic() - asked_s > FRESH_S:
            known = self._ask(class_type)
            self._known[class_type] = (time.monotonic(), known)
        return known


def _inputs(described: Mapping[str, Any] | None, values: Mapping[str, Any]) -> dict[str, Any]:
    """Name -> what a node type says of an input, for a node that has these values."""
    inputs = described.get("input") if described is not None else None
    found: dict[str, Any] = {}
    for group in ("required", "optional"):
        for name, spec in _listed(inputs, group):
            for inner, one in _flat(name, spec, values):
                found.setdefault(inner, one)
    return found


def _listed(inputs: object, group: str) -> Iterator[tuple[str, Any]]:
    listed = inputs.get(group) if isinstance(inputs, dict) else None
    if isinstance(listed, dict):
        yield from listed.items()


def _flat(name: str, spec: Any, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """An input; where its choice brings others along (`format` brings `format.bit_depth`), those of each option too.

    Those of the option that is chosen come first: another may have one of the same name with another range.
    """
    options = _branches(spec)
    if options is None:
        yield name, spec
        return
    yield name, ["COMBO", {**spec[1], "options": list(options)}]
    for option in sorted(options, key=lambda key: key != values.get(name)):
        for group in ("required", "optional"):
            for inner, one in _listed(options[option], group):
                yield from _flat(f"{name}.{inner}", one, values)


def _branches(spec: Any) -> dict[str, Any] | None:
    """Option -> the inputs it brings along; None for an input that is no such choice."""
    is_one = isinstance(spec, list) and len(spec) > 1 and spec[0] == _BRANCHING and isinstance(spec[1], dict)
    listed = spec[1].get("options") if is_one else None
    if not isinstance(listed, list):
        return None
    options = [option for option in listed if isinstance(option, dict) and isinstance(option.get("key"), str)]
    return {option["key"]: option.get("inputs") for option in options}


def _described(told: Field, spec: Any, title: str | None, class_type: str) -> Field:
    """A field that the graph has, by the server's description of it."""
    if spec is None:
        return told
    try:
        one = read_field(told.id, spec, node_title=title, class_type=class_type)
    except FieldError:
        return told
    return replace(one, default=told.default) if one.type in _VALUES else told


def _unset(field_id: str, spec: Any, title: str | None, class_type: str) -> Field | None:
    """A field that the graph leaves to the server's default; None for an input that takes links."""
    try:
        one = read_field(field_id, spec, node_title=title, class_type=class_type)
    except FieldError:
        return None
    return one if one.type in _VALUES and not one.extra.get("forceInput") else None
