"""The grid of a sweep in progress: only changed cells are painted again, from thumbnails, and its bytes are limited."""

from __future__ import annotations

import base64
import io
import time

import numpy as np
import pytest
from IPython.utils.capture import capture_output
from PIL import Image

from comflowy_nb.database.records import SweepRecord
from comflowy_nb.notebook.display.grids import SweepGrid
from comflowy_nb.notebook.display.live import UPDATE_S
from comflowy_nb.notebook.display.show import grid
from comflowy_nb.notebook.display.views import SweepView
from comflowy_nb.services.types import Problem, Progress
from comflowy_nb.status import Status
from comflowy_nb.sweeps.sweep import Sweep
from comflowy_nb.sweeps.sweep_painting import SweepPainting
from comflowy_nb.tracking.run import Run
from comflowy_nb.workflow.axes.expand import expand
from comflowy_nb.workflow.axes.types import Axes, Axis, AxisValue

NOWHERE = {"x": None, "y": None, "z": None}


def axis(field, values):
    return Axis(field, "values", (field,), tuple(AxisValue({field: value}, str(value)) for value in values))


@pytest.fixture
def make_sweep(folder):
    """Return a function: `make_sweep(axis, ...)` makes a sweep whose cells have no runs; `give` adds a run."""

    def make(*axes, sending=True):
        laid_out = Axes({}, axes, (), tuple(axis.name for axis in axes))
        cells = expand(laid_out, workflow_content="default", identity="sandbox", seed_of=lambda key, fields: 1)
        names = dict.fromkeys(("identity", "origin", "service", "workflow", "workflow_id"), "sandbox")
        record = SweepRecord(token="sweep", number=1, **names, key="k", spec={}, created_at=time.time())
        sweep = Sweep(
            laid_out,
            [(cell, "k") for cell in cells],
            workflow="default",
            service="sandbox",
            layout=NOWHERE,
            images_folder=folder.root,
            record=record,
        )
        if sending:
            sweep.sender = SweepSender()
        return sweep

    return make


class SweepSender:
    """A sender of cells that continues until `cancel`."""

    is_submitting = True

    def cancel(self):
        self.is_submitting = False


def give(folder, sweep, number, *images, **changes):
    cell = sweep.cells[number - 1]
    sweep.attach(cell, folder.run(*images, params=dict(cell.params), **changes))
    return cell.run


def pixels(painting):
    return np.asarray(painting.paper).astype(int)


def box_of(painting, number):
    (box,) = [box for box in painting.page.boxes if box.tile.cell == number]
    return box


def part(painting, number):
    box, scale = box_of(painting, number), painting.scale * painting.page.zoom
    image = painting.paper.crop([round(side * scale) for side in (box.x, box.y, box.x + box.width, box.y + box.height)])
    return np.asarray(image).astype(int)


def test_only_changed_cells_are_painted_again(folder, make_sweep):
    sweep = make_sweep(axis("3::cfg", range(6)), axis("3::steps", range(5)))
    painting = SweepPainting(sweep, NOWHERE, scale=1)
    give(folder, sweep, 1, ("9", 128, 128))
    assert painting.refresh()
    before = pixels(painting)
    page = painting.page
    assert not painting.refresh()
    give(folder, sweep, 8, ("9", 128, 128))
    assert painting.refresh({8, 9})
    assert painting.page is page, "labels are written once"
    after = pixels(painting)
    box = box_of(painting, 8)
    changed = np.argwhere((before != after).any(axis=2))
    assert changed[:, 0].min() >= box.y
    assert changed[:, 0].max() < box.y + box.height
    assert changed[:, 1].min() >= box.x
    assert changed[:, 1].max() < box.x + box.width


def test_every_state_has_a_different_image_and_progress_changes_it(folder, make_sweep):
    sweep = make_sweep(axis("3::cfg", range(6)))
    painting = SweepPainting(sweep, NOWHERE, scale=1)
    give(folder, sweep, 2, status=Status.RUNNING)
    give(folder, sweep, 3, status=Status.FAILED, problem=Problem("<b>out</b> of memory"))
    give(folder, sweep, 4, status=Status.UNKNOWN, reason="cut off")
    give(folder, sweep, 5, status=Status.CANCELLED)
    running = give(folder, sweep, 6, status=Status.RUNNING)
    running.report(progress=Progress(value=12, max=20))
    painting.refresh()
    looks = [part(painting, number).tobytes() for number in range(1, 7)]
    assert len(set(looks)) == 6
    running.report(progress=Progress(value=13, max=20))
    assert painting.refresh({6})
    assert part(painting, 6).tobytes() != looks[5]


def test_images_of_another_shape_move_the_cells_once(folder, make_sweep):
    sweep = make_sweep(axis("3::cfg", range(4)), axis("3::steps", range(3)))
    painting = SweepPainting(sweep, NOWHERE, scale=1)
    painting.refresh()
    square = painting.page.boxes[0]
    assert square.width == square.height
    give(folder, sweep, 1, ("9", 192, 96))
    painting.refresh({1})
    page = painting.page
    assert page.boxes[0].width == 2 * page.boxes[0].height
    give(folder, sweep, 2, ("9", 192, 96))
    assert painting.refresh({2})
    assert painting.page is page


def test_several_images_are_a_mosaic_and_node_and_image_options_select(folder, make_sweep):
    sweep = make_sweep(axis("3::cfg", range(2)), sending=False)
    run = give(folder, sweep, 1, ("9", 100, 100), ("9", 100, 100), ("12", 100, 100))
    colours = [(255, 0, 0), (0, 160, 0), (0, 0, 255)]
    for image, colour in zip(run.images, colours, strict=True):
        Image.new("RGB", (100, 100), colour).save(image.path)

    def shown_colours(**options):
        painting = SweepGrid(sweep, **options).paint()
        painting.refresh()
        output = part(painting, 1).reshape(-1, 3)
        return [bool((abs(output - colour).sum(axis=1) < 40).mean() > 0.1) for colour in colours]

    assert shown_colours() == [True, True, True]
    assert shown_colours(node="12") == [False, False, True]
    assert shown_colours(image=1) == [False, True, False]
    assert shown_colours(node="9", image=0) == [True, False, False]


def test_a_larger_sweep_is_drawn_from_thumbnails_and_deleted_ones_are_made_again(folder, make_sweep):
    sweep = make_sweep(axis("3::cfg", range(6)), sending=False)
    for number in range(1, 7):
        give(folder, sweep, number, ("9", 600, 600))
    before = grid(sweep).jpeg
    run = sweep.cells[2].run
    thumbnails = sorted(folder.root.glob(f"{run.token}_0.t*.jpg"))
    for thumbnail in thumbnails:
        thumbnail.unlink()
    assert grid(sweep).jpeg == before
    assert sorted(folder.root.glob(f"{run.token}_0.t*.jpg")) == thumbnails
    for cell in sweep.cells:  # without the original files: loading all of them would need too much memory
        cell.run.images[0].path.write_bytes(b"")
    assert grid(sweep).jpeg == before


def test_a_cell_shows_that_its_image_is_missing(folder, make_sweep):
    sweep = make_sweep(axis("3::cfg", range(6)), sending=False)
    for number in range(1, 7):
        give(folder, sweep, number, ("9", 64, 64))
    for path in folder.root.glob("*"):
        path.unlink()
    painting = grid(sweep).paint()
    painting.refresh()
    assert part(painting, 1).std() > 1


def displayed(captured, kind):
    """Return the bundles of one kind of a view's two handles."""
    bundles = []
    for shown_text in captured._outputs:
        output = shown_text if isinstance(shown_text, dict) else shown_text.__dict__
        if kind in output["data"]:
            bundles.append(output)
    return bundles


def test_view_updates_a_grid_only_after_a_change_and_at_a_limited_rate(folder, make_sweep, handles):
    sweep = make_sweep(axis("3::cfg", range(4)))
    with capture_output() as captured:
        view = SweepView(sweep, in_kernel=True)
        for _ in range(20):
            view.draw()
        assert len(displayed(captured, "image/jpeg")) == 1, "the empty grid"
        give(folder, sweep, 1, ("9", 64, 64))
        end_s = time.monotonic() + 10
        while len(displayed(captured, "image/jpeg")) < 2 and time.monotonic() < end_s:
            view.draw()
        running = give(folder, sweep, 2, status=Status.RUNNING)
        began_s = time.monotonic()
        count = 0
        while time.monotonic() < began_s + 3 * UPDATE_S:
            count += 1
            running.report(progress=Progress(value=count % 90, max=90))
            view.draw()
        assert len(displayed(captured, "image/jpeg")) <= 2 + 4
        sweep.sender.is_submitting = False
        view.finish()
        view.finish()
    shown_text = displayed(captured, "image/jpeg")
    assert all(output["data"]["text/plain"].startswith("s1") for output in shown_text)
    last = shown_text[-1]
    size = last["metadata"]["image/jpeg"]
    image = Image.open(io.BytesIO(base64.b64decode(last["data"]["image/jpeg"])))
    assert image.size == (2 * size["width"], 2 * size["height"])
    handles = {output["transient"]["display_id"] for output in shown_text}
    assert len(handles) == 1, "one handle, updated"


def test_a_wide_grid_has_its_full_width_while_runs_are_in_progress(folder, make_sweep, handles):
    """It had the width before its text was enlarged, 680 px, and became wider at the end of the sweep."""
    sweep = make_sweep(axis("3::cfg", range(6)))
    give(folder, sweep, 1, ("9", 512, 512))
    with capture_output() as captured:
        SweepView(sweep, in_kernel=True).draw()
    (output,) = displayed(captured, "image/jpeg")
    size = output["metadata"]["image/jpeg"]
    image = Image.open(io.BytesIO(base64.b64decode(output["data"]["image/jpeg"])))
    assert image.size == (size["width"], size["height"])
    assert size["width"] > 680


def test_the_status_line_shows_progress(folder, make_sweep, handles):
    sweep = make_sweep(axis("3::cfg", range(4)))
    give(folder, sweep, 1, ("9", 64, 64))
    give(folder, sweep, 2, status=Status.RUNNING)
    give(folder, sweep, 3, status=Status.FAILED, problem=Problem("no memory"))
    with capture_output() as captured:
        view = SweepView(sweep, in_kernel=True)
        sweep.sender.is_submitting = False
        give(folder, sweep, 2, ("9", 64, 64))
        view.finish()
    lines = [output["data"]["text/plain"] for output in displayed(captured, "text/html")]
    assert lines[0].startswith("s1 default on sandbox - 1 of 4 done, 1 running - 1 failed (s1.3: no memory) - ")
    assert lines[-1].startswith("s1 default - 2 of 4 success")
    assert "1 failed (s1.3: no memory)" in lines[-1]
    assert "1 not submitted. Run the cell again to submit it." in lines[-1]


@pytest.fixture(scope="module")
def thumbnails(tmp_path_factory):
    """Write one image and its thumbnail, used for all of a thousand runs."""
    root = tmp_path_factory.mktemp("thousand")
    wave = np.random.default_rng(1).integers(0, 255, (8, 8, 3), dtype="uint8")
    image = Image.fromarray(wave).resize((512, 512), Image.Resampling.BICUBIC)
    image.save(root / "all.png")
    image.resize((256, 256)).save(root / "all.t256.jpg")
    return root


@pytest.mark.parametrize("kind", ["two axes", "one axis", "three axes"])
def test_pages_of_1000_cells_are_below_a_megabyte(folder, make_sweep, thumbnails, kind):
    axes = {
        "two axes": (axis("3::cfg", range(25)), axis("3::steps", range(40))),
        "one axis": (axis("3::seed", range(1000)),),
        "three axes": (axis("3::cfg", range(10)), axis("3::steps", range(10)), axis("3::seed", range(10))),
    }[kind]
    sweep = make_sweep(*axes, sending=False)
    folder.root = thumbnails
    from comflowy_nb.tracking.run import ImageRecord

    image = ImageRecord(0, "9", 0, "kept", "all.png", "0" * 64, 1, 512, 512, "PNG")
    pattern = folder.run(params={})
    from dataclasses import replace

    for cell in sweep.cells:
        record = replace(pattern.record, token=f"token{cell.number}", number=cell.number, images=(image,))
        sweep.attach(cell, Run(record, folder.root))
    sweep_grid = grid(sweep)
    data, metadata = sweep_grid.bundle()
    assert len(str(data)) < 1_000_000
    assert metadata["image/jpeg"]["width"] <= 1200
    assert metadata["image/jpeg"]["height"] <= 2450
    painting = sweep_grid.paint()
    output = set()
    page = painting.page
    for number in range(1, page.of + 1):
        page = grid(sweep, page=number).paint(scale=1).page
        more = {box.tile.cell for box in page.boxes}
        assert not more & output
        output |= more
        if page.of > 1:
            output_text = f"page {number} of {page.of}: {len(more)} of 1000 cells"
            assert any(output_text in text.text for text in page.texts)
    assert output == set(range(1, 1001)), "every cell is on one page"
    with pytest.raises(Exception, match="there is no page"):
        grid(sweep, page=page.of + 1).bundle()


def test_the_figure_is_a_matplotlib_figure_with_text_as_text(folder, make_sweep):
    sweep = make_sweep(axis("3::cfg", [2, 4]), axis("3::sampler_name", ["euler", "heun"]), sending=False)
    give(folder, sweep, 1, ("9", 64, 64))
    figure = grid(sweep).figure
    output = {text.get_text() for text in figure.axes[0].texts}
    assert {"cfg", "2", "4", "sampler_name", "euler", "heun", "s1.1"} <= output


def test_no_text_of_the_figure_is_clipped_or_on_an_image(folder, make_sweep):
    long = "a very long prompt about a glass bottle on a beach with " + "many words and " * 12
    values = [long + "one moon", long + "two moons in the sky", "short"]
    sweep = make_sweep(
        axis("6::text", values),
        axis("3::sampler_name", ["euler", "a_sampler_whose_name_is_much_too_long_for_any_header_of_a_row_of_images"]),
        axis("7::text", [long, "other " + long]),
        sending=False,
    )
    give(folder, sweep, 1, ("9", 256, 256))
    image = grid(sweep)
    figure = image.figure
    renderer = figure.canvas.get_renderer()
    page = image.paint().page
    scale = figure.dpi / 100 * page.zoom
    placed = []
    for text in figure.axes[0].texts:
        box = text.get_window_extent(renderer)
        assert box.x0 >= 0
        assert box.x1 <= page.width * scale
        assert box.y0 >= 0
        assert box.y1 <= page.height * scale
        placed.append((box.x0 / scale, page.height - box.y1 / scale, box.x1 / scale, page.height - box.y0 / scale))
    for slot in page.boxes:
        for left, top, right, low in placed:
            apart = right <= slot.x or left >= slot.x + slot.width or low <= slot.y or top >= slot.y + slot.height
            assert apart, "words on an image"
    for number, first in enumerate(placed):
        for other in placed[number + 1 :]:
            across = min(first[2], other[2]) - max(first[0], other[0])
            down = min(first[3], other[3]) - max(first[1], other[1])
            assert across <= 1 or down <= 1, "words on words"
