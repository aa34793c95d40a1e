"""Fixtures: a sweep in one home folder, saved, and another home folder."""

from __future__ import annotations

import pytest
from archives import PROMPTS

from comflowy_nb.library import Library


@pytest.fixture
def other(tmp_path):
    """Return the library of another person."""
    library = Library(tmp_path / "other")
    yield library
    library.close()


@pytest.fixture
def bottles(make_sweep, axis):
    """Return s1 `bottles`: cfg x prompts, each cell with one image of another colour."""
    return make_sweep(axis("3::cfg", 4, 6), axis("6::text", *PROMPTS), fixed={"3::seed": 123456789}, name="bottles")


@pytest.fixture
def archive(bottles, tmp_path):
    """Return the path of bottles.zip."""
    return bottles.save(tmp_path / "bottles.zip")[0]
