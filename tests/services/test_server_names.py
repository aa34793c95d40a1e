"""Stored names of servers are defined once, work in later kernels, and are never written to a notebook."""

from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from comfyui_server import ComfyServer

from comflowy_nb import connect
from comflowy_nb.errors import SettingsError
from comflowy_nb.services.targets import read_names, remember_name


@pytest.fixture
def pair(tmp_path):
    with ComfyServer(tmp_path / "one", base_path="/art") as first, ComfyServer(tmp_path / "two") as second:
        yield first, second


def test_a_name_is_known_in_a_later_kernel(pair, home):
    """`connect px` failed in every kernel but the one where `px=URL` was typed."""
    first, _ = pair
    with connect(f"px={first.url}") as client:
        assert not client.is_moved
    with connect("px") as client:
        assert (client.label, client.identity, client.service.origin) == ("px", "px", first.url)
        assert not client.is_moved
    assert stat.S_IMODE((home / "servers.json").stat().st_mode) == 0o600


def test_name_of_several_servers_and_name_set_in_python_are_stored(pair):
    first, second = pair
    with connect(f"both={first.url},{second.url}"), connect("both") as client:
        assert client.service.origins == {first.url, second.url}
    with connect(second.url, name="studio"), connect("studio") as client:
        assert client.service.origin == second.url


def test_a_name_of_another_server_is_replaced(pair):
    first, second = pair
    with connect(f"px={first.url}"):
        pass
    with connect(f"px={second.url}") as client:
        assert client.is_moved
    with connect("px") as client:
        assert client.service.origin == second.url


def test_unreachable_server_changes_no_stored_name(pair):
    first, second = pair
    with connect(f"px={first.url}"):
        pass
    second.close()
    with pytest.raises(Exception, match="connection refused"):
        connect(f"px={second.url}")
    with connect("px") as client:
        assert client.service.origin == first.url


def test_no_secret_is_stored(pair, home):
    first, _ = pair
    with connect(f"px={first.url}/?token=canary#canary"):
        pass
    assert json.loads((home / "servers.json").read_text()) == {"px": first.url}
    for word in ("sandbox", "cloud", "comfyui", "Cloud"):
        with pytest.raises(SettingsError, match="is a keyword"):
            connect(f"{word}={first.url}")
    assert "canary" not in (home / "servers.json").read_text()


def test_reserved_names_in_the_file_are_ignored(home):
    home.mkdir(parents=True)
    (home / "servers.json").write_text(json.dumps({"cloud": "http://127.0.0.1:1", "comfyui": "x", "odd": 5}))
    with pytest.raises(SettingsError, match=r"unknown target .*, or a name you defined: cloud, comfyui"):
        connect("studio")
    with pytest.raises(Exception, match="no API key"):
        connect("cloud")


@pytest.mark.parametrize("content", ["", "{", "[1]", "null", "[" * 10_000])
def test_a_damaged_file_defines_no_name(home, content):
    home.mkdir(parents=True)
    (home / "servers.json").write_text(content)
    with pytest.raises(SettingsError, match="unknown target"):
        connect("studio")
    assert remember_name(home, "studio", "sandbox") is None
    assert read_names(home) == {"studio": "sandbox"}


def test_names_stored_by_concurrent_processes_are_all_kept(home):
    names = [f"n{number}" for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: remember_name(home, name, f"http://{name}"), names))
    assert set(read_names(home)) == set(names)
