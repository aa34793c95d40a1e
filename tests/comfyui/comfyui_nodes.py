"""The node types of the scripted ComfyUI server: descriptions, validation, and small rendered images."""

from __future__ import annotations

import hashlib
import io
import json
from colorsys import hsv_to_rgb
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

RECORDED = Path(__file__).parent.parent / "data" / "comfyui"
_SECONDS = {"required": {"seconds": ["FLOAT", {"default": 0.1, "min": 0.1, "max": 5.0}]}}
_IMAGES = {"required": {"images": ["IMAGE"], "filename_prefix": ["STRING", {"default": "ComfyUI"}]}}


def _node(inputs, output, *, title=None, is_output=False):
    return {"input": inputs, "output": output, "display_name": title, "output_node": is_output}


def object_info():
    """Return the recorded node types, two LoRAs, and a few types whose outputs are not still images."""
    nodes = json.loads((RECORDED / "object_info_core.json").read_text())
    nodes["LoraLoader"]["input"]["required"]["lora_name"] = [["ink.safetensors", "watercolour.safetensors"], {}]
    nodes["LoadImage"]["input"]["required"]["image"] = [["example.png"], {"image_upload": True}]
    return nodes | {
        "SaveAnimatedWEBP": _node(_IMAGES, [], is_output=True),
        "SaveAudio": _node(_SECONDS, [], is_output=True),
        "PreviewAny": _node({"required": {"source": ["*", {}]}}, [], title="Preview Any", is_output=True),
        "GetImageSize": _node({"required": {"image": ["IMAGE"]}}, ["INT", "INT", "INT"]),
        "PickWords": _node(
            {"required": {"words": ["COMBO", {"options": ["red", "green, dark", "blue", "7"], "multiselect": True}]}},
            ["IMAGE"],
        ),
        "SaveImageWebsocket": _node({"required": {"images": ["IMAGE"]}}, [], is_output=True),
    }


# -- validation -------------------------------------------------------------------------------------------------


def is_link(value):
    return isinstance(value, list)


def rejection(kind, message, details="", extra=None, node_errors=None):
    return {
        "error": {"type": kind, "message": message, "details": details, "extra_info": extra or {}},
        "node_errors": node_errors or {},
    }


def validate(graph, nodes, inputs):
    """Return the outputs of a graph that can run, its node errors, and the body of a 400."""
    for node_id, node in graph.items():
        if "class_type" not in node:
            message = "Cannot execute because a node is missing the class_type property."
            return [], {}, rejection("invalid_prompt", message, f"Node ID '#{node_id}'")
        if node["class_type"] not in nodes:
            message = f"Cannot execute because node {node['class_type']} does not exist."
            return [], {}, rejection("invalid_prompt", message, f"Node ID '#{node_id}'")
    outputs = [node_id for node_id, node in graph.items() if nodes[node["class_type"]]["output_node"]]
    if not outputs:
        return [], {}, rejection("prompt_no_outputs", "Prompt has no outputs")
    good, errors = [], {}
    for output in outputs:
        needed = _needed(graph, output)
        if needed is None:
            continue  # a cycle: not the error of a node
        wrong = {
            node_id: errors_of_node for node_id in needed if (errors_of_node := _wrong(node_id, graph, nodes, inputs))
        }
        for node_id, errors_of_node in wrong.items():
            entry = errors.setdefault(
                node_id, {"errors": errors_of_node, "dependent_outputs": [], "class_type": graph[node_id]["class_type"]}
            )
            entry["dependent_outputs"].append(output)
        if not wrong:
            good.append(output)
    if good:
        return good, errors, None
    kind, message = "prompt_outputs_failed_validation", "Prompt outputs failed validation"
    return [], errors, rejection(kind, message, node_errors=errors)


def _needed(graph, node_id, path=()):
    """Return a node and all it depends on, dependencies first; None if they form a cycle."""
    if node_id in path:
        return None
    needed = []
    for value in graph[node_id]["inputs"].values():
        if is_link(value) and len(value) == 2 and value[0] in graph:
            before = _needed(graph, value[0], (*path, node_id))
            if before is None:
                return None
            needed += [entry for entry in before if entry not in needed]
    return [*needed, node_id]


def order_of(graph, outputs):
    """Return the nodes that the outputs need, dependencies first."""
    order = []
    for output in outputs:
        order += [node_id for node_id in _needed(graph, output) if node_id not in order]
    return order


def _wrong(node_id, graph, nodes, inputs):
    node, errors = graph[node_id], []
    for name, config in nodes[node["class_type"]]["input"].get("required", {}).items():
        value, kind = node["inputs"].get(name), config[0]
        extra = {"input_name": name, "input_config": config, "received_value": value}
        if name not in node["inputs"]:
            errors.append(_error("required_input_missing", "Required input is missing", name, {"input_name": name}))
        elif is_link(value):
            errors += _wrong_link(value, kind, extra, graph, nodes)
        else:
            errors += _wrong_value(node, extra, inputs)
    return errors


def _error(kind, message, details, extra):
    return {"type": kind, "message": message, "details": details, "extra_info": extra}


def _wrong_link(value, kind, extra, graph, nodes):
    name = extra["input_name"]
    if len(value) != 2:
        message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
        return [_error("bad_linked_input", message, name, extra)]
    if not isinstance(value[0], str) or value[0] not in graph:
        secret = {"exception_type": "KeyError", "traceback": ['  File "/comfyui/execution.py", line 1\n']}
        return [_error("exception_during_validation", "Exception when validating node", repr(value[0]), secret)]
    output_type = nodes[graph[value[0]]["class_type"]]["output"][value[1]]
    if not isinstance(kind, str) or kind not in {output_type, "*"}:
        details = f"{name}, received_type({output_type}) mismatch input_type({kind})"
        extra = {
            "input_name": name,
            "input_config": extra["input_config"],
            "received_type": output_type,
            "linked_node": value,
        }
        return [_error("return_type_mismatch", "Return type mismatch between linked nodes", details, extra)]
    return []


def _wrong_value(node, extra, inputs):
    name, config, value = extra["input_name"], extra["input_config"], extra["received_value"]
    if isinstance(value, dict) and "__value__" in value:
        value = value["__value__"]
    kind, options = config[0], config[1] if len(config) > 1 else {}
    if isinstance(kind, str) and kind in {"INT", "FLOAT"}:
        try:
            number = node["inputs"][name] = int(value) if kind == "INT" else float(value)
        except (TypeError, ValueError) as error:
            details, extra = f"{name}, {value}, {error}", extra | {"exception_message": str(error)}
            return [_error("invalid_input_type", f"Failed to convert an input value to a {kind} value", details, extra)]
        extra["received_value"] = number
        if number < options.get("min", number):
            message = f"Value {number} smaller than min of {options['min']}"
            return [_error("value_smaller_than_min", message, name, extra)]
        if number > options.get("max", number):
            message = f"Value {number} bigger than max of {options['max']}"
            return [_error("value_bigger_than_max", message, name, extra)]
        return []
    if node["class_type"] == "LoadImage":
        if value in inputs:
            return []
        details = f"image - Invalid image file: {value}"
        message = "Custom validation failed for node"
        return [_error("custom_validation_failed", message, details, {"input_name": name})]
    choices = options.get("options") if kind == "COMBO" else kind if isinstance(kind, list) else None
    if choices is None or value in choices:
        return []
    if options.get("multiselect") and isinstance(value, list) and all(item in choices for item in value):
        return []
    choices_text = f"(list of length {len(choices)})" if len(choices) > 20 else choices
    extra["input_config"] = None if len(choices) > 20 else config
    return [_error("value_not_in_list", "Value not in list", f"{name}: '{value}' not in {choices_text}", extra)]


# -- rendering --------------------------------------------------------------------------------------------------


def paint(latent, words, *, seed, steps, cfg):
    """Render an image: the prompt decides the colours, the seed the circles, and the steps the noise."""
    width, height = latent["width"], latent["height"]
    draw = np.random.default_rng(seed % 2**63)
    shades = hashlib.sha256(words.encode()).digest()
    hue = shades[0] / 255
    top, bottom, spot = (
        np.array(hsv_to_rgb(*hsv)) for hsv in ((hue, 0.5, 0.35), (hue + 0.12, 0.45, 0.85), (hue + 0.55, 0.5, 0.9))
    )
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    image = top + (bottom - top) * y[..., None]
    for _ in range(5):
        cx, cy, radius = draw.random(3) * [1, height / max(width, height), 0.18]
        inside = np.clip((radius + 0.03 - np.hypot(x - cx, y - cy)) / 0.02, 0, 1)[..., None]
        image = image * (1 - 0.8 * inside) + spot * 0.8 * inside
    image = 0.5 + (image - 0.5) * (0.45 + 0.1 * min(cfg, 12))
    image += draw.normal(0, 0.8 / (1 + steps) ** 1.6, image.shape)
    return np.clip(image, 0, 1)


def as_pixels(image):
    """Convert as the server does: 32 bits, from 0 to 1."""
    return np.asarray(image).astype(np.float32) / np.float32(255)


def to_image(pixels):
    """Convert as the server does when it saves: truncate."""
    return Image.fromarray(np.clip(np.float32(255) * pixels.astype(np.float32), 0, 255).astype(np.uint8))


def png(pixels, graph, extra):
    """Return a PNG with the API graph in its text chunk `prompt`, and the extra data beside it."""
    notes = PngInfo()
    if graph is not None:
        notes.add_text("prompt", json.dumps(graph))
    for key, value in (extra.get("extra_pnginfo") or {}).items():
        notes.add_text(key, json.dumps(value))
    buffer = io.BytesIO()
    to_image(pixels).save(buffer, "PNG", pnginfo=notes, compress_level=4)
    return buffer.getvalue()


def animation(frames):
    buffer = io.BytesIO()
    images = [to_image(frame) for frame in frames]
    images[0].save(buffer, "WEBP", save_all=True, append_images=images[1:], duration=200)
    return buffer.getvalue()


def preview(pixels):
    buffer = io.BytesIO()
    to_image(pixels).resize((128, 128)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()
