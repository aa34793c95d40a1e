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
    with ComfyServer(tmp_path / "one") as one, ComfyServer(tmp_path / "two") as two:
        for server in (one, two):
            server.hold()
        yield one, two


def several(*urls):
    servers = [ComfyUI(url, identity="home", label=f"home/{number}") for number, url in enumerate(urls, 1)]
    return ComfyUICluster(servers, identity="home", label="home")


@pytest.fixture
def service(pair):
    made = several(*(server.url for server in pair))
    yield made
    made.close()


def submission(color=0):
    return Submission(token=str(uuid.uuid4()), workflow_id=None, params={}, graph=empty_image(color))


def counts(pair):
    return [len(server.queue.listed()["queue_pending"]) for server in pair]


def test_the_next_run_goes_to_the_server_with_the_fewest_runs(service, pair):
    outcomes = [service.submit(submission(color)) for color in range(5)]
    assert [outcome.server.label for outcome in outcomes] == ["home/1", "home/2", "home/1", "home/2", "home/1"]
    assert counts(pair) == [3, 2]
    assert service.cancel(outcomes[0].run_id)
    assert service.check(outcomes[0].run_id).status is Status.CANCELLED
    service.cancel(outcomes[2].run_id)
    service.check(outcomes[2].run_id)
    assert service.submit(submission(9)).server.label == "home/1"


def test_the_initial_limit_is_the_sum_of_the_servers_limits(service, pair):
    assert service.starts_with == 4
    assert service.origins == {server.url for server in pair}
    assert service.on_loopback


def test_an_unreachable_server_is_skipped_and_no_run_is_submitted_twice(pair):
    one, _ = pair
    service = several(f"http://127.0.0.1:{closed_port()}", one.url)
    for color in range(3):
        assert service.submit(submission(color)).server.label == "home/2"
    assert one.requests_to("POST", "/prompt") == 3
    service.greet()
    assert service.last_graph() is None
    service.close()


def test_if_all_servers_are_unreachable_the_submit_is_rejected():
    service = several(*(f"http://127.0.0.1:{closed_port()}" for _ in range(2)))
    outcome = service.submit(submission())
    assert isinstance(outcome, Rejected)
    assert outcome.again
    with pytest.raises(UnreachableError):
        service.graph_fields(Graph(empty_image()))
    with pytest.raises(UnreachableError):
        service.upload("a.png", b"x")
    service.close()


def test_a_rejection_is_not_tried_at_another_server(service, pair):
    wrong = Submission(token="t", workflow_id=None, params={}, graph={"1": empty_image()["1"]})
    assert isinstance(service.submit(wrong), Rejected)
    assert sum(server.requests_to("POST", "/prompt") for server in pair) == 1


def test_a_run_of_an_unknown_server_is_looked_up_at_all_servers(service, pair):
    _, two = pair
    alone = ComfyUI(two.url, identity="home", label="home")
    sent = submission()
    assert isinstance(alone.submit(sent), Accepted)
    assert service.check(sent.token).status is Status.PENDING
    assert service.cancel(sent.token)
    assert counts(pair) == [0, 0]
    with pytest.raises(NotFoundError):
        service.check(str(uuid.uuid4()))
    alone.close()


def test_a_dead_server_counts_only_its_active_runs(pair):
    one, two = pair
    service = several(one.url, two.url)
    runs = [service.submit(submission(color)) for color in range(2)]
    two.close()
    with pytest.raises(UnreachableError) as caught:
        service.check(runs[1].run_id)
    assert caught.value.refused
    assert service.check(runs[0].run_id).status is Status.PENDING
    assert service.starts_with == 3  # two at the reachable server, and the run that is still followed
    service.forget(runs[1].run_id)
    assert service.starts_with == 2
    one.close()
    with pytest.raises(UnreachableError):
        service.check(runs[0].run_id)
    service.forget(runs[0].run_id)
    assert service.starts_with == 2  # zero would prevent every later submit
    service.close()


def test_a_run_is_not_lost_while_one_server_fails_and_another_refuses_connections(pair):
    """A check of a run of an earlier kernel while one server fails and the other refuses connections."""
    one, two = pair
    service = several(one.url, two.url)
    one.fail("/queue", 503)
    two.close()
    with pytest.raises(ServerError):
        service.check(str(uuid.uuid4()))
    service.close()


def test_an_image_with_different_names_on_two_servers_is_rejected(service, pair):
    one, _ = pair
    assert service.upload("same.png", b"x") == "same.png"
    (one.inputs / "other.png").write_bytes(b"of another client")
    with pytest.raises(WorkflowError, match="rename the file"):
        service.upload("other.png", b"ours")
