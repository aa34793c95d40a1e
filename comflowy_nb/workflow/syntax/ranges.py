"""Parse ranges of numbers, `a..b`, `a..b..step` and `a..b#n`, in exact decimal arithmetic."""

from __future__ import annotations

import re
from fractions import Fraction

LARGEST_AXIS = 10_000  # values of an axis: far more than a grid can show
_NUMBER_PATTERN = r"[+-]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_NUMBER = re.compile(_NUMBER_PATTERN)
_RANGE = re.compile(rf"{_NUMBER_PATTERN}\.\.{_NUMBER_PATTERN}(?:\.\.{_NUMBER_PATTERN}|#[0-9]+)?")
_WHOLE = re.compile(r"[+-]?[0-9]+")
_DASHED = re.compile(rf"({_NUMBER_PATTERN})\s*[-\u2013]\s*({_NUMBER_PATTERN})")  # U+2013 is the en dash
_MAX_DIGITS = 400  # doubles go from 5e-324 to 2e308; arithmetic with longer numbers is slow


def is_number(text: str) -> bool:
    """Return True if a text is a number in the notation of ranges."""
    return _NUMBER.fullmatch(text) is not None


def read_number(text: str) -> float:
    """Return the value of a text that `is_number`: an int, of any size, for a whole number without a point."""
    return int(text) if len(text) <= _MAX_DIGITS and _WHOLE.fullmatch(text) else float(text)


def is_range(text: str) -> bool:
    """Return True if a text is `a..b`, `a..b..step` or `a..b#n`."""
    return _RANGE.fullmatch(text) is not None


def has_range(text: str) -> bool:
    """Return True if a text is a range, or a list of numbers and ranges with at least one range."""
    items = split_items(text)
    return any(map(is_range, items)) and all(is_range(item) or is_number(item) for item in items)


def range_for_dash(text: str, *, whole: bool) -> str | None:
    """Return the range that a text such as `1-4` may mean, here `1..4`; None for other texts."""
    dashed = _DASHED.fullmatch(text)
    if dashed is None:
        return None
    first, last = dashed.groups()
    for range_text in (f"{first}..{last}", f"{first}..{last}..-1", f"{first}..{last}#5"):
        try:
            values = read_range(range_text, whole=whole)
        except ValueError:
            continue
        return range_text if len(values) > 1 else None
    return None


def split_items(text: str) -> list[str]:
    """Split a text at commas and `||`. Brackets around the text and quotes around the items are removed."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    return [item.strip().strip("\"'") for item in re.split(r"\|\||,", bare)]


def read_range(text: str, *, whole: bool = False) -> list[float]:
    """Return the values of a range.

    Parameters
    ----------
    text
        `a..b` has the step 1, if both ends are whole numbers. `a..b..step` has a negative step for a descending range.
        `a..b#n` is n evenly spaced values from a to b. `b` is left out if no step reaches it.
    whole
        Whether to allow only whole numbers, for a field of type INT.

    Returns
    -------
    The values in order: ints if ends, step and values are whole numbers, else the nearest doubles.

    Raises
    ------
    ValueError
        If the text is not a valid range. The message contains the reason, and what to write instead.
    """
    body, number_sign, count = text.partition("#")
    ends = [part.strip() for part in body.split("..")]
    if len(ends) not in {2, 3} or (number_sign and len(ends) == 3):
        raise ValueError(f"{text!r} is not a range; use a..b, a..b..step or a..b#n")
    numbers = [_read_number(part, text, whole=whole) for part in ends]
    if number_sign:
        values = _evenly_spaced(text, numbers[0], numbers[1], count.strip(), whole=whole)
    else:
        values = _by_steps(text, numbers)
    if all(map(_is_whole, (*values, *numbers))):
        return [int(value) for value in values]
    try:
        return [float(value) for value in values]
    except OverflowError:
        raise ValueError(f"{text!r} contains a number that is too large") from None


def _read_number(part: str, text: str, *, whole: bool) -> Fraction:
    if not _NUMBER.fullmatch(part):
        reason = f"{part!r} is not a number" if part else "an end is missing; write it as 4..8"
        raise ValueError(f"{text!r} is not a range: {reason}")
    mantissa, _, exponent = part.lower().partition("e")
    if len(mantissa) > _MAX_DIGITS or len(exponent) > 4 or abs(int(exponent or 0)) > _MAX_DIGITS:
        raise ValueError(f"{text!r} is not a range: a number in it is too large or too small")
    if whole and not _WHOLE.fullmatch(part):
        raise ValueError(f"{text!r}: {part} is not a whole number")
    return Fraction(part)


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
        start, end, size = (*text.split(".."), "1")[:3]
        direction, sign, minus = ("descending", "negative", "-") if step > 0 else ("ascending", "positive", "")
        correct = f"{start}..{end}..{minus}{size.lstrip('+-')}"
        raise ValueError(f"{text!r} is {direction} and needs a {sign} step: {correct}")
    count = (last - first) // step + 1
    _check_count(text, count)
    return [first + index * step for index in range(count)]


def _evenly_spaced(text: str, first: Fraction, last: Fraction, count_text: str, *, whole: bool) -> list[Fraction]:
    if not re.fullmatch(r"[0-9]{1,20}", count_text):
        raise ValueError(f"{text!r} is not a range: write the number of values after #")
    count = int(count_text)
    if count < 2:
        raise ValueError(f"{text!r}: a range has at least 2 values: use #2 or more")
    _check_count(text, count)
    if first == last:
        raise ValueError(f"{text!r}: both ends are the same, so its {count} values would be equal")
    step = (last - first) / (count - 1)
    values = [first + index * step for index in range(count)]
    if whole:
        fraction = next((value for value in values if not _is_whole(value)), None)
        if fraction is not None:
            raise ValueError(f"{text!r}: {float(fraction):.6g}, one of its {count} values, is not a whole number")
    return values


def _check_count(text: str, count: int) -> None:
    if count > LARGEST_AXIS:
        raise ValueError(f"{text!r} has {count:,} values; an axis has at most {LARGEST_AXIS:,}")


def _is_whole(number: Fraction) -> bool:
    return number.denominator == 1
