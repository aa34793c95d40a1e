"""Layers kept on disk: the same images from them, and nothing but time lost without them."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from collections import OrderedDict

import numpy as np
import pytest

from comflowy_nb.sandbox.engine import engine
from comflowy_nb.sandbox.engine import scene_set as scenes
from comflowy_nb.sandbox.engine.scene_set import SceneSet
from comflowy_nb.sandbox.painting import layer_cache as shelf
from comflowy_nb.sandbox.painting.layers import Layers, paint_layers
from comflowy_nb.sandbox.painting.styles import CHECKPOINTS, STYLES
from comflowy_nb.sandbox.server.workflows import graph_of

CANVAS = (8, 12)
WATERCOLOUR = CHECKPOINTS[1]


@pytest.fixture
def painted(monkeypatch):
    """The canvases that were painted."""
    canvases = []

    def paint(canvas, style):
        canvases.append(canvas)
        return paint_layers(canvas, style)

    monkeypatch.setattr(shelf, "paint_layers", paint)
    return canvases


def content(layers):
    """All of the layers, as what can be compared."""
    if isinstance(layers, np.ndarray):
        return (layers.dtype.str, layers.shape, layers.tobytes())
    if isinstance(layers, tuple):
        return tuple(map(content, layers))
    if dataclasses.is_dataclass(layers):
        return tuple(content(getattr(layers, field.name)) for field in dataclasses.fields(layers))
    return layers


def fetch(folder, canvas=CANVAS):
    layers = shelf.fetch_layers(WATERCOLOUR, canvas, folder)
    assert isinstance(layers, Layers)
    return layers


def kept(folder):
    return sorted(folder.glob("*.layers"))


def test_layers_read_are_those_that_were_painted(tmp_path, painted):
    folder = tmp_path / "deep" / "painted"
    first, second = fetch(folder), fetch(folder)
    assert painted == [CANVAS]
    assert content(first) == content(second) == content(paint_layers(CANVAS, STYLES[WATERCOLOUR]))
    assert {path.suffix for path in folder.iterdir()} <= {".layers", ".lock"}


def test_image_is_the_same_painted_or_read(tmp_path, monkeypatch, painted):
    graph, _ = engine.apply_params(graph_of("default"), {"3::steps": 3, "5::width": 32, "5::height": 40})

    def render(folder):
        monkeypatch.setattr(scenes, "_sets", OrderedDict())
        here = engine.Engine(input_folder=tmp_path, shelf=folder)
        (image,) = here.run(graph, on_progress=lambda _: None, should_stop=lambda: False)["9"]
        return image.png

    alone, first, second = render(None), render(tmp_path / "painted"), render(tmp_path / "painted")
    assert painted == [(40, 32)]
    assert alone == first == second


def test_every_checkpoint_and_canvas_has_a_file_of_its_own(tmp_path):
    for checkpoint in CHECKPOINTS[:2]:
        for canvas in (CANVAS, CANVAS[::-1]):
            shelf.fetch_layers(checkpoint, canvas, tmp_path)
    assert len(kept(tmp_path)) == 4


def test_other_source_paints_again(tmp_path, painted, monkeypatch):
    fetch(tmp_path)
    monkeypatch.setattr(shelf, "_painters", lambda: "another version")
    fetch(tmp_path)
    assert len(painted) == len(kept(tmp_path)) == 2


DAMAGE = {
    "empty": lambda _: b"",
    "cut off": lambda file: file[: len(file) // 2],
    "no head": lambda file: b"\0" * len(file),
    "a byte of a colour changed": lambda file: file[:50_000] + bytes([file[50_000] ^ 1]) + file[50_001:],
    "a byte of the head changed": lambda file: file.replace(b"[8, 8,", b"[8, 9,", 1),
    "something else": lambda _: shelf._checksum(b"") * 50,
    "sound, but no layers": lambda _: b'{"arrays": 5}\n' + shelf._checksum(b'{"arrays": 5}\n'),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_file_is_painted_and_written_again(tmp_path, painted, damage):
    good = content(fetch(tmp_path))
    (path,) = kept(tmp_path)
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(damage(whole))
    assert path.read_bytes() != whole
    assert content(fetch(tmp_path)) == good
    assert len(painted) == 2
    assert path.read_bytes() == whole


def test_folder_that_can_not_be_written_costs_only_the_painting(tmp_path, painted):
    (tmp_path / "painted").write_text("in the way")
    assert content(fetch(tmp_path / "painted")) == content(fetch(tmp_path / "painted"))
    assert len(painted) == 2


def test_full_disk_leaves_nothing_behind(tmp_path, painted, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    fetch(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} <= {".lock"}
    assert len(painted) == 1


def test_of_two_at_once_one_paints_and_the_other_waits_for_it(tmp_path, painted, monkeypatch):
    monkeypatch.setattr(shelf, "_LOCK_WAIT_S", 100.0)  # a busy machine paints slowly
    found = []
    threads = [threading.Thread(target=lambda: found.append(fetch(tmp_path))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert content(found[0]) == content(found[1])
    assert len(painted) == 1


def test_whoever_waits_too_long_paints_too(tmp_path, painted, monkeypatch):
    monkeypatch.setattr(shelf, "_LOCK_WAIT_S", 0.05)
    with shelf._alone(tmp_path / f"{shelf._name(WATERCOLOUR, CANVAS)}.lock"):
        fetch(tmp_path)
    assert len(painted) == 1


def test_only_the_layers_used_last_are_kept(tmp_path, painted, monkeypatch):
    monkeypatch.setattr(shelf, "_KEPT", 2)
    first, second, third = (8, 8), (8, 9), (8, 10)
    for age_s, canvas in ((60, first), (30, second)):
        fetch(tmp_path, canvas)
        newest = max(kept(tmp_path), key=lambda path: path.stat().st_mtime)
        os.utime(newest, (time.time() - age_s,) * 2)
    litter = tmp_path / "of-a-dead-one.part"
    litter.touch()
    os.utime(litter, (0, 0))
    fetch(tmp_path, first)  # used again, so that the second is the oldest
    fetch(tmp_path, third)
    assert len(kept(tmp_path)) == 2
    assert not litter.exists()
    for canvas in (first, third):
        fetch(tmp_path, canvas)
    assert painted == [first, second, third]


def test_a_set_made_of_layers_that_were_read_changes_none_of_them(tmp_path):
    """They are mapped read-only: writing to them would be an error, not an image gone wrong."""
    fetch(tmp_path)
    read = fetch(tmp_path)
    before = content(read)
    assert SceneSet(read, CANVAS).count > 10_000
    assert content(read) == before
    assert not read.skies.flags.writeable
