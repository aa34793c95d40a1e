"""Detection of the kind of a service, and errors of `connect`."""

from __future__ import annotations

import pytest
from faulty_server import close_after_reading, closed_port, html, redirect, reply

from comflowy_nb import connect
from comflowy_nb.errors import AnswerError, ServiceError, UnreachableError
from comflowy_nb.services.connect import detect_kind

TOKEN = "GET /api/open/v0/auth/token"
STATS = "GET /system_stats"


def test_a_comflowy_service_is_recognised_without_a_credential(faulty):
    faulty.on(TOKEN, reply({"success": False, "error": "key missing"}, 401))
    assert detect_kind(faulty.url) == "comflowy"
    (request,) = faulty.requests()
    assert request.query == {}
    assert "authorization" not in request.headers


def test_a_comfyui_server_is_recognised(faulty):
    faulty.on(TOKEN, reply("404: Not Found", 404))
    faulty.on(STATS, reply({"system": {"comfyui_version": "0.3.64"}, "devices": []}))
    assert detect_kind(faulty.url) == "comfyui"


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 429])
def test_comflowy_api_is_recognised_by_responses_with_any_status(faulty, status):
    faulty.on(TOKEN, reply({"success": False, "error": "?"}, status))
    assert detect_kind(faulty.url) == "comflowy"


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (reply({"detail": "Not Found"}, 404), AnswerError, "something else (status 404)"),
        (html(), AnswerError, "a web page (status 200)"),
        (html(404), AnswerError, "a web page (status 404)"),
        (reply(b""), AnswerError, "an empty response (status 200)"),
        (reply([]), AnswerError, "something else (status 200)"),
        (redirect("https://other.example/"), AnswerError, "redirects to another address"),
    ],
)
def test_error_for_an_unrecognised_server_is_one_line(faulty, answer, kind, words):
    faulty.on("GET /*", answer)
    with pytest.raises(ServiceError) as caught:
        detect_kind(faulty.url)
    assert type(caught.value) is kind
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)


@pytest.mark.parametrize(
    "answer", [reply("no key", 401), html(403), reply(b"", 400), reply("hello", 500), close_after_reading()]
)
def test_server_that_fails_without_a_key_is_treated_as_comflowy(faulty, answer):
    faulty.on(TOKEN, answer)
    assert detect_kind(faulty.url) == "comflowy"


def test_address_without_a_server_is_an_error():
    with pytest.raises(UnreachableError, match="connection refused"):
        detect_kind(f"http://127.0.0.1:{closed_port()}")


def test_https_address_of_a_server_without_tls_is_an_error(faulty):
    with pytest.raises(ServiceError, match="encrypted connection failed"):
        detect_kind(faulty.url.replace("http:", "https:"))


def test_error_for_an_unreachable_address_contains_the_address(monkeypatch):
    """`connect http://127.0.0.1:9999` failed with `can't reach the server`, without naming the address."""
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
