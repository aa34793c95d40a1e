"""New values of an axis, around one of its values."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from comflowy_nb.errors import FieldError
from comflowy_nb.workflow.axes.narrow import narrow
from comflowy_nb.workflow.fields import Field, FieldType

INT, FLOAT, UNKNOWN = FieldType.INT, FieldType.FLOAT, FieldType.UNKNOWN


@pytest.mark.parametrize(
    ("center", "values", "options", "expected"),
    [
        (6.0, [4.0, 6.0, 8.0], {}, [5.0, 6.0, 7.0]),
        (8.0, [8.0, 4.0, 6.0], {}, [7.0, 8.0, 9.0]),  # typed in another order; the only neighbour is 6
        (7.0, [4.0, 7.0, 20.0], {}, [5.5, 7.0, 13.5]),
        (0.3, [0.1, 0.2, 0.3], {}, [0.25, 0.3, 0.35]),
        (0.9, [0.5, 0.9, 1.0], {"max": 1}, [0.7, 0.9, 0.95]),
        (0.9, [0.5, 0.9], {"max": 1, "min": 0}, [0.7, 0.9, 1.0]),
        (7.0, [6.0, 7.0, 8.0], {"step": 0.2}, [6.6, 7.0, 7.4]),
        (7.0, [6.0, 7.0, 8.0], {"step": 0.8}, [6.2, 7.0, 7.8]),
        (7.0, [7.0], {}, [6.5, 7.0, 7.5]),
        (4.0, [], {}, [3.5, 4.0, 4.5]),
        (8.0, [], {}, [7.0, 8.0, 9.0]),
        (0.0, [], {}, [-1.0, 0.0, 1.0]),
        (0.0, [], {"min": -1, "max": 1}, [-0.2, 0.0, 0.2]),
    ],
)
def test_values_of_a_float(center, values, options, expected):
    assert narrow(center, values, Field("3::cfg", FLOAT, **options)) == expected


@pytest.mark.parametrize(
    ("center", "values", "options", "expected"),
    [
        (20, [10, 20, 30], {}, [15, 20, 25]),
        (20, [20, 23], {}, [19, 20, 21]),
        (20, [20, 22], {}, [19, 20, 21]),
        (2, [2, 12], {"min": 1}, [1, 2, 7]),
        (512, [512, 1024], {"step": 8, "min": 16}, [256, 512, 768]),
        (512, [512, 530], {"step": 8, "min": 16}, [504, 512, 520]),
        (20, [], {}, [18, 20, 22]),
        (4, [], {}, [3, 4, 5]),
        (512, [], {"step": 8}, [464, 512, 560]),
    ],
)
def test_values_of_an_int_are_whole_numbers(center, values, options, expected):
    found = narrow(center, values, Field("3::steps", INT, **options))
    assert found == expected
    assert all(isinstance(value, int) for value in found)


def test_a_field_of_unknown_type_gets_whole_numbers_if_its_axis_has_only_whole_numbers():
    assert narrow(6, [2, 6, 10], Field("3::x", UNKNOWN)) == [4, 6, 8]
    assert narrow(6, [2.5, 6, 10], Field("3::x", UNKNOWN)) == [4.25, 6, 8.0]


@pytest.mark.parametrize(
    ("center", "values", "options", "reason"),
    [
        (1.0, [0.5, 1.0], {"max": 1}, "it is the maximum"),
        (0.0, [0.0, 1.0], {"min": 0}, "it is the minimum"),
        (7.0, [7.0, 7.1], {"step": 0.1}, "no value is between"),
        (7.0, [6.0, 7.0, 8.0], {"step": 0.5, "max": 7.2}, "no value is between"),
        (1.0, [1.0, 1.0 + 2**-52], {}, "no value is between"),
    ],
)
def test_a_value_without_room_has_a_reason(center, values, options, reason):
    with pytest.raises(FieldError, match=reason):
        narrow(center, values, Field("3::cfg", FLOAT, **options))


def test_adjacent_whole_numbers_have_no_value_between():
    with pytest.raises(FieldError, match="no value is between"):
        narrow(20, [19, 20, 21], Field("3::steps", INT))


def exact(value):
    return Fraction(repr(value)) if isinstance(value, float) else Fraction(value)


@st.composite
def axes(draw):
    """Return the values of an axis, one of them, and a field that accepts them."""
    is_int = draw(st.booleans())
    number = st.integers(-(2**40), 2**40) if is_int else st.floats(-1e9, 1e9, allow_nan=False).map(lambda x: x + 0.0)
    values = draw(st.lists(number, min_size=1, max_size=6, unique=True))
    low = draw(st.none() | number.filter(lambda limit: limit <= min(values)))
    high = draw(st.none() | number.filter(lambda limit: limit >= max(values)))
    step = draw(st.none() | st.sampled_from([0.01, 0.1, 0.25, 1, 8, 64]))
    return values, draw(st.sampled_from(values)), Field("3::x", INT if is_int else FLOAT, min=low, max=high, step=step)


@given(axes())
@example(([5e-324], 5e-324, Field("3::x", FLOAT)))
@example(([1e-310], 1e-310, Field("3::x", FLOAT)))
def test_narrowed_values_are_odd_centred_distinct_in_range_and_on_the_step(case):
    values, center, field = case
    try:
        found = narrow(center, values, field)
    except FieldError:
        found = [center]  # it stays fixed
    assert len(found) % 2 == 1
    assert found[len(found) // 2] == center
    assert found == sorted(set(found))
    for value in found:
        assert field.check(value) == value  # type and range
        assert isinstance(value, int) or field.type is FLOAT
        if field.step is not None:
            step = exact(field.step) if field.type is FLOAT else max(1, -(-exact(field.step) // 1))
            steps = (exact(value) - exact(center)) / step
            assert steps == round(steps) or float(exact(center) + round(steps) * step) == value
    below, above = [one for one in values if one < center], [one for one in values if one > center]
    assert not below or max(below) < found[0]
    assert not above or min(above) > found[-1]
    has_room = center not in {field.min, field.max} and field.type is FLOAT and field.step is None
    nearest = min((abs(one - center) for one in values if one != center), default=abs(center))
    assert len(found) == 3 or not has_room or nearest < 1e-6
