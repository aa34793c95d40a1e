"""Fields: the inputs of nodes that can be set. Parse and check values by the type of their field.

A field id is `NodeId::name`, split at the first `::`, because node ids may contain single colons.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import FieldError, nearest_tip
from comflowy_nb.workflow.images import InputImage
from comflowy_nb.workflow.syntax.json_values import (
    WRAPPED,
    as_json,
    is_finite,
    is_number,
    listed,
    plain,
    read_untyped,
    round_computed,
    shown,
    text_of,
    unwrap,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


_INT = re.compile(r"[+-]?[0-9]+")
_FLOAT = re.compile(r"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_MAX_OPTION_DIGITS = 40  # maximum length of an option that is compared as a number
_MAX_LISTED_OPTIONS = 8  # in an error


class FieldType(StrEnum):
    """The type of a field. CHOICE is ComfyUI's list of options, in either of its forms."""

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
    def takes_texts(self) -> bool:
        """Whether a value may be any text."""
        return self in {FieldType.STRING, FieldType.UNKNOWN}

    @property
    def takes_images(self) -> bool:
        """Whether a value may be an image."""
        return self in {FieldType.IMAGEUPLOAD, FieldType.UNKNOWN}


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a node, as described by the service, the editor's console or the graph.

    Parameters
    ----------
    id : str
        `NodeId::name`.
    type : FieldType
        The type; UNKNOWN without a description.
    options : tuple
        The options of a choice, in the service's order.
    default : object
        The value in the workflow; None if unknown.
    min, max : float or None
        The range of a number, inclusive; None without a limit.
    step : float or None
        The step of the control of a number, above 0.
    round : float, bool or None
        ComfyUI's rounding of a number. It is not applied here.
    multiline : bool
        Whether a text may have several lines.
    node_title, class_type : str or None
        Title and class of the node.
    tooltip : str or None
        The help text of the service.
    label_on, label_off : str or None
        The texts of a BOOLEAN control.
    extra : mapping
        Entries of the description that this package does not use, such as `control_after_generate`. They are kept so
        that `write_field` returns the complete description.

    Examples
    --------
    >>> cfg = Field("3::cfg", FieldType.FLOAT, default=8.0, min=0, max=100)
    >>> cfg.read("7.5")
    7.5
    >>> cfg.where
    'node 3, cfg'
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
        """The node id."""
        return split_id(self.id)[0]

    @property
    def name(self) -> str:
        """The name within the node."""
        return split_id(self.id)[1]

    @property
    def is_seed(self) -> bool:
        """Whether the name contains `seed`, so that seed words such as `random` are valid."""
        return "seed" in self.name.lower()

    @property
    def where(self) -> str:
        """The field as text for errors: `node 3 (KSampler), cfg`."""
        title = self.node_title or self.class_type
        return f"node {self.node} ({title}), {self.name}" if title else f"node {self.node}, {self.name}"

    @property
    def takes_any_option(self) -> bool:
        """Whether the field is a choice whose options only the service knows (`remote`)."""
        return self.type is FieldType.CHOICE and not self.options and "remote" in self.extra

    @property
    def separator(self) -> str | None:
        """The separator of several values in a sweep, `||` or `,`; None if both are possible."""
        if self.type is FieldType.UNKNOWN:
            return None
        return "||" if self.type in {FieldType.STRING, FieldType.IMAGEUPLOAD} else ","

    @property
    def is_multiple(self) -> bool:
        """Whether several options can be chosen at once, so that the value is a list."""
        flags = (self.extra.get("multiselect"), self.extra.get("multi_select"))
        return self.type is FieldType.CHOICE and any(flag not in (None, False) for flag in flags)

    def read(self, text: str) -> Any:
        """Parse a text by the type of this field.

        The text of the default returns the default unchanged, for any type.

        Parameters
        ----------
        text : str
            The text as typed, without quotes. STRING and IMAGEUPLOAD accept any text; INT accepts `[+-]?digits`; FLOAT
            accepts a JSON number or `.5`; BOOLEAN accepts `true` or `false` in any case; a choice accepts the text of
            an option. UNKNOWN parses a JSON number, `true`, `false`, `null`, and valid JSON that begins with `[` or
            `{`; any other text is the value itself.

        Returns
        -------
        object
            A value that can be submitted.

        Raises
        ------
        FieldError
            If the text is invalid for the type, or the value is out of range.

        Examples
        --------
        >>> Field("3::steps", FieldType.INT).read("20")
        20
        """
        is_default = self.default is not None and text == text_of(self.default)
        return self._convert(lambda: _check(self, _parse(self, text)), is_default=is_default)

    def check(self, value: object) -> Any:
        """Check a Python or JSON value by type, range and options, and convert it for submission.

        The default is always valid, because a graph may contain a value of another type that the service accepts.

        Parameters
        ----------
        value : object
            A JSON value, a NumPy number, or an `InputImage` (IMAGEUPLOAD and UNKNOWN only). A number becomes text for
            STRING, a whole float becomes an integer for INT.

        Returns
        -------
        object
            A value that can be submitted.

        Raises
        ------
        FieldError
            If the value has another type, is out of range or is not an option.

        Examples
        --------
        >>> Field("3::steps", FieldType.INT).check(20.0)
        20
        """
        value = plain(value)
        return self._convert(lambda: _check(self, value), is_default=self.holds(value))

    def _convert(self, convert: Callable[[], Any], *, is_default: bool) -> Any:
        """Return the result of `convert`; for the default, the default itself if it is of another type."""
        if is_default and self.type is FieldType.STRING:
            return self.default  # a number or a list
        try:
            return convert()
        except FieldError:
            if is_default:
                return self.default
            raise

    def holds(self, value: object) -> bool:
        """Return whether a value equals the default.

        Parameters
        ----------
        value : object
            A JSON value.

        Returns
        -------
        bool
            True if the value is equal and has the same type. An integer and an equal float have the same type here.
        """
        is_same_type = type(value) is type(self.default) or (is_number(value) and is_number(self.default))
        try:
            return self.default is not None and is_same_type and bool(value == self.default)
        except ValueError:  # a list with an array in it
            return False

    def problem(self, value: object) -> str | None:
        """Return why a value is invalid for this field, even if it is the default.

        Parameters
        ----------
        value : object
            As for `check`.

        Returns
        -------
        str or None
            The problem in one sentence; None if the value is valid.
        """
        try:
            _check(self, plain(value))
        except FieldError as error:
            return str(error)
        return None


def split_id(field_id: str) -> tuple[str, str]:
    """Split a field id into node id and name, at the first `::`.

    Raises
    ------
    FieldError
        If the text is not of the form `NodeId::name`.
    """
    node, colons, name = field_id.partition("::")
    if not (colons and node and name):
        raise FieldError(f"{field_id!r} is not a field id like 3::cfg")
    return node, name


# -- parsing and checking by type ----------------------------------------------------------------------------------


def _parse(field: Field, text: str) -> Any:
    """Parse a text by the type of a field. Return other texts unchanged, so that `_check` rejects them."""
    if not text and (field.type.is_number or field.type is FieldType.BOOLEAN):
        raise FieldError(f"{field.where} has no value; type {field.name}={'7' if field.type.is_number else 'true'}")
    match field.type:
        case FieldType.INT | FieldType.FLOAT if (_INT if field.type is FieldType.INT else _FLOAT).fullmatch(text):
            try:
                return int(text) if _INT.fullmatch(text) else float(text)
            except ValueError:  # Python reads at most 4300 digits
                raise FieldError(f"{field.where}: a number of {len(text)} digits is too large") from None
        case FieldType.BOOLEAN:
            return {"true": True, "false": False}.get(text.lower(), text)
        case FieldType.UNKNOWN:
            try:
                return read_untyped(text)
            except ValueError as error:
                raise FieldError(f"{field.where}: {error}") from None
    return text


def _check(field: Field, value: Any) -> Any:
    """Check a value by the type of its field, and convert it for submission."""
    match field.type:
        case FieldType.INT | FieldType.FLOAT:
            return _check_number(field, value)
        case FieldType.CHOICE:
            return _check_choice(field, value)
        case FieldType.UNKNOWN:
            try:
                return value if isinstance(value, InputImage) else as_json(value)
            except ValueError as error:
                raise _invalid(field, value, str(error)) from None
        case FieldType.STRING if is_number(value):
            return str(value)
        case FieldType.STRING if not isinstance(value, str):
            raise _invalid(field, value, "is not a text")
        case FieldType.BOOLEAN if not isinstance(value, bool):
            raise _invalid(field, value, "is not true or false")
        case FieldType.IMAGEUPLOAD if not isinstance(value, (str, InputImage)):
            raise _invalid(field, value, "is not an image: use a file, a URL, a PIL image, an array or r.images[0]")
    return value


def _check_number(field: Field, value: object) -> float:
    is_int = field.type is FieldType.INT
    if not is_finite(value) or (is_int and value != int(value)):
        raise _invalid(field, value, "is not a whole number" if is_int else "is not a number")
    number = int(value) if is_int else _as_float(value)
    if field.min is not None and number < field.min:
        tip = f"; {field.name}=random generates a seed" if field.is_seed else ""
        raise FieldError(f"{field.where}: {_number_text(number)} is below {_number_text(field.min)}, the minimum{tip}")
    if field.max is not None and number > field.max:
        raise FieldError(f"{field.where}: {_number_text(number)} is above {_number_text(field.max)}, the maximum")
    return number


def _check_choice(field: Field, value: Any) -> Any:
    if not field.is_multiple:
        return _choose(field, value)
    value = unwrap(value)
    chosen = list(value) if isinstance(value, (list, tuple, set)) else [value]
    return {WRAPPED: [_choose(field, plain(item)) for item in chosen]}


def _invalid(field: Field, value: object, problem: str) -> FieldError:
    if isinstance(value, str) and value.lower().startswith("random") and field.is_seed and field.type.is_number:
        tip = "use random; in a sweep also each or random#N, as in random#4"
        return FieldError(f"{field.where}: invalid seed {shown(value)}: {tip}")
    return FieldError(f"{field.where}: {shown(value)} {problem}")


def _choose(field: Field, value: object) -> Any:
    """Return the option that equals a value. If there are several, prefer the option of the value's own type."""
    text = text_of(value)
    equal = [option for option in field.options if text in {text_of(option), str(option)}]
    if not equal and (number := _number_in(value)) is not None:  # 2 and 2.0 are the same option
        equal = [option for option in field.options if not isinstance(option, str) and number == _number_in(option)]
    if equal:
        return next((option for option in equal if type(option) is type(value)), equal[0])
    if field.takes_any_option and isinstance(value, str):
        return value
    if not field.options:
        raise _invalid(field, value, "can't be chosen: the service offers no options here")
    texts = [text_of(option) for option in field.options]
    tip = nearest_tip(text, texts)
    raise FieldError(f"{field.where}: {shown(value)} is not one of {listed(texts, _MAX_LISTED_OPTIONS)}{tip}")


def _number_in(value: object) -> float | None:
    """Return a number, or the number in a text, rounded; None for other values."""
    if isinstance(value, str) and len(value) <= _MAX_OPTION_DIGITS and _FLOAT.fullmatch(value):
        value = float(value)
    number = round_computed(value)
    return number if is_finite(number) else None


def _as_float(value: float) -> float:
    """Return a number as a float, or as an integer if a float can't represent it."""
    try:
        number = float(value)
    except OverflowError:
        return int(value)
    return number if number == value else int(value)


def _number_text(value: float) -> str:
    """Return the text of a number. A whole float has no fraction."""
    return str(int(value) if value == int(value) else value)
