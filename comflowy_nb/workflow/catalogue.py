"""The names a person gave to workflows: `comflowy.yaml`, the project's beside the notebook and the home folder's.

    workflows:
      portrait:
        ids: {sandbox: default, https://app.comflowy.com: 3fef208b-7d25-4d9a-8ec9-c79eb2153234}
        graph: workflows/portrait.json        # API format, relative to this file
        aliases: {prompt: 6::text}
        fields:                               # what the editor's console printed
          3::cfg: [FLOAT, {default: 8.0}]

The files are a person's own: what they hold beyond this is kept as it is, comments too.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING

from comflowy_nb.errors import WorkflowError
from comflowy_nb.workflow.catalogue_file import FILE_NAME, CatalogueFile, Entry, field_node, under
from comflowy_nb.workflow.fields import nearest
from comflowy_nb.workflow.files import write_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from ruamel.yaml.comments import CommentedMap

    from comflowy_nb.workflow.fields import Field
    from comflowy_nb.workflow.graph import Graph

__all__ = ["Catalogue", "Entry"]

DEFAULT = "default"
_NOT_IN_A_NAME = re.compile(r"[/\\?=:#\"'{}\[\]\x00-\x1f\x7f]|^\s|\s$|^-")
_NOT_IN_A_WORD = re.compile(r"[\s/?=#\"'{}\[\]:,|]|^-")


class Catalogue:
    """Both files together: the project's takes precedence, and `default` always exists."""

    def __init__(self, project: CatalogueFile | None, home: CatalogueFile) -> None:
        self._project = project
        self._home = home

    @classmethod
    def open(cls, project: Path | None, home: Path) -> Catalogue:
        """Return the catalogue of two folders as it is on disk now.

        Parameters
        ----------
        project
            The folder of the notebook; None if there is none.
        home
            COMFLOWY_HOME. Nothing is made there before something is written.

        Raises
        ------
        WorkflowError
            If a file is damaged: the text names it and the line.
        """
        same = project is not None and (project / FILE_NAME).resolve() == (home / FILE_NAME).resolve()
        own = None if project is None or same else CatalogueFile(project, "project", confined=True)
        return cls(own, CatalogueFile(home, "home folder"))

    def names(self) -> list[str]:
        """Return the names, the project's first."""
        own = list(self._project.entries) if self._project is not None else []
        return list(dict.fromkeys([*own, *self._home.entries, DEFAULT]))

    def get(self, name: str) -> Entry | None:
        """Return the entry of a name; None if there is none."""
        file = self._file_of(name)
        found = file.entries.get(name)
        if name != DEFAULT:
            return found
        built_in = Entry(DEFAULT, graph_file=files("comflowy_nb") / "workflow" / "builtin" / "default.json")
        if found is None:
            return built_in
        return found if found.graph_file is not None else replace(found, graph_file=built_in.graph_file, folder=None)

    def redefines(self, name: str) -> bool:
        """Return whether the project's file gives another meaning to a name that is known without it."""
        is_own = self._project is not None and name in self._project.entries
        return is_own and (name == DEFAULT or name in self._home.entries)

    def add(
        self,
        name: str,
        *,
        identity: str | None = None,
        id: str | None = None,  # noqa: A002 - the API's own word
        graph: Graph | None = None,
    ) -> Entry:
        """Name a workflow: an id on a service, a graph, or both. What the name has else is kept.

        Parameters
        ----------
        identity
            Of the service whose id it is.
        graph
            Written as a file of its own into `workflows/`, beside the catalogue's.

        Raises
        ------
        WorkflowError
            If the name can't be one, or the catalogue can't be written.
        """
        if not name or _NOT_IN_A_NAME.search(name) or name.lower().endswith((".json", ".png", ".jpg", ".webp")):
            raise WorkflowError(f"{name!r} can't be the name of a workflow: use letters, digits, - and _")
        file = self._file_of(name)
        graph_name = self._write_graph(file, name, graph) if graph is not None else None

        def change(entry: CommentedMap) -> None:
            if id is not None and identity is not None:
                under(entry, "ids")[identity] = id
            if graph_name is not None:
                entry["graph"] = graph_name

        return self._change(file, name, change)

    def alias(self, name: str, word: str, field_id: str) -> Entry:
        """Give a field of a workflow a word of one's own.

        Raises
        ------
        WorkflowError
            If there is no such workflow, the word can't be one, or the catalogue can't be written.
        """
        if not word or _NOT_IN_A_WORD.search(word):
            raise WorkflowError(f"{word!r} can't be an alias: use letters, digits, - and _")
        if not field_id or any(char.isspace() for char in field_id):
            raise WorkflowError(f"{field_id!r} is not a field: {word}=3::cfg")

        def change(entry: CommentedMap) -> None:
            under(entry, "aliases")[word] = field_id

        return self._change(self._known(name), name, change)

    def describe(self, name: str, fields: Mapping[str, Field]) -> Entry:
        """Keep the description of some fields of a workflow, besides those described before.

        Raises
        ------
        WorkflowError
            If there is no such workflow, or the catalogue can't be written.
        """

        def change(entry: CommentedMap) -> None:
            described = under(entry, "fields")
            for field_id, one in fields.items():
                described[field_id] = field_node(one)

        return self._change(self._known(name), name, change)

    def _file_of(self, name: str) -> CatalogueFile:
        return self._project if self._project is not None and name in self._project.entries else self._home

    def _known(self, name: str) -> CatalogueFile:
        if name not in self.names():
            near = nearest(name, self.names())
            tip = f"; nearest: {', '.join(near)}" if near else ""
            raise WorkflowError(
                f"the catalogue has no workflow {name!r}{tip}; first %comflowy workflow add {name} ID, URL or FILE"
            )
        return self._file_of(name)

    def _change(self, file: CatalogueFile, name: str, change: Callable[[CommentedMap], None]) -> Entry:
        file.change(name, change, lock=self._home.folder / f"{FILE_NAME}.lock")
        entry = self.get(name)
        assert entry is not None
        return entry

    def _write_graph(self, file: CatalogueFile, name: str, graph: Graph) -> str:
        text = json.dumps(dict(graph.nodes), indent=1)
        slug = re.sub(r"[^\w.-]+", "-", name).strip(".") or "workflow"
        relative = f"workflows/{slug}.json"
        known = file.entries.get(name)
        path = file.folder / relative
        is_own = known is not None and known.graph_file == path
        if path.exists() and not is_own:  # never overwrite a file of another origin
            relative = f"workflows/{slug}-{sha256(text.encode()).hexdigest()[:8]}.json"
        try:
            write_text(file.folder / relative, text + "\n")
        except OSError as error:
            raise WorkflowError(f"the graph of {name} can't be written: {error.strerror}") from error
        return relative
