"""Convert the settings of a sweep to axes, fixed params and seeds, and check their types."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, cast

from comflowy_nb.errors import FieldError, ImageError, LineError, RefError
from comflowy_nb.workflow.axes.expand import find_words, replace_words
from comflowy_nb.workflow.axes.selection import add_options
from comflowy_nb.workflow.axes.split import read_mapping, split_values
from comflowy_nb.workflow.axes.types import Axes, Axis, AxisValue, SeedWord
from comflowy_nb.workflow.fields import FieldType
from comflowy_nb.workflow.images import InputImage, label_images
from comflowy_nb.workflow.syntax.json_values import shown, text_of
from comflowy_nb.workflow.syntax.lists import Item, Labelled, MultipleValues, selections
from comflowy_nb.workflow.syntax.ranges import LARGEST_AXIS
from comflowy_nb.workflow.value_reader import ValueReader
from comflowy_nb.workflow.values import SettingLog, narrowest_field, resolve, seed_range
from comflowy_nb.workflow.workflow import canonical_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from comflowy_nb.workflow.axes.selection import CellOptions
    from comflowy_nb.workflow.fields import Field
    from comflowy_nb.workflow.syntax.lists import ParsedValue, Setting
    from comflowy_nb.workflow.workflow import Workflow

_LARGEST_SWEEP = 100_000  # cells; a larger number is probably a typing error


def read_axes(
    workflow: Workflow,
    settings: Sequence[Setting],
    *,
    namespace: Mapping[str, Any] | None = None,
    open_run: Callable[[str], InputImage] | None = None,
    base: Mapping[str, Any] | None = None,
    options: CellOptions | None = None,
) -> Axes:
    """Return the axes of a sweep.

    Parameters
    ----------
    workflow
        The workflow, which defines the fields and their types.
    settings
        The settings in the order typed, from a line or body parsed with `sweep=True`, a file or a Python call.
    namespace
        The variables for `{name}`; None disables expansion.
    open_run
        Called with a reference (`r41[0]`); returns its image or raises RefError. None if references are not available.
    base
        Field id -> value of the run or sweep in `--from`. Words are replaced in its texts.
    options
        The options for tables, files of lines, zipped axes, and the choice of cells.

    Raises
    ------
    FieldError
        It contains all problems. Each has the field, and the value with its position in the list.
    """
    reader = _SweepReader(workflow, ValueReader(namespace, open_run, is_sweep=True), base or {})
    for setting in settings:
        reader.read(setting)
    axes = reader.axes()
    if options is not None:
        axes = add_options(axes, options, workflow, ValueReader(None, open_run, is_sweep=True))
    if axes.count > _LARGEST_SWEEP:
        shape = " x ".join(f"{len(axis.values):,} {axis.name}" for axis in axes.axes)
        raise FieldError(f"{shape} are {axes.count:,} cells; a sweep has at most {_LARGEST_SWEEP:,}")
    return axes


def count_axes(
    workflow: Workflow,
    settings: Sequence[Setting],
    count: int,
    *,
    namespace: Mapping[str, Any] | None = None,
    open_run: Callable[[str], InputImage] | None = None,
) -> Axes:
    """Return the axes of `run --count N`: one axis of N generated seeds, with the run's settings.

    The axis sets the fields with the value `random`. If there are none, it sets every INT field that is not set and
    whose name contains `seed`.

    Raises
    ------
    FieldError
        As `values.resolve`. Also if there is no field for the seeds, or N is invalid for its range.
    """
    resolved = resolve(workflow, settings, namespace=namespace, open_run=open_run)
    params = resolved.params
    seeds = tuple(resolved.generated_seeds) or tuple(
        name
        for name, field in workflow.fields.items()
        if field.is_seed and field.type is FieldType.INT and name not in params
    )
    if not seeds:
        explicit = [name for name in params if name in workflow.fields and workflow.fields[name].is_seed]
        tip = "no seed field is known here: name one, as in 3::seed=random"
        reason = f"{', '.join(explicit)} is set: remove it, or --count" if explicit else tip
        raise FieldError(f"--count {count} generates seeds, but {reason}")
    try:
        values = _seed_values(workflow, seeds, count, f"--count {count}")
    except ValueError as error:
        raise FieldError(str(error)) from None
    fixed = {name: value for name, value in params.items() if name not in seeds}
    set_params = tuple(dict.fromkeys((*resolved.set_params, *seeds)))
    return Axes(fixed, (Axis("seed", "seeds", seeds, values),), (), set_params)


def _seed_values(workflow: Workflow, field_ids: Sequence[str], count: int, word: str) -> tuple[AxisValue, ...]:
    """Return the values of an axis of `count` seeds, which are generated later."""
    if count < 1:
        raise ValueError(f"{word} generates no seeds: use at least random#1")
    if count > LARGEST_AXIS:
        raise ValueError(f"{word} generates too many seeds: an axis has at most {LARGEST_AXIS:,}, use a smaller number")
    low, high = seed_range(narrowest_field(workflow, field_ids))
    if count > (high - low + 1) / 2:  # at least half of the range must be free, because equal seeds are generated again
        raise ValueError(
            f"{word} generates too many seeds for a field with values from {low:g} to {high:g}: use a smaller number"
        )
    return tuple(AxisValue({}, str(index)) for index in range(1, count + 1))


class _SweepReader:
    """Reads settings one after another. `axes` returns the result."""

    def __init__(self, workflow: Workflow, values: ValueReader, base: Mapping[str, Any]) -> None:
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
        """Return the axes of all settings, or raise FieldError with all problems."""
        names = [axis.name for axis in self._axes]
        for name in dict.fromkeys(name for name in names if names.count(name) > 1):
            self._log.problems.append(f"two axes are called {name!r}: their headers could not be distinguished")
        self._log.raise_problems()
        return Axes(self._fixed, tuple(self._axes), tuple(self._seeds), tuple(self._set_params), self._texts)

    def read(self, setting: Setting) -> None:
        try:
            field_ids = self._workflow.find(setting.key)
        except FieldError as unknown:
            with self._report_errors(setting, setting.key):
                presets = self._presets(setting)
                if presets is None:
                    self._log.report(replace(setting, where=setting.key_where or setting.where), unknown)
                else:
                    self._add_presets(setting, presets)
            return
        is_first = [self._reserve(field_id, setting) for field_id in field_ids]  # reports each field that is set twice
        if all(is_first):
            with self._report_errors(setting, self._where(field_ids[0])):
                self._read_fields(setting, field_ids)

    def _read_fields(self, setting: Setting, field_ids: tuple[str, ...]) -> None:
        field = self._workflow.field(field_ids[0])
        value = self._values.open(field, split_values(setting, field, self._values.namespace))
        if field.is_multiple:
            value = selections(field, value, self._values.expand_value)
        if isinstance(value, Labelled) and _is_replace(value):
            self._add_replacements(setting, field_ids, value)
        elif not isinstance(value, Item):
            self._add_values(setting, field_ids, _pairs(value))
        elif (word := self._values.seed_word(field, value)) is not None:
            self._add_seeds(setting, field_ids, word)
        elif self._values.range_in(field, value) is not None or self._values.pattern_in(field, value) is not None:
            self._add_values(setting, field_ids, _pairs(value))
        else:
            for field_id in field_ids:
                self._fixed[field_id] = self._values.value(self._workflow.field(field_id), value)

    # -- problems ----------------------------------------------------------------------------------------------------

    def _where(self, field_id: str) -> str:
        return self._workflow.field(field_id).where

    @contextmanager
    def _report_errors(
        self, setting: Setting, where: str, position: str = "", value: ParsedValue | None = None
    ) -> Iterator[None]:
        """Add the field, the position in the list, and the line of the file to the errors of this block."""
        try:
            yield
        except (FieldError, LineError, ImageError, RefError, ValueError) as error:
            text, *tips = error.problems if isinstance(error, FieldError) else (str(error),)
            if position:
                text = f"{where}, {position}: {text.removeprefix(f'{where}: ')}"
            elif not isinstance(error, FieldError):  # a FieldError names its field
                text = f"{where}: {text}"
            self._report(setting, text, value)
            self._log.tips += tips

    def _report(self, setting: Setting, problem: str, value: ParsedValue | None = None) -> None:
        if isinstance(value, Item) and value.where:
            setting = replace(setting, where=value.where)
        self._log.report(setting, FieldError(problem))

    def _reserve(self, field_id: str, setting: Setting) -> bool:
        is_first = self._log.reserve(field_id, setting)
        if is_first:
            self._set_params.append(field_id)
        return is_first

    # -- axes --------------------------------------------------------------------------------------------------------

    def _add_axis(self, setting: Setting, axis: Axis, where: str) -> None:
        """Add an axis. Report duplicate labels and values."""
        labels: set[str] = set()
        known: dict[str, AxisValue] = {}
        for value in axis.values:
            if value.is_named and value.label in labels:
                self._report(setting, f"{where}: the label {value.label!r} is used twice")
            if value.is_named and not value.label.strip():
                self._report(setting, f"{where}: a label is empty")
            labels.add(value.label)
            if axis.kind == "seeds":
                continue
            key = canonical_json([value.word, dict(value.params)])
            if key in known:
                first, second = known[key].label, value.label
                which = f"{first!r}" if first == second else f"{first!r} and {second!r} are equal"
                self._report(setting, f"{where}: duplicate value: {which}. Keep one.")
            known[key] = value
        if len(axis.values) > LARGEST_AXIS:
            self._report(setting, f"{where}: {len(axis.values):,} values; an axis has at most {LARGEST_AXIS:,}")
        self._axes.append(axis)

    def _add_values(
        self, setting: Setting, field_ids: tuple[str, ...], pairs: Sequence[tuple[str | None, ParsedValue]]
    ) -> None:
        """Add an axis from a list, a mapping of labels, a range or a file pattern."""
        where = self._where(field_ids[0])
        if not pairs:
            raise FieldError(f"{where}: {setting.key} has no values: give at least one")
        values: list[AxisValue] = []
        for index, (label, value) in enumerate(pairs, 1):
            name = f"{index} of {len(pairs)}" if label is None else repr(label)
            position = f"value {name}" if label is not None or len(pairs) > 1 else ""
            columns = []
            for field in map(self._workflow.field, field_ids):
                with self._report_errors(setting, field.where, position, value):
                    if label is None:
                        columns.append(self._values.values(field, value))
                    else:
                        columns.append([self._values.single_value(field, value)])
            if len(columns) == len(field_ids):
                for row in zip(*columns, strict=True):
                    params = dict(zip(field_ids, row, strict=True))
                    values.append(AxisValue(params, _header(row[0]) if label is None else label, label is not None))
        self._label_images(setting, field_ids[0], values)
        self._add_axis(setting, Axis(setting.key, "values", field_ids, tuple(values)), where)

    def _label_images(self, setting: Setting, field_id: str, values: list[AxisValue]) -> None:
        """Label the images among the values with distinct names."""
        column = [value.params[field_id] for value in values]
        images = {index: value for index, value in enumerate(column) if isinstance(value, InputImage)}
        # In a field of unknown type, a text may begin with `file:`, but not if other values are images.
        for text in column if images else ():
            if isinstance(text, str) and text.startswith(("file:", "run:")):
                self._report(setting, f"{self._where(field_id)}: there is no image {text!r}")
        for index, label in zip(images, label_images(list(images.values())), strict=True):
            if not values[index].is_named:
                values[index] = replace(values[index], label=label)

    def _add_seeds(self, setting: Setting, field_ids: tuple[str, ...], word: str) -> None:
        kind, numbered, digits = word.partition("#")
        if not numbered:
            self._seeds.append(SeedWord(field_ids, cast("Literal['random', 'each']", kind)))
            return
        count = int(digits.lstrip("0")[:9] or 0)  # 9 digits are too many already; Python reads at most 4300
        values = _seed_values(self._workflow, field_ids, count, word)
        self._add_axis(setting, Axis(setting.key, "seeds", field_ids, values), self._where(field_ids[0]))

    # -- search and replace ------------------------------------------------------------------------------------------

    def _add_replacements(self, setting: Setting, field_ids: tuple[str, ...], value: Labelled) -> None:
        """Add an axis for each word that is replaced."""
        field = self._workflow.field(field_ids[0])
        parts = _by_label(value)
        texts = {field_id: self._search_text(self._workflow.field(field_id), parts.get("in")) for field_id in field_ids}
        words = _by_label(cast("Labelled", parts["replace"]))
        if not words:
            raise FieldError(f"{field.where}: replace contains no word: write replace: {{WORD: [WORD, OTHER]}}")
        for field_id, text in texts.items():
            replaced = find_words(text, words)
            for word in words:
                if word not in replaced:
                    inside = ", but within another word that is replaced," if word in text else ""
                    self._report(setting, f"{self._where(field_id)}: {word!r} is not found{inside} in {shown(text)}")
        self._texts |= texts
        for word, node in words.items():
            pairs = _pairs(self._values.open(field, node))
            if not pairs:
                self._report(setting, f"{field.where}, {word!r}: the list is empty")
                continue
            values = []
            for label, item in pairs:
                with self._report_errors(setting, field.where, f"the words for {word!r}", item):
                    new = self._values.text(field, item)
                    params = {field_id: replace_words(text, {word: new}) for field_id, text in texts.items()}
                    values.append(AxisValue(params, new if label is None else label, label is not None, word=new))
            self._add_axis(setting, Axis(word, "replace", field_ids, tuple(values)), f"{field.where}, {word!r}")

    def _search_text(self, field: Field, explicit: ParsedValue | None) -> str:
        """Return the text in which words are replaced: the explicit text, else from `--from`, else the workflow's."""
        if not field.type.takes_texts:
            raise FieldError(f"{field.where}: replace needs a text field, and {field.name} is of type {field.type}")
        if explicit is not None:
            return self._values.text(field, explicit)
        text = self._base.get(field.id, field.default)
        if not isinstance(text, str) or not text:
            raise FieldError(f"{field.where}: the workflow's own text is not known: write {{in: TEXT, replace: ...}}")
        return text

    # -- presets -----------------------------------------------------------------------------------------------------

    def _presets(self, setting: Setting) -> list[tuple[str, Labelled]] | None:
        """Return the presets of a setting whose key is not a field; None if the value is not a mapping of presets."""
        key = setting.key
        is_used = key in self._workflow.aliases or any(field.name == key for field in self._workflow.fields.values())
        if not self._workflow.is_described or "::" in key or is_used:
            return None
        value: ParsedValue | None = read_mapping(setting)
        if value is None and isinstance(setting.value, str):
            value = self._values.open(None, Item(setting.value))
        if not isinstance(value, Labelled):
            return None
        presets = [(label, self._values.open(None, node)) for label, node in value.pairs]
        invalid = [label for label, node in presets if not isinstance(node, Labelled)]
        if not invalid:
            return cast("list[tuple[str, Labelled]]", presets)
        if len(invalid) == len(presets):
            return None
        raise FieldError(f"{key}: the preset {invalid[0]!r} is not a mapping of fields like {{cfg: 4, steps: 20}}")

    def _add_presets(self, setting: Setting, presets: list[tuple[str, Labelled]]) -> None:
        if not presets:
            raise FieldError(f"{setting.key} contains no preset: write {{NAME: {{cfg: 4, steps: 20}}}}")
        reserved: dict[str, bool] = {}  # field id -> whether this axis is the first setting of the field
        values = []
        for label, fields in presets:
            position = f"preset {label!r}"
            params: dict[str, Any] = {}
            problem_count = len(self._log.problems)
            if not fields.pairs:
                self._report(setting, f"{setting.key}: {position} is empty: write {label}: {{cfg: 4}}")
            for key, node in fields.pairs:
                with self._report_errors(setting, setting.key, position, node):
                    for field_id in self._workflow.find(key):
                        if field_id not in reserved:
                            reserved[field_id] = self._reserve(field_id, setting)
                        if field_id in params:
                            raise FieldError(f"{self._where(field_id)} is set twice")
                        params[field_id] = self._values.single_value(self._workflow.field(field_id), node)
            if len(self._log.problems) == problem_count:
                values.append(AxisValue(params, label, is_named=True))
        self._add_axis(setting, Axis(setting.key, "preset", tuple(reserved), tuple(values)), setting.key)


def _pairs(value: ParsedValue) -> Sequence[tuple[str | None, ParsedValue]]:
    """Return pairs of label and value. The label is None if there is none."""
    if isinstance(value, Labelled):
        return value.pairs
    return [(None, item) for item in (value.items if isinstance(value, MultipleValues) else (value,))]


def _header(value: object) -> str:
    """Return the header of a value without a label."""
    if isinstance(value, InputImage):
        return value.name
    return text_of(int(value) if isinstance(value, float) and value.is_integer() else value)


def _is_replace(mapping: Labelled) -> bool:
    parts = dict(mapping.pairs)
    return isinstance(parts.get("replace"), Labelled) and set(parts) <= {"in", "replace"}


def _by_label(mapping: Labelled) -> dict[str, ParsedValue]:
    nodes: dict[str, ParsedValue] = {}
    for label, node in mapping.pairs:
        if label in nodes:
            raise ValueError(f"duplicate label {label!r}")
        if not label:
            raise ValueError("an empty word can't be replaced")
        nodes[label] = node
    return nodes
