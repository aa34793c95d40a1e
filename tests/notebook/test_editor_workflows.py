"""Workflows as ComfyUI's editor saves them, in cells that use a ComfyUI server."""

from __future__ import annotations

import json

import pytest
from comfyui_server import ComfyServer
from editor_graphs import empty, node, workflow
from ipywidgets import Button
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from waiting import wait_until

import comflowy_nb
from comflowy_nb.errors import FieldError, ImageError, WorkflowError

EDITOR = workflow(
    empty(1, title="Blank"),
    node(2, "ImageInvert", [], {"image": (1, 0, "IMAGE")}, mode=4),
    node(3, "SaveImage", ["blank"], {"images": (2, 0, "IMAGE")}),
    node(4, "PreviewImage", [], {"images": (1, 0, "IMAGE")}, mode=2),
    node(5, "Note", ["read me"]),
    groups=[{"title": "Step 1", "bounding": [290, -10, 300, 200]}],
)
API = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0},
        "_meta": {"title": "Blank"},
    },
    "3": {
        "class_type": "SaveImage",
        "inputs": {"filename_prefix": "blank", "images": ["1", 0]},
        "_meta": {"title": "Save Image"},
    },
}
SAID = (
    "is converted from the editor's format; left out 1 muted node: 4 (PreviewImage); bypassed 1 node: 2 (ImageInvert); "
    "left out 1 note"
)
MODEL = workflow(
    node(1, "CheckpointLoaderSimple", ["v1-5-pruned-emaonly.safetensors"]),
    empty(2),
    node(3, "SaveImage", ["x"], {"images": (2, 0, "IMAGE")}),
)
HERE = "v1-5-pruned-emaonly-fp16.safetensors"  # the checkpoint that the server has


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return the folder of the notebook, with files of the editor."""
    monkeypatch.chdir(tmp_path)
    for name, content in {"blank": EDITOR, "api": API, "model": MODEL}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    save(tmp_path / "editor.png", workflow=json.dumps(EDITOR))
    return tmp_path


@pytest.fixture
def connected(folder, comfy, cell, handles):
    """Connect to a scripted server."""
    assert cell(f"%comflowy connect home={comfy.url}").error is None
    return cell


def save(path, **chunks):
    notes = PngInfo()
    for name, text in chunks.items():
        notes.add_text(name, text)
    Image.new("RGB", (4, 4)).save(path, pnginfo=notes)


def output_text(cell):
    assert cell.error is None, cell.error
    return "\n".join(data["text/plain"] for data in cell.last)


def submitted(comfy):
    """Return the graphs that the server received, without titles."""
    graphs = [body["prompt"] for path, body in comfy.bodies if path == "/prompt"]
    return [{key: (one["class_type"], one["inputs"]) for key, one in graph.items()} for graph in graphs]


def expected(**inputs):
    first = {**API["1"]["inputs"], **inputs}
    return {"1": ("EmptyImage", first), "3": ("SaveImage", API["3"]["inputs"])}


def test_a_file_runs_and_the_conversion_is_reported_once(connected, comfy):
    first = output_text(connected("%comflowy run blank.json color=255"))
    assert f"blank {SAID}" in first
    assert "r1 blank - success" in first
    assert submitted(comfy) == [expected(color=255)]
    assert "converted" not in output_text(connected("%comflowy run blank.json color=7"))


def test_the_same_workflow_in_both_formats_is_the_same_request(connected, comfy):
    output_text(connected("%comflowy run blank.json"))
    assert "same as r1, nothing submitted" in output_text(connected("%comflowy run api.json"))
    assert len(submitted(comfy)) == 1


def test_every_command_accepts_the_file(connected, comfy):
    fields = output_text(connected("%comflowy fields blank.json"))
    assert SAID in fields
    assert "1::color" in fields
    assert "Blank" in fields
    assert "2 of 2 success" in output_text(connected("%comflowy sweep blank.json color=1,2"))
    assert "r3 blank - success" in output_text(connected("%comflowy run --from blank.json color=3"))
    assert "mine is now a graph" in output_text(connected("%comflowy workflow add mine blank.json"))
    assert "r4 mine - success" in output_text(connected("%comflowy run mine color=4"))
    graphs = sorted(submitted(comfy), key=lambda graph: graph["1"][1]["color"])
    assert graphs == [expected(color=color) for color in (1, 2, 3, 4)]


def test_an_image_with_only_the_graph_of_the_editor_is_a_workflow(connected, comfy):
    assert f"editor {SAID}" in output_text(connected("%comflowy run editor.png color=5"))
    assert "r2 editor - success" in output_text(connected("%comflowy run --from editor.png color=6"))
    assert "mine is now a graph" in output_text(connected("%comflowy workflow add mine editor.png"))
    recipe = comflowy_nb.params_from("editor.png")
    assert recipe["1::width"] == 64
    assert "%%comflowy run editor.png" in recipe.cell
    assert submitted(comfy) == [expected(color=5), expected(color=6)]


def test_the_graph_that_ran_precedes_the_graph_of_the_editor(connected, comfy, folder):
    save(folder / "both.png", workflow=json.dumps(EDITOR), prompt=json.dumps(API).replace('"color": 0', '"color": 9'))
    assert "converted" not in output_text(connected("%comflowy run both.png"))
    assert submitted(comfy) == [expected(color=9)]


def test_a_form_shows_titles_and_groups(connected):
    form = connected("%comflowy form blank.json").value
    assert any("Blank" in text and "Step 1" in text for text in texts(form))


def texts(widget):
    return [part.value for part in parts(widget) if isinstance(getattr(part, "value", None), str)]


def parts(widget):
    yield widget
    for child in getattr(widget, "children", ()):
        yield from parts(child)


def test_a_node_that_the_server_lacks_is_named_and_nothing_is_submitted(connected, comfy, folder):
    unknown = workflow(empty(1), node(2, "Glow", title="Shine", properties={"cnr_id": "glow-pack"}))
    (folder / "glow.json").write_text(json.dumps(unknown))
    save(folder / "glow.png", workflow=json.dumps(unknown))
    why = "node 2 'Shine' (Glow): the server has no such node; it comes from the extension 'glow-pack'"
    for command in ("run", "sweep", "fields", "form", "workflow add mine", "run --from"):
        for name in ("glow.json", "glow.png"):
            error = connected(f"%comflowy {command} {name}").error
            assert str(error) == f"{name} can't run on home: {why}", command
    with pytest.raises(ImageError, match="glow-pack"):
        comflowy_nb.params_from("glow.png")
    assert submitted(comfy) == []


def test_a_missing_model_is_named_but_blocks_only_the_submit(connected, comfy):
    fields = connected("%comflowy fields model.json")
    assert f"Did you mean {HERE}?" in output_text(fields)
    form = connected("%comflowy form model.json").value
    next(part for part in parts(form) if isinstance(part, Button) and part.description == "Run").click()
    wait_until(lambda: any("is not one of" in text for text in texts(form)))
    for command in ("run model.json", "sweep model.json color=1,2"):
        error = connected(f"%comflowy {command}").error
        assert isinstance(error, FieldError)
        assert "node 1 (Load Checkpoint), ckpt_name: 'v1-5-pruned-emaonly.safetensors' is not one of" in str(error)
    assert submitted(comfy) == []
    assert "success" in output_text(connected(f"%comflowy run model.json ckpt_name={HERE}"))
    assert "1 of 1 success" in output_text(connected(f"%comflowy sweep model.json ckpt_name={HERE} color=1"))


def test_a_workflow_is_exported_in_api_format(connected, folder):
    assert output_text(connected("%comflowy workflow export blank.json out.json")).endswith("out.json, in API format")
    assert json.loads((folder / "out.json").read_text()) == API
    output_text(connected("%comflowy workflow export default out2.json"))
    assert json.loads((folder / "out2.json").read_text())["3"]["class_type"] == "KSampler"
    assert connected("%comflowy workflow export blank.json out.json").error is None  # the same content
    other = connected("%comflowy workflow export default out.json").error
    assert "out.json can't be written: a different file with this name exists; --overwrite replaces it" in str(other)
    assert output_text(connected("%comflowy workflow export default new/out.json --overwrite")).endswith(
        "out.json in the new folder new, in API format"
    )
    assert connected("%comflowy workflow export default out.json --overwrite").error is None
    assert (folder / "out.json").read_text() == (folder / "out2.json").read_text()
    assert "is for workflow export" in str(connected("%comflowy workflow remove default --overwrite").error)
    assert "use a name that ends in .json, as out.json" in str(
        connected("%comflowy workflow export default out.txt").error
    )
    assert "workflow export needs" in str(connected("%comflowy workflow export default").error)


def test_an_export_needs_no_connection(cell, folder):
    assert "out.json" in cell("%comflowy workflow export default out.json").stdout
    assert (folder / "out.json").exists()


def test_the_graph_of_the_catalogue_is_exported_where_the_service_runs_an_id(sandbox, folder):
    output_text(sandbox("%comflowy workflow export default out.json"))
    assert json.loads((folder / "out.json").read_text())["3"]["class_type"] == "KSampler"


def test_an_entry_of_the_catalogue_may_name_a_file_of_the_editor(connected, comfy, folder):
    (folder / "comflowy.yaml").write_text("workflows:\n  plain: {graph: blank.json}\n")
    assert "plain" in output_text(connected("%comflowy workflows"))
    assert "r1 plain - success" in output_text(connected("%comflowy run plain"))
    assert submitted(comfy) == [expected()]


def test_without_a_server_that_describes_nodes_the_error_names_the_servers_to_connect(sandbox, folder):
    for command in ("run blank.json", "fields editor.png", "workflow add mine blank.json", "form editor.png"):
        error = sandbox(f"%comflowy {command}").error
        assert type(error) is WorkflowError
        assert "connect to a ComfyUI server" in str(error)
    with pytest.raises(ImageError, match="connect to a ComfyUI server"):
        comflowy_nb.params_from("editor.png")


def test_a_file_of_the_editor_describes_fields(connected, folder):
    connected("%comflowy workflow add mine api.json")
    assert "1::color" in output_text(connected("%comflowy fields mine --fields blank.json"))


def test_titles_and_names_of_classes_are_shown_as_text(connected, folder):
    marked = workflow(empty(1), node(2, "PreviewImage", [], {"images": (1, 0, "IMAGE")}, mode=2, title="<b>$x$</b>"))
    (folder / "marked.json").write_text(json.dumps(marked))
    html = connected("%comflowy fields marked.json").last[0]["text/html"]
    assert "<b>" not in html
    assert "&lt;b&gt;" in html


def test_a_file_runs_on_several_servers(folder, comfy, cell, handles, tmp_path):
    with ComfyServer(tmp_path / "other") as other:
        assert cell(f"%comflowy connect farm={comfy.url},{other.url}").error is None
        assert "4 of 4 success" in output_text(cell("%comflowy sweep blank.json color=1..4"))


def test_scripts_use_the_same_reader(comfy, folder):
    with comflowy_nb.connect(f"home={comfy.url}") as client:
        found = client.workflow("blank.json")
        assert found.graph.notes[0] == "left out 1 muted node: 4 (PreviewImage)"
        assert client.run(found, {"color": 8}).images[0].pil().size == (64, 64)
        assert json.loads(found.export("out.json").read_text()) == API
    with pytest.raises(ImageError, match="connect to a ComfyUI server"):
        comflowy_nb.params_from("editor.png")
