"""Narrow the values of a number field around one of them. Pure."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

from comflowy_nb.errors import FieldError
from comflowy_nb.workflow.fields import FieldType
from comflowy_nb.workflow.syntax.json_values import is_finite

if TYPE_CHECKING:
    from collections.abc import Iterable

    from comflowy_nb.workflow.fields import Field


_SHARE = Fraction(1, 10)  # distance of the new values, as a share of a value without neighbours


def narrow(center: float, values: Iterable[float], field: Field) -> list[float]:
    """Return three values: the center, and the values at half the distance to its neighbours.

    At an end of the axis, both sides use the distance to the only neighbour. Without neighbours, the distance is a
    tenth of the center, rounded to 1, 2 or 5 times a power of ten. The distances are multiples of the step of the
    field (of 1 for whole numbers), and the values are within its limits.

    Parameters
    ----------
    center
        The value in the middle.
    values
        The values of the axis, in any order.
    field
        Defines type, range and step.

    Returns
    -------
    list of float
        The values in ascending order; whole numbers for an INT.

    Raises
    ------
    FieldError
        If no value is possible on one side. The message is the reason, without the field: `it is the maximum`.

    Examples
    --------
    >>> cfg = Field("3::cfg", FieldType.FLOAT, min=0, max=100)
    >>> narrow(6.0, [4.0, 6.0, 8.0], cfg)
    [5.0, 6.0, 7.0]
    >>> narrow(20, [20, 30], Field("3::steps", FieldType.INT))
    [15, 20, 25]
    """
    known = [value for value in values if is_finite(value)]
    is_whole = field.type is FieldType.INT or (
        not field.type.is_number and all(isinstance(value, int) for value in (center, *known))
    )
    middle, step = _exact(center), _step_of(field, is_whole=is_whole)
    others = [_exact(value) for value in known]
    below = max((value for value in others if value < middle), default=None)
    above = min((value for value in others if value > middle), default=None)
    down = None if below is None else middle - below
    up = None if above is None else above - middle
    is_alone = down is None and up is None
    usual = 2 * _usual_distance(middle, field) if is_alone else Fraction(0)
    found = [center]
    for sign, distance, limit in ((-1, down or up or usual, field.min), (1, up or down or usual, field.max)):
        room = None if limit is None else sign * (_exact(limit) - middle)
        if room is not None and room <= 0:
            raise FieldError(f"it is the {'minimum' if sign < 0 else 'maximum'}")
        offset = _offset(distance, step, room, is_alone=is_alone)
        value = _number(middle + sign * offset, is_whole=is_whole)
        if not offset or value == center:
            raise FieldError("no value is between it and its neighbour")
        found.append(value)
    return sorted(found)


def _step_of(field: Field, *, is_whole: bool) -> Fraction | None:
    """Return the step of the values; None if any value is possible."""
    step = None if field.step is None or not is_finite(field.step) or field.step <= 0 else _exact(field.step)
    if not is_whole:
        return step
    return Fraction(max(1, math.ceil(step or 1)))


def _offset(distance: Fraction, step: Fraction | None, room: Fraction | None, *, is_alone: bool) -> Fraction:
    """Return half the distance, rounded down to a multiple of the step, and at most `room`."""
    half = distance / 2
    if step is None:
        return half if room is None else min(half, room)
    count = half // step
    if not count and (is_alone or distance > step):  # one step is less than the distance to the neighbour
        count = 1
    if room is not None:
        count = min(count, room // step)
    return count * step


def _usual_distance(middle: Fraction, field: Field) -> Fraction:
    """Return the distance of the new values from a value without neighbours."""
    size = abs(middle) * _SHARE
    if not size and field.min is not None and field.max is not None:
        size = (_exact(field.max) - _exact(field.min)) * _SHARE
    if not size:
        return Fraction(1)
    exponent = math.log10(size.numerator) - math.log10(size.denominator)  # float(size) may be 0
    power = Fraction(10) ** math.floor(exponent)
    rounds = [factor * power for factor in (1, 2, 5, 10)]
    return min(rounds, key=lambda distance: max(distance / size, size / distance))


def _exact(value: float) -> Fraction:
    """Return the exact decimal value of the shortest text of a number: 0.1 is 1/10."""
    return Fraction(value) if isinstance(value, int) else Fraction(repr(float(value)))


def _number(value: Fraction, *, is_whole: bool) -> float:
    return int(value) if is_whole else float(value)
