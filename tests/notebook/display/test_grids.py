"""The drawn grid: its pixels, its size, and texts in any script without a warning."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from comflowy_nb.notebook.display.grids import Grid
from comflowy_nb.notebook.display.show import grid
from comflowy_nb.services.types import Problem
from comflowy_nb.status import Status


def pixels(shown):
    return np.asarray(Image.open(io.BytesIO(shown.jpeg)).convert("RGB")).astype(int)


def test_a_notebook_gets_a_jpeg_of_twice_the_pixels_with_its_size_and_file_names(folder):
    drawn_grid = grid(folder.run(("9", 512, 512)))
    data, metadata = drawn_grid._repr_mimebundle_(include=None, exclude=None)
    assert set(data) == {"text/plain", "image/jpeg"}
    image = Image.open(io.BytesIO(base64.b64decode(data["image/jpeg"])))
    size = metadata["image/jpeg"]
    assert image.size == (2 * size["width"], 2 * size["height"])
    assert size["width"] == 512 + 2 * 20
    assert data["text/plain"] == "r1: 1 image\n  token1_0.png"
    assert str(folder.root) not in data["text/plain"]


def test_a_single_image_is_shown_with_the_pixels_of_its_file(folder):
    run = folder.run(("9", 256, 256))
    drawn = pixels(grid(run))[40 : 40 + 512, 40 : 40 + 512]
    original = np.asarray(run.images[0].pil().resize((512, 512), Image.Resampling.LANCZOS)).astype(int)
    assert abs(drawn - original).mean() < 4


@pytest.mark.parametrize("count", [1, 4, 9, 16, 64])
def test_grid_of_any_number_of_runs_is_at_most_1200_px_wide_and_below_a_megabyte(folder, count):
    side = 640 if count <= 16 else 256  # creating large images takes longer than drawing them
    runs = [
        folder.run(("9", side, side), params={"3::cfg": float(n), "6::text": f"number {n} " * 9}) for n in range(count)
    ]
    drawn_grid = grid(runs)
    assert drawn_grid.size_px[0] <= 1200
    assert len(drawn_grid.bundle()[0]["image/jpeg"]) < 1_000_000


def test_a_large_grid_is_drawn_from_thumbnails(folder):
    runs = [folder.run(("9", 640, 640), params={"3::cfg": float(n)}) for n in range(10)]
    for run in runs:
        run.images[0].path.unlink()
    with pytest.raises(Exception, match="not on disk"):
        runs[0].images[0].pil()
    for run in runs:  # only the thumbnails exist on disk
        (folder.root / run.record.images[0].file).write_bytes(b"")
    assert pixels(grid(runs)).std() > 20


def test_transparent_pixels_are_white(folder):
    run = folder.run(("9", 64, 64))
    Image.new("RGBA", (64, 64), (0, 0, 0, 0)).save(run.images[0].path)
    assert (pixels(grid(run))[60:140, 60:140] > 250).all()


@pytest.mark.parametrize(
    "text",
    [
        "美しい風景、ガラスの瓶",
        "emoji 🎉🏞️ family 👨‍👩‍👧 flag 🇫🇷",
        "maths $x_1^2$ and $5, and \\frac{1}{2} $unclosed",
        "tabs\tand\nbreaks\r\n and \x1b[31mcontrol\x00 characters",
        "عربي עברית हिन्दी ไทย",
        "x" * 3000,
        "",
        " ",
    ],
)
def test_texts_in_any_script_are_drawn_without_a_warning(folder, text, recwarn):
    assert grid(folder.run(("9", 64, 64), params={"6::text": text, "3::note": text[:20]})).jpeg
    assert [str(warning.message) for warning in recwarn] == []


def test_a_failed_run_and_a_missing_image_are_panels_with_text(folder):
    good, failed = (
        folder.run(("9", 128, 128)),
        folder.run(status=Status.FAILED, problem=Problem("<b>out</b> of memory")),
    )
    lost = folder.run(("9", 128, 128), ("9", 128, 128), missing={1: "cut short"})
    assert pixels(grid([good, failed, lost])).shape[2] == 3
    assert grid(lost).files() == ["token3_0.png"]


def test_the_grid_shows_that_an_image_is_not_on_disk(folder):
    run = folder.run(("9", 128, 128))
    run.images[0].path.write_bytes(b"no image")
    assert grid(run).jpeg


def test_the_figure_is_a_matplotlib_figure_outside_pyplot(folder):
    import sys

    drawn_grid = grid(folder.run(("9", 64, 64)))
    assert drawn_grid.figure.axes
    if "matplotlib.pyplot" in sys.modules:
        assert not sys.modules["matplotlib.pyplot"].get_fignums()
    stream = io.BytesIO()
    drawn_grid.figure.savefig(stream, format="png")
    assert Image.open(stream).size[0] == 2 * drawn_grid.size_px[0]


def test_the_matplotlib_style_of_the_user_changes_only_the_colours(folder):
    import matplotlib as mpl

    drawn_grid = grid(folder.run(("9", 64, 64), number=5))
    plain = drawn_grid.jpeg
    with mpl.rc_context({"figure.facecolor": "#300000", "text.color": "#ffe0e0"}):
        coloured = drawn_grid.jpeg
        assert drawn_grid.figure.get_facecolor() == (0x30 / 255, 0, 0, 1)
    assert Image.open(io.BytesIO(coloured)).getpixel((2, 2)) == pytest.approx((0x30, 0, 0), abs=4)
    assert drawn_grid.jpeg == plain, "drawn again in the colours of now"
    with mpl.rc_context(
        {"font.family": "serif", "figure.autolayout": True,
         "savefig.bbox": "tight", "figure.dpi": 30, "image.cmap": "gray", "axes.facecolor": "red"}
    ):  # fmt: skip
        assert grid(folder.run(("9", 64, 64), number=5)).jpeg == plain


def test_selected_image_of_a_run_is_drawn(folder):
    run = folder.run(("9", 64, 64), ("9", 128, 128))
    assert Grid([run], only=[1]).files() == ["token1_1.png"]


def test_seeds_and_titles_are_read_from_the_graph_in_the_image(folder):
    from PIL.PngImagePlugin import PngInfo

    from comflowy_nb.recipe import read_graph_of

    run = folder.run(("9", 64, 64))
    notes = PngInfo()
    notes.add_text(
        "prompt",
        '{"3": {"class_type": "KSampler", "inputs": {"seed": 77, "model": ["4", 0]}},'
        ' "9": {"class_type": "SaveImage", "inputs": {}, "_meta": {"title": "Save Image"}}}',
    )
    run.images[0].pil().save(run.images[0].path, pnginfo=notes)
    seeds, titles = read_graph_of(run)
    assert seeds == {"3::seed": 77}
    assert titles == {"3": "KSampler", "9": "Save Image"}
