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


class SeedStore:
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
    return expand(axes, workflow_content=content, identity=identity, seed_of=seeds or SeedStore())


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


def test_cell_combines_a_preset_with_replaced_words():
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
            name: [str(number) if name == "prompt" else number for number in range(size)]
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
    seeds = SeedStore()
    cells = cells_of(axes_of(cfg=[4, 8, 16], seed="random"), seeds)
    assert len({cell.params["3::seed"] for cell in cells}) == 1
    assert list(seeds.fields.values()) == [("3::seed",)]


def test_each_is_one_seed_per_cell():
    cells = cells_of(axes_of(cfg=[4, 8], steps=range(1, 6), seed="each"))
    assert len({cell.params["3::seed"] for cell in cells}) == 10


def test_random_n_has_the_same_seeds_for_each_value_of_other_axes():
    cells = cells_of(axes_of(cfg=[4, 8], seed="random#3"))
    assert [cell.params["3::seed"] for cell in cells[:3]] == [cell.params["3::seed"] for cell in cells[3:]]
    assert len({cell.params["3::seed"] for cell in cells}) == 3
    assert [cell.labels["seed"] for cell in cells] == ["1", "2", "3"] * 2


def test_duplicate_seeds_are_replaced_by_new_ones():
    seeds = SeedStore(modulus=8)
    cells = cells_of(axes_of(seed="random#4"), seeds)
    assert len({cell.params["3::seed"] for cell in cells}) == 4
    assert cells_of(axes_of(seed="random#4"), seeds) == cells


def test_fields_set_by_one_key_share_a_seed():
    workflow = Workflow("w", fields={f"{node}::seed": read_field(f"{node}::seed", ["INT", {}]) for node in "12"})
    for word in ("random", "each", "random#2"):
        axes = read_axes(workflow, settings_from_mapping({"all::seed": word}))
        for cell in cells_of(axes):
            assert cell.params["1::seed"] == cell.params["2::seed"]
    axes = read_axes(workflow, settings_from_mapping({"1::seed": "random", "2::seed": "random"}))
    (cell,) = cells_of(axes)
    assert cell.params["1::seed"] != cell.params["2::seed"]


values = st.lists(st.integers(0, 50), min_size=2, max_size=6, unique=True)


@given(values, values, st.sampled_from(["random", "each", "random#3"]), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_extending_an_axis_changes_no_seed(cfgs, steps, seed_word, random):
    seeds = SeedStore()
    extended = cells_of(axes_of(cfg=cfgs, steps=steps, seed=seed_word), seeds)
    two_values = random.sample(cfgs, 2)  # in another order too
    cells = cells_of(
        axes_of({"seed": seed_word, "3::cfg": two_values, "steps": steps[:1] * 1 + steps[1:2]}), SeedStore()
    )
    known = {
        (cell.params["3::cfg"], cell.params["3::steps"], cell.labels.get("seed")): cell.params for cell in extended
    }
    for cell in cells:
        key = (cell.params["3::cfg"], cell.params["3::steps"], cell.labels.get("seed"))
        assert cell.params == known[key]


def test_longer_axis_of_seeds_begins_with_the_same_seeds():
    three, five = cells_of(axes_of(seed="random#3")), cells_of(axes_of(seed="random#5"))
    assert [cell.params for cell in three] == [cell.params for cell in five[:3]]


def test_names_of_fields_and_labels_change_no_seed():
    first = cells_of(axes_of(prompt=["a", "b"], seed="each"))
    for axes in (
        axes_of({"6::text": ["b", "a"]}, seed="each"),
        axes_of({"6::text": {"x": "a", "y": "b"}}, seed="each"),
    ):
        assert seeds_of(cells_of(axes), "6::text") == seeds_of(first, "6::text")


def test_extending_a_preset_changes_no_seed():
    two_presets = cells_of(axes_of({"look": {"a": {"cfg": 4}, "b": {"cfg": 5}}, "seed": "each"}))
    three_presets = cells_of(axes_of({"look": {"c": {"steps": 9}, "b2": {"cfg": 5}, "a": {"cfg": 4}}, "seed": "each"}))
    known = [cell.params for cell in three_presets]
    assert all(cell.params in known for cell in two_presets)


def test_other_services_workflows_and_fixed_params_get_other_seeds():
    axes = axes_of(cfg=[4, 8], seed="random", steps=1)
    seeds = [cells_of(axes)[0].params["3::seed"]]
    seeds.append(cells_of(axes, identity="cloud")[0].params["3::seed"])
    seeds.append(cells_of(axes, content="other")[0].params["3::seed"])
    seeds.append(cells_of(axes_of(cfg=[4, 8], seed="random", steps=2))[0].params["3::seed"])
    seeds.append(cells_of(axes_of(cfg=[4, 8], seed="random", steps=[1]))[0].params["3::seed"])
    assert len(set(seeds)) == 5


def test_titles_of_a_graph_change_no_seed():
    node = {"class_type": "KSampler", "inputs": {"cfg": 4}}
    axes = axes_of(cfg=[4, 8], seed="each")
    first = cells_of(axes, content={"3": node})
    assert cells_of(axes, content={"3": node | {"_meta": {"title": "mine"}}}) == first
    assert cells_of(axes, content={"3": node | {"inputs": {"cfg": 5}}}) != first


def test_counted_runs_keep_their_seeds():
    seeds = SeedStore()
    first = cells_of(count_axes(WORKFLOW, [], 3), seeds)
    assert [cell.params for cell in cells_of(count_axes(WORKFLOW, [], 4), seeds)[:3]] == [cell.params for cell in first]


# -- order ---------------------------------------------------------------------------------------------------------


def _positions(shape):
    return list(itertools.product(*map(range, shape)))


@given(st.lists(st.integers(1, 9), max_size=4))
def test_the_order_contains_each_cell_once(shape):
    assert sorted(even_order(_positions(shape))) == list(range(math.prod(shape)))


@given(st.integers(1, 200))
def test_first_n_cells_of_a_row_are_evenly_spaced(size):
    """After n cells of a row the widest gap is at most twice the gap of n evenly spaced cells."""
    order = even_order(_positions([size]))
    for n in range(1, size + 1):
        positions = sorted(order[:n])
        gaps = [b - a for a, b in itertools.pairwise([*positions, size])]
        assert positions[0] == 0
        assert max(gaps) <= 2 * math.ceil(size / n)


@pytest.mark.parametrize("shape", [(8, 8), (4, 16), (2, 4, 8), (16, 2)])
def test_first_n_cells_fill_equal_parts_of_a_grid_equally(shape):
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
def test_first_cells_are_in_different_parts_of_the_grid(shape):
    """In any grid, the first 2**axes cells are in different ones of its 2**axes equal parts."""
    cells = list(itertools.product(*map(range, shape)))
    first = [cells[index] for index in even_order(_positions(shape))[: 2 ** len(shape)]]
    parts = {
        tuple(index >> ((size - 1).bit_length() - 1) for index, size in zip(at, shape, strict=True)) for at in first
    }
    assert len(parts) == 2 ** len(shape)


def test_even_order_returns_all_10000_cells():
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
    loaded = axes_from_json(json.loads(json.dumps(axes_to_json(axes))))
    assert loaded == axes
    seeds = SeedStore()
    assert cells_of(loaded, seeds) == cells_of(axes, seeds)


def test_images_in_json_are_stored_by_name_and_content_hash():
    workflow = Workflow("w", fields={"1::image": read_field("1::image", ["IMAGEUPLOAD", {}])})
    images = [InputImage(f"{n}.png", str(n) * 64, lambda: b"secret") for n in range(2)]
    axes = read_axes(workflow, settings_from_mapping({"image": images}))
    loaded = axes_from_json(json.loads(json.dumps(axes_to_json(axes))))
    assert loaded == axes
    assert [value.label for value in loaded.axes[0].values] == ["0.png", "1.png"]
    with pytest.raises(ImageError, match=r"0\.png"):
        loaded.axes[0].values[0].params["1::image"].load()


def test_body_and_python_mapping_give_the_same_axes():
    typed = read_axes(WORKFLOW, read_body('cfg: 4, 8\nprompt: {a: "x", b: "y"}\nseed: random#2\n', sweep=True).settings)
    assert typed == axes_of(cfg=[4, 8], prompt={"a": "x", "b": "y"}, seed="random#2")
