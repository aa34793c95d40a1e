"""Follow links through subgraphs, reroutes and bypassed nodes to their origin. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from comflowy_nb.workflow.editor_graph import BYPASSED, INPUT_NODE, MUTED, Canvas, EditorNode, Link
from comflowy_nb.workflow.editor_widgets import Slot, class_inputs, class_outputs
from comflowy_nb.workflow.syntax.json_values import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from comflowy_nb.workflow.editor_graph import Definition


_PRIMITIVE = "PrimitiveNode"  # holds the value of a widget
_SETTERS = frozenset({"SetNode", "easy setNode"})  # of KJNodes and Easy-Use: give a link a name
_GETTERS = frozenset({"GetNode", "easy getNode"})
_PASSING = frozenset({"Reroute", "Reroute (rgthree)"}) | _SETTERS
_RGTHREE = (
    *("Label", "Bookmark", "Fast Muter", "Fast Bypasser", "Fast Groups Muter", "Fast Groups Bypasser"),
    *("Mute / Bypass Relay", "Mute / Bypass Repeater", "Fast Actions Button", "Node Collector", "Random Unmuter"),
)
NOTES = frozenset({"Note", "MarkdownNote"})
EDITOR_ONLY = _PASSING | _GETTERS | NOTES | {_PRIMITIVE} | {f"{name} (rgthree)" for name in _RGTHREE}
_ANY = ("*", "")


@dataclass(frozen=True, slots=True)
class Output:
    """An output of a node in the API graph."""

    node: str
    slot: int


@dataclass(frozen=True, slots=True)
class Value:
    """A constant value of an input that has no link."""

    value: Any


class _Step(NamedTuple):
    """A step on the path of a link: an input (by name) or an output (by index) of a node."""

    canvas: Canvas
    node: str
    slot: str | int
    type: str


class Links:
    """Finds the origin of links.

    Parameters
    ----------
    descriptions
        Node class -> its entry in `/object_info`.
    definitions
        Id -> subgraph.

    Attributes
    ----------
    problems
        The reasons why links can't be followed, without duplicates.
    damaged
        Inputs whose link, or the origin of the link, is missing in the file.
    """

    def __init__(
        self, descriptions: Mapping[str, Mapping[str, Any] | None], definitions: Mapping[str, Definition]
    ) -> None:
        self._descriptions = descriptions
        self._definitions = definitions
        self._starts: dict[_Step, Output | Value | None] = {}
        self._slots: dict[int, list[Slot]] = {}
        self._setters: dict[Canvas, dict[str, EditorNode]] = {}
        self.problems: dict[str, None] = {}
        self.damaged: dict[str, None] = {}

    def class_name(self, node: EditorNode) -> str:
        """Return the class of a node, or the name of the subgraph that it uses."""
        used = self._definitions.get(node.class_type)
        return node.class_type if used is None else used.name

    def slots(self, node: EditorNode) -> list[Slot]:
        """Return the inputs of a node in the editor's order: the inputs of its class, then others in the file."""
        if id(node) in self._slots:
            return self._slots[id(node)]
        used, description = self._definitions.get(node.class_type), self._descriptions.get(node.class_type)
        if used is not None:
            slots = [Slot(name, type_) for name, type_ in used.inputs]
        else:
            slots = class_inputs(description, node.values) if description is not None else []
        known = {slot.name for slot in slots}
        slots += [Slot(slot.name, slot.type) for slot in node.inputs.values() if slot.name not in known]
        self._slots[id(node)] = slots
        return slots

    def start(self, canvas: Canvas, node: EditorNode, slot: Slot) -> Output | Value | None:
        """Return the origin of the link of an input; None if the input has no link, or the link has no origin."""
        step: _Step | Output | Value | None = _Step(canvas, node.id, slot.name, slot.type)
        passed: dict[_Step, None] = {}
        while isinstance(step, _Step):
            if step in passed:
                names = dict.fromkeys(f"{visited.canvas.prefix}{visited.node}" for visited in passed)
                self.problems[f"a link forms a cycle through the nodes {', '.join([*names][:8])}"] = None
                step = None
            elif step in self._starts:
                step = self._starts[step]
            else:
                passed[step] = None
                step = self._before_input(step) if isinstance(step.slot, str) else self._before_output(step)
        self._starts.update(dict.fromkeys(passed, step))
        return step

    def _before_input(self, step: _Step) -> _Step | Value | None:
        canvas, node_id, name, type_ = step
        entry = canvas.definition.nodes[node_id].inputs.get(str(name))
        if entry is None or entry.link is None:
            return None
        link = canvas.definition.links.get(entry.link)
        if link is None or (link.node != INPUT_NODE and link.node not in canvas.definition.nodes):
            self.damaged[f"{canvas.prefix}{node_id}::{name}"] = None
            return None
        return self._at_start(canvas, link, type_)

    def _at_start(self, canvas: Canvas, link: Link, type_: str) -> _Step | Value | None:
        if link.node != INPUT_NODE:
            return _Step(canvas, link.node, link.slot, type_) if link.node in canvas.definition.nodes else None
        if canvas.outer is None or not 0 <= link.slot < len(canvas.definition.inputs):
            return None
        outer, user = canvas.outer
        name, outer_type = canvas.definition.inputs[link.slot]
        entry = user.inputs.get(name)
        if entry is None or entry.link is None:
            return Value(canvas.promoted[name]) if name in canvas.promoted else None
        return _Step(outer, user.id, name, type_ if outer_type in _ANY else outer_type)

    def _before_output(self, step: _Step) -> _Step | Output | Value | None:
        canvas, node_id, index, type_ = step
        assert isinstance(index, int)
        node = canvas.definition.nodes[node_id]
        if node.class_type == _PRIMITIVE:
            return Value(node.values[0]) if isinstance(node.values, list) and node.values else None
        if node.mode == MUTED:
            return None
        if node.mode == BYPASSED:
            slot = self._bypass(node, index, type_)
            if slot is None:
                return None
            return _Step(canvas, node_id, slot.name, type_ if slot.type in _ANY else slot.type)
        if node_id in canvas.inner:
            inner = canvas.inner[node_id]
            link = inner.definition.results.get(index)
            return None if link is None else self._at_start(inner, link, type_)
        if node.class_type in _PASSING:
            slots = self.slots(node)
            return _Step(canvas, node_id, slots[index].name, type_) if 0 <= index < len(slots) else None
        if node.class_type in _GETTERS:
            return self._find_set_node(canvas, node, type_)
        return None if node.class_type in EDITOR_ONLY else Output(f"{canvas.prefix}{node_id}", index)

    def _bypass(self, node: EditorNode, index: int, type_: str) -> Slot | None:
        """Return the input whose link replaces an output of a bypassed node: at the same index, or of the same type."""
        slots = self.slots(node)
        same = slots[index] if 0 <= index < len(slots) else None
        if type_ in _ANY:
            return same or (slots[0] if slots else None)
        output_type = self._output_type(node, index)
        fitting = [slot for slot in slots if _fits(slot.type, type_) and _fits(slot.type, output_type)]
        if same in fitting:
            return same
        return next((slot for slot in slots if slot.type == type_), fitting[0] if fitting else None)

    def _output_type(self, node: EditorNode, index: int) -> str:
        used, description = self._definitions.get(node.class_type), self._descriptions.get(node.class_type)
        described = class_outputs(description) if description is not None else []
        types = described if used is None else used.outputs
        types = types or node.outputs
        return types[index] if 0 <= index < len(types) else "*"

    def _find_set_node(self, canvas: Canvas, node: EditorNode, type_: str) -> _Step | None:
        """Return the input of the Set node that a Get node names, on the same canvas or an outer canvas."""
        name = _name_of(node)
        around: Canvas | None = canvas
        while around is not None:
            if around not in self._setters:
                setters = [setter for setter in around.definition.nodes.values() if setter.class_type in _SETTERS]
                self._setters[around] = {_name_of(setter): setter for setter in reversed(setters)}
            setter = self._setters[around].get(name)
            if setter is not None:
                slots = self.slots(setter)
                return _Step(around, setter.id, slots[0].name, type_) if slots else None
            around = around.outer[0] if around.outer is not None else None
        self.problems[f"node {canvas.prefix}{node.id} ({node.class_type}) gets {shown(name)}, which no node sets"] = (
            None
        )
        return None


def _name_of(node: EditorNode) -> str:
    return str(node.values[0]) if isinstance(node.values, list) and node.values else ""


def _fits(one: str, other: str) -> bool:
    """Return True if a link can connect two types. A type may be a list of types, separated by commas."""
    if one in _ANY or other in _ANY:
        return True
    parts, other_parts = ({part.strip().lower() for part in types.split(",")} for types in (one, other))
    return not parts.isdisjoint(other_parts)
