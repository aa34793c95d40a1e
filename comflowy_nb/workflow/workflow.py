"""Workflow: what is run, under which names its fields can be set."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import FieldError
from comflowy_nb.workflow.fields import nearest, split_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from comflowy_nb.workflow.fields import Field
    from comflowy_nb.workflow.graph import Graph

__all__ = ["Workflow"]


@dataclass(frozen=True, slots=True)
class Workflow:
    """A workflow as one service runs it.

    `id` is the service's own, None where it has none; `fields` maps field ids to fields and is empty where nothing
    describes them; `aliases` maps a person's words to field ids. `is_partial` says that `fields` may not be all of
    them, so that other field ids pass unchecked.
    """

    name: str
    id: str | None = None
    graph: Graph | None = None
    fields: Mapping[str, Field] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    is_partial: bool = False

    @property
    def is_described(self) -> bool:
        return bool(self.fields)

    @property
    def content(self) -> Any:
        """Return the JSON value that stands for the workflow in the request key: its id, else its graph."""
        if self.id is not None:
            return self.id
        return dict(self.graph.nodes) if self.graph is not None else None

    def find(self, key: str) -> tuple[str, ...]:
        """Return the ids of the fields that a word names.

        Parameters
        ----------
        key
            `3::cfg`; an alias; `all::seed`, every field of that name; `cfg`, where one field is called so. Where
            nothing describes the workflow, only the first two.

        Returns
        -------
        One id; several only for `all::name`.

        Raises
        ------
        FieldError
            If it names no field, with the nearest spelling, or several, with all of them.
        """
        if key in self.fields:
            return (key,)
        if key in self.aliases:
            return self._aliased(key)
        node, colons, name = key.partition("::")
        if not self.is_described:
            if colons and node and name and node != "all":
                return (key,)
            raise FieldError(self._not_described(key))
        if colons:
            named = [field_id for field_id, one in self.fields.items() if one.name == name]
            if node == "all" and named:
                return tuple(named)
            if self.is_partial and node and name and node != "all":
                return (key,)
            raise FieldError(self._unknown(key))
        named = [field_id for field_id, one in self.fields.items() if one.name == key]
        if len(named) > 1:
            listed = ", ".join(f"{one} ({self._title(one)})" if self._title(one) else one for one in named)
            raise FieldError(f"{key!r} is the name of {len(named)} fields: {listed}; all::{key} sets them all")
        if not named:
            raise FieldError(self._unknown(key))
        return (named[0],)

    def _aliased(self, word: str) -> tuple[str, ...]:
        target = self.aliases[word]
        if target in self.aliases and target not in self.fields:  # no chains: they could run in a circle
            raise FieldError(f"the alias {word!r} names {target!r}, which is an alias too; use a field id")
        try:
            return self.find(target)
        except FieldError as error:
            raise FieldError(f"the alias {word!r} is invalid: {error}") from None

    def _title(self, field_id: str) -> str | None:
        one = self.fields[field_id]
        return one.node_title or one.class_type

    def _unknown(self, key: str) -> str:
        node, colons, name = key.partition("::")
        if colons:
            wanted = [f"all::{one.name}" for one in self.fields.values()] if node == "all" else list(self.fields)
            near = nearest(key, wanted) or [one for one in self.fields if split_id(one)[1] == name][:3]
        else:
            names = {one.name: field_id for field_id, one in self.fields.items()}
            near = [
                f"{word} ({names[word]})" if word in names else word for word in nearest(key, [*names, *self.aliases])
            ]
        if near:
            return f"{self.name} has no field {key!r}; nearest: {', '.join(near)}"
        return f"{self.name} has no field {key!r}; %comflowy fields {self.name} lists them"

    def _not_described(self, key: str) -> str:
        near = nearest(key, self.aliases)
        words = f"; nearest alias: {', '.join(near)}" if near else ""
        return (
            f"nothing describes the fields of {self.name}, so {key!r} must be a field id like 3::cfg{words}; "
            f"%%comflowy fields {self.name} takes what the editor's console prints"
        )
