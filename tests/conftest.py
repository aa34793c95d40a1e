"""Fixtures of every test: a temporary home folder, default settings, and a network limited to loopback."""

from __future__ import annotations

import gc
import ipaddress
import os
import signal
import socket
from pathlib import Path

import pytest
from certificates import Authority
from faulty_server import FaultyServer
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from scripted_api import ScriptedApi

from comflowy_nb import connect
from comflowy_nb.settings import settings

pytest_plugins = ["chromium", "history_fixtures", "shared_sandbox"]

# For the processes that tests start; pytest itself has the folder in `pythonpath`.
HIDDEN = str(Path(__file__).with_name("hidden"))
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [HIDDEN, os.environ.get("PYTHONPATH")]))

# A shell starts background processes with SIGINT ignored, and tests of interrupts need it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline: on a busy machine any example may be slow.
SLOW_MACHINE = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
# The same examples in each execution, so that a new failure is due to the change.
hypothesis_settings.register_profile("ci", derandomize=True, **SLOW_MACHINE)
hypothesis_settings.register_profile("local", **SLOW_MACHINE)
hypothesis_settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Exempt the collected tests from garbage collection: each pass over half a million objects takes 0.25 s."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Run the files with slow tests first, so that parallel workers end at about the same time.

    Files with browser tests, which keep the processor busy, alternate with files that mostly wait.
    """
    marked = {
        name: list(dict.fromkeys(item.path for item in items if item.get_closest_marker(name)))
        for name in ("browser", "slow")
    }
    waiting = [path for path in marked["slow"] if path not in marked["browser"]]
    ranks = {path: rank for paths in (marked["browser"], waiting) for rank, path in enumerate(paths)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))  # a list that is being sorted has the length 0


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Set an empty COMFLOWY_HOME, and remove key, target and proxies from the environment."""
    folder = tmp_path / "home"
    monkeypatch.setenv("COMFLOWY_HOME", str(folder))
    for name in (
        "COMFLOWY_API_KEY",
        "COMFLOWY_URL",
        "COMFLOWY_TARGET",
        "COMFLOWY_HEADERS",
        "http_proxy",
        "https_proxy",
        "all_proxy",
    ):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False) if name.islower() else None
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    settings.reset()
    yield folder
    settings.reset()


@pytest.fixture
def comfy(tmp_path):
    """Start a scripted ComfyUI server on loopback."""
    from comfyui_server import ComfyServer

    with ComfyServer(tmp_path / "comfyui") as server:
        yield server
    assert server.failures == []


@pytest.fixture
def comfy_client(comfy):
    """Connect a client that retries without a delay to the scripted server."""
    from comflowy_nb import connect

    settings.retry_base_s, settings.retry_max_s = 0.02, 0.1
    with connect(f"home={comfy.url}") as client:
        yield client


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch):
    """Fail a test that connects to an address other than loopback."""
    real_connect = socket.socket.connect

    def connect(self, address):
        if self.family in {socket.AF_INET, socket.AF_INET6}:
            try:
                loopback = ipaddress.ip_address(address[0].split("%")[0]).is_loopback
            except ValueError:
                loopback = address[0] == "localhost"
            if not loopback:
                raise ConnectionRefusedError(f"a test connected to {address!r}, which is not loopback")
        return real_connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)


@pytest.fixture
def api():
    """Start a correct Comflowy API on loopback."""
    with ScriptedApi() as server:
        yield server


@pytest.fixture
def short_delays():
    """Set delays so short that retries follow immediately."""
    settings.retry_base_s = 0.02
    settings.retry_max_s = 0.1
    settings.lost_gap_s = 0.02


@pytest.fixture
def client(api, short_delays):
    with connect(f"test={api.url}", key="the-key") as connected:
        yield connected


@pytest.fixture
def faulty():
    """Start a server on loopback with scripted faults."""
    with FaultyServer() as server:
        yield server


@pytest.fixture
def one_retry():
    """Allow one retry, without a delay."""
    settings.retry_base_s = 0.001
    settings.retry_max_s = 0.002
    settings.retries = 1
    return settings


@pytest.fixture
def short_timeouts(one_retry):
    """Set timeouts of less than a second too, which a correct server on a busy machine may exceed."""
    settings.connect_timeout_s = 0.3
    settings.read_timeout_s = 0.4
    settings.answer_deadline_s = 0.9
    settings.image_deadline_s = 0.9
    return settings


@pytest.fixture
def authority(tmp_path):
    """Create a certificate authority for servers with TLS."""
    return Authority(tmp_path)
