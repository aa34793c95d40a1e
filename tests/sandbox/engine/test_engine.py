"""Graphs: validation errors, and the images, progress and cancellation of valid ones."""

import copy
import io
import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from comflowy_nb.sandbox.engine import validation
from comflowy_nb.sandbox.engine.engine import Engine, NodeFailed, Stopped
from comflowy_nb.sandbox.engine.nodes import NODE_TYPES
from comflowy_nb.sandbox.engine.validation import apply_params

BUILTIN = files("comflowy_nb.workflow") / "builtin"


def validate(graph, input_folder=Path("no such folder")):
    return validation.validate(graph, input_folder)


@pytest.fixture
def default():
    """The default graph, small."""
    graph = json.loads((BUILTIN / "default.json").read_text())
    graph["5"]["inputs"].update(width=32, height=32)
    graph["3"]["inputs"]["steps"] = 4
    return graph


@pytest.fixture
def engine(tmp_path):
    return Engine(input_folder=tmp_path / "inputs")


def run(engine, graph, *, reports=None, should_stop=lambda: False):
    return engine.run(
        graph, on_progress=(lambda p: None) if reports is None else reports.append, should_stop=should_stop
    )


def opened(image):
    return Image.open(io.BytesIO(image.png))


def pixels_of(image):
    return np.asarray(opened(image))


def plain(**nodes):
    return {key.lstrip("n"): {"class_type": kind, "inputs": inputs} for key, (kind, inputs) in nodes.items()}


EMPTY = {"width": 16, "height": 8, "batch_size": 1, "color": 255}


@pytest.fixture
def blue():
    return plain(n1=("EmptyImage", dict(EMPTY)), n2=("SaveImage", {"images": ["1", 0], "filename_prefix": "a/b c<"}))


def errors_of(graph, node="3"):
    body = validate(graph)
    assert body["error"] == {
        "type": "prompt_outputs_failed_validation",
        "message": "Prompt outputs failed validation",
        "details": "",
        "extra_info": {},
    }
    return body["node_errors"][node]["errors"]


# -- running ----------------------------------------------------------------------------------------------------------


def test_the_default_graph_produces_a_png_that_contains_the_graph(engine, default):
    assert validate(default) is None
    images = run(engine, default)
    assert list(images) == ["9"]
    (image,) = images["9"]
    assert image.kind == "output"
    png = opened(image)
    assert (png.format, png.size) == ("PNG", (32, 32))
    assert json.loads(png.text["prompt"]) == default


def test_the_shipped_graphs_are_valid(engine):
    for path in BUILTIN.iterdir():
        if path.name.endswith(".json"):
            assert validate(json.loads(path.read_text())) is None, path.name


def test_the_same_graph_gives_the_same_bytes_in_another_engine(engine, default, tmp_path):
    first = run(engine, default)["9"][0].png
    assert run(Engine(input_folder=tmp_path), default)["9"][0].png == first


def test_img2img_keeps_parts_of_the_source_image(engine):
    graph = json.loads((BUILTIN / "img2img.json").read_text())
    graph["2"]["inputs"].update(width=32, height=32)
    graph["3"]["inputs"]["steps"] = 3
    images = run(engine, graph)
    assert {node: image[0].kind for node, image in images.items()} == {"9": "output", "10": "temp"}
    source, result = (pixels_of(images[node][0]).astype(float) for node in ("10", "9"))
    assert source.shape == result.shape == (32, 32, 3)
    assert np.abs(source - result).mean() > 5


def test_a_batch_gives_different_images(engine, default):
    default["5"]["inputs"]["batch_size"] = 3
    images = run(engine, default)["9"]
    assert len({pixels_of(image).tobytes() for image in images}) == 3


@pytest.mark.parametrize("checkpoint", ["watercolour.safetensors", "night-ink.safetensors"])
def test_checkpoints_paint_differently(engine, default, checkpoint):
    plain_image = pixels_of(run(engine, default)["9"][0]).astype(float)
    default["4"]["inputs"]["ckpt_name"] = checkpoint
    assert np.abs(pixels_of(run(engine, default)["9"][0]) - plain_image).mean() > 8


def test_images_have_any_shape(engine, default):
    default["5"]["inputs"].update(width=96, height=16)
    assert opened(run(engine, default)["9"][0]).size == (96, 16)


def test_literals_are_read_in_the_type_of_their_input(engine, blue):
    blue["1"]["inputs"].update(width="16", height=8.0, color="16711680")
    assert validate(blue) is None
    assert tuple(pixels_of(run(engine, blue)["2"][0])[0, 0]) == (255, 0, 0)


# -- progress, memory, stopping ---------------------------------------------------------------------------------------


def test_progress_names_the_node_and_counts_its_steps(engine, default):
    reports = []
    run(engine, default, reports=reports)
    steps = [p["value"] for p in reports if p["node"] == "3"]
    assert steps == [0, 1, 2, 3, 4, 4]
    assert {p["max"] for p in reports if p["node"] == "3"} == {1, 4}
    assert all(set(p) == {"node", "title", "value", "max", "nodes_done", "nodes_total"} for p in reports)
    assert {p["title"] for p in reports if p["node"] == "6"} == {"CLIP Text Encode (Prompt)"}
    done = [p["nodes_done"] for p in reports]
    assert done == sorted(done)
    assert reports[-1]["nodes_done"] == reports[-1]["nodes_total"] == 7


@pytest.fixture
def counted(monkeypatch):
    """Record the nodes that were executed."""
    ran = []
    for name, node in list(NODE_TYPES.items()):

        def counting(context, *, _name=name, _function=node.function, **inputs):
            ran.append(_name)
            return _function(context, **inputs)

        monkeypatch.setitem(NODE_TYPES, name, replace(node, function=counting))
    return ran


def test_unchanged_nodes_are_not_run_again(engine, default, counted):
    first = run(engine, default)["9"][0]
    assert sorted(counted) == sorted(node["class_type"] for node in default.values())
    counted.clear()
    assert run(engine, default)["9"][0] is first
    assert counted == []
    default["3"]["inputs"]["seed"] = 5
    run(engine, default)
    assert counted == ["KSampler", "VAEDecode", "SaveImage"]


def test_memory_is_bounded(tmp_path, blue, counted):
    engine = Engine(cache_nodes=2, input_folder=tmp_path)
    run(engine, blue)
    for colour in range(3):
        blue["1"]["inputs"]["color"] = colour
        run(engine, blue)
    assert len(engine._cache) == 2
    assert engine._cached_bytes == sum(size for _, size in engine._cache.values())
    counted.clear()
    blue["1"]["inputs"]["color"] = 255
    run(engine, blue)
    assert counted == ["EmptyImage", "SaveImage"]


def test_a_file_that_changed_is_read_again(engine, tmp_path):
    graph = plain(n1=("LoadImage", {"image": "a.png"}), n2=("PreviewImage", {"images": ["1", 0]}))
    (tmp_path / "inputs").mkdir()
    for colour in ((255, 0, 0), (0, 255, 0)):
        Image.new("RGB", (4, 4), colour).save(tmp_path / "inputs" / "a.png")
        assert validate(graph, engine.input_folder) is None
        assert tuple(pixels_of(run(engine, graph)["2"][0])[0, 0]) == colour


def test_a_cancelled_run_stops_at_the_next_step(engine, default):
    reports = []
    default["3"]["inputs"]["steps"] = 10000
    with pytest.raises(Stopped):
        run(engine, default, reports=reports, should_stop=lambda: any(p["value"] >= 2 for p in reports))
    assert max(p["value"] for p in reports) == 2


def test_cached_nodes_give_the_images_of_an_engine_without_a_cache(engine, default):
    graphs = [copy.deepcopy(default) for _ in range(4)]
    for seed, graph in enumerate(graphs):
        graph["3"]["inputs"]["seed"] = seed
    found = [run(engine, graph)["9"][0].png for graph in graphs]
    assert len(set(found)) == 4
    fresh = Engine(cache_nodes=0, input_folder=engine.input_folder)
    assert [run(fresh, graph)["9"][0].png for graph in graphs] == found


def test_a_node_that_fails_is_named_in_comfyuis_shape(engine, tmp_path):
    (tmp_path / "inputs").mkdir()
    (tmp_path / "inputs" / "broken.png").write_bytes(b"<b>no image</b>")
    graph = plain(
        n1=("LoadImage", {"image": "broken.png"}), n9=("SaveImage", {"images": ["1", 0], "filename_prefix": "x"})
    )
    assert validate(graph, engine.input_folder) is None
    with pytest.raises(NodeFailed) as caught:
        run(engine, graph)
    assert caught.value.body == {
        "node_id": "1",
        "node_type": "LoadImage",
        "exception_message": "cannot identify image file 'broken.png'",
        "exception_type": "ValueError",
        "traceback": [],
    }


# -- validation -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("graph", [None, [], "x", 3])
def test_a_prompt_must_be_a_mapping(graph):
    assert validate(graph)["error"]["type"] == "no_prompt"


def test_a_graph_needs_an_output(default):
    del default["9"]
    assert validate(default) == {
        "error": {"type": "prompt_no_outputs", "message": "Prompt has no outputs", "details": "", "extra_info": {}},
        "node_errors": {},
    }
    assert validate({})["error"]["type"] == "prompt_no_outputs"


@pytest.mark.parametrize("node", [None, "x", {}, {"class_type": 3}, {"class_type": ["a"]}])
def test_a_node_without_a_class_is_an_invalid_prompt(default, node):
    default["10"] = node
    error = validate(default)["error"]
    assert (error["type"], error["details"]) == ("invalid_prompt", "Node ID '#10'")


def test_an_unknown_class_is_an_invalid_prompt(default):
    default["10"] = {"class_type": "LoraLoader", "inputs": {}}
    error = validate(default)["error"]
    assert error["message"] == "Cannot execute because node LoraLoader does not exist."
    assert error["type"] == "invalid_prompt"


def test_the_editors_format_is_rejected():
    assert validate({"nodes": [], "links": [], "version": 0.4})["error"]["type"] == "invalid_prompt"


CASES = [
    ("seed", -1, "value_smaller_than_min", "seed", "Value -1 smaller than min of 0"),
    ("seed", 2**64, "value_bigger_than_max", "seed", f"Value {2**64} bigger than max of {2**64 - 1}"),
    ("cfg", 1000.0, "value_bigger_than_max", "cfg", "Value 1000.0 bigger than max of 100.0"),
    ("cfg", "warm", "invalid_input_type", "cfg, warm, could not convert string to float: 'warm'", None),
    ("cfg", float("nan"), "invalid_input_type", "cfg, nan, not a finite number", None),
    ("cfg", float("inf"), "invalid_input_type", "cfg, inf, not a finite number", None),
    ("cfg", True, "invalid_input_type", "cfg, True, true and false are not numbers", None),
    ("steps", 7.5, "invalid_input_type", "steps, 7.5, not a whole number", None),
    ("steps", float("inf"), "invalid_input_type", "steps, inf, cannot convert float infinity to integer", None),
    ("steps", None, "invalid_input_type", "steps, None, not an INT", None),
    ("steps", {"a": 1}, "invalid_input_type", "steps, {'a': 1}, not an INT", None),
    ("steps", "abc", "invalid_input_type", "steps, abc, invalid literal for int() with base 10: 'abc'", None),
    ("sampler_name", "eular", "value_not_in_list", None, "Value not in list"),
    ("sampler_name", 3, "value_not_in_list", None, "Value not in list"),
    ("model", "x", "invalid_input_type", None, "Failed to convert an input value to a MODEL value"),
    ("model", ["4"], "bad_linked_input", "model", None),
    ("model", ["4", 1], "return_type_mismatch", "model, received_type(CLIP) mismatch input_type(MODEL)", None),
    ("steps", ["4", 0], "return_type_mismatch", "steps, received_type(MODEL) mismatch input_type(INT)", None),
    ("sampler_name", ["4", 0], "return_type_mismatch", None, None),
    ("model", ["77", 0], "exception_during_validation", "'77'", None),
    ("model", ["4", 3], "exception_during_validation", "'4'", None),
    ("model", ["4", True], "exception_during_validation", "'4'", None),
    ("model", [4, 0], "exception_during_validation", "'4'", None),
    ("colour", 1, "unknown_input", None, "Unknown input"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}={case[1]}")
def test_a_wrong_input_is_an_error_of_comfyuis_kind(default, case):
    name, value, kind, details, message = case
    default["3"]["inputs"][name] = value
    (error,) = errors_of(default)
    assert error["type"] == kind
    if details is not None:
        assert error["details"] == details
    if message is not None:
        assert error["message"] == message
    json.dumps(validate(default), allow_nan=False)


def test_all_errors_are_reported_at_once_with_the_outputs_they_affect(default):
    del default["3"]["inputs"]["seed"]
    default["3"]["inputs"]["cfg"] = -1
    default["5"]["inputs"]["width"] = 8
    body = validate(default)
    assert [error["type"] for error in body["node_errors"]["3"]["errors"]] == [
        "required_input_missing",
        "value_smaller_than_min",
    ]
    assert body["node_errors"]["5"]["errors"][0]["message"] == "Value 8 smaller than min of 16"
    assert body["node_errors"]["5"]["dependent_outputs"] == ["9"]
    assert body["node_errors"]["5"]["class_type"] == "EmptyLatentImage"


def test_nodes_that_no_output_needs_are_not_checked(default):
    default["10"] = {"class_type": "ImageInvert", "inputs": {}}
    assert validate(default) is None


def test_a_cycle_is_rejected():
    graph = plain(
        n1=("ImageInvert", {"image": ["2", 0]}),
        n2=("ImageInvert", {"image": ["1", 0]}),
        n3=("PreviewImage", {"images": ["2", 0]}),
    )
    body = validate(graph)
    assert (body["error"]["type"], body["node_errors"]) == ("prompt_outputs_failed_validation", {})
    graph["1"]["inputs"]["image"] = ["1", 0]
    assert validate(graph)["error"]["type"] == "prompt_outputs_failed_validation"


def test_long_chains_and_huge_graphs_are_handled():
    graph = {str(k): {"class_type": "ImageInvert", "inputs": {"image": [str(k + 1), 0]}} for k in range(900)}
    graph["900"] = {"class_type": "EmptyImage", "inputs": dict(EMPTY)}
    graph["out"] = {"class_type": "PreviewImage", "inputs": {"images": ["0", 0]}}
    assert validate(graph) is None
    graph |= {f"x{k}": graph["0"] for k in range(200)}
    assert "1000" in validate(graph)["error"]["message"]


def test_a_batch_too_large_for_memory_is_rejected_with_a_plain_message(default):
    default["5"]["inputs"].update(width=2048, height=2048, batch_size=8)
    (error,) = errors_of(default, "5")
    assert error["type"] == "custom_validation_failed"
    assert error["details"] == (
        "width - 8 x 2048x2048 are 33.6 million pixels; the sandbox renders up to 16.8 million in one batch of up to 16"
    )
    default["5"]["inputs"]["width"] = 16384
    assert errors_of(default, "5")[0]["message"] == "Value 16384 bigger than max of 2048"


def test_a_missing_input_file_is_named(engine):
    graph = plain(n1=("LoadImage", {"image": "../secret.png"}), n2=("PreviewImage", {"images": ["1", 0]}))
    (error,) = validate(graph, engine.input_folder)["node_errors"]["1"]["errors"]
    assert error["type"] == "custom_validation_failed"
    assert error["details"] == "image - Invalid image file: ../secret.png"


def test_a_long_received_value_is_shortened_in_the_error(default):
    default["3"]["inputs"].update(seed=10**5000, sampler_name="x" * 5000, cfg=["a"] * 5000, steps="9" * 5000)
    default["6"]["inputs"]["text"] = "x" * 200_000
    assert len(json.dumps(validate(default))) < 6000


# -- params -----------------------------------------------------------------------------------------------------------


def test_params_replace_fields_without_changing_the_graph(default):
    before = copy.deepcopy(default)
    changed, error = apply_params(default, {"3::cfg": 7, "6::text": "a cat", "3::seed": 2**64 - 1})
    assert error is None
    assert default == before
    assert changed["3"]["inputs"]["cfg"] == 7
    assert changed["6"]["inputs"]["text"] == "a cat"
    assert changed["3"]["inputs"]["seed"] == 2**64 - 1
    assert validate(changed) is None


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("99::cfg", "Cannot set 99::cfg because node 99 does not exist."),
        ("cfg", "cfg is not a field: use NodeId::name"),
        ("3::", "3:: is not a field: use NodeId::name"),
    ],
)
def test_an_unknown_node_is_an_invalid_prompt(default, field, message):
    _, body = apply_params(default, {field: 1})
    assert (body["error"]["type"], body["error"]["message"]) == ("invalid_prompt", message)


def test_unknown_fields_and_wrong_types_are_reported_together(default):
    _, body = apply_params(default, {"3::cgf": 7, "3::steps": "many", "5::width": 64, "6::text": "x"})
    kinds = [error["type"] for error in body["node_errors"]["3"]["errors"]]
    assert kinds == ["unknown_input", "invalid_input_type"]
    assert "cfg" in body["node_errors"]["3"]["errors"][0]["details"]
    assert body["node_errors"]["3"]["dependent_outputs"] == ["9"]
    assert body["node_errors"]["3"]["class_type"] == "KSampler"
