"""Canonical JSON, and the request key by which identical requests are recognised."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from comflowy_nb.workflow.graph import Graph
from comflowy_nb.workflow.images import InputImage

__all__ = ["canonical_json", "request_key"]


def canonical_json(value: object) -> str:
    """Return JSON with sorted keys, no white space, whole floats as integers, and images as their sha256.

    Raises
    ------
    ValueError
        If the value contains nan or inf.
    TypeError
        If it contains a value that is neither JSON nor an `InputImage`, or a key that is not text.
    """
    return json.dumps(_canonical(value), ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def request_key(identity: str, content: object, params: Mapping[str, Any]) -> str:
    """Return the request key: equal for identical requests, different for others.

    Parameters
    ----------
    identity
        The identity of the service.
    content
        The id of the workflow, or its graph or nodes. The params are applied to a graph; node titles are left out.
    params
        Field id -> submitted value, without defaults.

    Returns
    -------
    The sha256 of the canonical JSON, as 64 hexadecimal digits.
    """
    if isinstance(content, Graph):
        content = content.nodes
    if isinstance(content, Mapping):
        applied = Graph(content).apply(params)
        content = {node: {key: one[key] for key in one if key != "_meta"} for node, one in applied.items()}
    text = canonical_json([identity, content, dict(params)])
    # surrogatepass: a text may contain half of a surrogate pair
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _canonical(value: object) -> Any:
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is not a JSON number")
        return int(value) if value.is_integer() else value
    if isinstance(value, InputImage):
        return {"image": {"sha256": value.content_sha256}}
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("a JSON object needs keys of type str")
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(item) for item in value]
    raise TypeError(f"a {type(value).__name__} is not JSON")
