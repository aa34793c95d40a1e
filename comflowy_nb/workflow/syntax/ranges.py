"""Ranges of numbers as they are written: `a..b`, `a..b..step`, `a..b#n`, in exact decimal arithmetic."""

from __future__ import annotations

import re
from fractions import Fraction

__all__ = ["LARGEST_AXIS", "has_range", "is_number", "is_range", "looks_like_range", "read_range", "split_items"]

LARGEST_AXIS = 10_000  # values: far beyond what a grid shows or a person looks at, and no burden for memory
_NUMBER_PATTERN = r"[+-]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_NUMBER = re.compile(_NUMBER_PATTERN)
_RANGE = re.compile(rf"{_NUMBER_PATTERN}\.\.{_NUMBER_PATTERN}(?:\.\.{_NUMBER_PATTERN}|#[0-9]+)?")
_WHOLE = re.compile(r"[+-]?[0-9]+")
_DIGITS = 400  # a double reaches from 5e-324 to 2e308: longer numbers are no values, and costly to reckon with


def is_number(text: str) -> bool:
    """Return whether a text is a number in the notation of ranges."""
    return _NUMBER.fullmatch(text) is not None


def is_range(text: str) -> bool:
    """Return whether a text is `a..b`, `a..b..step` or `a..b#n`."""
    return _RANGE.fullmatch(text) is not None


def has_range(text: str) -> bool:
    """Return whether a text is a range, or a list of numbers and ranges with at least one range."""
    items = split_items(text)
    return any(map(is_range, items)) and all(is_range(item) or is_number(item) for item in items)


def split_items(text: str) -> list[str]:
    """Split a text at commas and `||`, without brackets around the text and quotes around the items."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    return [item.strip().strip("\"'") for item in re.split(r"\|\||,", bare)]


def looks_like_range(text: str) -> bool:
    """Return whether a text in place of a number is meant as a range, valid or not."""
    return ".." in text


def read_range(text: str, *, whole: bool = False) -> list[float]:
    """Return the values of a range.

    Parameters
    ----------
    text
        `a..b`, with the step 1 if both ends are whole numbers; `a..b..step`, whose step is negative where it goes
        down; `a..b#n`, n values evenly from a to b. An end that the steps don't hit is left out.
    whole
        Whether only whole numbers will do (a field of type INT).

    Returns
    -------
    The values in their order, each the double nearest to its decimal value; all of them ints if ends, step and values
    are whole numbers.

    Raises
    ------
    ValueError
        If it is none; the text shows it and says why, and what to write instead.
    """
    body, number_sign, count = text.partition("#")
    ends = [part.strip() for part in body.split("..")]
    if len(ends) not in {2, 3} or (number_sign and len(ends) == 3):
        raise ValueError(f"{text!r} is not a range; use a..b, a..b..step or a..b#n")
    numbers = [_read(part, text, whole=whole) for part in ends]
    if number_sign:
        values = _evenly(text, numbers[0], numbers[1], count.strip(), whole=whole)
    else:
        values = _by_steps(text, numbers)
    if all(map(_is_whole, (*values, *numbers))):
        return [int(value) for value in values]
    try:
        return [float(value) for value in values]
    except OverflowError:
        raise ValueError(f"{text!r} holds a number that is too large") from None


def _read(part: str, text: str, *, whole: bool) -> Fraction:
    if not _NUMBER.fullmatch(part):
        missing = "an end is missing" if not part else f"{part!r} is not a number"
        raise ValueError(f"{text!r} is not a range: {missing}")
    mantissa, _, exponent = part.lower().partition("e")
    if len(mantissa) > _DIGITS or len(exponent) > len(str(_DIGITS)) + 1 or abs(int(exponent or 0)) > _DIGITS:
        raise ValueError(f"{text!r} is not a range: a number in it is too large or too small")
    number = Fraction(part)
    if whole and not _WHOLE.fullmatch(part):
        raise ValueError(f"{text!r}: {part} is not a whole number")
    return number


def _by_steps(text: str, numbers: list[Fraction]) -> list[Fraction]:
    first, last = numbers[:2]
    if len(numbers) == 3:
        step = numbers[2]
    elif _is_whole(first) and _is_whole(last):
        step = Fraction(1)
    else:
        raise ValueError(f"{text!r} needs a step, because its ends are not both whole numbers: {text}..0.5")
    if not step:
        raise ValueError(f"{text!r} has the step 0; use another step")
    if (last - first) * step < 0:
        body = "..".join(text.split("..")[:2])
        if step > 0:
            down = f"{body}..-{_bare(text, numbers)}"
            raise ValueError(f"{text!r} goes down and needs a negative step: {down}")
        raise ValueError(f"{text!r} goes up and needs a positive step: {body}..{_bare(text, numbers).lstrip('-')}")
    count = (last - first) // step + 1
    _check_count(text, count)
    return [first + index * step for index in range(count)]


def _evenly(text: str, first: Fraction, last: Fraction, count_text: str, *, whole: bool) -> list[Fraction]:
    if not re.fullmatch(r"[0-9]{1,20}", count_text):
        raise ValueError(f"{text!r} is not a range: write the number of values after #")
    count = int(count_text)
    if count < 2:
        raise ValueError(f"{text!r}: #{count} is too few, a range has at least 2 values: its ends")
    _check_count(text, count)
    if first == last:
        raise ValueError(f"{text!r}: both ends are the same, so its {count} values would be equal")
    step = (last - first) / (count - 1)
    values = [first + index * step for index in range(count)]
    if whole:
        odd = next((value for value in values if not _is_whole(value)), None)
        if odd is not None:
            raise ValueError(f"{text!r}: {float(odd):.6g}, one of its {count} values, is not a whole number")
    return values


def _check_count(text: str, count: int) -> None:
    if count > LARGEST_AXIS:
        raise ValueError(f"{text!r} has {count:,} values; an axis has at most {LARGEST_AXIS:,}")


def _bare(text: str, numbers: list[Fraction]) -> str:
    return text.split("..")[2].lstrip("+") if len(numbers) == 3 else "1"


def _is_whole(number: Fraction) -> bool:
    return number.denominator == 1
