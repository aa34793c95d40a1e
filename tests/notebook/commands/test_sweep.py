"""`%comflowy sweep` against the real sandbox, with small images."""

from __future__ import annotations

import base64
import io
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from IPython.core.error import UsageError
from PIL import Image

from comflowy_nb.errors import FieldError, RefError, RunFailed, RunTimeout, SettingsError, WorkflowError
from comflowy_nb.library import open_library
from comflowy_nb.notebook import interrupts
from comflowy_nb.notebook.display.show import grid
from comflowy_nb.status import Status

SMALL = "5::width=64 5::height=64 steps=3"
BODY = "5::width: 64\n5::height: 64\nsteps: 3\n"
SLOW = "5::width=64 5::height=64 steps=2000"


def texts(cell):
    return [data["text/plain"] for data in cell.last]


def pixels_of(cell):
    (data,) = [data for data in cell.last if "image/jpeg" in data]
    return Image.open(io.BytesIO(base64.b64decode(data["image/jpeg"])))


def in_grid(drawn, number):
    """Return the pixels of one cell on the page."""
    painting = drawn.paint()
    (box,) = [box for box in painting.page.boxes if box.tile.cell == number]
    page = Image.open(io.BytesIO(painting.jpeg()))
    scale = painting.scale
    cell = page.crop((box.x * scale, box.y * scale, (box.x + 64) * scale, (box.y + 64) * scale))
    return np.asarray(cell.resize((64, 64), Image.Resampling.BOX)).astype(int)


def test_a_repeated_sweep_submits_nothing_and_shows_the_same_grid(sandbox):
    line = f"%comflowy sweep default {SMALL} cfg=2..8..2 sampler_name=euler,heun,dpmpp_2m seed=7 --as bottles"
    first = sandbox(line)
    assert first.error is None
    plan, status, image = texts(first)
    assert re.fullmatch(r"12 cells: 12 new(, about \d+ (s|min))?", plan)
    ref = first.value.ref
    assert re.fullmatch(rf"{ref} bottles \(default\) - 12 of 12 success in \d.*s", status)
    assert image.startswith(f"{ref}: 12 cells, 12 images")
    assert sum("image/jpeg" in data for data in first.last) == 1, (
        "drawn once, although it is also the value of the cell"
    )
    assert first.value.layout == {"x": None, "y": None, "z": None}

    again = sandbox(line)
    assert texts(again)[0] == "12 cells: 12 done (today, sandbox)"
    assert texts(again)[1] == f"{ref} bottles (default) - 12 of 12 success - nothing submitted; --fresh runs it again"
    assert again.value.ref == ref
    assert pixels_of(again).tobytes() == pixels_of(first).tobytes()

    extended = sandbox(line.replace("2..8..2", "2..10..2"))
    assert texts(extended)[0].startswith("15 cells: 12 done (today, sandbox), 3 new")
    repeated = sandbox("%comflowy sweep --from bottles cfg=2..10..2")
    assert texts(repeated)[0] == "15 cells: 15 done (today, sandbox)"
    later = sandbox("bottles")
    assert "image/jpeg" in later.last[1], "another execution shows it again, from disk"


def test_the_grid_fills_in_while_runs_are_in_progress(sandbox):
    cell = sandbox("%comflowy sweep default 5::width=64 5::height=64 steps=300 cfg=1..8 seed=77")
    assert cell.error is None
    _, status, images = cell.handles.values()
    images_shown = [output["data"]["image/jpeg"] for output in images if "image/jpeg" in output["data"]]
    assert len(images_shown) > 2
    assert len(set(images_shown)) == len(images_shown), "an image is not displayed twice"
    first = status[0]["data"]["text/plain"]
    assert re.match(r"s\d+ default on sandbox - \d+ of 8 done(, \d+ running)? - ", first)


def test_each_cell_of_the_grid_is_the_image_of_its_params(sandbox):
    cell = sandbox(f"%comflowy sweep default {SMALL} cfg=2,9 sampler_name=euler,heun seed=3..4")
    assert cell.error is None
    sweep = cell.value
    grid_of_sweep = grid(sweep)
    pixels_by_cell = {cell.number: in_grid(grid_of_sweep, cell.number) for cell in sweep.cells}
    for cell in sweep.cells:
        params = " ".join(f"{key}={value}" for key, value in cell.params.items())
        single = sandbox(f"%comflowy run default {params}")
        assert "nothing submitted" in texts(single)[0], "a cell is the same request as the run"
        expected = np.asarray(single.value.images[0].pil().convert("RGB")).astype(int)
        nearest = min(pixels_by_cell, key=lambda number: abs(pixels_by_cell[number] - expected).mean())
        same = [other.number for other in sweep.cells if other.images[0].bytes == cell.images[0].bytes]
        assert nearest in same
        assert abs(pixels_by_cell[cell.number] - expected).mean() < 12


def test_x_and_y_choose_columns_and_rows(sandbox):
    cell = sandbox(f"%comflowy sweep default {SMALL} cfg=2,3,4 sampler_name=euler,heun seed=5 --x sampler_name --y cfg")
    page = grid(cell.value).paint().page
    at = {box.tile.cell: (box.x, box.y) for box in page.boxes}
    numbers = {
        (sweep_cell.params["3::cfg"], sweep_cell.params["3::sampler_name"]): sweep_cell.number
        for sweep_cell in cell.value.cells
    }
    for sampler in ("euler", "heun"):
        assert len({at[numbers[cfg, sampler]][0] for cfg in (2, 3, 4)}) == 1, "a column"
    for cfg in (2, 3, 4):
        assert len({at[numbers[cfg, sampler]][1] for sampler in ("euler", "heun")}) == 1, "a row"
    assert at[numbers[2, "euler"]][0] < at[numbers[2, "heun"]][0]
    reordered = grid(cell.value, x="cfg", y="3::sampler_name").paint().page
    other = {box.tile.cell: (box.x, box.y) for box in reordered.boxes}
    assert other[numbers[2, "euler"]][1] < other[numbers[2, "heun"]][1]


def test_body_with_labels_presets_and_more_axes_is_a_sweep(sandbox):
    cell = sandbox(
        f"%%comflowy sweep default --as night --z 6::text\n{BODY}"
        "look: {soft: {cfg: 4, sampler_name: euler}, crisp: {cfg: 8, sampler_name: heun}}\n"
        '6::text: {day: "glass bottle at noon", night: "glass bottle, stars"}\n'
        "seed: random\n"
    )
    assert cell.error is None
    texts_on_page = [text.text for text in grid(cell.value).paint().page.texts]
    assert {"soft", "crisp", "day", "night"} <= {word.strip() for word in texts_on_page}
    seed = cell.value.cells[0].params["3::seed"]
    assert {sweep_cell.params["3::seed"] for sweep_cell in cell.value.cells} == {seed}
    assert any(f"{seed} (generated)" in word for word in texts_on_page)
    again = sandbox(
        f"%%comflowy sweep default --as night\n{BODY}"
        "look: {soft: {cfg: 4, sampler_name: euler}, crisp: {cfg: 8, sampler_name: heun}}\n"
        '6::text: {day: "glass bottle at noon", night: "glass bottle, stars"}\n'
        "seed: random\n"
    )
    assert texts(again)[0] == "4 cells: 4 done (today, sandbox)", "the generated seed is reused"


def test_count_submits_a_sweep_of_seeds(sandbox):
    line = f"%comflowy run default {SMALL} cfg=3.5 --count 3 --as three"
    cell = sandbox(line)
    assert cell.error is None
    seeds = [sweep_cell.params["3::seed"] for sweep_cell in cell.value.cells]
    assert len(set(seeds)) == 3
    assert [cell.params["3::seed"] for cell in sandbox(line).value.cells] == seeds
    refused = sandbox("%comflowy run default seed=5 --count 3")
    assert isinstance(refused.error, FieldError)


def test_a_dry_run_submits_nothing_and_draws_the_states(sandbox):
    sandbox(f"%comflowy run default {SMALL} cfg=2.25 seed=1")
    before = len(sandbox("%comflowy runs --limit 500").value)
    cell = sandbox(f"%comflowy sweep default {SMALL} cfg=2.25,3.25 seed=1 --dry-run")
    assert cell.error is None
    assert texts(cell)[0].startswith("2 cells: 1 done (today, sandbox), 1 new")
    assert "nothing was submitted" in texts(cell)[0]
    assert sum("image/jpeg" in data for data in cell.last) == 1
    assert [sweep_cell.planned for sweep_cell in cell.value.cells] == ["done", "new"]
    assert cell.value.record is None
    assert len(sandbox("%comflowy runs --limit 500").value) == before


@pytest.mark.parametrize(
    ("line", "kind", "message"),
    [
        ("sweep default cfg=8..2", FieldError, "cfg"),
        ("sweep default cfgg=1,2", FieldError, "cfg"),
        ("sweep default cfg=4,,8", FieldError, "cfg"),
        ("sweep default cfg=1,2 --x steps", RefError, "not an axis"),
        ("sweep default cfg=1,2 steps=3,4 --x cfg --y cfg", RefError, "both x and y"),
        ("sweep default cfg=1,2 --max-runs 1", SettingsError, "--max-runs permits 1"),
        ("sweep default cfg=1,2 --count 3", UsageError, "no option --count"),
        ("sweep", UsageError, "needs a WORKFLOW"),
        ("show r1 --page 2", UsageError, "for a sweep"),
    ],
)
def test_errors_are_raised_before_anything_is_submitted(sandbox, line, kind, message):
    sandbox(f"%comflowy run default {SMALL} seed=1")
    before = len(sandbox("%comflowy runs --limit 500").value)
    cell = sandbox(f"%comflowy {line}")
    assert isinstance(cell.error, kind)
    assert message in str(cell.error)
    assert len(sandbox("%comflowy runs --limit 500").value) == before


def test_sweep_over_images_and_denoise_has_each_combination(sandbox, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, color in (("a.png", "red"), ("b.png", "lime")):
        Image.new("RGB", (32, 32), color).save(name)
    small = "2::width=64 2::height=64 steps=2 seed=5"
    typed = sandbox(f"%comflowy sweep img2img 1::image=file:a.png||file:b.png denoise=0.05,0.9 {small} --as refs")
    assert typed.error is None
    assert typed.value.status_counts() == {"success": 4}
    red, lime = (np.asarray(cell.run.images.of("9")[0].pil()).reshape(-1, 3).mean(0) for cell in typed.value.cells[::2])
    assert red[0] > red[1]
    assert lime[1] > lime[0], "each cell uses its own image"
    body = "%%comflowy sweep img2img\nimage:\n  - file:a.png\n  - file:b.png\ndenoise: [0.05, 0.9]\n"
    body += "2::width: 64\n2::height: 64\nsteps: 2\nseed: 5\n"
    assert texts(sandbox(body))[0] == "4 cells: 4 done (today, sandbox)"
    sandbox("from PIL import Image\npics = [Image.open('a.png'), Image.open('b.png')]")
    assert texts(sandbox(f"%comflowy sweep img2img 1::image={{pics}} denoise=0.05 {small}"))[0].startswith("2 cells")
    for name in ("a.png", "b.png"):
        (tmp_path / name).unlink()
    extended = sandbox("%comflowy sweep --from refs denoise=0.05,0.5,0.9")
    assert extended.error is None, "uploaded images are kept"
    assert texts(extended)[0].startswith("6 cells: 4 done (today, sandbox), 2 new")
    assert sandbox("%comflowy sweep --from refs --export night.yaml").error is None
    assert (tmp_path / "night_images").is_dir()
    saved = sandbox("%comflowy save refs out")
    assert saved.error is None


def test_failed_cells_show_the_reason_and_raise_only_if_strict(sandbox):
    line = "%comflowy sweep img2img image=never-uploaded.png seed=1,2"
    cell = sandbox(line)
    assert cell.error is None
    assert cell.value.errors
    assert f"0 of 2 success - 2 failed ({cell.value.ref}.1, {cell.value.ref}.2" in texts(cell)[1]
    assert "never-uploaded.png" in texts(cell)[1], "the reason, if it is the same for all"
    strict = sandbox(f"{line} --strict")
    assert isinstance(strict.error, RunFailed)
    assert any("image/jpeg" in data for data in strict.last), "drawn before it raises"


SCRIPT = """
from comflowy_nb import connect
with connect("sandbox") as client:
    axes = {"3::cfg": list(range(1, 31)), "3::steps": 2000, "3::seed": 987123, "5::width": 64, "5::height": 64}
    swept = client.sweep("default", axes, wait=False, name="elsewhere")
    print("started", flush=True)
    swept.wait(60)
    print(swept.status_counts(), swept.stopped)
"""


def test_cancel_stops_the_sweep_of_another_kernel(sandbox):
    """`cancel` cancelled only the current runs: the other kernel counted them as failed and submitted the next ones."""
    command = [sys.executable, "-c", SCRIPT]
    with subprocess.Popen(command, env={**os.environ}, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "started\n"
        try:
            cancelled = sandbox("%comflowy cancel elsewhere")
            output, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert cancelled.error is None
    (line,) = texts(cancelled)
    assert "0 of 30 success" in line
    assert "failed" not in line + output
    assert "cancelled from another kernel" in output
    runs = sandbox("%comflowy runs --limit 500 seed=987123").value
    assert {str(run.status) for run in runs} == {"cancelled"}
    assert len(runs) < 30


def test_an_interrupt_cancels_and_keeps_the_grid_and_the_cell_can_continue(sandbox, interrupting):
    line = f"%comflowy sweep default {SLOW} cfg=1..12 seed=21"

    def is_running():
        return any(run.status is Status.RUNNING for run in open_library().runs(limit=50))

    with interrupting(is_running):
        cell = sandbox(line)
    assert isinstance(cell.error, KeyboardInterrupt)
    assert re.search(r"s\d+: \d+ of 12 done\. Run the cell again to continue\.", cell.lines[0])
    assert len(cell.lines) == 1
    status = texts(cell)[1]
    assert "not submitted" in status or "12 cancelled" in status  # all, if all were submitted before the interrupt
    assert "image/jpeg" in cell.last[2], "the grid stays"
    sweep = re.match(r"s\d+", status)[0]
    output = sandbox(f"%comflowy show {sweep}")
    assert not any(cell.status is not None and cell.status.is_live for cell in output.value.cells)
    planned = sandbox(f"{line} --dry-run")
    assert "12 cells: " in texts(planned)[0]
    assert re.search(r"\d+ cancelled \(tried again\)", texts(planned)[0])


def test_timeout_does_not_cancel_the_sweep_and_cancel_does(sandbox):
    cell = sandbox(f"%comflowy sweep default {SLOW} cfg=1..6 seed=22 --timeout 0.5 --as late")
    assert isinstance(cell.error, RunTimeout)
    ref = cell.error.run.ref
    stopped = sandbox(f"%comflowy cancel {ref}")
    assert stopped.error is None
    assert re.match(rf"{ref} late \(default\) - 0 of 6 success - [1-6] cancelled", texts(stopped)[0])
    assert cell.error.run.wait(30).is_settled
    assert not any(sweep_cell.status is Status.RUNNING for sweep_cell in cell.error.run.cells)


def test_show_save_and_runs_accept_references_of_cells(sandbox, tmp_path):
    sweep = sandbox(f"%comflowy sweep default {SMALL} cfg=6.5,7.5 seed=31 --as pair").value
    output = sandbox("%comflowy show pair")
    assert output.error is None
    assert output.value.ref == sweep.ref
    assert "2 of 2 success" in texts(output)[0]
    assert sum("image/jpeg" in data for data in output.last) == 1
    shown_cell = sandbox(f"%comflowy show {sweep.ref}.2")
    assert shown_cell.value.params["3::cfg"] == 7.5
    again = sandbox(f"%comflowy run --from {sweep.ref}.2")
    assert "nothing submitted" in texts(again)[0]
    saved = sandbox(f"%comflowy save pair {tmp_path}/out")
    assert saved.error is None
    assert str(tmp_path) not in str(saved.last)
    assert {"sweep.json", "contact_sheet.jpg"} <= {path.name for path in (tmp_path / "out").iterdir()}
    listing = sandbox(f"%comflowy runs {sweep.ref}")
    assert f"{sweep.ref}.2" in texts(listing)[0]
    assert sweep.ref in texts(sandbox("%comflowy runs"))[0]
    by_object = sandbox("%comflowy show {pair}")
    assert by_object.value.ref == sweep.ref


def test_a_sweep_is_shown_without_a_service(sandbox, shell):
    ref = sandbox(f"%comflowy sweep default {SMALL} cfg=6.75,7.75 seed=31 --as alone").value.ref
    shell.run_line_magic("unload_ext", "comflowy_nb")
    shell.run_line_magic("load_ext", "comflowy_nb")
    output = sandbox("%comflowy show alone")
    assert output.error is None
    assert output.value.ref == ref
    assert any("image/jpeg" in data for data in output.last)


def test_export_writes_a_file_with_the_options(sandbox, tmp_path, monkeypatch):
    from comflowy_nb.workflow.axes.yaml_file import read_sweep_file

    monkeypatch.chdir(tmp_path)
    cell = sandbox(
        f"%comflowy sweep default {SMALL} cfg=2..8..2 seed=random#2 --as nightly --x seed --export night.yaml"
    )
    assert cell.error is None
    assert "night.yaml" in texts(cell)[0]
    read = read_sweep_file(tmp_path / "night.yaml")
    assert read.options["name"] == "nightly"
    assert read.options["x"] == "seed"


def test_export_replaces_another_file_only_if_asked(sandbox, tmp_path, monkeypatch):
    """`--export` overwrote any file, and created missing folders, without a message."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "night.yaml"
    file.write_text("my own notes\n")
    line = f"%comflowy sweep default {SMALL} cfg=2,3 seed=1 --export"
    refused = sandbox(f"{line} night.yaml").error
    assert isinstance(refused, WorkflowError)
    assert "night.yaml can't be written: a different file with this name exists" in str(refused)
    assert "--overwrite replaces it, or use another name" in str(refused)
    assert file.read_text() == "my own notes\n"
    assert sandbox(f"{line} night.yaml --overwrite").error is None
    assert "cfg: [2.0, 3.0]" in file.read_text()
    assert sandbox(f"{line} night.yaml").error is None  # the same content
    created = texts(sandbox(f"{line} 'new files/day.yaml'"))[0]
    assert "written to day.yaml in the new folder new files" in created
    assert "comflowy-nb sweep 'new files/day.yaml'" in created
    assert "--overwrite needs --export" in str(sandbox(f"%comflowy sweep default {SMALL} cfg=2,3 --overwrite").error)


def test_a_terminal_shows_lines_and_paths(sandbox, shell, cell, monkeypatch):
    monkeypatch.delattr(shell, "kernel")
    done = cell(f"s = %comflowy sweep default {SMALL} cfg=5.5,8.5 seed=41")
    assert done.error is None
    assert "2 cells: 2 new" in done.stdout
    assert "2 of 2 success" in done.stdout
    assert ".png" in done.stdout
    assert not done.sent


def test_a_background_sweep_is_updated_in_its_cell(sandbox, shell, monkeypatch):
    monkeypatch.setattr(shell, "kernel", type("Kernel", (), {"_allow_stdin": True})(), raising=False)
    monkeypatch.setattr(interrupts, "wait_drawing", None)  # any wait fails the test
    cell = sandbox(
        "import time\n"
        "s = %comflowy sweep default 5::width=64 5::height=64 steps=60 cfg=1..8 seed=78 --background\n"
        "updater = get_ipython().magics_manager.registry['Comflowy'].session.updater\n"
        "end = time.monotonic() + 60\n"
        "while updater._views and time.monotonic() < end: time.sleep(0.02)\n"
        "s"
    )
    assert cell.error is None
    _, status, image = texts(cell)
    assert "8 of 8 success" in status
    assert image.startswith(f"{cell.value.ref}: 8 cells, 8 images")
    assert len(cell.handles) == 3, "the value of the cell displays nothing"


def test_cells_of_a_sweep_show_themselves(sandbox):
    """`sweep[1]` at the end of a cell showed a repr, and a list of cells was no argument of `grid`."""
    swept = sandbox(f"swept = get_ipython().run_line_magic('comflowy', 'sweep default {SMALL} seed=77 cfg=3,5')")
    assert swept.error is None
    cell = sandbox("swept[1]")
    assert cell.last[0]["text/plain"].startswith(f"{cell.value.run.ref} default - success")
    assert "image/jpeg" in cell.last[1]
    together = sandbox("import comflowy_nb\ncomflowy_nb.grid(swept.select(cfg=5))")
    assert repr(together.value) == f"<Grid of {cell.value.run.ref}>"
    plan = sandbox(
        "client = comflowy_nb.connect('sandbox')\n"
        "plan = client.plan_sweep('default', {'cfg': [3, 6], 'seed': 1})\nplan[1]"
    )
    assert plan.last == [{"text/plain": "sweep.2 - not submitted", "text/html": plan.last[0]["text/html"]}]
    unsent = sandbox("comflowy_nb.show(list(plan))")
    assert isinstance(unsent.error, RefError)
