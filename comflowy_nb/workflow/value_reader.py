"""Read the values of one field by its type: one value for a run, one or several for a sweep."""

from __future__ import annotations

import glob
import re
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import FieldError, ImageError, RefError
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
from comflowy_nb.workflow.syntax.lists import Item, MultipleValues, as_item, of_python
from comflowy_nb.workflow.syntax.ranges import has_range, is_range, read_range, split_items

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from comflowy_nb.workflow.fields import Field
    from comflowy_nb.workflow.syntax.lists import Written

__all__ = ["ValueReader", "several_values"]

_SEED_WORD = re.compile(r"random|random#[0-9]+|each")


class ValueReader:
    """Read the values of one field.

    Parameters
    ----------
    namespace
        The variables that `{name}` may refer to; None disables expansion.
    open_run
        Return the image of a reference, or raise RefError; None if references are not available.
    is_sweep
        Whether a field may have several values; it decides what an error about several values says.
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

    def value(self, one: Field, item: Written) -> Any:
        """Return the one value of an item, which is not a range, a pattern of several files or a seed word."""
        if one.is_multiple:
            return self._selection(one, item)
        if not isinstance(item, Item):
            return self._untyped_list(one, item)
        if not isinstance(item.value, str) or item.exact:
            return self._read_object(one, item.value)
        text = expand_text(item.value, self.namespace)
        if not item.quoted:
            self._check_not_a_file(one, text, typed=item.typed)
        image = self._read_image(one, text)
        if image is not None:
            return image
        as_text = one.type is FieldType.UNKNOWN and (item.quoted or item.typed)
        return text if as_text else self._read_text(one, text)

    def _selection(self, one: Field, written: Written) -> Any:
        """Return the value of a field that takes several options at once."""
        item = as_item(written, self.expanded)
        if not isinstance(item, Item):
            raise FieldError(f"{one.where}: a list of options is expected here, not a mapping")
        return one.check(item.value if isinstance(item.value, list) else self.expanded(item))

    def _untyped_list(self, one: Field, written: Written) -> Any:
        """Return a Python or JSON list as one value, if the type of the field is unknown."""
        if one.type is FieldType.UNKNOWN and isinstance(written, MultipleValues) and written.text is None:
            return self._read_object(one, [part.value for part in written.items if isinstance(part, Item)])
        kind = "a list" if isinstance(written, MultipleValues) else "a mapping"
        raise FieldError(f"{one.where}: one value is expected here, not {kind}; quote a text with brackets")

    def _read_object(self, one: Field, value: object) -> Any:
        """Return a Python or JSON value as submitted."""
        value = plain(value)
        if one.type.takes_images:
            if is_image(value):
                return input_of(value)
            if isinstance(value, str):
                self._check_not_a_file(one, value, typed=True)
                return self._read_image(one, value) or value
        return one.check(value)

    def _read_text(self, one: Field, text: str) -> Any:
        if not self._is_sweep and one.type is FieldType.UNKNOWN and has_range(text):
            raise several_values(one, f"{shown(text)} is a range")
        try:
            return one.read(text)
        except FieldError as error:
            if _is_several(one, text):
                if not self._is_sweep:
                    raise several_values(one, f"{shown(text)} is several values") from None
                unspaced = ",".join(part.strip() for part in text.split(","))
                raise FieldError(f"{error}; several values are written without quotes: {one.name}={unspaced}") from None
            if self.namespace is not None and text.startswith("{"):
                raise FieldError(f"{error}; {NAMES_ALONE.format(field=one.name)}") from None
            raise

    def _read_image(self, one: Field, text: str) -> InputImage | None:
        """Return the image that `file:PATH` or `run:REF[0]` names; None for any other text."""
        kind, _, rest = text.partition(":")
        if not one.type.takes_images or not rest or kind not in {"file", "run"}:
            return None
        if one.type is FieldType.IMAGEUPLOAD and pattern_in(text) is not None:
            if not self._is_sweep:
                raise several_values(one, f"{rest} may name several files")
            raise FieldError(f"{one.where}: {rest} may name several files; type the pattern itself: file:{rest}")
        try:
            return open_input(rest) if kind == "file" else self._open_run(rest)
        except (ImageError, RefError):
            if one.type is FieldType.UNKNOWN:  # a prompt may begin with `file:`
                return None
            raise

    def _check_not_a_file(self, one: Field, text: str, *, typed: bool) -> None:
        """Check that a text is not the bare path of an image file on this machine, which only `file:PATH` uploads.

        Raises
        ------
        FieldError
            If it is, and the server does not list an image of that name.
        """
        if one.type is FieldType.IMAGEUPLOAD:
            is_candidate = text != one.default and text not in one.options
        else:  # the field may not be an image; a typed value is always text
            is_candidate = one.type is FieldType.UNKNOWN and not typed and text.lower().endswith(tuple(IMAGE_SUFFIXES))
        if is_candidate and not text.startswith(("file:", "run:")) and names_files(text):
            quoted = "" if typed else f'; "{text}" in quotes is submitted as typed'
            raise FieldError(
                f"{one.where}: {shown(text)} is a file on this machine, not on the server. Did you mean file:{text}? "
                f"That uploads your file{quoted}"
            )

    # -- several values ----------------------------------------------------------------------------------------------

    def values(self, one: Field, written: Written) -> list[Any]:
        """Return the values of one list item: several for a range, or for a pattern of several files."""
        item = self.open(one, written)
        if one.is_multiple or not isinstance(item, Item):
            return [self.value(one, item)]
        if isinstance(item.value, str) and not (item.value or item.quoted or item.typed or item.exact):
            tip = '; an empty text is written ""' if one.type in {FieldType.STRING, FieldType.UNKNOWN} else ""
            raise FieldError(f"{one.where}: the value is empty{tip}")
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
        return [self.value(one, item)] if pattern is None else list(open_images(pattern))

    def single(self, one: Field, written: Written) -> Any:
        """Return the one value of a label or a preset.

        Raises
        ------
        FieldError
            If it is a range, or a pattern of several files.
        """
        values = self.values(one, written)
        if len(values) > 1:
            kind = "a pattern of files" if isinstance(values[0], InputImage) else "a range"
            raise FieldError(f"{one.where}: one value is expected here, not {kind}")
        return values[0]

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

    # -- the kinds of an item ----------------------------------------------------------------------------------------

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

    def range_in(self, one: Field, item: Item) -> str | None:
        """Return the text of a range, for a number field also of an invalid one; None for any other item."""
        text = self._expanded_text(item)
        if text is None:
            return None
        if one.type.is_number:
            return text if ".." in text else None
        is_plain = one.type is FieldType.UNKNOWN and not item.quoted and not item.typed
        return text if is_plain and is_range(text) else None

    def pattern_in(self, one: Field, item: Item) -> str | None:
        """Return the pattern of `file:refs/*.jpg`; if the type is unknown, only one that matches a file."""
        text = self._expanded_text(item) if one.type.takes_images else None
        pattern = None if text is None else pattern_in(text)
        if pattern is None or (one.type is FieldType.UNKNOWN and not any(glob.iglob(pattern, recursive=True))):  # noqa: PTH207 - as in `open_images`
            return None
        return pattern

    def seed_word(self, one: Field, item: Item) -> str | None:
        """Return `random`, `random#N` or `each` of a seed field; None for any other item."""
        text = self._expanded_text(item) if one.is_seed else None
        if text is None or not _SEED_WORD.fullmatch(text):
            return None
        # in a field of unknown type, quotes make it text (strings of a payload always have quotes)
        return text if one.type.is_number or (one.type is FieldType.UNKNOWN and not item.quoted) else None

    def _expanded_text(self, item: Item) -> str | None:
        if not isinstance(item.value, str) or item.exact:
            return None
        return expand_text(item.value, self.namespace)


def several_values(one: Field, problem: str) -> FieldError:
    """Return the error of several values in a run."""
    return FieldError(f"{one.where}: {problem}, but a run takes one value; %comflowy sweep takes several")


def _no_runs(ref: str) -> InputImage:
    raise RefError(f"run:{ref}: images of runs are not available here")


def _is_several(one: Field, text: str) -> bool:
    """Return True if an invalid value of a field is a range or a list of valid values."""
    if one.type in {FieldType.STRING, FieldType.IMAGEUPLOAD}:
        return False
    items = split_items(text)
    if items == [text]:
        return one.type.is_number and is_range(text)
    try:
        for item in items:
            if not (one.type.is_number and is_range(item)):
                one.read(item)
    except FieldError:
        return False
    return all(items)
