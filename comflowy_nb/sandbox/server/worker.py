"""Worker process: render runs, one at a time, for the server that started it.

Orders arrive on stdin, messages go to stdout. The process ends at once when stdin is closed, so that no worker
outlives its server, not even a killed one.
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

from comflowy_nb.sandbox.engine.engine import Engine, NodeFailed, Stopped, execution_error
from comflowy_nb.sandbox.engine.nodes import NODE_TYPES
from comflowy_nb.sandbox.engine.validation import apply_params, validate
from comflowy_nb.sandbox.server.home import write_file
from comflowy_nb.sandbox.server.workflows import graph_of

if TYPE_CHECKING:
    from collections.abc import Mapping


class Pipe:
    """The two pipes to the server: orders and messages, one JSON object per line."""

    def __init__(self, orders: BinaryIO, messages: BinaryIO) -> None:
        self._orders = orders
        self._messages = messages
        self.stopped: set[str] = set()  # ids of the runs that the server stopped
        self.runs: SimpleQueue[dict[str, Any]] = SimpleQueue()

    def send(self, kind: str, **values: Any) -> None:
        try:
            self._messages.write(json.dumps({"kind": kind, **values}).encode() + b"\n")
            self._messages.flush()
        except OSError:  # the server has ended
            os._exit(0)

    def listen(self) -> None:
        """Receive orders until the server closes the pipe; then end the process, even in the middle of a run."""
        for line in self._orders:
            order = json.loads(line)
            if order["kind"] == "stop":
                self.stopped.add(order["run_id"])
            else:
                self.runs.put(order)
        os._exit(0)


def main(inputs: str, images: str) -> None:
    """Render runs until the server closes the pipe."""
    # Redirect stdout to stderr, so that an accidental print does not corrupt the messages.
    messages = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    pipe = Pipe(sys.stdin.buffer, messages)
    threading.Thread(target=pipe.listen, name="orders", daemon=True).start()
    engine = Engine(input_folder=Path(inputs))
    node_types = {name: {"title": node.title, "inputs": node.inputs} for name, node in NODE_TYPES.items()}
    pipe.send("loaded", node_types=node_types)
    if pipe.runs.empty():
        _warm_up(engine, pipe)
    pipe.send("ready")
    while True:
        _run(engine, pipe, pipe.runs.get(), Path(images))


def _warm_up(engine: Engine, pipe: Pipe) -> None:
    """Load the scenes and the libraries before the first run arrives."""
    try:
        graph, _ = apply_params(graph_of("default") or {}, {"3::steps": 1})
        engine.run(graph, on_progress=lambda _payload: None, should_stop=lambda: not pipe.runs.empty())
    except Stopped:  # a run has arrived, which loads the same scenes and libraries
        pass
    except Exception:  # noqa: BLE001 - the first run reports the error
        traceback.print_exc()


def _run(engine: Engine, pipe: Pipe, order: Mapping[str, Any], folder: Path) -> None:
    run_id: str = order["run_id"]
    pipe.send("started", run_id=run_id)
    try:
        graph, errors = apply_params(order["graph"], order["params"])
        errors = errors or validate(graph, engine.input_folder)
        if errors:
            pipe.send("failed", run_id=run_id, error=json.dumps(errors))
            return
        outputs = engine.run(
            graph,
            on_progress=lambda payload: pipe.send("progress", run_id=run_id, payload=payload),
            should_stop=lambda: run_id in pipe.stopped,
        )
        images: list[dict[str, str]] = []
        for node, files in outputs.items():
            for image in files:
                name = f"{run_id}_{len(images)}.png"
                write_file(folder / name, image.png)
                images.append({"node": node, "kind": image.kind, "file": name})
    except Stopped:
        pipe.send("stopped", run_id=run_id)
    except NodeFailed as error:
        pipe.send("failed", run_id=run_id, error=json.dumps(error.body))
    except Exception as error:  # noqa: BLE001 - an error of one run must not end the worker
        traceback.print_exc()
        pipe.send("failed", run_id=run_id, error=json.dumps(_describe(error)))
    else:
        pipe.send("done", run_id=run_id, images=images)


def _describe(error: Exception) -> dict[str, Any]:
    """Return an error outside of a node as ComfyUI's `execution_error`."""
    message = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        message = f"the sandbox cannot write the image: {error.strerror}"
    return execution_error(message, type(error).__name__)


if __name__ == "__main__":
    main(*sys.argv[1:])
