"""Compare runs on a ComfyUI server with a minimal client: one WebSocket, submit, await the end, fetch the image.

    python benchmarks/comfyui.py [--runs 12] [--rounds 9] [--px 64 512] [--node-ms 10] [--url URL] [--profile FILE]

Without `--url` the methods run on the scripted server of the tests, in a separate process. There a node takes at least
`--node-ms`: 10 ms, as ComfyScript loses runs that end before it has read the queue. RESULTS.md has two other tables.
Without node time, a run of the bare client takes about as long as these two nodes on a real ComfyUI 0.3.64 on two busy
cores (64 px: 4.7 ms at best, 7 to 11 ms typically; 512 px: 12 to 16 ms). With 200 ms a node, it takes as long as the
shortest run with a model that was measured there: the default graph, a tiny checkpoint, 64 px, 4 steps, 0.4 to 0.5 s.
Each method has a separate process and home folder; the rounds are shuffled. Every run has a different colour, or with
`--steps` a different seed, so that the server's cache is not used. Times are from the first submit to the last received
image, without imports and after one run to warm up. A run without its image is a failure, and its time does not count.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measuring import Absent, Section, absent_rows, interleave, middle, ratios, run_child, spread, values

HERE = Path(__file__).parent
SERVER = HERE.parent / "tests" / "comfyui"
MAX_RATIO = {64: 1.15, 512: 1.10}


def graph(args: argparse.Namespace) -> tuple[dict, str, list]:
    """Return a graph, the field that differs in each run, and its values. The first value is for a warm-up."""
    numbers = [args.base + number for number in range(args.runs + 1)]
    if args.steps:
        nodes = json.loads((SERVER.parent / "data" / "comfyui" / "default_workflow_api.json").read_text())
        nodes["5"]["inputs"] |= {"width": args.px, "height": args.px}
        nodes["3"]["inputs"] |= {"steps": args.steps}
        return nodes, "3::seed", numbers
    nodes = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": args.px, "height": args.px, "batch_size": 1, "color": 0}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "bench"}},
    }
    for node in nodes.values():
        node["_meta"] = {"title": node["class_type"]}
    return nodes, "1::color", numbers


def timed(run, numbers: list) -> dict:
    """Return the figures of a function. It runs one value, and returns whether its image arrived."""
    run(numbers[0])
    wall_s, failed = [], 0
    cpu_s = time.process_time()
    for number in numbers[1:]:
        began_s = time.monotonic()
        try:
            arrived = run(number)
        except Exception:  # noqa: BLE001 - peers raise anything
            arrived = False
        wall_s.append(time.monotonic() - began_s)
        if not arrived:
            failed += 1
            wall_s.pop()
    if not wall_s:
        raise SystemExit("every run failed")
    count = len(numbers) - 1
    cpu_s = time.process_time() - cpu_s
    return {"ms": 1000 * sum(wall_s) / len(wall_s), "cpu_ms": 1000 * cpu_s / count, "failed": failed}


# -- the methods, each in its own process ----------------------------------------------------------------------------


def bare(args: argparse.Namespace) -> dict:
    sys.path.insert(0, str(SERVER))
    from bare_client import BareClient

    nodes, field, numbers = graph(args)
    node, name = field.split("::")
    with BareClient(args.url) as client:

        def run(number: int) -> bool:
            nodes[node]["inputs"][name] = number
            messages, prompt_id = client.run(nodes)
            client.history(prompt_id)
            return bool(client.image(messages))

        return timed(run, numbers)


def bare_recording(args: argparse.Namespace) -> dict:
    """Run the bare client with the least work that recording and verifying need, one step after the other.

    The transactions are flushed to the disk where those of comflowy_nb are: after the server has accepted the run.
    """
    import hashlib
    import io
    import sqlite3
    import uuid

    from PIL import Image

    sys.path.insert(0, str(SERVER))
    from bare_client import BareClient

    home = Path(os.environ["COMFLOWY_HOME"])
    nodes, field, numbers = graph(args)
    node, name = field.split("::")
    database = sqlite3.connect(home / "runs.db", isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("CREATE TABLE runs (token TEXT PRIMARY KEY, request TEXT, status TEXT, sha256 TEXT)")

    def record(statement: str, *values: str, synchronous: str = "NORMAL") -> None:
        database.execute(f"PRAGMA synchronous = {synchronous}")
        database.execute(statement, values)  # without an isolation level, sqlite3 commits each statement

    with BareClient(args.url) as client:

        def run(number: int) -> bool:
            nodes[node]["inputs"][name] = number
            token = str(uuid.uuid4())
            record("INSERT INTO runs VALUES (?, ?, 'submitting', NULL)", token, json.dumps(nodes))
            client.submit(nodes, prompt_id=token)[0].raise_for_status()
            record("UPDATE runs SET status = 'waiting' WHERE token = ?", token, synchronous="FULL")
            messages = client.until_end(token)
            outcome = client.history(token)[token]["status"]["status_str"]
            content = client.image(messages)
            sha256 = hashlib.sha256(content).hexdigest()
            Image.open(io.BytesIO(content)).load()
            part, path = home / f"{token}.part", home / f"{token}.png"
            part.write_bytes(content)
            part.replace(path)
            sidecar = {"run": token, "status": outcome, "file": path.name, "sha256": sha256, "request": nodes}
            path.with_suffix(".json").write_text(json.dumps(sidecar))
            record("UPDATE runs SET status = ?, sha256 = ? WHERE token = ?", outcome, sha256, token)
            return outcome == "success" and path.exists()

        return timed(run, numbers)


def _write_workflow(args: argparse.Namespace) -> tuple[str, str, list]:
    nodes, field, numbers = graph(args)
    path = Path(os.environ["COMFLOWY_HOME"]) / "bench.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(nodes))
    return str(path), field, numbers


def client_run(args: argparse.Namespace) -> dict:
    import comflowy_nb

    path, field, numbers = _write_workflow(args)
    with comflowy_nb.connect(f"bench={args.url}") as client:
        return timed(lambda number: client.run(path, {field: number}).images[0].path.exists(), numbers)


def client_sweep(args: argparse.Namespace) -> dict:
    import comflowy_nb

    path, field, numbers = _write_workflow(args)
    with comflowy_nb.connect(f"bench={args.url}") as client:
        client.run(path, {field: numbers[0]})
        cpu_s, began_s = time.process_time(), time.monotonic()
        sweep = client.sweep(path, {field: numbers[1:]}, max_runs=args.runs)
        wall_s, cpu_s = time.monotonic() - began_s, time.process_time() - cpu_s
        done = sweep.status_counts().get("success", 0)
    return {"ms": 1000 * wall_s / args.runs, "cpu_ms": 1000 * cpu_s / args.runs, "failed": args.runs - done}


def kernel_run(args: argparse.Namespace) -> dict:
    """Run cells in a kernel. Measure the time from the request until the kernel is idle and the image is displayed."""
    from kernel import Kernel

    path, field, numbers = _write_workflow(args)
    with Kernel() as kernel:
        for code in ("%load_ext comflowy_nb", f"%comflowy connect bench={args.url}"):
            kernel.run(code)
        cpu_s = []

        def run(number: int) -> bool:
            figures = kernel.run(f"%comflowy run {path} {field}={number}")
            cpu_s.append(figures["cpu_s"])
            return figures["image_s"] is not None

        figures = timed(run, numbers)
        return {**figures, "cpu_ms": 1000 * sum(cpu_s[1:]) / args.runs}  # the first run imports matplotlib


def comfy_script(args: argparse.Namespace) -> dict:
    os.chdir(os.environ["COMFLOWY_HOME"])  # it writes files
    from comfy_script.runtime import Workflow, load, queue

    with contextlib.redirect_stdout(sys.stderr):
        load(f"{args.url}/")
        queue.watch_display(False)
        from comfy_script.runtime.nodes import EmptyImage, SaveImage

        def run(number: int) -> bool:
            with Workflow():
                out = SaveImage(EmptyImage(args.px, args.px, 1, number), "bench")
            return out.wait()[0].size == (args.px, args.px)

        return timed(run, graph(args)[2])


def comfy_api_simplified(args: argparse.Namespace) -> dict:
    from comfy_api_simplified import ComfyApiWrapper, ComfyWorkflowWrapper

    path, field, numbers = _write_workflow(args)
    workflow, api = ComfyWorkflowWrapper(path), ComfyApiWrapper(args.url)

    def run(number: int) -> bool:
        workflow.set_node_param("EmptyImage", field.split("::")[1], number)
        return any(api.queue_and_wait_images(workflow, "SaveImage").values())

    with contextlib.redirect_stdout(sys.stderr):
        return timed(run, numbers)


def comfy_sdk(args: argparse.Namespace) -> dict:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(sys.executable).with_name("comfy-api-proxy")
    proxy = subprocess.Popen(
        [program, "run", "--comfyui", args.url, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=sys.stderr
    )
    try:
        deadline_s = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if proxy.poll() is not None or time.monotonic() > deadline_s:
                raise SystemExit("comfy-api-proxy did not start")
            time.sleep(0.05)
        os.environ["COMFY_BASE_URL"] = f"http://127.0.0.1:{port}"
        from comfy_sdk import Comfy

        path, field, numbers = _write_workflow(args)
        node, name = field.split("::")
        workflow = (client := Comfy()).workflows.from_file(path)

        def run(number: int) -> bool:
            workflow.set_input(node, name, number)
            return bool(client.submit(workflow).result().get_outputs("2")[0].to_bytes())

        return timed(run, numbers)
    finally:
        proxy.terminate()
        proxy.wait(10)


METHODS = {
    "bare client": bare,
    "bare client that records and verifies": bare_recording,
    "`Client.run`": client_run,
    "`Client.sweep`": client_sweep,
    "`%comflowy run` in a kernel, drawn": kernel_run,
    "ComfyScript": comfy_script,
    "comfy-api-simplified": comfy_api_simplified,
    "comfy-sdk": comfy_sdk,
}
_EMPTY_IMAGE_ONLY = {"ComfyScript", "comfy-api-simplified"}  # written for the graph without a model
_MIN_NODE_MS = {"ComfyScript": 10.0}  # it waits for ever for a run that ends sooner
TARGET_NODE_MS = 10.0


# -- all of them ------------------------------------------------------------------------------------------------------


def measure(method: str, args: argparse.Namespace) -> dict:
    args.base = random.randrange(2**23)  # no two processes ask for the same colours
    options = [f"--{name}={getattr(args, name)}" for name in ("runs", "steps", "base", "url", "profile")]
    with tempfile.TemporaryDirectory() as home:
        command = [__file__, f"--method={method}", "--px", str(args.px), *(o for o in options if "=None" not in o)]
        return run_child(*command, timeout_s=90, COMFLOWY_HOME=home)


def section(px: int, args: argparse.Namespace) -> Section:
    """Measure all methods at one image size."""
    args.px = px
    methods = [
        method
        for method in METHODS
        if not (args.steps and method in _EMPTY_IMAGE_ONLY)
        and (args.real or args.node_ms >= _MIN_NODE_MS.get(method, 0.0))
        and (not args.only or method == "bare client" or any(word in method for word in args.only))
    ]
    results, absent = interleave(methods, args.rounds, lambda method: measure(method, args))
    where = "a real server" if args.real else f"the scripted server, {args.node_ms:g} ms a node"
    columns = ["method", "of the bare client", "ms more", "ms a run", "CPU ms a run", "failed runs"]
    table = Section(f"{args.runs} runs of {px} px on {where}, {args.rounds} rounds", "benchmarks/comfyui.py", columns)
    base = results["bare client"]
    relative = {method: ratios(each, base, "ms") for method, each in results.items()}
    for method, each in results.items():
        if method not in absent:
            failed = f"{sum(values(each, 'failed')):.0f} of {args.runs * len(values(each, 'failed'))}"
            more = [one - other for one, other in zip(values(each, "ms"), values(base, "ms"), strict=False)]
            row = [
                method,
                spread(relative[method]),
                spread(more, 1),
                spread(values(each, "ms"), 1),
                spread(values(each, "cpu_ms"), 1),
            ]
            table.rows.append([*row, failed])
    table.rows += absent_rows(absent, len(columns))
    if not args.real and args.node_ms != TARGET_NODE_MS:
        return table
    own = middle(relative.get("`Client.run`", []))
    table.target(f"`Client.run`, {px} px, of the bare client", own, MAX_RATIO.get(px, 1.15))
    table.target("`Client.sweep`, of the bare client", middle(relative.get("`Client.sweep`", [])), 1.0)
    peer = middle(relative.get("ComfyScript", []))
    if peer is not None:
        table.target("`Client.run` before ComfyScript", own, round(peer, 2))
    return table


@contextlib.contextmanager
def serving(node_ms: float):
    """Start the scripted server, and yield its address."""
    command = [sys.executable, str(HERE / "comfyui_server.py"), str(node_ms)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield server.stdout.readline().strip()
    finally:
        server.communicate("", timeout=30)


def sections(*, quick: bool) -> list[Section]:
    tables = _sections(_parser().parse_args(["--rounds", "2" if quick else "5"]))
    for node_ms in ("0", "200"):
        options = ["--rounds", "2" if quick else "3", "--node-ms", node_ms, "--px", "64"]
        tables += _sections(_parser().parse_args([*options, "--only", "Client", "ComfyScript", "records"]))
    return tables


def _sections(args: argparse.Namespace) -> list[Section]:
    args.real = args.url is not None
    with contextlib.nullcontext(args.url) if args.real else serving(args.node_ms) as args.url:
        return [section(px, args) for px in args.px]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--runs", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--px", type=int, nargs="+", default=[64, 512])
    parser.add_argument("--steps", type=int, default=0, help="of the default graph; 0 takes a graph without a model")
    parser.add_argument(
        "--node-ms", type=float, default=TARGET_NODE_MS, help="minimum time of a node of the scripted server"
    )
    parser.add_argument("--url", help="a server that runs already")
    parser.add_argument("--only", nargs="+", help="words in the names of the methods to compare with the bare client")
    parser.add_argument("--profile", help="where to write a cProfile of the methods of comflowy_nb")
    parser.add_argument("--method", choices=METHODS, help=argparse.SUPPRESS)
    parser.add_argument("--base", type=int, default=0, help=argparse.SUPPRESS)
    return parser


def main() -> None:
    args = _parser().parse_args()
    if not args.method:
        print("\n".join(table.text() for table in _sections(args)))
        return
    args.px = args.px[0]
    method = METHODS[args.method]
    if args.profile and args.method.startswith("`Client"):
        import cProfile

        profile = cProfile.Profile()
        result = profile.runcall(method, args)
        profile.dump_stats(args.profile)
    else:
        result = method(args)
    print(json.dumps(result), flush=True)
    os._exit(0)  # some peers leave threads that never end


if __name__ == "__main__":
    try:
        main()
    except Absent as error:
        raise SystemExit(str(error)) from None
