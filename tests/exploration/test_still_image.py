"""The still image of an exploration in a saved notebook."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from comflowy_nb.exploration.exploration import Exploration
from comflowy_nb.exploration.still_image import describe, draw_still


def noise(cell):
    return [Image.fromarray(np.random.default_rng(cell.number).integers(0, 256, (256, 256, 3), dtype="uint8"))]


def test_all_cells_of_a_small_sweep_are_shown_with_its_axes(make_sweep, axis):
    exploration = Exploration([make_sweep(axis("3::cfg", 4, 8), axis("3::steps", 1, 2))])
    still = draw_still(exploration, x="3::steps")
    assert (still.note, len(still.entries)) == ("", 4)
    texts = [run.text for run in still.drawn.page.texts]
    assert texts.index("steps") < texts.index("cfg"), "the columns come first"
    assert describe(exploration, still).splitlines()[:2] == ["s1 default: 4 cells", "  s1.1 cfg 4, steps 1: success"]


def test_of_many_cells_64_are_shown_and_counted_below_the_limit(make_sweep, axis):
    """Images of noise compress least. The JPEG is below the limit, because a notebook contains it twice."""
    exploration = Exploration([make_sweep(axis("3::cfg", *range(9)), axis("3::steps", *range(1, 9)), images=noise)])
    still = draw_still(exploration)
    assert (still.note, len(still.entries)) == ("64 of 72", 64)
    assert "64 of 72" in " ".join(run.text for run in still.drawn.page.texts)
    assert 50_000 < len(still.drawn.jpeg) < 350_000
    assert Image.open(io.BytesIO(still.drawn.jpeg)).width <= 2400


def test_cells_of_two_sweeps_are_shown_with_captions_and_states(make_sweep, axis):
    first = make_sweep(axis("3::cfg", 4, 8), key="one")
    second = make_sweep(axis("3::cfg", 4, 8), key="two", ends={2: None})
    still = draw_still(Exploration([first, second]), x="sweep")
    texts = " ".join(run.text for run in still.drawn.page.texts)
    assert "s1, s2" in texts
    assert "s2.2" in texts
    assert [box.tile.state.text for box in still.drawn.page.boxes if box.tile.state] == ["not submitted"]
