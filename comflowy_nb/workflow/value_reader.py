"""Parse the values of one field by its type: one value for a run, one or more for a sweep."""

from __future__ import annotations

import glob
import re
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import FieldError, ImageError, RefError, typed
from comflowy_nb.workflow.fields import FieldType
from comflowy_nb.workflow.images import (
    IMAGE_SUFFIXES,
    InputImage,
    input_of,
    is_image,
    names_files,
    open_images,
    open_input,
    pattern_in,
)
from comflowy_nb.workflow.syntax.json_values import plain, shown
from comflowy_nb.workflow.syntax.line import NAMES_ALONE, expand, expand_text, is_name
from comflowy_nb.workflow.syntax.lists import Item, MultipleValues, as_item, from_python
from comflowy_nb.workflow.syntax.ranges import has_range, is_range, range_for_dash, read_range, split_items

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from comflowy_nb.workflow.fields import Field
    from comflowy_nb.workflow.syntax.lists import ParsedValue


_SEED_WORD = re.compile(r"random|random#[0-9]+|each")


class ValueReader:
    """Parses the values of fields.

    Parameters
    ----------
    namespace
        The variables for `{name}`; None disables expansion.
    open_run
        Called with a reference; returns its image or raises RefError. None if references are not available.
    is_sweep
        Whether a field may have several values. This determines the text of errors about several values.
    """

    def __init__(
        self,
        namespace: Mapping[str, Any] | None,
        open_run: Callable[[str], InputImage] | None,
        *,
        is_sweep: bool = False,
    ) -> None:
        self.namespace = namespace
        self._open_run = open_run or _no_runs
        self._is_sweep = is_sweep

    # -- one value ---------------------------------------------------------------------------------------------------

    def value(self, field: Field, item: ParsedValue) -> Any:
        """Return the value of an item that is not a range, a pattern of files or a seed word."""
        if field.is_multiple:
            return self._selection(field, item)
        if not isinstance(item, Item):
            return self._untyped_list(field, item)
        if not isinstance(item.value, str) or item.exact:
            return self._read_object(field, item.value)
        text = expand_text(item.value, self.namespace)
        if not item.quoted:
            self._check_not_a_file(field, text, is_python_value=item.is_python_value)
        image = self._read_image(field, text)
        if image is not None:
            return image
        as_text = field.type is FieldType.UNKNOWN and (item.quoted or item.is_python_value)
        return text if as_text else self._read_text(field, text)

    def _selection(self, field: Field, value: ParsedValue) -> Any:
        """Return the value of a field that takes several options at once."""
        item = as_item(value, self.expand_value)
        if not isinstance(item, Item):
            raise FieldError(f"{field.where}: a list of options is expected here, not a mapping")
        return field.check(item.value if isinstance(item.value, list) else self.expand_value(item))

    def _untyped_list(self, field: Field, value: ParsedValue) -> Any:
        """Return a Python or JSON list as one value. Only for fields of unknown type."""
        if field.type is FieldType.UNKNOWN and isinstance(value, MultipleValues) and value.text is None:
            return self._read_object(field, [part.value for part in value.items if isinstance(part, Item)])
        kind = "a list" if isinstance(value, MultipleValues) else "a mapping"
        raise FieldError(
            f"{field.where}: {kind} is not allowed here: use one value; put a text with brackets in quotes"
        )

    def _read_object(self, field: Field, value: object) -> Any:
        """Convert a Python or JSON value for submission."""
        value = plain(value)
        if field.type.takes_images:
            if is_image(value):
                return input_of(value)
            if isinstance(value, str):
                self._check_not_a_file(field, value, is_python_value=True)
                return self._read_image(field, value) or value
        return field.check(value)

    def _read_text(self, field: Field, text: str) -> Any:
        if not self._is_sweep and field.type is FieldType.UNKNOWN and has_range(text):
            raise several_values_error(field, f"{shown(text)} is a range")
        try:
            return field.read(text)
        except FieldError as error:
            if _is_several(field, text):
                if not self._is_sweep:
                    raise several_values_error(field, f"{shown(text)} is several values") from None
                unspaced = ",".join(part.strip() for part in text.split(","))
                tip = f"several values are written without quotes: {field.name}={unspaced}"
                raise FieldError(f"{error}; {tip}") from None
            is_int = field.type is FieldType.INT
            if field.type.is_number and (range_meant := range_for_dash(text, whole=is_int)) is not None:
                where = "" if self._is_sweep else " in a sweep"
                raise FieldError(f"{error}; a range is written {field.name}={range_meant}{where}") from None
            if self.namespace is not None and text.startswith("{"):
                raise FieldError(f"{error}; {NAMES_ALONE.format(field=field.name)}") from None
            raise

    def _read_image(self, field: Field, text: str) -> InputImage | None:
        """Return the image that `file:PATH` or `run:REF[0]` names; None for any other text."""
        kind, _, rest = text.partition(":")
        if not field.type.takes_images or not rest or kind not in {"file", "run"}:
            return None
        if field.type is FieldType.IMAGEUPLOAD and pattern_in(text) is not None:
            if not self._is_sweep:
                raise several_values_error(field, f"{rest} may name several files")
            raise FieldError(f"{field.where}: {rest} is a pattern, which can't come from a variable: type file:{rest}")
        try:
            return open_input(rest) if kind == "file" else self._open_run(rest)
        except (ImageError, RefError):
            if field.type is FieldType.UNKNOWN:  # a prompt may begin with `file:`
                return None
            raise

    def _check_not_a_file(self, field: Field, text: str, *, is_python_value: bool) -> None:
        """Check that a text is not the path of an image file on this machine, which must be written as `file:PATH`.

        Raises
        ------
        FieldError
            If it is the path of such a file, or several separated by commas, and the server does not list an image with
            this name.
        """
        if field.type is FieldType.IMAGEUPLOAD:
            is_candidate = text != field.default and text not in field.options
            if is_candidate and (images := _images_between_commas(text)):
                if not self._is_sweep:
                    raise several_values_error(field, f"{shown(text)} is several images")
                tip = f"separate several images by ||: {field.name}={'||'.join(images)}"
                raise FieldError(f"{field.where}: {shown(text)} is one value; {tip}")
        else:  # the field may not be an image; a JSON or Python string is always text
            has_suffix = text.lower().endswith(tuple(IMAGE_SUFFIXES))
            is_candidate = field.type is FieldType.UNKNOWN and not is_python_value and has_suffix
        if is_candidate and not text.startswith(("file:", "run:")) and names_files(text):
            quoted = "" if is_python_value else f'; "{text}" in quotes is submitted as typed'
            raise FieldError(
                f"{field.where}: {shown(text)} is a file on this machine, not on the server. Did you mean file:{text}? "
                f"That uploads your file{quoted}"
            )

    # -- several values ----------------------------------------------------------------------------------------------

    def values(self, field: Field, value: ParsedValue) -> list[Any]:
        """Return the values of one list item. A range and a pattern of files have several."""
        item = self.open(field, value)
        if field.is_multiple or not isinstance(item, Item):
            return [self.value(field, item)]
        if isinstance(item.value, str) and not (item.value or item.quoted or item.is_python_value or item.exact):
            tip = '; an empty text is written ""' if field.type.takes_texts else ""
            raise FieldError(f"{field.where}: the value is empty{tip}")
        word = self.seed_word(field, item)
        if word is not None:
            tip = f"write {field.name}={word}"
            raise FieldError(f"{field.where}: {word} can't be part of a list, a label or a preset: {tip}")
        numbers = self.range_in(field, item)
        if numbers is not None:
            try:
                return [field.check(number) for number in read_range(numbers, whole=field.type is FieldType.INT)]
            except ValueError as error:
                raise FieldError(f"{field.where}: {error}") from None
        pattern = self.pattern_in(field, item)
        return [self.value(field, item)] if pattern is None else list(open_images(pattern))

    def single_value(self, field: Field, value: ParsedValue) -> Any:
        """Return the only value of a label or a preset.

        Raises
        ------
        FieldError
            If the value is a range or a pattern of files.
        """
        values = self.values(field, value)
        if len(values) > 1:
            kind = "a pattern of files" if isinstance(values[0], InputImage) else "a range"
            text = f"{shown(value.value)} is " if isinstance(value, Item) else ""
            raise FieldError(f"{field.where}: {text}{kind}, but one value is expected here")
        return values[0]

    def text(self, field: Field, value: ParsedValue) -> str:
        """Return a text of search and replace, with `{name}` expanded."""
        item = self.open(field, value)
        if not isinstance(item, Item):
            raise FieldError(f"{field.where}: a list or a mapping is not allowed here: use one text, in quotes")
        if not item.exact and isinstance(item.value, str):
            if not item.value and not item.quoted and not item.is_python_value:
                raise FieldError(f'{field.where}: the text is empty; an empty text is written ""')
            return expand_text(item.value, self.namespace)
        if isinstance(item.value, (str, int, float)) and not isinstance(item.value, bool):
            return str(item.value)
        raise FieldError(f"{field.where}: {shown(item.value)} is not a text")

    # -- the kinds of an item ----------------------------------------------------------------------------------------

    def open(self, field: Field | None, value: ParsedValue) -> ParsedValue:
        """Replace `{name}` by its object. A list or a mapping becomes several values. Return other values unchanged."""
        if self.namespace is None or not isinstance(value, Item) or value.exact:
            return value
        if not isinstance(value.value, str) or not is_name(value.value):
            return value
        takes_images = field is not None and field.type.takes_images
        return from_python(expand(value.value, self.namespace), takes_images=takes_images, exact=True)

    def expand_value(self, item: Item) -> object:
        """Return the value of an item within a list, with `{name}` expanded."""
        return item.value if item.exact or not isinstance(item.value, str) else expand(item.value, self.namespace)

    def range_in(self, field: Field, item: Item) -> str | None:
        """Return the text of an item that is a range, or for a number field an invalid range; else None."""
        text = self._expanded_text(item)
        if text is None:
            return None
        if field.type.is_number:
            return text if ".." in text else None
        is_plain = field.type is FieldType.UNKNOWN and not item.quoted and not item.is_python_value
        return text if is_plain and is_range(text) else None

    def pattern_in(self, field: Field, item: Item) -> str | None:
        """Return the pattern of `file:refs/*.jpg`. For a field of unknown type, the pattern must match a file."""
        text = self._expanded_text(item) if field.type.takes_images else None
        pattern = None if text is None else pattern_in(text)
        if pattern is None or (field.type is FieldType.UNKNOWN and not any(glob.iglob(pattern, recursive=True))):  # noqa: PTH207 - as in `open_images`
            return None
        return pattern

    def seed_word(self, field: Field, item: Item) -> str | None:
        """Return the text of an item that is `random`, `random#N` or `each` in a seed field; else None."""
        text = self._expanded_text(item) if field.is_seed else None
        if text is None or not _SEED_WORD.fullmatch(text):
            return None
        # in a field of unknown type, quotes make it text (strings of a payload always have quotes)
        return text if field.type.is_number or (field.type is FieldType.UNKNOWN and not item.quoted) else None

    def _expanded_text(self, item: Item) -> str | None:
        if not isinstance(item.value, str) or item.exact:
            return None
        return expand_text(item.value, self.namespace)


def several_values_error(field: Field, problem: str) -> FieldError:
    """Return the error of several values in a run."""
    sweep = typed("%comflowy sweep", "client.sweep")
    return FieldError(f"{field.where}: {problem}, but a run takes one value; {sweep} takes several")


def _no_runs(ref: str) -> InputImage:
    raise RefError(f"run:{ref}: images of runs are not available here")


def _images_between_commas(text: str) -> list[str]:
    """Return the images in a text that separates several by commas, as `file:PATH` or `run:REF`; else an empty list."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) == 1 or names_files(text.removeprefix("file:")):
        return []
    is_named = [part.startswith(("file:", "run:")) for part in parts]
    if not all(named or names_files(part) for named, part in zip(is_named, parts, strict=True)):
        return []
    return [part if named else f"file:{part}" for named, part in zip(is_named, parts, strict=True)]


def _is_several(field: Field, text: str) -> bool:
    """Return True if an invalid value of a field is a range or a list of valid values."""
    if field.type in {FieldType.STRING, FieldType.IMAGEUPLOAD}:
        return False
    items = split_items(text)
    if items == [text]:
        return field.type.is_number and is_range(text)
    try:
        for item in items:
            if not (field.type.is_number and is_range(item)):
                field.read(item)
    except FieldError:
        return False
    return all(items)
