"""What a person connects to, and what is found there."""

from __future__ import annotations

import pytest
from faulty_server import close_after_reading, closed_port, html, redirect, reply

from comflowy_nb import connect
from comflowy_nb.errors import AnswerError, ServiceError, SettingsError, UnreachableError
from comflowy_nb.services.http.origins import is_loopback, origin_of
from comflowy_nb.services.targets import Target, parse_target, recognise

TOKEN = "GET /api/open/v0/auth/token"
STATS = "GET /system_stats"


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("sandbox", Target(None, "sandbox")),
        (" cloud ", Target(None, "cloud")),
        ("demo=sandbox", Target("demo", "sandbox")),
        ("studio = cloud", Target("studio", "cloud")),
        ("https://app.comflowy.com", Target(None, "url", "https://app.comflowy.com")),
        ("lab-2=http://127.0.0.1:8000/", Target("lab-2", "url", "http://127.0.0.1:8000")),
        ("https://app.comflowy.com/app?id=3fef&x=1#y", Target(None, "url", "https://app.comflowy.com")),
        ("HTTPS://App.Comflowy.COM:443/api/open/v0", Target(None, "url", "https://app.comflowy.com")),
        ("http://[::1]:8000", Target(None, "url", "http://[::1]:8000")),
        ("http://localhost:80", Target(None, "url", "http://localhost")),
        ("äther=sandbox", Target("äther", "sandbox")),
        ("comfyui", Target(None, "comfyui")),
        ("home=comfyui", Target("home", "comfyui")),
        ("home=http://127.0.0.1:8188,http://127.0.0.1:8189", Target("home", "url", "http://127.0.0.1:8188")),
    ],
)
def test_targets(text, target):
    assert parse_target(text) == target


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "connect to what?"),
        ("x=", "connect to what?"),
        ("sandpit", "nothing to connect to; what works is sandbox, cloud, comfyui"),
        ("Sandbox", "is written sandbox"),
        ("ComfyUI", "is written comfyui"),
        ("comfyui=http://127.0.0.1:8188", "stands for itself"),
        ("sandbox=https://a.example", "stands for itself"),
        ("CLOUD=https://a.example", "stands for itself"),
        ("2nd=cloud", "can't be a name"),
        ("my lab=cloud", "can't be a name"),
        ("=cloud", "can't be a name"),
        ("app.comflowy.com", "lacks its scheme; write https://app.comflowy.com"),
        ("127.0.0.1:8000/x", "lacks its scheme; write http://127.0.0.1:8000"),
        ("localhost:8188", "lacks its scheme; write http://localhost:8188"),
        ("ftp://a.example", "not an http or https address"),
        ("file:///etc/passwd", "not an http or https address"),
        ("https://", "names no host"),
        ("https:///x", "names no host"),
        ("https://a.example:port", "its port is not a number"),
        ("https://a.example:99999", "its port is not a number"),
        ("https://[::1", "is not a valid address"),
        ("https://a b.example", "contains an invalid character"),
        ("https://a.example\\@b.example", "user name or password"),
        ("https://a.example,https://b.example", "write NAME=URL,URL"),
        ("lab=https://a.example,https://a.example/", "named twice"),
    ],
)
def test_what_is_no_target_is_said_plainly(text, words):
    with pytest.raises(SettingsError) as caught:
        parse_target(text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["https://me:hunter2@a.example/x", "me:hunter2@a.example", "https://hunter2@a.example"]
)
def test_a_password_in_an_address_is_refused_and_not_repeated(text):
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
def test_an_address_keeps_the_path_before_a_servers_routes(text, addresses):
    assert parse_target(text).addresses == addresses


def test_loopback_is_this_machine_by_its_very_address():
    for url in ("http://127.0.0.1:1", "http://127.9.9.9", "https://localhost", "http://[::1]:8"):
        assert is_loopback(origin_of(url))
    for url in ("http://128.0.0.1", "http://localhost.example", "http://127.0.0.1.example", "http://0.0.0.0"):
        assert not is_loopback(origin_of(url))


def test_a_comflowy_service_is_recognised_without_a_credential(faulty):
    faulty.on(TOKEN, reply({"success": False, "error": "key missing"}, 401))
    assert recognise(faulty.url) == "comflowy"
    (seen,) = faulty.seen()
    assert seen.query == {}
    assert "authorization" not in seen.headers


def test_a_comfyui_server_is_recognised(faulty):
    faulty.on(TOKEN, reply("404: Not Found", 404))
    faulty.on(STATS, reply({"system": {"comfyui_version": "0.3.64"}, "devices": []}))
    assert recognise(faulty.url) == "comfyui"


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 429])
def test_the_apis_own_words_are_recognised_whatever_the_status(faulty, status):
    faulty.on(TOKEN, reply({"success": False, "error": "?"}, status))
    assert recognise(faulty.url) == "comflowy"


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (reply({"detail": "Not Found"}, 404), AnswerError, "something else (status 404)"),
        (html(), AnswerError, "a web page (status 200)"),
        (html(404), AnswerError, "a web page (status 404)"),
        (reply(b""), AnswerError, "nothing (status 200)"),
        (reply([]), AnswerError, "something else (status 200)"),
        (redirect("https://other.example/"), AnswerError, "points elsewhere"),
    ],
)
def test_what_is_no_service_gets_one_sentence(faulty, answer, kind, words):
    faulty.on("GET /*", answer)
    with pytest.raises(ServiceError) as caught:
        recognise(faulty.url)
    assert type(caught.value) is kind
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)


@pytest.mark.parametrize(
    "answer", [reply("no key", 401), html(403), reply(b"", 400), reply("hello", 500), close_after_reading()]
)
def test_who_stumbles_over_a_missing_key_is_judged_by_the_answer_to_one(faulty, answer):
    faulty.on(TOKEN, answer)
    assert recognise(faulty.url) == "comflowy"


def test_nobody_there():
    with pytest.raises(UnreachableError, match="refused the connection"):
        recognise(f"http://127.0.0.1:{closed_port()}")


def test_no_tls_there(faulty):
    with pytest.raises(ServiceError, match="encrypted connection failed"):
        recognise(faulty.url.replace("http:", "https:"))


def test_an_address_that_was_typed_is_named_where_nothing_answers(monkeypatch):
    """`connect http://127.0.0.1:9999` failed with `can't reach the server`, whichever of several was meant."""
    address = f"http://127.0.0.1:{closed_port()}"
    for target in (address, f"lab={address}", f"{address}/?token=secret"):
        with pytest.raises(UnreachableError, match=f"^can't reach {address}: ") as caught:
            connect(target, name_address=True)
        assert "secret" not in str(caught.value)
        with pytest.raises(UnreachableError, match=r"^can't reach the server: "):
            connect(target)
    monkeypatch.setenv("COMFLOWY_TARGET", address)
    with pytest.raises(UnreachableError, match=r"^can't reach the server: "):
        connect()
