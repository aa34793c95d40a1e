"""Fields: what can be set on a node, in ComfyUI's own terms, and the reading and checking of one value by its type.

A field is named by its id `NodeId::name`, split at the first `::`: the ids of nodes may hold colons themselves.
"""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NoReturn, TypeGuard

from comflowy_nb.errors import FieldError
from comflowy_nb.workflow.images import InputImage
from comflowy_nb.workflow.syntax.json_values import as_json, plain, read_untyped, rounded, shown, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["WRAPPED", "Field", "FieldType", "nearest", "read_field", "read_untyped", "split_id"]

_WHOLE = re.compile(r"[+-]?[0-9]+")
_FLOAT = re.compile(r"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_NEAR = 0.6  # difflib's own bound for a word that may have been meant
WRAPPED = "__value__"  # ComfyUI takes a plain list for a link; a list of values stands in a mapping with this key
_LONGEST_NUMBER = 40  # characters of a number among options
_LISTED = 8  # options named in an error; a service lists dozens


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
        """Whether `random` is a word here: the name contains `seed`."""
        return "seed" in self.name.lower()

    @property
    def where(self) -> str:
        """The field as an error names it: `node 3 (KSampler), cfg`."""
        title = self.node_title or self.class_type
        return f"node {self.node} ({title}), {self.name}" if title else f"node {self.node}, {self.name}"

    @property
    def takes_any_option(self) -> bool:
        """A choice whose options only the service knows (`remote`)."""
        return self.type is FieldType.CHOICE and not self.options and "remote" in self.extra

    @property
    def is_multiple(self) -> bool:
        """A choice of several options at once: its value is a list."""
        given = (self.extra.get("multiselect"), self.extra.get("multi_select"))
        return self.type is FieldType.CHOICE and any(one is not None and one is not False for one in given)

    def read(self, text: str) -> Any:
        """The value that a text means for this field's type; or the default, which the workflow holds, as it is.

        Parameters
        ----------
        text
            As typed, without quotes. STRING and IMAGEUPLOAD take it verbatim; INT `[+-]?digits`; FLOAT a JSON number
            or `.5`, never nan or inf; BOOLEAN true or false in any case; a choice the option whose text it equals;
            UNKNOWN a JSON number, `true`, `false`, `null`, valid JSON that begins with `[` or `{`, else the text.

        Raises
        ------
        FieldError
            If the text means nothing here, or a value out of range.
        """
        is_own = self.default is not None and text == text_of(self.default)
        if is_own and self.type is FieldType.STRING:
            return self.default  # a number or a list where a text is meant
        try:
            return self._read(text)
        except FieldError:
            if is_own:
                return self.default
            raise

    def _read(self, text: str) -> Any:
        match self.type:
            case FieldType.INT:
                if not _WHOLE.fullmatch(text):
                    self._refuse(text, "is not a whole number")
                return self._check(self._whole(text))
            case FieldType.FLOAT:
                if not _FLOAT.fullmatch(text):
                    self._refuse(text, "is not a number")
                return self._check(self._whole(text) if _WHOLE.fullmatch(text) else float(text))
            case FieldType.BOOLEAN:
                if text.lower() not in {"true", "false"}:
                    self._refuse(text, "is not true or false")
                return text.lower() == "true"
            case FieldType.CHOICE:
                return self.check(text)
            case FieldType.UNKNOWN:
                try:
                    return read_untyped(text)
                except ValueError as error:
                    raise FieldError(f"{self.where}: {error}") from None
            case _:
                return text

    def check(self, value: object) -> Any:
        """A Python or JSON value as it is sent: of this field's type, one of its options, within its range.

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
            return self._check(value)
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
            self._check(plain(value))
        except FieldError as error:
            return str(error)
        return None

    def _check(self, value: object) -> Any:
        match self.type:
            case FieldType.INT:
                return self._check_int(value)
            case FieldType.FLOAT:
                return self._check_float(value)
            case FieldType.CHOICE if self.is_multiple:
                return self._select(value)
            case FieldType.CHOICE:
                return self._choose(value)
            case FieldType.UNKNOWN if not isinstance(value, InputImage):
                try:
                    return as_json(value)
                except ValueError as error:
                    self._refuse(value, str(error))
            case FieldType.STRING if _is_number(value):
                return str(value)
        kinds, why = _KINDS[self.type]
        if not isinstance(value, kinds):
            self._refuse(value, why)
        return value

    def _check_int(self, value: object) -> float:
        if not _is_number(value) or not (isinstance(value, int) or value.is_integer()):
            self._refuse(value, "is not a whole number")
        return self._in_range(int(value))

    def _check_float(self, value: object) -> float:
        if not _is_number(value) or (isinstance(value, float) and not math.isfinite(value)):
            self._refuse(value, "is not a number")
        return self._in_range(_as_float(value))

    def spec(self) -> list[Any]:
        """The field in ComfyUI's own form: `["FLOAT", {"default": 8.0, ...}]`, `[["euler", ...], {...}]`."""
        known = {
            "default": self.default,
            "min": self.min,
            "max": self.max,
            "step": self.step,
            "round": self.round,
            "multiline": self.multiline or None,
            "tooltip": self.tooltip,
            "label_on": self.label_on,
            "label_off": self.label_off,
        }
        given = {name: value for name, value in known.items() if value is not None} | dict(self.extra)
        kind: Any = self.type.value
        if self.type is FieldType.CHOICE or (self.type is FieldType.IMAGEUPLOAD and self.options):
            kind = "COMBO" if self.takes_any_option else list(self.options)
        if self.type is FieldType.IMAGEUPLOAD and self.options:
            given["image_upload"] = True
        return [kind, given]

    def _whole(self, text: str) -> int:
        try:
            return int(text)
        except ValueError:  # Python reads at most 4300 digits
            raise FieldError(f"{self.where}: a number of {len(text)} digits is too large") from None

    def _in_range(self, value: float) -> float:
        if self.min is not None and value < self.min:
            tip = f"; {self.name}=random generates a seed" if self.is_seed else ""
            low = f"{_number(self.min)}, the smallest it may be"
            raise FieldError(f"{self.where}: {_number(value)} is below {low}{tip}")
        if self.max is not None and value > self.max:
            raise FieldError(f"{self.where}: {_number(value)} is above {_number(self.max)}, the largest it may be")
        return value

    def _choose(self, value: object) -> Any:
        text = text_of(value)
        same = [option for option in self.options if text in {text_of(option), str(option)}]
        if not same and (number := _number_of(value)) is not None:  # 2 and 2.0 are one option
            same = [option for option in self.options if number == _number_of(option, is_typed=False)]
        if same:
            return next((option for option in same if type(option) is type(value)), same[0])
        return self._choose_unlisted(value, text)

    def _select(self, value: object) -> dict[str, list[Any]]:
        """Several of the options, in the form in which ComfyUI takes a list; one alone is a list of it."""
        if isinstance(value, dict) and set(value) == {WRAPPED}:
            value = value[WRAPPED]
        chosen = list(value) if isinstance(value, (list, tuple, set)) else [value]
        return {WRAPPED: [self._choose(plain(one)) for one in chosen]}

    def _choose_unlisted(self, value: object, text: str) -> str:
        if self.takes_any_option and isinstance(value, str):
            return value
        if not self.options:
            self._refuse(value, "can't be chosen: the service offers no options here")
        texts = [text_of(option) for option in self.options]
        listed = ", ".join(texts[:_LISTED]) + (", ..." if len(texts) > _LISTED else "")
        near = nearest(text, texts)
        tip = f"; nearest: {', '.join(near)}" if near else ""
        raise FieldError(f"{self.where}: {shown(value)} is not one of {listed}{tip}")

    def _refuse(self, value: object, why: str) -> NoReturn:
        raise FieldError(f"{self.where}: {shown(value)} {why}")


_KINDS: dict[FieldType, tuple[type | tuple[type, ...], str]] = {
    FieldType.BOOLEAN: (bool, "is not true or false"),
    FieldType.STRING: (str, "is not a text"),
    FieldType.IMAGEUPLOAD: ((str, InputImage), "is neither an image nor the name or address of one"),
    FieldType.UNKNOWN: (InputImage, "can't be sent"),
}


def split_id(field_id: str) -> tuple[str, str]:
    """Node and name of a field id, split at the first `::`.

    Raises
    ------
    FieldError
        If it isn't `NodeId::name`.
    """
    node, colons, name = field_id.partition("::")
    if not (colons and node and name):
        raise FieldError(f"{field_id!r} is not a field id like 3::cfg")
    return node, name


def read_field(field_id: str, spec: object, *, node_title: str | None = None, class_type: str | None = None) -> Field:
    """A field from ComfyUI's description of an input.

    Parameters
    ----------
    field_id
        `NodeId::name`.
    spec
        `["INT", {...}]`, `["STRING"]`, `[["euler", "heun"], {...}]`, `["COMBO", {"options": [...]}]`,
        `["IMAGEUPLOAD", ...]`, or any of the choice forms with `{"image_upload": true}`. Types unknown here
        (`MODEL` ...) make a field of type UNKNOWN, and so do options that are not a list. An option `[name, {...}]`
        brings widgets along: the choice is the name. Ends of a range that are not numbers, or contradict each other,
        and steps that are not above 0 stay in `extra` and are not used.

    Raises
    ------
    FieldError
        If the id or the description is neither of these.
    """
    split_id(field_id)
    if isinstance(spec, str):  # ComfyUI writes hidden inputs so
        spec = [spec]
    if not isinstance(spec, (list, tuple)) or not spec or not isinstance(spec[0], (str, list, tuple)):
        raise FieldError(f'{field_id}: {shown(spec)} is not a description like ["FLOAT", {{"default": 8.0}}]')
    kind = spec[0]
    given: dict[str, Any] = dict(spec[1]) if len(spec) > 1 and isinstance(spec[1], dict) else {}
    type_, options = _type_and_options(kind, given)
    if given.get("image_upload") is True:
        given.pop("image_upload")
        type_ = FieldType.IMAGEUPLOAD

    def text(name: str) -> str | None:
        return given.pop(name) if isinstance(given.get(name), str) else None

    return Field(
        field_id,
        type_,
        options,
        **_usable(given),
        round=given.pop("round") if isinstance(given.get("round"), (bool, int, float)) else None,
        multiline=given.pop("multiline", False) is True,
        node_title=" ".join(node_title.split()) if node_title is not None else None,
        class_type=class_type,
        tooltip=text("tooltip"),
        label_on=text("label_on"),
        label_off=text("label_off"),
        extra=given,
    )


def _type_and_options(kind: str | Sequence[Any], given: dict[str, Any]) -> tuple[FieldType, tuple[Any, ...]]:
    """The type that a description names, and the choices, which are taken out of `given`."""
    listed: Any = kind
    if isinstance(kind, str):
        word = kind.upper()
        if word != "COMBO":
            known = word in FieldType.__members__ and word != "CHOICE"
            return FieldType(word) if known else FieldType.UNKNOWN, ()
        listed = given.get("options")
        if listed is not None and not isinstance(listed, (list, tuple)):
            return FieldType.UNKNOWN, ()
        given.pop("options", None)
    options = tuple(map(_option_of, listed or ()))
    return FieldType.CHOICE, tuple(one for one in options if not isinstance(one, float) or math.isfinite(one))


def _usable(given: dict[str, Any]) -> dict[str, Any]:
    """Default, range and step, taken out of `given`; what can't be used is None, and stays there."""
    found = {name: given.get(name) for name in ("default", "min", "max", "step")}
    if isinstance(found["default"], float) and not math.isfinite(found["default"]):
        found["default"] = None
    for name in ("min", "max", "step"):
        found[name] = found[name] if _is_finite(found[name]) else None
    if found["min"] is not None and found["max"] is not None and found["min"] > found["max"]:
        found["min"] = found["max"] = None
    if found["step"] is not None and found["step"] <= 0:
        found["step"] = None
    for name, value in found.items():
        if value is not None or given.get(name) is None:
            given.pop(name, None)
    return found


def nearest(word: str, words: Iterable[str], n: int = 3) -> list[str]:
    """Those of `words` that `word` may have been meant for, the nearest first, at most `n`; case does not count."""
    known = list(dict.fromkeys(words))
    lower = word.lower()
    matcher = difflib.SequenceMatcher(b=lower)
    scores: dict[str, float] = {}
    for one in known:
        matcher.set_seq1(one.lower())
        begins = len(lower) > 1 and one.lower().startswith(lower)
        # the two quick ratios are upper bounds: most of a long list ends at them
        if begins or (matcher.real_quick_ratio() >= _NEAR and matcher.quick_ratio() >= _NEAR):
            score = matcher.ratio()
            if begins or score >= _NEAR:
                scores[one] = score
    return sorted(scores, key=lambda one: (-scores[one], known.index(one)))[:n]


def _option_of(option: object) -> object:
    """The choice that a listed option is: of `[name, {widgets}]` the name."""
    named = isinstance(option, (list, tuple)) and len(option) > 1 and isinstance(option[0], str)
    return option[0] if named else option  # type: ignore[index]  # a list, as asked


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_finite(value: object) -> TypeGuard[int | float]:
    return _is_number(value) and (isinstance(value, int) or math.isfinite(value))


def _are_numbers(one: object, other: object) -> bool:
    return _is_number(one) and _is_number(other)


def _number_of(value: object, *, is_typed: bool = True) -> float | None:
    """The number that a value is, or, if it may be typed, that a text means; to 12 digits, as Python objects have."""
    if is_typed and isinstance(value, str) and len(value) <= _LONGEST_NUMBER and _FLOAT.fullmatch(value):
        value = float(value)
    number = rounded(value)
    return number if _is_finite(number) else None


def _as_float(value: Any) -> float:
    """A float, but a whole number where a float would change it."""
    try:
        number = float(value)
    except OverflowError:
        return int(value)
    return number if number == value else int(value)


def _number(value: float) -> str:
    return str(int(value)) if isinstance(value, int) or value.is_integer() else str(value)
