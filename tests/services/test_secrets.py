"""Secrets (key, token, signature, webhook path) appear in no error, traceback, log or repr after any failure."""

from __future__ import annotations

import logging
import pickle
import threading
import traceback

import pytest
import requests
from faulty_server import (
    FaultyServer,
    choose,
    close_after_reading,
    html,
    no_response,
    oversize,
    raw,
    redirect,
    reply,
    reset_after_reading,
    send_in_pieces,
    truncated,
)

from comflowy_nb.errors import ServiceError
from comflowy_nb.services.comflowy.service import Comflowy
from comflowy_nb.services.comflowy.webhooks import Receiver
from comflowy_nb.services.connect import detect_kind
from comflowy_nb.services.credentials import find_key
from comflowy_nb.services.http.client import Http
from comflowy_nb.services.types import Output, Submission
from comflowy_nb.settings import Secret

KEY = "canary-key+/9"
TOKEN = "canary-token-7"
SIGNATURE = "canary-signature-5"
PATH = "canary-path-3"
CANARIES = (KEY, "canary-key", TOKEN, SIGNATURE, PATH)

pytestmark = pytest.mark.usefixtures("short_timeouts")


def echo(status):
    """Return a response that repeats the request, as debug pages do."""

    def decide(request):
        page = f"<html><title>{request.query} {request.headers} {request.body!r}</title>"
        body = {"success": False, "error": f"bad {request.query} {request.headers.get('authorization')}", "page": page}
        return reply(body, status)

    return choose(decide)


FAULTS = {
    "close": close_after_reading(),
    "reset": reset_after_reading(),
    "no response": no_response(),
    "truncated": truncated({"success": True, "data": {"access_token": TOKEN}, "x": "y" * 500}),
    "html": html(),
    "empty": reply(b""),
    "wrong types": reply({"success": True, "access_token": [TOKEN], "data": {"status": [SIGNATURE], "run_id": []}}),
    "token twice": reply({"success": "x", "access_token": f"{TOKEN} {TOKEN}", "data": {"access_token": 5}}),
    "success false": reply({"success": False, "error": "no"}),
    "slow response": send_in_pieces({"success": True}, every_s=0.2, head_too=True),
    "oversize": oversize(1_200_000, begin=TOKEN.encode()),
    "no http": raw(b"garbage\r\n\r\n"),
    "invalid headers": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n broken\x00head\r\n: x\r\n\r\n{}"),
    "redirect": redirect(f"https://elsewhere.example/?ppt={KEY}&sig={SIGNATURE}"),
    "redirect to nowhere": redirect("http://[::1"),
    "gzip": reply(b"no gzip", headers={"Content-Encoding": "gzip"}),
    "too slow down": reply({}, 429, {"Retry-After": "1000000"}),
    "echo 200": echo(200),
    **{f"echo {status}": echo(status) for status in (400, 401, 402, 403, 404, 422, 429, 500, 503)},
}


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="urllib3")
    return caplog


def assert_clean(text, where):
    for canary in CANARIES:
        assert canary not in text, f"{canary} in {where}"


def assert_error_is_clean(error):
    texts = [str(error), repr(error), repr(error.args), repr(vars(error))]
    trace = traceback.TracebackException(type(error), error, error.__traceback__, capture_locals=True)
    texts.append("".join(trace.format()))
    for text in texts:
        # the stack frames of the test contain the secrets; those of the package come after them
        assert_clean(text.split("comflowy_nb/services", 1)[-1] if "Traceback" in text else text, "an error")
    assert_clean(repr(pickle.dumps(str(error))), "a pickle")
    assert error.__context__ is None
    assert error.__cause__ is None


def assert_log_is_clean(log):
    formatter = logging.Formatter("%(name)s %(message)s %(exc_text)s")
    for record in log.records:
        if not record.name.startswith(("asyncio", "faulty")):
            assert_clean(f"{formatter.format(record)} {record.msg} {record.args!r}", f"the log of {record.name}")


def connect(origin, *, token=TOKEN):
    service = Comflowy(origin, key=Secret(KEY), identity="test", label="test", kind="sandbox")
    service._tokens.current = Secret(token) if token else None
    return service


def calls(service):
    """Return each request of a service as a function that may raise."""
    urls = {"on_result_url": f"http://127.0.0.1:1/{PATH}"}
    image = Output(0, "9", 0, f"/p.png?sig={SIGNATURE}")

    def read_image():
        with service.open_image(image) as stream:
            b"".join(stream.chunks())

    return {
        "submit": lambda: service.submit(Submission("t", "w", {"3::cfg": 1}, urls)),
        "check": lambda: service.check("1"),
        "cancel": lambda: service.cancel("1"),
        "workflows": service.workflows,
        "fields": lambda: service.fields("w"),
        "upload": lambda: service.upload("x.png", b"x"),
        "image": read_image,
    }


@pytest.mark.parametrize("name", FAULTS)
def test_errors_of_a_token_request_contain_no_secret(faulty, log, name):
    faulty.on("* /*", FAULTS[name])
    service = connect(faulty.url, token=None)
    with pytest.raises(ServiceError) as caught:
        service.check_access()
    assert_error_is_clean(caught.value)
    outcome = service.submit(Submission("t", "w", {}))
    assert_clean(f"{outcome!r} {outcome}", "an outcome")
    assert_error_is_clean(outcome.error)
    assert_clean(repr(service), "a repr")
    assert_log_is_clean(log)


@pytest.mark.parametrize("call", ["submit", "check", "cancel", "workflows", "fields", "upload", "image"])
@pytest.mark.parametrize("name", FAULTS)
def test_errors_of_each_request_contain_no_secret(faulty, log, name, call):
    faulty.on("* /*", FAULTS[name])
    faulty.on("GET /api/open/v0/auth/token", reply({"access_token": TOKEN + "b"}))
    try:
        result = calls(connect(faulty.url))[call]()
    except ServiceError as error:
        assert_error_is_clean(error)
    else:
        assert_clean(f"{result!r}", "a result")
        if getattr(result, "error", None) is not None:
            assert_error_is_clean(result.error)
    assert_log_is_clean(log)


@pytest.mark.parametrize("call", ["check_access", "submit", "check", "image"])
@pytest.mark.parametrize(
    "origin", ["refused", "http://nowhere.invalid", "http://a..b", "http://" + "a" * 70 + ".x", "https://127.0.0.1:1"]
)
def test_errors_without_a_connection_contain_no_secret(log, origin, call, monkeypatch):
    if origin == "refused":
        with FaultyServer() as server:
            origin = server.url
    if "invalid" in origin:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    service = connect(origin, token=None if call == "check_access" else TOKEN)
    try:
        result = {**calls(service), "check_access": service.check_access}[call]()
    except ServiceError as error:
        assert_error_is_clean(error)
    else:
        assert_clean(repr(result), "an outcome")
    assert_log_is_clean(log)


def test_error_for_a_rejected_certificate_contains_no_secret(log, authority):
    with FaultyServer(tls=authority.server("127.0.0.1")) as server, pytest.raises(ServiceError) as caught:
        connect(server.url, token=None).check_access()
    assert_error_is_clean(caught.value)
    assert_log_is_clean(log)


def test_error_of_a_failed_run_contains_no_secret(faulty):
    """A service may quote its request in the error of a run."""
    error = f"HTTP 400 for GET https://x/?ppt={KEY} with {TOKEN}"
    faulty.on("* /*", reply({"success": True, "data": {"status": "failed", "error": error}}))
    snapshot = connect(faulty.url).check("1")
    assert_clean(repr(snapshot), "a snapshot")
    assert "HTTP 400" in snapshot.problem.message


def test_traceback_of_an_interrupt_contains_no_secret(faulty, monkeypatch):
    """The traceback of Ctrl-C during the fetch of a token contained, in its locals, the URL with the key."""
    import http.client

    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(http.client.HTTPConnection, "getresponse", interrupt)
    service = connect(faulty.url, token=None)
    for call in (
        service.check_access,
        lambda: Http(faulty.url).exchange("POST", "/x", body={"u": PATH}, token=Secret(TOKEN)),
    ):
        with pytest.raises(KeyboardInterrupt) as caught:
            call()
        trace = traceback.TracebackException(
            type(caught.value), caught.value, caught.value.__traceback__, capture_locals=True
        )
        frames = "".join(trace.format())
        assert "comflowy_nb/services/http/client.py" in frames
        assert_clean(frames.split("comflowy_nb/services", 1)[-1], "an interrupt")
        assert caught.value.__context__ is None


def test_assertion_of_this_file_finds_a_leak():
    """Exceptions of requests contain the key, so the checks above can fail."""
    with pytest.raises(requests.ConnectionError) as caught:
        requests.get("http://127.0.0.1:1/token", params={"ppt": KEY}, timeout=1)
    with pytest.raises(AssertionError):
        assert_error_is_clean(caught.value)


def test_str_and_repr_of_a_secret_are_masked():
    secret = Secret(KEY)
    assert_clean(f"{secret} {secret!r} {[secret]} {secret!s:>20}", "a text")
    with pytest.raises(TypeError):
        pickle.dumps(secret)


def test_errors_of_the_key_lookup_contain_no_key(monkeypatch):
    monkeypatch.setenv("COMFLOWY_API_KEY", f"{KEY} {KEY}")
    with pytest.raises(ServiceError) as caught:
        find_key("https://app.comflowy.com")
    assert_error_is_clean(caught.value)
    monkeypatch.setenv("COMFLOWY_API_KEY", KEY)
    with pytest.raises(ServiceError) as caught:
        find_key("https://other.example")
    assert_error_is_clean(caught.value)


def test_detection_of_the_service_kind_sends_no_key(faulty, monkeypatch):
    monkeypatch.setenv("COMFLOWY_API_KEY", KEY)
    monkeypatch.setenv("COMFLOWY_URL", faulty.url)
    faulty.on("* /*", html())
    with pytest.raises(ServiceError):
        detect_kind(faulty.url)
    assert_clean(repr(faulty.requests()), "a request")


def test_log_of_the_receiver_contains_no_path(log):
    """Tornado's access log and its log of exceptions contained the path."""
    received = threading.Event()

    def listen(_):
        received.set()
        raise RuntimeError("broke")

    receiver = Receiver(listen)
    try:
        url = receiver.urls("t1")["on_result_url"]
        for path, body in (
            (url, b"{}"),
            (url, b"["),
            (url + "x", b"{}"),
            (url.replace("/hooks/", "/hooks/%FF"), b"{}"),
        ):
            requests.post(path, data=body, timeout=60)
        assert received.wait(60)
    finally:
        receiver.close()
    word = url.rpartition("/")[2]
    lines = [record.getMessage() for record in log.records if not record.name.startswith("urllib3")]
    assert not any(word in line for line in lines), lines
    assert word not in repr(receiver)
