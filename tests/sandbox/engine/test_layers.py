"""The shipped layers equal those that the script paints, and each can be loaded."""

from __future__ import annotations

from zipfile import ZipFile

import numpy as np
import paint_scenes
import pytest
from painting.canvas import PALETTES as LIGHTS
from PIL import Image

from comflowy_nb.sandbox.engine import layers
from comflowy_nb.sandbox.engine.layers import FORMATS, LANDS, PALETTES, SKIES, SUBJECTS, load_layers, read_strip
from comflowy_nb.sandbox.engine.styles import CHECKPOINTS


def shipped(name, rows):
    with ZipFile(paint_scenes.FOLDER / "scenes.zip") as archive:
        return [np.asarray(image) / 255 for image in read_strip(archive, name, rows)]


def assert_almost_equal(painted, images, most):
    """Assert that images are equal except for JPEG artefacts."""
    assert len(painted) == len(images)
    for generated, image in zip(painted, images, strict=True):
        assert np.abs(np.clip(generated.transpose(1, 2, 0), 0, 1) - image).mean() < most


def test_shipped_land_equals_the_generated_images():
    cover, images = paint_scenes.paint_lands("landscape", "sea")
    assert_almost_equal(images, shipped("landscape/sea.jpg", FORMATS["landscape"][0]), 0.02)
    assert np.abs(cover - shipped("landscape/sea.png", FORMATS["landscape"][0])[0]).max() < 0.01


def test_shipped_subject_equals_the_generated_images():
    boat = next(subject for subject in SUBJECTS if subject.name == "boat")
    cover, images = paint_scenes.paint_subject(boat)
    top, bottom, *_ = boat.box
    assert_almost_equal(images, shipped("subjects/boat.jpg", bottom - top), 0.02)
    assert np.abs(cover - shipped("subjects/boat.png", bottom - top)[0]).max() < 0.01


def test_shipped_example_equals_the_generated_image():
    example = np.asarray(Image.open(paint_scenes.FOLDER / "example.jpg")) / 255
    assert_almost_equal([paint_scenes.paint_example()], [example], 0.02)


def test_generator_script_and_package_have_the_same_lights():
    assert [palette.name for palette in LIGHTS] == list(PALETTES)


def test_the_archive_contains_one_image_for_each_layer():
    for shape, (rows, _) in FORMATS.items():
        assert len(shipped(f"{shape}/skies.jpg", rows)) == len(SKIES)
        for land in LANDS:
            assert len(shipped(f"{shape}/{land}.jpg", rows)) == len(PALETTES)
    for subject in SUBJECTS[1:]:
        top, bottom, *_ = subject.box
        assert len(shipped(f"subjects/{subject.name}.jpg", bottom - top)) == len(subject.looks) * len(PALETTES)


@pytest.mark.parametrize("canvas", [(128, 128), (157, 105), (105, 157), (64, 256), (256, 64)])
def test_subjects_are_at_their_listed_positions(canvas):
    rows, columns = canvas
    loaded = load_layers(CHECKPOINTS[0], canvas)
    for subject, silhouette in zip(layers.SUBJECTS[1:], loaded.silhouettes[1:], strict=True):
        for position, cover, pixels in zip(subject.places, silhouette.cover, silhouette.pixels, strict=True):
            solid = pixels[cover > 0.9]
            if abs(position) + subject.reach[0] * subject.size < 0.5 and canvas[0] <= canvas[1]:
                assert np.mean(solid % columns) == pytest.approx((0.5 + position) * columns, abs=0.12 * rows)
            assert (solid // columns).max() <= (subject.foot + subject.reach[2] * subject.size) * rows + 1
