"""Workflows in images: all commands give the same result and the same error."""

from __future__ import annotations

import json

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from comflowy_nb import params_from
from comflowy_nb.errors import ImageError

NODES = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 255}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}
EDITORS = json.dumps({"nodes": [{"id": 1, "type": "SaveImage"}], "links": []})
NAN = json.dumps(NODES).replace("255", "NaN")
DAMAGED = json.dumps({**NODES, "3": {"inputs": {}}})
MADE = json.dumps({"workflow": "default", "workflow_id": "default", "params": {"3::steps": 2}, "set_params": []})

WHY = {
    "the editor's graph only": ({"workflow": EDITORS}, "contains a workflow only in the editor's format. To"),
    "the editor's graph as prompt": ({"prompt": EDITORS}, "contains a workflow only in the editor's format"),
    "the editor's graph and a prompt of words": ({"prompt": "{a cat}", "workflow": EDITORS}, "editor's format"),
    "a prompt with NaN": ({"prompt": NAN, "workflow": EDITORS}, "the prompt in a.png: node '1' contains NaN"),
    "a damaged prompt": ({"prompt": DAMAGED}, "the prompt in a.png: node '3' has no class_type"),
    "a prompt that is cut off": ({"prompt": json.dumps(NODES)[:90]}, "the prompt in a.png is not JSON"),
    "a prompt of words": (
        {"prompt": "a castle, 4k"},
        "a.png contains no workflow: its metadata 'prompt' is not a graph",
    ),
    "nothing": ({}, "a.png contains no workflow: use an image with the metadata of ComfyUI or comflowy_nb"),
}


def save(path, chunks):
    notes = PngInfo()
    for name, text in chunks.items():
        notes.add_text(name, text)
    Image.new("RGB", (4, 4)).save(path, pnginfo=notes)


def reasons(cell, name):
    """Yield the error of each command for an image that it can't use."""
    commands = (f"run {name}", f"sweep {name} color=1,2", f"fields {name}", f"workflow add mine {name}", f"form {name}")
    for command in commands:
        error = cell(f"%comflowy {command}").error
        assert error is not None, command
        yield str(error)


@pytest.mark.parametrize(("chunks", "why"), WHY.values(), ids=WHY)
def test_every_command_gives_the_same_reason(sandbox, tmp_path, monkeypatch, chunks, why):
    """For an image with the editor's graph, `params_from` raised "contains no workflow", and `run` another error.

    Each command read the image in its own way, and dropped the reason why a prompt was invalid.
    """
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "a.png", chunks)
    errors = set(reasons(sandbox, "a.png"))
    with pytest.raises(ImageError) as caught:
        params_from("a.png")
    errors.add(str(caught.value))
    assert len(errors) == 1
    assert why in errors.pop()


def test_an_animation_with_only_the_editors_graph_is_an_error(sandbox, tmp_path, monkeypatch):
    """A WebP file has both graphs in its Exif data, but only the prompt was read."""
    monkeypatch.chdir(tmp_path)
    image = Image.new("RGB", (4, 4))
    exif = image.getexif()
    exif[0x010F] = f"workflow:{EDITORS}"
    image.save(tmp_path / "a.webp", exif=exif)
    errors = set(reasons(sandbox, "a.webp"))
    assert len(errors) == 1
    assert "editor's format" in errors.pop()


def test_the_error_for_an_image_with_only_params_names_from(sandbox, tmp_path, monkeypatch):
    """The error for a saved copy of a run without a graph said that it contains no workflow; `--from` accepts it."""
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "a.png", {"comflowy": MADE})
    errors = set(reasons(sandbox, "a.png"))
    assert len(errors) == 1
    assert "only the params of default: %comflowy run --from a.png uses them" in errors.pop()
    assert sandbox("%comflowy run --from a.png width=64 height=64").error is None
