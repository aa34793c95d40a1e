"""Run a graph node by node, and take unchanged nodes from a cache.

Concurrent runs, each on the thread of its caller, share the cache.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np

from comflowy_nb.sandbox.engine import validation as checks
from comflowy_nb.sandbox.engine.image_ops import encode_png
from comflowy_nb.sandbox.engine.inputs import input_path
from comflowy_nb.sandbox.engine.latents import Latent
from comflowy_nb.sandbox.engine.nodes import FUNCTIONS, OBJECT_INFO, Context
from comflowy_nb.sandbox.engine.validation import apply_params, validate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

__all__ = ["Engine", "NodeFailed", "PngImage", "Stopped", "apply_params", "validate"]

MAX_CACHE_BYTES: Final = 192 << 20  # about 60 images of 512x512 with their latents
_OUTPUT_KINDS: Final[dict[str, Literal["output", "temp"]]] = {"SaveImage": "output", "PreviewImage": "temp"}

Progress: TypeAlias = "dict[str, Any]"


@dataclass(frozen=True, slots=True)
class PngImage:
    """A PNG file with the graph in its text chunk `prompt`.

    `filename` is made from the prefix of the node; `kind` is "output" for SaveImage, "temp" for PreviewImage.
    """

    png: bytes
    filename: str
    kind: Literal["output", "temp"]
    width_px: int
    height_px: int


class NodeFailed(Exception):
    """A node raised an exception; `as_body` is ComfyUI's execution_error."""

    def __init__(self, node_id: str, node_type: str, message: str, exception_type: str) -> None:
        super().__init__(f"{node_type} {node_id}: {message}")
        self.node_id = node_id
        self.node_type = node_type
        self.message = message
        self.exception_type = exception_type

    @property
    def as_body(self) -> dict[str, Any]:
        return {
            "node_id": self.node_id,
            "node_type": self.node_type,
            "exception_message": self.message,
            "exception_type": self.exception_type,
            "traceback": [],
        }


class Stopped(Exception):
    """The run was cancelled."""


class Engine:
    """Run graphs, and cache the outputs of nodes.

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
        self._cache: OrderedDict[str, tuple[tuple[Any, ...], int]] = OrderedDict()
        self._cached_bytes = 0
        self._lock = threading.Lock()

    def validate(self, graph: Any) -> dict[str, Any] | None:
        """Call `validate` with the input folder of this engine."""
        return validate(graph, self.input_folder)

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
            Called on this thread with {node, title, value, max, nodes_done, nodes_total} at the start and the end of
            each node, and at each step of a sampler.
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
        plain = checks.normalise(dict(graph))
        order = _order(plain)
        text = json.dumps(graph, sort_keys=True)
        keys: dict[str, str] = {}
        values: dict[str, tuple[Any, ...]] = {}
        images: dict[str, list[PngImage]] = {}
        waiting = {node_id: _count_uses(plain, order, node_id) for node_id in order}
        for done, node_id in enumerate(order):
            node = plain[node_id]
            progress = _Progress(on_progress, node_id, _title(graph[node_id]), done, len(order))
            if should_stop():
                raise Stopped
            progress.report(0, 1)
            with _as_node_failed(node_id, node["class_type"]):
                keys[node_id] = self._key(node, keys, text)
                outputs = self._recall(keys[node_id])
                if outputs is None:
                    outputs = self._run_node(node, values, progress, should_stop)
                    if node["class_type"] in _OUTPUT_KINDS:
                        outputs = (_make_files(node, outputs[0], graph),)
                    self._remember(keys[node_id], outputs)
            values[node_id] = outputs
            if node["class_type"] in _OUTPUT_KINDS:
                images[node_id] = outputs[0]
            for linked in checks.linked_nodes(node):
                waiting[linked] -= 1
                if not waiting[linked]:
                    del values[linked]  # free large batches early
            progress.finish()
        return {node_id: images[node_id] for node_id in graph if node_id in images}

    def _run_node(
        self,
        node: Mapping[str, Any],
        values: Mapping[str, tuple[Any, ...]],
        progress: _Progress,
        should_stop: Callable[[], bool],
    ) -> tuple[Any, ...]:
        def check_stop() -> None:
            if should_stop():
                raise Stopped

        inputs = {
            name: values[value[0]][value[1]] if isinstance(value, list) else value
            for name, value in node.get("inputs", {}).items()
        }
        context = Context(self.input_folder, progress.report, check_stop)
        return FUNCTIONS[node["class_type"]](context, **inputs)

    def _key(self, node: Mapping[str, Any], keys: Mapping[str, str], text: str) -> str:
        """Return the cache key of a node: a hash of its type, its values, and the keys of the nodes it needs."""
        parts: list[Any] = [node["class_type"]]
        for name, value in sorted(node.get("inputs", {}).items()):
            parts.append([name, [keys[value[0]], value[1]] if isinstance(value, list) else ["=", value]])
        if node["class_type"] == "LoadImage":
            path = input_path(self.input_folder, node["inputs"]["image"])
            parts.append(hashlib.sha256(path.read_bytes()).hexdigest())
        if node["class_type"] in _OUTPUT_KINDS:
            parts.append(text)  # the files contain the whole graph
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def _recall(self, key: str) -> tuple[Any, ...] | None:
        with self._lock:
            if key not in self._cache:
                return None
            self._cache.move_to_end(key)
            return self._cache[key][0]

    def _remember(self, key: str, outputs: tuple[Any, ...]) -> None:
        for value in outputs:
            if isinstance(value, np.ndarray):
                value.flags.writeable = False  # shared with other runs
        size = sum(map(_size_bytes, outputs))
        with self._lock:
            if key in self._cache or not self._cache_nodes or size > MAX_CACHE_BYTES // 2:
                return
            self._cache[key] = (outputs, size)
            self._cached_bytes += size
            while len(self._cache) > self._cache_nodes or self._cached_bytes > MAX_CACHE_BYTES:
                _, (_, freed) = self._cache.popitem(last=False)
                self._cached_bytes -= freed


class _Progress:
    """Report the progress of one node as progress of the run."""

    def __init__(self, on_progress: Callable[[Progress], None], node: str, title: str, done: int, total: int) -> None:
        self._on_progress = on_progress
        self._fixed = {"node": node, "title": title}
        self._done = done
        self._total = total
        self._max = 1

    def report(self, value: int, maximum: int) -> None:
        self._max = maximum
        self._send(value, self._done)

    def finish(self) -> None:
        self._send(self._max, self._done + 1)

    def _send(self, value: int, done: int) -> None:
        self._on_progress(
            {**self._fixed, "value": value, "max": self._max, "nodes_done": done, "nodes_total": self._total}
        )


@contextmanager
def _as_node_failed(node_id: str, node_type: str) -> Iterator[None]:
    """Raise NodeFailed for each error of a node except Stopped."""
    try:
        yield
    except Stopped:
        raise
    except MemoryError as error:
        message = "the image does not fit into the memory of this machine"
        raise NodeFailed(node_id, node_type, message, "MemoryError") from error
    except Exception as error:
        raise NodeFailed(node_id, node_type, str(error), type(error).__name__) from error


def _order(graph: Mapping[str, Any]) -> list[str]:
    """Return the nodes that the outputs need in topological order."""
    order: dict[str, None] = {}
    for node_id, node in graph.items():
        if OBJECT_INFO[node["class_type"]]["output_node"]:
            order.update(dict.fromkeys(checks.reach(graph, node_id) or ()))
    return list(order)


def _count_uses(graph: Mapping[str, Any], order: list[str], node_id: str) -> int:
    return sum(checks.linked_nodes(graph[user]).count(node_id) for user in order)


def _title(node: Mapping[str, Any]) -> str:
    meta = node.get("_meta")
    title = meta.get("title") if isinstance(meta, dict) else None
    return str(title or OBJECT_INFO[node["class_type"]]["display_name"] or node["class_type"])


def _make_files(node: Mapping[str, Any], images: Any, graph: Mapping[str, Any]) -> list[PngImage]:
    prefix = str(node.get("inputs", {}).get("filename_prefix", "ComfyUI_temp"))
    name = "".join(c if c.isalnum() or c in "-_ " else "_" for c in prefix.rsplit("/", 1)[-1])[:80] or "ComfyUI"
    kind = _OUTPUT_KINDS[node["class_type"]]
    return [
        PngImage(encode_png(image, graph), f"{name}_{k:05d}_.png", kind, image.shape[1], image.shape[0])
        for k, image in enumerate(images, start=1)
    ]


def _size_bytes(value: Any) -> int:
    if isinstance(value, Latent):
        return int(value.samples.nbytes)
    if isinstance(value, np.ndarray):
        return int(value.nbytes)
    if isinstance(value, list):
        return sum(len(image.png) for image in value if isinstance(image, PngImage))
    return 1000
