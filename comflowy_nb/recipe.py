"""What made an image: its workflow and its params, and the cell that runs them again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from comflowy_nb.database.records import made_by
from comflowy_nb.errors import ImageError, WorkflowError
from comflowy_nb.library import open_library
from comflowy_nb.settings import home
from comflowy_nb.tracking.run import Run, RunImage
from comflowy_nb.workflow.catalogue import Catalogue
from comflowy_nb.workflow.graph import Made, read_image_graph
from comflowy_nb.workflow.syntax.write_cell import write_cell
from comflowy_nb.workflow.workflow import Workflow

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from comflowy_nb.workflow.graph import Graph

__all__ = ["Recipe", "params_from"]


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
