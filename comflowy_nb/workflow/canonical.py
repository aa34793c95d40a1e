"""Canonical JSON, and the request key that identifies identical requests."""

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
    """Return JSON with sorted keys, no white space, whole floats as integers, images as the sha256 of their content.

    Raises
    ------
    ValueError
        If the value holds nan or inf.
    TypeError
        If it holds anything that is no JSON and no image, or a key that is no text.
    """
    return json.dumps(_canonical(value), ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def request_key(identity: str, content: object, params: Mapping[str, Any]) -> str:
    """Return the key that two submissions share if and only if they are the same request.

    Parameters
    ----------
    identity
        The service, as the same-request rule names it.
    content
        The workflow's id, or its graph as nodes: the params are applied to it, and titles don't count.
    params
        Field id -> value, as sent. Defaults are not filled in.

    Returns
    -------
    64 hexadecimal digits.
    """
    if isinstance(content, Graph):
        content = content.nodes
    if isinstance(content, Mapping):
        applied = Graph(content).apply(params)
        content = {node: {key: one[key] for key in one if key != "_meta"} for node, one in applied.items()}
    text = canonical_json([identity, content, dict(params)])
    # a text may hold half of a surrogate pair: it is as good an identity as any
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
