"""A workflow on one service, the names of its fields, and the request key of a run."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import FieldError, WorkflowError, did_you_mean, nearest, nearest_tip, write_problem
from comflowy_nb.settings import expand_home
from comflowy_nb.workflow.fields import Field, FieldType, split_id
from comflowy_nb.workflow.files import check_new, write_text
from comflowy_nb.workflow.graph import Graph
from comflowy_nb.workflow.images import InputImage
from comflowy_nb.workflow.syntax.json_values import text_of

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from pathlib import Path


_MAX_SHOWN_CHARS = 24  # maximum length of the value of a field in an error


@dataclass(frozen=True, slots=True)
class Workflow:
    """A workflow on one service. `Client.workflow` returns one.

    Parameters
    ----------
    name : str
        The name in displays, file names and the history.
    id : str or None
        The service's id; None if the service runs the graph.
    graph : Graph or None
        The graph in API format; None if only the service has it.
    fields : mapping of str to Field
        Field id -> field; empty if the fields are not described.
    aliases : mapping of str to str
        Alias -> field id, from the catalogue.
    is_partial : bool
        Whether the workflow may have fields that are not in `fields`. Other field ids are then accepted unchecked.

    Examples
    --------
    >>> from comflowy_nb.workflow.fields import Field
    >>> workflow = Workflow("portrait", fields={"3::cfg": Field("3::cfg")}, aliases={"guidance": "3::cfg"})
    >>> workflow.find("cfg"), workflow.find("guidance")
    (('3::cfg',), ('3::cfg',))
    """

    name: str
    id: str | None = None
    graph: Graph | None = None
    fields: Mapping[str, Field] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    is_partial: bool = False

    @property
    def is_described(self) -> bool:
        """Whether any field is described."""
        return bool(self.fields)

    @property
    def content(self) -> Any:
        """The JSON value that identifies the workflow in the request key: its id, else the nodes of its graph."""
        if self.id is not None:
            return self.id
        return dict(self.graph.nodes) if self.graph is not None else None

    @property
    def missing_choices(self) -> dict[str, str]:
        """Field id -> problem, for the choices of a converted workflow that the service does not have."""
        if self.graph is None or self.graph.notes is None:
            return {}
        fields = self.fields.values()
        choices = [field for field in fields if field.type is FieldType.CHOICE and field.default is not None]
        return {field.id: problem for field in choices if (problem := field.problem(field.default)) is not None}

    @property
    def conversion(self) -> tuple[str, ...]:
        """Lines of text about the conversion from the editor's format; empty if the workflow was not converted."""
        if self.graph is None or self.graph.notes is None:
            return ()
        missing = tuple(self.missing_choices.values())
        head = ("these values are not on the server, and can't be submitted:",) if missing else ()
        return ("; ".join([f"{self.name} is converted from the editor's format", *self.graph.notes]), *head, *missing)

    def check_choices(self, params: Mapping[str, Any]) -> None:
        """Check that the service has the choices of a converted workflow that `params` does not set.

        Parameters
        ----------
        params : mapping of str to object
            Field id -> value, for the fields that are set.

        Raises
        ------
        FieldError
            If choices do not exist. It contains all these fields.

        Examples
        --------
        >>> Workflow("w").check_choices({})
        """
        missing = self.missing_choices
        problems = [
            problem for key, problem in missing.items() if key not in params or self.fields[key].holds(params[key])
        ]
        if problems:
            raise FieldError(*problems)

    def export(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the graph to a file in API format.

        Parameters
        ----------
        path : str or path
            A file whose name ends in `.json`. Its folder is created if necessary.
        overwrite : bool, default False
            Whether to replace a file that has another content.

        Returns
        -------
        pathlib.Path
            The file.

        Raises
        ------
        WorkflowError
            If only the service has the graph, another file has this name, or the file can't be written.

        Examples
        --------
        >>> from comflowy_nb.workflow.graph import Graph
        >>> graph = Graph({"1": {"class_type": "EmptyImage", "inputs": {"width": 64}}})
        >>> Workflow("small", graph=graph).export("small.json").name
        'small.json'
        """
        if self.graph is None:
            raise WorkflowError(
                f"the graph of {self.name} is not known here, only its id on the service, so it can't be exported"
            )
        file = expand_home(path)
        if file.suffix.lower() != ".json":
            raise WorkflowError(
                f"{file.name!r} can't be the file of a graph: use a name that ends in .json, as {file.stem}.json"
            )
        nodes = {
            node: {**content, "_meta": {"title": self.graph.title(node)}}
            for node, content in without_titles(self.graph.nodes).items()
        }
        text = json.dumps(nodes, indent=2, ensure_ascii=False) + "\n"
        try:
            check_new(file, text, overwrite=overwrite)
            write_text(file, text)
        except OSError as error:
            raise WorkflowError(f"{file.name} can't be written: {write_problem(error, file.parent)}") from error
        return file

    def find(self, key: str) -> tuple[str, ...]:
        """Return the ids of the fields of a key.

        Parameters
        ----------
        key : str
            A field id (`3::cfg`), an alias, `all::NAME` for every field of that name, or the name of exactly one field
            (`cfg`). If the fields are not described, only field ids and aliases are found.

        Returns
        -------
        tuple of str
            One id; for `all::NAME` one or more.

        Raises
        ------
        FieldError
            If no field matches (the text suggests similar names), or if a name matches several (the text lists them).

        Examples
        --------
        >>> from comflowy_nb.workflow.fields import Field
        >>> Workflow("w", fields={key: Field(key) for key in ("6::text", "7::text")}).find("all::text")
        ('6::text', '7::text')
        """
        if key in self.fields:
            return (key,)
        if key in self.aliases:
            return self._find_alias(key)
        node, colons, name = key.partition("::")
        is_id = bool(colons and node and name) and node != "all"
        if not self.is_described:
            if is_id:
                return (key,)
            raise FieldError(*self._not_described_errors(key))
        matches = [field_id for field_id, field in self.fields.items() if field.name == (name if colons else key)]
        if colons and node == "all" and matches:
            return tuple(matches)
        if self.is_partial and is_id:
            return (key,)
        if colons or not matches:
            raise FieldError(self._unknown_field_error(key))
        if len(matches) > 1:
            raise FieldError(self._ambiguous_name_error(key, matches))
        return (matches[0],)

    def field(self, field_id: str) -> Field:
        """Return one field.

        Parameters
        ----------
        field_id : str
            The id of the field, such as `3::cfg`.

        Returns
        -------
        Field
            The field; one of unknown type if it is not described.

        Examples
        --------
        >>> Workflow("w").field("3::cfg").type
        <FieldType.UNKNOWN: 'UNKNOWN'>
        """
        return self.fields.get(field_id) or Field(field_id)

    def _find_alias(self, alias: str) -> tuple[str, ...]:
        target = self.aliases[alias]
        if target in self.aliases and target not in self.fields:  # a chain of aliases may be circular
            tip = f"type %comflowy workflow alias {self.name} {alias}=6::text"
            raise FieldError(f"the alias {alias!r} names {target!r}, which is an alias too; {tip}")
        try:
            return self.find(target)
        except FieldError as error:
            stop = "" if str(error).endswith("?") else "."
            raise FieldError(
                f"the alias {alias!r} is invalid: {error}{stop} To set it again: "
                f"%comflowy workflow alias {self.name} {alias}=FIELD"
            ) from None

    def _ambiguous_name_error(self, name: str, field_ids: Sequence[str]) -> str:
        """Return the error for an ambiguous name, with the titles and values that distinguish its fields."""
        fields = [self.fields[field_id] for field_id in field_ids]
        titles = [field.node_title or field.class_type or "" for field in fields]
        defaults = [field.default for field in fields]
        values = ["" if value is None or isinstance(value, list) else _short(value) for value in defaults]
        if len(set(titles)) == 1 < len(set(values)):
            titles = [""] * len(fields)
        listed = [
            " ".join(part for part in (field_id, f"({title})" if title else "", value) if part)
            for field_id, title, value in zip(field_ids, titles, values, strict=True)
        ]
        return (
            f"{name!r} is the name of {len(listed)} fields: {', '.join(listed[:-1])} and {listed[-1]}; "
            f"use one of them, or all::{name}=... sets {'both' if len(listed) == 2 else 'them all'}"
        )

    def _unknown_field_error(self, key: str) -> str:
        node, colons, name = key.partition("::")
        if colons:
            keys = [f"all::{field.name}" for field in self.fields.values()] if node == "all" else list(self.fields)
            near = nearest(key, keys) or [field_id for field_id in self.fields if split_id(field_id)[1] == name][:3]
        else:
            names = {field.name: field_id for field_id, field in self.fields.items()}
            near = [
                f"{word} ({names[word]})" if word in names else word for word in nearest(key, [*names, *self.aliases])
            ]
        if key == "prompt" and not near:  # in most workflows, the prompt is a field `text`
            near = [field_id for field_id in self.fields if split_id(field_id)[1] == "text"]
        if near:
            return f"{self.name} has no field {key!r}{did_you_mean(near)}"
        if self.is_partial:
            listed = f"%comflowy fields {self.name} lists the described fields"
            return f"no field {key!r} of {self.name} is described: use its id, such as 3::cfg; {listed}"
        return f"{self.name} has no field {key!r}; %comflowy fields {self.name} lists them"

    def _not_described_errors(self, key: str) -> list[str]:
        if tip := nearest_tip(key, self.aliases):
            return [f"{self.name} has no alias {key!r}{tip}"]
        tip = (  # the same for every key, so that SettingLog reports it once
            f"The fields of {self.name} are not known here. Use ids such as 3::cfg, or describe the fields with "
            f"%%comflowy fields {self.name} (its body is the output of the editor's console)"
        )
        return [f"{key!r} is not a field id", tip]


def _short(value: object) -> str:
    """Return a short form of a value. A text is in double quotes, and only the beginning of a long one is shown."""
    if not isinstance(value, str):
        return text_of(value)
    text = " ".join(value.split())
    return f'"{text}"' if len(text) <= _MAX_SHOWN_CHARS else f'"{text[:_MAX_SHOWN_CHARS].rsplit(" ", 1)[0]} ..."'


# -- request keys --------------------------------------------------------------------------------------------------


def canonical_json(value: object) -> str:
    """Return JSON with sorted keys and without white space. Whole floats become integers, images their sha256.

    Raises
    ------
    ValueError
        If the value contains nan or inf.
    TypeError
        If the value contains an object that is neither JSON nor an `InputImage`, or a key that is not text.
    """
    return json.dumps(_canonical(value), ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def request_key(identity: str, content: object, params: Mapping[str, Any]) -> str:
    """Return the request key, which is equal for identical requests only.

    Parameters
    ----------
    identity
        The identity of the service.
    content
        The id of the workflow, or the nodes of its graph with the params applied. Node titles are ignored.
    params
        Field id -> submitted value, without defaults.

    Returns
    -------
    The sha256 of the canonical JSON, as 64 hexadecimal digits.
    """
    if isinstance(content, Mapping):
        content = without_titles(Graph(content).apply(params))
    return sha256_of([identity, content, dict(params)])


def without_titles(nodes: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the nodes of a graph without their titles, which do not change the run."""
    return {node: {key: content[key] for key in content if key != "_meta"} for node, content in nodes.items()}


def sha256_of(value: object) -> str:
    """Return the sha256 of the canonical JSON of a value, as 64 hexadecimal digits."""
    # surrogatepass: a text may contain half of a surrogate pair
    return hashlib.sha256(canonical_json(value).encode("utf-8", "surrogatepass")).hexdigest()


def _canonical(value: object) -> Any:
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is not a JSON number")
        return int(value) if value.is_integer() else value
    if isinstance(value, InputImage):
        return {"image": {"sha256": value.content_sha256}}
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("a JSON object needs keys of type str")
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(item) for item in value]
    raise TypeError(f"a {type(value).__name__} is not JSON")
