"""Read the metadata of image files: the graph of ComfyUI, and the description of a run that `save` writes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import ImageError, WorkflowError
from comflowy_nb.workflow.files import MAX_JSON_BYTES, read_text
from comflowy_nb.workflow.graph import InEditorFormat, is_editor_format, parse_graph
from comflowy_nb.workflow.images import open_image_file
from comflowy_nb.workflow.other_tools.metadata import find_generation

if TYPE_CHECKING:
    from comflowy_nb.workflow.graph import Graph
    from comflowy_nb.workflow.other_tools.metadata import Generation


_EXIF_IFD, _USER_COMMENT = 0x8769, 0x9286
_EXIF_TEXTS = {0x010D: "Title", 0x010E: "Description", 0x0131: "Software"}
_MAX_COMMENT_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class RunMetadata:
    """The workflow and params that generated an image.

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
        If the image contains no graph in API format. The text lists the metadata of the image.
    """
    path = Path(path)
    texts = _texts_in(path)
    chunks = {chunk: texts[chunk] for chunk in ("prompt", "workflow") if chunk in texts}  # ComfyUI's names
    in_editor_format = [chunk for chunk, text in chunks.items() if is_editor_format(_decode_json(text))]
    for chunk, text in chunks.items():
        if chunk not in in_editor_format and "class_type" in text:
            return parse_graph(text, f"the {chunk} in {path.name}")
    if in_editor_format:
        editor = _decode_json(chunks[in_editor_format[-1]])  # `workflow`, if both chunks are in it
        raise InEditorFormat(path.name, "contains a workflow only in the editor's format", editor)
    metadata = metadata_of_image(path)
    if metadata is not None:
        named = metadata.workflow or metadata.workflow_id or "a workflow"
        raise WorkflowError(
            f"{path.name} contains no workflow, only the params of {named}: %comflowy run --from {path.name} uses them"
        )
    generation = find_generation(texts)
    if generation is not None:
        raise WorkflowError(
            f"{path.name} contains no workflow, only settings of {generation.tool}: %comflowy run --from {path.name} "
            "uses them"
        )
    if chunks:
        raise WorkflowError(
            f"{path.name} contains no workflow: its metadata {' and '.join(map(repr, chunks))} is not a graph"
        )
    raise WorkflowError(f"{path.name} contains no workflow: use an image with the metadata of ComfyUI or comflowy_nb")


def metadata_of_image(path: str | Path) -> RunMetadata | None:
    """Return the metadata that `save` wrote into a copy or into the JSON file beside it; None if there is none.

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
        except (OSError, ValueError):  # no such file, or a file of another program
            return None
    return parse_metadata(text)


def generation_of_image(path: str | Path) -> Generation | None:
    """Return the settings that another tool, such as AUTOMATIC1111, wrote into an image; None if there are none.

    Raises
    ------
    ImageError
        If the file is missing or not an image that can be read.
    """
    return find_generation(_texts_in(Path(path)))


def parse_metadata(text: str) -> RunMetadata | None:
    """Parse the metadata of a run, as written by `save` or in a sidecar; return None for any other text."""
    metadata = _decode_json(text)
    if not isinstance(metadata, dict) or not isinstance(metadata.get("params"), dict):
        return None
    workflow, workflow_id, run, set_params = (
        metadata.get(key) for key in ("workflow", "workflow_id", "run", "set_params")
    )
    return RunMetadata(
        workflow if isinstance(workflow, str) else "",
        workflow_id if isinstance(workflow_id, str) else None,
        metadata["params"],
        tuple(key for key in set_params if isinstance(key, str)) if isinstance(set_params, list) else (),
        run if isinstance(run, str) else "",
    )


def _decode_json(text: str) -> Any:
    """Return the value of a JSON text; None if it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _texts_in(path: Path) -> dict[str, str]:
    """Return the texts in an image's header by name, without decoding pixels. An Exif comment is `parameters`."""
    from PIL import Image  # noqa: PLC0415 - heavy, and only needed if an image is read

    try:
        with open_image_file(path) as image:
            texts = {str(name): text for name, text in image.info.items() if isinstance(text, str)}
            exif = Image.Image.getexif(image)  # PNG's own getexif decodes the pixels
            # ComfyUI writes `prompt:{...}` and `workflow:{...}` into Exif tags.
            for value in exif.values():
                name, _, text = value.partition(":") if isinstance(value, str) else ("", "", "")
                if name.lower() in {"prompt", "workflow"}:
                    texts.setdefault(name.lower(), text)
            for tag, name in _EXIF_TEXTS.items():
                if isinstance(exif.get(tag), str):
                    texts.setdefault(name, exif[tag])
            # Fooocus writes the comment into the first directory, other tools into the Exif directory.
            for comment in (exif.get_ifd(_EXIF_IFD).get(_USER_COMMENT), exif.get(_USER_COMMENT)):
                text = comment if isinstance(comment, str) else _decode_comment(comment)
                if text:
                    texts.setdefault("parameters", text)
    except FileNotFoundError:
        raise ImageError(f"there is no file {path.name!r}") from None
    except Exception as error:  # Pillow raises many types for invalid files
        raise ImageError(f"{path.name} can't be read as an image: use a PNG, JPEG or WebP file") from error
    return texts


def _decode_comment(comment: object) -> str:
    """Decode an Exif UserComment, whose first 8 bytes name the encoding. Return "" if it can't be decoded.

    Tools write UTF-16 in both byte orders, without a BOM.
    """
    if not isinstance(comment, bytes) or len(comment) > _MAX_COMMENT_BYTES:
        return ""
    code, content = comment[:8], comment[8:]
    encoding = "utf-8"
    if code == b"UNICODE\0":  # settings are mostly ASCII, so that one byte of each pair is zero
        encoding = "utf-16-le" if content[1::2].count(0) > content[::2].count(0) else "utf-16-be"
    elif code not in {b"ASCII\0\0\0", b"\0" * 8}:
        content = comment
    try:
        return content.decode(encoding).strip("\0\ufeff")
    except UnicodeDecodeError:
        return ""
