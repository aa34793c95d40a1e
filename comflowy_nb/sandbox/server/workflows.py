"""The workflows of the sandbox, and their fields in the form of ComfyUI's object_info."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


EXAMPLE_ID = "test_workflow_id"  # the id in the example of the API page; here it means the default graph


@cache
def _graphs() -> Mapping[str, Mapping[str, Any]]:
    folder = files("comflowy_nb") / "workflow" / "builtin"
    graphs = {
        entry.name.removesuffix(".json"): json.loads(entry.read_text(encoding="utf-8"))
        for entry in folder.iterdir()
        if entry.name.endswith(".json")
    }
    return dict(sorted(graphs.items()))


def workflow_ids() -> list[str]:
    return list(_graphs())


def graph_of(workflow_id: str) -> Mapping[str, Any] | None:
    """Return the API-format graph of a workflow; None for an unknown id."""
    return _graphs().get("default" if workflow_id == EXAMPLE_ID else workflow_id)


def describe(graph: Mapping[str, Any], node_types: Mapping[str, Any]) -> dict[str, Any]:
    """Return the nodes and fields of a graph.

    Parameters
    ----------
    node_types : mapping
        Class type -> {"title", "inputs"}, with the inputs as in ComfyUI's object_info.

    Returns
    -------
    dict
        `{"fields": {"3::cfg": ["FLOAT", {...}]}, "nodes": {"3": {"title", "class_type"}}}`. The default of a field is
        its value in the graph. An input that is linked to another node is not a field.
    """
    fields: dict[str, Any] = {}
    nodes: dict[str, Any] = {}
    for node_id, node in graph.items():
        class_type = node["class_type"]
        node_type = node_types[class_type]
        title = node.get("_meta", {}).get("title") or node_type["title"]
        nodes[node_id] = {"title": title, "class_type": class_type}
        for name, value in node["inputs"].items():
            if not isinstance(value, list) and name in node_type["inputs"]:
                kind, options = node_type["inputs"][name]
                fields[f"{node_id}::{name}"] = [kind, {**options, "default": value}]
    return {"fields": fields, "nodes": nodes}
