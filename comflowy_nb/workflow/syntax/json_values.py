"""Convert untyped text and Python objects to JSON values of builtin types."""

from __future__ import annotations

import json
import math
import numbers
import re
from typing import TYPE_CHECKING, Any, NoReturn, TypeGuard

if TYPE_CHECKING:
    from collections.abc import Sequence


WRAPPED = "__value__"  # ComfyUI reads a plain list as a link, so a list of values is in a mapping with this key
MAX_DEPTH = 64  # maximum nesting of lists and objects, because the code that handles values is recursive
TOO_DEEP = f"brackets are nested more than {MAX_DEPTH} deep"

_MAX_SHOWN_CHARS = 60
_COMPUTED_DIGITS = 12  # doubles have 15 to 17 significant digits, and the last ones contain rounding errors
_CONSTANTS = {"true": True, "false": False, "null": None}
_WHOLE = re.compile(r"-?[0-9]+")
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


def plain(value: object) -> object:
    """Convert NumPy scalars, and enums of texts or numbers, to builtin types."""
    if getattr(value, "shape", None) == () and callable(getattr(value, "item", None)):
        value = value.item()  # type: ignore[attr-defined]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    return value


def unwrap(value: Any) -> Any:
    """Return the list in ComfyUI's form of a list of values (`WRAPPED`); other values unchanged."""
    return value[WRAPPED] if isinstance(value, dict) and set(value) == {WRAPPED} else value


def is_number(value: object) -> TypeGuard[int | float]:
    """Return True for an integer or a float. A bool is not a number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_finite(value: object) -> TypeGuard[int | float]:
    """Return True for a finite number."""
    return is_number(value) and (isinstance(value, int) or math.isfinite(value))


def round_computed(value: object) -> object:
    """Round a float that Python code computed to 12 significant digits, so that 0.1 + 0.2 is 0.3.

    Whole numbers and all other values are returned unchanged. A float with fewer bits (`numpy.float32`) is rounded to
    the digits of its `str`.
    """
    dtype = getattr(value, "dtype", None)
    if getattr(value, "shape", None) == () and getattr(dtype, "kind", None) == "f" and dtype.itemsize < 8:  # type: ignore[union-attr]
        value = float(str(value))
    number = plain(value)
    if not isinstance(number, float) or not math.isfinite(number) or number.is_integer():
        return value
    return float(f"{number:.{_COMPUTED_DIGITS}g}")


def read_json_number(text: str) -> float | None:
    """Parse a JSON number. Whole numbers are exact. Return None for any other text.

    Raises
    ------
    ValueError
        If the number is too large for a double, or has too many digits.
    """
    if not _JSON_NUMBER.fullmatch(text):
        return None
    if _WHOLE.fullmatch(text):
        try:
            return int(text)
        except ValueError:
            raise ValueError(f"a number of {len(text)} digits is too large; quote it to send it as text") from None
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{shown(text)} is too large for a number; quote it to send it as text")
    return number


def read_untyped(text: str) -> Any:
    """Parse an unquoted text of unknown type.

    The value is a JSON number, `true`, `false`, `null`, or valid JSON that begins with `[` or `{`. Any other text is
    returned unchanged.

    Raises
    ------
    ValueError
        If a number is too large, or JSON is nested too deep.
    """
    number = read_json_number(text)
    if number is not None:
        return number
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[:1] not in {"[", "{"}:
        return text
    try:
        value = json.loads(text, parse_constant=_reject_constant, parse_float=read_json_number)
    except (ValueError, RecursionError):
        return text
    if is_too_deep(value):
        raise ValueError(f"{shown(text)}: {TOO_DEEP}; quote it to submit it as text")
    return value


def _reject_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def is_too_deep(value: object) -> bool:
    """Return True if lists and objects are nested more than `MAX_DEPTH` deep."""
    level = [value]
    for _ in range(MAX_DEPTH):
        nested = [value for value in level if isinstance(value, (dict, list, tuple))]
        if not nested:
            return False
        level = [item for value in nested for item in (value.values() if isinstance(value, dict) else value)]
    return any(isinstance(value, (dict, list, tuple)) for value in level)


def as_json(value: object, depth: int = 0) -> Any:
    """Convert a Python object to a JSON value of builtin types.

    Parameters
    ----------
    depth
        The number of lists and objects that contain the value.

    Raises
    ------
    ValueError
        If the object can't be converted to JSON. The message is written to follow the value.
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"can't be submitted: {TOO_DEEP}")
    value = plain(value)
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("is not a finite number")
        return value
    if isinstance(value, (list, tuple)):
        return [as_json(item, depth + 1) for item in value]
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("has a key that is not text")
        return {str(key): as_json(item, depth + 1) for key, item in value.items()}
    raise ValueError("can't be submitted as JSON")


def text_of(value: object) -> str:
    """Return an option as text: a text is unchanged, any other value is written as JSON."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(unwrap(value))
    except (TypeError, ValueError):
        return str(value)


def shown(value: object) -> str:
    """Return the repr of a value for an error, shortened to 60 characters."""
    is_plain = isinstance(value, (str, int, float, list, tuple, dict, type(None))) and not is_too_deep(value)
    text = repr(value) if is_plain else type(value).__name__
    return text if len(text) <= _MAX_SHOWN_CHARS else text[: _MAX_SHOWN_CHARS - 3] + "..."


def listed(texts: Sequence[str], limit: int) -> str:
    """Return the first texts of a list, and the number of the others, for an error."""
    more = len(texts) - limit
    return ", ".join(texts[:limit]) + (f" and {more} more" if more > 0 else "")
