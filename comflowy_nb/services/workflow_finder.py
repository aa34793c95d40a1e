"""Find a workflow on one service by its name, id, file, image or URL."""

from __future__ import annotations

import re
import warnings
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from comflowy_nb.errors import SettingsError, WorkflowError, nearest_tip
from comflowy_nb.services.targets import origin_of
from comflowy_nb.settings import cloud_url, expand_home
from comflowy_nb.workflow.catalogue import FILE_NAME, Catalogue, Entry
from comflowy_nb.workflow.editor_format import convert, node_classes
from comflowy_nb.workflow.graph import HOW_TO_EXPORT, graph_from, read_graph
from comflowy_nb.workflow.image_metadata import read_image_graph
from comflowy_nb.workflow.images import IMAGE_SUFFIXES
from comflowy_nb.workflow.syntax.json_values import shown
from comflowy_nb.workflow.workflow import Workflow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from comflowy_nb.scheduler import Scheduler
    from comflowy_nb.services.base import Service
    from comflowy_nb.workflow.fields import Field
    from comflowy_nb.workflow.graph import Graph, InEditorFormat
    from comflowy_nb.workflow.image_metadata import RunMetadata


SERVER_LAST = "server:last"
_USER = re.compile(r"//[^/@]*@")  # user name and password of a URL


@dataclass(frozen=True, slots=True)
class KnownWorkflow:
    """A workflow that `%comflowy workflows` lists.

    Attributes
    ----------
    name
        The name of the workflow.
    source
        The owner of the name: `catalogue`, or the label of the service.
    runs_here
        Whether the connected service can run it.
    aliases
        Alias -> field id.
    """

    name: str
    source: str
    runs_here: bool
    aliases: Mapping[str, str] = field(default_factory=dict)


class Finder:
    """Finds workflows on one service and caches the service's responses.

    Parameters
    ----------
    home
        The home folder, which contains one of the two catalogue files.
    service
        The service. The catalogue stores its workflow ids under its identity.
    scheduler
        The scheduler that runs the requests to the service.
    find_metadata
        Returns the params and the graph that generated an image file, each None if unknown.
    """

    def __init__(
        self,
        home: Path,
        service: Service,
        scheduler: Scheduler,
        find_metadata: Callable[[Path], tuple[RunMetadata | None, Graph | None]],
    ) -> None:
        self._home = home
        self._service = service
        self._label = service.label
        self._scheduler = scheduler
        self._find_metadata = find_metadata
        self._published: Mapping[str, str] | None = None
        self._described: dict[str, Mapping[str, Field]] = {}
        self._workflows: dict[str, Workflow] = {}
        self._redefined: set[str] = set()  # names for which a warning was shown

    def catalogue(self) -> Catalogue:
        """Read the catalogue.

        Raises
        ------
        WorkflowError
            If one of its files is damaged.
        """
        return Catalogue.open(Path.cwd(), self._home)

    def find(self, ref: str) -> Workflow:
        """Find a workflow, with its fields if the service or the catalogue describes them.

        Parameters
        ----------
        ref
            A `.json` path, an image that contains its graph, `server:last`, the URL of the editor, a name in the
            catalogue, or the service's own name or id. The first that matches is used.

        Raises
        ------
        WorkflowError
            If there is no such workflow, or the service can't run it.
        ServiceError
            If a request to the service fails.
        """
        workflow = self._find(ref)
        self._workflows[ref] = workflow
        return workflow

    def find_cached(self, ref: str) -> Workflow | None:
        """Return the last result of `find` for this name, without a request."""
        return self._workflows.get(ref)

    def names(self) -> list[str]:
        """Return the names that are known without a request."""
        return sorted({*self.catalogue().names(), *(self._published or {}).values()})

    @property
    def lists_all(self) -> bool:
        """Whether the service lists its workflows, so that it runs no others by id."""
        return bool(self._listed())

    def known(self) -> list[KnownWorkflow]:
        """Return all workflows with a name: first the catalogue's, then the service's."""
        catalogue, published = self.catalogue(), self._listed()
        names = catalogue.names()
        rows = []
        for name in names:
            entry = catalogue.get(name)
            assert entry is not None
            runs_here = self._id_of(entry) is not None or (self._service.runs_graphs and entry.has_graph)
            rows.append(KnownWorkflow(name, "catalogue", runs_here, entry.aliases))
        rows += [KnownWorkflow(name, self._label, runs_here=True) for name in published.values() if name not in names]
        return rows

    def server_last(self) -> Graph:
        """Return the last graph that the service ran.

        Raises
        ------
        WorkflowError
            If the service has not run a graph since its start, or does not report it.
        ServiceError
            If the request fails.
        """
        if not self._service.runs_graphs:
            raise WorkflowError(f"server:last needs a ComfyUI server; {self._label} does not report what it ran")
        graph = self._scheduler.run(self._service.last_graph)
        if graph is None:
            raise WorkflowError(
                f"{self._label} has run nothing since it was started: queue the workflow once in ComfyUI, "
                "then use server:last"
            )
        return graph

    def convert(self, found: InEditorFormat) -> Graph:
        """Convert a workflow of ComfyUI's editor to a graph, with the service's descriptions of its node classes.

        Raises
        ------
        WorkflowError
            If the service does not run graphs, or the workflow can't be converted.
        ServiceError
            If a request to the service fails.
        """
        if not self._service.runs_graphs:
            raise WorkflowError(str(found))
        try:
            classes = node_classes(found.editor)
            types = self._scheduler.run(lambda: self._service.node_types(classes))
            return convert(found.editor, types)
        except WorkflowError as error:
            raise WorkflowError(f"{found.name} can't run on {self._label}: {error}") from None

    def from_graph(self, name: str, graph: Graph) -> Workflow:
        """Return a graph as a workflow, with its fields.

        Raises
        ------
        WorkflowError
            If the service does not run graphs.
        ServiceError
            If a request to the service fails.
        """
        if not self._service.runs_graphs:
            raise WorkflowError(self.why_no_graph(name))
        return Workflow(name, graph=graph, fields=self._scheduler.run(lambda: self._service.graph_fields(graph)))

    def why_no_graph(self, name: str) -> str:
        """Return the error for a graph on a service that runs workflows only by id, with the next command."""
        if self.lists_all:
            own = self._listed()
            return (
                f"{self._label} can't run {name}, only its own workflows ({', '.join(own.values())}): "
                "connect a server that runs it, as in %comflowy connect comfyui"
            )
        return (
            f"{self._label} runs workflows only by id, and {name} has no id for it: open {name} in its editor, "
            f"then %comflowy workflow add {name} <URL of the editor>"
        )

    def check_id(self, workflow_id: str) -> None:
        """Check that a service that lists its workflows has one with this id.

        Raises
        ------
        WorkflowError
            If the service does not have the id.
        ServiceError
            If a request to the service fails.
        """
        own = self._listed()
        if own and workflow_id not in own:
            raise WorkflowError(
                f"{self._label} has no workflow {workflow_id!r}{nearest_tip(workflow_id, own)}: it runs only "
                f"{', '.join(own)}. An id of another service is added while it is connected, as in "
                "%comflowy connect cloud"
            )

    def _find(self, ref: str) -> Workflow:
        if ref.lower().endswith(".json"):
            return self.from_graph(_name_of(Path(ref)), graph_from(lambda: read_graph(ref), self.convert))
        if Path(ref).suffix.lower() in IMAGE_SUFFIXES:
            return self._from_image(expand_home(ref))
        if ref == SERVER_LAST:
            return self.from_graph("server-last", self.server_last())
        if "://" in ref:
            workflow_id = id_in_url(ref)
            return self._from_id(workflow_id, Entry(workflow_id))
        catalogue = self.catalogue()
        entry = catalogue.get(ref)
        if entry is not None:
            if catalogue.redefines(ref) and ref not in self._redefined:
                self._redefined.add(ref)
                text = f"{FILE_NAME} beside the notebook redefines the workflow {ref}"
                warnings.warn_explicit(text, UserWarning, FILE_NAME, 0)  # `warn` shows a path
            return self._from_entry(entry)
        return self._from_service(ref)

    def _from_image(self, path: Path) -> Workflow:
        metadata, graph = self._find_metadata(path)
        if graph is None:
            graph = graph_from(lambda: read_image_graph(path), self.convert)
        return self.from_graph(
            metadata.workflow if metadata is not None and metadata.workflow else _name_of(path), graph
        )

    def _from_entry(self, entry: Entry) -> Workflow:
        workflow_id = self._id_of(entry)
        if workflow_id is not None:
            return self._from_id(workflow_id, entry)
        if entry.graph_file is not None:
            graph = graph_from(entry.read_graph, self.convert)
            return replace(self.from_graph(entry.name, graph), aliases=entry.aliases)
        if self.lists_all:
            raise WorkflowError(self.why_no_graph(entry.name))
        services = ", ".join(entry.ids) or "no service"
        raise WorkflowError(
            f"{entry.name} has no id on {self._label} (it has one on {services}): "
            f"%comflowy workflow add {entry.name} <its id or the URL of the editor>"
        )

    def _id_of(self, entry: Entry) -> str | None:
        known = entry.ids.get(self._service.identity)
        if known is None and self._is_cloud():
            known = entry.ids.get("cloud")
        if known is not None:
            return known
        # A service's own workflow of the same name, such as `default` of the sandbox.
        return next((listed_id for listed_id, name in self._listed().items() if entry.name in {listed_id, name}), None)

    def _is_cloud(self) -> bool:
        """Return whether the service is the hosted service, whose identity is its origin."""
        with suppress(SettingsError):
            return self._service.identity == origin_of(cloud_url())
        return False

    def _from_service(self, ref: str) -> Workflow:
        published = self._listed()
        for workflow_id, name in published.items():
            if ref in {workflow_id, name}:
                return self._from_id(workflow_id, Entry(name))
        tip = nearest_tip(ref, self.names())
        if published or tip:
            raise WorkflowError(f"there is no workflow {ref!r} here{tip or '.'} %comflowy workflows lists them")
        if self._service.runs_graphs:
            raise WorkflowError(
                f"there is no workflow {ref!r} on {self._label}, which runs graphs: {HOW_TO_EXPORT}. "
                "%comflowy workflows lists the names"
            )
        if "/" in ref or " " in ref or not ref:
            raise WorkflowError(f"{ref!r} is not a workflow: use a name, an id, a .json file or the URL of the editor")
        # A service that lists no workflows may know this id; otherwise it rejects the submit.
        return self._from_id(ref, Entry(ref))

    def _from_id(self, workflow_id: str, entry: Entry) -> Workflow:
        if workflow_id not in self._described:
            described = self._scheduler.run(lambda: self._service.fields(workflow_id))
            if described is None:
                return Workflow(entry.name, workflow_id, fields=entry.fields, aliases=entry.aliases, is_partial=True)
            self._described[workflow_id] = described
        return Workflow(entry.name, workflow_id, fields=self._described[workflow_id], aliases=entry.aliases)

    def _listed(self) -> Mapping[str, str]:
        if self._published is None:
            self._published = self._scheduler.run(self._service.workflows) or {}
        return self._published


def id_in_url(url: str) -> str:
    """Return the workflow id in the URL of the editor.

    Raises
    ------
    WorkflowError
        If the URL contains no id.
    """
    try:
        ids = parse_qs(urlsplit(url).query).get("id", [])
    except ValueError:
        ids = []
    if len(ids) != 1 or not ids[0]:
        address = shown(_USER.sub("//", url))
        raise WorkflowError(f"invalid address {address}: it must end in ?id=ID, with the workflow's id")
    return ids[0]


def _name_of(path: Path) -> str:
    """Return the name of a workflow in a file. The history can't store the bytes of a name that is not UTF-8."""
    return path.stem.encode(errors="replace").decode()
