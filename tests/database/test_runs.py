from __future__ import annotations

import threading
import time

import pytest
from history_fixtures import advance_to, newest

from comflowy_nb.database.deduplication import RESPONSE_LOST
from comflowy_nb.database.process_locks import ProcessLock
from comflowy_nb.database.records import ImageRecord
from comflowy_nb.database.runs import History
from comflowy_nb.errors import HistoryError, RefError
from comflowy_nb.services.types import Problem
from comflowy_nb.status import Status, StatusEvent, next_status


def add(history, request, *statuses, **changes):
    """Record a run and apply these statuses; `changes` are those of the last one."""
    record = history.record_or_reuse(request).record
    for position, status in enumerate(statuses):
        record = advance_to(history, record.token, status, **(changes if position == len(statuses) - 1 else {}))
    return record


def test_request_is_recorded_before_the_submit(history, run_request, process_lock):
    request = run_request(
        params={"3::seed": 2**64 - 1, "6::text": "a\x00b ☃ \ud800", "5::x": [1, {"a": None}], "4::b": True}
    )
    before = time.time()
    decision = history.record_or_reuse(request)
    record = decision.record
    assert decision.kind == "new"
    assert (record.number, record.status, record.owner, record.ref) == (1, Status.SUBMITTING, process_lock.name, "r1")
    assert dict(record.params) == request.params
    assert list(record.params) == list(request.params)
    assert record.set_params == ("3::cfg", "6::text")
    assert before <= record.created_at <= time.time()
    assert history.get(request.token) == record == history.by_number(1) == newest(history)


def test_live_run_is_joined_and_a_success_is_reused(history, run_request):
    first = history.record_or_reuse(run_request()).record
    assert history.record_or_reuse(run_request()).kind == "joined"
    history.apply(first.token, StatusEvent.ACCEPTED, service_run_id="a")
    assert history.record_or_reuse(run_request(), fresh=True).kind == "joined"
    history.apply(first.token, StatusEvent.SEEN_SUCCESS)
    again = history.record_or_reuse(run_request())
    assert (again.kind, again.record.number) == ("same", 1)
    fresh = history.record_or_reuse(run_request(), fresh=True)
    assert (fresh.kind, fresh.record.number) == ("new", 2)
    assert history.record_or_reuse(run_request("another key")).kind == "new"


def test_unknown_run_is_submitted_again_only_with_retry_unknown(history, run_request):
    first = add(history, run_request(), Status.UNKNOWN, reason="the connection broke")
    decision = history.record_or_reuse(run_request(), fresh=True)
    assert (decision.kind, decision.record.token, decision.record.reason) == (
        "held",
        first.token,
        "the connection broke",
    )
    assert history.record_or_reuse(run_request(), retry="unknown").kind == "new"


def test_statuses_only_move_forward(history, run_request):
    record = history.record_or_reuse(run_request()).record
    accepted = history.apply(record.token, StatusEvent.SEEN_RUNNING, service_run_id="77", service_status="executing")
    assert (accepted.service_run_id, accepted.service_status) == ("77", "executing")
    assert accepted.accepted_at is not None
    assert history.apply(record.token, StatusEvent.ACCEPTED) is None
    assert history.apply(record.token, StatusEvent.REJECTED) is None
    assert history.apply(record.token, StatusEvent.SEEN_RUNNING) is None
    problem = Problem("no such file", "4", "CheckpointLoaderSimple", "4::ckpt_name")
    failed = history.apply(record.token, StatusEvent.SEEN_FAILED, problem=problem, warning="odd")
    assert (failed.problem, failed.warning, failed.service_run_id) == (problem, "odd", "77")
    assert failed.finished_at is not None
    assert history.apply(record.token, StatusEvent.SEEN_SUCCESS) is None
    assert history.get(record.token) == failed
    assert history.apply("no such token", StatusEvent.SEEN_SUCCESS) is None


@pytest.mark.parametrize("status", Status)
def test_history_follows_the_table_of_transitions(history, run_request, status):
    for event in StatusEvent:
        record = history.record_or_reuse(run_request(f"{status} {event}")).record
        advance_to(history, record.token, status)
        after = history.apply(record.token, event)
        assert (None if after is None else after.status) is next_status(status, event)
        assert history.get(record.token).status is (next_status(status, event) or status)


def test_reason_is_dropped_with_its_status(history, run_request):
    record = add(history, run_request(), Status.UNKNOWN, reason="the answer was lost")
    assert record.reason == "the answer was lost"
    changed = history.apply(record.token, StatusEvent.ACCEPTED, service_run_id="12")
    assert (changed.reason, changed.finished_at) == (None, None)


def test_images_are_recorded_with_the_success(history, run_request):
    expected = (ImageRecord(0, "9", 0), ImageRecord(1, None, 0))
    record = add(history, run_request(), Status.RUNNING, Status.SUCCESS, images=expected)
    assert record.images == expected
    assert not record.is_settled
    on_disk = ImageRecord(0, "9", 0, "kept", "2026-01/x_0.png", "ab", 12, 3, 4, "PNG")
    record = history.set_images(record.token, on_disk)
    missing = ImageRecord(1, None, 0, "missing", error="cut \udc80 short")
    record = history.set_images(record.token, missing)
    assert record.images[0] == on_disk
    assert record.images[1].error == r"cut \udc80 short"
    assert record.is_settled


def test_image_on_disk_stays_kept_after_a_failed_download_of_another_process(history, run_request, home):
    record = add(history, run_request(), Status.RUNNING, Status.SUCCESS, images=(ImageRecord(0, "9", 0),))
    on_disk = ImageRecord(0, "9", 0, "kept", "2026-01/x_0.png", "ab", 12, 3, 4, "PNG")
    history.set_images(record.token, on_disk)
    file = home / "images" / "2026-01" / "x_0.png"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"there")
    missing = ImageRecord(0, "9", 0, "missing", error="connection broke")
    assert history.set_images(record.token, missing).images == (on_disk,)
    file.unlink()
    assert history.set_images(record.token, missing).images == (missing,)


def test_several_images_are_written_in_one_call(history, run_request):
    expected = [ImageRecord(index, "9", index) for index in range(3)]
    record = add(history, run_request(), Status.SUCCESS, images=expected)
    missing = [ImageRecord(index, "9", index, "missing") for index in (0, 2)]
    assert history.set_images(record.token, *missing).images == (missing[0], expected[1], missing[1])


def test_image_of_an_unknown_run_is_an_error(history):
    with pytest.raises(HistoryError, match="no such run"):
        history.set_images("none", ImageRecord(0, "9", 0))


def test_unique_prefix_of_a_service_id_finds_the_run(history, run_request):
    for key, service_id in (("a", "abc-1"), ("b", "abc-12"), ("c", "xyz_%")):
        add(history, run_request(key), Status.WAITING, service_run_id=service_id)
    assert history.by_service_id("x").number == 3
    assert history.by_service_id("abc-1").number == 1  # a complete id, although another id begins with it
    assert history.by_service_id("abc-12").number == 2
    assert history.by_service_id("%") is None
    assert history.by_service_id("ABC") is None
    assert history.by_service_id("") is None
    with pytest.raises(RefError, match=r"r2 \(abc-12\), r1 \(abc-1\)"):
        history.by_service_id("ab")


def test_a_name_refers_to_the_newest_run_with_it(history, run_request):
    history.record_or_reuse(run_request("a", name="best"))
    history.record_or_reuse(run_request("b"))
    assert history.by_name("best").number == 1
    assert history.record_or_reuse(run_request("b", name="best")).record.name == "best"
    assert history.by_name("best").number == 2
    history.record_or_reuse(run_request("a", name="best"))
    assert history.by_name("best").number == 1
    history.record_or_reuse(run_request("a", name="other"))
    assert history.by_name("best").number == 1
    assert history.by_name("missing") is None


def test_reused_run_gets_the_name_of_the_request(history, run_request):
    record = add(history, run_request(), Status.SUCCESS)
    decision = history.record_or_reuse(run_request(name="mine"))
    assert (decision.kind, decision.record.name) == ("same", "mine")
    assert history.by_name("mine").token == record.token


def test_held_run_keeps_its_name(history, run_request):
    add(history, run_request(), Status.UNKNOWN)
    assert history.record_or_reuse(run_request(name="mine")).kind == "held"
    assert history.by_name("mine") is None


@pytest.mark.parametrize("name", ["last", "r1", "s12", "1a", "a b", "", "for", "a-b", "last~1"])
def test_an_invalid_name_is_rejected(history, run_request, name):
    with pytest.raises(RefError, match="can't be a name"):
        history.record_or_reuse(run_request(name=name))
    assert newest(history) is None


def test_last_counts_back_and_skips_excluded_tokens(history, run_request):
    tokens = [history.record_or_reuse(run_request(str(n))).record.token for n in range(4)]
    assert history.last(back=1) == tokens[2]
    assert history.last(without=tokens[2:]) == tokens[1]
    assert history.last(back=4) is None


def test_equal_graphs_are_stored_once(history, run_request, home):
    graph = {"3": {"class_type": "KSampler", "inputs": {"text": "☃"}}}
    first = history.record_or_reuse(run_request("a", graph=graph)).record
    second = history.record_or_reuse(run_request("b", graph=dict(graph))).record
    without_graph = history.record_or_reuse(run_request("c")).record
    assert history.graph(first.token) == graph == history.graph(second.token)
    assert history.graph(without_graph.token) is None
    with history._store.read() as connection:
        assert connection.execute("SELECT count(*) FROM graphs").fetchone()[0] == 1


def test_submit_of_a_dead_process_is_unknown_for_the_next_identical_request(history, run_request, home):
    dead_process = ProcessLock(home / "locks")
    record = history.record_or_reuse(run_request(owner=dead_process.name)).record
    assert history.record_or_reuse(run_request()).kind == "joined"
    dead_process.release()
    decision = history.record_or_reuse(run_request())
    assert (decision.kind, decision.record.token) == ("held", record.token)
    assert (decision.record.status, decision.record.reason) == (Status.UNKNOWN, RESPONSE_LOST)
    assert [run.number for run in history.search("ended before")] == [1]


def test_orphaned_runs_are_the_unsettled_runs_of_dead_processes(history, run_request, home):
    dead_process = ProcessLock(home / "locks")
    running = add(history, run_request("a", owner=dead_process.name), Status.RUNNING, service_run_id="1")
    with_expected_image = add(
        history,
        run_request("b", owner=dead_process.name),
        Status.WAITING,
        Status.SUCCESS,
        images=(ImageRecord(0, "9", 0),),
    )
    done = add(history, run_request("c", owner=dead_process.name), Status.SUCCESS)
    submitting = add(history, run_request("d", owner=dead_process.name))
    of_another_service = add(
        history, run_request("e", owner=dead_process.name, identity="cloud"), Status.WAITING, service_run_id="2"
    )
    of_this_process = add(history, run_request("f"), Status.RUNNING)
    assert history.orphans() == []
    dead_process.release()
    assert [record.token for record in history.orphans("sandbox")] == [running.token, with_expected_image.token]
    assert of_another_service.token in {record.token for record in history.orphans()}
    assert history.get(submitting.token).status is Status.UNKNOWN
    assert history.get(done.token).status is Status.SUCCESS
    assert of_this_process.token not in {record.token for record in history.orphans()}


def test_run_of_a_dead_process_is_adopted_once(history, run_request, home, process_lock):
    dead_process, other_process = ProcessLock(home / "locks"), ProcessLock(home / "locks")
    record = add(history, run_request(owner=dead_process.name), Status.RUNNING)
    assert history.adopt(record.token, process_lock.name) is None
    dead_process.release()
    assert history.adopt(record.token, process_lock.name).owner == process_lock.name
    assert history.adopt(record.token, other_process.name) is None
    assert history.adopt(record.token, process_lock.name).owner == process_lock.name
    assert history.adopt("none", process_lock.name) is None
    other_process.release()


def test_adopted_run_without_a_response_is_unknown(history, run_request, home, process_lock):
    dead_process = ProcessLock(home / "locks")
    record = history.record_or_reuse(run_request(owner=dead_process.name)).record
    dead_process.release()
    adopted = history.adopt(record.token, process_lock.name)
    assert (adopted.status, adopted.owner) == (Status.UNKNOWN, process_lock.name)


def test_threads_share_one_history(home, history, run_request):
    """One thread gets `new` for the shared key; every other key gets a new number."""
    kinds, errors = [], []
    start = threading.Barrier(12)

    def work(n):
        try:
            start.wait()
            kinds.append(history.record_or_reuse(run_request("shared")).kind)
            for count in range(20):
                record = history.record_or_reuse(run_request(f"{n}-{count}")).record
                history.apply(record.token, StatusEvent.ACCEPTED, service_run_id=f"id{n}-{count}")
                history.search(limit=3)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert sorted(kinds) == ["joined"] * 11 + ["new"]
    assert newest(history).number == 12 * 20 + 1


def test_interrupt_within_a_write_leaves_no_lock(history, run_request, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("comflowy_nb.database.runs.put_name", interrupt)
        with pytest.raises(KeyboardInterrupt):
            history.record_or_reuse(run_request(name="best"))
    assert newest(history) is None
    assert history.record_or_reuse(run_request()).kind == "new"


def test_numbers_are_never_reused(home, history, run_request):
    record = history.record_or_reuse(run_request()).record
    with history._store.write() as connection:
        connection.execute("DELETE FROM runs WHERE number = ?", (record.number,))
    assert history.record_or_reuse(run_request()).record.number == 2


def test_closed_history_is_an_error(home):
    history = History.open(home)
    history.close()
    with pytest.raises(HistoryError, match="closed"):
        newest(history)
