"""Runs on a ComfyUI server, compared with a minimal client: one WebSocket, submit, await the end, fetch the image.

    python benchmarks/comfyui.py [--runs 12] [--rounds 7] [--px 512] [--steps 0] [--url URL] [--profile FILE]

Without `--url` on the scripted server of the tests, in a separate process. Each method has a separate process and
home folder; the rounds are shuffled. Every run has a different colour, or with `--steps` a different seed, so that
the server's cache is not used. Times are from the first submit to the last image in hand, without imports and after
one run to warm up.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
SERVER = HERE.parent / "tests" / "comfyui"
METHODS = ("bare", "runs", "sweep")
TARGET = 1.25


def graph(number: int, args: argparse.Namespace) -> tuple[dict, str, list]:
    """Return a graph, the field that differs in each run, and the values of that field."""
    base = args.base + number
    if args.steps:
        workflow_graph = json.loads((SERVER.parent / "data" / "comfyui" / "default_workflow_api.json").read_text())
        workflow_graph["5"]["inputs"] |= {"width": args.px, "height": args.px}
        workflow_graph["3"]["inputs"] |= {"steps": args.steps, "seed": base}
        return workflow_graph, "3::seed", [base + 1 + n for n in range(args.runs)]
    workflow_graph = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": args.px, "height": args.px, "batch_size": 1}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "bench"}},
    }
    workflow_graph["1"]["inputs"]["color"] = base
    return workflow_graph, "1::color", [base + 1 + n for n in range(args.runs)]


def bare(url: str, args: argparse.Namespace) -> tuple[float, float]:
    sys.path.insert(0, str(SERVER))
    from bare_client import BareClient

    workflow_graph, field, values = graph(0, args)
    node, name = field.split("::")
    with BareClient(url) as client:
        client.image(client.run(workflow_graph)[0])
        began_s, cpu_s = time.monotonic(), time.process_time()
        for value in values:
            workflow_graph[node]["inputs"][name] = value
            messages, prompt_id = client.run(workflow_graph)
            client.history(prompt_id)
            client.image(messages)
        return time.monotonic() - began_s, time.process_time() - cpu_s


def runs(url: str, args: argparse.Namespace) -> tuple[float, float]:
    def work(client, path, field, values):
        for value in values:
            client.run(path, {field: value})

    return _run_client(url, args, work)


def sweep(url: str, args: argparse.Namespace) -> tuple[float, float]:
    return _run_client(
        url, args, lambda client, path, field, values: client.sweep(path, {field: values}, max_runs=len(values))
    )


def _run_client(url: str, args: argparse.Namespace, work) -> tuple[float, float]:
    import comflowy_nb

    workflow_graph, field, values = graph(0, args)
    path = Path(os.environ["COMFLOWY_HOME"]) / "bench.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(workflow_graph))
    with comflowy_nb.connect(f"bench={url}") as client:
        client.run(str(path))
        began_s, cpu_s = time.monotonic(), time.process_time()
        work(client, str(path), field, values)
        return time.monotonic() - began_s, time.process_time() - cpu_s


def measure(method: str, url: str, args: argparse.Namespace) -> tuple[float, float]:
    """Return the wall and CPU seconds of one method, run in a separate process."""
    options = [f"--{name}={getattr(args, name)}" for name in ("runs", "px", "steps", "base")]
    if args.profile:
        options.append(f"--profile={args.profile}")
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [sys.executable, __file__, f"--url={url}", f"--method={method}", *options],
            env=os.environ | {"COMFLOWY_HOME": home},
            capture_output=True,
            text=True,
            check=True,
            timeout=600,
        )
    wall_s, cpu_s = json.loads(done.stdout.splitlines()[-1])
    return wall_s, cpu_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--runs", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--px", type=int, default=512)
    parser.add_argument("--steps", type=int, default=0, help="of the default graph; 0 takes a graph without a model")
    parser.add_argument("--url", help="a server that runs already")
    parser.add_argument("--profile", help="where to write a cProfile of the methods of comflowy_nb")
    parser.add_argument("--method", choices=METHODS, help=argparse.SUPPRESS)
    parser.add_argument("--base", type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.method:
        method = globals()[args.method]
        if args.profile and args.method != "bare":
            import cProfile

            profile = cProfile.Profile()
            result = profile.runcall(method, args.url, args)
            profile.dump_stats(args.profile)
        else:
            result = method(args.url, args)
        print(json.dumps(result))
        return
    server = None
    url = args.url
    if url is None:
        server = subprocess.Popen(
            [sys.executable, str(SERVER / "comfyui_server.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        url = server.stdout.readline().strip()
    try:
        report(url, args)
    finally:
        if server is not None:
            server.communicate("", timeout=30)


def report(url: str, args: argparse.Namespace) -> None:
    results: dict[str, list[tuple[float, float]]] = {method: [] for method in METHODS}
    for number in range(args.rounds):
        for position, method in enumerate(random.sample(METHODS, len(METHODS))):
            args.base = (number * len(METHODS) + position) * (args.runs + 1) + random.randrange(2**20)
            results[method].append(measure(method, url, args))
    baseline_s = statistics.median(wall_s for wall_s, _ in results["bare"])
    print(f"{args.runs} runs at {args.px} px, medians of {args.rounds} rounds; target at most {TARGET} of bare")
    for method, pairs in results.items():
        wall_s = statistics.median(wall_s for wall_s, _ in pairs)
        cpu_s = statistics.median(cpu_s for _, cpu_s in pairs)
        each = f"{1000 * wall_s / args.runs:6.1f} ms a run, {1000 * cpu_s / args.runs:5.1f} ms CPU"
        best = min(wall_s for wall_s, _ in pairs) / min(wall_s for wall_s, _ in results["bare"])
        print(f"{method:6} {each}   {wall_s / baseline_s:5.2f} of bare, best {best:5.2f}")


if __name__ == "__main__":
    main()
