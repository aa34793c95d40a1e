"""Conversion to JSON: values of untyped text, and Python values as builtin types."""

from __future__ import annotations

import json
import math
import numbers
import re
from typing import Any, NoReturn

__all__ = [
    "MAX_DEPTH",
    "TOO_DEEP",
    "as_json",
    "is_too_deep",
    "plain",
    "read_json_number",
    "read_untyped",
    "rounded",
    "shown",
    "text_of",
]

MAX_DEPTH = 64  # lists and objects within each other; code that handles values is recursive
TOO_DEEP = f"too many brackets are nested, more than {MAX_DEPTH} deep"

_DIGITS = 12  # significant digits of a computed float: doubles hold 15 to 17, and arithmetic spoils the last few

_WHOLE = re.compile(r"-?[0-9]+")
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


def plain(value: object) -> object:
    """Convert NumPy scalars and str and number enums to builtin types."""
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


def rounded(value: object) -> object:
    """Round a float that Python code computed to 12 significant digits: 0.1 + 0.2 is 0.3.

    Whole numbers and all other values stay as they are. A float of fewer bits (`numpy.float32`) has the digits that
    its own text shows.
    """
    dtype = getattr(value, "dtype", None)
    if getattr(value, "shape", None) == () and getattr(dtype, "kind", None) == "f" and dtype.itemsize < 8:  # type: ignore[union-attr]
        value = float(str(value))
    number = plain(value)
    if not isinstance(number, float) or not math.isfinite(number) or number.is_integer():
        return value
    return float(f"{number:.{_DIGITS}g}")


def read_json_number(text: str) -> float | None:
    """Return the number that a text is in JSON, whole numbers exactly; None if it is none.

    Raises
    ------
    ValueError
        If it is one that no double holds, or of too many digits.
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
    """Return the value of an unquoted text of unknown type.

    A JSON number, `true`, `false`, `null`, valid JSON that begins with `[` or `{`; everything else is text.

    Raises
    ------
    ValueError
        If it is a number too large to be one, or JSON that is nested too deep.
    """
    number = read_json_number(text)
    if number is not None:
        return number
    if text in {"true", "false", "null"}:
        return {"true": True, "false": False, "null": None}[text]
    if text[:1] in {"[", "{"}:
        try:
            found = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
        except (ValueError, RecursionError):
            return text
        if is_too_deep(found):
            raise ValueError(f"{shown(text)}: {TOO_DEEP}; quote it to submit it as text")
        return found
    return text


def is_too_deep(value: object) -> bool:
    """Return whether lists and objects are nested more than `MAX_DEPTH` deep."""
    level = [value]
    for _ in range(MAX_DEPTH):
        inner = [
            one.values() if isinstance(one, dict) else one for one in level if isinstance(one, (dict, list, tuple))
        ]
        if not inner:
            return False
        level = [item for items in inner for item in items]
    return any(isinstance(one, (dict, list, tuple)) for one in level)


def as_json(value: object, depth: int = 0) -> Any:
    """Return a JSON value made of Python's own types.

    Parameters
    ----------
    depth
        How many lists and objects the value is in.

    Raises
    ------
    ValueError
        If it can't be submitted as JSON.
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
    """Return the text of an option: itself, or its JSON."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value["__value__"] if isinstance(value, dict) and set(value) == {"__value__"} else value)
    except (TypeError, ValueError):
        return str(value)


def shown(value: object, limit: int = 60) -> str:
    """Return a value as an error shows it: its repr, cut short."""
    is_plain = isinstance(value, (str, int, float, list, tuple, dict, type(None))) and not is_too_deep(value)
    text = repr(value) if is_plain else type(value).__name__
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text} is too large")
    return number
