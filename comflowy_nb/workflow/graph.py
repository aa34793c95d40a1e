"""Graphs in ComfyUI's API format: reading them, from files and from the images they made, and applying params."""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import FieldError, ImageError, WorkflowError
from comflowy_nb.workflow.fields import Field, FieldType, nearest, split_id
from comflowy_nb.workflow.files import MAX_JSON_BYTES, read_text
from comflowy_nb.workflow.graph_search import HOW_TO_EXPORT, check_note, find_graph, is_editors, is_node
from comflowy_nb.workflow.images import open_image_file
from comflowy_nb.workflow.syntax.json_values import TOO_DEEP, is_too_deep

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "Graph",
    "Made",
    "graph_of_image",
    "made_from",
    "made_of_image",
    "parse_graph",
    "read_graph",
    "read_image_graph",
]

_KEPT = ("class_type", "inputs", "_meta")  # other keys of a node are notes of one server about one run

# ComfyUI writes a float without a fraction as 8, so the value alone does not tell 8.0 from 8. These are surely whole.
_WHOLE_NAMES = frozenset({"steps", "width", "height", "batch_size", "start_at_step", "end_at_step", "color", "length"})


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph: node id -> node, with `class_type`, `inputs` and at times `_meta`, as ComfyUI's API takes it."""

    nodes: Mapping[str, Mapping[str, Any]]

    def title(self, node: str) -> str | None:
        """Return the title of a node, else its class; None if there is no such node."""
        if node not in self.nodes:
            return None
        meta = self.nodes[node].get("_meta")
        title = meta.get("title") if isinstance(meta, dict) else None
        words = title.split() if isinstance(title, str) else []  # it may have line breaks
        return " ".join(words) or str(self.nodes[node]["class_type"])

    def fields(self) -> dict[str, Field]:
        """Return the fields that hold values, not links, with types derived from the values.

        A graph does not say what is allowed, so there are no options and no ranges, and a number without a fraction is
        an INT only where its name leaves no doubt.
        """
        found = {}
        for node, name, value in self._values():
            class_type = str(self.nodes[node]["class_type"])
            field_id = f"{node}::{name}"
            one = Field(field_id, default=value, node_title=self.title(node), class_type=class_type)
            type_ = _type_of(name, value, class_type)
            found[field_id] = replace(one, type=type_, multiline=type_ is FieldType.STRING and "\n" in value)
        return found

    def apply(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return a copy of the graph with params set in the inputs of their nodes.

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
                near = nearest(node, nodes)
                tip = f"; nearest: {', '.join(near)}" if near else ""
                problems.append(f"{field_id}: the graph has no node {node!r}{tip}")
        if problems:
            raise FieldError(*problems)
        return nodes

    def _values(self) -> Iterator[tuple[str, str, Any]]:
        for node, one in self.nodes.items():
            for name, value in one["inputs"].items():
                if not self._is_link(value):
                    yield node, name, value

    def _is_link(self, value: object) -> bool:
        return (
            isinstance(value, list)
            and len(value) == 2
            and str(value[0]) in self.nodes
            and isinstance(value[1], int)
            and not isinstance(value[1], bool)
        )


def read_graph(source: str | Path) -> Graph:
    """Read a graph in API format from a file or from its text.

    Parameters
    ----------
    source
        JSON text (a str that begins with `{`), or a path. The graph may be inside a request or a response of a
        server, such as `{"prompt": {...}}` or `{"input": {"workflow": {...}}}`.

    Raises
    ------
    WorkflowError
        If the file does not exist or contains no graph in API format. The text says what it contains instead, and
        how to export the API format.
    """
    if isinstance(source, str) and source.lstrip("\ufeff \t\r\n").startswith("{"):
        return parse_graph(source, "this text")
    path = Path(source).expanduser()
    try:
        text = read_text(path, MAX_JSON_BYTES)
    except FileNotFoundError:
        raise WorkflowError(f"there is no file {str(source)!r}") from None
    except UnicodeDecodeError:
        raise WorkflowError(f"{path.name} is not text in UTF-8, UTF-16 or UTF-32; save it in UTF-8") from None
    except OSError as error:
        raise WorkflowError(f"{path.name} can't be read: {error.strerror}") from error
    return parse_graph(text, path.name)


@dataclass(frozen=True, slots=True)
class Made:
    """Metadata of a saved image about the run that produced it."""

    workflow: str
    workflow_id: str | None
    params: dict[str, Any]
    set_params: tuple[str, ...]
    run: str = ""  # its token


def graph_of_image(path: str | Path) -> Graph | None:
    """Return the graph that ComfyUI wrote into an image (PNG text chunk `prompt`, Exif of WebP and JPEG), or None.

    Raises
    ------
    ImageError
        If it can't be read or is no image.
    """
    try:
        return read_image_graph(path)
    except WorkflowError:  # other programs write other things under that name
        return None


def read_image_graph(path: str | Path) -> Graph:
    """Read the graph that ComfyUI wrote into an image.

    Raises
    ------
    ImageError
        If the file is missing or not an image that can be read.
    WorkflowError
        If the image contains no graph in API format; the text says what it contains instead.
    """
    path = Path(path)
    notes = _notes_of(path)
    chunks = {chunk: notes[chunk] for chunk in ("prompt", "workflow") if chunk in notes}
    editors = [chunk for chunk, text in chunks.items() if _is_editors_text(text)]
    for chunk, text in chunks.items():
        if chunk not in editors and "class_type" in text:
            return parse_graph(text, f"the {chunk} in {path.name}")
    if editors:
        raise WorkflowError(f"{path.name} contains a workflow only in the editor's format; {HOW_TO_EXPORT}")
    made = made_of_image(path)
    if made is not None:
        named = made.workflow or made.workflow_id or "a workflow"
        raise WorkflowError(
            f"{path.name} contains no workflow, only the params of {named}: %comflowy run --from {path.name} uses them"
        )
    if chunks:
        raise WorkflowError(
            f"{path.name} contains no workflow: its text {' and '.join(map(repr, chunks))} is not a graph"
        )
    raise WorkflowError(f"{path.name} contains no workflow: neither ComfyUI nor comflowy_nb wrote one into it")


def _is_editors_text(text: str) -> bool:
    try:
        return is_editors(json.loads(text))
    except (ValueError, RecursionError):
        return False


def made_of_image(path: str | Path) -> Made | None:
    """Return the metadata that `save` wrote into a copy, or into the JSON file beside it; None if there is none.

    Raises
    ------
    ImageError
        If it can't be read or is no image.
    """
    path = Path(path)
    text = _notes_of(path).get("comflowy")
    beside = path.with_suffix(f"{path.suffix}.json")
    try:
        if text is None and beside.is_file():
            text = read_text(beside, MAX_JSON_BYTES)
    except (OSError, ValueError):  # a file of another program
        return None
    return None if text is None else made_from(text)


def made_from(text: str) -> Made | None:
    """Read our JSON about a run; return None if the text is something else."""
    try:
        made = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(made, dict) or not isinstance(made.get("params"), dict):
        return None
    named, workflow_id, order = made.get("workflow"), made.get("workflow_id"), made.get("set_params")
    run = made.get("run")
    return Made(
        named if isinstance(named, str) else "",
        workflow_id if isinstance(workflow_id, str) else None,
        made["params"],
        tuple(one for one in order if isinstance(one, str)) if isinstance(order, list) else (),
        run if isinstance(run, str) else "",
    )


def _notes_of(path: Path) -> dict[str, str]:
    """Return the texts in an image's header, by name. The pixels are not decoded."""
    from PIL import Image  # noqa: PLC0415 - heavy, and only needed where an image is asked

    try:
        with open_image_file(path) as image:
            notes = {str(name): text for name, text in image.info.items() if isinstance(text, str)}
            # ComfyUI writes `prompt:{...}` and `workflow:{...}` into Exif tags. PNG's own getexif decodes the pixels.
            for value in Image.Image.getexif(image).values():
                name, _, text = value.partition(":") if isinstance(value, str) else ("", "", "")
                if name.lower() in {"prompt", "workflow"}:
                    notes.setdefault(name.lower(), text)
    except FileNotFoundError:
        raise ImageError(f"there is no image {path.name} here") from None
    except Exception as error:  # Pillow raises many types for invalid files
        raise ImageError(f"{path.name} is not an image that can be read") from error
    return notes


@functools.lru_cache(maxsize=16)  # run after run a person names the same file
def parse_graph(text: str, name: str) -> Graph:
    """Return a graph from JSON text; `name` is what errors call it.

    Raises
    ------
    WorkflowError
        If it is no graph in API format.
    """
    found = find_graph(_decode(text, name), name)
    if is_too_deep(found):  # JSON within a string
        raise WorkflowError(f"{name} can't be read as JSON: {TOO_DEEP}")
    nodes = {}
    for node, one in found.items():
        if not is_node(one):
            check_note(node, found, name)
            continue
        if not isinstance(one.setdefault("inputs", {}), dict):
            raise WorkflowError(f"{name}: the inputs of node {node!r} are not a mapping")
        nodes[node] = {key: one[key] for key in _KEPT if key in one}
        if not _is_finite(nodes[node]["inputs"]):
            raise WorkflowError(f"{name}: node {node!r} contains NaN or Infinity")
    return Graph(nodes)


def _decode(text: str, name: str) -> Any:
    try:
        found = json.loads(text.lstrip("\ufeff"))
    except json.JSONDecodeError as error:
        raise WorkflowError(f"{name} is not JSON: {error.msg}, line {error.lineno}") from None
    except (ValueError, RecursionError) as error:  # digits without end, brackets without end
        raise WorkflowError(f"{name} can't be read as JSON: {error}") from None
    if is_too_deep(found):
        raise WorkflowError(f"{name} can't be read as JSON: {TOO_DEEP}")
    return found


def _type_of(name: str, value: object, class_type: str) -> FieldType:
    if isinstance(value, bool):
        return FieldType.BOOLEAN
    if isinstance(value, str):
        is_upload = class_type in {"LoadImage", "LoadImageMask"} and name == "image"
        return FieldType.IMAGEUPLOAD if is_upload else FieldType.STRING
    if isinstance(value, int) and ("seed" in name.lower() or name in _WHOLE_NAMES):
        return FieldType.INT
    return FieldType.FLOAT if isinstance(value, (int, float)) else FieldType.UNKNOWN


def _is_finite(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(_is_finite(item) for item in value.values())
    return all(_is_finite(item) for item in value) if isinstance(value, list) else True
