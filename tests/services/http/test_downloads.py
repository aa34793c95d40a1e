"""Downloads: permitted URLs, redirects, and reading the body."""

from __future__ import annotations

import socket

import pytest
from faulty_server import FaultyServer, choose, redirect, reply

from comflowy_nb.errors import ServiceError, UnreachableError
from comflowy_nb.services.http import downloads, transport
from comflowy_nb.services.http.downloads import Images

pytestmark = pytest.mark.usefixtures("one_retry")

SECRET = "canary-signature"


@pytest.fixture
def images(faulty):
    images = Images(faulty.url, "studio")
    yield images
    images.close()


def read(images, url):
    with images.open(url) as stream:
        return b"".join(stream.chunks())


def error_of(images, url):
    """Return type and text of the error, after checking that the text contains no URL and no secret."""
    with pytest.raises(ServiceError) as caught:
        read(images, url)
    text = str(caught.value)
    assert SECRET not in text
    assert "://" not in text
    return type(caught.value), text


# -- the service's own origin -----------------------------------------------------------------------------------


def test_any_url_of_the_origin_of_the_service_is_permitted(faulty, images):
    faulty.on("GET /p/1.png", reply(b"bytes"))
    for url in (f"{faulty.url}/p/1.png", "/p/1.png", f"//{faulty.netloc}/p/1.png", "p/1.png"):
        assert read(images, url) == b"bytes"
    assert all(
        "authorization" not in request.headers and "cookie" not in request.headers for request in faulty.requests()
    )


@pytest.mark.parametrize(
    ("path", "requested"),
    [
        ("/p/a red cat.png", "/p/a%20red%20cat.png"),
        ('/p/the "best" <one>.png', "/p/the%20%22best%22%20%3Cone%3E.png"),
        ("/p/a|b`c{d}^e\\f.png", "/p/a%7Cb%60c%7Bd%7D%5Ee%5Cf.png"),
        ("/p/größe 100%.png", "/p/gr%C3%B6%C3%9Fe%20100%25.png"),
        ("/p/don't.png", "/p/don't.png"),
        ("/p/kept%20as%2Fit+is.png", "/p/kept%20as%2Fit+is.png"),
    ],
)
def test_an_address_that_is_not_percent_encoded_is_fetched(faulty, images, path, requested):
    """`/p/a red cat.png` was rejected as a URL of another host without https."""
    faulty.on(f"GET {requested}", reply(b"bytes"))
    faulty.on("GET /moved", redirect(path))
    for url in (f"{faulty.url}{path}", path, f"{faulty.url}{path}?name=a b", "/moved"):
        assert read(images, url) == b"bytes"


@pytest.mark.parametrize("odd", ["http://studio@{}/1", "http://{}\\@images.example/1", "http://{} .example/1"])
def test_percent_encoding_does_not_make_a_foreign_url_permitted(faulty, images, odd):
    faulty.on("* /*", reply(b"bytes"))
    assert error_of(images, odd.format(faulty.netloc))[0] is ServiceError
    assert faulty.count() == 0


def test_a_download_has_its_length_and_is_read_in_chunks(faulty, images):
    body = bytes(range(256)) * 1000
    faulty.on("GET /1", reply(body))
    with images.open("/1") as stream:
        assert stream.length == len(body)
        pieces = list(stream.chunks())
    assert b"".join(pieces) == body
    assert max(map(len, pieces)) <= 64 * 1024


@pytest.mark.parametrize(
    "head",
    [
        "Content-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Content-Length: -5",
        "Content-Length: x",
        "X-None: 1",
    ],
)
def test_an_untrustworthy_length_is_ignored(faulty, images, head):
    body = b"4\r\nbody\r\n0\r\n\r\n" if "chunked" in head else b"body"

    def answer(_, wire):
        wire.send(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode() + body)

    faulty.on("GET /1", answer)
    with images.open("/1") as stream:
        assert stream.length is None
        assert b"".join(stream.chunks()) == b"body"


def test_the_length_of_a_compressed_body_is_ignored(faulty, images):
    import gzip

    faulty.on("GET /1", reply(gzip.compress(b"body" * 100), headers={"Content-Encoding": "gzip"}))
    with images.open("/1") as stream:
        assert stream.length is None
        assert b"".join(stream.chunks()) == b"body" * 100
    assert faulty.requests("GET /1")[0].headers["accept-encoding"] == "identity"


# -- other hosts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://images.example/1.png?sig={}", "images.example, which is not reached by https"),
        ("http://127.0.0.1:1/{}", "127.0.0.1, which is not reached by https"),
        ("file:///etc/{}", "a file: URL, which is never opened"),
        ("data:image/png;base64,{}", "a data: URL, which is never opened"),
        ("ftp://images.example/{}", "not reached by https"),
        ("https://127.0.0.1:1/{}", "127.0.0.1, which is not public"),
        ("https://localhost/{}", "localhost, which is not public"),
        ("https://10.0.0.1/{}", "10.0.0.1, which is not public"),
        ("https://169.254.169.254/latest/{}", "169.254.169.254, which is not public"),
        ("https://[::1]/{}", "::1, which is not public"),
        ("https://[::ffff:127.0.0.1]/{}", "not public"),
        ("https://2130706433/{}", "not public"),
        ("https://printer.local/{}", "printer.local, which is not public"),
        ("https://me:{}@images.example/1", "with a user name in its URL"),
        ("https://[::1/{}", "not a valid URL"),
    ],
)
def test_urls_that_are_never_requested(images, url, words):
    kind, text = error_of(images, url.format(SECRET))
    assert kind is ServiceError, "a plain one: no second try will see it otherwise"
    assert words in text


@pytest.mark.parametrize("odd", ["https://0x7f.1/{}", "https://127.1/{}", "https://017700000001/{}"])
def test_other_spellings_of_loopback_addresses_are_rejected(images, odd):
    kind, text = error_of(images, odd.format(SECRET))
    assert kind is ServiceError
    assert "not public" in text


@pytest.fixture
def dns(monkeypatch):
    """Map a host to its addresses, one list per lookup; the last list is repeated."""
    known = {}
    lookups = []
    real_getaddrinfo = socket.getaddrinfo

    def resolve(host, port, *args, **options):
        if host not in known:
            return real_getaddrinfo(host, port, *args, **options)
        lookups.append(host)
        address_lists = known[host]
        addresses = address_lists.pop(0) if len(address_lists) > 1 else address_lists[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    known["lookups"] = lookups
    return known


@pytest.fixture
def public_server(authority, monkeypatch):
    """Start an https server at 127.0.0.2, which is patched to be a public address."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.bundle))
    for module in (downloads, transport):
        monkeypatch.setattr(module, "is_public", lambda address: address == "127.0.0.2")
    with FaultyServer(tls=authority.server("images.example"), host="127.0.0.2") as server:
        yield server


def test_https_to_a_public_address_is_permitted(images, public_server, dns):
    dns["images.example"] = [["127.0.0.2"]]
    public_server.on("GET /1.png", reply(b"bytes"))
    assert read(images, f"https://images.example:{public_server.port}/1.png?sig=x") == b"bytes"
    (request,) = public_server.requests()
    assert request.headers["host"] == f"images.example:{public_server.port}"
    assert "authorization" not in request.headers


def test_host_with_a_public_and_a_private_address_is_not_requested(images, public_server, dns):
    dns["images.example"] = [["127.0.0.2", "10.0.0.1"]]
    kind, text = error_of(images, f"https://images.example:{public_server.port}/1.png?sig={SECRET}")
    assert (kind, "images.example, which is not public" in text) == (ServiceError, True)
    assert public_server.connections == 0


def test_host_that_changes_its_address_after_the_check_is_rejected(images, faulty, public_server, dns):
    """DNS rebinding: the address of the connection is checked too."""
    dns["images.example"] = [["127.0.0.2"], ["127.0.0.1"]]
    kind, text = error_of(images, f"https://images.example:{faulty.port}/1.png?sig={SECRET}")
    assert (kind, "images.example, which is not public" in text) == (ServiceError, True)
    assert dns["lookups"] == ["images.example"] * 2
    assert faulty.count() == 0


def test_each_redirect_is_checked(faulty, images, public_server, dns):
    dns["images.example"] = [["127.0.0.2"]]
    dns["inner.example"] = [["127.0.0.1"]]
    outside = f"https://images.example:{public_server.port}"
    faulty.on("GET /start", redirect(f"{outside}/a?sig={SECRET}"))
    public_server.on("GET /a", redirect("/b", 307)).on("GET /b", reply(b"bytes"))
    assert read(images, "/start") == b"bytes"
    for location, expected in [
        (f"http://images.example/{SECRET}", "not reached by https"),
        (f"https://inner.example/{SECRET}", "inner.example, which is not public"),
        (f"file:///{SECRET}", "never opened"),
    ]:
        public_server.on("GET /a", redirect(location))
        kind, text = error_of(images, "/start")
        assert kind is ServiceError
        assert expected in text
    public_server.on("GET /a", redirect(f"{faulty.url}/end"))
    faulty.on("GET /end", reply(b"back at the service"))
    assert read(images, "/start") == b"back at the service"


def test_at_most_three_redirects_are_followed(faulty, images):
    def decide(request):
        remaining = int(request.path.rsplit("/", 1)[1])
        return redirect(f"/hop/{remaining - 1}?sig={SECRET}") if remaining else reply(b"bytes")

    faulty.on("GET /hop/*", choose(decide))
    assert read(images, "/hop/3") == b"bytes"
    kind, text = error_of(images, "/hop/4")
    assert (kind, "more than 3 times" in text) == (ServiceError, True)


def test_the_body_of_a_redirect_is_not_read(faulty, images):
    """requests read the whole body of a redirect, however large, although redirects were not followed."""
    chunks_sent = []

    def endless(_, wire):
        wire.send(b"HTTP/1.1 302 X\r\nLocation: /end\r\nContent-Length: 1000000000000\r\n\r\n")
        while len(chunks_sent) < 4000 and not wire.closing.is_set():
            wire.send(b"x" * 65536)
            chunks_sent.append(1)

    faulty.on("GET /start", endless).on("GET /end", reply(b"bytes"))
    assert read(images, "/start") == b"bytes"
    assert len(chunks_sent) < 400


def test_a_redirect_without_a_location_is_an_error(faulty, images):
    faulty.on("GET /1", reply(b"", 302))
    assert "status 302" in error_of(images, "/1")[1]


def test_certificate_of_another_host_is_not_retried(images, authority, public_server, dns):
    dns["other.example"] = [["127.0.0.2"]]
    kind, text = error_of(images, f"https://other.example:{public_server.port}/{SECRET}")
    assert kind is ServiceError
    assert "certificate" in text
    assert public_server.count() == 0


def test_an_unreachable_public_host_may_be_retried(images, public_server, dns):
    dns["images.example"] = [["127.0.0.2"]]
    public_server.refuse()
    assert error_of(images, f"https://images.example:{public_server.port}/1")[0] is UnreachableError


def test_private_hosts_are_also_rejected_behind_a_proxy(images, faulty, dns, monkeypatch):
    with FaultyServer() as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        dns["inner.example"] = [["10.1.2.3"]]
        assert "not public" in error_of(images, f"https://inner.example/{SECRET}")[1]
        assert proxy.connections == 0
        dns["images.example"] = [["93.184.216.34"]]
        error_of(images, f"https://images.example/{SECRET}")
        assert [request.method for request in proxy.requests()] == ["CONNECT"]


def test_downloads_from_loopback_bypass_the_proxy(images, faulty, monkeypatch):
    with FaultyServer() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        faulty.on("GET /1", reply(b"bytes"))
        assert read(images, "/1") == b"bytes"
        assert proxy.connections == 0


def test_the_minimum_throughput_is_1024_bytes_per_second():
    assert downloads.MIN_BYTES_PER_S == 1024
