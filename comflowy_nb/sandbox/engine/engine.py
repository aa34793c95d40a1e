"""Run a graph node by node, and take unchanged nodes from a cache."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from comflowy_nb.sandbox.engine.image_ops import encode_png
from comflowy_nb.sandbox.engine.latents import Latent
from comflowy_nb.sandbox.engine.nodes import NODE_TYPES, Context, input_path
from comflowy_nb.sandbox.engine.validation import execution_order, linked_nodes, normalise

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from comflowy_nb.sandbox.engine.nodes import Kind


MAX_CACHE_BYTES: Final = 192 << 20  # about 60 images of 512x512 with their latents

Progress: TypeAlias = "dict[str, Any]"


@dataclass(frozen=True, slots=True)
class PngImage:
    """A PNG file with the graph in its text chunk `prompt`; its kind is "output" for SaveImage, "temp" for previews."""

    png: bytes
    kind: Kind


class NodeFailed(Exception):
    """A node raised an exception; `body` is ComfyUI's execution_error."""

    def __init__(self, node_id: str, node_type: str, error: Exception) -> None:
        if isinstance(error, MemoryError):
            message, exception_type = "the image does not fit into the memory of this machine", "MemoryError"
        else:
            message, exception_type = str(error), type(error).__name__
        super().__init__(f"{node_type} {node_id}: {message}")
        self.body = execution_error(message, exception_type, node_id, node_type)


def execution_error(message: str, exception_type: str, node_id: str = "", node_type: str = "") -> dict[str, Any]:
    """Return ComfyUI's execution_error; without a node for an error outside of one."""
    return {
        "node_id": node_id,
        "node_type": node_type,
        "exception_message": message,
        "exception_type": exception_type,
        "traceback": [],
    }


class Stopped(Exception):
    """The run was cancelled."""


class Engine:
    """Run valid graphs, one at a time, and cache the outputs of nodes.

    Parameters
    ----------
    cache_nodes : int, default 64
        Maximum number of nodes in the cache, which has at most `MAX_CACHE_BYTES`; 0 disables the cache.
    input_folder : Path
        Folder of LoadImage, which reads no other files.
    """

    def __init__(self, cache_nodes: int = 64, *, input_folder: Path) -> None:
        self.input_folder = input_folder
        self._cache_nodes = cache_nodes
        self._cache: OrderedDict[str, tuple[tuple[Any, ...], int]] = OrderedDict()  # outputs and their bytes
        self._cached_bytes = 0

    def run(
        self,
        graph: Mapping[str, Any],
        *,
        on_progress: Callable[[Progress], None],
        should_stop: Callable[[], bool],
    ) -> dict[str, list[PngImage]]:
        """Run a valid graph.

        Parameters
        ----------
        graph : mapping
            Node id -> node, in API format.
        on_progress : callable
            Called with {node, title, value, max, nodes_done, nodes_total} at the start and the end of each node, and
            at each step of a sampler.
        should_stop : callable
            Called before each node and at each step; a true value stops the run.

        Returns
        -------
        dict
            Node id -> images, for each output node in the order of the graph.

        Raises
        ------
        NodeFailed
            If a node raises an exception.
        Stopped
            If `should_stop` returns true.
        """
        plain = normalise(graph)
        order = execution_order(plain)
        keys: dict[str, str] = {}
        values: dict[str, tuple[Any, ...]] = {}
        images: dict[str, list[PngImage]] = {}
        uses = Counter(linked for node_id in order for linked in linked_nodes(plain[node_id]))

        def check_stop() -> None:
            if should_stop():
                raise Stopped

        for done, node_id in enumerate(order):
            node = plain[node_id]
            node_type = NODE_TYPES[node["class_type"]]
            title = graph[node_id].get("_meta", {}).get("title") or node_type.title
            progress = {"node": node_id, "title": title, "value": 0, "max": 1}
            progress |= {"nodes_done": done, "nodes_total": len(order)}
            check_stop()
            on_progress({**progress})
            context = Context(self.input_folder, partial(_report_step, on_progress, progress), check_stop)
            try:
                keys[node_id] = self._key(node, keys, graph)
                values[node_id] = self._run_node(node, keys[node_id], values, context, graph)
            except Stopped:
                raise
            except Exception as error:
                raise NodeFailed(node_id, node["class_type"], error) from error
            if node_type.output_kind:
                images[node_id] = values[node_id][0]
            for linked in linked_nodes(node):
                uses[linked] -= 1
                if not uses[linked]:
                    del values[linked]  # free large batches early
            on_progress({**progress, "value": progress["max"], "nodes_done": done + 1})
        return {node_id: images[node_id] for node_id in graph if node_id in images}

    def _run_node(
        self,
        node: Mapping[str, Any],
        key: str,
        values: Mapping[str, tuple[Any, ...]],
        context: Context,
        graph: Mapping[str, Any],
    ) -> tuple[Any, ...]:
        """Return the outputs of a node, from the cache if it is unchanged."""
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key][0]
        node_type = NODE_TYPES[node["class_type"]]
        inputs = {
            name: values[value[0]][value[1]] if isinstance(value, list) else value
            for name, value in node.get("inputs", {}).items()
        }
        outputs = node_type.function(context, **inputs)
        if node_type.output_kind:
            outputs = ([PngImage(encode_png(image, graph), node_type.output_kind) for image in outputs[0]],)
        self._remember(key, outputs)
        return outputs

    def _key(self, node: Mapping[str, Any], keys: Mapping[str, str], graph: Mapping[str, Any]) -> str:
        """Return a node's cache key: a hash of its type, its values and the keys of its input nodes."""
        parts: list[Any] = [node["class_type"]]
        for name, value in sorted(node.get("inputs", {}).items()):
            parts.append([name, [keys[value[0]], value[1]] if isinstance(value, list) else ["=", value]])
        if node["class_type"] == "LoadImage":
            path = input_path(self.input_folder, node["inputs"]["image"])
            parts.append(hashlib.sha256(path.read_bytes()).hexdigest())
        if NODE_TYPES[node["class_type"]].output_kind:
            parts.append(json.dumps(graph, sort_keys=True))  # the files contain the whole graph
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def _remember(self, key: str, outputs: tuple[Any, ...]) -> None:
        for value in outputs:
            if isinstance(value, np.ndarray):
                value.flags.writeable = False  # later runs use it
        size = sum(map(_size_bytes, outputs))
        if not self._cache_nodes or size > MAX_CACHE_BYTES // 2:
            return
        self._cache[key] = (outputs, size)
        self._cached_bytes += size
        while len(self._cache) > self._cache_nodes or self._cached_bytes > MAX_CACHE_BYTES:
            _, (_, freed) = self._cache.popitem(last=False)
            self._cached_bytes -= freed


def _report_step(on_progress: Callable[[Progress], None], progress: Progress, value: int, maximum: int) -> None:
    """Report a step of a sampler as progress of the run."""
    progress.update(value=value, max=maximum)
    on_progress({**progress})


def _size_bytes(value: Any) -> int:
    if isinstance(value, Latent):
        return int(value.samples.nbytes)
    if isinstance(value, np.ndarray):
        return int(value.nbytes)
    if isinstance(value, list):
        return sum(len(image.png) for image in value)
    return 1000
