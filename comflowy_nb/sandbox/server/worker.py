"""A process that renders runs, one at a time, for the server that started it.

Orders come on stdin, news goes to stdout. It ends at once when stdin does, so that no worker outlives its server,
however that died.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, BinaryIO

from comflowy_nb.sandbox.engine.engine import Engine, NodeFailed, Stopped, apply_params
from comflowy_nb.sandbox.engine.nodes import OBJECT_INFO
from comflowy_nb.sandbox.server.pipe_protocol import pack, read_frame
from comflowy_nb.sandbox.server.workflows import graph_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["main"]


class Line:
    """The two pipes to the server."""

    def __init__(self, orders: BinaryIO, news: BinaryIO) -> None:
        self._orders = orders
        self._news = news
        self._speaking = threading.Lock()
        self._stopped: set[str] = set()
        self.runs: SimpleQueue[dict[str, Any]] = SimpleQueue()

    def tell(self, what: str, **words: Any) -> None:
        with self._speaking:
            try:
                self._news.write(pack({"what": what, **words}))
                self._news.flush()
            except OSError:  # the server is gone
                os._exit(0)

    def listen(self) -> None:
        """Take orders until there are no more; then the process ends, in the middle of a run if need be."""
        while (order := read_frame(self._orders)) is not None:
            if order["do"] == "stop":
                self._stopped.add(order["run_id"])
            else:
                self.runs.put(order)
        os._exit(0)

    def is_stopped(self, run_id: str) -> bool:
        return run_id in self._stopped


def main(inputs: str, images: str) -> None:
    """Render what is ordered, for ever."""
    # What is printed by accident must not end up between the frames.
    news = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    line = Line(sys.stdin.buffer, news)
    threading.Thread(target=line.listen, name="orders", daemon=True).start()
    engine = Engine(input_folder=Path(inputs))
    line.tell("loaded", object_info=OBJECT_INFO)
    if line.runs.empty():
        _warm_up(engine, line)
    line.tell("ready")
    while True:
        order = line.runs.get()
        _run(engine, line, order, Path(images))


def _warm_up(engine: Engine, line: Line) -> None:
    """Have ready what the sampler knows of: the first time, to paint it takes a second or two."""
    try:
        graph, _ = apply_params(graph_of("default") or {}, {"3::steps": 1})
        engine.run(graph, on_progress=lambda _payload: None, should_stop=lambda: not line.runs.empty())
    except Stopped:  # a run has come, which warms as well
        pass
    except Exception:  # noqa: BLE001 - runs will say it in their own words
        traceback.print_exc()


def _run(engine: Engine, line: Line, order: Mapping[str, Any], folder: Path) -> None:
    run_id: str = order["run_id"]
    line.tell("started", run_id=run_id)
    try:
        graph, wrong = apply_params(order["graph"], order["params"])
        wrong = wrong or engine.validate(graph)
        if wrong:
            line.tell("failed", run_id=run_id, error=json.dumps(wrong))
            return
        outputs = engine.run(
            graph,
            on_progress=lambda payload: line.tell("progress", run_id=run_id, payload=payload),
            should_stop=lambda: line.is_stopped(run_id),
        )
        images = [(node, image) for node, made in outputs.items() for image in made]
        made = [
            {"node": node, "kind": image.kind, "file": _write(folder, f"{run_id}_{position}.png", image.png)}
            for position, (node, image) in enumerate(images)
        ]
    except Stopped:
        line.tell("stopped", run_id=run_id)
    except NodeFailed as error:
        line.tell("failed", run_id=run_id, error=json.dumps(error.as_body))
    except Exception as error:  # noqa: BLE001 - a run's fault must not take the worker with it
        traceback.print_exc()
        line.tell("failed", run_id=run_id, error=json.dumps(_describe(error)))
    else:
        line.tell("done", run_id=run_id, made=made)


def _write(folder: Path, name: str, content: bytes) -> str:
    part = folder / f"{name}.part"
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(folder / name)
    return name


def _describe(error: Exception) -> dict[str, Any]:
    """A fault that is no node's, in the words of ComfyUI's `execution_error`."""
    message = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        message = f"the sandbox can't write the image: {error.strerror}"
    return {
        "node_id": "",
        "node_type": "",
        "exception_message": message,
        "exception_type": type(error).__name__,
        "traceback": [],
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
