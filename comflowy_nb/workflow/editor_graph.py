"""Read workflows in the format of ComfyUI's editor: nodes and links, with subgraphs expanded. Pure.

A canvas is the workflow itself or one use of a subgraph. The id of a node in a subgraph begins with the id of the node
that uses the subgraph: node 39 in the subgraph of node 70 is `70:39`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import WorkflowError
from comflowy_nb.workflow.syntax.json_values import is_finite

if TYPE_CHECKING:
    from collections.abc import Iterator


MUTED, BYPASSED = 2, 4  # values of `mode`
INPUT_NODE, _OUTPUT_NODE = "-10", "-20"  # the ends of the links into and out of a subgraph
_THIS_NODE = "-1"  # in `proxyWidgets`: an input of the subgraph, not a widget of a node in it
_MAX_SIZE = 100_000  # links, inputs and values, with every use of a subgraph expanded
_SIZE_OF_NODE = 5  # converting a node takes as long as reading 5 values
_MAX_DEPTH = 32  # maximum depth of nested subgraphs

_Box = tuple[float, float, float, float]  # left, top, width and height


@dataclass(frozen=True, slots=True)
class EditorInput:
    """An input of a node in the file. `link` is the id of its link; None if there is none."""

    name: str
    type: str
    link: str | None
    is_widget: bool


@dataclass(frozen=True, slots=True)
class EditorNode:
    """A node of a canvas.

    Attributes
    ----------
    outputs
        The types of the outputs.
    values
        `widgets_values`: a list, or a mapping from names to values.
    order
        The position in the order in which the editor runs the nodes.
    """

    id: str
    class_type: str
    title: str | None
    mode: object
    order: float
    inputs: Mapping[str, EditorInput]
    outputs: tuple[str, ...]
    values: Any
    properties: Mapping[str, Any]
    box: _Box | None


@dataclass(frozen=True, slots=True)
class Link:
    """Origin of a link: a node output or a subgraph input."""

    node: str
    slot: int


@dataclass(frozen=True, slots=True)
class Definition:
    """The workflow itself, or a subgraph, which several nodes may use.

    Attributes
    ----------
    groups
        Title and position of each group.
    inputs, outputs
        Name and type of each input of a subgraph, type of each output.
    results
        Index of an output -> origin of the link to it.
    """

    name: str
    nodes: Mapping[str, EditorNode]
    links: Mapping[str, Link]
    groups: tuple[tuple[str, _Box], ...]
    inputs: tuple[tuple[str, str], ...]
    outputs: tuple[str, ...]
    results: Mapping[int, Link]
    size: int


@dataclass(slots=True, eq=False)
class Canvas:
    """The workflow itself, or one use of a subgraph.

    Attributes
    ----------
    prefix
        The text before the ids of its nodes in the API graph; empty for the workflow itself.
    outer
        The canvas and the node that use the subgraph. None for the workflow itself.
    inner
        Node id -> canvas of the subgraph that the node uses, unless the node is muted or bypassed.
    promoted
        Name of an input of the subgraph -> the value that its widget has on the outer node.
    overrides
        Id of a node in the subgraph, and name of its widget -> the value that it has on the outer node.
    """

    definition: Definition
    prefix: str = ""
    outer: tuple[Canvas, EditorNode] | None = None
    inner: dict[str, Canvas] = field(default_factory=dict)
    promoted: dict[str, Any] = field(default_factory=dict)
    overrides: dict[tuple[str, str], Any] = field(default_factory=dict)

    def nodes(self) -> Iterator[tuple[Canvas, EditorNode]]:
        """Yield the nodes of this canvas and of its subgraphs, in the editor's order."""
        for node in sorted(self.definition.nodes.values(), key=lambda node: node.order):
            if node.id in self.inner:
                yield from self.inner[node.id].nodes()
            else:
                yield self, node

    def group_of(self, node: EditorNode) -> str | None:
        """Return the title of the smallest group that contains a node, or of the subgraph."""
        around = [(box[2] * box[3], title) for title, box in self.definition.groups if _contains(box, node.box)]
        if around:
            return min(around)[1]
        return (self.outer[1].title or self.definition.name) if self.outer is not None else None


def read_canvas(editor: Mapping[str, Any], definitions: Mapping[str, Definition]) -> Canvas:
    """Return the canvas of a workflow, with the canvases of its subgraphs.

    Raises
    ------
    WorkflowError
        If the workflow is damaged or too large, or if a subgraph contains itself.
    """
    root = Canvas(_read_definition(editor, "the workflow"))
    size = root.definition.size
    waiting = [(root, frozenset[str]())]
    while waiting:
        canvas, path = waiting.pop()
        for node in canvas.definition.nodes.values():
            used = definitions.get(node.class_type)
            if used is None or node.mode in (MUTED, BYPASSED):
                continue
            if node.class_type in path:
                raise WorkflowError(f"the subgraph {used.name!r} contains itself")
            if len(path) >= _MAX_DEPTH:
                raise WorkflowError(f"subgraphs are nested more than {_MAX_DEPTH} deep")
            size += used.size
            if size > _MAX_SIZE:
                raise WorkflowError(_TOO_LARGE)
            inner = Canvas(used, f"{canvas.prefix}{node.id}:", (canvas, node))
            _promote(inner, canvas, node)
            canvas.inner[node.id] = inner
            waiting.append((inner, path | {node.class_type}))
    return root


def read_definitions(editor: Mapping[str, Any]) -> dict[str, Definition]:
    """Return the subgraphs of a workflow by id.

    Raises
    ------
    WorkflowError
        If a subgraph is damaged or too large.
    """
    listed = _items(_mapping(editor.get("definitions")).get("subgraphs"))
    return {
        str(subgraph["id"]): _read_definition(subgraph, f"the subgraph {subgraph.get('name')!r}")
        for subgraph in listed
        if isinstance(subgraph, Mapping) and isinstance(subgraph.get("id"), (str, int))
    }


def _promote(inner: Canvas, canvas: Canvas, node: EditorNode) -> None:
    """Set the values that widgets of a subgraph have on the node that uses it. Empty values are ignored."""
    inputs = _widget_inputs(inner.definition)
    entries = []
    for place in _items(node.properties.get("proxyWidgets")):
        if isinstance(place, list) and len(place) > 1 and isinstance(place[1], str):
            widget = str(place[0]), place[1]
            entries.append((_THIS_NODE, inputs[widget]) if widget in inputs else widget)
    own = dict.fromkeys((_THIS_NODE, name) for name in inputs.values())
    for index, (inner_id, name) in enumerate([*(entry for entry in own if entry not in entries), *entries]):
        if isinstance(node.values, Mapping):
            value = node.values.get(name)
        else:
            value = node.values[index] if index < len(node.values) else None
        value = canvas.overrides.get((node.id, name), value)
        if value is not None and inner_id == _THIS_NODE:
            inner.promoted[name] = value
        elif value is not None:
            inner.overrides[inner_id, name] = value


def _widget_inputs(definition: Definition) -> dict[tuple[str, str], str]:
    """Return a mapping from (node id, widget name) to the input of the subgraph that sets the widget, in order."""
    found = []
    for node in definition.nodes.values():
        for slot in node.inputs.values():
            link = definition.links.get(slot.link) if slot.is_widget and slot.link is not None else None
            if link is not None and link.node == INPUT_NODE and 0 <= link.slot < len(definition.inputs):
                found.append((link.slot, (node.id, slot.name)))
    return {widget: definition.inputs[slot][0] for slot, widget in sorted(found)}


# -- reading -------------------------------------------------------------------------------------------------------

_TOO_LARGE = "the workflow is too large: its nodes, links and values are too many, with the subgraphs expanded"


def _read_definition(graph: Mapping[str, Any], where: str) -> Definition:
    """Parse the nodes and links of a workflow or of a subgraph. Errors name it `where`.

    Raises
    ------
    WorkflowError
        If the data is damaged or too large.
    """
    nodes: dict[str, EditorNode] = {}
    size = 0
    for index, saved in enumerate(_items(graph.get("nodes"))):
        node = _node(saved, index)
        if node is None:
            raise WorkflowError(f"{where} is damaged: entry {index + 1} of its nodes has no id or no type")
        if node.id in nodes:
            raise WorkflowError(f"{where} is damaged: two nodes have the id {node.id}")
        nodes[node.id] = node
        size += _SIZE_OF_NODE + len(node.inputs) + len(node.outputs) + len(node.values)
    links: dict[str, Link] = {}
    results: dict[int, Link] = {}
    for saved in _items(graph.get("links")):
        parts = _link_parts(saved)
        if parts is None:
            continue
        link_id, start, target, slot = parts
        links[link_id] = start
        if target == _OUTPUT_NODE:
            results[slot] = start
    size += len(links)
    if size > _MAX_SIZE:
        raise WorkflowError(_TOO_LARGE)
    boxes = [(group.get("title"), _box(group.get("bounding"))) for group in map(_mapping, _items(graph.get("groups")))]
    slots = [_mapping(slot) for slot in _items(graph.get("inputs"))]
    return Definition(
        _text(graph.get("name")) or "subgraph",
        nodes,
        links,
        tuple((" ".join(title.split()), box) for title, box in boxes if isinstance(title, str) and box is not None),
        tuple((str(slot.get("name")), _type(slot.get("type"))) for slot in slots),
        tuple(_type(_mapping(slot).get("type")) for slot in _items(graph.get("outputs"))),
        results,
        size,
    )


def _node(saved: object, index: int) -> EditorNode | None:
    node = _mapping(saved)
    node_id, class_type, order = _id(node.get("id")), node.get("type"), node.get("order")
    if node_id is None or not isinstance(class_type, str):
        return None
    inputs: dict[str, EditorInput] = {}
    for slot in map(_mapping, _items(node.get("inputs"))):
        name = slot.get("name")
        if isinstance(name, str):
            is_widget = slot.get("widget") is not None
            inputs[name] = EditorInput(name, _type(slot.get("type")), _id(slot.get("link")), is_widget)
    values = node.get("widgets_values")
    return EditorNode(
        node_id,
        class_type,
        _text(node.get("title")),
        node.get("mode"),
        order if is_finite(order) else index,
        inputs,
        tuple(_type(_mapping(slot).get("type")) for slot in _items(node.get("outputs"))),
        values if isinstance(values, (list, Mapping)) else [],
        _mapping(node.get("properties")),
        _box([*_pair(node.get("pos")), *_pair(node.get("size"))]),
    )


def _link_parts(saved: object) -> tuple[str, Link, str, int] | None:
    """Parse a link: return id, origin, target node and target slot; None if it is damaged."""
    if isinstance(saved, Mapping):
        saved = [saved.get(key) for key in ("id", "origin_id", "origin_slot", "target_id", "target_slot")]
    if not isinstance(saved, list) or len(saved) < 5:
        return None
    link_id, origin, target = _id(saved[0]), _id(saved[1]), _id(saved[3])
    if link_id is None or origin is None or target is None:
        return None
    if type(saved[2]) is not int or type(saved[4]) is not int or saved[2] < 0:
        return None
    return link_id, Link(origin, saved[2]), target, saved[4]


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _items(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _type(value: object) -> str:
    return value if isinstance(value, str) else "*"


def _id(value: object) -> str | None:
    return str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) and value != "" else None


def _pair(value: object) -> list[Any]:
    """Return the two numbers of a position or size. Old versions of the editor save `{"0": x, "1": y}`."""
    return [value.get("0"), value.get("1")] if isinstance(value, Mapping) else _items(value)[:2]


def _box(numbers: object) -> _Box | None:
    four = _items(numbers)
    return (four[0], four[1], four[2], four[3]) if len(four) == 4 and all(map(is_finite, four)) else None


def _contains(outer: _Box, box: _Box | None) -> bool:
    """Return True if the centre of a box is within another."""
    if box is None:
        return False
    x, y = box[0] + box[2] / 2 - outer[0], box[1] + box[3] / 2 - outer[1]
    return 0 <= x <= outer[2] and 0 <= y <= outer[3]
