from __future__ import annotations

import json
from importlib.resources import files

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from comflowy_nb.errors import ImageError
from comflowy_nb.workflow.graph import parse_graph
from comflowy_nb.workflow.image_metadata import graph_of_image, metadata_of_image

TEXT = (files("comflowy_nb") / "workflow" / "builtin" / "default.json").read_text("utf-8")


@pytest.fixture
def graph():
    return parse_graph(TEXT, "this text")


def image(path, **chunks):
    info = PngInfo()
    for name, text in chunks.items():
        info.add_text(name, text)
    Image.new("RGB", (2, 2)).save(path, pnginfo=info)
    return path


def test_the_graph_in_a_png_is_read(tmp_path, graph):
    assert graph_of_image(image(tmp_path / "a.png", prompt=TEXT, workflow='{"nodes": []}')) == graph
    assert graph_of_image(image(tmp_path / "b.png")) is None
    assert graph_of_image(image(tmp_path / "c.png", prompt="a castle, 4k")) is None
    assert graph_of_image(str(image(tmp_path / "d.png", workflow='{"nodes": []}'))) is None


def test_the_graph_in_the_exif_data_of_a_webp_is_read(tmp_path, graph):
    image = Image.new("RGB", (2, 2))
    exif = image.getexif()
    exif[0x0110] = f"prompt:{TEXT}"
    image.save(tmp_path / "a.webp", exif=exif)
    assert graph_of_image(tmp_path / "a.webp") == graph


def test_a_file_that_is_not_an_image_is_an_error(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    for name in ("a.png", "gone.png"):
        with pytest.raises(ImageError, match=name):
            graph_of_image(tmp_path / name)


def test_the_metadata_of_a_saved_png_is_read(tmp_path):
    made = {"workflow": "default", "workflow_id": "default", "params": {"3::seed": 2**60}, "set_params": ["3::seed"]}
    found = metadata_of_image(image(tmp_path / "a.png", comflowy=json.dumps(made)))
    assert (found.workflow, found.workflow_id, found.params, found.set_params) == (
        "default",
        "default",
        {"3::seed": 2**60},
        ("3::seed",),
    )


def test_the_metadata_beside_a_saved_jpeg_is_read(tmp_path):
    Image.new("RGB", (2, 2)).save(tmp_path / "a.jpg")
    assert metadata_of_image(tmp_path / "a.jpg") is None
    (tmp_path / "a.jpg.json").write_text('{"workflow": "w", "workflow_id": null, "params": {}}')
    found = metadata_of_image(tmp_path / "a.jpg")
    assert (found.workflow, found.workflow_id, found.set_params) == ("w", None, ())


def test_the_metadata_of_a_copy_is_read_back(tmp_path):
    from comflowy_nb.images.save import copy_with_params

    source = image(tmp_path / "source.png", prompt=TEXT)
    made = {"workflow": "default", "workflow_id": None, "params": {"6::text": "é 🦊"}, "set_params": ["6::text"]}
    copy = copy_with_params(source, tmp_path / "copy.png", made)
    assert metadata_of_image(copy).params == {"6::text": "é 🦊"}
    assert graph_of_image(copy) == parse_graph(TEXT, "this text")


@pytest.mark.parametrize("text", ["5", "[]", "{", '{"params": 5}', '{"workflow": "x"}'])
def test_a_chunk_of_another_program_is_ignored(tmp_path, text):
    assert metadata_of_image(image(tmp_path / "a.png", comflowy=text)) is None
