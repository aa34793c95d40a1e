"""The catalogue: names for workflows, in a `comflowy.yaml` beside the notebook and one in the home folder.

    workflows:
      portrait:
        ids: {sandbox: default, https://app.comflowy.com: 3fef208b-7d25-4d9a-8ec9-c79eb2153234}
        graph: workflows/portrait.json        # in API format or the editor's, relative to this file
        aliases: {prompt: 6::text}
        fields:                               # printed by the editor's console
          3::cfg: [FLOAT, {default: 8.0}]

Users edit these files, so changes keep all other content, including comments.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from filelock import FileLock, Timeout
from ruamel.yaml.error import YAMLError

from comflowy_nb.errors import FieldError, WorkflowError, nearest_tip
from comflowy_nb.workflow.catalogue_text import changed_text, flow_style
from comflowy_nb.workflow.files import (
    MAX_JSON_BYTES,
    MAX_YAML_BYTES,
    bounded_yaml,
    read_named_text,
    read_text,
    write_text,
    yaml_problem,
)
from comflowy_nb.workflow.graph import Graph, InEditorFormat, parse_graph
from comflowy_nb.workflow.images import IMAGE_SUFFIXES
from comflowy_nb.workflow.object_info import read_described, write_described

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ruamel.yaml import YAML

    from comflowy_nb.workflow.fields import Field


FILE_NAME = "comflowy.yaml"

_DEFAULT = "default"
_DEFAULT_GRAPH = Path(__file__).parent / "builtin" / "default.json"
_NOT_IN_A_NAME = re.compile(r"[/\\?=:#\"'{}\[\]\x00-\x1f\x7f]|^\s|\s$|^-")
_NOT_IN_AN_ALIAS = re.compile(r"[\s/?=#\"'{}\[\]:,|]|^-")
_LOCK_TIMEOUT_S = 10.0  # a change takes milliseconds


@dataclass(frozen=True, slots=True)
class Entry:
    """One workflow of the catalogue.

    Attributes
    ----------
    name
        The name of the workflow.
    ids
        Service identity -> id of the workflow on that service.
    aliases
        Alias -> field id.
    fields
        Field id -> field, as described by the editor's console.
    graph_file
        The file of the graph.
    folder
        The folder that must contain the file of the graph; None allows any.
    """

    name: str
    ids: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, Field] = field(default_factory=dict)
    graph_file: Path | None = None
    folder: Path | None = None

    @property
    def graph(self) -> Graph | None:
        """The graph of the workflow; None if it has no graph. Reads the file as `read_graph` does."""
        return self.read_graph() if self.graph_file is not None else None

    @property
    def has_graph(self) -> bool:
        """Whether the workflow has a graph, in API format or in the editor's format. Raises as `read_graph`."""
        try:
            return self.graph is not None
        except InEditorFormat:
            return True

    def read_graph(self) -> Graph:
        """Return the graph of the workflow. The file is read at each call.

        Raises
        ------
        WorkflowError
            If the file is missing, not allowed or too large, contains no graph, or a graph in the editor's format.
        """
        file = self.graph_file
        assert file is not None
        subject = f"the graph of {self.name}, {file.name},"
        try:
            if self.folder is not None and not file.resolve().is_relative_to(self.folder.resolve()):
                raise WorkflowError(
                    f"{subject} is outside the project's folder, and is not read: copy it into the folder, or "
                    f"%comflowy workflow add {self.name} FILE"
                )
            text = read_text(file, MAX_JSON_BYTES)
        except (OSError, RuntimeError, ValueError) as error:  # also a loop of links, a null byte, another encoding
            why = getattr(error, "strerror", None) or "it is not a text file"
            raise WorkflowError(f"{subject} can't be read: {why}; correct its path in comflowy.yaml") from error
        return parse_graph(text, f"{file.name}, the graph of {self.name},")


class Catalogue:
    """The workflows of both files. The project's file takes precedence. `default` always exists."""

    def __init__(self, project: _CatalogueFile | None, home: _CatalogueFile) -> None:
        self._project = project
        self._home = home

    @classmethod
    def open(cls, project: Path | None, home: Path) -> Catalogue:
        """Read the catalogue.

        Parameters
        ----------
        project
            The folder of the notebook, if there is one.
        home
            The home folder. It is created by the first change.

        Raises
        ------
        WorkflowError
            If a file is damaged. The text contains the file and the line.
        """
        lock = home / f"{FILE_NAME}.lock"
        is_home = project is not None and (project / FILE_NAME).resolve() == (home / FILE_NAME).resolve()
        project_file = None if project is None or is_home else _CatalogueFile(project, "project", lock, confined=True)
        return cls(project_file, _CatalogueFile(home, "home folder", lock))

    def names(self) -> list[str]:
        """Return all names. The names of the project come first."""
        of_project = list(self._project.entries) if self._project is not None else []
        return list(dict.fromkeys([*of_project, *self._home.entries, _DEFAULT]))

    def get(self, name: str) -> Entry | None:
        """Return the entry of a name; None if there is none."""
        entry = self._file_of(name).entries.get(name)
        if name != _DEFAULT:
            return entry
        entry = entry or Entry(_DEFAULT)
        if entry.graph_file is not None:
            return entry
        return replace(entry, graph_file=_DEFAULT_GRAPH, folder=None)

    def redefines(self, name: str) -> bool:
        """Return True if the project's file redefines a name that also exists outside it."""
        is_in_project = self._project is not None and name in self._project.entries
        return is_in_project and (name == _DEFAULT or name in self._home.entries)

    def graph_of(self, name: str) -> Graph | None:
        """Return the graph of a name; None if there is no such name, or its graph can't be read."""
        entry = self.get(name)
        try:
            return entry.graph if entry is not None else None
        except WorkflowError:
            return None

    def add(
        self,
        name: str,
        *,
        identity: str | None = None,
        id: str | None = None,  # noqa: A002 - the API's name
        graph: Graph | None = None,
    ) -> None:
        """Add an id on a service, a graph, or both to a name. Its other properties are kept.

        Parameters
        ----------
        identity
            The identity of the service of `id`.
        graph
            The graph, which is written to a file in the folder `workflows` beside the catalogue's file.

        Raises
        ------
        WorkflowError
            If the name is invalid, or the catalogue can't be written.
        """
        if not name or _NOT_IN_A_NAME.search(name) or name.lower().endswith((".json", *IMAGE_SUFFIXES)):
            raise WorkflowError(f"{name!r} can't be the name of a workflow: use letters, digits, - and _")
        file = self._file_of(name)
        graph_name = self._write_graph(file, name, graph) if graph is not None else None
        ids = {identity: id} if identity is not None and id is not None else {}
        file.change(name, {"ids": ids, "graph": graph_name})

    def alias(self, name: str, alias: str, field_id: str) -> None:
        """Add an alias for a field of a workflow.

        Raises
        ------
        WorkflowError
            If there is no such workflow, the alias is invalid, or the catalogue can't be written.
        """
        if not alias or _NOT_IN_AN_ALIAS.search(alias):
            raise WorkflowError(f"{alias!r} can't be an alias: use letters, digits, - and _")
        if not field_id or (field_id.split() != [field_id] and "::" not in field_id):  # a node id may contain spaces
            raise WorkflowError(f"{field_id!r} is not a field id: write {alias}=3::cfg")
        self._file_with(name).change(name, {"aliases": {alias: field_id}})

    def describe(self, name: str, fields: Mapping[str, Field]) -> None:
        """Store field descriptions of a workflow. Descriptions of other fields are kept.

        Raises
        ------
        WorkflowError
            If there is no such workflow, or the catalogue can't be written.
        """
        described = {field_id: flow_style(write_described(field)) for field_id, field in fields.items()}
        self._file_with(name).change(name, {"fields": described})

    def removable_names(self) -> list[str]:
        """Return the names that `remove` can remove: the names of the home folder that the project does not define."""
        of_project = self._project.entries if self._project is not None else {}
        return [name for name in self._home.entries if name != _DEFAULT and name not in of_project]

    def remove(self, name: str) -> str | None:
        """Remove a name from the file in the home folder. Return the file name of its graph, which is not deleted.

        Raises
        ------
        WorkflowError
            If there is no such name, if it is `default` or a name of the project, or if the file can't be written.
        """
        if name == _DEFAULT:
            raise WorkflowError("default can't be removed, because it is the built-in workflow")
        if self._file_of(name) is not self._home:
            raise WorkflowError(
                f"{name} is a name in the {FILE_NAME} beside the notebook: open that file in an editor and remove "
                f"{name} and the lines below it under workflows"
            )
        entry = self._home.entries.get(name)
        if entry is None:
            tip = nearest_tip(name, self.removable_names()) or "."
            raise WorkflowError(f"the catalogue has no workflow {name!r}{tip} %comflowy workflows lists them")
        self._home.change(name, None)
        file = entry.graph_file
        return file.name if isinstance(file, Path) and file.is_file() else None

    def _file_of(self, name: str) -> _CatalogueFile:
        """Return the file that defines a name, or would define a new one."""
        return self._project if self._project is not None and name in self._project.entries else self._home

    def _file_with(self, name: str) -> _CatalogueFile:
        """Return the file that defines a name. Raise a WorkflowError if the name is unknown."""
        if name not in self.names():
            raise WorkflowError(
                f"the catalogue has no workflow {name!r}{nearest_tip(name, self.names()) or '.'} "
                f"To add it: %comflowy workflow add {name} ID|URL|FILE"
            )
        return self._file_of(name)

    def _write_graph(self, file: _CatalogueFile, name: str, graph: Graph) -> str:
        """Write a graph to a separate file. Return its path relative to the catalogue's file."""
        text = json.dumps(dict(graph.nodes), indent=1)
        slug = re.sub(r"[^\w.-]+", "-", name).strip(".") or "workflow"
        relative = f"workflows/{slug}.json"
        path, entry = file.folder / relative, file.entries.get(name)
        is_own_file = entry is not None and entry.graph_file == path
        if path.exists() and not is_own_file:  # another program wrote it
            relative = f"workflows/{slug}-{sha256(text.encode()).hexdigest()[:8]}.json"
        try:
            write_text(file.folder / relative, text + "\n")
        except OSError as error:
            raise WorkflowError(f"the graph of {name} can't be written: {error.strerror}") from error
        return relative


class _CatalogueFile:
    """One file of the catalogue. A missing file has no entries.

    Parameters
    ----------
    folder
        The folder of the file. The paths of graphs are relative to it.
    label
        The name of the folder in errors, because notebooks must not show paths.
    lock
        The lock file, which both catalogue files share.
    confined
        Whether to reject graphs outside the folder. True for the file of a project, which may be untrusted.

    Raises
    ------
    WorkflowError
        If the file is damaged. The text contains the line. A damaged file is never changed.
    """

    def __init__(self, folder: Path, label: str, lock: Path, *, confined: bool = False) -> None:
        self.folder = folder
        self._lock = lock
        self._confined = confined
        self._path = folder / FILE_NAME
        self._subject = f"{FILE_NAME} of the {label}"
        self.entries = self._parse(self._read())

    def change(self, name: str, changes: Mapping[str, Any] | None) -> None:
        """Change, create or remove one entry. All other content of the file is kept, including comments.

        Parameters
        ----------
        changes
            Property -> new value. A mapping is merged into the existing one; empty values change nothing. None removes
            the entry.

        Raises
        ------
        WorkflowError
            If the file is damaged or can't be written. It is not changed then.
        """
        try:
            self._lock.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self._lock, timeout=_LOCK_TIMEOUT_S):
                before = self._read()
                others = self._parse(before).keys() - {name}
                yaml = bounded_yaml("rt")
                after = changed_text(yaml, self._load(yaml, before), before, name, changes)
                entries = self._parse(after)
                if changes is None and entries.keys() != others:
                    raise WorkflowError(f"{name} can't be removed from {self._subject}; remove it in an editor")
                write_text(self._path, after)
        except Timeout:
            raise WorkflowError(f"{self._subject} is being written by another kernel; try again") from None
        except OSError as error:
            raise WorkflowError(f"{self._subject} can't be written: {error.strerror}") from error
        self.entries = entries

    def _read(self) -> str:
        try:
            return read_named_text(self._path, MAX_YAML_BYTES, self._subject)
        except FileNotFoundError:
            return ""

    def _load(self, yaml: YAML, text: str) -> Any:
        try:
            return yaml.load(text)
        except (YAMLError, ValueError, RecursionError) as error:
            line, problem = yaml_problem(error, text)
            raise WorkflowError(f"{self._subject}{line}: {problem}; correct the file in an editor") from None

    def _parse(self, text: str) -> dict[str, Entry]:
        root = self._mapping(self._load(bounded_yaml(), text), "the file")
        workflows = self._mapping(root.get("workflows"), "workflows")
        return {str(name): self._entry(str(name), value) for name, value in workflows.items()}

    def _entry(self, name: str, value: Any) -> Entry:
        parts = self._mapping(value, name)
        graph = parts.get("graph")
        if graph is not None and not isinstance(graph, str):
            self._reject(f"{name}.graph", "the name of a file")
        described = self._mapping(parts.get("fields"), f"{name}.fields")
        try:
            fields = {str(field_id): read_described(str(field_id), info) for field_id, info in described.items()}
        except FieldError as error:
            raise WorkflowError(f"{self._subject}, {name}.fields: {error}") from None
        return Entry(
            name,
            self._texts(parts.get("ids"), f"{name}.ids"),
            self._texts(parts.get("aliases"), f"{name}.aliases"),
            fields,
            self.folder / graph if graph else None,
            self.folder if self._confined else None,
        )

    def _mapping(self, value: Any, where: str) -> dict[Any, Any]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            self._reject(where, "a mapping")
        return value

    def _texts(self, value: Any, where: str) -> dict[str, str]:
        texts = self._mapping(value, where)
        if any(isinstance(item, (dict, list)) or item is None for item in texts.values()):
            self._reject(where, "a mapping of texts")
        return {str(key): str(item) for key, item in texts.items()}

    def _reject(self, where: str, expected: str) -> NoReturn:
        raise WorkflowError(f"{self._subject}: {where} must be {expected}; correct the file in an editor")
