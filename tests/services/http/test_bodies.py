"""Compressed responses: read completely, and never with more memory than their limits allow."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import zlib

import pytest
from faulty_server import choose, reply
from scripted_api import CHECK, RUN, png

UNPACKED_BYTES = 400 * 1000**2
MEMORY_LIMIT_BYTES = 64 * 1024**2

# A run in a script; VmHWM is the peak memory of the process.
RUN_ONCE = """
import re, sys
from pathlib import Path
import comflowy_nb
import comflowy_nb.client, comflowy_nb.images.decode
from comflowy_nb.settings import settings

def most_bytes():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

settings.retry_base_s = settings.retry_max_s = 0.02
client = comflowy_nb.connect(f"test={sys.argv[1]}", key="k")
before = most_bytes()
run = client.submit("wf-1", {"3::steps": 1}).run
run.wait(timeout=90)
print(run.status.value, most_bytes() - before)
"""


def compressed_zeros(layers):
    """Return zeros, compressed `layers` times."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    million = bytes(1000**2)
    content = b"".join(packer.compress(million) for _ in range(UNPACKED_BYTES // len(million))) + packer.flush()
    for _ in range(layers - 1):
        content = gzip.compress(content)
    return content


@pytest.fixture(scope="module")
def large_responses():
    return {
        layers: reply(compressed_zeros(layers), headers={"Content-Encoding": ", ".join(["gzip"] * layers)})
        for layers in (1, 2)
    }


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the memory of a process is read from /proc")
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("route", [RUN, CHECK, "GET /images/*"])
def test_a_small_response_of_400_mb_uncompressed_needs_little_memory(api, home, large_responses, route, layers):
    """A response of 800 bytes took 811 MB: urllib3 2.0.7 decompresses all it has read, regardless of the limit."""
    default_responses = {
        CHECK: choose(lambda request: reply({"success": True, "data": api.state(request.query["id"])}))
    }
    api.live_statuses = []
    api.on(route, large_responses[layers], default_responses.get(route, reply(png())))
    process = subprocess.run(
        [sys.executable, "-c", RUN_ONCE, api.url], check=False, capture_output=True, text=True, timeout=100
    )
    assert process.returncode == 0, process.stderr
    status, extra_bytes = process.stdout.split()
    assert status == ("unknown" if route == RUN else "success")
    assert api.count(route) == (1 if route == RUN else 2)
    assert int(extra_bytes) < MEMORY_LIMIT_BYTES


@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress(png()),
        gzip.compress(png()[:50]) + gzip.compress(png()[50:]),
        gzip.compress(png()) + b"something behind it",
    ],
    ids=["one member", "two members", "bytes behind it"],
)
def test_a_gzip_image_is_decompressed(api, client, packed):
    api.on("GET /images/*", reply(packed, headers={"Content-Encoding": "gzip"}))
    run = client.run("wf-1", {"3::steps": 1}, timeout=60)
    assert run.images[0].bytes == png()


@pytest.mark.parametrize("size", [0, 1, 64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1, 900 * 1024])
def test_a_compressed_response_is_read_completely(api, client, size):
    body = json.dumps({"success": True, "data": {"run_id": "run-1"}, "padding": "x" * size}).encode()
    api.on(RUN, reply(gzip.compress(body), headers={"Content-Encoding": "gzip"}))
    assert client.run("wf-1", {"3::steps": 1}, timeout=60).record.service_run_id == "run-1"
    assert api.requests(RUN)[0].headers["accept-encoding"] == "gzip"


def test_an_incomplete_gzip_is_not_an_image(api, client):
    packed = gzip.compress(png())
    api.on("GET /images/*", reply(packed[: len(packed) // 2], headers={"Content-Encoding": "gzip"}))
    run = client.run("wf-1", {"3::steps": 1}, timeout=60)
    assert "is incomplete" in run.record.images[0].error
