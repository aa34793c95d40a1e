"""Serve the scripted ComfyUI of the tests with complete node descriptions, because ComfyScript reads all of their keys.

python benchmarks/comfyui_server.py [NODE_MS]        print the address, serve until stdin is closed
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "comfyui"))

from comfyui_server import ComfyServer


def complete(name: str, node: dict) -> dict:
    outputs = node.get("output") or []
    inputs = node.get("input") or {}
    return {
        "input_order": {kind: list(names) for kind, names in inputs.items()},
        "output_is_list": [False] * len(outputs),
        "output_name": list(outputs),
        "name": name,
        "display_name": name,
        "description": "",
        "python_module": "nodes",
        "category": "bench",
        "output_node": False,
        **node,
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, ComfyServer(folder) as server:
        server.nodes = {name: complete(name, node) for name, node in server.nodes.items()}
        server.node_s = float(sys.argv[1]) / 1000 if len(sys.argv) > 1 else 0.0  # minimum time of a node
        print(server.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
