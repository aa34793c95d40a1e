"""Reading the settings of a sweep: each becomes a fixed value, an axis, or a wish for seeds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from comflowy_nb.errors import FieldError
from comflowy_nb.workflow.axes.expand import replace_words
from comflowy_nb.workflow.axes.split import divide, labelled
from comflowy_nb.workflow.axes.types import Axes, Axis, AxisValue
from comflowy_nb.workflow.fields import FieldType
from comflowy_nb.workflow.syntax.expansion import expand_text
from comflowy_nb.workflow.syntax.json_values import shown
from comflowy_nb.workflow.syntax.lists import Item, Labelled, MultipleValues, selections

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comflowy_nb.workflow.fields import Field
    from comflowy_nb.workflow.syntax.lists import Setting, Written

from comflowy_nb.workflow.axes.value_reader import TROUBLE, AxisReader, at_item, placed

__all__ = ["LARGEST_SWEEP", "SweepReader"]

LARGEST_SWEEP = 100_000  # cells: more is a slip of the pen, and each would be a row of the history


class SweepReader(AxisReader):
    """Reads settings one after another; `axes` is what comes of them all."""

    def axes(self) -> Axes:
        """All that was taken.

        Raises
        ------
        FieldError
            If anything was wrong.
        """
        names = [axis.name for axis in self._axes]
        for name in dict.fromkeys(one for one in names if names.count(one) > 1):
            self.problems.append(f"two axes are called {name!r}: their headers could not be told apart")
        axes = Axes(self.params, tuple(self._axes), tuple(self._seeds), tuple(self._set), self._texts)
        if axes.count > LARGEST_SWEEP:
            shape = " x ".join(f"{len(axis.values):,} {axis.name}" for axis in self._axes)
            self.problems.append(f"{shape} are {axes.count:,} cells; a sweep has at most {LARGEST_SWEEP:,}")
        if self.problems:
            raise FieldError(*dict.fromkeys(self.problems))
        return axes

    def take(self, setting: Setting) -> None:
        try:
            field_ids = self.workflow.find(setting.key)
        except FieldError as unknown:
            try:
                presets = self._presets(setting)
            except TROUBLE as error:
                self.report(setting, FieldError(f"{setting.key}: {error}"))
                return
            if presets is None:
                self.report(replace(setting, where=setting.key_where or setting.where), unknown)
            else:
                self._take_presets(setting, presets)
            return
        claims = [self._claim_set(field_id, setting) for field_id in field_ids]  # each one tells of itself
        if not all(claims):
            return
        try:
            self._take_fields(setting, field_ids)
        except TROUBLE as error:
            self.report(setting, error, field_ids[0])

    def _take_fields(self, setting: Setting, field_ids: tuple[str, ...]) -> None:
        one = self.field(field_ids[0])
        written = self._open(one, divide(setting, one, self.namespace))
        if one.is_multiple:
            written = selections(one, written, self._value_of)
        if isinstance(written, Labelled) and _is_replace(written):
            self._take_replace(setting, field_ids, written)
        elif isinstance(written, Labelled):
            self._add_values(setting, field_ids, written.pairs)
        elif isinstance(written, MultipleValues):
            self._add_values(setting, field_ids, [(None, item) for item in written.items])
        elif (word := self._seed_word(one, written)) is not None:
            self._take_seeds(setting, field_ids, word)
        elif self._range_in(one, written) is not None or self._pattern_in(one, written) is not None:
            self._add_values(setting, field_ids, [(None, written)])
        else:
            for field_id in field_ids:
                self.params[field_id] = self._read_one(self.field(field_id), written)

    # -- search and replace --------------------------------------------------------------------------------------

    def _take_replace(self, setting: Setting, field_ids: tuple[str, ...], written: Labelled) -> None:
        parts = _once(written)
        texts = {field_id: self._searched(self.field(field_id), parts.get("in")) for field_id in field_ids}
        words = _once(cast("Labelled", parts["replace"]))
        if not words:
            raise FieldError(f"{self.field(field_ids[0]).where}: replace names no word")
        for field_id, text in texts.items():
            where = self.field(field_id).where
            found: set[str] = set()
            replace_words(text, {word: word for word in words}, found)
            for word in words:
                if word not in found:
                    inside = f", but within another word that is replaced, in {shown(text)}" if word in text else ""
                    self.report(setting, FieldError(f"{where}: {word!r} is not found{inside or f' in {shown(text)}'}"))
        self._texts |= texts
        for word, node in words.items():
            one = self.field(field_ids[0])
            opened = self._open(one, node)
            pairs: Sequence[tuple[str | None, Written]]
            if isinstance(opened, Labelled):
                pairs = opened.pairs
            else:
                pairs = [(None, item) for item in (opened.items if isinstance(opened, MultipleValues) else (opened,))]
            if not pairs:
                self.report(setting, FieldError(f"{one.where}, {word!r}: the list is empty"))
                continue
            values = []
            for label, item in pairs:
                try:
                    new = str(self._plain_text(one, item))
                except TROUBLE as error:
                    self.report(at_item(setting, item), placed(one.where, f"the words for {word!r}", error))
                    continue
                params = {field_id: replace_words(text, {word: new}) for field_id, text in texts.items()}
                values.append(AxisValue(params, new if label is None else label, label is not None, word=new))
            self._add_axis(setting, Axis(word, "replace", field_ids, tuple(values)), f"{one.where}, {word!r}")

    def _searched(self, one: Field, given: Written | None) -> str:
        """Return the text in which words are replaced: the one given, else that of `--from`, else the workflow's."""
        if one.type not in {FieldType.STRING, FieldType.UNKNOWN}:
            raise FieldError(f"{one.where}: words can be replaced in a text, and this is of type {one.type}")
        if given is not None:
            return self._plain_text(one, given)
        text: object = one.default
        graph = self.workflow.graph
        if graph is not None and one.node in graph.nodes:
            text = graph.nodes[one.node].get("inputs", {}).get(one.name, text)
        text = self._base.get(one.id, text)
        if not isinstance(text, str) or not text:
            raise FieldError(f"{one.where}: the workflow's own text is not known: write {{in: TEXT, replace: ...}}")
        return text

    def _plain_text(self, one: Field, written: Written) -> str:
        item = self._open(one, written)
        if not isinstance(item, Item):
            raise FieldError(f"{one.where}: a text is meant; one with commas or brackets stands in quotes")
        if not item.exact and isinstance(item.value, str):
            if not item.value and not item.quoted and not item.typed:
                raise FieldError(f'{one.where}: the text is empty; an empty one is written ""')
            return expand_text(item.value, self.namespace)
        if isinstance(item.value, (str, int, float)) and not isinstance(item.value, bool):
            return str(item.value)
        raise FieldError(f"{one.where}: {shown(item.value)} is not a text")

    # -- presets -------------------------------------------------------------------------------------------------

    def _presets(self, setting: Setting) -> list[tuple[str, Labelled]] | None:
        """The presets of a setting whose key is no field; None if it is no such setting."""
        key = setting.key
        taken = key in self.workflow.aliases or any(one.name == key for one in self.workflow.fields.values())
        if not self.workflow.is_described or "::" in key or taken:
            return None
        found: Written | None = labelled(setting)
        if found is None and isinstance(setting.value, str):
            found = self._open(None, Item(setting.value))
        if not isinstance(found, Labelled):
            return None
        presets = [(label, self._open(None, node)) for label, node in found.pairs]
        odd = next((label for label, node in presets if not isinstance(node, Labelled)), None)
        if odd is None:
            return cast("list[tuple[str, Labelled]]", presets)
        if all(not isinstance(node, Labelled) for _, node in presets):
            return None
        raise FieldError(f"the preset {odd!r} is no mapping of fields like {{cfg: 4, steps: 20}}")

    def _take_presets(self, setting: Setting, presets: list[tuple[str, Labelled]]) -> None:
        if not presets:
            self.report(setting, FieldError(f"{setting.key}: there is no preset in it"))
            return
        mine: dict[str, bool] = {}  # field id -> whether it is this axis's
        values = []
        for label, fields in presets:
            params: dict[str, Any] = {}
            told = len(self.problems)
            if not fields.pairs:
                self.report(setting, FieldError(f"{setting.key}, preset {label!r}: it sets nothing"))
            for key, node in fields.pairs:
                try:
                    for field_id in self.workflow.find(key):
                        if field_id not in mine:
                            mine[field_id] = self._claim_set(field_id, setting)
                        if field_id in params:
                            raise FieldError(f"{self.field(field_id).where} is set twice")
                        params[field_id] = self._read_labelled(self.field(field_id), node)[0]
                except TROUBLE as error:
                    problems = f"{setting.key}, preset {label!r}: {error}".split("\n")
                    self.report(at_item(setting, node), FieldError(*problems))
            if len(self.problems) == told:
                values.append(AxisValue(params, label, is_named=True))
        self._add_axis(setting, Axis(setting.key, "preset", tuple(mine), tuple(values)), setting.key)


def _is_replace(written: Labelled) -> bool:
    labels = {label for label, _ in written.pairs}
    inner = next((node for label, node in written.pairs if label == "replace"), None)
    return isinstance(inner, Labelled) and labels <= {"in", "replace"}


def _once(written: Labelled) -> dict[str, Written]:
    found: dict[str, Written] = {}
    for label, node in written.pairs:
        if label in found:
            raise ValueError(f"{label!r} stands there twice")
        if not label:
            raise ValueError("an empty word can't be replaced")
        found[label] = node
    return found
