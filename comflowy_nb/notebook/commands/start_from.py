"""Determine the workflow and the values for `run`, `sweep` and `form`: the line, the body and `--from`."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from IPython.core.error import UsageError

from comflowy_nb.errors import FieldError, WorkflowError
from comflowy_nb.notebook.display.html import paragraph
from comflowy_nb.recipe import find_metadata
from comflowy_nb.settings import expand_home
from comflowy_nb.workflow.axes.names import caption_names
from comflowy_nb.workflow.axes.types import Axes
from comflowy_nb.workflow.files import is_file_name, no_such_file
from comflowy_nb.workflow.image_metadata import RunMetadata, generation_of_image
from comflowy_nb.workflow.images import IMAGE_SUFFIXES
from comflowy_nb.workflow.other_tools.fill import DEFAULT, fill
from comflowy_nb.workflow.syntax.body import read_body
from comflowy_nb.workflow.syntax.lists import Setting

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path
    from typing import Any

    from comflowy_nb.client import Client
    from comflowy_nb.database.records import SweepRecord
    from comflowy_nb.notebook.magic_line.request import Request
    from comflowy_nb.notebook.session import Session
    from comflowy_nb.sweeps.sweep import Sweep
    from comflowy_nb.workflow.axes.yaml_file import SweepFile
    from comflowy_nb.workflow.other_tools.metadata import Generation
    from comflowy_nb.workflow.workflow import Workflow


_TEXT_SUFFIXES = (".txt", ".csv", ".tsv", ".jsonl", ".md")


@dataclass(frozen=True, slots=True)
class Start:
    """The workflow of a command, the settings typed for it, and the values of `--from`.

    Attributes
    ----------
    name
        The workflow as typed or recorded.
    base
        The values of the run, sweep or image in `--from`.
    sweep
        The sweep in `--from`.
    """

    client: Client
    name: str
    workflow: Workflow
    settings: tuple[Setting, ...]
    base: RunMetadata | None
    sweep: Sweep | None

    def label(self, request: Request, axes: Axes | None = None) -> list[str] | None:
        """Return the field ids and columns in `--label`, for a sweep with these axes; None without any."""
        return caption_names(request.options.get("label", ()), axes or Axes(), self.workflow) or None


def start(session: Session, request: Request, *, is_sweep: bool = False, file: SweepFile | None = None) -> Start:
    """Read the body, connect, and find the workflow and the values to start from.

    Parameters
    ----------
    is_sweep
        Whether a field may have several values.
    file
        The sweep file, if the line names one instead of a workflow.

    Raises
    ------
    UsageError
        If neither a workflow nor `--from` is given, or both are. Both are permitted for an image of another tool.
    ComflowyError
        If the body can't be read, or there is no such workflow, run or file.
    """
    body = read_body(request.body, sweep=is_sweep) if request.body is not None else None
    client = session.connected()
    if file is not None and "from" in request.options:
        raise UsageError(f"{request.words[0].text} has a workflow and values: leave out --from")
    named, base, sweep = (file.workflow, None, None) if file else _find_start(session, client, request)
    workflow = client.workflow(named) if isinstance(named, str) else named
    show_conversion(session, workflow)
    if body is not None:
        body.check_workflow(workflow)
    line = [Setting(word.key or "", word.value or "", quoted=word.quoted, where="the line") for word in request.fields]
    settings = (*line, *(body.settings if body is not None else ()), *(file.settings if file is not None else ()))
    _warn_about_files(session, workflow, settings, is_sweep=is_sweep)
    return Start(client, named if isinstance(named, str) else workflow.name, workflow, settings, base, sweep)


def _warn_about_files(session: Session, workflow: Workflow, settings: Iterable[Setting], *, is_sweep: bool) -> None:
    """Show a warning about texts that are paths of text files: the path is submitted, not the content of the file."""
    notes = []
    for setting in settings:
        if not isinstance(setting.value, str) or not _is_text_field(workflow, setting.key):
            continue
        for text in setting.value.split("||"):
            path = text.strip().removeprefix("file:")
            if path.lower().endswith(_TEXT_SUFFIXES) and "\n" not in path and expand_home(path).is_file():
                lines = f"--lines {setting.key}={path}" + ("" if is_sweep else " in a sweep")
                notes.append(f"{setting.key}: the words {text.strip()!r} are submitted. {lines} takes the file's lines")
    if notes:
        session.say(paragraph(*notes))


def _is_text_field(workflow: Workflow, key: str) -> bool:
    with suppress(FieldError):
        return any(workflow.field(field_id).type.takes_texts for field_id in workflow.find(key))
    return False


def show_conversion(session: Session, workflow: Workflow) -> None:
    """Show once that a workflow was converted from the editor's format, and which inputs were left out."""
    lines = workflow.conversion
    if lines and lines not in session.converted:
        session.converted.add(lines)
        session.say(paragraph(*lines))


def show_left_out(session: Session, sweep: Sweep, explicit: Collection[str]) -> None:
    """Show the fields of the sweep in `--from` that `run` and `form` do not use, except the fields in `explicit`."""
    left = [axis.name for axis in sweep.axes.axes if not set(axis.fields) <= set(explicit)]
    left += [field_id for seed in sweep.axes.seeds for field_id in seed.fields if field_id not in explicit]
    if left:
        text = (
            f"from {sweep.ref}, without its axes and seeds: {', '.join(left)}. These fields keep the workflow's values"
        )
        session.say(paragraph(f"{text}; --from {sweep.ref}.1 uses the values of a cell"))


def _find_start(
    session: Session, client: Client, request: Request
) -> tuple[str | Workflow, RunMetadata | None, Sweep | None]:
    """Return the workflow or its name; with `--from` also the values to start from, and the sweep."""
    source: Any = request.options.get("from")
    if source is None:
        if not request.words:
            usage = f"{request.command.name} needs a WORKFLOW: %comflowy {request.command.usage}"
            raise UsageError(f"{usage}; %comflowy workflows lists them")
        return request.text(request.words[0]), None, None
    path = _file_of(source)
    if path is not None and path.suffix.lower() != ".json":
        return *_start_from_image(session, client, path, request), None
    if request.words:
        raise _named_twice(request)
    if path is not None:
        return str(path), None, None  # a graph contains its values
    found = session.find(source)
    if found.sweep is not None:
        sweep = session.sweep(found.sweep)
        return *_start_from_sweep(client, found.sweep, sweep), sweep
    record = found.run.record
    params = dict(record.params)
    if record.imported is not None:  # its input images have the names on another person's service
        params = client.connection.submitter.restore_input_images(None, params, identity=record.identity)
    metadata = RunMetadata(record.workflow, record.workflow_id, params, record.set_params)
    return client.connection.workflow_of(record), metadata, None


def _file_of(source: object) -> Path | None:
    """Return the path of the graph or image file in `--from`; None for a reference.

    Raises
    ------
    WorkflowError
        If there is no such file.
    """
    path = expand_home(str(source))
    if is_file_name(str(source)) and not path.is_file():
        raise WorkflowError(no_such_file(str(source)))
    return path if path.suffix.lower() in {*IMAGE_SUFFIXES, ".json"} and path.is_file() else None


def _named_twice(request: Request) -> UsageError:
    source, word = request.options["from"], request.words[0].text
    return UsageError(f"--from {source} already names the workflow: leave {word!r} out")


def _start_from_image(
    session: Session, client: Client, path: Path, request: Request
) -> tuple[str | Workflow, RunMetadata | None]:
    """Return the workflow and the values of an image. Settings of another tool are used only if it has no graph."""
    metadata, graph = find_metadata(path, client.library)
    runs_graph = client.service.runs_graphs and graph is not None
    if metadata is None and (request.words or not runs_graph):
        generation = generation_of_image(path)
        if generation is not None:
            return _start_from_other_tool(session, client, generation, path.name, request)
    if request.words:
        raise _named_twice(request)
    if metadata is None or runs_graph:
        return str(path), metadata  # its graph is the workflow with its values
    named = metadata.workflow or metadata.workflow_id
    if not named:
        raise WorkflowError(
            f"{path.name} does not contain the name of its workflow: type its values after %comflowy run WORKFLOW"
        )
    return named, metadata


def _start_from_other_tool(
    session: Session, client: Client, generation: Generation, image: str, request: Request
) -> tuple[str, RunMetadata]:
    """Convert another tool's settings to values of the command's workflow, else of `default`."""
    named = request.text(request.words[0]) if request.words else DEFAULT
    try:
        workflow = client.workflow(named)
    except WorkflowError as error:
        if request.words:
            raise
        usage = f"%comflowy {request.command.name} WORKFLOW --from {request.options['from']}"
        raise WorkflowError(f"{error}. Or name another workflow for the settings in {image}: {usage}") from None
    filled = fill(generation, workflow, image, client.connection.finder.catalogue().graph_of(workflow.name))
    session.say(paragraph(filled.summary))
    return named, RunMetadata(workflow.name, workflow.id, filled.params, tuple(filled.params))


def _start_from_sweep(client: Client, record: SweepRecord, sweep: Sweep) -> tuple[str | Workflow, RunMetadata]:
    """Return the workflow and the values that all cells of a sweep share, without its axes."""
    named: str | Workflow = client.connection.name_here(record)
    first = next((cell.run.record for cell in sweep.cells if cell.run is not None), None)
    if first is not None and named not in client.connection.finder.names():
        named = client.connection.workflow_of(first)
    fixed = dict(sweep.axes.fixed)
    shared = tuple(key for key in sweep.axes.set_params if key in fixed)
    return named, RunMetadata(record.workflow, record.workflow_id, fixed, shared)
