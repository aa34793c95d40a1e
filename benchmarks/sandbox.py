"""Compare the time of a sandbox image with the time of the matrix products that its denoiser needs.

    python benchmarks/sandbox.py [--rounds 5]

The minimum has, for each of 20 steps, one product of each layer's colours with the noisy image and one in the other
direction, in float32 on one core. A denoiser that compares an image with all layers can't do less.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from measuring import Section, interleave, run_child, run_script, table_of_methods

STEPS = 20
METHODS = ("matrix products", "image, 256x256", "image, 512x512", "image, 1024x1024")


def measure(method: str) -> dict[str, float]:
    import numpy as np

    from comflowy_nb.sandbox.engine.engine import Engine
    from comflowy_nb.sandbox.engine.nodes import CHECKPOINTS
    from comflowy_nb.sandbox.engine.scene_set import scene_set
    from comflowy_nb.sandbox.engine.validation import apply_params
    from comflowy_nb.sandbox.server.workflows import graph_of

    if method == METHODS[0]:
        layers = scene_set(next(iter(CHECKPOINTS)), (128, 128)).layers
        stacks = [
            layers.skies,
            *layers.lands,
            *(one.looks for one in layers.silhouettes[1:]),
        ]  # the first is an empty layer
        matrices = [np.ascontiguousarray(stack.reshape(-1, 3 * stack.shape[-1])) for stack in stacks]

        def work(_: int) -> None:
            for matrix in matrices:
                image = np.ones(matrix.shape[1], np.float32)
                for _ in range(STEPS):
                    weights = matrix @ image
                    image = weights @ matrix * np.float32(1e-6)
    else:
        side = int(method.rpartition("x")[2])
        engine = Engine(cache_nodes=0, input_folder=Path(tempfile.gettempdir()))

        def work(seed: int) -> None:
            params = {"3::steps": STEPS, "3::seed": seed, "5::width": side, "5::height": side}
            graph, _ = apply_params(graph_of("default"), params)
            engine.run(graph, on_progress=lambda _: None, should_stop=lambda: False)

    work(0)
    began_s = time.process_time()
    for seed in range(1, 4):
        work(seed)
    return {"s": (time.process_time() - began_s) / 3}


def sections(*, quick: bool) -> list[Section]:
    return _sections(2 if quick else 3)


def _sections(rounds: int) -> list[Section]:
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    results, absent = interleave(METHODS, rounds, lambda method: run_child(__file__, "--measure", method, **one_thread))
    title = f"An image of the sandbox, {STEPS} steps, {rounds} rounds"
    ratio, columns = ("CPU of the matrix products", "s"), {"CPU s": ("s", 3)}
    return [table_of_methods(title, "benchmarks/sandbox.py", results, absent, ratio, columns)]


if __name__ == "__main__":
    run_script(__doc__, _sections, measure, rounds=5)
