"""Sweeps over input images: uploads, submits, headings, and repeats in a later kernel."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from faulty_server import reply
from PIL import Image
from scripted_api import RUN, UPLOAD, ScriptedApi, ScriptedSandbox, png

from comflowy_nb import connect, history
from comflowy_nb.errors import FieldError, ImageError, ServiceError, WorkflowError
from comflowy_nb.library import open_library
from comflowy_nb.sweeps.dataframe import table_of
from comflowy_nb.sweeps.headings import sheet_of_sweep
from comflowy_nb.workflow.axes.yaml_file import read_sweep_file, write_sweep_file
from comflowy_nb.workflow.fields import Field, FieldType
from comflowy_nb.workflow.image_metadata import RunMetadata
from comflowy_nb.workflow.syntax.body import read_body
from comflowy_nb.workflow.syntax.lists import Setting

pytestmark = pytest.mark.usefixtures("short_delays")

FIELD = "1::image"


@pytest.fixture
def api():
    with ScriptedSandbox() as server:
        yield server


@pytest.fixture
def client(api):
    with api.connect() as connected:
        yield connected


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Make the working folder with images in three colours."""
    for subfolder in ("", "day", "night"):
        (tmp_path / subfolder).mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path)
    for name, color in (("a.png", "red"), ("b.png", "lime"), ("c.png", "blue")):
        (tmp_path / name).write_bytes(png(color))
    (tmp_path / "day" / "sky.png").write_bytes(png("white"))
    (tmp_path / "night" / "sky.png").write_bytes(png("black"))
    return tmp_path


def submits_by_params(api):
    return Counter(json.dumps(request.json["params"], sort_keys=True) for request in api.requests(RUN))


def line(text, **more):
    return [Setting(FIELD, text), *(Setting(key, value) for key, value in more.items())]


def labels(sweep):
    return [value.label for value in sweep.axes.axes[0].values]


# -- uploads and submits --------------------------------------------------------------------------------------------


def test_images_crossed_with_numbers_are_uploaded_once_each(client, api, folder):
    sweep = client.sweep("img2img", line("file:a.png||file:b.png||file:c.png", denoise="0.2,0.5,0.8,1"), timeout=30)
    assert sweep.status_counts() == {"success": 12}
    assert api.count(UPLOAD) == 3
    assert api.count(RUN) == len(submits_by_params(api)) == 12
    values = {request.json["params"][FIELD] for request in api.requests(RUN)}
    assert values == {"input-1.png", "input-2.png", "input-3.png"}
    assert labels(sweep) == ["a.png", "b.png", "c.png"]


def test_input_images_are_identified_by_their_content(client, api, folder):
    client.sweep("img2img", line("file:a.png||file:b.png"), timeout=30)
    (folder / "a.png").rename(folder / "renamed.png")
    renamed = client.sweep("img2img", line("file:renamed.png||file:b.png"), timeout=30)
    assert renamed.plan.text.startswith("2 cells: 2 done")
    assert (api.count(RUN), api.count(UPLOAD)) == (2, 2)
    (folder / "b.png").write_bytes(png("olive"))
    changed = client.sweep("img2img", line("file:renamed.png||file:b.png"), timeout=30)
    assert changed.plan.text.startswith("2 cells: 1 done (today, sandbox), 1 new")
    assert (api.count(RUN), api.count(UPLOAD)) == (3, 3)


def test_another_client_uploads_only_what_it_submits(client, api, folder):
    client.sweep("img2img", line("file:a.png||file:b.png"), timeout=30)
    with api.connect() as second:
        second.sweep("img2img", line("file:a.png||file:b.png||file:c.png"), timeout=30)
    assert (api.count(RUN), api.count(UPLOAD)) == (3, 3)


def test_nothing_is_submitted_if_an_image_is_rejected(client, api, folder):
    """Each image was uploaded with its first cell: a service that rejected the last image had run the other cells."""
    api.on(UPLOAD, reply({"name": "first.png"}), reply({"success": False, "error": "too large"}, status=413))
    with pytest.raises(ServiceError):
        client.sweep("img2img", line("file:a.png||file:b.png"), timeout=30)
    assert api.count(RUN) == 0
    assert history.runs() == []
    assert open_library().history.sweeps.recent() == []


def test_nothing_is_submitted_to_a_service_without_uploads(folder):
    with ScriptedApi() as server, connect(f"test={server.url}", key="k") as client:
        with pytest.raises(WorkflowError, match="https address"):
            client.sweep("wf-1", line("https://example.com/x.png||file:a.png"), timeout=30)
        assert server.count(RUN) == 0


# -- syntax ---------------------------------------------------------------------------------------------------------


def test_block_list_sweep_file_and_python_give_the_same_axis(client, api, folder):
    body = read_body("image:\n  - file:a.png\n  - file:b.png\ndenoise: 0.2, 0.5\n", sweep=True)
    first = client.sweep("img2img", body.settings, timeout=30)
    assert first.status_counts() == {"success": 4}
    (folder / "night.yaml").write_text(
        "workflow: img2img\nfields:\n  image:\n    - file:a.png\n    - file:b.png\n  denoise: [0.2, 0.5]\n"
    )
    read = read_sweep_file(folder / "night.yaml")
    again = client.sweep(read.workflow, read.settings, timeout=30)
    paths = client.sweep("img2img", {FIELD: [folder / "a.png", "file:b.png"], "3::denoise": [0.2, 0.5]}, timeout=30)
    assert [swept.plan.done for swept in (again, paths)] == [4, 4]
    assert (api.count(RUN), api.count(UPLOAD)) == (4, 2)


def test_python_images_and_arrays_are_uploaded(client, api, folder):
    arrays = [np.full((4, 4, 3), shade, np.uint8) for shade in (10, 20)]
    sweep = client.sweep("img2img", {FIELD: [Image.open("a.png"), *arrays]}, timeout=30)
    assert labels(sweep) == ["a.png", "image 2", "image 3"]
    again = client.sweep("img2img", {FIELD: [Image.fromarray(arrays[1]), arrays[0]]}, timeout=30)
    assert again.plan.done == 2
    assert (api.count(RUN), api.count(UPLOAD)) == (3, 3)
    assert [cell.number for cell in again.select(image=arrays[0])] == [2]


def test_images_of_earlier_runs_are_uploaded(client, api, folder):
    api.outputs = {"9": ["/images/a.png", "/images/b.png"]}
    api.on("GET /images/b.png", reply(png("pink")))
    run = client.run("img2img", {"3::seed": 1}, timeout=30)
    sweep = client.sweep("img2img", line("run:r1[0] || run:r1[1]"), timeout=30)
    assert labels(sweep) == ["r1[0]", "r1[1]"]
    again = client.sweep("img2img", {FIELD: run.images}, timeout=30)
    assert again.plan.done == 2
    assert (api.count(RUN), api.count(UPLOAD)) == (3, 2)


def test_a_pattern_is_an_axis_of_the_files_it_matches(client, api, folder):
    for number in (2, 10):
        (folder / f"x{number}.png").write_bytes(png(f"#0000{number:02}"))
    sweep = client.sweep("img2img", line("file:x*.png||file:a.png"), timeout=30)
    assert labels(sweep) == ["x2.png", "x10.png", "a.png"]
    deep = client.plan_sweep("img2img", line("file:**/sky.png"))
    assert labels(deep) == ["day/sky.png", "night/sky.png"]
    with pytest.raises(FieldError, match=r"no file matches 'refs/\*\.jpg'"):
        client.sweep("img2img", line("file:refs/*.jpg"))
    with pytest.raises(FieldError, match=r"'file:x\*\.png' is a pattern of files, but one value is expected here"):
        client.sweep("img2img", {FIELD: {"all": "file:x*.png"}})
    assert api.count(RUN) == 3


# -- errors ---------------------------------------------------------------------------------------------------------


def test_a_value_that_is_not_an_image_is_rejected_with_its_position(client, api, folder):
    (folder / "notes.txt").write_text("no image")
    with pytest.raises(FieldError) as caught:
        client.sweep("img2img", line("file:a.png||file:gone.png||file:notes.txt||run:r9[0]||file:b.png", denoise="2"))
    message = str(caught.value)
    for words in ("image", "value 2 of 5: there is no file 'gone.png'",
                  "value 3 of 5: notes.txt can't be read as an image",
                  "value 4 of 5: there is no run r9", "denoise"):  # fmt: skip
        assert words in message
    assert (api.count(RUN), api.count(UPLOAD)) == (0, 0)


def test_a_missing_file_among_images_is_an_error(folder):
    """`file:gone.png` between images was submitted as text, and cost money, if the field had no description."""
    with ScriptedApi() as server, connect(f"test={server.url}", key="k") as client:
        with pytest.raises(FieldError, match=r"there is no image 'file:gone\.png'"):
            client.sweep("wf-1", line("file:a.png||file:gone.png"))
        assert server.count(RUN) == 0


def test_image_under_two_names_is_a_duplicate_value(client, api, folder):
    (folder / "copy.png").write_bytes((folder / "a.png").read_bytes())
    with pytest.raises(FieldError, match=r"duplicate value: 'a.png' and 'copy.png' are equal"):
        client.sweep("img2img", line("file:a.png||file:copy.png"))
    assert api.count(UPLOAD) == 0


# -- the grid, and a later kernel -----------------------------------------------------------------------------------


def test_headings_of_files_with_the_same_name_differ(client, folder):
    sweep = client.sweep("img2img", line(f"file:day/sky.png||file:{folder}/night/sky.png||file:a.png"), timeout=30)
    sheet = sheet_of_sweep(sweep, sweep.layout)
    assert [heading.text for heading in sheet.x.values] == ["day/sky.png", "night/sky.png", "a.png"]
    assert str(folder) not in repr(sheet)
    assert [cell.number for cell in sweep.select(image="night/sky.png")] == [2]


def test_texts_of_images_on_the_grid_are_their_names(client, folder):
    """An image with a label, or one that all cells share, was written as the repr of a Python object."""
    labelled = client.sweep("img2img", {FIELD: {"day": "file:a.png", "night": "file:b.png"}}, timeout=30)
    shared = client.sweep("img2img", line("file:c.png", denoise="0.2,0.5"), timeout=30)
    for sweep in (labelled, shared):
        assert "InputImage" not in repr(sheet_of_sweep(sweep, sweep.layout))
    assert "c.png" in repr(sheet_of_sweep(shared, shared.layout))


def test_a_later_kernel_repeats_the_sweep_without_the_files(client, api, folder):
    sweep = client.sweep("img2img", line("file:day/sky.png||file:night/sky.png", denoise="0.2,0.5"), timeout=30)
    before = table_of(sweep.cells)
    for path in (folder / "day" / "sky.png", folder / "night" / "sky.png"):
        path.unlink()
    library = open_library()
    later = library.sweep(library.find("s1").sweep)
    after = table_of(later.cells)
    assert after == before, "a table showed an image as a piece of JSON once its kernel was gone"
    assert [row["image label"] for row in after] == ["day/sky.png"] * 2 + ["night/sky.png"] * 2
    saved = later.save(folder / "out")
    names = [path.name for path in saved]
    assert len(names) == 4 + 2
    assert len({name for name in names if name.endswith(".png")}) == 4


def test_a_later_kernel_extends_the_sweep_and_submits_only_new_cells(client, api, folder):
    """The images of an earlier kernel's sweep could not be uploaded again: no copy was kept."""
    client.sweep("img2img", line("file:a.png||file:b.png", denoise="0.2,0.5"), timeout=30)
    for name in ("a.png", "b.png"):
        (folder / name).unlink()
    library = open_library()
    before = library.sweep(library.find("s1").sweep).axes
    with api.connect() as second:
        workflow = second.workflow("img2img")
        new_axes = second.connection.axes(workflow, [Setting("denoise", "0.2,0.5,0.8")]).override(before)
        sweep = second.sweep(workflow, new_axes, timeout=30)
        assert sweep.plan.text.startswith("6 cells: 4 done (today, sandbox), 2 new")
        assert sweep.status_counts() == {"success": 6}
    assert (api.count(RUN), api.count(UPLOAD)) == (6, 4)
    uploads = [request.body for request in api.requests(UPLOAD)]
    assert png("red") in uploads[2] + uploads[3]
    (folder / "night.yaml").write_text("my own notes")
    with pytest.raises(WorkflowError, match="overwrite=True replaces it"):
        write_sweep_file(folder / "night.yaml", workflow="img2img", axes=new_axes)
    assert not (folder / "night_images").exists()
    write_sweep_file(folder / "night.yaml", workflow="img2img", axes=new_axes, overwrite=True)
    sweep_file = read_sweep_file(folder / "night.yaml")
    with api.connect() as third:
        assert (
            third.plan_sweep(sweep_file.workflow, sweep_file.settings).plan.text == "6 cells: 6 done (today, sandbox)"
        )


def test_error_for_an_image_without_a_copy_asks_to_set_it_again(client, api, folder):
    client.sweep("img2img", line("file:a.png||file:b.png"), timeout=30)
    for path in open_library().inputs.iterdir():
        path.unlink()
    before = open_library().sweep(open_library().find("s1").sweep).axes
    workflow = client.workflow("img2img")
    with pytest.raises(ImageError, match="set the image again"), api.connect() as second:
        second.sweep(
            workflow, second.connection.axes(workflow, [Setting("denoise", "0.9")]).override(before), timeout=30
        )
    assert api.count(RUN) == 2


def test_a_run_started_from_another_with_an_image_is_the_same_request(client, api, folder):
    """`run --from r1` was submitted again, and cost money, if r1 had an input image.

    The params of a run contain the service's name of the image; the request key contains its content.
    """
    run = client.run("img2img", {FIELD: folder / "a.png", "3::denoise": 0.3}, timeout=30)
    metadata = RunMetadata(run.workflow, run.record.workflow_id, run.params, run.record.set_params)
    again = client.submit("img2img", {}, base=metadata)
    assert (again.outcome, again.run.ref) == ("same", run.ref)
    changed = client.submit("img2img", {"3::denoise": 0.4}, base=metadata)
    changed.run.wait(30)
    assert api.count(RUN) == 2
    assert changed.run.params == {FIELD: "input-1.png", "3::denoise": 0.4}


def test_a_later_kernel_repeats_the_run_without_the_file(api, folder):
    with api.connect() as client:
        run = client.run("img2img", {FIELD: folder / "a.png"}, timeout=30)
    (folder / "a.png").unlink()
    metadata = RunMetadata(run.workflow, run.record.workflow_id, run.params, run.record.set_params)
    with api.connect() as client:
        assert client.submit("img2img", {}, base=metadata).outcome == "same"
        sweep = client.sweep("img2img", {"3::denoise": [0.2, 0.3]}, base=metadata, timeout=30)
        assert sweep.status_counts() == {"success": 2}
    assert api.count(UPLOAD) == 2, "once by each kernel"


def test_text_equal_to_the_name_of_an_image_is_submitted_as_text(client, api, folder):
    client.run("img2img", {FIELD: folder / "a.png"}, timeout=30)
    text = Field("6::name", FieldType.STRING)
    workflow = replace(client.workflow("img2img"), fields={**client.workflow("img2img").fields, text.id: text})
    assert client.connection.submitter.restore_input_images(
        workflow, {"6::name": "input-1.png", FIELD: "example.png"}
    ) == {
        "6::name": "input-1.png",
        FIELD: "example.png",
    }
