"""Read the values of one field of a sweep: single values, ranges, patterns of files and selections."""

from __future__ import annotations

import glob
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import FieldError
from comflowy_nb.workflow.axes.images import open_images, pattern_in
from comflowy_nb.workflow.fields import FieldType
from comflowy_nb.workflow.images import InputImage
from comflowy_nb.workflow.syntax.json_values import shown
from comflowy_nb.workflow.syntax.line import expand, expand_text, is_name
from comflowy_nb.workflow.syntax.lists import Item, MultipleValues, as_item, of_python
from comflowy_nb.workflow.syntax.ranges import is_range, looks_like_range, read_range
from comflowy_nb.workflow.values import ValueReader

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from comflowy_nb.workflow.fields import Field
    from comflowy_nb.workflow.syntax.lists import Written

__all__ = ["AxisValueReader"]


class AxisValueReader:
    """Reads what is written for one field of a sweep; parameters as for `ValueReader`."""

    def __init__(self, namespace: Mapping[str, Any] | None, open_run: Callable[[str], InputImage] | None) -> None:
        self.namespace = namespace
        self._reader = ValueReader(namespace, open_run)

    def open(self, one: Field | None, written: Written) -> Written:
        """Return the object that a `{name}` refers to, as a list or a mapping if it is one; else `written`."""
        if self.namespace is None or not isinstance(written, Item) or written.exact:
            return written
        if not isinstance(written.value, str) or not is_name(written.value):
            return written
        takes_images = one is not None and one.type.takes_images
        return of_python(expand(written.value, self.namespace), takes_images=takes_images, exact=True)

    def expanded(self, item: Item) -> object:
        """Return the value of an item within a list, with `{name}` expanded."""
        return item.value if item.exact or not isinstance(item.value, str) else expand(item.value, self.namespace)

    def values(self, one: Field, written: Written) -> list[Any]:
        """Return the values of one list item: several for a range, or for a pattern of several files."""
        item = self.open(one, written)
        if one.is_multiple:
            return [self._selection(one, item)]
        if not isinstance(item, Item):
            return [self._untyped_list(one, item)]
        if not isinstance(item.value, str) or item.exact:
            return [self._reader.read_object(one, item.value)]
        if not item.value and not item.quoted and not item.typed:
            raise FieldError(f'{one.where}: the value is empty; an empty text is written ""')
        word = self.seed_word(one, item)
        if word is not None:
            raise FieldError(f"{one.where}: {word} can't be part of a list, a label or a preset; write it alone")
        numbers = self.range_in(one, item)
        if numbers is not None:
            try:
                return [one.check(number) for number in read_range(numbers, whole=one.type is FieldType.INT)]
            except ValueError as error:
                raise FieldError(f"{one.where}: {error}") from None
        pattern = self.pattern_in(one, item)
        if pattern is not None:
            return list(open_images(pattern))
        text = expand_text(item.value, self.namespace)
        if not item.quoted:
            self._reader.check_not_a_file(one, text, typed=item.typed)
        return [self._reader.read_item(one, text, as_text=item.quoted or item.typed)]

    def single(self, one: Field, written: Written) -> Any:
        """Return the one value of a label or a preset.

        Raises
        ------
        FieldError
            If it is a range, or a pattern of several files.
        """
        values = self.values(one, written)
        if len(values) > 1:
            what = "a pattern of files" if isinstance(values[0], InputImage) else "a range"
            raise FieldError(f"{one.where}: one value is expected here, not {what}")
        return values[0]

    def fixed(self, one: Field, item: Item) -> Any:
        """Return the value of a setting that is not an axis, where nothing typed is the empty text."""
        if isinstance(item.value, str) and not item.value and not item.exact:
            return self._reader.read_item(one, "", as_text=item.quoted or item.typed)
        return self.values(one, item)[0]

    def text(self, one: Field, written: Written) -> str:
        """Return a text of a search and replace, with `{name}` expanded."""
        item = self.open(one, written)
        if not isinstance(item, Item):
            raise FieldError(f"{one.where}: one text is expected here; quote a text with commas or brackets")
        if not item.exact and isinstance(item.value, str):
            if not item.value and not item.quoted and not item.typed:
                raise FieldError(f'{one.where}: the text is empty; an empty text is written ""')
            return expand_text(item.value, self.namespace)
        if isinstance(item.value, (str, int, float)) and not isinstance(item.value, bool):
            return str(item.value)
        raise FieldError(f"{one.where}: {shown(item.value)} is not a text")

    def range_in(self, one: Field, item: Item) -> str | None:
        """Return the text of a range, valid or not; None for any other item."""
        is_number = one.type.is_number
        if not is_number and (one.type is not FieldType.UNKNOWN or item.quoted or item.typed):
            return None
        text = self._expanded_text(item)
        return text if text is not None and (looks_like_range(text) if is_number else is_range(text)) else None

    def pattern_in(self, one: Field, item: Item) -> str | None:
        """Return the pattern of `file:refs/*.jpg`; if the field is not described, only one that matches a file."""
        text = self._expanded_text(item) if one.type.takes_images else None
        pattern = None if text is None else pattern_in(text)
        if pattern is None or (one.type is FieldType.UNKNOWN and not glob.glob(pattern, recursive=True)):  # noqa: PTH207 - as in `open_images`
            return None
        return pattern

    def seed_word(self, one: Field, item: Item) -> str | None:
        """Return `random`, `random#N` or `each`; None for any other item."""
        text = self._expanded_text(item) if one.is_seed else None
        return text if text is not None and self._reader.is_seed_word(one, text, quoted=item.quoted) else None

    def _expanded_text(self, item: Item) -> str | None:
        if not isinstance(item.value, str) or item.exact:
            return None
        return expand_text(item.value, self.namespace)

    def _selection(self, one: Field, written: Written) -> Any:
        item = as_item(written, self.expanded)
        if not isinstance(item, Item):
            raise FieldError(f"{one.where}: a list of options is expected here, not a mapping")
        return one.check(item.value if isinstance(item.value, list) else self.expanded(item))

    def _untyped_list(self, one: Field, written: Written) -> Any:
        """Return a list of Python or JSON as one value; the type of the field must be unknown."""
        if one.type is FieldType.UNKNOWN and isinstance(written, MultipleValues) and written.text is None:
            return self._reader.read_object(one, [part.value for part in written.items if isinstance(part, Item)])
        what = "a list" if isinstance(written, MultipleValues) else "a mapping"
        raise FieldError(f"{one.where}: one value is expected here, not {what}; quote a text with brackets")
