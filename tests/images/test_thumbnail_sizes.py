"""Sizes and file names of thumbnails."""

from __future__ import annotations

from pathlib import Path

import pytest

from comflowy_nb.images.thumbnail_sizes import THUMBNAIL_SIZES_PX, is_thumbnail, thumbnail_of
from comflowy_nb.layout.page import longest_side_px

IMAGE = Path("images/4f5c_0.png")


@pytest.mark.parametrize("size_px", THUMBNAIL_SIZES_PX)
def test_the_name_of_a_thumbnail_is_recognised(size_px):
    thumbnail = thumbnail_of(IMAGE, size_px)
    assert thumbnail.name == f"4f5c_0.t{size_px}.jpg"
    assert is_thumbnail(thumbnail.name)


@pytest.mark.parametrize("name", [IMAGE.name, "4f5c_0.jpg", "4f5c_0.t100.jpg", ".t256.jpg", "4f5c_0.t256.jpg.part"])
def test_other_names_are_not_thumbnails(name):
    assert not is_thumbnail(name)


def test_a_grid_of_many_images_uses_the_sizes_of_thumbnails():
    """If they differ, the grid shows each image enlarged, or reads each original."""
    assert {longest_side_px(count) for count in (5, 9, 10, 144)} == set(THUMBNAIL_SIZES_PX)
