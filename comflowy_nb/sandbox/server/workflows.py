"""The workflows a sandbox runs, and their fields in the form of ComfyUI's object_info."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["EXAMPLE_ID", "describe", "graph_of", "workflow_ids"]

EXAMPLE_ID = "test_workflow_id"  # the API page's own example; here it means the default graph


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
    """The API-format graph of a workflow; None for an id that is not known."""
    return _graphs().get("default" if workflow_id == EXAMPLE_ID else workflow_id)


def describe(graph: Mapping[str, Any], object_info: Mapping[str, Any]) -> dict[str, Any]:
    """The nodes of a graph and its fields.

    Returns
    -------
    `{"fields": {"3::cfg": ["FLOAT", {...}]}, "nodes": {"3": {"title", "class_type"}}}`; each field's default is the
    value it has in the graph. What is linked to another node is no field.
    """
    fields: dict[str, Any] = {}
    nodes: dict[str, Any] = {}
    for node_id, node in graph.items():
        class_type = node["class_type"]
        info = object_info.get(class_type, {})
        nodes[node_id] = {
            "title": node.get("_meta", {}).get("title") or info.get("display_name") or class_type,
            "class_type": class_type,
        }
        inputs = {**info.get("input", {}).get("required", {}), **info.get("input", {}).get("optional", {})}
        for name, value in node["inputs"].items():
            if isinstance(value, list) or name not in inputs:
                continue
            kind, *options = inputs[name]
            fields[f"{node_id}::{name}"] = [kind, {**(options[0] if options else {}), "default": value}]
    return {"fields": fields, "nodes": nodes}
