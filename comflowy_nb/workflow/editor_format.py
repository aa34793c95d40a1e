"""Convert a workflow in the format of ComfyUI's editor to a graph in API format. Pure.

The conversion uses the server's node descriptions. The result is the graph that the editor would submit, with two
exceptions: a choice such as `{red|blue}` in a prompt remains as text, because the editor chooses at random, and inputs
that only the editor uses are left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import WorkflowError
from comflowy_nb.workflow.editor_graph import BYPASSED, MUTED, read_canvas, read_definitions
from comflowy_nb.workflow.editor_links import EDITOR_ONLY, NOTES, Links, Output, Value
from comflowy_nb.workflow.editor_widgets import prompt_value, without_comments
from comflowy_nb.workflow.graph import Graph
from comflowy_nb.workflow.syntax.json_values import TOO_DEEP, is_too_deep, listed, shown, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from comflowy_nb.workflow.editor_graph import Canvas, EditorNode


_MAX_CLASSES = 1000  # each is a request to the server
_MAX_LISTED = 10  # names in a note, problems in an error
_MAX_CHARS = 60  # of the name of a class in an error
_BROADCASTING = ("Anything Everywhere", "Prompts Everywhere", "Seed Everywhere")  # Use-Everywhere: links without lines
_GROUP_NODE = ("workflow/", "workflow>")
_SUBGRAPH_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # the class of a node that uses a subgraph
_LORA_LIST = "Power Lora Loader (rgthree)"  # any number of LoRAs, each a mapping with the key `lora`
_MADE_IN_EDITOR = frozenset({"LOAD_3D", "WEBCAM"})
_SAVING = frozenset(  # classes whose `filename_prefix` the editor completes
    {
        *("SaveImage", "SaveVideo", "SaveAnimatedWEBP", "SaveAnimatedPNG", "SaveWEBM", "SaveAudio", "SaveSVGNode"),
        *("SaveGLB", "SaveLatent", "CLIPSave", "VAESave", "ModelSave", "LoraSave"),
    }
)
_PLACEHOLDER = re.compile(r"%([^%]+)%")
_DATE_PARTS = {"yyyy": "%year%", "MM": "%month%", "dd": "%day%", "hh": "%hour%", "mm": "%minute%", "ss": "%second%"}
_DATE_PART = re.compile("|".join(_DATE_PARTS))
_NOT_IN_A_PATH = re.compile(r"[/?<>\\:*|\"\x00-\x1f\x7f]")


def node_classes(editor: Mapping[str, Any]) -> list[str]:
    """Return the node classes of a workflow whose descriptions are required.

    Raises
    ------
    WorkflowError
        If the workflow is damaged or too large.
    """
    definitions = read_definitions(editor)
    canvases = [read_canvas(editor, {}).definition, *definitions.values()]
    classes = dict.fromkeys(node.class_type for canvas in canvases for node in canvas.nodes.values())
    found = [
        name for name in classes if name not in definitions and name not in EDITOR_ONLY and not _is_group_node(name)
    ]
    if len(found) > _MAX_CLASSES:
        raise WorkflowError(f"the workflow is too large: it has nodes of {len(found):,} classes")
    return found


def convert(editor: Mapping[str, Any], descriptions: Mapping[str, Mapping[str, Any] | None]) -> Graph:
    """Convert a workflow of the editor to API format.

    The nodes of the result are in the order in which the editor runs them. Their metadata has their titles and, as
    `group`, the title of their group or subgraph on the canvas. Its notes are one sentence for each input or node that
    was left out or is different.

    Parameters
    ----------
    editor
        The workflow: a mapping with `nodes`, `links` and optionally `definitions` and `groups`.
    descriptions
        Node class -> its entry in the server's `/object_info`; None or absent if the server does not have the class.

    Raises
    ------
    WorkflowError
        If nodes can't be converted. The text has one line for each problem.

    Examples
    --------
    >>> nodes = [{"id": 1, "type": "EmptyImage", "widgets_values": [64], "inputs": []}]
    >>> description = {"input": {"required": {"width": ["INT", {"default": 512}]}}}
    >>> convert({"nodes": nodes, "links": []}, {"EmptyImage": description}).nodes["1"]["inputs"]
    {'width': 64}
    """
    if is_too_deep(editor):
        raise WorkflowError(f"the workflow can't be converted: {TOO_DEEP}")
    definitions = read_definitions(editor)
    root = read_canvas(editor, definitions)
    conversion = _Conversion(Links(descriptions, definitions), descriptions)
    for canvas, node in root.nodes():
        conversion.add(canvas, node)
    return conversion.result()


class _Conversion:
    """Converts nodes one after another to a graph in API format."""

    def __init__(self, links: Links, descriptions: Mapping[str, Mapping[str, Any] | None]) -> None:
        self._links = links
        self._descriptions = descriptions
        self._nodes: dict[str, dict[str, Any]] = {}
        self._names: dict[str, str] = {}  # in `%NAME.widget%` -> node id
        self._problems: list[str] = []
        self._muted: list[str] = []
        self._bypassed: list[str] = []
        self._number_of_notes = 0
        self._with_choices: list[str] = []
        self._with_own_values: list[str] = []

    def add(self, canvas: Canvas, node: EditorNode) -> None:
        """Convert one node. A node that does not run is left out."""
        node_id, class_type = f"{canvas.prefix}{node.id}", node.class_type
        named = _node_text(node_id, node.title, self._links.class_name(node))
        if class_type in NOTES:
            self._number_of_notes += 1
        elif class_type in EDITOR_ONLY:
            pass
        elif node.mode == MUTED:
            self._muted.append(named)
        elif node.mode == BYPASSED:
            self._bypassed.append(named)
        elif (problem := self._problem_of(node)) is not None:
            self._problems.append(f"node {named}: {problem}")
        else:
            display_name = (self._descriptions[class_type] or {}).get("display_name")
            title = node.title or (display_name if isinstance(display_name, str) and display_name else class_type)
            inputs = self._inputs(canvas, node, node_id)
            group = canvas.group_of(node)
            meta = {"title": title} if group is None else {"title": title, "group": group}
            self._nodes[node_id] = {"class_type": class_type, "inputs": inputs, "_meta": meta}
            for name in (node.properties.get("Node name for S&R", class_type), title):
                if isinstance(name, str):
                    self._names.setdefault(name, node_id)
            if not _is_json(inputs):
                self._problems.append(f"node {named}: a value is NaN or Infinity")

    def _problem_of(self, node: EditorNode) -> str | None:
        """Return why a node can't be converted; None if it can."""
        if _is_group_node(node.class_type):
            return "it is a group node of an older editor: convert it to a subgraph there, and save the workflow again"
        if node.class_type.startswith(_BROADCASTING):
            return "it makes links that only the editor knows: draw them as lines, and save the workflow again"
        if _SUBGRAPH_ID.fullmatch(node.class_type):
            return "the file lacks the subgraph that it uses"
        if self._descriptions.get(node.class_type) is None:
            return f"the server has no such node; {_origin(node.properties)}"
        if any(slot.is_widget and slot.type in _MADE_IN_EDITOR for slot in self._links.slots(node)):
            return "its image is made by the editor when the workflow is queued there, so it can't run from here"
        return None

    def _inputs(self, canvas: Canvas, node: EditorNode, node_id: str) -> dict[str, Any]:
        """Return the inputs of a node: the values of its widgets, replaced by its links."""
        inputs: dict[str, Any] = {}
        slots = self._links.slots(node)
        for slot in slots:
            start = self._links.start(canvas, node, slot)
            value = start.value if isinstance(start, Value) else canvas.overrides.get((node.id, slot.name), slot.value)
            if isinstance(start, Output):
                inputs[slot.name] = [start.node, start.slot]
            elif value is not None and (slot.is_widget or start is not None):
                if slot.is_prompt and isinstance(value, str):
                    value, has_choices = without_comments(value)
                    self._with_choices += [f"{node_id}::{slot.name}"] if has_choices else []
                inputs[slot.name] = prompt_value(value)
        own = [
            value
            for value in node.values
            if isinstance(value, Mapping) and all(value is not slot.value for slot in slots)
        ]
        if node.class_type == _LORA_LIST:
            inputs |= {
                f"lora_{index}": value for index, value in enumerate((value for value in own if "lora" in value), 1)
            }
        elif own:
            self._with_own_values.append(_node_text(node_id, node.title, node.class_type))
        return inputs

    def result(self) -> Graph:
        """Return the converted workflow.

        Raises
        ------
        WorkflowError
            If nodes can't be converted. It contains all problems.
        """
        problems = [*self._problems, *self._links.problems]
        if problems:
            more = len(problems) - _MAX_LISTED
            raise WorkflowError(
                "\n".join([*problems[:_MAX_LISTED], *([f"and {more} more problems"] if more > 0 else [])])
            )
        if not self._nodes:
            raise WorkflowError("the workflow has no node that runs")
        for node in self._nodes.values():
            prefix = node["inputs"].get("filename_prefix")
            if isinstance(prefix, str) and node["class_type"] in _SAVING:
                node["inputs"]["filename_prefix"] = _PLACEHOLDER.sub(self._replacement, prefix)
        return Graph(self._nodes, tuple(self._notes()))

    def _replacement(self, placeholder: re.Match[str]) -> str:
        """Return the value for `%NODE.widget%`, and the server's notation (`%year%-...`) for `%date:yyyy-MM-dd%`."""
        text = placeholder[1]
        if text.startswith("date:"):
            return _DATE_PART.sub(lambda part: _DATE_PARTS[part[0]], text.removeprefix("date:"))
        name, _, widget = text.partition(".")
        value = self._nodes.get(self._names.get(name, ""), {"inputs": {}})["inputs"].get(widget)
        return placeholder[0] if value is None or isinstance(value, list) else _NOT_IN_A_PATH.sub("_", text_of(value))

    def _notes(self) -> Iterator[str]:
        if self._muted:
            yield f"left out {_counted(self._muted, 'muted node')}"
        if self._bypassed:
            yield f"bypassed {_counted(self._bypassed, 'node')}"
        if self._number_of_notes:
            yield f"left out {self._number_of_notes} note{'s' if self._number_of_notes > 1 else ''}"
        if self._links.damaged:
            yield f"left out damaged links: {listed([*self._links.damaged], _MAX_LISTED)}"
        if self._with_own_values:
            nodes = listed(self._with_own_values, _MAX_LISTED)
            yield f"left out values that only an extension's controls in the editor read: {nodes}"
        if self._with_choices:
            fields = listed(self._with_choices, _MAX_LISTED)
            yield f"kept braces such as {{a|b}} in {fields}, of which the editor would choose a part at each run"


def _origin(properties: Mapping[str, Any]) -> str:
    """Return the package that provides the class of a node, from the properties of the node."""
    sources = [properties.get(key) for key in ("cnr_id", "aux_id")]
    extension = next(
        (" ".join(source.split()) for source in sources if isinstance(source, str) and source.strip()), None
    )
    if extension is None:
        return "the file does not say which extension has it"
    if extension == "comfy-core":
        return f"it is one of ComfyUI itself, of version {shown(properties.get('ver'))}, so the server may be too old"
    return f"it comes from the extension {shown(extension)}"


def _is_json(value: object) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


def _is_group_node(class_type: str) -> bool:
    return class_type.startswith(_GROUP_NODE)


def _node_text(node_id: str, title: str | None, class_name: str) -> str:
    """Return a node as text for errors: `12 'Sharpen' (ImageSharpen)`."""
    class_name = " ".join(class_name.split())[:_MAX_CHARS]
    return f"{node_id} {shown(title)} ({class_name})" if title and title != class_name else f"{node_id} ({class_name})"


def _counted(names: Sequence[str], what: str) -> str:
    return f"{len(names)} {what}{'s' if len(names) > 1 else ''}: {listed(names, _MAX_LISTED)}"
