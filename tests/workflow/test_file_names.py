"""A file name without `file:` in an image field: `image=photo.png` names an image on the server."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from comflowy_nb.errors import FieldError
from comflowy_nb.workflow.axes.read import read_axes
from comflowy_nb.workflow.syntax.lists import Setting
from comflowy_nb.workflow.values import resolve, settings_from_mapping


@pytest.fixture(autouse=True)
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "refs").mkdir()
    for name in ("photo.png", "example.png", "refs/a b.jpg", "refs/b.jpg"):
        Image.new("RGB", (3, 2), "red").save(tmp_path / name)


@pytest.mark.parametrize("text", ["photo.png", "refs/a b.jpg", "./photo.png", "refs/../photo.png", "refs/*.jpg"])
def test_a_file_that_exists_is_suggested(workflow, text):
    """`image=photo.png` was submitted as it was typed, and the server answered with its validation error.

    A bare name is an image on the server; only `file:photo.png` uploads the file.
    """
    with pytest.raises(FieldError, match=r"\(Load Image\), image: .*Did you mean file:") as caught:
        resolve(workflow, [Setting("10::image", text)], namespace={})
    assert f"file:{text}?" in str(caught.value)
    with pytest.raises(FieldError, match="Did you mean file:"):
        read_axes(workflow, [Setting("10::image", text)], namespace={})


@pytest.mark.parametrize("text", ["photo.png,example.png", "file:photo.png, file:example.png", "photo.png,refs/*.jpg"])
def test_images_separated_by_commas_are_reported_with_the_right_separator(workflow, text):
    """`sweep image=photo.png,b.png` planned one cell, and the server answered with its validation error."""
    with pytest.raises(FieldError, match=r"separate several images by \|\|: image=file:photo.png\|\|file:"):
        read_axes(workflow, [Setting("10::image", text)], namespace={})
    with pytest.raises(FieldError, match="a run takes one value"):
        resolve(workflow, [Setting("10::image", text)], namespace={})
    Image.new("RGB", (3, 2)).save("photo.png,b.png")
    assert len(read_axes(workflow, [Setting("10::image", "file:photo.png,b.png")], namespace={}).axes) == 0


def test_an_absolute_path_is_suggested(workflow, tmp_path):
    with pytest.raises(FieldError, match="Did you mean file:"):
        resolve(workflow, [Setting("10::image", str(tmp_path / "photo.png"))], namespace={})


def test_a_file_in_a_variable_or_in_a_list_is_suggested(workflow):
    for settings in (
        [Setting("10::image", "{name}")],
        settings_from_mapping({"10::image": "photo.png"}),
    ):
        with pytest.raises(FieldError, match=r"Did you mean file:photo\.png\?"):
            resolve(workflow, settings, namespace={"name": "photo.png"})
    for settings in (
        [Setting("10::image", "example.png||photo.png")],
        settings_from_mapping({"10::image": ["example.png", "photo.png"]}),
    ):
        with pytest.raises(FieldError, match=r"Did you mean file:photo\.png\?"):
            read_axes(workflow, settings, namespace={})


@pytest.mark.parametrize("text", ["example.png", "elsewhere.png", "https://images.example/photo.png", ""])
def test_other_texts_and_server_image_names_are_submitted_as_typed(workflow, text):
    assert Path("example.png").is_file(), "the server lists one of this name too"
    assert resolve(workflow, [Setting("10::image", text)], namespace={}).params == {"10::image": text}


@pytest.mark.parametrize("text", ["**/b.jpg", "*/b.jpg", "/**/b.jpg"])
def test_a_pattern_of_folders_is_not_searched_for_a_suggestion(workflow, text):
    """The search for `Did you mean file:/**/x?` read the whole file system."""
    assert resolve(workflow, [Setting("10::image", text)], namespace={}).params == {"10::image": text}


def test_a_pattern_in_a_variable_is_an_error(workflow):
    """The error in a sweep said that a run takes one value."""
    names = {"pattern": "file:refs/*.jpg"}
    with pytest.raises(FieldError, match=r"several files, but a run takes one value; client.sweep takes several"):
        resolve(workflow, [Setting("10::image", "{pattern}")], namespace=names)
    with pytest.raises(FieldError, match=r"a pattern, which can't come from a variable: type file:refs/\*\.jpg"):
        read_axes(workflow, [Setting("10::image", "{pattern}")], namespace=names)


def test_file_name_in_quotes_is_submitted_as_typed(workflow, undescribed):
    for where in (workflow, undescribed):
        setting = Setting("10::image", "photo.png", quoted=True)
        assert resolve(where, [setting], namespace={}).params == {"10::image": "photo.png"}
        assert read_axes(where, [setting], namespace={}).fixed == {"10::image": "photo.png"}


def test_only_an_image_file_is_suggested_for_a_field_without_a_description(undescribed):
    Path("notes.txt").write_text("hello")
    assert resolve(undescribed, [Setting("1::text", "notes.txt")], namespace={}).params == {"1::text": "notes.txt"}
    assert resolve(undescribed, settings_from_mapping({"1::image": "photo.png"})).params == {"1::image": "photo.png"}
    with pytest.raises(FieldError, match=r"Did you mean file:photo\.png\?"):
        resolve(undescribed, [Setting("1::image", "photo.png")], namespace={})


def test_file_name_in_a_text_field_is_text(workflow):
    assert resolve(workflow, [Setting("6::text", "photo.png")], namespace={}).params == {"6::text": "photo.png"}
