"""`--from` and `params_from` with images of other tools, on the sandbox and on a scripted ComfyUI server."""

from __future__ import annotations

import json

import pytest
from IPython.core.error import UsageError
from tool_images import (
    A1111,
    SWARM,
    a1111_exif,
    a1111_png,
    fooocus_exif,
    fooocus_png,
    invoke_png,
    novelai_png,
    novelai_webp,
    png,
    swarm_png,
)

import comflowy_nb
from comflowy_nb import params_from
from comflowy_nb.errors import ImageError, WorkflowError

COMMON = {
    "6::text": "a lighthouse",
    "7::text": "blurry",
    "3::steps": 12,
    "3::cfg": 6.5,
    "3::seed": 77,
    "3::sampler_name": "dpmpp_2m",
    "3::scheduler": "karras",
    "5::width": 128,
    "5::height": 192,
}
OF_A1111 = {
    **COMMON,
    "6::text": "a lighthouse, oil painting\nby the sea",
    "7::text": "blurry, text",
    "3::seed": 1234567890,
}
WRITERS = {
    "a1111.png": (a1111_png, OF_A1111, "AUTOMATIC1111"),
    "a1111.jpg": (a1111_exif, OF_A1111, "AUTOMATIC1111"),
    "a1111.webp": (a1111_exif, OF_A1111, "AUTOMATIC1111"),
    "swarm.png": (swarm_png, COMMON, "SwarmUI"),
    "invoke.png": (invoke_png, COMMON, "InvokeAI"),
    "novelai.png": (novelai_png, COMMON, "NovelAI"),
    "novelai.webp": (novelai_webp, COMMON, "NovelAI"),
    "fooocus.png": (fooocus_png, COMMON, "Fooocus"),
    "fooocus.jpg": (fooocus_exif, COMMON, "Fooocus"),
}
SMALL = "5::width=64 5::height=64 3::steps=1"


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    """Return the folder of the notebook."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def server(comfy, cell, handles):
    """Connect to a scripted ComfyUI server."""
    assert cell(f"%comflowy connect home={comfy.url}").error is None
    return cell


def texts(cell):
    return [data["text/plain"] for data in cell.last]


def set_by(run):
    return {key: run.params[key] for key in run.record.set_params}


@pytest.mark.parametrize("name", WRITERS)
def test_the_settings_of_an_image_are_run(sandbox, working_folder, name):
    """An image of another tool was an error, although it has the settings. `test_metadata.py` cites the formats."""
    write, params, tool = WRITERS[name]
    write(working_folder / name)
    result = sandbox(f"%comflowy run --from {name} --as shown")
    assert result.error is None, result.error
    run = sandbox("shown").value
    assert set_by(run) == params
    assert run.images[0].pil().size == (128, 192)
    assert texts(result)[0].startswith(f"the settings in {name} ({tool}) are used for default, without: ")
    assert params_from(run)["6::text"] == params["6::text"]


def test_settings_without_a_field_are_listed(sandbox, working_folder):
    a1111_png(working_folder / "a.png", A1111.replace("1234567890", "51"))
    result = sandbox(f"%comflowy run --from a.png {SMALL}")
    assert texts(result)[0] == (
        "the settings in a.png (AUTOMATIC1111) are used for default, without: LoRA brush:0.8, Model hash 45dee52b, "
        "Model dream_v8, Denoising strength 0.5, Hires upscale 2, Hires upscaler Latent, "
        "Lora hashes brush: 0123abcd, other: 4567"
    )


def test_typed_values_take_precedence(sandbox, working_folder):
    swarm_png(working_folder / "a.png")
    result = sandbox("%%comflowy run --from a.png 3::steps=1 --as mine\n6::text: a boat\n5::width: 64\n5::height: 64\n")
    assert result.error is None, result.error
    assert set_by(sandbox("mine").value) == {
        **COMMON,
        "6::text": "a boat",
        "3::steps": 1,
        "5::width": 64,
        "5::height": 64,
    }


def test_a_sweep_over_the_settings(sandbox, working_folder):
    swarm_png(working_folder / "a.png")
    result = sandbox(f"%comflowy sweep --from a.png {SMALL} cfg=4,5 --as two")
    assert result.error is None, result.error
    runs = [one.run for one in sandbox("two").value.cells]
    assert [run.params["3::cfg"] for run in runs] == [4, 5]
    assert {run.params["6::text"] for run in runs} == {"a lighthouse"}
    assert texts(result)[0].startswith("the settings in a.png (SwarmUI) are used for default")


def test_search_and_replace_uses_the_prompt_of_the_image(sandbox, working_folder):
    swarm_png(working_folder / "a.png")
    result = sandbox("%%comflowy sweep --from a.png --dry-run\n6::text: {replace: {lighthouse: [boat, ship]}}\n")
    assert result.error is None, result.error
    assert [one.params["6::text"] for one in result.value.cells] == ["a boat", "a ship"]


def test_several_runs_of_the_settings_have_new_seeds(sandbox, working_folder):
    swarm_png(working_folder / "a.png")
    result = sandbox(f"%comflowy run --from a.png {SMALL} --count 2 --as seeds")
    assert result.error is None, result.error
    runs = [one.run for one in sandbox("seeds").value.cells]
    assert len({run.params["3::seed"] for run in runs} | {77}) == 3
    assert {run.params["3::cfg"] for run in runs} == {6.5}


def test_a_form_starts_with_the_settings(sandbox, working_folder):
    swarm_png(working_folder / "a.png")
    result = sandbox(f"%comflowy form --from a.png {SMALL} --as one")
    assert result.error is None, result.error
    assert result.value.params == {**COMMON, "5::width": 64, "5::height": 64, "3::steps": 1}
    assert texts(result)[0].startswith("the settings in a.png (SwarmUI) are used for default")
    result.value.close()


def test_the_workflow_can_be_chosen(sandbox, working_folder):
    """`--from` with a run names its workflow; an image of another tool has none, so that any can be named."""
    swarm_png(working_folder / "a.png")
    result = sandbox("%comflowy run img2img --from a.png 1::image=file:a.png --as named")
    assert result.error is None, result.error
    assert texts(result)[0].startswith(
        "the settings in a.png (SwarmUI) are used for img2img, without: "
        "prompt (name its field: %comflowy workflow alias img2img prompt=6::text), "
    )
    run = sandbox("named").value
    assert (run.params["3::seed"], run.record.workflow) == (77, "img2img")
    missing = sandbox("%comflowy run defualt --from a.png")
    assert isinstance(missing.error, WorkflowError)
    assert "Did you mean default?" in str(missing.error)


def test_an_export_has_the_settings(sandbox, working_folder):
    swarm_png(working_folder / "a.png")
    result = sandbox("%comflowy sweep --from a.png cfg=4,5 --export looks.yaml")
    assert result.error is None, result.error
    text = (working_folder / "looks.yaml").read_text()
    assert 'workflow: "default"' in text
    assert "a lighthouse" in text


def test_names_that_the_sandbox_lacks_are_left_out(sandbox, working_folder):
    text = A1111.replace("DPM++ 2M", "DPM++ 2M SDE").replace("Karras", "Align Your Steps").replace("1234567890", "52")
    a1111_png(working_folder / "a.png", text)
    result = sandbox(f"%comflowy run --from a.png {SMALL} --as lacking")
    assert (
        "without: sampler DPM++ 2M SDE (default does not offer dpmpp_2m_sde, nearest: dpmpp_2m), " in texts(result)[0]
    )
    assert "scheduler Align Your Steps (not known in ComfyUI), LoRA" in texts(result)[0]
    assert not {"3::sampler_name", "3::scheduler"} & sandbox("lacking").value.params.keys()


def test_text_of_the_image_is_escaped(sandbox, working_folder):
    swarm_png(
        working_folder / "a.png",
        {"sui_image_params": {"prompt": "x", "seed": 53, "model": "<img src=x onerror=alert(1)>"}},
    )
    result = sandbox(f"%comflowy run --from a.png {SMALL}")
    assert "model &lt;img src=x onerror=alert(1)&gt;" in result.last[0]["text/html"]
    assert "<img src=x" not in result.last[0]["text/html"]


def test_braces_in_the_prompt_are_not_variables(sandbox, working_folder):
    swarm_png(working_folder / "a.png", {"sui_image_params": {"prompt": "a {sky} {{x}} {a|b}", "seed": 54}})
    result = sandbox(f"%comflowy run --from a.png {SMALL} --as braces")
    assert result.error is None, result.error
    assert sandbox("braces").value.params["6::text"] == "a {sky} {{x}} {a|b}"


def test_the_error_of_run_without_from_shows_the_correct_line(sandbox, working_folder):
    a1111_png(working_folder / "a.png")
    result = sandbox("%comflowy run a.png")
    assert str(result.error) == (
        "a.png contains no workflow, only settings of AUTOMATIC1111: %comflowy run --from a.png uses them"
    )


def test_an_image_without_settings_still_names_its_workflow(sandbox, working_folder):
    png(working_folder / "a.png")
    assert "contains no workflow" in str(sandbox("%comflowy run --from a.png").error)
    result = sandbox("%comflowy run default --from a.png")
    assert isinstance(result.error, UsageError)
    assert "--from a.png already names the workflow: leave 'default' out" in str(result.error)


def test_an_image_of_a_run_keeps_its_workflow(sandbox, working_folder):
    """Copies that `save` wrote, and images of ComfyUI, are started as before."""
    sandbox(f"%comflowy run default seed=55 {SMALL} --as saved")
    sandbox("saved.save('out')")
    name = next((working_folder / "out").glob("*.png")).relative_to(working_folder)
    result = sandbox(f"%comflowy run --from {name}")
    assert result.error is None, result.error
    assert result.value is None or result.value.params["3::seed"] == 55
    assert isinstance(sandbox(f"%comflowy run default --from {name}").error, UsageError)


# -- ComfyUI ---------------------------------------------------------------------------------------------------------


def test_on_a_comfyui_server(server, comfy, working_folder):
    swarm_png(working_folder / "a.png")
    result = server("%comflowy run --from a.png")
    assert result.error is None, result.error
    (nodes,) = [body["prompt"] for path, body in comfy.bodies if path == "/prompt"]
    sent = {key: nodes[key.split("::")[0]]["inputs"][key.split("::")[1]] for key in COMMON}
    assert sent == COMMON
    assert "without: LoRA brush:0.8" in texts(result)[0]


def test_the_graph_in_an_image_takes_precedence(server, working_folder):
    """Some nodes of ComfyUI write the text of A1111 beside the graph, which is what ran."""
    graph = {"1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 9}}}
    graph["2"] = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}
    png(working_folder / "a.png", prompt=json.dumps(graph), parameters=A1111)
    result = server("%comflowy run --from a.png")
    assert result.error is None, result.error
    assert "the settings in" not in texts(result)[0]
    named = server("%comflowy run default --from a.png")
    assert texts(named)[0].startswith("the settings in a.png (AUTOMATIC1111) are used for default")


# -- params_from -----------------------------------------------------------------------------------------------------


def test_params_from_maps_to_the_default_workflow(working_folder):
    a1111_png(working_folder / "a.png")
    with pytest.warns(
        UserWarning, match=r"the settings in a\.png \(AUTOMATIC1111\) are used for default, without: LoRA"
    ):
        recipe = params_from("a.png")
    assert recipe == OF_A1111
    assert recipe.workflow == "default"
    assert "Model dream_v8" in recipe.left_out
    assert recipe.cell.splitlines()[0] == "%%comflowy run default"


def test_params_from_maps_to_a_graph(working_folder):
    nodes = {
        "1": {"class_type": "KSampler", "inputs": {"steps": 5, "positive": ["2", 0], "latent_image": ["3", 0]}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "x"}},
        "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 8, "height": 8}},
    }
    (working_folder / "mine.json").write_text(json.dumps(nodes))
    swarm_png(working_folder / "a.png")
    with pytest.warns(UserWarning, match=r"negative prompt, cfg 6\.5, seed 77"):
        recipe = params_from("a.png", workflow="mine.json")
    assert recipe == {"2::text": "a lighthouse", "1::steps": 12, "3::width": 128, "3::height": 192}
    with pytest.raises(WorkflowError, match="the catalogue has no graph of 'portrait'"):
        params_from("a.png", workflow="portrait")


def test_params_from_an_image_without_settings(working_folder):
    png(working_folder / "a.png", parameters="[1]")
    with pytest.raises(ImageError, match="contains no workflow"):
        params_from("a.png")


def test_the_recipe_runs(sandbox, working_folder):
    swarm_png(
        working_folder / "a.png",
        {"sui_image_params": {**SWARM["sui_image_params"], "seed": 56, "width": 64, "height": 64}},
    )
    with pytest.warns(UserWarning, match="without"):
        recipe = params_from("a.png")
    result = sandbox(recipe.cell)
    assert result.error is None, result.error
    assert comflowy_nb.history.runs(seed=56)[0].params["6::text"] == "a lighthouse"
