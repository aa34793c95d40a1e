"""Read the settings of a sweep into axes, fixed params and seeds, typed and checked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, cast

from comflowy_nb.errors import FieldError, ImageError, LineError, RefError
from comflowy_nb.workflow.axes.expand import replace_words
from comflowy_nb.workflow.axes.images import label_images
from comflowy_nb.workflow.axes.seeds import seed_values
from comflowy_nb.workflow.axes.split import labelled, split_values
from comflowy_nb.workflow.axes.types import Axes, Axis, AxisValue, SeedWord
from comflowy_nb.workflow.axes.values import AxisValueReader
from comflowy_nb.workflow.fields import FieldType
from comflowy_nb.workflow.images import InputImage
from comflowy_nb.workflow.syntax.json_values import shown, text_of
from comflowy_nb.workflow.syntax.lists import Item, Labelled, MultipleValues, selections
from comflowy_nb.workflow.syntax.ranges import LARGEST_AXIS
from comflowy_nb.workflow.values import SettingLog
from comflowy_nb.workflow.workflow import canonical_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from comflowy_nb.workflow.fields import Field
    from comflowy_nb.workflow.syntax.lists import Setting, Written
    from comflowy_nb.workflow.workflow import Workflow

__all__ = ["read_axes"]

_LARGEST_SWEEP = 100_000  # cells: more is a typing error, and each would be a row of the history
_VALUE_ERRORS = (FieldError, LineError, ImageError, RefError, ValueError)


def read_axes(
    workflow: Workflow,
    settings: Sequence[Setting],
    *,
    namespace: Mapping[str, Any] | None = None,
    open_run: Callable[[str], InputImage] | None = None,
    base: Mapping[str, Any] | None = None,
) -> Axes:
    """Return the axes of a sweep.

    Parameters
    ----------
    workflow
        Defines the meaning of the keys and the types of their fields.
    settings
        In the order they were typed, from a line or body read with `sweep=True`, a file or a Python call.
    namespace
        The variables that `{name}` may refer to; None disables expansion.
    open_run
        Return the image of a reference (`r41[0]`) or raise RefError; None where references are not available.
    base
        Params of the run or sweep that `--from` names, by field id: words are replaced in its texts.

    Raises
    ------
    FieldError
        With all problems; each names the field, and the value with its position in the list.
    """
    reader = _SweepReader(workflow, AxisValueReader(namespace, open_run), base or {})
    for setting in settings:
        reader.read(setting)
    return reader.axes()


class _SweepReader:
    """Reads settings one after another; `axes` returns the result of all."""

    def __init__(self, workflow: Workflow, values: AxisValueReader, base: Mapping[str, Any]) -> None:
        self._workflow = workflow
        self._values = values
        self._base = base
        self._log = SettingLog(workflow)
        self._fixed: dict[str, Any] = {}
        self._axes: list[Axis] = []
        self._seeds: list[SeedWord] = []
        self._set_params: list[str] = []
        self._texts: dict[str, str] = {}

    def axes(self) -> Axes:
        """Return the axes of all settings read.

        Raises
        ------
        FieldError
            With all problems.
        """
        problems = self._log.problems
        names = [axis.name for axis in self._axes]
        for name in dict.fromkeys(one for one in names if names.count(one) > 1):
            problems.append(f"two axes are called {name!r}: their headers could not be told apart")
        axes = Axes(self._fixed, tuple(self._axes), tuple(self._seeds), tuple(self._set_params), self._texts)
        if axes.count > _LARGEST_SWEEP:
            shape = " x ".join(f"{len(axis.values):,} {axis.name}" for axis in self._axes)
            problems.append(f"{shape} are {axes.count:,} cells; a sweep has at most {_LARGEST_SWEEP:,}")
        if problems:
            raise FieldError(*dict.fromkeys(problems))
        return axes

    def read(self, setting: Setting) -> None:
        try:
            field_ids = self._workflow.find(setting.key)
        except FieldError as unknown:
            try:
                presets = self._presets(setting)
            except _VALUE_ERRORS as error:
                self._log.report(setting, FieldError(f"{setting.key}: {error}"))
                return
            if presets is None:
                self._log.report(replace(setting, where=setting.key_where or setting.where), unknown)
            else:
                self._read_presets(setting, presets)
            return
        is_first = [self._reserve(field_id, setting) for field_id in field_ids]  # reports each that is not
        if not all(is_first):
            return
        try:
            self._read_fields(setting, field_ids)
        except _VALUE_ERRORS as error:
            self._log.report(setting, error, field_ids[0])

    def _read_fields(self, setting: Setting, field_ids: tuple[str, ...]) -> None:
        one = self._log.field(field_ids[0])
        written = self._values.open(one, split_values(setting, one, self._values.namespace))
        if one.is_multiple:
            written = selections(one, written, self._values.expanded)
        if isinstance(written, Labelled) and _is_replace(written):
            self._read_replace(setting, field_ids, written)
        elif isinstance(written, Labelled):
            self._add_values(setting, field_ids, written.pairs)
        elif isinstance(written, MultipleValues):
            self._add_values(setting, field_ids, [(None, item) for item in written.items])
        elif (word := self._values.seed_word(one, written)) is not None:
            self._read_seeds(setting, field_ids, word)
        elif self._values.range_in(one, written) is not None or self._values.pattern_in(one, written) is not None:
            self._add_values(setting, field_ids, [(None, written)])
        else:
            for field_id in field_ids:
                self._fixed[field_id] = self._values.fixed(self._log.field(field_id), written)

    def _reserve(self, field_id: str, setting: Setting) -> bool:
        if not self._log.reserve(field_id, setting):
            return False
        self._set_params.append(field_id)
        return True

    def _add_axis(self, setting: Setting, axis: Axis, where: str) -> None:
        """Add an axis; report duplicate labels and values."""
        labels: set[str] = set()
        known: dict[str, AxisValue] = {}
        for value in axis.values:
            if value.is_named and value.label in labels:
                self._log.report(setting, FieldError(f"{where}: the label {value.label!r} is used twice"))
            if value.is_named and not value.label.strip():
                self._log.report(setting, FieldError(f"{where}: a label is empty"))
            labels.add(value.label)
            key = "" if axis.kind == "seeds" else canonical_json([value.word, dict(value.params)])
            if key and key in known:
                both = " and ".join(dict.fromkeys(repr(one.label) for one in (known[key], value)))
                self._log.report(setting, FieldError(f"{where}: duplicate value: {both}"))
            known[key] = value
        if len(axis.values) > LARGEST_AXIS:
            count = f"{len(axis.values):,} values; an axis has at most {LARGEST_AXIS:,}"
            self._log.report(setting, FieldError(f"{where}: {count}"))
        self._axes.append(axis)

    # -- values ------------------------------------------------------------------------------------------------------

    def _add_values(
        self, setting: Setting, field_ids: tuple[str, ...], pairs: Sequence[tuple[str | None, Written]]
    ) -> None:
        """Add an axis of the values of a list, a mapping of labels or a range."""
        where = self._log.field(field_ids[0]).where
        if not pairs:
            raise FieldError(f"{where}: there is no value in {setting.key}")
        values: list[AxisValue] = []
        for index, (label, written) in enumerate(pairs, 1):
            position = (
                f"value {label!r}" if label is not None else f"value {index} of {len(pairs)}" if pairs[1:] else ""
            )
            columns = []
            for field_id in field_ids:
                one = self._log.field(field_id)
                try:
                    columns.append(
                        self._values.values(one, written) if label is None else [self._values.single(one, written)]
                    )
                except _VALUE_ERRORS as error:
                    self._log.report(_at_item(setting, written), _at_position(one.where, position, error))
            if len(columns) < len(field_ids):
                continue
            for row in zip(*columns, strict=True):
                params = dict(zip(field_ids, row, strict=True))
                values.append(AxisValue(params, _header(row[0]) if label is None else label, label is not None))
        values = self._label_images(setting, field_ids[0], values)
        self._add_axis(setting, Axis(setting.key, "values", field_ids, tuple(values)), where)

    def _label_images(self, setting: Setting, field_id: str, values: list[AxisValue]) -> list[AxisValue]:
        """Return the values with labels that distinguish the images among them."""
        images = [value.params[field_id] for value in values]
        inputs = [(index, one) for index, one in enumerate(images) if isinstance(one, InputImage)]
        if not inputs:
            return values
        # In a field of unknown type a text may begin so; not beside images.
        for one in images:
            if isinstance(one, str) and one.startswith(("file:", "run:")):
                where = self._log.field(field_id).where
                self._log.report(setting, FieldError(f"{where}: there is no image {one!r}"))
        labels = dict(zip((index for index, _ in inputs), label_images([one for _, one in inputs]), strict=True))
        return [
            value if value.is_named or index not in labels else replace(value, label=labels[index])
            for index, value in enumerate(values)
        ]

    def _read_seeds(self, setting: Setting, field_ids: tuple[str, ...], word: str) -> None:
        kind, numbered, digits = word.partition("#")
        if not numbered:
            self._seeds.append(SeedWord(field_ids, cast("Literal['random', 'each']", kind)))
            return
        where = self._log.field(field_ids[0]).where
        if len(digits) > 9:
            raise FieldError(f"{where}: {word} generates too many seeds; an axis has at most {LARGEST_AXIS:,}")
        try:
            values = seed_values(self._workflow, field_ids, int(digits), word)
        except ValueError as error:
            raise FieldError(f"{where}: {error}") from None
        self._add_axis(setting, Axis(setting.key, "seeds", field_ids, values), where)

    # -- search and replace ------------------------------------------------------------------------------------------

    def _read_replace(self, setting: Setting, field_ids: tuple[str, ...], written: Labelled) -> None:
        parts = _by_label(written)
        texts = {field_id: self._searched(self._log.field(field_id), parts.get("in")) for field_id in field_ids}
        words = _by_label(cast("Labelled", parts["replace"]))
        if not words:
            raise FieldError(f"{self._log.field(field_ids[0]).where}: replace names no word")
        for field_id, text in texts.items():
            where = self._log.field(field_id).where
            found: set[str] = set()
            replace_words(text, {word: word for word in words}, found)
            for word in words:
                if word not in found:
                    inside = f", but within another word that is replaced, in {shown(text)}" if word in text else ""
                    problem = f"{where}: {word!r} is not found{inside or f' in {shown(text)}'}"
                    self._log.report(setting, FieldError(problem))
        self._texts |= texts
        one = self._log.field(field_ids[0])
        for word, node in words.items():
            opened = self._values.open(one, node)
            pairs: Sequence[tuple[str | None, Written]]
            if isinstance(opened, Labelled):
                pairs = opened.pairs
            else:
                pairs = [(None, item) for item in (opened.items if isinstance(opened, MultipleValues) else (opened,))]
            if not pairs:
                self._log.report(setting, FieldError(f"{one.where}, {word!r}: the list is empty"))
                continue
            values = []
            for label, item in pairs:
                try:
                    new = self._values.text(one, item)
                except _VALUE_ERRORS as error:
                    position = f"the words for {word!r}"
                    self._log.report(_at_item(setting, item), _at_position(one.where, position, error))
                    continue
                params = {field_id: replace_words(text, {word: new}) for field_id, text in texts.items()}
                values.append(AxisValue(params, new if label is None else label, label is not None, word=new))
            self._add_axis(setting, Axis(word, "replace", field_ids, tuple(values)), f"{one.where}, {word!r}")

    def _searched(self, one: Field, explicit: Written | None) -> str:
        """Return the text in which words are replaced: the explicit one, else that of `--from`, else the workflow's."""
        if one.type not in {FieldType.STRING, FieldType.UNKNOWN}:
            raise FieldError(f"{one.where}: words can be replaced in a text, and this is of type {one.type}")
        if explicit is not None:
            return self._values.text(one, explicit)
        text: object = one.default
        graph = self._workflow.graph
        if graph is not None and one.node in graph.nodes:
            text = graph.nodes[one.node].get("inputs", {}).get(one.name, text)
        text = self._base.get(one.id, text)
        if not isinstance(text, str) or not text:
            raise FieldError(f"{one.where}: the workflow's own text is not known: write {{in: TEXT, replace: ...}}")
        return text

    # -- presets -----------------------------------------------------------------------------------------------------

    def _presets(self, setting: Setting) -> list[tuple[str, Labelled]] | None:
        """Return the presets of a setting whose key is not a field; None if its value is not a mapping of presets."""
        key = setting.key
        is_used = key in self._workflow.aliases or any(one.name == key for one in self._workflow.fields.values())
        if not self._workflow.is_described or "::" in key or is_used:
            return None
        found: Written | None = labelled(setting)
        if found is None and isinstance(setting.value, str):
            found = self._values.open(None, Item(setting.value))
        if not isinstance(found, Labelled):
            return None
        presets = [(label, self._values.open(None, node)) for label, node in found.pairs]
        invalid = [label for label, node in presets if not isinstance(node, Labelled)]
        if not invalid:
            return cast("list[tuple[str, Labelled]]", presets)
        if len(invalid) == len(presets):
            return None
        raise FieldError(f"the preset {invalid[0]!r} is not a mapping of fields like {{cfg: 4, steps: 20}}")

    def _read_presets(self, setting: Setting, presets: list[tuple[str, Labelled]]) -> None:
        if not presets:
            self._log.report(setting, FieldError(f"{setting.key}: there is no preset in it"))
            return
        reserved: dict[str, bool] = {}  # field id -> whether this axis sets the field first
        values = []
        for label, fields in presets:
            params: dict[str, Any] = {}
            problems_before = len(self._log.problems)
            if not fields.pairs:
                self._log.report(setting, FieldError(f"{setting.key}, preset {label!r}: it sets nothing"))
            for key, node in fields.pairs:
                try:
                    for field_id in self._workflow.find(key):
                        if field_id not in reserved:
                            reserved[field_id] = self._reserve(field_id, setting)
                        if field_id in params:
                            raise FieldError(f"{self._log.field(field_id).where} is set twice")
                        params[field_id] = self._values.single(self._log.field(field_id), node)
                except _VALUE_ERRORS as error:
                    problems = f"{setting.key}, preset {label!r}: {error}".split("\n")
                    self._log.report(_at_item(setting, node), FieldError(*problems))
            if len(self._log.problems) == problems_before:
                values.append(AxisValue(params, label, is_named=True))
        self._add_axis(setting, Axis(setting.key, "preset", tuple(reserved), tuple(values)), setting.key)


def _at_item(setting: Setting, written: Written) -> Setting:
    """Return the setting with the line of one of its values."""
    return replace(setting, where=written.where) if isinstance(written, Item) and written.where else setting


def _at_position(where: str, position: str, error: Exception) -> FieldError:
    """Return the error with the position of its value in the list."""
    text = str(error).removeprefix(f"{where}: ")
    return FieldError(f"{where}, {position}: {text}" if position else f"{where}: {text}")


def _header(value: object) -> str:
    """Return the header of a value without a label."""
    if isinstance(value, InputImage):
        return value.name
    return text_of(int(value) if isinstance(value, float) and value.is_integer() else value)


def _is_replace(written: Labelled) -> bool:
    labels = {label for label, _ in written.pairs}
    inner = next((node for label, node in written.pairs if label == "replace"), None)
    return isinstance(inner, Labelled) and labels <= {"in", "replace"}


def _by_label(written: Labelled) -> dict[str, Written]:
    found: dict[str, Written] = {}
    for label, node in written.pairs:
        if label in found:
            raise ValueError(f"{label!r} is written twice")
        if not label:
            raise ValueError("an empty word can't be replaced")
        found[label] = node
    return found
