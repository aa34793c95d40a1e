"""Measure a sweep of short runs: latency of its end, number of requests, and CPU time of the client.

    python benchmarks/sweep_client.py [--runs 512] [--seconds 0.2] [--slots 16] [--rounds 3] [--profile FILE]
    python benchmarks/sweep_client.py --runs 96 --seconds 2 --spread 0.3 --delay-s 0.05     runs of varying length

Each method has a separate process and home folder; the rounds are shuffled. Ratios are to the ideal time, in which each
slot of `server.py` begins the next run at once. CPU is that of the client's process, from the call to the last received
result, without imports. Latency is from the end of a run on the server until the client has received it.
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
import threading
import time
import urllib.request
from pathlib import Path

from measuring import Absent, Section, absent_rows, interleave, middle, spread, values
from server import ideal_s

HERE = Path(__file__).parent
TARGETS = (
    "targets: ratio <= 1.05 on a quiet machine, 1.10 on a busy one; <= 2.6 requests; median <= 50 ms; CPU <= 3.5 ms"
)


# -- the methods, each in a separate process, with the time at which the client knew the end of each run -------------


def sweep(url: str, args: argparse.Namespace, *, webhooks: str) -> tuple[float, float, dict[str, float]]:
    import comflowy_nb
    from comflowy_nb.settings import settings

    settings.webhooks = webhooks
    known_s: dict[str, float] = {}

    def note(cell) -> None:
        run = cell.run if cell is not None else None
        if run is not None and run.status == "success":
            known_s.setdefault(run.record.service_run_id, time.monotonic())

    with comflowy_nb.connect(f"bench={url}", key="key") as client:
        client.sweep("warm-up", {"1::n": [1, 2]})  # warm-up: imports, pools, SQLite's statement cache
        with urllib.request.urlopen(f"{url}/stats") as answer:
            warm = json.load(answer)["counts"]
        Path(os.environ["BENCH_WARM"]).write_text(json.dumps(warm))
        began_s, cpu_s = time.monotonic(), time.process_time()
        result = client.sweep(
            "bench",
            {"1::n": list(range(args.runs))},
            max_runs=args.runs,
            wait=False,
            window=args.window,
            on_plan=lambda planned: planned.listen(note),
        )
        result.wait(600)
        while len(known_s) < args.runs:
            time.sleep(0.001)
        cpu_s = time.process_time() - cpu_s
    return began_s, cpu_s, known_s


def pool(url: str, args: argparse.Namespace, *, threads: int, kept: bool) -> tuple[float, float, dict[str, float]]:
    """Run the cells with a simple thread pool: one thread for each run in flight, which polls every 0.25 s."""
    from concurrent.futures import ThreadPoolExecutor

    import requests

    known_s: dict[str, float] = {}
    local = threading.local()
    api = f"{url}/api/open/v0"
    Path(os.environ["BENCH_WARM"]).write_text("{}")
    requests.get(f"{api}/auth/token", params={"ppt": "key"}, timeout=10)
    head = {"Authorization": "Bearer token"}

    def http():
        if not kept:
            return requests
        if not hasattr(local, "session"):
            local.session = requests.Session()
        return local.session

    def one(number: int) -> None:
        body = {"workflow_id": "bench", "params": {"1::n": number}, "callback_urls": {}}
        run_id = http().post(f"{api}/run", json=body, headers=head, timeout=30).json()["data"]["run_id"]
        while True:
            time.sleep(0.25)
            answer = http().post(f"{api}/check", params={"id": run_id}, headers=head, timeout=30).json()
            if answer["data"]["status"] == "success":
                known_s[run_id] = time.monotonic()
                return

    began_s, cpu_s = time.monotonic(), time.process_time()
    with ThreadPoolExecutor(threads) as executor:
        list(executor.map(one, range(args.runs)))
    return began_s, time.process_time() - cpu_s, known_s


METHODS = {
    "comflowy_nb, webhooks off": lambda url, args: sweep(url, args, webhooks="off"),
    "comflowy_nb, webhooks on": lambda url, args: sweep(url, args, webhooks="on"),
    "naive: pool of 16, 0.25 s": lambda url, args: pool(url, args, threads=16, kept=False),
    "pool of 32, 0.25 s, sessions": lambda url, args: pool(url, args, threads=32, kept=True),
}


# -- one method in its process ----------------------------------------------------------------------------------------


def measure(method: str, url: str, args: argparse.Namespace) -> dict:
    if args.profile:
        # All threads, because the tracker works on separate ones.
        import yappi

        yappi.set_clock_type("cpu")
        yappi.start()
    began_s, cpu_s, known_s = METHODS[method](url, args)
    if args.profile:
        yappi.stop()
        yappi.get_func_stats().save(args.profile, type="pstat")
    with urllib.request.urlopen(f"{url}/stats") as answer:
        stats = json.load(answer)
    warm = json.loads(Path(os.environ["BENCH_WARM"]).read_text())
    requests = {route: count - warm.get(route, 0) for route, count in stats["counts"].items()}
    own_runs = [run_id for run_id in known_s if run_id in stats["ends_s"]]
    latencies = sorted(known_s[run_id] - stats["ends_s"][run_id] for run_id in own_runs)
    assert len(latencies) >= args.runs, "not every run is known"
    return {
        "ratio": (max(known_s.values()) - began_s) / _ideal_s(args),
        "server": (max(stats["ends_s"].values()) - began_s) / _ideal_s(args),
        "requests": sum(requests.values()) / args.runs,
        "submits": requests.get("POST /run", 0),
        "median_ms": 1000 * statistics.median(latencies),
        "p95_ms": 1000 * latencies[int(0.95 * len(latencies))],
        "cpu_ms": 1000 * cpu_s / args.runs,
    }


# -- all of them ------------------------------------------------------------------------------------------------------


def _ideal_s(args: argparse.Namespace) -> float:
    return ideal_s(args.runs, slots=args.slots, seconds=args.seconds, spread=args.spread)


def serve() -> tuple[subprocess.Popen, str]:
    server = subprocess.Popen(
        [sys.executable, str(HERE / "server.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    return server, server.stdout.readline().strip()


def run_one(method: str, url: str, args: argparse.Namespace) -> dict:
    options = {name: getattr(args, name) for name in ("slots", "seconds", "spread", "delay_s", "images")}
    urllib.request.urlopen(urllib.request.Request(f"{url}/reset", json.dumps(options).encode(), method="POST")).close()
    with tempfile.TemporaryDirectory() as home:
        variables = {
            "COMFLOWY_HOME": home,
            "BENCH_WARM": f"{home}/warm.json",
            "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        }
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COMFLOWY_")}
        command = [sys.executable, __file__, "--method", method, "--url", url]
        for name in ("runs", "seconds", "spread", "slots", "images"):
            command += [f"--{name}", str(getattr(args, name))]
        command += [
            argument
            for name in ("window", "profile")
            if (value := getattr(args, name))
            for argument in (f"--{name}", str(value))
        ]
        try:
            done = subprocess.run(
                command, env=environment | variables, stdout=subprocess.PIPE, text=True, check=True, timeout=300
            )
        except subprocess.SubprocessError as error:
            raise Absent(type(error).__name__) from None
        return json.loads(done.stdout.splitlines()[-1])


def sections(*, quick: bool) -> list[Section]:
    """Return the tables for RESULTS.md: short runs of one length, and longer ones of varying length."""
    short = _section(["--runs", "256" if quick else "512"], rounds=2 if quick else 3)
    for method, limit in (("comflowy_nb, webhooks off", 1.03), ("comflowy_nb, webhooks on", 1.02)):
        short.target(f"{method}, of the ideal", short.middles[method], limit)
    varying = ["--runs", "96", "--seconds", "2", "--spread", "0.3", "--delay-s", "0.05"]
    return [short, _section(varying, rounds=1 if quick else 2)]


def _section(options: list[str], rounds: int) -> Section:
    args = _parser().parse_args(options)
    server, url = serve()
    try:
        results, absent = interleave(list(METHODS), rounds, lambda method: run_one(method, url, args))
    finally:
        server.stdin.close()
        server.wait(10)
    columns = ["method", "of the ideal", "requests a run", "latency ms, median", "CPU ms a run"]
    table = Section(_title(args), " ".join(["benchmarks/sweep_client.py", *options]), columns)
    names = ("ratio", "requests", "median_ms", "cpu_ms")
    for method, each in results.items():
        if method not in absent:
            table.rows.append([method, spread(values(each, "ratio"), 3), *(spread(values(each, n)) for n in names[1:])])
    table.rows += absent_rows(absent, len(columns))
    table.middles = {method: middle(values(each, "ratio")) for method, each in results.items()}
    return table


def _title(args: argparse.Namespace) -> str:
    length = f"{args.seconds:g} s"
    if args.spread:
        length = f"about {length} (sigma {args.spread:g}), responses after {1000 * args.delay_s:g} ms,"
    return f"A sweep of {args.runs} runs of {length} on {args.slots} slots: ideal {_ideal_s(args):.2f} s"


def show(method: str, results: list[dict]) -> None:
    def middle(name: str) -> float:
        return statistics.median(result[name] for result in results)

    ratios = [result["ratio"] for result in results]
    print(
        f"{method:30} {middle('ratio'):6.3f} [{min(ratios):.3f}-{max(ratios):.3f}] {middle('requests'):9.2f} "
        f"{middle('median_ms'):8.0f} {middle('p95_ms'):7.0f} {middle('cpu_ms'):8.2f} {results[0]['submits']:8d}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=512)
    parser.add_argument("--seconds", type=float, default=0.2, help="median duration of a run")
    parser.add_argument("--spread", type=float, default=0.0, help="sigma of the logarithm of the durations")
    parser.add_argument("--delay-s", type=float, default=0.0, help="delay of each response and event")
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=0, help="images of 64 x 64 that each run gives")
    parser.add_argument("--window", type=int, help="runs in flight; without it the window finds its size")
    parser.add_argument("--only", help="a word in the names of the methods to run")
    parser.add_argument("--profile", help="file for a profile of all threads, for pstats (wants yappi)")
    parser.add_argument("--method", choices=METHODS, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    return parser


def main() -> None:
    args = _parser().parse_args()
    if args.method:
        print(json.dumps(measure(args.method, args.url, args)))
        return

    methods = [method for method in METHODS if not args.only or args.only in method]
    order = [method for _ in range(args.rounds) for method in random.sample(methods, len(methods))]
    results: dict[str, list[dict]] = {method: [] for method in methods}
    server, url = serve()
    try:
        for number, method in enumerate(order, start=1):
            print(f"\r{number}/{len(order)} {method:40}", end="", file=sys.stderr, flush=True)
            results[method].append(run_one(method, url, args))
    finally:
        print(file=sys.stderr)
        server.stdin.close()
        server.wait(10)
    load = os.getloadavg()[0]
    busy = f"load average {load:.1f} on {os.cpu_count()} cores"
    print(f"{_title(args)}; {busy}")
    print(f"{'':30} {'ratio':>6} {'':13} {'req./run':>9} {'median':>8} {'p95 ms':>7} {'CPU ms':>8} {'submits':>8}")
    for method in methods:
        show(method, results[method])
    print(TARGETS)


if __name__ == "__main__":
    main()
