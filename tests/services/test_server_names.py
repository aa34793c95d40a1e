"""Stored names of servers: defined once, known in every later kernel, never saved in a notebook."""

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
    with ComfyServer(tmp_path / "one", base_path="/art") as one, ComfyServer(tmp_path / "two") as two:
        yield one, two


def test_a_name_is_known_in_a_later_kernel(pair, home):
    """`connect px` failed in every kernel but the one where `px=URL` was typed."""
    one, _ = pair
    with connect(f"px={one.url}") as client:
        assert not client.is_moved
    with connect("px") as client:
        assert (client.label, client.identity, client.service.origin) == ("px", "px", one.url)
        assert not client.is_moved
    assert stat.S_IMODE((home / "servers.json").stat().st_mode) == 0o600


def test_a_name_for_several_servers_and_one_given_in_python(pair):
    one, two = pair
    with connect(f"both={one.url},{two.url}"), connect("both") as client:
        assert client.service.origins == {one.url, two.url}
    with connect(two.url, name="studio"), connect("studio") as client:
        assert client.service.origin == two.url


def test_a_name_of_another_server_is_replaced(pair):
    one, two = pair
    with connect(f"px={one.url}"):
        pass
    with connect(f"px={two.url}") as client:
        assert client.is_moved
    with connect("px") as client:
        assert client.service.origin == two.url


def test_a_server_that_was_not_reached_changes_no_name(pair):
    one, two = pair
    with connect(f"px={one.url}"):
        pass
    two.close()
    with pytest.raises(Exception, match="connection refused"):
        connect(f"px={two.url}")
    with connect("px") as client:
        assert client.service.origin == one.url


def test_no_secret_is_stored(pair, home):
    one, _ = pair
    with connect(f"px={one.url}/?token=canary#canary"):
        pass
    assert json.loads((home / "servers.json").read_text()) == {"px": one.url}
    for word in ("sandbox", "cloud", "comfyui", "Cloud"):
        with pytest.raises(SettingsError, match="is a keyword"):
            connect(f"{word}={one.url}")
    assert "canary" not in (home / "servers.json").read_text()


def test_keywords_in_the_file_have_no_effect(home):
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
