"""The axes of an exploration, and the positions of cells and runs on them."""

from __future__ import annotations

import pytest

from comflowy_nb.errors import RefError
from comflowy_nb.exploration.exploration import Exploration
from comflowy_nb.workflow.axes.types import Axis, AxisValue


def names(exploration):
    return [(axis.name, axis.kind) for axis in exploration.axes]


def labels(exploration, name):
    return [position.label for position in exploration.axis(name).values]


def values_of(exploration, entry):
    """Return the labels of an entry by the labels of the axes."""
    pairs = zip(exploration.axes, entry.at, strict=False)
    return {axis.label: axis.values[index].label for axis, index in pairs}


def test_the_axes_of_a_sweep_keep_their_order_and_that_of_their_values(make_sweep, axis):
    sweep = make_sweep(axis("3::cfg", 8, 4), axis("3::sampler_name", "euler", "heun"), fixed={"3::seed": 7})
    exploration = Exploration([sweep])
    assert names(exploration) == [("3::cfg", "number"), ("3::sampler_name", "list")]
    assert labels(exploration, "cfg") == ["8", "4"]
    assert [entry.at for entry in exploration.entries] == [cell.at for cell in sweep.cells]
    assert exploration.entries[1].caption == "cfg 8, sampler_name heun, seed 7"


def test_labels_are_those_of_the_user_and_texts_are_complete(make_sweep, axis):
    sweep = make_sweep(axis("6::text", day="a valley at noon", night="a valley at midnight"))
    positions = Exploration([sweep]).axis("text").values
    assert [(position.label, position.text) for position in positions] == [
        ("day", "day: a valley at noon"),
        ("night", "night: a valley at midnight"),
    ]


def test_long_texts_with_the_same_beginning_have_different_labels(make_sweep, axis):
    prompts = [f"beautiful scenery nature glass bottle landscape, {word}" for word in ("stars", "rain")]
    positions = Exploration([make_sweep(axis("6::text", *prompts))]).axis("6::text").values
    assert [position.text for position in positions] == prompts
    assert [position.label[:2] for position in positions] == ["A:", "B:"]


def test_generated_seeds_are_numbered_and_their_text_is_the_seed(make_sweep):
    seeds = Axis("3::seed", "seeds", ("3::seed",), (AxisValue({}, "1"), AxisValue({}, "2")))
    sweep = make_sweep(seeds)
    axis = Exploration([sweep]).axis("seed")
    assert [position.label for position in axis.values] == ["1", "2"]
    assert [position.text for position in axis.values] == [str(cell.params["3::seed"]) for cell in sweep.cells]


def test_several_sweeps_share_their_axes(make_sweep, axis):
    """A sweep with one value for a field that is an axis of another sweep has the index of that value on the axis."""
    first = make_sweep(axis("3::cfg", 8, 4), axis("3::steps", 10, 20), key="one")
    second = make_sweep(axis("3::cfg", 4, 6), fixed={"3::steps": 20}, key="two")
    exploration = Exploration([first, second])
    assert names(exploration) == [("sweep", "list"), ("3::cfg", "number"), ("3::steps", "number")]
    assert labels(exploration, "cfg") == ["4", "6", "8"]
    assert labels(exploration, "steps") == ["10", "20"]
    assert values_of(exploration, exploration.entries[0]) == {"sweep": "s1", "cfg": "8", "steps": "10"}
    assert values_of(exploration, exploration.entries[-1]) == {"sweep": "s2", "cfg": "6", "steps": "20"}
    for entry in exploration.entries:
        assert f"{entry.params['3::cfg']:g}" == values_of(exploration, entry)["cfg"]


def test_a_sweep_that_does_not_set_the_field_of_another_has_a_separate_position(make_sweep, axis):
    first = make_sweep(axis("3::cfg", 4, 8), axis("3::steps", 10, 20), key="one")
    second = make_sweep(axis("3::cfg", 4, 8), key="two")
    exploration = Exploration([first, second])
    assert labels(exploration, "steps") == ["10", "20", "(not set)"]
    assert values_of(exploration, exploration.entries[-1]) == {"sweep": "s2", "cfg": "8", "steps": "(not set)"}


def test_runs_have_the_fields_as_axes_in_which_they_differ(library, stored):
    for cfg, steps in ((8, 10), (4, 10), (4, 20)):
        stored(f"{cfg}-{steps}", params={"3::cfg": cfg, "3::steps": steps, "6::text": "bottle"})
    runs = [library.run(record) for record in library.history.recent(3)]
    exploration = Exploration(runs)
    assert names(exploration) == [("3::cfg", "number"), ("3::steps", "number")]
    assert labels(exploration, "cfg") == ["4", "8"]
    assert exploration.at((1, 1)) is None, "no cell has this combination"
    assert exploration.at((1, 0)).source.params["3::cfg"] == 8


def test_equal_runs_get_an_axis_of_repeats(library, stored):
    for key, cfg in (("a", 4), ("b", 4), ("c", 8)):
        stored(key, params={"3::cfg": cfg})
    exploration = Exploration([library.run(record) for record in library.history.recent(3)])
    assert [axis.role for axis in exploration.axes] == ["field", "repeat"]
    assert len({entry.at for entry in exploration.entries}) == 3


def test_runs_that_differ_in_many_fields_are_one_axis(library, stored):
    for number in range(3):
        stored(f"k{number}", params={f"3::field{index}": number for index in range(7)})
    exploration = Exploration([library.run(record) for record in library.history.recent(3)])
    assert names(exploration) == [("run", "list")]
    assert labels(exploration, "run") == ["r3", "r2", "r1"]


def test_a_field_called_image_is_not_the_axis_of_the_images(make_sweep, axis):
    from PIL import Image

    two = lambda _: [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]  # noqa: E731 - a short test double
    sweep = make_sweep(axis("10::image", "a.png", "b.png"), images=two)
    exploration = Exploration([sweep])
    assert [(axis.name, axis.role) for axis in exploration.axes] == [("10::image", "field"), ("image", "image")]
    assert exploration.axis("image").role == "image"
    assert len(exploration.entries[0].at) == 1, "the place of a cell has no index of an image"


def test_an_unknown_axis_is_named_with_the_known_ones(make_sweep, axis):
    exploration = Exploration([make_sweep(axis("3::cfg", 4, 8), axis("3::steps", 1, 2))])
    with pytest.raises(RefError, match=r"'cgf' is not an axis here; the axes are cfg, steps\. Did you mean cfg\?"):
        exploration.axis("cgf")
