"""Fields: the settable inputs of a node in ComfyUI's terms, and how one value is parsed and checked by its type.

A field is named by its id `NodeId::name`, split at the first `::`: ids of nodes may contain colons.
"""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeGuard

from comflowy_nb.errors import FieldError
from comflowy_nb.workflow.images import InputImage
from comflowy_nb.workflow.syntax.json_values import as_json, plain, read_untyped, rounded, shown, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["WRAPPED", "Field", "FieldType", "is_finite", "nearest", "split_id"]

_WHOLE = re.compile(r"[+-]?[0-9]+")
_FLOAT = re.compile(r"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_MIN_SIMILARITY = 0.6  # the default cutoff of difflib.get_close_matches
WRAPPED = "__value__"  # ComfyUI takes a plain list for a link; a list of values stands in a mapping with this key
_MAX_NUMBER_LENGTH = 40  # characters of a number among options
_MAX_LISTED_OPTIONS = 8  # in an error; a service lists dozens


class FieldType(StrEnum):
    """The types of a field. CHOICE is ComfyUI's list of options in either of its forms."""

    INT = "INT"
    FLOAT = "FLOAT"
    BOOLEAN = "BOOLEAN"
    STRING = "STRING"
    CHOICE = "CHOICE"
    IMAGEUPLOAD = "IMAGEUPLOAD"
    UNKNOWN = "UNKNOWN"

    @property
    def is_number(self) -> bool:
        return self in {FieldType.INT, FieldType.FLOAT}

    @property
    def takes_images(self) -> bool:
        """Return True if a value may be an image; of a field of unknown type nothing is known."""
        return self in {FieldType.IMAGEUPLOAD, FieldType.UNKNOWN}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of one node: its type, its options or range, its default.

    `extra` holds the options of the description that have no meaning here (`control_after_generate` ...), so that
    `spec()` gives back all that came in.
    """

    id: str
    type: FieldType = FieldType.UNKNOWN
    options: tuple[Any, ...] = ()
    default: Any = None
    min: float | None = None
    max: float | None = None
    step: float | None = None
    round: float | bool | None = None
    multiline: bool = False
    node_title: str | None = None
    class_type: str | None = None
    tooltip: str | None = None
    label_on: str | None = None
    label_off: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def node(self) -> str:
        return split_id(self.id)[0]

    @property
    def name(self) -> str:
        return split_id(self.id)[1]

    @property
    def is_seed(self) -> bool:
        """Return whether `random` is a word here: the name contains `seed`."""
        return "seed" in self.name.lower()

    @property
    def where(self) -> str:
        """Return the field as an error names it: `node 3 (KSampler), cfg`."""
        title = self.node_title or self.class_type
        return f"node {self.node} ({title}), {self.name}" if title else f"node {self.node}, {self.name}"

    @property
    def takes_any_option(self) -> bool:
        """Return a choice whose options only the service knows (`remote`)."""
        return self.type is FieldType.CHOICE and not self.options and "remote" in self.extra

    @property
    def separator(self) -> str | None:
        """Return the separator of the values of a sweep, `||` or `,`; None if both are possible."""
        return _RULES[self.type].separator

    @property
    def is_multiple(self) -> bool:
        """Return a choice of several options at once: its value is a list."""
        flags = (self.extra.get("multiselect"), self.extra.get("multi_select"))
        return self.type is FieldType.CHOICE and any(one is not None and one is not False for one in flags)

    def read(self, text: str) -> Any:
        """Return the value of a text by this field's type; the text of the default returns the default unchanged.

        Parameters
        ----------
        text
            As typed, without quotes. STRING and IMAGEUPLOAD take it verbatim; INT `[+-]?digits`; FLOAT a JSON number
            or `.5`, never nan or inf; BOOLEAN true or false in any case; a choice the option whose text it equals;
            UNKNOWN a JSON number, `true`, `false`, `null`, valid JSON that begins with `[` or `{`, else the text.

        Raises
        ------
        FieldError
            If the text is invalid for the type, or the value is out of range.
        """
        is_own = self.default is not None and text == text_of(self.default)
        if is_own and self.type is FieldType.STRING:
            return self.default  # a number or a list where a text is meant
        try:
            return _RULES[self.type].parse(self, text)
        except FieldError:
            if is_own:
                return self.default
            raise

    def check(self, value: object) -> Any:
        """Return a Python or JSON value as it is sent: of this field's type, one of its options, within its range.

        The default passes whatever it is: a graph may hold a value of another type, and the service may take it.

        Parameters
        ----------
        value
            A JSON value, a number of numpy's, or a `InputImage` (IMAGEUPLOAD and UNKNOWN). A number becomes text
            for STRING, a whole float an integer for INT.

        Raises
        ------
        FieldError
            If it is none of that.
        """
        value = plain(value)
        if self.type is FieldType.STRING and self.holds(value):
            return self.default
        try:
            return _RULES[self.type].check(self, value)
        except FieldError:
            if self.holds(value):
                return self.default
            raise

    def holds(self, value: object) -> bool:
        """Return whether a value is the default, which is what the workflow holds."""
        if self.default is None or (type(value) is not type(self.default) and not _are_numbers(value, self.default)):
            return False
        return bool(value == self.default)

    def problem(self, value: object) -> str | None:
        """Return why a value does not fit this field, even if the workflow holds it; None if it fits."""
        try:
            _RULES[self.type].check(self, plain(value))
        except FieldError as error:
            return str(error)
        return None


def split_id(field_id: str) -> tuple[str, str]:
    """Split a field id into node and name, at the first `::`.

    Raises
    ------
    FieldError
        If it isn't `NodeId::name`.
    """
    node, colons, name = field_id.partition("::")
    if not (colons and node and name):
        raise FieldError(f"{field_id!r} is not a field id like 3::cfg")
    return node, name


def nearest(word: str, words: Iterable[str], n: int = 3) -> list[str]:
    """Return at most `n` of `words` similar to `word`, the most similar first, without regard to case."""
    known = list(dict.fromkeys(words))
    lower = word.lower()
    matcher = difflib.SequenceMatcher(b=lower)
    scores: dict[str, float] = {}
    for one in known:
        matcher.set_seq1(one.lower())
        begins = len(lower) > 1 and one.lower().startswith(lower)
        # the two quick ratios are upper bounds: most of a long list ends at them
        if begins or (matcher.real_quick_ratio() >= _MIN_SIMILARITY and matcher.quick_ratio() >= _MIN_SIMILARITY):
            score = matcher.ratio()
            if begins or score >= _MIN_SIMILARITY:
                scores[one] = score
    return sorted(scores, key=lambda one: (-scores[one], known.index(one)))[:n]


# -- parsing and checking by type ----------------------------------------------------------------------------------


def _parse_int(one: Field, text: str) -> Any:
    if not _WHOLE.fullmatch(text):
        raise _invalid(one, text, "is not a whole number")
    return _in_range(one, _whole(one, text))


def _parse_float(one: Field, text: str) -> Any:
    if not _FLOAT.fullmatch(text):
        raise _invalid(one, text, "is not a number")
    return _check_float(one, _whole(one, text) if _WHOLE.fullmatch(text) else float(text))


def _parse_boolean(one: Field, text: str) -> Any:
    if text.lower() not in {"true", "false"}:
        raise _invalid(one, text, "is not true or false")
    return text.lower() == "true"


def _parse_unknown(one: Field, text: str) -> Any:
    try:
        return read_untyped(text)
    except ValueError as error:
        raise FieldError(f"{one.where}: {error}") from None


def _parse_text(_one: Field, text: str) -> Any:
    return text


def _check_int(one: Field, value: object) -> Any:
    if not _is_number(value) or not (isinstance(value, int) or value.is_integer()):
        raise _invalid(one, value, "is not a whole number")
    return _in_range(one, int(value))


def _check_float(one: Field, value: object) -> Any:
    if not _is_number(value) or (isinstance(value, float) and not math.isfinite(value)):
        raise _invalid(one, value, "is not a number")
    return _in_range(one, _as_float(value))


def _check_boolean(one: Field, value: object) -> Any:
    if not isinstance(value, bool):
        raise _invalid(one, value, "is not true or false")
    return value


def _check_string(one: Field, value: object) -> Any:
    if _is_number(value):
        return str(value)
    if not isinstance(value, str):
        raise _invalid(one, value, "is not a text")
    return value


def _check_image(one: Field, value: object) -> Any:
    if not isinstance(value, (str, InputImage)):
        raise _invalid(one, value, "is neither an image nor the name or address of one")
    return value


def _check_unknown(one: Field, value: object) -> Any:
    if isinstance(value, InputImage):
        return value
    try:
        return as_json(value)
    except ValueError as error:
        raise _invalid(one, value, str(error)) from None


def _check_choice(one: Field, value: object) -> Any:
    if not one.is_multiple:
        return _choose(one, value)
    if isinstance(value, dict) and set(value) == {WRAPPED}:
        value = value[WRAPPED]
    chosen = list(value) if isinstance(value, (list, tuple, set)) else [value]
    return {WRAPPED: [_choose(one, plain(item)) for item in chosen]}


@dataclass(frozen=True, slots=True)
class _Rules:
    """How values of one type are parsed from text, checked, and separated in a sweep."""

    parse: Callable[[Field, str], Any]
    check: Callable[[Field, object], Any]
    separator: str | None


_RULES = {
    FieldType.INT: _Rules(_parse_int, _check_int, ","),
    FieldType.FLOAT: _Rules(_parse_float, _check_float, ","),
    FieldType.BOOLEAN: _Rules(_parse_boolean, _check_boolean, ","),
    FieldType.CHOICE: _Rules(Field.check, _check_choice, ","),
    FieldType.STRING: _Rules(_parse_text, _check_string, "||"),
    FieldType.IMAGEUPLOAD: _Rules(_parse_text, _check_image, "||"),
    FieldType.UNKNOWN: _Rules(_parse_unknown, _check_unknown, None),
}


def _invalid(one: Field, value: object, why: str) -> FieldError:
    return FieldError(f"{one.where}: {shown(value)} {why}")


def _whole(one: Field, text: str) -> int:
    try:
        return int(text)
    except ValueError:  # Python reads at most 4300 digits
        raise FieldError(f"{one.where}: a number of {len(text)} digits is too large") from None


def _in_range(one: Field, value: float) -> float:
    if one.min is not None and value < one.min:
        tip = f"; {one.name}=random generates a seed" if one.is_seed else ""
        raise FieldError(f"{one.where}: {_number(value)} is below {_number(one.min)}, the smallest it may be{tip}")
    if one.max is not None and value > one.max:
        raise FieldError(f"{one.where}: {_number(value)} is above {_number(one.max)}, the largest it may be")
    return value


def _choose(one: Field, value: object) -> Any:
    """Return the option that equals a value, with the value's own type if there are several."""
    text = text_of(value)
    equal = [option for option in one.options if text in {text_of(option), str(option)}]
    if not equal and (number := _number_of(value)) is not None:  # 2 and 2.0 are one option
        equal = [option for option in one.options if number == _number_of(option, is_typed=False)]
    if equal:
        return next((option for option in equal if type(option) is type(value)), equal[0])
    if one.takes_any_option and isinstance(value, str):
        return value
    if not one.options:
        raise _invalid(one, value, "can't be chosen: the service offers no options here")
    texts = [text_of(option) for option in one.options]
    listed = ", ".join(texts[:_MAX_LISTED_OPTIONS]) + (", ..." if len(texts) > _MAX_LISTED_OPTIONS else "")
    near = nearest(text, texts)
    tip = f"; nearest: {', '.join(near)}" if near else ""
    raise FieldError(f"{one.where}: {shown(value)} is not one of {listed}{tip}")


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_finite(value: object) -> TypeGuard[int | float]:
    return _is_number(value) and (isinstance(value, int) or math.isfinite(value))


def _are_numbers(one: object, other: object) -> bool:
    return _is_number(one) and _is_number(other)


def _number_of(value: object, *, is_typed: bool = True) -> float | None:
    """Return a value, or the number that a text means if `is_typed`, as a number of at most 12 digits."""
    if is_typed and isinstance(value, str) and len(value) <= _MAX_NUMBER_LENGTH and _FLOAT.fullmatch(value):
        value = float(value)
    number = rounded(value)
    return number if is_finite(number) else None


def _as_float(value: Any) -> float:
    """Return a float, but a whole number where a float would change it."""
    try:
        number = float(value)
    except OverflowError:
        return int(value)
    return number if number == value else int(value)


def _number(value: float) -> str:
    return str(int(value)) if isinstance(value, int) or value.is_integer() else str(value)
