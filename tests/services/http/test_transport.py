"""Connections: proxies, netrc, cookies, reuse of connections, and secrets in logs."""

from __future__ import annotations

import logging
import time

import pytest
from faulty_server import FaultyServer, close_after_reading, closed_port, redirect, reply

from comflowy_nb.errors import ServiceError
from comflowy_nb.services.http import transport
from comflowy_nb.services.http.client import Http
from comflowy_nb.services.http.downloads import Images
from comflowy_nb.services.http.responses import Failure, FailureKind, Response
from comflowy_nb.services.http.transport import is_public
from comflowy_nb.settings import Secret

pytestmark = pytest.mark.usefixtures("one_retry")


@pytest.fixture
def http(faulty):
    http = Http(faulty.url)
    yield http
    http.close()


def test_connection_refused_by_a_proxy_does_not_mean_that_the_server_has_ended(monkeypatch):
    """A proxy that refuses a connection proves nothing about the server: its runs must not count as lost."""
    closed = f"http://127.0.0.1:{closed_port()}"
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, closed)
    for address, refused in ((closed, True), ("http://192.0.2.7:8188", False)):
        http = Http(address)
        failure = http.exchange("GET", "/queue")
        assert (failure.kind, failure.refused) == (FailureKind.NOT_SENT, refused)
        http.close()


def test_loopback_bypasses_proxies(faulty, http, monkeypatch):
    """The proxy in http_proxy received even the requests to 127.0.0.1, key included."""
    with FaultyServer() as proxy:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        faulty.on("GET /x", reply({}))
        assert http.exchange("GET", "/x", query={"ppt": Secret("k")}).status == 200
        assert (proxy.connections, faulty.count()) == (0, 1)


def test_requests_to_other_hosts_use_the_proxy(faulty, monkeypatch):
    monkeypatch.setenv("http_proxy", faulty.url)
    faulty.on("GET /x", reply({}))
    assert Http("http://service.example").exchange("GET", "/x", token=Secret("t")).status == 200
    assert faulty.requests("GET /x")[0].headers["authorization"] == "Bearer t"


def test_netrc_does_not_change_a_header(faulty, http, monkeypatch, tmp_path):
    """An entry in ~/.netrc silently replaced `Authorization: Bearer` by Basic (psf/requests #3929)."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password hunter2\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    faulty.on("* /*", reply({}))
    http.exchange("POST", "/x", token=Secret("t"))
    http.exchange("GET", "/y")
    assert [request.headers.get("authorization") for request in faulty.requests()] == ["Bearer t", None]


def test_cookies_are_not_stored(faulty, http):
    faulty.on("GET /x", reply({}, headers={"Set-Cookie": "a=b; Path=/"}))
    http.exchange("GET", "/x")
    http.exchange("GET", "/x")
    assert [request.headers.get("cookie") for request in faulty.requests()] == [None, None]


def test_an_idle_connection_is_not_used_again(faulty, http, monkeypatch):
    faulty.on("GET /x", reply({}))
    http.exchange("GET", "/x")
    http.exchange("GET", "/x")
    real_monotonic = time.monotonic
    monkeypatch.setattr(transport.time, "monotonic", lambda: real_monotonic() + 4.1)
    http.exchange("GET", "/x")
    assert [request.connection for request in faulty.requests()] == [1, 1, 2]


def test_connection_closed_by_the_server_is_not_used_again(faulty, http):
    faulty.on("GET /x", reply({}))
    for _ in range(3):
        assert isinstance(http.exchange("GET", "/x"), Response)
        faulty.drop_idle()
        deadline = time.monotonic() + 5
        while faulty._open and time.monotonic() < deadline:
            time.sleep(0.005)
    assert faulty.count() == 3


def test_a_response_with_connection_close_is_read_completely(faulty, http):
    body = b"x" * 300_000
    faulty.on("GET /x", reply(body, close=True))
    assert http.exchange("GET", "/x").body == body


@pytest.mark.parametrize("location", ["/elsewhere", "http://[::1", "//", "ftp://x/", "\u00e9"])
def test_a_redirect_is_returned_as_a_response(faulty, http, location):
    faulty.on("POST /x", reply(b"0" * 2_000_000, 307, {"Location": location}))
    answer = http.exchange("POST", "/x")
    assert (answer.status, answer.body_error) == (307, "the response is larger than 1 MiB")
    assert faulty.count() == 1


def test_an_invalid_host_name_is_a_failure(http):
    for origin in ("http://" + "a" * 70 + ".example", "http://..", "http://a..b"):
        outcome = Http(origin).exchange("GET", "/")
        assert isinstance(outcome, Failure)


def test_token_with_line_breaks_is_a_failure(http):
    outcome = http.exchange("GET", "/", token=Secret("a\r\nX: y"))
    assert isinstance(outcome, Failure)
    assert outcome.kind is FailureKind.RESPONSE_LOST


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1",
     "255.255.255.255", "192.0.2.1", "198.18.0.1", "240.0.0.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1",
     "fd12::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::",
     "2002:a00:1::1", "2001:db8::1", "2001:0:7f00:1::", "", "name"],
)  # fmt: skip
def test_private_and_reserved_addresses_are_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"]
)
def test_other_addresses_are_public(address):
    assert is_public(address)


def test_the_log_contains_no_key(faulty, http, caplog):
    caplog.set_level(logging.DEBUG)
    faulty.on("* /*", reply({}))
    http.exchange("GET", "/token", query={"ppt": Secret("canary-key"), "id": "1"})
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("urllib3")]
    assert any("/token?***" in line for line in lines)
    assert not any("canary" in line for line in lines)


@pytest.mark.parametrize(
    "query",
    [
        "q-sign-algorithm=sha1&q-signature=canary",
        "auth_key=1700000000-0-0-canary",
        "sign=canary&t=1",
        "verify=1700000000-canary",
        "OSSAccessKeyId=canary&Expires=1",
        "canary",
        "next='canary'&x=<canary>",
    ],
)
def test_the_log_contains_no_query_of_an_image(faulty, caplog, query):
    """Storage services sign URLs in many ways; masking only some parameter names left the others in the log."""
    caplog.set_level(logging.DEBUG)
    faulty.on("GET /p.png", redirect(f"/moved.png?{query}"))
    faulty.on("GET /moved.png", reply(b"bytes"))
    faulty.on("GET /gone.png", close_after_reading())
    images = Images(faulty.url, "studio")
    with images.open(f"/p.png?{query}") as stream:
        assert b"".join(stream.chunks()) == b"bytes"
    with pytest.raises(ServiceError), images.open(f"/gone.png?{query}"):
        pass
    images.close()
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("urllib3")]
    assert any("/moved.png?***" in line for line in lines)
    assert not any("canary" in line for line in lines)


def test_log_lines_without_a_query_are_unchanged(caplog):
    caplog.set_level(logging.DEBUG)
    logging.getLogger("urllib3.connectionpool").debug("%s of %s", "/x?id=1", 2)
    record = caplog.records[-1]
    assert (record.msg, record.args) == ("%s of %s", ("/x?id=1", 2))
