"""Metadata in image files: the graph that ComfyUI writes, and the description of a run that `save` writes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import ImageError, WorkflowError
from comflowy_nb.workflow.files import MAX_JSON_BYTES, read_text
from comflowy_nb.workflow.graph import HOW_TO_EXPORT, is_editor_format, parse_graph
from comflowy_nb.workflow.images import open_image_file

if TYPE_CHECKING:
    from comflowy_nb.workflow.graph import Graph

__all__ = ["RunMetadata", "graph_of_image", "metadata_of_image", "parse_metadata", "read_image_graph"]


@dataclass(frozen=True, slots=True)
class RunMetadata:
    """The workflow and params that made an image.

    Attributes
    ----------
    workflow
        Name of the workflow; empty if unknown.
    workflow_id
        The service's id of the workflow, if it has one.
    params
        Field id -> submitted value.
    set_params
        The ids of the fields that the user set, in their order.
    run
        Our token of the run; empty if unknown.
    """

    workflow: str
    workflow_id: str | None
    params: dict[str, Any]
    set_params: tuple[str, ...]
    run: str = ""


def graph_of_image(path: str | Path) -> Graph | None:
    """Return the graph that ComfyUI wrote into an image; None if the image contains no graph.

    Raises
    ------
    ImageError
        If the file is missing or not an image that can be read.
    """
    try:
        return read_image_graph(path)
    except WorkflowError:
        return None


def read_image_graph(path: str | Path) -> Graph:
    """Return the graph that ComfyUI wrote into an image: a PNG text chunk, or an Exif tag of a WebP or JPEG.

    Raises
    ------
    ImageError
        If the file is missing or not an image that can be read.
    WorkflowError
        If the image contains no graph in API format; the text names the metadata that it contains.
    """
    path = Path(path)
    texts = _texts_in(path)
    chunks = {chunk: texts[chunk] for chunk in ("prompt", "workflow") if chunk in texts}
    in_editor_format = [chunk for chunk, text in chunks.items() if is_editor_format(_decoded(text))]
    for chunk, text in chunks.items():
        if chunk not in in_editor_format and "class_type" in text:
            return parse_graph(text, f"the {chunk} in {path.name}")
    if in_editor_format:
        raise WorkflowError(f"{path.name} contains a workflow only in the editor's format; {HOW_TO_EXPORT}")
    metadata = metadata_of_image(path)
    if metadata is not None:
        named = metadata.workflow or metadata.workflow_id or "a workflow"
        raise WorkflowError(
            f"{path.name} contains no workflow, only the params of {named}: %comflowy run --from {path.name} uses them"
        )
    if chunks:
        raise WorkflowError(
            f"{path.name} contains no workflow: its text {' and '.join(map(repr, chunks))} is not a graph"
        )
    raise WorkflowError(f"{path.name} contains no workflow: neither ComfyUI nor comflowy_nb wrote one into it")


def metadata_of_image(path: str | Path) -> RunMetadata | None:
    """Return the metadata that `save` wrote into a copy, or into the JSON file beside it; None if there is none.

    Raises
    ------
    ImageError
        If the file is missing or not an image that can be read.
    """
    path = Path(path)
    text = _texts_in(path).get("comflowy")
    if text is None:
        try:
            text = read_text(path.with_suffix(f"{path.suffix}.json"), MAX_JSON_BYTES)
        except (OSError, ValueError):  # no such file, or one of another program
            return None
    return parse_metadata(text)


def parse_metadata(text: str) -> RunMetadata | None:
    """Parse the JSON of a run that `save` or the sidecar contains; return None for any other text."""
    metadata = _decoded(text)
    if not isinstance(metadata, dict) or not isinstance(metadata.get("params"), dict):
        return None
    workflow, workflow_id, run, set_params = (
        metadata.get(key) for key in ("workflow", "workflow_id", "run", "set_params")
    )
    return RunMetadata(
        workflow if isinstance(workflow, str) else "",
        workflow_id if isinstance(workflow_id, str) else None,
        metadata["params"],
        tuple(one for one in set_params if isinstance(one, str)) if isinstance(set_params, list) else (),
        run if isinstance(run, str) else "",
    )


def _decoded(text: str) -> Any:
    """Return the value of a JSON text; None if it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _texts_in(path: Path) -> dict[str, str]:
    """Return the texts in an image's header by name, without decoding the pixels."""
    from PIL import Image  # noqa: PLC0415 - heavy, and only needed if an image is read

    try:
        with open_image_file(path) as image:
            texts = {str(name): text for name, text in image.info.items() if isinstance(text, str)}
            # ComfyUI writes `prompt:{...}` and `workflow:{...}` into Exif tags. PNG's own getexif decodes the pixels.
            for value in Image.Image.getexif(image).values():
                name, _, text = value.partition(":") if isinstance(value, str) else ("", "", "")
                if name.lower() in {"prompt", "workflow"}:
                    texts.setdefault(name.lower(), text)
    except FileNotFoundError:
        raise ImageError(f"there is no image {path.name} here") from None
    except Exception as error:  # Pillow raises many types for invalid files
        raise ImageError(f"{path.name} is not an image that can be read") from error
    return texts
