"""Axes of the values of fields, and of drawn seeds: each value read by its field's type, and told of if it is wrong."""

from __future__ import annotations

import glob
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, cast

from comflowy_nb.errors import FieldError, ImageError, LineError, RefError
from comflowy_nb.workflow.axes.images import label_images, open_images, pattern_in
from comflowy_nb.workflow.axes.types import Axis, AxisValue, SeedWord
from comflowy_nb.workflow.canonical import canonical_json
from comflowy_nb.workflow.fields import FieldType
from comflowy_nb.workflow.images import InputImage
from comflowy_nb.workflow.syntax.expansion import expand, expand_text, is_name
from comflowy_nb.workflow.syntax.json_values import text_of
from comflowy_nb.workflow.syntax.lists import Item, MultipleValues, as_item, of_python
from comflowy_nb.workflow.syntax.ranges import LARGEST_AXIS, is_range, looks_like_range, read_range
from comflowy_nb.workflow.values import LARGEST_DRAWN_SEED, Reader, generate_seed, tightest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from comflowy_nb.workflow.fields import Field
    from comflowy_nb.workflow.syntax.lists import Setting, Written
    from comflowy_nb.workflow.workflow import Workflow

__all__ = ["TROUBLE", "AxisReader", "at_item", "placed", "seed_values"]

_IMAGES = frozenset({FieldType.IMAGEUPLOAD, FieldType.UNKNOWN})
_NUMBERS = frozenset({FieldType.INT, FieldType.FLOAT})
TROUBLE = (FieldError, LineError, ImageError, RefError, ValueError)  # what a value that is wrong raises


class AxisReader(Reader):
    """Reads values into axes."""

    def __init__(
        self,
        workflow: Workflow,
        namespace: Mapping[str, Any] | None,
        open_run: Callable[[str], InputImage] | None,
        base: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(workflow, namespace, generate_seed, open_run)
        self._base = base or {}
        self._axes: list[Axis] = []
        self._seeds: list[SeedWord] = []
        self._set: list[str] = []
        self._texts: dict[str, str] = {}

    def _claim_set(self, field_id: str, setting: Setting) -> bool:
        if not self.claim(field_id, setting):
            return False
        self._set.append(field_id)
        return True

    def _add_values(
        self, setting: Setting, field_ids: tuple[str, ...], pairs: Sequence[tuple[str | None, Written]]
    ) -> None:
        """An axis of what stands in a list, a mapping of labels or a range."""
        if not pairs:
            raise FieldError(f"{self.field(field_ids[0]).where}: there is no value in {setting.key}")
        values: list[AxisValue] = []
        for index, (label, written) in enumerate(pairs, 1):
            place = f"value {label!r}" if label is not None else f"value {index} of {len(pairs)}" if pairs[1:] else ""
            columns = []
            for field_id in field_ids:
                one = self.field(field_id)
                try:
                    columns.append(
                        self._read_labelled(one, written) if label is not None else self._values(one, written)
                    )
                except TROUBLE as error:
                    self.report(at_item(setting, written), placed(one.where, place, error))
            if len(columns) < len(field_ids):
                continue
            for row in zip(*columns, strict=True):
                params = dict(zip(field_ids, row, strict=True))
                values.append(AxisValue(params, _text(row[0]) if label is None else label, label is not None))
        where = self.field(field_ids[0]).where
        values = self._name_images(setting, field_ids[0], values)
        self._add_axis(setting, Axis(setting.key, "values", field_ids, tuple(values)), where)

    def _name_images(self, setting: Setting, field_id: str, values: list[AxisValue]) -> list[AxisValue]:
        """The values with labels that tell the images among them apart."""
        images = [value.params[field_id] for value in values]
        if not any(isinstance(one, InputImage) for one in images):
            return values
        # In a field that nothing describes a text may begin so; not beside images.
        for one in images:
            if isinstance(one, str) and one.startswith(("file:", "run:")):
                self.report(setting, FieldError(f"{self.field(field_id).where}: there is no image {one!r}"))
        inputs = [(place, one) for place, one in enumerate(images) if isinstance(one, InputImage)]
        labels = dict(zip((place for place, _ in inputs), label_images([one for _, one in inputs]), strict=True))
        return [
            value if value.is_named or place not in labels else replace(value, label=labels[place])
            for place, value in enumerate(values)
        ]

    def _add_axis(self, setting: Setting, axis: Axis, where: str) -> None:
        """Take an axis, and tell of labels and values that it has twice."""
        labels: set[str] = set()
        known: dict[str, AxisValue] = {}
        for value in axis.values:
            if value.is_named and value.label in labels:
                self.report(setting, FieldError(f"{where}: the label {value.label!r} is used twice"))
            if value.is_named and not value.label.strip():
                self.report(setting, FieldError(f"{where}: a label is empty"))
            labels.add(value.label)
            same = "" if axis.kind == "seeds" else canonical_json([value.word, dict(value.params)])
            if same and same in known:
                twice = " and ".join(dict.fromkeys(repr(one.label) for one in (known[same], value)))
                self.report(setting, FieldError(f"{where}: an equal value stands there twice: {twice}"))
            known[same] = value
        if len(axis.values) > LARGEST_AXIS:
            count = f"{len(axis.values):,} values; an axis has at most {LARGEST_AXIS:,}"
            self.report(setting, FieldError(f"{where}: {count}"))
        self._axes.append(axis)

    def _open(self, one: Field | None, written: Written) -> Written:
        """A `{name}` as what it stands for; anything else as it is."""
        if self.namespace is None or not isinstance(written, Item) or written.exact:
            return written
        if not isinstance(written.value, str) or not is_name(written.value):
            return written
        takes_images = one is not None and one.type in _IMAGES
        return of_python(expand(written.value, self.namespace), takes_images=takes_images, exact=True)

    def _value_of(self, item: Item) -> object:
        """The value of an item within a list."""
        is_text = isinstance(item.value, str) and not item.exact and self.namespace is not None
        return expand(str(item.value), self.namespace) if is_text else item.value

    def _read_selection(self, one: Field, written: Written) -> Any:
        item = as_item(written, self._value_of)
        if not isinstance(item, Item):
            raise FieldError(f"{one.where}: a mapping stands where a list of options is meant")
        return one.check(item.value if isinstance(item.value, list) else self._value_of(item))

    def _values(self, one: Field, written: Written) -> list[Any]:
        """The values of an item: several only if it is a range, or a pattern that several files match."""
        item = self._open(one, written)
        if one.is_multiple:
            return [self._read_selection(one, item)]
        if not isinstance(item, Item):
            return [self._read_untyped_list(one, item)]
        if not isinstance(item.value, str) or item.exact:
            return [self.read_object(one, item.value)]
        if not item.value and not item.quoted and not item.typed:
            raise FieldError(f'{one.where}: the value is empty; an empty text is written ""')
        word = self._seed_word(one, item)
        if word is not None:
            raise FieldError(f"{one.where}: {word} draws seeds, and stands alone: not in a list, a label or a preset")
        numbers = self._range_in(one, item)
        if numbers is not None:
            try:
                return [one.check(number) for number in read_range(numbers, whole=one.type is FieldType.INT)]
            except ValueError as error:
                raise FieldError(f"{one.where}: {error}") from None
        pattern = self._pattern_in(one, item)
        if pattern is not None:
            return list(open_images(pattern))
        text = expand_text(item.value, self.namespace)
        if not item.quoted:
            self.check_not_a_file(one, text, typed=item.typed)
        return [self.read_item(one, text, as_text=item.quoted or item.typed)]

    def _read_untyped_list(self, one: Field, written: Written) -> Any:
        if one.type is FieldType.UNKNOWN and isinstance(written, MultipleValues) and written.text is None:
            return self.read_object(one, [part.value for part in written.items if isinstance(part, Item)])
        what = "a list" if isinstance(written, MultipleValues) else "a mapping"
        raise FieldError(f"{one.where}: {what} stands where one value is meant; a text of brackets is quoted")

    def _read_labelled(self, one: Field, written: Written) -> list[Any]:
        values = self._values(one, written)
        if len(values) > 1:
            what = "a pattern of files" if isinstance(values[0], InputImage) else "a range"
            raise FieldError(f"{one.where}: {what} stands where one value is meant")
        return values

    def _read_one(self, one: Field, item: Item) -> Any:
        """The value of an item that stands alone, where nothing typed is the empty text."""
        if isinstance(item.value, str) and not item.value and not item.exact:
            return self.read_item(one, "", as_text=item.quoted or item.typed)
        return self._values(one, item)[0]

    def _range_in(self, one: Field, item: Item) -> str | None:
        """The text of a range, right or wrong."""
        if not isinstance(item.value, str) or item.exact:
            return None
        if one.type not in _NUMBERS and (one.type is not FieldType.UNKNOWN or item.quoted or item.typed):
            return None
        text = expand_text(item.value, self.namespace)
        meant = looks_like_range(text) if one.type in _NUMBERS else is_range(text)
        return text if meant else None

    def _pattern_in(self, one: Field, item: Item) -> str | None:
        """The pattern of `file:refs/*.jpg`; where nothing describes the field only one that some file matches."""
        if not isinstance(item.value, str) or item.exact or one.type not in _IMAGES:
            return None
        pattern = pattern_in(expand_text(item.value, self.namespace))
        if pattern is None or (one.type is FieldType.UNKNOWN and not glob.glob(pattern, recursive=True)):  # noqa: PTH207 - as it is read
            return None
        return pattern

    # -- seeds ---------------------------------------------------------------------------------------------------

    def _seed_word(self, one: Field, item: Item) -> str | None:
        if not isinstance(item.value, str) or item.exact or not one.is_seed:
            return None
        text = expand_text(item.value, self.namespace)
        return text if self.is_seed_word(one, text, quoted=item.quoted) else None

    def _take_seeds(self, setting: Setting, field_ids: tuple[str, ...], word: str) -> None:
        kind, numbered, digits = word.partition("#")
        if not numbered:
            self._seeds.append(SeedWord(field_ids, cast("Literal['random', 'each']", kind)))
            return
        where = self.field(field_ids[0]).where
        if len(digits) > 9:
            raise FieldError(f"{where}: {word} draws too many seeds; an axis has at most {LARGEST_AXIS:,}")
        try:
            values = seed_values(self.workflow, field_ids, int(digits), word)
        except ValueError as error:
            raise FieldError(f"{where}: {error}") from None
        self._add_axis(setting, Axis(setting.key, "seeds", field_ids, values), where)


def seed_values(workflow: Workflow, field_ids: Sequence[str], count: int, word: str) -> tuple[AxisValue, ...]:
    """The values of an axis of N drawn seeds.

    Raises
    ------
    ValueError
        If there are none, too many, or more than the fields can tell apart.
    """
    if count < 1:
        raise ValueError(f"{word} draws no seed at all")
    if count > LARGEST_AXIS:
        raise ValueError(f"{word} draws {count:,} seeds; an axis has at most {LARGEST_AXIS:,}")
    one = tightest(workflow, field_ids)
    low = max(0, one.min or 0) if one is not None else 0
    high = LARGEST_DRAWN_SEED if one is None or one.max is None else min(one.max, LARGEST_DRAWN_SEED)
    if count > (high - low + 1) / 2:
        raise ValueError(f"{word} draws too many seeds for a field that goes from {low:g} to {high:g}")
    return tuple(AxisValue({}, str(index)) for index in range(1, count + 1))


def at_item(setting: Setting, written: Written) -> Setting:
    """Return the setting with the place of one of its values."""
    return replace(setting, where=written.where) if isinstance(written, Item) and written.where else setting


def placed(where: str, place: str, error: Exception) -> FieldError:
    """The error with the place of its value in the list."""
    text = str(error).removeprefix(f"{where}: ")
    return FieldError(f"{where}, {place}: {text}" if place else f"{where}: {text}")


def _text(value: object) -> str:
    """What a header says of a value."""
    if isinstance(value, InputImage):
        return value.name
    return text_of(int(value) if isinstance(value, float) and value.is_integer() else value)
