"""Every network fault with every request: token, submit, check and image."""

from __future__ import annotations

import email.utils
import io
import socket
import time
from dataclasses import dataclass

import pytest
from faulty_server import (
    FaultyServer,
    close_after_reading,
    closed_port,
    html,
    no_response,
    oversize,
    raw,
    redirect,
    reply,
    reset_after_reading,
    send_in_pieces,
    slow,
    truncated,
    unresponsive_port,
)
from PIL import Image

from comflowy_nb.errors import (
    AnswerError,
    AuthError,
    ImageError,
    NotFoundError,
    RateLimitError,
    ServerError,
    ServiceError,
    UnreachableError,
)
from comflowy_nb.images.store import store_output
from comflowy_nb.services.comflowy.service import Comflowy
from comflowy_nb.services.types import Accepted, Output, Rejected, Submission, Unknown
from comflowy_nb.settings import Secret, settings
from comflowy_nb.status import Status

TOKEN = "GET /api/open/v0/auth/token"
RUN = "POST /api/open/v0/run"
CHECK = "POST /api/open/v0/check"
IMAGE = "GET /images/1.png"

RUN_ID = "5b2f"
GOOD_TOKEN = {"access_token": "T" * 40}
GOOD_RUN = {"success": True, "data": {"run_id": RUN_ID}}
GOOD_CHECK = {"success": True, "data": {"status": "running", "output_images": None, "padding": "x" * 40}}

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("limits")]

SILENT = {"no response", "slow response", "slow response headers"}  # faults that only a timeout ends


@pytest.fixture
def limits(request, one_retry):
    """Set short timeouts for silent faults only: a busy machine must not turn another fault into a timeout."""
    fault = getattr(request.node, "callspec", None) and request.node.callspec.params.get("fault")
    if fault is not None and fault.name in SILENT:
        request.getfixturevalue("short_timeouts")


def with_default_limits_after(answer):
    """Return the same response, with the limits of the next exchange reset."""

    def reset_limits(request, wire):
        settings.read_timeout_s = settings.connect_timeout_s = 30.0
        settings.answer_deadline_s = settings.image_deadline_s = 60.0
        return answer(request, wire)

    return reset_limits


def png() -> bytes:
    noise = Image.effect_noise((48, 48), 80)
    buffer = io.BytesIO()
    noise.save(buffer, "PNG")
    return buffer.getvalue()


GOOD_IMAGE = png()


@pytest.fixture
def service(faulty):
    service = connect(faulty.url)
    yield service
    service.close()


def connect(origin, *, token="old"):
    service = Comflowy(origin, key=Secret("the-key"), identity="test", label="test")
    if token:
        service._tokens.current = Secret(token)
    return service


def submit(service):
    return service.submit(Submission("t1", "w1", {"3::cfg": 7.0, "6::text": "my prompt"}))


def fetch(service, folder, url="/images/1.png"):
    output = Output(0, "9", 0, url)
    with service.open_image(output) as stream:
        return store_output(stream, folder=folder, token="t1", output=output)


def error_of(call):
    """Return the error that a call raised; its text must contain neither URL nor key."""
    with pytest.raises((ServiceError, ImageError)) as caught:
        call()
    text = str(caught.value)
    assert "the-key" not in text
    assert "://" not in text
    if isinstance(caught.value, ServiceError):
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
    return caught.value


@dataclass
class Fault:
    """A fault of the server, and its required outcomes.

    `token` and `check` are the class of the error; `again` is whether the token is requested once more. `run` is
    `unknown`, `rejected` (not retried), `again` (certainly not accepted, so it may be retried) or `stops`. `image` is
    the class of the error.
    """

    name: str
    answer: object
    token: type
    run: str
    check: type
    image: type
    again: bool = True
    no_image: object = None  # the same fault with the body of an image


def status(code, token, run, check, image, *, again=True):
    answer = reply({"success": False, "error": "because of it"}, code)
    return Fault(str(code), answer, token, run, check, image, again=again)


FAULTS = [
    Fault("close after reading", close_after_reading(), AnswerError, "unknown", AnswerError, AnswerError),
    Fault("reset after reading", reset_after_reading(), AnswerError, "unknown", AnswerError, AnswerError),
    Fault("no response", no_response(), AnswerError, "unknown", AnswerError, AnswerError),
    Fault(
        "short, length named",
        truncated({"success": True, "padding": "x" * 2000}),
        AnswerError,
        "unknown",
        AnswerError,
        AnswerError,
        no_image=truncated(GOOD_IMAGE),
    ),
    Fault(
        "short, no length",
        truncated({"success": True, "padding": "x" * 2000}, with_length=False),
        AnswerError,
        "unknown",
        AnswerError,
        ImageError,
        no_image=truncated(GOOD_IMAGE, with_length=False),
    ),
    Fault("html", html(), AnswerError, "unknown", AnswerError, ImageError),
    Fault("empty", reply(b""), AnswerError, "unknown", AnswerError, ImageError),
    Fault("no json", reply(b"\xff\xfe{"), AnswerError, "unknown", AnswerError, ImageError),
    Fault("a list", reply([1, 2]), AnswerError, "unknown", AnswerError, ImageError),
    Fault("missing data", reply({"success": True}), AnswerError, "unknown", AnswerError, ImageError),
    Fault("data null", reply({"success": True, "data": None}), AnswerError, "unknown", AnswerError, ImageError),
    Fault(
        "wrong types",
        reply({"success": "yes", "access_token": 5, "data": {"run_id": {}, "status": 3}}),
        AnswerError,
        "unknown",
        AnswerError,
        ImageError,
    ),
    Fault("deep json", reply(b"[" * 100_000), AnswerError, "unknown", AnswerError, ImageError),
    Fault(
        "success false",
        reply({"success": False, "error": "no credit left"}),
        AuthError,
        "rejected",
        AnswerError,
        ImageError,
        again=False,
    ),
    Fault("no http", raw(b"SSH-2.0-OpenSSH_9.2\r\n"), AnswerError, "unknown", AnswerError, AnswerError),
    Fault("status line only", raw(b"HTTP/1.1 200 OK\r\n"), AnswerError, "unknown", AnswerError, ImageError),
    Fault("head cut off", raw(b"HTTP/1.1 200 OK\r\nContent-Ty"), AnswerError, "unknown", AnswerError, ImageError),
    Fault(
        "broken gzip",
        reply(b"no gzip", headers={"Content-Encoding": "gzip"}),
        AnswerError,
        "unknown",
        AnswerError,
        AnswerError,
    ),
    status(400, AnswerError, "rejected", AnswerError, AnswerError),
    status(402, AuthError, "stops", AuthError, AuthError, again=False),
    status(403, AuthError, "stops", AuthError, AuthError, again=False),
    status(404, ServiceError, "rejected", NotFoundError, NotFoundError, again=False),
    status(405, AnswerError, "unknown", AnswerError, AnswerError),
    status(408, ServerError, "unknown", ServerError, ServerError),
    status(409, AnswerError, "unknown", AnswerError, AnswerError),
    status(422, AnswerError, "rejected", AnswerError, AnswerError),
    status(429, RateLimitError, "again", RateLimitError, RateLimitError),
    status(500, ServerError, "unknown", ServerError, ServerError),
    status(502, ServerError, "unknown", ServerError, ServerError),
    status(503, ServerError, "unknown", ServerError, ServerError),
    status(504, ServerError, "unknown", ServerError, ServerError),
    Fault("500 html", html(500), ServerError, "unknown", ServerError, ServerError),
    Fault(
        "slow response",
        send_in_pieces(
            {"success": True, "data": {"run_id": "1", "status": "running"}, "access_token": "t"}, every_s=0.3
        ),
        AnswerError,
        "unknown",
        AnswerError,
        AnswerError,
        no_image=send_in_pieces(GOOD_IMAGE, every_s=0.1),
    ),
    Fault(
        "slow response headers",
        send_in_pieces({"success": True}, every_s=0.2, head_too=True),
        AnswerError,
        "unknown",
        AnswerError,
        AnswerError,
    ),
    Fault("oversize", oversize(1_200_000), AnswerError, "unknown", AnswerError, ImageError),
    Fault(
        "oversize, no length", oversize(1_200_000, with_length=False), AnswerError, "unknown", AnswerError, ImageError
    ),
]
BY_NAME = [pytest.param(fault, id=fault.name) for fault in FAULTS]


@pytest.mark.parametrize("fault", BY_NAME)
def test_each_fault_of_a_token_request(faulty, fault):
    faulty.on(TOKEN, fault.answer)
    service = connect(faulty.url, token=None)
    error = error_of(service.check_access)
    assert type(error) is fault.token
    assert faulty.count(TOKEN) == (2 if fault.again else 1)
    assert faulty.count() == faulty.count(TOKEN)


@pytest.mark.parametrize("fault", BY_NAME)
def test_a_token_request_that_succeeds_at_the_second_attempt(faulty, fault):
    faulty.on(TOKEN, with_default_limits_after(fault.answer), reply(GOOD_TOKEN))
    service = connect(faulty.url, token=None)
    if fault.again:
        service.check_access()
        assert faulty.count(TOKEN) == 2
    else:
        error_of(service.check_access)
        assert faulty.count(TOKEN) == 1


@pytest.mark.parametrize("fault", BY_NAME)
def test_each_fault_of_a_submit(faulty, service, fault):
    faulty.on(RUN, fault.answer)
    outcome = submit(service)
    assert faulty.count(RUN) == 1, "a run is submitted only once"
    if fault.run == "unknown":
        assert type(outcome) is Unknown
        assert "://" not in outcome.reason
    else:
        assert type(outcome) is Rejected
        assert (outcome.may_retry, outcome.rejects_all) == (fault.run == "again", fault.run == "stops")
        assert "://" not in str(outcome.error)


@pytest.mark.parametrize("fault", BY_NAME)
def test_run_is_not_submitted_without_a_token(faulty, fault):
    """If the token request fails, the run was certainly not accepted."""
    faulty.on(TOKEN, fault.answer)
    outcome = submit(connect(faulty.url, token=None))
    assert type(outcome) is Rejected
    assert outcome.rejects_all == (fault.token is AuthError)
    assert faulty.count(RUN) == 0


@pytest.mark.parametrize("fault", BY_NAME)
def test_each_fault_of_a_check(faulty, service, fault):
    faulty.on(CHECK, with_default_limits_after(fault.answer), reply(GOOD_CHECK))
    error = error_of(lambda: service.check(RUN_ID))
    assert type(error) is fault.check
    assert faulty.count(CHECK) == 1, "a service does not repeat a check"
    assert service.check(RUN_ID).status is Status.RUNNING


@pytest.mark.parametrize("fault", BY_NAME)
def test_each_fault_of_an_image_download(faulty, service, fault, tmp_path):
    settings.image_max_bytes = 1_000_000
    faulty.on(IMAGE, with_default_limits_after(fault.no_image or fault.answer), reply(GOOD_IMAGE))
    error = error_of(lambda: fetch(service, tmp_path))
    assert type(error) is fault.image
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [], "no partial file is left"
    image_record = fetch(service, tmp_path)
    assert (tmp_path / image_record.file).read_bytes() == GOOD_IMAGE
    assert all("authorization" not in request.headers for request in faulty.requests(IMAGE))


# -- no connection ----------------------------------------------------------------------------------------------


@pytest.fixture(params=["refused", "no such name", "connect timeout", "dead proxy"])
def unreachable(request, monkeypatch):
    """Return the origin of a service to which no connection is possible."""
    if request.param == "refused":
        yield f"http://127.0.0.1:{closed_port()}"
    elif request.param == "connect timeout":
        settings.connect_timeout_s = 0.3
        with unresponsive_port() as port:
            yield f"http://127.0.0.1:{port}"
    elif request.param == "dead proxy":
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port()}")
        yield "http://service.example"
    else:
        real_getaddrinfo = socket.getaddrinfo

        def resolve(host, *args, **options):
            if host == "nowhere.example":
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            return real_getaddrinfo(host, *args, **options)

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        yield "http://nowhere.example"


def test_token_request_without_a_connection_is_an_error(unreachable):
    assert type(error_of(connect(unreachable, token=None).check_access)) is UnreachableError


def test_run_without_a_connection_was_not_accepted(unreachable):
    outcome = submit(connect(unreachable))
    assert type(outcome) is Rejected
    assert type(outcome.error) is UnreachableError
    assert (outcome.may_retry, outcome.rejects_all) == (True, False)


def test_check_without_a_connection_is_an_error(unreachable):
    assert type(error_of(lambda: connect(unreachable).check(RUN_ID))) is UnreachableError


def test_image_download_without_a_connection_is_an_error(unreachable, tmp_path):
    assert type(error_of(lambda: fetch(connect(unreachable), tmp_path))) is UnreachableError


def test_a_server_that_is_reachable_again_is_used_again(faulty, service):
    faulty.on(CHECK, reply(GOOD_CHECK))
    service.check(RUN_ID)
    faulty.refuse()
    assert type(error_of(lambda: service.check(RUN_ID))) is UnreachableError
    faulty.listen()
    assert service.check(RUN_ID).status is Status.RUNNING


def test_run_is_unknown_if_the_proxy_closes_the_connection_after_reading(faulty, monkeypatch):
    monkeypatch.setenv("http_proxy", faulty.url)
    faulty.on(RUN, close_after_reading())
    assert type(submit(connect("http://service.example"))) is Unknown
    assert faulty.count(RUN) == 1


# -- certificates -----------------------------------------------------------------------------------------------


@pytest.fixture
def secure(authority):
    with FaultyServer(tls=authority.server("127.0.0.1")) as server:
        yield server


def test_untrusted_certificate_is_an_error(secure, tmp_path):
    for route in (TOKEN, RUN, CHECK, IMAGE):
        secure.on(route, reply(GOOD_TOKEN))
    assert type(error_of(connect(secure.url, token=None).check_access)) is ServiceError
    outcome = submit(connect(secure.url))
    assert type(outcome) is Rejected
    assert (outcome.may_retry, outcome.rejects_all) == (False, False)
    assert "certificate" in str(outcome.error)
    assert type(error_of(lambda: connect(secure.url).check(RUN_ID))) is ServiceError
    assert type(error_of(lambda: fetch(connect(secure.url), tmp_path))) is ServiceError
    assert secure.count() == 0


def test_certificate_of_another_host_is_an_error(authority, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.bundle))
    with FaultyServer(tls=authority.server("other.example")) as server:
        outcome = submit(connect(server.url))
        assert type(outcome) is Rejected
        assert "certificate" in str(outcome.error)
        assert server.count() == 0


def test_trusted_certificate_is_accepted(secure, authority, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.bundle))
    secure.on(TOKEN, reply(GOOD_TOKEN)).on(RUN, reply(GOOD_RUN))
    assert submit(connect(secure.url, token=None)) == Accepted(RUN_ID)


def test_run_is_unknown_if_tls_fails_after_reading(secure, authority, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.bundle))

    def send_garbage(_, wire):
        socket.socket.send(wire.sock, b"this is no record of TLS, it is plain text")

    secure.on(RUN, reset_after_reading(), close_after_reading(), send_garbage)
    service = connect(secure.url)
    for count in (1, 2, 3):
        assert type(submit(service)) is Unknown
        assert secure.count(RUN) == count


def test_run_is_unknown_if_the_server_has_no_tls(faulty):
    """An SSLError without an inner verification error leaves the outcome open, so the run is unknown."""
    assert type(submit(connect(faulty.url.replace("http:", "https:")))) is Unknown


# -- 401 --------------------------------------------------------------------------------------------------------


def test_rejected_token_is_replaced_once(faulty):
    faulty.on(TOKEN, reply({"success": False, "error": "bad key"}, 401))
    error = error_of(connect(faulty.url, token=None).check_access)
    assert type(error) is AuthError
    assert "bad key" in str(error)
    assert "%comflowy login" in str(error)
    assert faulty.count(TOKEN) == 1


def test_run_is_submitted_once_more_after_one_401(faulty, service):
    faulty.on(TOKEN, reply(GOOD_TOKEN)).on(RUN, reply({}, 401), reply(GOOD_RUN))
    assert submit(service) == Accepted(RUN_ID)
    first, second = faulty.requests(RUN)
    assert first.headers["authorization"] == "Bearer old"
    assert second.headers["authorization"] == f"Bearer {GOOD_TOKEN['access_token']}"
    assert first.body == second.body
    assert faulty.count(TOKEN) == 1


def test_submit_stops_after_two_401s(faulty, service):
    faulty.on(TOKEN, reply(GOOD_TOKEN)).on(RUN, reply({}, 401))
    outcome = submit(service)
    assert type(outcome) is Rejected
    assert type(outcome.error) is AuthError
    assert outcome.rejects_all
    assert (faulty.count(RUN), faulty.count(TOKEN)) == (2, 1)


def test_run_is_unknown_if_the_second_response_is_lost(faulty, service):
    faulty.on(TOKEN, reply(GOOD_TOKEN)).on(RUN, reply({}, 401), close_after_reading())
    assert type(submit(service)) is Unknown
    assert faulty.count(RUN) == 2


def test_run_without_a_new_token_was_not_accepted(faulty, service):
    faulty.on(TOKEN, reply({}, 500)).on(RUN, reply({}, 401))
    outcome = submit(service)
    assert type(outcome) is Rejected
    assert outcome.may_retry
    assert faulty.count(RUN) == 1


def test_check_after_401s_fetches_a_new_token(faulty, service):
    faulty.on(TOKEN, reply(GOOD_TOKEN)).on(CHECK, reply({}, 401), reply(GOOD_CHECK))
    assert service.check(RUN_ID).status is Status.RUNNING
    faulty.on(CHECK, reply({}, 401))
    assert type(error_of(lambda: service.check(RUN_ID))) is AuthError
    assert faulty.count(CHECK) == 4


def test_a_rejected_image_is_not_retried_with_a_token(faulty, service, tmp_path):
    faulty.on(IMAGE, reply({}, 401))
    assert type(error_of(lambda: fetch(service, tmp_path))) is AuthError
    assert [request.headers.get("authorization") for request in faulty.requests()] == [None]


# -- Retry-After ------------------------------------------------------------------------------------------------

IN_A_MINUTE = "date"
PAUSES = [
    ("7", 7.0),
    ("0.25", 0.25),
    ("-3", 0.0),
    (IN_A_MINUTE, 60.0),
    ("soon", None),
    ("nan", None),
    ("1000000", 120.0),
]


def pause_of(text):
    if text == IN_A_MINUTE:
        text = email.utils.formatdate(time.time() + 60, usegmt=True)
    return {"Retry-After": text}


@pytest.mark.parametrize(("text", "expected_s"), PAUSES)
@pytest.mark.parametrize("code", [429, 503])
def test_retry_after_of_a_check_is_read(faulty, service, text, expected_s, code):
    faulty.on(CHECK, reply({}, code, pause_of(text)))
    error = error_of(lambda: service.check(RUN_ID))
    if code == 503 and expected_s is None:
        assert type(error) is ServerError
    else:
        assert type(error) is RateLimitError
        assert error.retry_after_s == (
            None if expected_s is None else pytest.approx(expected_s, abs=30 if text == IN_A_MINUTE else 0)
        )


@pytest.mark.parametrize(("text", "expected_s"), PAUSES)
def test_retry_after_of_a_submit_is_read(faulty, service, text, expected_s):
    faulty.on(RUN, reply({}, 429, pause_of(text)))
    outcome = submit(service)
    assert type(outcome) is Rejected
    assert outcome.error.retry_after_s == (
        None if expected_s is None else pytest.approx(expected_s, abs=30 if text == IN_A_MINUTE else 0)
    )
    assert outcome.may_retry == (expected_s != 120.0)
    if expected_s == 120.0:
        assert "278 h" in str(outcome.error)


@pytest.mark.parametrize(("text", "expected_s"), PAUSES)
def test_retry_after_of_an_image_is_read(faulty, service, text, expected_s, tmp_path):
    faulty.on(IMAGE, reply({}, 429, pause_of(text)))
    error = error_of(lambda: fetch(service, tmp_path))
    assert error.retry_after_s == (
        None if expected_s is None else pytest.approx(expected_s, abs=30 if text == IN_A_MINUTE else 0)
    )


def test_retry_after_of_a_token_is_observed(faulty):
    faulty.on(TOKEN, reply({}, 429, {"Retry-After": "0.4"}), reply(GOOD_TOKEN))
    connect(faulty.url, token=None).check_access()
    first, second = faulty.requests(TOKEN)
    assert second.at_s - first.at_s >= 0.4


def test_a_retry_after_that_is_too_long_ends_the_token_request(faulty):
    faulty.on(TOKEN, reply({}, 429, {"Retry-After": "1000000"}))
    error = error_of(connect(faulty.url, token=None).check_access)
    assert "278 h" in str(error)
    assert faulty.count(TOKEN) == 1


def test_run_is_unknown_after_503_even_with_retry_after(faulty, service):
    faulty.on(RUN, reply({}, 503, {"Retry-After": "1"}))
    assert type(submit(service)) is Unknown


# -- slow but correct -------------------------------------------------------------------------------------------


def test_slow_responses_within_the_deadline_succeed(faulty, tmp_path):
    settings.read_timeout_s = 30.0
    settings.answer_deadline_s = settings.image_deadline_s = 60.0
    faulty.on(TOKEN, reply(GOOD_TOKEN, latency_s=0.2))
    faulty.on(RUN, reply(GOOD_RUN, latency_s=0.25))
    faulty.on(CHECK, slow(GOOD_CHECK, bytes_per_s=400))
    faulty.on(IMAGE, slow(GOOD_IMAGE, bytes_per_s=3000))
    service = connect(faulty.url, token=None)
    assert submit(service) == Accepted(RUN_ID)
    assert service.check(RUN_ID).status is Status.RUNNING
    image_record = fetch(service, tmp_path)
    assert image_record.size_bytes == len(GOOD_IMAGE)


def test_deadline_ends_a_slow_response(faulty, service):
    """10 bytes over 3 s passed a timeout of 0.5 s: timeouts of requests limit each read."""
    settings.read_timeout_s, settings.answer_deadline_s = 30.0, 0.9
    faulty.on(RUN, send_in_pieces(GOOD_RUN, every_s=0.05, head_too=True))  # 8 s in total, and correct
    outcome = submit(service)
    assert type(outcome) is Unknown
    assert "in time" in outcome.reason


def test_download_below_the_minimum_throughput_ends_before_the_deadline(faulty, service, tmp_path):
    settings.read_timeout_s, settings.image_deadline_s = 3.0, 120.0
    faulty.on(IMAGE, send_in_pieces(GOOD_IMAGE, every_s=0.1))  # minutes in total
    started_s = time.monotonic()
    error = error_of(lambda: fetch(service, tmp_path))
    assert "slow" in str(error)
    assert time.monotonic() - started_s < 60


# -- redirects --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirect_to_another_host_is_not_followed(faulty, service, code):
    """On 307 and 308 requests repeats a POST, with its body, at the other host."""
    with FaultyServer() as other:
        other.on("* /*", reply(GOOD_RUN))
        for route in (TOKEN, RUN, CHECK):
            faulty.on(route, redirect(f"{other.url}/elsewhere", code))
        assert type(error_of(connect(faulty.url, token=None).check_access)) is AnswerError
        assert type(submit(service)) is Unknown
        assert type(error_of(lambda: service.check(RUN_ID))) is AnswerError
        assert faulty.count(RUN) == 1
        assert other.count() == 0


# -- accepted runs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code", "run_id"),
    [
        (GOOD_RUN, 200, RUN_ID),
        (GOOD_RUN, 201, RUN_ID),
        (GOOD_RUN, 202, RUN_ID),
        ({"success": True, "data": {"run_id": 41}}, 200, "41"),
        ({"success": True, "data": {"run_id": 41.0}}, 200, "41"),
        ({"success": True, "data": {"run_id": 2**70}}, 200, str(2**70)),
        ({"success": "maybe", "data": {"run_id": RUN_ID, "more": [1]}, "extra": {}}, 200, RUN_ID),
        ({"data": {"run_id": RUN_ID}}, 200, RUN_ID),
        ({"success": False, "error": "odd", "data": {"run_id": RUN_ID}}, 200, RUN_ID),
        ({"run_id": RUN_ID}, 200, RUN_ID),
    ],
)
def test_response_2xx_with_a_run_id_is_accepted(faulty, service, body, code, run_id):
    faulty.on(RUN, reply(body, code))
    assert submit(service) == Accepted(run_id)


@pytest.mark.parametrize("run_id", [None, "", "  ", True, [], {}, float("nan")])
def test_response_2xx_without_a_run_id_is_unknown(faulty, service, run_id):
    faulty.on(RUN, reply({"success": True, "data": {"run_id": run_id}}))
    assert type(submit(service)) is Unknown


def test_success_false_without_a_message_is_unknown(faulty, service):
    faulty.on(RUN, reply({"success": False}))
    assert type(submit(service)) is Unknown


def test_rejection_contains_the_message_of_the_service(faulty, service):
    faulty.on(RUN, reply({"success": False, "error": "workflow is private"}))
    outcome = submit(service)
    assert "workflow is private" in str(outcome.error)
