"""Several servers as one service: the server of the next run, unreachable servers, checks."""

from __future__ import annotations

import uuid

import pytest
from bare_client import empty_image
from comfyui_server import ComfyServer
from faulty_server import closed_port

from comflowy_nb.errors import NotFoundError, ServerError, UnreachableError, WorkflowError
from comflowy_nb.services.comfyui.multi_server import ComfyUICluster
from comflowy_nb.services.comfyui.service import ComfyUI
from comflowy_nb.services.types import Accepted, Rejected, Submission
from comflowy_nb.status import Status
from comflowy_nb.workflow.graph import Graph


@pytest.fixture
def pair(tmp_path):
    with ComfyServer(tmp_path / "one") as first, ComfyServer(tmp_path / "two") as second:
        for server in (first, second):
            server.hold()
        yield first, second


def multi_server(*urls):
    servers = [ComfyUI(url, identity="home", label=f"home/{number}") for number, url in enumerate(urls, 1)]
    return ComfyUICluster(servers, identity="home", label="home")


@pytest.fixture
def service(pair):
    multi = multi_server(*(server.url for server in pair))
    yield multi
    multi.close()


def submission(color=0):
    return Submission(token=str(uuid.uuid4()), workflow_id=None, params={}, graph=empty_image(color))


def counts(pair):
    return [len(server.queue.listed()["queue_pending"]) for server in pair]


def test_the_next_run_goes_to_the_server_with_the_fewest_runs(service, pair):
    outcomes = [service.submit(submission(color)) for color in range(5)]
    assert [outcome.label for outcome in outcomes] == ["home/1", "home/2", "home/1", "home/2", "home/1"]
    assert counts(pair) == [3, 2]
    assert service.cancel(outcomes[0].run_id)
    assert service.check(outcomes[0].run_id).status is Status.CANCELLED
    service.cancel(outcomes[2].run_id)
    service.check(outcomes[2].run_id)
    assert service.submit(submission(9)).label == "home/1"


def test_the_initial_limit_is_the_sum_of_the_servers_limits(service, pair):
    assert service.starts_with == 4
    assert service.origins == {server.url for server in pair}
    assert service.on_loopback


@pytest.mark.usefixtures("one_retry")
def test_unreachable_server_is_skipped_and_no_run_is_submitted_twice(pair):
    first, _ = pair
    service = multi_server(f"http://127.0.0.1:{closed_port()}", first.url)
    for color in range(3):
        assert service.submit(submission(color)).label == "home/2"
    assert first.requests_to("POST", "/prompt") == 3
    service.check_access()
    assert service.last_graph() is None
    service.close()


@pytest.mark.usefixtures("one_retry")
def test_if_all_servers_are_unreachable_the_submit_is_rejected():
    service = multi_server(*(f"http://127.0.0.1:{closed_port()}" for _ in range(2)))
    outcome = service.submit(submission())
    assert isinstance(outcome, Rejected)
    assert outcome.may_retry
    with pytest.raises(UnreachableError):
        service.graph_fields(Graph(empty_image()))
    with pytest.raises(UnreachableError):
        service.upload("a.png", b"x")
    service.close()


def test_rejected_run_is_not_submitted_to_another_server(service, pair):
    wrong = Submission(token="t", workflow_id=None, params={}, graph={"1": empty_image()["1"]})
    assert isinstance(service.submit(wrong), Rejected)
    assert sum(server.requests_to("POST", "/prompt") for server in pair) == 1


def test_run_of_an_unknown_server_is_requested_from_all_servers(service, pair):
    _, second = pair
    alone = ComfyUI(second.url, identity="home", label="home")
    request = submission()
    assert isinstance(alone.submit(request), Accepted)
    assert service.check(request.token).status is Status.PENDING
    assert service.cancel(request.token)
    assert counts(pair) == [0, 0]
    with pytest.raises(NotFoundError):
        service.check(str(uuid.uuid4()))
    alone.close()


def test_a_dead_server_counts_only_its_active_runs(pair):
    first, second = pair
    service = multi_server(first.url, second.url)
    runs = [service.submit(submission(color)) for color in range(2)]
    second.close()
    with pytest.raises(UnreachableError) as caught:
        service.check(runs[1].run_id)
    assert caught.value.refused
    assert service.check(runs[0].run_id).status is Status.PENDING
    assert service.starts_with == 3  # two at the reachable server, and the run that is still tracked
    service.forget(runs[1].run_id)
    assert service.starts_with == 2
    first.close()
    with pytest.raises(UnreachableError):
        service.check(runs[0].run_id)
    service.forget(runs[0].run_id)
    assert service.starts_with == 2  # zero would prevent every later submit
    service.close()


def test_a_run_is_not_lost_while_one_server_fails_and_another_refuses_connections(pair):
    """A check of a run of an earlier kernel while one server fails and the other refuses connections."""
    first, second = pair
    service = multi_server(first.url, second.url)
    first.fail("/queue", 503)
    second.close()
    with pytest.raises(ServerError):
        service.check(str(uuid.uuid4()))
    service.close()


def test_an_image_with_different_names_on_two_servers_is_rejected(service, pair):
    first, _ = pair
    assert service.upload("same.png", b"x") == "same.png"
    (first.inputs / "other.png").write_bytes(b"of another client")
    with pytest.raises(WorkflowError, match="rename the file"):
        service.upload("other.png", b"ours")
