"""What made an image file: read from the file, else found in the history or in a sidecar by the file's content."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from comflowy_nb.database.connection import FILE_NAME
from comflowy_nb.errors import WorkflowError
from comflowy_nb.workflow.graph import Graph, Made, made_from, made_of_image, read_image_graph

if TYPE_CHECKING:
    from pathlib import Path

    from comflowy_nb.library import Library

__all__ = ["maker_of"]


def maker_of(path: Path, library: Library) -> tuple[Made | None, Graph | None]:
    """Return what a run set and the graph it executed, each None where neither the file nor the history has it.

    A server may write no metadata (ComfyUI's `--disable-metadata`), and other programs strip it.

    Raises
    ------
    ImageError
        If the file can't be read or is not an image.
    """
    made = made_of_image(path)
    try:
        return made, read_image_graph(path)
    except WorkflowError:
        if not (library.home / FILE_NAME).is_file():
            return made, None
    history = library.history
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    record = history.by_content(sha256) if made is None else history.get(made.run)
    if record is not None:
        made = made or Made(record.workflow, record.workflow_id, dict(record.params), record.set_params, record.token)
        nodes = history.graph(record.token)
        return made, None if nodes is None else Graph(Graph(nodes).apply(record.params))
    return made or _made_in_sidecar(library.folder, sha256), None


def _made_in_sidecar(folder: Path, sha256: str) -> Made | None:
    for path in folder.rglob("*.json"):
        text = path.read_text("utf-8", "replace")
        if sha256 in text:
            return made_from(text)
    return None
