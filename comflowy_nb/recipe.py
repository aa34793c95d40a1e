"""What made an image: its workflow and its params, and the cell that runs them again."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comflowy_nb.database.connection import FILE_NAME
from comflowy_nb.database.records import made_by
from comflowy_nb.errors import ImageError, WorkflowError
from comflowy_nb.library import open_library
from comflowy_nb.settings import home
from comflowy_nb.tracking.run import Run, RunImage
from comflowy_nb.workflow.catalogue import Catalogue
from comflowy_nb.workflow.graph import Graph
from comflowy_nb.workflow.image_metadata import Made, made_from, made_of_image, read_image_graph
from comflowy_nb.workflow.syntax.write_cell import write_cell
from comflowy_nb.workflow.workflow import Workflow

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from comflowy_nb.library import Library

__all__ = ["Recipe", "maker_of", "params_from"]


class Recipe(dict[str, Any]):
    """The params of an image, field id -> value.

    `workflow` is what WORKFLOW is called in `cell`; `graph` the graph in the image, None where it has none.
    """

    def __init__(self, params: Mapping[str, Any], *, workflow: str, graph: Graph | None = None) -> None:
        super().__init__(params)
        self.workflow = workflow
        self.graph = graph

    @property
    def cell(self) -> str:
        """The text of a cell that runs the same again: `%%comflowy run WORKFLOW`, and a line for each field."""
        fields = {} if self.graph is None else self.graph.fields()
        # A null of the graph stays there: on a line it would have to fit its field.
        nulls = {key for key, one in fields.items() if one.default is None and self.get(key) is None}
        values = {key: value for key, value in self.items() if key not in nulls}
        return write_cell(Workflow(self.workflow, fields=fields, is_partial=True), values)

    def __str__(self) -> str:
        return self.cell


def params_from(image: str | os.PathLike[str] | RunImage | Run) -> Recipe:
    """Workflow and params of an image: one that ComfyUI made, a copy that `save` wrote, or a run's own.

    `print(params_from("photo.png"))` prints the cell that runs it again.

    Parameters
    ----------
    image
        A file, an image of a run, or a run. In an image of somebody else's ComfyUI the params are all values of
        its graph.

    Raises
    ------
    ImageError
        If there is no such image, or it carries no workflow.
    """
    if isinstance(image, Run):
        return _of_made(_made_of_run(image), None, None)
    if isinstance(image, RunImage):
        return _of_made(_made_of_run(image.run), None, None)
    path = Path(image).expanduser()
    try:
        made, graph = open_library().maker_of(path)
        if made is not None:
            return _of_made(made, graph, path)
        graph = graph if graph is not None else read_image_graph(path)
    except WorkflowError as error:
        raise ImageError(str(error)) from None
    values = {field_id: field.default for field_id, field in graph.fields().items()}
    return Recipe(values, workflow=str(image), graph=graph)


def _made_of_run(run: Run) -> Made:
    made = made_by(run.record)
    return Made(made["workflow"], made["workflow_id"], made["params"], tuple(made["set_params"]))


def _of_made(made: Made, graph: Graph | None, path: Path | None) -> Recipe:
    """The fields that were set come first, in the order in which they were."""
    names = [*(name for name in made.set_params if name in made.params), *made.params]
    params = {name: made.params[name] for name in dict.fromkeys(names)}
    named = made.workflow or made.workflow_id or ""
    known = Catalogue.open(Path.cwd(), home()).names()
    word = str(path) if path is not None and graph is not None and named not in known else named
    return Recipe(params, workflow=word, graph=graph)


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
