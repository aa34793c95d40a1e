"""Patterns of files as the values of a picture axis."""

from __future__ import annotations

import pytest
from PIL import Image

from comflowy_nb.errors import FieldError
from comflowy_nb.workflow.axes import read_axes
from comflowy_nb.workflow.fields import Field, FieldType
from comflowy_nb.workflow.values import Setting, resolve
from comflowy_nb.workflow.workflow import Workflow

WORKFLOW = Workflow("w", fields={"1::image": Field("1::image", FieldType.IMAGEUPLOAD)})
UNDESCRIBED = Workflow("u")


@pytest.fixture(autouse=True)
def refs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "refs" / "deep").mkdir(parents=True)
    for shade, name in enumerate(("photo2.jpg", "photo10.jpg", "photo1.jpg", "other.png", "deep/photo3.jpg")):
        Image.new("RGB", (4, 4), (shade * 40, 0, 0)).save(tmp_path / "refs" / name)
    return tmp_path / "refs"


def labels(text, *, workflow=WORKFLOW, namespace=None, **options):
    axes = read_axes(workflow, [Setting("1::image", text, **options)], namespace=namespace)
    return [value.label for value in axes.axes[0].values] if axes.axes else axes.fixed


def test_a_pattern_is_an_axis_in_the_order_of_the_names():
    assert labels("file:refs/*.jpg") == ["photo1.jpg", "photo2.jpg", "photo10.jpg"]
    assert labels("file:refs/photo?.jpg") == ["photo1.jpg", "photo2.jpg"]
    assert labels("file:refs/photo[12].jpg") == ["photo1.jpg", "photo2.jpg"]


def test_a_pattern_goes_into_folders_and_stands_among_others():
    assert len(labels("file:refs/**/*.jpg")) == 4
    assert labels("file:refs/other.png || file:refs/photo?.jpg") == ["other.png", "photo1.jpg", "photo2.jpg"]


def test_a_pattern_may_hold_a_variable_and_a_list_of_python_patterns():
    assert labels("file:{folder}/*.jpg", namespace={"folder": "refs"}) == ["photo1.jpg", "photo2.jpg", "photo10.jpg"]
    assert labels(["file:refs/photo?.jpg"]) == ["photo1.jpg", "photo2.jpg"]


def test_in_an_undescribed_field_only_where_there_are_files():
    assert labels("file:refs/photo?.jpg", workflow=UNDESCRIBED) == ["photo1.jpg", "photo2.jpg"]
    assert labels("file:none/*.jpg", workflow=UNDESCRIBED) == {"1::image": "file:none/*.jpg"}


def test_a_file_that_is_really_called_so_is_one_value(refs):
    Image.new("RGB", (4, 4)).save(refs / "a[1].png")
    assert labels("file:refs/a[1].png")["1::image"].name == "a[1].png"


def test_no_file_of_such_a_name_is_said():
    with pytest.raises(FieldError, match=r"no file is called 'refs/\*.gif'"):
        labels("file:refs/*.gif")


def test_two_files_of_the_same_content_are_one_value(refs):
    (refs / "photo1b.jpg").write_bytes((refs / "photo1.jpg").read_bytes())
    with pytest.raises(FieldError, match=r"an equal value stands there twice: 'photo1\.jpg' and 'photo1b\.jpg'"):
        labels("file:refs/photo1*.jpg")


def test_what_is_no_picture_is_named(refs):
    (refs / "photo1b.jpg").write_text("no picture")
    with pytest.raises(FieldError, match=r"photo1b.jpg is no picture"):
        labels("file:refs/photo1*.jpg")


def test_a_run_takes_one():
    with pytest.raises(FieldError, match="may name several files, but a run takes one; %comflowy sweep"):
        resolve(WORKFLOW, [Setting("1::image", "file:refs/*.jpg")])
