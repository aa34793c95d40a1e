"""Workflows as ComfyUI's editor saves them: their nodes, links and subgraphs, and descriptions of node classes."""

from __future__ import annotations

import copy
import json
from pathlib import Path

RECORDED = Path(__file__).parent.parent / "data" / "comfyui" / "object_info_core.json"


_PNG = {"key": "png", "inputs": {"required": {"bits": ["COMBO", {"options": ["8", "16"]}]}}}
_JPEG = {
    "key": "jpeg",
    "inputs": {
        "required": {"quality": ["INT", {"default": 90}], "mask": ["MASK"]},
        "optional": {"fast": ["BOOLEAN", {"default": True}]},
    },
}


def described(required=None, optional=None, output=(), display_name=None, **more):
    """Return the description of a class as `/object_info` has it."""
    inputs = {"required": required or {}, "optional": optional or {}}
    return {
        "input": inputs,
        "input_order": {group: list(names) for group, names in inputs.items()},
        "output": list(output),
        "output_is_list": [False] * len(output),
        "output_name": list(output),
        "display_name": display_name,
        "description": "",
        "python_module": "nodes",
        "category": "test",
        "output_node": not output,
    } | more


def descriptions():
    """Return the recorded classes of ComfyUI, and classes for rules that no recorded class needs."""
    known = {name: described() | one for name, one in json.loads(RECORDED.read_text()).items()}
    own = {
        "Show": described({"images": ["IMAGE"]}, display_name="Show the Image"),
        "Mix": described({"b": ["IMAGE"], "amount": ["FLOAT", {"default": 0.5}], "a": ["IMAGE"]}, output=["IMAGE"]),
        "Split": described({"image": ["IMAGE"], "mask": ["MASK"]}, output=["MASK", "IMAGE"]),
        "Pass": described({"value": ["*"], "image": ["IMAGE"]}, output=["*"]),
        "Store": described({"images": ["IMAGE"], "filename_prefix": ["STRING", {}]}),
        "Count": described({"number": ["INT", {"default": 3}]}, output=["INT"]),
        "Roll": described({"noise_seed": ["INT", {"default": 1}], "sides": ["INT", {"default": 6}]}, output=["IMAGE"]),
        "Plain": described(
            {"seed": ["INT", {"default": 1, "control_after_generate": False}], "sides": ["INT", {"default": 6}]},
            output=["IMAGE"],
        ),
        "Words": described(
            {"words": ["COMBO", {"options": ["red", "green", "blue"], "multiselect": True}], "last": ["STRING", {}]},
            output=["IMAGE"],
        ),
        "Cycle": described(
            {
                "word": [["red", "green"], {"control_after_generate": True}],
                "strength": ["FLOAT", {"default": 1.0}],
            },
            output=["IMAGE"],
        ),
        "Forced": described(
            {"text": ["STRING", {"forceInput": True}], "steps": ["INT", {"default": 4}], "on": ["BOOLEAN", {}]},
            {"word": [["red", "green"]], "number": ["FLOAT", {}]},
            output=["IMAGE"],
        ),
        "Upload": described(
            {"image": [["a.png", "b.png"], {"image_upload": True}]}, {"size": ["INT", {"default": 7}]}, output=["IMAGE"]
        ),
        "Remote": described(
            {
                "model": ["COMBO", {"remote": {"route": "/none", "refresh_button": True}}],
                "other": ["COMBO", {"remote": {"route": "/none"}}],
                "size": ["INT", {"default": 7}],
            },
            output=["IMAGE"],
        ),
        "Format": described(
            {"format": ["COMFY_DYNAMICCOMBO_V3", {"options": [_PNG, _JPEG]}], "name": ["STRING", {"default": "x"}]},
            output=["IMAGE"],
        ),
        "Either": described({"one": ["IMAGE,MASK"], "other": ["IMAGE"]}, output=["IMAGE"]),
        "Power Lora Loader (rgthree)": described({}, {"model": ["MODEL"], "clip": ["CLIP"]}, output=["MODEL", "CLIP"]),
        "Prompt": described(
            {"text": ["STRING", {"multiline": True, "dynamicPrompts": True}], "plain": ["STRING", {"multiline": True}]},
            output=["IMAGE"],
        ),
    }
    for name, one in own.items():
        one["name"] = name
    return known | own


# -- writing in the editor's format --------------------------------------------------------------------------------


def node(node_id, class_type, values=(), links=None, *, mode=0, title=None, widgets=(), **more):
    """Return a node; `links` maps the name of an input to (node, output, type), and `widgets` names converted ones."""
    return {
        "id": node_id,
        "type": class_type,
        "pos": [300 * (node_id % 10 if isinstance(node_id, int) else 0), 0],
        "size": [200, 100],
        "flags": {},
        "mode": mode,
        "from": dict(links or {}),
        "widgets": widgets,
        "properties": {},
        "widgets_values": values if isinstance(values, dict) else list(values),
        **({"title": title} if title else {}),
        **more,
    }


def canvas(*nodes, results=(), as_objects=False):
    """Return nodes and links; the outputs of a subgraph come from `results`, of (node, output, type)."""
    links = []
    saved = []
    for order, one in enumerate(copy.deepcopy(nodes)):
        starts, widgets = one.pop("from"), one.pop("widgets")
        inputs = one.pop("inputs", [])
        for name, (origin, slot, kind) in starts.items():
            links.append([len(links) + 1, origin, slot, one["id"], len(inputs), kind])
            inputs.append({"name": name, "type": kind, "link": len(links)})
            if name in widgets:
                inputs[-1]["widget"] = {"name": name}
        saved.append(one | {"order": order, "inputs": inputs})
    for index, (origin, slot, kind) in enumerate(results):
        links.append([len(links) + 1, origin, slot, -20, index, kind])
    for one in saved:
        if "outputs" not in one:
            used = {(link[2], link[5]) for link in links if link[1] == one["id"]}
            top = max((slot for slot, _ in used), default=-1)
            kinds = dict(used)
            one["outputs"] = [{"name": kinds.get(i, "*"), "type": kinds.get(i, "*")} for i in range(top + 1)]
        for slot, output in enumerate(one["outputs"]):
            output["links"] = [link[0] for link in links if link[1:3] == [one["id"], slot]] or None
    if as_objects:
        keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
        links = [dict(zip(keys, link, strict=True)) for link in links]
    return {"nodes": saved, "links": links}


def subgraph(subgraph_id, name, inputs, outputs, *nodes):
    """Return a subgraph; `inputs` maps names to types, `outputs` names to (node, output, type); node -10 is outside."""
    content = canvas(*nodes, results=list(outputs.values()), as_objects=True)

    def slots(named, node_id, end):
        return [
            {
                "id": f"{subgraph_id}-{end}-{index}",
                "name": slot_name,
                "type": kind if isinstance(kind, str) else kind[2],
                "linkIds": [
                    one["id"] for one in content["links"] if (one[f"{end}_id"], one[f"{end}_slot"]) == (node_id, index)
                ],
            }
            for index, (slot_name, kind) in enumerate(named.items())
        ]

    return {
        "id": subgraph_id,
        "version": 1,
        "state": {"lastGroupId": 0, "lastNodeId": 900, "lastLinkId": 900, "lastRerouteId": 0},
        "revision": 0,
        "config": {},
        "name": name,
        "inputNode": {"id": -10, "bounding": [-200, 0, 100, 100]},
        "outputNode": {"id": -20, "bounding": [2000, 0, 100, 100]},
        "inputs": slots(inputs, -10, "origin"),
        "outputs": slots(outputs, -20, "target"),
        "widgets": [],
        "groups": [],
        "extra": {},
        **content,
    }


def workflow(*nodes, subgraphs=(), **more):
    """Return a workflow as the editor saves it."""
    definitions = {"definitions": {"subgraphs": list(subgraphs)}} if subgraphs else {}
    last = {"last_node_id": 900, "last_link_id": 900}
    return {"version": 0.4, **last, **canvas(*nodes), "groups": [], "config": {}, "extra": {}, **definitions, **more}


def api(class_type, title=None, /, **inputs):
    """Return a node of an API graph."""
    return {"class_type": class_type, "inputs": inputs, "_meta": {"title": title or class_type}}


EMPTY = api("EmptyImage", width=64, height=64, batch_size=1, color=0)


def empty(node_id=1, **more):
    """Return a node that makes an image."""
    return node(node_id, "EmptyImage", [64, 64, 1, 0], outputs=[{"name": "IMAGE", "type": "IMAGE"}], **more)


def show(node_id, origin, slot=0):
    """Return a node that shows the image of another node."""
    return node(node_id, "Show", [], {"images": (origin, slot, "IMAGE")})


def shown(origin, slot=0):
    """Return the API form of `show`."""
    return api("Show", "Show the Image", images=[origin, slot])


IMAGE = [{"name": "IMAGE", "type": "IMAGE"}]
COUNT = [{"name": "INT", "type": "INT", "widget": {"name": "width"}}]
IMAGE_OF_1 = {"images": (1, 0, "IMAGE")}
UUID = "11111111-2222-4333-8444-{:012d}"


def primitive(node_id, value, **more):
    """Return a node that gives a value to widgets."""
    options = {"outputs": COUNT, "properties": {"Run widget replace on values": False}} | more
    return node(node_id, "PrimitiveNode", [value, "fixed"], **options)


def uses(node_id, number, values=(), links=None, *, proxies=(), **more):
    """Return a node that uses a subgraph; without `links` it takes the image of node 1."""
    links = {"image": (1, 0, "IMAGE")} if links is None else links
    properties = {"proxyWidgets": [list(one) for one in proxies]} if proxies else {}
    return node(node_id, UUID.format(number), values, links, outputs=IMAGE, properties=properties, **more)
