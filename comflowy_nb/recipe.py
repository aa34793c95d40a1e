"""The workflow and params that generated an image, and a cell that runs them again."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comflowy_nb.database.connection import FILE_NAME
from comflowy_nb.errors import ComflowyError, ImageError, WorkflowError
from comflowy_nb.layout.value_text import seeds_of
from comflowy_nb.library import open_library
from comflowy_nb.settings import expand_home, home
from comflowy_nb.tracking.run import Run, RunImage
from comflowy_nb.workflow.catalogue import Catalogue
from comflowy_nb.workflow.fields import FieldType
from comflowy_nb.workflow.graph import Graph, graph_from, read_graph
from comflowy_nb.workflow.image_metadata import (
    RunMetadata,
    generation_of_image,
    graph_of_image,
    metadata_of_image,
    parse_metadata,
    read_image_graph,
)
from comflowy_nb.workflow.images import InputImage
from comflowy_nb.workflow.other_tools.fill import DEFAULT, fill
from comflowy_nb.workflow.syntax.body import read_body
from comflowy_nb.workflow.values import resolve
from comflowy_nb.workflow.workflow import Workflow

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from comflowy_nb.database.records import RunRecord
    from comflowy_nb.library import Library
    from comflowy_nb.workflow.other_tools.metadata import Generation


_RUN_IMAGE = re.compile(r"r\d+(?::.+)?\[\d+\]")
_PLAIN_WORD = re.compile(r"""[^\s"'{}#=;?]+""")


class Recipe(dict[str, Any]):
    """The params of an image, as `params_from` returns them: a dict of field id -> value.

    Parameters
    ----------
    params : mapping
        Field id -> value.
    workflow : str
        The WORKFLOW argument of the cell: a name, an id or the path of the image.
    graph : Graph, optional
        The graph in the image.
    left_out : sequence of str
        The settings of another tool for which the workflow has no field.

    Attributes
    ----------
    workflow : str
        The WORKFLOW argument of the cell.
    graph : Graph or None
        The graph in the image.
    left_out : tuple of str
        The settings of another tool for which the workflow has no field.
    """

    def __init__(
        self, params: Mapping[str, Any], *, workflow: str, graph: Graph | None = None, left_out: Sequence[str] = ()
    ) -> None:
        super().__init__(params)
        self.workflow = workflow
        self.graph = graph
        self.left_out = tuple(left_out)

    @property
    def cell(self) -> str:
        """The text of a cell that runs the workflow again: `%%comflowy run WORKFLOW` and one line per field.

        `str(recipe)` is the same text.

        Examples
        --------
        >>> print(Recipe({"3::cfg": 7.5}, workflow="default").cell)
        %%comflowy run default
        3::cfg: 7.5
        """
        fields = {} if self.graph is None else self.graph.fields()
        # A line can't set the null that a graph has as a value, so those params are left out.
        nulls = {key for key, field in fields.items() if field.default is None and self.get(key) is None}
        values = {key: value for key, value in self.items() if key not in nulls}
        return write_cell(Workflow(self.workflow, fields=fields, is_partial=True), values)

    def __str__(self) -> str:
        return self.cell


def params_from(image: str | os.PathLike[str] | RunImage | Run, *, workflow: str = DEFAULT) -> Recipe:
    """Return the workflow and the params that generated an image.

    Parameters
    ----------
    image : str, path, RunImage or Run
        An image file that ComfyUI or `save` wrote, an image of a run, or a run. The history also recognises a file by
        its content if its metadata has been removed. The settings in an image of AUTOMATIC1111, Forge, SwarmUI,
        InvokeAI, NovelAI or Fooocus become params of `workflow`; a UserWarning lists the settings without a field.
    workflow : str
        For an image of another tool: a name in the catalogue with a graph, or the path of a graph.

    Returns
    -------
    Recipe
        A dict of field id -> value, with those that the user set first. `print` shows a cell that runs the workflow
        again. For an image of another ComfyUI, the params are all values of its graph.

    Raises
    ------
    ImageError
        If the file is missing, not an image, or contains no workflow and no settings.
    WorkflowError
        If `workflow` is required and the catalogue has no graph of it.

    Examples
    --------
    >>> recipe = comflowy_nb.params_from(run)
    >>> recipe.workflow, recipe["3::cfg"]
    ('default', 7.0)
    >>> client.run(recipe.workflow, recipe).status
    <Status.SUCCESS: 'success'>
    """
    if isinstance(image, RunImage):
        image = image.run
    if isinstance(image, Run):
        return _recipe(_metadata_of(image.record), None, None)
    try:
        path = expand_home(image)
    except TypeError:
        kind = type(image).__name__
        raise ImageError(f'params_from needs an image file or a run, not {kind}: params_from("cat.png")') from None
    try:
        library = open_library()
        metadata, graph = find_metadata(path, library)
        if metadata is not None:
            return _recipe(metadata, graph, path)
        generation = generation_of_image(path) if graph is None else None
        if graph is None and generation is None:
            graph = graph_from(lambda: read_image_graph(path), library.convert)
    except WorkflowError as error:
        raise ImageError(str(error)) from None
    if generation is not None:
        return _recipe_of_other_tool(generation, path, workflow)
    assert graph is not None
    values = {field_id: field.default for field_id, field in graph.fields().items()}
    return Recipe(values, workflow=str(image), graph=graph)


def _recipe(metadata: RunMetadata, graph: Graph | None, path: Path | None) -> Recipe:
    names = [*(name for name in metadata.set_params if name in metadata.params), *metadata.params]
    params = {name: metadata.params[name] for name in dict.fromkeys(names)}
    workflow = metadata.workflow or metadata.workflow_id or ""
    if path is not None and graph is not None and workflow not in Catalogue.open(Path.cwd(), home()).names():
        workflow = str(path)
    return Recipe(params, workflow=workflow, graph=graph)


def _recipe_of_other_tool(generation: Generation, path: Path, workflow: str) -> Recipe:
    if workflow.lower().endswith(".json"):
        graph: Graph | None = read_graph(workflow)
        aliases: Mapping[str, str] = {}
    else:
        catalogue = Catalogue.open(Path.cwd(), home())
        entry = catalogue.get(workflow)
        graph, aliases = catalogue.graph_of(workflow), entry.aliases if entry is not None else {}
    if graph is None:
        raise WorkflowError(
            f"the catalogue has no graph of {workflow!r}: connect to its service, then type "
            f"%comflowy run {workflow} --from {path.name}"
        )
    filled = fill(generation, Workflow(workflow, graph=graph, fields=graph.fields(), aliases=aliases), path.name)
    if filled.left_out:
        warnings.warn_explicit(filled.summary, UserWarning, path.name, 0)  # `warn` shows a path
    return Recipe(filled.params, workflow=workflow, left_out=filled.left_out)


def find_metadata(path: Path, library: Library) -> tuple[RunMetadata | None, Graph | None]:
    """Return the metadata (workflow and params) and the graph that generated an image file; each None if unknown.

    They are read from the file, else from the history or a sidecar, because a server may write no metadata (ComfyUI
    with `--disable-metadata`) and other programs may remove it.

    Raises
    ------
    ImageError
        If the file can't be read or is not an image.
    """
    metadata = metadata_of_image(path)
    try:
        return metadata, read_image_graph(path)
    except WorkflowError:
        if not (library.home / FILE_NAME).is_file():
            return metadata, None
    history = library.history
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    record = history.by_content(sha256) if metadata is None else history.get(metadata.run)
    if record is None:
        return metadata or _find_sidecar(library.folder, sha256), None
    nodes = history.graph(record.token)
    return metadata or _metadata_of(record), None if nodes is None else Graph(Graph(nodes).apply(record.params))


def read_graph_of(run: Run) -> tuple[dict[str, int], dict[str, str]]:
    """Return seeds and node titles from the graph in ComfyUI's images, the only record of default values."""
    for image in run.images:
        try:
            graph = graph_of_image(image.path)
        except (ComflowyError, OSError):
            continue
        if graph is not None:
            params = {field_id: field.default for field_id, field in graph.fields().items()}
            return seeds_of(params), {node: graph.title(node) or "" for node in graph.nodes}
    return {}, {}


def _metadata_of(record: RunRecord) -> RunMetadata:
    return RunMetadata(record.workflow, record.workflow_id, dict(record.params), tuple(record.set_params), record.token)


def _find_sidecar(folder: Path, sha256: str) -> RunMetadata | None:
    """Return the metadata in the sidecar that lists a file with this sha256; None if there is none."""
    for path in folder.rglob("*.json"):
        text = path.read_text("utf-8", "replace")
        if sha256 in text:
            return parse_metadata(text)
    return None


# -- the cell that reproduces a run --------------------------------------------------------------------------------


def write_cell(workflow: Workflow, params: Mapping[str, Any]) -> str:
    """Return a cell that submits exactly these params to this workflow when it is executed.

    The body has a line for each field if these lines are parsed to the same values. Otherwise it is a payload, for
    example for a text with white space at its ends.

    Parameters
    ----------
    params
        Field id -> value as submitted. An image that is not uploaded yet is written as `run:REF` or `file:PATH`. Only
        the name is known of an image that was chosen in a browser.
    """
    head = f"%%comflowy run {_word(workflow.name)}"
    values = {key: _image_text(value) if isinstance(value, InputImage) else value for key, value in params.items()}
    if not values:
        return head
    bodies = ["\n".join(line for key, value in values.items() for line in _lines(key, value))]
    bodies += [json.dumps(_escape_names(values), ensure_ascii=is_ascii, indent=2) for is_ascii in (False, True)]
    body = next((body for body in bodies if _reads_as(body, workflow, values)), bodies[-1])
    return f"{head}\n{body}"


def _image_text(image: InputImage) -> str:
    kind = "run" if _RUN_IMAGE.fullmatch(image.source) else "file"
    return f"{kind}:{image.source or image.name}"


def _lines(key: str, value: Any) -> list[str]:
    if not isinstance(value, str):
        return [f"{key}: {json.dumps(value)}"]
    text = _escape_names(value)
    if "\n" in text:
        return [f"{key}: |", *(f"  {line}" for line in text.split("\n"))]
    if text != text.strip() or not text or text[0] in "\"'|>":
        quote = '"' if '"' not in text else "'"
        return [f"{key}: {quote}{text}{quote}"]
    return [f"{key}: {text}"]


def _escape_names(value: Any) -> Any:
    """Replace `{name}` by `{{name}}`, which is not expanded."""
    if isinstance(value, str):
        return re.sub(r"\{([^\W\d]\w*)\}", r"{{\1}}", value)
    if isinstance(value, dict):
        return {key: _escape_names(item) for key, item in value.items()}
    return [_escape_names(item) for item in value] if isinstance(value, list) else value


def _reads_as(body: str, workflow: Workflow, values: Mapping[str, Any]) -> bool:
    """Return True if the body is parsed to these values without any variables."""
    # Images are compared as texts, because their files may be missing.
    fields = {key: field for key, field in workflow.fields.items() if field.type is not FieldType.IMAGEUPLOAD}
    described = Workflow(workflow.name, workflow.id, fields=fields, is_partial=True)
    try:
        read_params = resolve(described, read_body(body).settings, namespace={}).params
    except ComflowyError:
        return False
    return set(read_params) == set(values) and all(
        read_params[key] == value and isinstance(read_params[key], bool) == isinstance(value, bool)
        for key, value in values.items()
    )


def _word(name: str) -> str:
    if _PLAIN_WORD.fullmatch(name):
        return name
    return f'"{name}"' if '"' not in name else f"'{name}'"
