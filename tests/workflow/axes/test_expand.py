from __future__ import annotations

import hashlib
import itertools
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comflowy_nb.errors import ImageError
from comflowy_nb.workflow.axes.expand import even_order, expand
from comflowy_nb.workflow.axes.read import count_axes, read_axes
from comflowy_nb.workflow.axes.types import axes_from_json, axes_to_json
from comflowy_nb.workflow.images import InputImage
from comflowy_nb.workflow.object_info import read_field
from comflowy_nb.workflow.syntax.body import read_body
from comflowy_nb.workflow.values import settings_from_mapping
from comflowy_nb.workflow.workflow import Workflow, canonical_json

FIELDS = {
    "3::seed": ["INT", {"min": 0, "max": 2**64 - 1}],
    "3::steps": ["INT", {}],
    "3::cfg": ["FLOAT", {}],
    "3::denoise": ["FLOAT", {}],
    "6::text": ["STRING", {}],
    "9::noise_seed": ["INT", {}],
}
WORKFLOW = Workflow(
    "w", "w", fields={key: read_field(key, spec) for key, spec in FIELDS.items()}, aliases={"prompt": "6::text"}
)


class Memory:
    """Store generated seeds, as the history does; a new seed is derived from its key."""

    def __init__(self, modulus=2**53):
        self.seeds = {}
        self.fields = {}
        self.modulus = modulus

    def __call__(self, key, fields):
        self.fields[key] = fields
        return self.seeds.setdefault(key, int(hashlib.sha256(key.encode()).hexdigest(), 16) % self.modulus)


def axes_of(params=None, **more):
    return read_axes(WORKFLOW, settings_from_mapping({**(params or {}), **more}))


def cells_of(axes, seeds=None, *, content="w", identity="sandbox"):
    return expand(axes, workflow_content=content, identity=identity, seed_of=seeds or Memory())


def seeds_of(cells, *fields):
    """Return the seeds by the values of some fields."""
    return {tuple(cell.params[field] for field in fields): cell.params["3::seed"] for cell in cells}


# -- cells ---------------------------------------------------------------------------------------------------------


def test_the_first_axis_varies_slowest():
    cells = cells_of(axes_of(cfg=[4, 8], steps=range(1, 4), prompt="a cat"))
    assert [(cell.number, cell.at) for cell in cells] == list(
        enumerate([(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)], 1)
    )
    assert cells[4].params == {"3::cfg": 8.0, "3::steps": 2, "6::text": "a cat"}
    assert cells[4].labels == {"cfg": "8", "steps": "2"}


def test_without_axes_there_is_one_cell():
    (cell,) = cells_of(axes_of(cfg=4, seed="random"))
    assert (cell.number, cell.at, set(cell.params)) == (1, (), {"3::cfg", "3::seed"})


def test_params_are_in_the_order_typed():
    for cell in cells_of(axes_of(seed="random", cfg=[4, 8], prompt="x", steps=[1, 2])):
        assert list(cell.params) == ["3::seed", "3::cfg", "6::text", "3::steps"]


def test_a_cell_combines_presets_and_replaced_words():
    cells = cells_of(
        axes_of(
            {
                "6::text": {
                    "in": "a day in the night",
                    "replace": {"day": ["day", "night"], "night": ["night", "day"]},
                },
                "look": {"soft": {"cfg": 4, "steps": 2}, "crisp": {"cfg": 8}},
            }
        )
    )
    assert [cell.params["6::text"] for cell in cells[::2]] == [
        "a day in the night",
        "a day in the day",
        "a night in the night",
        "a night in the day",
    ]
    assert cells[1].params == {"6::text": "a day in the night", "3::cfg": 8.0}
    assert cells[1].labels == {"day": "day", "night": "night", "look": "crisp"}


sizes = st.lists(st.integers(1, 5), min_size=1, max_size=4)


@given(sizes)
def test_every_combination_is_one_cell(shape):
    names = ["cfg", "steps", "denoise", "prompt"][: len(shape)]
    axes = axes_of(
        {
            name: [str(one) if name == "prompt" else one for one in range(size)]
            for name, size in zip(names, shape, strict=True)
        }
    )
    cells = cells_of(axes)
    assert axes.shape == tuple(shape)
    assert len(cells) == axes.count == math.prod(shape)
    assert len({canonical_json(cell.params) for cell in cells}) == len(cells)
    assert [cell.at for cell in cells] == list(itertools.product(*map(range, shape)))
    assert [cell.number for cell in cells] == list(range(1, len(cells) + 1))


# -- seeds ---------------------------------------------------------------------------------------------------------


def test_random_is_one_seed_for_the_whole_sweep():
    seeds = Memory()
    cells = cells_of(axes_of(cfg=[4, 8, 16], seed="random"), seeds)
    assert len({cell.params["3::seed"] for cell in cells}) == 1
    assert list(seeds.fields.values()) == [("3::seed",)]


def test_each_is_one_seed_per_cell():
    cells = cells_of(axes_of(cfg=[4, 8], steps=range(1, 6), seed="each"))
    assert len({cell.params["3::seed"] for cell in cells}) == 10


def test_random_n_is_the_same_seeds_along_the_other_axes():
    cells = cells_of(axes_of(cfg=[4, 8], seed="random#3"))
    assert [cell.params["3::seed"] for cell in cells[:3]] == [cell.params["3::seed"] for cell in cells[3:]]
    assert len({cell.params["3::seed"] for cell in cells}) == 3
    assert [cell.labels["seed"] for cell in cells] == ["1", "2", "3"] * 2


def test_equal_seeds_are_generated_again():
    seeds = Memory(modulus=8)
    cells = cells_of(axes_of(seed="random#4"), seeds)
    assert len({cell.params["3::seed"] for cell in cells}) == 4
    assert cells_of(axes_of(seed="random#4"), seeds) == cells


def test_fields_set_by_one_key_share_a_seed():
    one = Workflow("w", fields={f"{node}::seed": read_field(f"{node}::seed", ["INT", {}]) for node in "12"})
    for word in ("random", "each", "random#2"):
        axes = read_axes(one, settings_from_mapping({"all::seed": word}))
        for cell in cells_of(axes):
            assert cell.params["1::seed"] == cell.params["2::seed"]
    axes = read_axes(one, settings_from_mapping({"1::seed": "random", "2::seed": "random"}))
    (cell,) = cells_of(axes)
    assert cell.params["1::seed"] != cell.params["2::seed"]


values = st.lists(st.integers(0, 50), min_size=2, max_size=6, unique=True)


@given(values, values, st.sampled_from(["random", "each", "random#3"]), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_extending_an_axis_changes_no_seed(cfgs, steps, word, chance):
    seeds = Memory()
    grown = cells_of(axes_of(cfg=cfgs, steps=steps, seed=word), seeds)
    few = chance.sample(cfgs, 2)  # in another order too
    cells = cells_of(axes_of({"seed": word, "3::cfg": few, "steps": steps[:1] * 1 + steps[1:2]}), Memory())
    known = {(cell.params["3::cfg"], cell.params["3::steps"], cell.labels.get("seed")): cell.params for cell in grown}
    for cell in cells:
        at = (cell.params["3::cfg"], cell.params["3::steps"], cell.labels.get("seed"))
        assert cell.params == known[at]


def test_a_longer_axis_of_seeds_begins_with_the_earlier_seeds():
    few, more = cells_of(axes_of(seed="random#3")), cells_of(axes_of(seed="random#5"))
    assert [cell.params for cell in few] == [cell.params for cell in more[:3]]


def test_names_of_fields_and_labels_change_no_seed():
    first = cells_of(axes_of(prompt=["a", "b"], seed="each"))
    for again in (
        axes_of({"6::text": ["b", "a"]}, seed="each"),
        axes_of({"6::text": {"x": "a", "y": "b"}}, seed="each"),
    ):
        assert seeds_of(cells_of(again), "6::text") == seeds_of(first, "6::text")


def test_extending_a_preset_changes_no_seed():
    few = cells_of(axes_of({"look": {"a": {"cfg": 4}, "b": {"cfg": 5}}, "seed": "each"}))
    more = cells_of(axes_of({"look": {"c": {"steps": 9}, "b2": {"cfg": 5}, "a": {"cfg": 4}}, "seed": "each"}))
    known = [cell.params for cell in more]
    assert all(cell.params in known for cell in few)


def test_other_services_workflows_and_fixed_params_get_other_seeds():
    axes = axes_of(cfg=[4, 8], seed="random", steps=1)
    drawn = [cells_of(axes)[0].params["3::seed"]]
    drawn.append(cells_of(axes, identity="cloud")[0].params["3::seed"])
    drawn.append(cells_of(axes, content="other")[0].params["3::seed"])
    drawn.append(cells_of(axes_of(cfg=[4, 8], seed="random", steps=2))[0].params["3::seed"])
    drawn.append(cells_of(axes_of(cfg=[4, 8], seed="random", steps=[1]))[0].params["3::seed"])
    assert len(set(drawn)) == 5


def test_titles_of_a_graph_change_no_seed():
    node = {"class_type": "KSampler", "inputs": {"cfg": 4}}
    axes = axes_of(cfg=[4, 8], seed="each")
    first = cells_of(axes, content={"3": node})
    assert cells_of(axes, content={"3": node | {"_meta": {"title": "mine"}}}) == first
    assert cells_of(axes, content={"3": node | {"inputs": {"cfg": 5}}}) != first


def test_counted_runs_keep_their_seeds():
    seeds = Memory()
    first = cells_of(count_axes(WORKFLOW, [], 3), seeds)
    assert [cell.params for cell in cells_of(count_axes(WORKFLOW, [], 4), seeds)[:3]] == [cell.params for cell in first]


# -- order ---------------------------------------------------------------------------------------------------------


def _positions(shape):
    return list(itertools.product(*map(range, shape)))


@given(st.lists(st.integers(1, 9), max_size=4))
def test_the_order_contains_each_cell_once(shape):
    assert sorted(even_order(_positions(shape))) == list(range(math.prod(shape)))


@given(st.integers(1, 200))
def test_every_prefix_of_a_row_is_spread(size):
    """After n cells of a row the widest gap is at most twice the gap of n evenly spaced cells."""
    order = even_order(_positions([size]))
    for n in range(1, size + 1):
        done = sorted(order[:n])
        gaps = [b - a for a, b in itertools.pairwise([*done, size])]
        assert done[0] == 0
        assert max(gaps) <= 2 * math.ceil(size / n)


@pytest.mark.parametrize("shape", [(8, 8), (4, 16), (2, 4, 8), (16, 2)])
def test_every_prefix_fills_all_parts_of_a_grid_alike(shape):
    """The numbers of cells in equal parts (halves of each axis, quarters ...) differ by at most one."""
    order = [tuple(at) for at in itertools.product(*map(range, shape))]
    order = [order[index] for index in even_order(_positions(shape))]
    for level in range(1, max(shape).bit_length()):
        parts = [min(2**level, size) for size in shape]
        if math.prod(parts) >= math.prod(shape):
            break
        counts = dict.fromkeys(itertools.product(*map(range, parts)), 0)
        for at in order:
            counts[tuple(index * part // size for index, part, size in zip(at, parts, shape, strict=True))] += 1
            assert max(counts.values()) - min(counts.values()) <= 1


@given(st.lists(st.integers(2, 9), min_size=1, max_size=4))
def test_the_first_cells_lie_in_different_corners(shape):
    """In any grid, the first 2**axes cells are in different coarse parts of its 2**axes."""
    cells = list(itertools.product(*map(range, shape)))
    first = [cells[index] for index in even_order(_positions(shape))[: 2 ** len(shape)]]
    parts = {
        tuple(index >> ((size - 1).bit_length() - 1) for index, size in zip(at, shape, strict=True)) for at in first
    }
    assert len(parts) == 2 ** len(shape)


def test_a_thousand_cells_are_ordered_quickly():
    assert len(even_order(_positions((10, 10, 10, 10)))) == 10_000


# -- JSON ----------------------------------------------------------------------------------------------------------


def test_axes_are_read_back_from_json(tmp_path):
    axes = axes_of(
        {
            "6::text": {"in": "a cat", "replace": {"cat": {"x": "cat", "y": "dog"}}},
            "look": {"a": {"cfg": 4}, "b": {"cfg": 5.5}},
            "seed": "random#2",
            "steps": [1, 2],
            "9::noise_seed": "each",
            "denoise": 1,
        }
    )
    again = axes_from_json(json.loads(json.dumps(axes_to_json(axes))))
    assert again == axes
    seeds = Memory()
    assert cells_of(again, seeds) == cells_of(axes, seeds)


def test_images_in_json_are_their_name_and_content():
    one = Workflow("w", fields={"1::image": read_field("1::image", ["IMAGEUPLOAD", {}])})
    images = [InputImage(f"{n}.png", str(n) * 64, lambda: b"secret") for n in range(2)]
    axes = read_axes(one, settings_from_mapping({"image": images}))
    again = axes_from_json(json.loads(json.dumps(axes_to_json(axes))))
    assert again == axes
    assert [value.label for value in again.axes[0].values] == ["0.png", "1.png"]
    with pytest.raises(ImageError, match=r"0\.png"):
        again.axes[0].values[0].params["1::image"].load()


def test_a_body_and_a_call_of_python_mean_the_same():
    typed = read_axes(WORKFLOW, read_body('cfg: 4, 8\nprompt: {a: "x", b: "y"}\nseed: random#2\n', sweep=True).settings)
    assert typed == axes_of(cfg=[4, 8], prompt={"a": "x", "b": "y"}, seed="random#2")
