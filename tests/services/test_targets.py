"""Connect targets: parsing, origins and errors."""

from __future__ import annotations

import pytest

from comflowy_nb.errors import SettingsError
from comflowy_nb.services.targets import Target, is_loopback, origin_of, parse_target


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("sandbox", Target(None, "sandbox")),
        (" cloud ", Target(None, "cloud")),
        ("demo=sandbox", Target("demo", "sandbox")),
        ("studio = cloud", Target("studio", "cloud")),
        ("https://app.comflowy.com", Target(None, "url", ("https://app.comflowy.com",))),
        ("lab-2=http://127.0.0.1:8000/", Target("lab-2", "url", ("http://127.0.0.1:8000",))),
        ("https://app.comflowy.com/app?id=3fef&x=1#y", Target(None, "url", ("https://app.comflowy.com/app",))),
        ("HTTPS://App.Comflowy.COM:443/api", Target(None, "url", ("https://app.comflowy.com/api",))),
        ("http://[::1]:8000", Target(None, "url", ("http://[::1]:8000",))),
        ("http://localhost:80", Target(None, "url", ("http://localhost",))),
        ("äther=sandbox", Target("äther", "sandbox")),
        ("comfyui", Target(None, "comfyui", ("http://127.0.0.1:8188",))),
        ("home=comfyui", Target("home", "comfyui", ("http://127.0.0.1:8188",))),
        (
            "home=http://127.0.0.1:8188,http://127.0.0.1:8189",
            Target("home", "url", ("http://127.0.0.1:8188", "http://127.0.0.1:8189")),
        ),
    ],
)
def test_targets_are_parsed(text, target):
    assert parse_target(text) == target


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "connect needs a target"),
        ("x=", "connect needs a target"),
        ("x=,", "connect needs a target"),
        ("elsewhere", "unknown target 'elsewhere'. Use sandbox, cloud, comfyui"),
        ("sandbocks", "unknown target 'sandbocks'. Did you mean sandbox? Use"),
        ("Sandbox", "Did you mean sandbox?"),
        ("ComfyUI", "Did you mean comfyui?"),
        ("comfyui=http://127.0.0.1:8188", "is a keyword"),
        ("sandbox=https://a.example", "is a keyword"),
        ("CLOUD=https://a.example", "is a keyword"),
        ("2nd=cloud", "invalid name"),
        ("my lab=cloud", "invalid name"),
        ("=cloud", "invalid name"),
        ("app.comflowy.com", "has no scheme: type https://app.comflowy.com"),
        ("127.0.0.1:8000/x", "has no scheme: type http://127.0.0.1:8000"),
        ("localhost:8188", "has no scheme: type http://localhost:8188"),
        ("ftp://a.example", "not an http or https address"),
        ("file:///etc/passwd", "not an http or https address"),
        ("https://", "has no host"),
        ("https:///x", "has no host"),
        ("https://a.example:port", "its port is not a number"),
        ("https://a.example:99999", "its port is not a number"),
        ("https://[::1", "is not a valid address"),
        ("https://a b.example", "remove the character ' '"),
        ("https://a.example\\@b.example", "user name or password"),
        ("https://a.example,https://b.example", "%comflowy connect NAME=URL,URL"),
        ("lab=https://a.example,https://a.example/", "contains a server twice"),
    ],
)
def test_error_for_an_invalid_target_is_one_line(text, words):
    with pytest.raises(SettingsError) as caught:
        parse_target(text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["https://me:hunter2@a.example/x", "me:hunter2@a.example", "https://hunter2@a.example"]
)
def test_a_password_in_an_address_is_rejected_and_not_repeated(text):
    with pytest.raises(SettingsError, match="%comflowy login") as caught:
        parse_target(text)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("https://a.example/comfy/?x=1#y", ("https://a.example/comfy",)),
        ("comfyui", ("http://127.0.0.1:8188",)),
        ("lab=http://127.0.0.1:1/a,https://b.example", ("http://127.0.0.1:1/a", "https://b.example")),
        ("sandbox", ()),
    ],
)
def test_an_address_keeps_its_path_prefix(text, addresses):
    assert parse_target(text).addresses == addresses


def test_only_loopback_addresses_count_as_this_machine():
    for url in ("http://127.0.0.1:1", "http://127.9.9.9", "https://localhost", "http://[::1]:8"):
        assert is_loopback(origin_of(url))
    for url in ("http://128.0.0.1", "http://localhost.example", "http://127.0.0.1.example", "http://0.0.0.0"):
        assert not is_loopback(origin_of(url))
