"""The Comflowy API: requests, and the outcome of each response."""

from __future__ import annotations

import contextlib
import json
import threading

import pytest
from faulty_server import choose, close_after_reading, html, redirect, reply, truncated
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from comflowy_nb.errors import AnswerError, AuthError, NotFoundError, ServerError, ServiceError
from comflowy_nb.services import credentials
from comflowy_nb.services.comflowy.schema import read_check, read_run_id, read_token
from comflowy_nb.services.comflowy.service import Comflowy
from comflowy_nb.services.http.responses import SchemaError
from comflowy_nb.services.types import Accepted, Rejected, Snapshot, Submission, Unknown
from comflowy_nb.settings import Secret, settings
from comflowy_nb.status import Status
from comflowy_nb.workflow.fields import FieldType

TOKEN = "GET /api/open/v0/auth/token"
RUN = "POST /api/open/v0/run"
CHECK = "POST /api/open/v0/check"
CANCEL = "POST /api/open/v0/cancel"

pytestmark = pytest.mark.usefixtures("one_retry")


@pytest.fixture
def service(faulty):
    faulty.on(TOKEN, reply({"access_token": "the-token"}))
    service = Comflowy(faulty.url, key=Secret("the key+&/%"), identity="mine", label="studio")
    yield service
    service.close()


@pytest.fixture
def sandbox(faulty):
    faulty.on(TOKEN, reply({"access_token": "the-token"}))
    service = Comflowy(faulty.url, key=Secret("k"), identity="sandbox", label="sandbox", kind="sandbox")
    yield service
    service.close()


def check_response(faulty, service, data, **more):
    faulty.on(CHECK, reply({"success": True, "data": data, **more}))
    return service.check("r 1/2")


# -- requests ---------------------------------------------------------------------------------------------------


def test_submit_sends_the_documented_request(faulty, service):
    faulty.on(RUN, reply({"success": True, "data": {"run_id": "5"}}))
    urls = {"on_result_url": "http://127.0.0.1:1/a", "on_progress_event_url": "http://127.0.0.1:1/b"}
    params = {"3::sampler_name": "euler", "6::text": "grün, ☃ and 'quotes'", "3::cfg": 8, "3::seed": 2**64 - 1}
    assert service.submit(Submission("t", "3fef208b", params, urls)) == Accepted("5")
    (token,), (run,) = faulty.requests(TOKEN), faulty.requests(RUN)
    assert token.query == {"ppt": "the key+&/%"}
    assert "authorization" not in token.headers
    assert run.headers["authorization"] == "Bearer the-token"
    assert run.headers["content-type"] == "application/json"
    assert run.json == {"workflow_id": "3fef208b", "params": params, "callback_urls": urls}


def test_callback_urls_are_sent_empty_without_a_receiver(faulty, service):
    faulty.on(RUN, reply({"success": True, "data": {"run_id": "5"}}))
    service.submit(Submission("t", "w", {}))
    assert faulty.requests(RUN)[0].json["callback_urls"] == {}


def test_check_sends_the_documented_request(faulty, service):
    check_response(faulty, service, {"status": "waiting"})
    (check,) = faulty.requests(CHECK)
    assert check.method == "POST"
    assert check.query == {"id": "r 1/2"}
    assert check.headers["authorization"] == "Bearer the-token"
    assert check.body == b""


def test_each_submit_opens_a_new_connection(faulty, service):
    """A server that closes idle connections lost 32 of 200 submits, each an unknown run."""
    faulty.on(RUN, reply({"success": True, "data": {"run_id": "5"}}))
    for _ in range(3):
        service.submit(Submission("t", "w", {}))
    assert len({request.connection for request in faulty.requests(RUN)}) == 3
    check_response(faulty, service, {"status": "running"})
    service.check("1")
    assert len({request.connection for request in faulty.requests(CHECK)}) == 1


def test_a_workflow_without_an_id_and_params_that_are_not_json_are_not_submitted(faulty, service):
    for submission in (Submission("t", None, {}, graph={}), Submission("t", "w", {"3::cfg": float("nan")})):
        outcome = service.submit(submission)
        assert type(outcome) is Rejected
        assert (outcome.may_retry, outcome.rejects_all) == (False, False)
    assert faulty.count() == 0


# -- the token --------------------------------------------------------------------------------------------------


def test_16_threads_share_one_token(faulty, service):
    faulty.on(TOKEN, reply({"access_token": "the-token"}, latency_s=0.2))
    faulty.on(CHECK, reply({"success": True, "data": {"status": "running"}}))
    at_once(16, lambda: service.check("1"))
    assert (faulty.count(TOKEN), faulty.count(CHECK)) == (1, 16)


def test_16_threads_with_a_rejected_token_fetch_one_new_token(faulty, service):
    faulty.on(TOKEN, reply({"access_token": "old"}), reply({"access_token": "new"}, latency_s=0.2))
    barrier = threading.Barrier(16)

    def decide(request):
        if request.headers["authorization"] == "Bearer new":
            return reply({"success": True, "data": {"status": "running"}})
        barrier.wait(30)
        return reply({}, 401)

    service.check_access()
    faulty.on(CHECK, choose(decide))
    at_once(16, lambda: service.check("1"))
    assert (faulty.count(TOKEN), faulty.count(CHECK)) == (2, 32)


def test_a_failed_token_request_is_not_repeated_by_each_thread(faulty, service, monkeypatch):
    settings.retries = 0
    monkeypatch.setattr(credentials, "FAILURE_SHARED_S", 60)
    faulty.on(TOKEN, reply({}, 500, latency_s=0.1))
    errors = at_once(16, lambda: service.check("1"))
    assert {type(error) for error in errors} == {ServerError}
    assert len({id(error) for error in errors}) == 16
    assert faulty.count(TOKEN) == 1


def test_token_in_the_data_object_is_accepted(faulty, service):
    faulty.on(TOKEN, reply({"success": True, "data": {"access_token": "inner"}}))
    check_response(faulty, service, {"status": "running"})
    assert faulty.requests(CHECK)[0].headers["authorization"] == "Bearer inner"


def at_once(count, call):
    """Call a function in several threads at the same time; return the errors."""
    errors = []

    def run():
        try:
            call()
        except ServiceError as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return errors


# -- check ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["waiting", "pending", "running", "success", "failed"])
def test_documented_statuses_are_read(faulty, service, word):
    snapshot = check_response(faulty, service, {"status": word})
    assert (snapshot.status, snapshot.service_status) == (Status(word), word)


@pytest.mark.parametrize("word", ["queued", "cancelled", "SUCCESS", "submitting", "", "läuft"])
def test_an_unknown_status_counts_as_running_and_is_shown(faulty, service, word):
    snapshot = check_response(faulty, service, {"status": word, "output_images": ["https://x.example/1.png"]})
    assert (snapshot.status, snapshot.service_status, snapshot.outputs) == (Status.RUNNING, word, ())
    assert repr(word) in snapshot.warning


def test_unknown_fields_are_ignored_and_optional_fields_may_be_absent_or_null(faulty, service):
    data = {"status": "running", "error": None, "output_images": None, "full_outputs": None, "eta": [1, {}]}
    assert check_response(faulty, service, data, more=1) == Snapshot(Status.RUNNING, "running")
    assert check_response(faulty, service, {"status": "running"}) == Snapshot(Status.RUNNING, "running")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"success": True, "data": {"status": 5}}, "Expected `str`, got `int` - at `$.data.status`"),
        ({"success": True, "data": {}}, "missing required field `status` - at `$.data`"),
        ({"success": True}, "missing required field `data`"),
        ({"success": True, "data": None}, "Expected `object`, got `null` - at `$.data`"),
        ({"success": 1, "data": {"status": "failed"}}, "Expected `bool`, got `int` - at `$.success`"),
        ({"data": {"status": "failed"}}, "missing required field `success`"),
        ({"success": False, "error": "try later"}, "try later"),
        ({"success": False, "data": {"status": "failed", "error": "boom"}}, "boom"),
        ({"success": False}, "success: false"),
        ([], "Expected `object`, got `array`"),
    ],
)
def test_an_invalid_response_is_reported_and_does_not_end_the_run(faulty, service, answer, words):
    faulty.on(CHECK, reply(answer))
    with pytest.raises(AnswerError) as caught:
        service.check("1")
    assert words in str(caught.value)


def test_failed_run_has_the_error_of_comfyui(faulty, service):
    error = {"node_id": "3", "node_type": "KSampler", "exception_message": "out of memory\n", "traceback": ["File"]}
    for form in (json.dumps(error), error):
        problem = check_response(faulty, service, {"status": "failed", "error": form}).problem
        assert (problem.node, problem.node_type, problem.message) == ("3", "KSampler", "out of memory")


def test_failed_run_without_a_reason_has_a_default_message(faulty, service):
    assert check_response(faulty, service, {"status": "failed"}).problem.message == "the service gave no reason"


def test_run_is_cancelled_only_after_a_confirmed_cancel_of_this_client(faulty, sandbox):
    cancelled_data = {"status": "failed", "error": "cancelled"}
    faulty.on(CHECK, reply({"success": True, "data": cancelled_data}))
    assert sandbox.check("1").status is Status.FAILED
    faulty.on(CANCEL, reply({"success": False, "error": "the run has ended already"}, 409))
    assert sandbox.cancel("1") is False
    assert sandbox.check("1").status is Status.FAILED
    faulty.on(CANCEL, reply({"success": True, "data": {"run_id": "1", "cancelled": True}}))
    assert sandbox.cancel("1") is True
    assert sandbox.check("1") == Snapshot(Status.CANCELLED, "failed")
    assert sandbox.check("2").status is Status.FAILED
    assert faulty.requests(CANCEL)[0].query == {"id": "1"}


def test_run_with_an_error_after_a_cancel_is_failed(faulty, sandbox):
    faulty.on(CANCEL, reply({"success": True}))
    sandbox.cancel("1")
    faulty.on(CHECK, reply({"success": True, "data": {"status": "failed", "error": "out of memory"}}))
    assert sandbox.check("1").status is Status.FAILED


def test_cancel_of_an_unknown_run_is_an_error(faulty, sandbox):
    with pytest.raises(NotFoundError):
        sandbox.cancel("1")


def test_cancel_without_a_valid_response_is_not_confirmed(faulty, sandbox):
    faulty.on(CANCEL, html())
    with pytest.raises(AnswerError):
        sandbox.cancel("1")
    faulty.on(CHECK, reply({"success": True, "data": {"status": "failed", "error": "cancelled"}}))
    assert sandbox.check("1").status is Status.FAILED


def test_the_hosted_service_supports_no_cancel_and_no_upload(faulty, service):
    assert not service.can_cancel
    assert service.cancel("1") is False
    assert service.upload("x.png", b"x") is None
    assert faulty.count() == 0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
ODD_DATA = st.fixed_dictionaries(
    {"status": st.sampled_from(["success", "failed", "running", "?"]) | JSON},
    optional={"error": JSON, "output_images": JSON, "full_outputs": JSON, "run_id": JSON},
)


@hypothesis_settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answer=JSON | st.fixed_dictionaries({"success": st.booleans() | JSON, "data": ODD_DATA | JSON}))
def test_every_response_is_read_or_rejected(faulty, service, answer):
    """Only `success: true` with `status: failed` fails a run, and no other exception than an AnswerError is raised."""
    faulty.on(CHECK, reply(answer))
    try:
        snapshot = service.check("1")
    except AnswerError:
        pass
    else:
        assert answer["success"] is True
        assert (snapshot.status is Status.FAILED) == (answer["data"]["status"] == "failed")
    body = json.dumps(answer).encode()
    faulty.on(RUN, reply(body))
    outcome = service.submit(Submission("t", "w", {}))
    assert isinstance(outcome, Accepted) == (read_run_id(body) is not None)
    if isinstance(outcome, Rejected):
        assert answer["success"] is False


@given(st.binary(max_size=60))
def test_decoders_accept_any_bytes(body):
    for read in (read_check, read_token):
        with contextlib.suppress(SchemaError):
            read(body)
    read_run_id(body)


# -- routes of the sandbox --------------------------------------------------------------------------------------


def test_published_workflows_are_read(faulty, sandbox):
    data = [{"id": "default", "name": "Default", "more": 1}, {"id": "x"}]
    faulty.on("GET /api/open/v0/workflows", reply({"success": True, "data": data}))
    assert sandbox.workflows() == {"default": "Default", "x": "x"}


def test_published_fields_are_read(faulty, sandbox):
    data = {
        "fields": {"3::cfg": ["FLOAT", {"default": 8.0, "min": 0.0}], "3::sampler_name": [["euler", "heun"], {}]},
        "nodes": {"3": {"title": "Sampler", "class_type": "KSampler"}},
    }
    faulty.on("GET /api/open/v0/workflows/my%20flow%2F1", reply({"success": True, "data": data}))
    fields = sandbox.fields("my flow/1")
    assert list(fields) == ["3::cfg", "3::sampler_name"]
    assert (fields["3::cfg"].type, fields["3::cfg"].node_title) == (FieldType.FLOAT, "Sampler")
    assert fields["3::sampler_name"].options == ("euler", "heun")


@pytest.mark.parametrize(
    "answer",
    [
        *(reply({"success": False}, status) for status in (200, 400, 401, 403, 404, 405, 500, 503)),
        html(),
        redirect("/login"),
        truncated({"success": True, "data": []}),
        reply({"success": True, "data": [{"id": 5}]}),
    ],
)
def test_service_without_published_fields_returns_none(faulty, service, answer):
    """The route is not documented for other services: no response of it may prevent a run."""
    faulty.on("GET /api/open/v0/workflows*", answer)
    assert service.workflows() is None
    assert service.fields("w") is None
    assert faulty.count("GET /api/open/v0/workflows") <= 2


def test_failed_connection_is_not_an_empty_list_of_workflows(faulty, service):
    faulty.on("GET /api/open/v0/workflows*", close_after_reading())
    with pytest.raises(AnswerError):
        service.workflows()
    assert faulty.count("GET /api/open/v0/workflows") == 2


def test_an_invalid_list_of_a_sandbox_is_an_error(faulty, sandbox):
    faulty.on("GET /api/open/v0/workflows", reply({"success": True, "data": [{"id": 5}]}))
    with pytest.raises(AnswerError, match="data"):
        sandbox.workflows()


def test_upload_sends_a_multipart_request(faulty, sandbox):
    faulty.on("POST /upload/image", reply({}, 503), reply({"name": "ab.png", "subfolder": "", "type": "input"}))
    assert sandbox.upload("café.png", b"\x89PNG...") == "ab.png"
    _, request = faulty.requests("POST /upload/image")
    assert request.headers["content-type"].startswith("multipart/form-data")
    assert b'name="image"' in request.body
    assert b"\x89PNG..." in request.body
    assert request.headers["authorization"] == "Bearer the-token"


# -- properties -------------------------------------------------------------------------------------------------


def test_only_the_hosted_service_is_marked_as_costing_money():
    def service(origin, kind="comflowy"):
        return Comflowy(origin, key=Secret("k"), identity="i", label="l", kind=kind)

    assert service("https://app.comflowy.com").costs_money
    assert not service("http://127.0.0.1:8000").costs_money
    assert not service("http://127.0.0.1:8000", "sandbox").costs_money
    assert service("http://localhost:1").on_loopback
    assert not service("https://app.comflowy.com").on_loopback


def test_a_wrong_address_and_a_wrong_key_have_different_errors(faulty, service):
    faulty.on(TOKEN, reply({}, 404))
    with pytest.raises(ServiceError, match="check the address") as caught:
        service.check_access()
    assert not isinstance(caught.value, AuthError)


def test_the_outcome_of_an_html_response_contains_no_markup(faulty, service):
    faulty.on(RUN, html(400))
    outcome = service.submit(Submission("t", "w", {}))
    assert type(outcome) is Rejected
    assert "Bad gateway" in str(outcome.error)
    assert "<" not in str(outcome.error)
    faulty.on(RUN, html(200))
    assert type(service.submit(Submission("t", "w", {}))) is Unknown
