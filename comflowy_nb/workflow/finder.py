"""Find a workflow on one service by a name, id, file, image or address."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from comflowy_nb.errors import WorkflowError
from comflowy_nb.workflow.catalogue import FILE_NAME, Catalogue
from comflowy_nb.workflow.fields import nearest
from comflowy_nb.workflow.graph import HOW_TO_EXPORT, read_graph
from comflowy_nb.workflow.image_metadata import read_image_graph
from comflowy_nb.workflow.workflow import Workflow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from comflowy_nb.workflow.catalogue import Entry
    from comflowy_nb.workflow.fields import Field
    from comflowy_nb.workflow.graph import Graph
    from comflowy_nb.workflow.image_metadata import Made

__all__ = ["SERVER_LAST", "Finder", "Known"]

SERVER_LAST = "server:last"

IMAGES = frozenset({".png", ".jpg", ".jpeg", ".webp"})


@dataclass(frozen=True, slots=True)
class Known:
    """A workflow that can be named, and whether the connected service can run it."""

    name: str
    place: str  # where the name comes from: the catalogue, the service
    runs_here: bool
    fields: int = 0  # how many fields are described, as far as was asked
    aliases: Mapping[str, str] | None = None


class Finder:
    """The workflows that can be named on one service.

    Parameters
    ----------
    home
        Folder of the person's own catalogue.
    identity, label
        Of the service: what its ids are filed under, and what a person calls it.
    runs_graphs
        Whether the service runs graphs; else a workflow needs an id there.
    published
        Asks the service for its workflows, id -> name; None where it lists none.
    described
        Asks the service for the fields of an id; None where it publishes none.
    graph_fields
        Asks the service for the fields of a graph; without it they are derived from the graph's values.
    last_graph
        Asks the service for the graph it ran last; None where it does not tell.
    maker_of
        Return what a run set and its graph, of an image file.
    project
        Folder of the project's catalogue, beside the notebook.
    """

    def __init__(
        self,
        *,
        home: Path,
        identity: str,
        label: str,
        runs_graphs: bool,
        published: Callable[[], Mapping[str, str] | None],
        described: Callable[[str], Mapping[str, Field] | None],
        maker_of: Callable[[Path], tuple[Made | None, Graph | None]],
        graph_fields: Callable[[Graph], Mapping[str, Field]] | None = None,
        last_graph: Callable[[], Graph | None] | None = None,
        project: Path | None = None,
    ) -> None:
        self._home = home
        self._project = project
        self._identity = identity
        self._label = label
        self._runs_graphs = runs_graphs
        self._ask_published = published
        self._ask_described = described
        self._ask_graph_fields = graph_fields
        self._ask_last_graph = last_graph
        self._maker_of = maker_of
        self._published: Mapping[str, str] | None = None
        self._described: dict[str, Mapping[str, Field]] = {}
        self._found: dict[str, Workflow] = {}
        self._redefined: set[str] = set()  # names of which the user was warned

    def catalogue(self) -> Catalogue:
        """Return the catalogue as it is on disk now.

        Raises
        ------
        WorkflowError
            If a file of it is damaged.
        """
        return Catalogue.open(self._project or Path.cwd(), self._home)

    def find(self, ref: str) -> Workflow:
        """Return the workflow that a person names, described where the service or the catalogue can.

        Parameters
        ----------
        ref
            A `.json` path, an image that carries its graph, `server:last`, the editor's address, a name of the
            catalogue, or the service's own name or id; tried in this order.

        Raises
        ------
        WorkflowError
            If there is none, or it can't run on this service.
        ServiceError
            If the service had to be asked and gave no usable answer.
        """
        found = self._find(ref)
        self._found[ref] = found
        return found

    def recall(self, ref: str) -> Workflow | None:
        """Return the last result of `find` for this name, without a request."""
        return self._found.get(ref)

    def names(self) -> list[str]:
        """Return the names known without a request."""
        return sorted({*self.catalogue().names(), *(self._published or {}).values()})

    def known(self) -> list[Known]:
        """Return all workflows that can be named: the catalogue's, then the service's own."""
        catalogue, published = self.catalogue(), self._listed()
        rows = []
        for name in catalogue.names():
            entry = catalogue.get(name)
            assert entry is not None
            here = self._id_of(entry, published) is not None or (self._runs_graphs and entry.graph is not None)
            rows.append(Known(name, "catalogue", here, len(entry.fields), entry.aliases))
        own = set(catalogue.names())
        rows.extend(Known(name, self._label, runs_here=True) for name in published.values() if name not in own)
        return rows

    # -- within -------------------------------------------------------------------------------------------------

    def _find(self, ref: str) -> Workflow:
        if ref.lower().endswith(".json"):
            return self.of_graph(Path(ref).stem, read_graph(Path(ref).expanduser()))
        if Path(ref).suffix.lower() in IMAGES:
            return self._of_image(Path(ref).expanduser())
        if ref == SERVER_LAST:
            return self.of_graph("server-last", self.server_last())
        if "://" in ref:
            return self._of_id(_id_in_url(ref), name=_id_in_url(ref))
        catalogue = self.catalogue()
        entry = catalogue.get(ref)
        if entry is not None:
            if catalogue.redefines(ref) and ref not in self._redefined:
                self._redefined.add(ref)
                text = f"{FILE_NAME} beside the notebook redefines the workflow {ref}"
                warnings.warn_explicit(text, UserWarning, FILE_NAME, 0)  # `warn` would show a path
            return self._of_entry(entry)
        return self._of_service(ref)

    def server_last(self) -> Graph:
        """Return the graph that the service ran last.

        Raises
        ------
        WorkflowError
            If it ran none since it was started, or does not tell.
        ServiceError
            If it gave no usable answer.
        """
        if not self._runs_graphs or self._ask_last_graph is None:
            raise WorkflowError(f"server:last needs a ComfyUI server; {self._label} does not report what it ran")
        graph = self._ask_last_graph()
        if graph is None:
            raise WorkflowError(
                f"{self._label} has run nothing since it was started: queue the workflow once in ComfyUI, "
                "then server:last names it"
            )
        return graph

    def of_graph(self, name: str, graph: Graph) -> Workflow:
        """Return a graph as a workflow, described where the service can.

        Raises
        ------
        WorkflowError
            If the service runs no graphs.
        ServiceError
            If it gave no usable answer.
        """
        if not self._runs_graphs:
            raise WorkflowError(
                f"{self._label} runs workflows by id only, and {name} has no id there: open it in the editor, then "
                f"%comflowy workflow add {name} <the editor's address>"
            )
        fields = graph.fields() if self._ask_graph_fields is None else self._ask_graph_fields(graph)
        return Workflow(name, graph=graph, fields=fields)

    def _of_image(self, path: Path) -> Workflow:
        made, graph = self._maker_of(path)
        if graph is None:
            graph = read_image_graph(path)
        return self.of_graph(made.workflow if made is not None and made.workflow else path.stem, graph)

    def _of_entry(self, entry: Entry) -> Workflow:
        workflow_id = self._id_of(entry, self._listed() if self._identity not in entry.ids else {})
        if workflow_id is not None:
            return self._of_id(workflow_id, name=entry.name, entry=entry)
        if entry.graph is not None:
            return replace(self.of_graph(entry.name, entry.graph), aliases=entry.aliases)
        places = ", ".join(entry.ids) or "no service"
        raise WorkflowError(
            f"{entry.name} has no id on {self._label} (it has one on {places}): "
            f"%comflowy workflow add {entry.name} <its id or the editor's address>"
        )

    def _id_of(self, entry: Entry, published: Mapping[str, str]) -> str | None:
        known = entry.ids.get(self._identity)
        if known is not None:
            return known
        # A service that names a workflow as the catalogue does runs its own: so `default` runs on the sandbox.
        return next((own for own, name in published.items() if entry.name in {own, name}), None)

    def _of_service(self, ref: str) -> Workflow:
        published = self._listed()
        for own, name in published.items():
            if ref in {own, name}:
                return self._of_id(own, name=name)
        near = nearest(ref, self.names())
        if published or near:
            words = f"; nearest: {', '.join(near)}" if near else ""
            raise WorkflowError(f"there is no workflow {ref!r} here{words}; %comflowy workflows lists them")
        if self._runs_graphs:  # it has no ids
            raise WorkflowError(
                f"there is no workflow {ref!r} on {self._label}, which runs graphs: {HOW_TO_EXPORT}; "
                "%comflowy workflows lists the names"
            )
        if "/" in ref or " " in ref or not ref:
            raise WorkflowError(f"{ref!r} is not a workflow: use a name, an id, a .json file or the editor's address")
        # A service that lists nothing knows its ids alone, and refuses one that is none.
        return self._of_id(ref, name=ref)

    def _of_id(self, workflow_id: str, *, name: str, entry: Entry | None = None) -> Workflow:
        if workflow_id not in self._described:
            described = self._ask_described(workflow_id)
            if described is None:
                fields = dict(entry.fields) if entry is not None else {}
                aliases = dict(entry.aliases) if entry is not None else {}
                return Workflow(name, workflow_id, fields=fields, aliases=aliases, is_partial=True)
            self._described[workflow_id] = described
        aliases = dict(entry.aliases) if entry is not None else {}
        return Workflow(name, workflow_id, fields=self._described[workflow_id], aliases=aliases)

    def _listed(self) -> Mapping[str, str]:
        if self._published is None:
            self._published = self._ask_published() or {}
        return self._published


def _id_in_url(url: str) -> str:
    try:
        ids = parse_qs(urlsplit(url).query).get("id", [])
    except ValueError:
        ids = []
    if len(ids) != 1 or not ids[0]:
        raise WorkflowError("the editor's address ends in ?id=<the workflow's id>; this one doesn't")
    return ids[0]
