"""Front ends started as a user starts them, for tests/front_ends: commands, notebooks, and servers on loopback."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import nbformat
import pytest
from lab_pages import START_S
from waiting import end_process

SMALL = "width=128 height=128 steps=4"


def require(module):
    """Skip the test file if a front end is not installed. The job `front-ends` of `make test-matrix` has them all."""
    if importlib.util.find_spec(module) is None:
        reason = f"{module} is not installed: make test-matrix JOBS=front-ends"
        if os.environ.get("REQUIRE_FRONT_ENDS") == "1":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason, allow_module_level=True)


def write_notebook(path, *sources, tags=None):
    """Write a notebook of code cells; `tags` maps an index to the tag of its cell."""
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    for index, tag in (tags or {}).items():
        cells[index].metadata["tags"] = [tag]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return path


def run(*command, variables, cwd, **options):
    """Run a command to its end, and fail the test with its output if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", *map(str, command)], cwd=cwd, env=variables, check=False,
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=400, **options,
    )  # fmt: skip
    assert done.returncode == 0, f"{command} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout + done.stderr


@contextmanager
def serving(command, address, *, variables, cwd):
    """Run a server until the block ends. Wait until it responds at an address."""
    log = cwd / "server.log"
    with log.open("w") as file:
        server = subprocess.Popen(command, cwd=cwd, env=variables, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    try:
        deadline_s = time.monotonic() + START_S
        while not _answers(address):
            assert server.poll() is None, f"{command[:3]} ended at once:\n{log.read_text()[-3000:]}"
            assert time.monotonic() < deadline_s, f"{command[:3]} did not answer:\n{log.read_text()[-3000:]}"
            time.sleep(0.1)
        yield
    finally:
        end_process(server)


def _answers(address):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(address, timeout=30).close()
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
    return True
