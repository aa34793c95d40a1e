"""Values on their way to JSON: what an untyped text means, and Python's values without their libraries' clothes."""

from __future__ import annotations

import json
import math
import numbers
import re
from typing import Any, NoReturn

__all__ = ["as_json", "plain", "read_json_number", "read_untyped", "rounded", "shown", "text_of"]

_DIGITS = 12  # significant digits of a computed float: doubles hold 15 to 17, and arithmetic spoils the last few

_WHOLE = re.compile(r"-?[0-9]+")
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


def plain(value: object) -> object:
    """A value without its library's clothes: numpy's scalars, enums of text or numbers become Python's own."""
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
    """The number that a text is in JSON, whole numbers exactly; None if it is none.

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
    """What an unquoted text means where the type is not known.

    A JSON number, `true`, `false`, `null`, valid JSON that begins with `[` or `{`; everything else is text.

    Raises
    ------
    ValueError
        If it is a number too large to be one.
    """
    number = read_json_number(text)
    if number is not None:
        return number
    if text in {"true", "false", "null"}:
        return {"true": True, "false": False, "null": None}[text]
    if text[:1] in {"[", "{"}:
        try:
            return json.loads(text, parse_constant=_no_constant, parse_float=_finite)
        except (ValueError, RecursionError):
            return text
    return text


def as_json(value: object) -> Any:
    """A JSON value made of Python's own types.

    Raises
    ------
    ValueError
        If it can't be sent as JSON.
    """
    value = plain(value)
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("is not a number that can be sent")
        return value
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("has keys that are not text")
        return {str(key): as_json(item) for key, item in value.items()}
    raise ValueError("can't be sent as JSON")


def text_of(value: object) -> str:
    """The text of an option: itself, or its JSON."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value["__value__"] if isinstance(value, dict) and set(value) == {"__value__"} else value)
    except (TypeError, ValueError):
        return str(value)


def shown(value: object, limit: int = 60) -> str:
    """A value as an error shows it: its repr, cut short."""
    text = repr(value) if isinstance(value, (str, int, float, list, tuple, dict, type(None))) else type(value).__name__
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text} is too large")
    return number
