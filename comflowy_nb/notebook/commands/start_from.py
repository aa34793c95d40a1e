"""What a command starts from: the workflow, the values on the line and in the body, and what `--from` names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from IPython.core.error import UsageError

from comflowy_nb.errors import WorkflowError
from comflowy_nb.notebook.display.html import paragraph
from comflowy_nb.workflow.graph import Graph
from comflowy_nb.workflow.image_metadata import Made
from comflowy_nb.workflow.images import IMAGE_SUFFIXES
from comflowy_nb.workflow.syntax.body import read_body
from comflowy_nb.workflow.syntax.lists import Setting

if TYPE_CHECKING:
    from collections.abc import Collection

    from comflowy_nb.client import Client
    from comflowy_nb.database.records import RunRecord
    from comflowy_nb.notebook.commands.table import Request
    from comflowy_nb.notebook.session import Session
    from comflowy_nb.sweeps.sweep import Sweep
    from comflowy_nb.workflow.workflow import Workflow

__all__ = ["Start", "show_left_out", "start", "sweep_to_start_from"]


@dataclass(frozen=True, slots=True)
class Start:
    """The workflow of a command, the settings typed for it, and the values of the run or image in `--from`."""

    client: Client
    name: str  # of the workflow, as typed or recorded
    workflow: Workflow
    settings: tuple[Setting, ...]
    base: Made | None


def start(session: Session, request: Request, *, is_sweep: bool = False) -> Start:
    """Read the body, connect, and find the workflow and what to start from.

    Raises
    ------
    UsageError
        If neither a workflow nor `--from` is given, or both are.
    ComflowyError
        If the body can't be read, or there is no such workflow, run or file.
    """
    body = read_body(request.body, sweep=is_sweep) if request.body is not None else None
    client = session.connected()
    named, base = _find_start(session, client, request)
    workflow = client.workflow(named) if isinstance(named, str) else named
    if body is not None:
        body.check_workflow(workflow)
    line = [Setting(word.key or "", word.value or "", quoted=word.quoted, where="the line") for word in request.fields]
    settings = (*line, *(body.settings if body is not None else ()))
    return Start(client, named if isinstance(named, str) else workflow.name, workflow, settings, base)


def sweep_to_start_from(session: Session, request: Request) -> Sweep | None:
    """Return the sweep that `--from` names; None if it names a run or an image."""
    source = request.options.get("from")
    if source is None or _file_of(source) is not None:
        return None
    record = session.find(source).sweep
    return None if record is None else session.sweep(record)


def show_left_out(session: Session, request: Request, explicit: Collection[str]) -> None:
    """Name the fields of the sweep in `--from` that `run` and `form` do not take over, except those in `explicit`."""
    swept = sweep_to_start_from(session, request)
    if swept is None:
        return
    left = [axis.name for axis in swept.axes.axes if not set(axis.fields) <= set(explicit)]
    left += [field_id for seed in swept.axes.seeds for field_id in seed.fields if field_id not in explicit]
    if left:
        text = f"from {swept.ref}, without its axes and seeds: {', '.join(left)}. These keep the workflow's values"
        session.say(paragraph(f"{text}; --from {swept.ref}.1 takes those of a cell"))


def _find_start(session: Session, client: Client, request: Request) -> tuple[str | Workflow, Made | None]:
    """Return the workflow or its name, and the values to start from if `--from` is given."""
    source = request.options.get("from")
    if source is None:
        if not request.words:
            usage = f"{request.command.name} needs a WORKFLOW: %comflowy {request.command.usage}"
            raise UsageError(f"{usage}; %comflowy workflows lists them")
        return request.text(request.words[0]), None
    if request.words:
        raise UsageError(f"with --from the workflow is that of {source}: leave {request.words[0].text} out")
    path = _file_of(source)
    if path is not None and path.suffix.lower() == ".json":
        return str(path), None  # a graph contains its values
    if path is not None:
        return _start_from_image(client, path)
    found = session.find(source)
    if found.sweep is not None:
        return _start_from_sweep(client, session.sweep(found.sweep))
    record = found.run.record
    made = Made(record.workflow, record.workflow_id, dict(record.params), record.set_params)
    return _workflow_of(client, record), made


def _file_of(source: object) -> Path | None:
    """Return the graph or image file that `--from` names; None for a reference.

    Raises
    ------
    WorkflowError
        If there is no such file.
    """
    path = Path(str(source)).expanduser()
    if path.suffix.lower() == ".json" and not path.is_file():  # a reference never ends in .json
        raise WorkflowError(f"there is no file {str(source)!r}")
    return path if path.suffix.lower() in {*IMAGE_SUFFIXES, ".json"} and path.is_file() else None


def _workflow_of(client: Client, record: RunRecord) -> str | Workflow:
    """Return the workflow of a run: its graph if there is one and the service runs graphs, else its name or id."""
    graph = client.library.history.graph(record.token) if client.service.runs_graphs else None
    if graph is not None:
        return client.finder.of_graph(record.workflow, Graph(graph))
    here = record.workflow_id if record.identity == client.identity else None
    return record.workflow if record.workflow in client.finder.names() else here or record.workflow


def _start_from_sweep(client: Client, swept: Sweep) -> tuple[str | Workflow, Made]:
    """Return the workflow and the values that all cells of a sweep share, without its axes."""
    record = swept.record
    assert record is not None
    here = record.workflow_id if record.identity == client.identity else None
    named: str | Workflow = record.workflow if record.workflow in client.finder.names() else here or record.workflow
    first = next((cell.run.record for cell in swept.cells if cell.run is not None), None)
    if first is not None and client.service.runs_graphs and named not in client.finder.names():
        named = _workflow_of(client, first)
    fixed = dict(swept.axes.fixed)
    shared = tuple(key for key in swept.axes.set_params if key in fixed)
    return named, Made(record.workflow, record.workflow_id, fixed, shared)


def _start_from_image(client: Client, path: Path) -> tuple[str, Made | None]:
    made, graph = client.library.maker_of(path)
    if client.service.runs_graphs and graph is not None:
        return str(path), made  # its graph contains the values
    if made is None:
        return str(path), None  # its graph is the workflow with its values
    named = made.workflow or made.workflow_id
    if not named:
        raise WorkflowError(f"{path.name} doesn't say which workflow made it")
    return named, made
