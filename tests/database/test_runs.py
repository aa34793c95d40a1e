from __future__ import annotations

import threading
import time

import pytest
from history_fixtures import bring, newest

from comflowy_nb.database.deduplication import RESPONSE_LOST
from comflowy_nb.database.process_locks import ProcessLock
from comflowy_nb.database.records import ImageRecord
from comflowy_nb.database.runs import History
from comflowy_nb.errors import HistoryError, RefError
from comflowy_nb.services.types import Problem
from comflowy_nb.status import Status, StatusEvent, next_status


def add(history, wanted, *moves, **changes):
    """Claim a run and apply these statuses; the changes belong to the last one."""
    record = history.record_or_reuse(wanted).record
    for position, status in enumerate(moves):
        record = bring(history, record.token, status, **(changes if position == len(moves) - 1 else {}))
    return record


def test_request_is_recorded_before_the_submit(history, intent, owner):
    wanted = intent(params={"3::seed": 2**64 - 1, "6::text": "a\x00b ☃ \ud800", "5::x": [1, {"a": None}], "4::b": True})
    before = time.time()
    claim = history.record_or_reuse(wanted)
    record = claim.record
    assert claim.kind == "new"
    assert (record.number, record.status, record.owner, record.ref) == (1, Status.SUBMITTING, owner.name, "r1")
    assert dict(record.params) == wanted.params
    assert list(record.params) == list(wanted.params)
    assert record.set_params == ("3::cfg", "6::text")
    assert before <= record.created_at <= time.time()
    assert history.get(wanted.token) == record == history.by_number(1) == newest(history)


def test_live_run_is_joined_and_a_success_is_reused(history, intent):
    first = history.record_or_reuse(intent()).record
    assert history.record_or_reuse(intent()).kind == "joined"
    history.apply(first.token, StatusEvent.ACCEPTED, service_run_id="a")
    assert history.record_or_reuse(intent(), fresh=True).kind == "joined"
    history.apply(first.token, StatusEvent.SEEN_SUCCESS)
    again = history.record_or_reuse(intent())
    assert (again.kind, again.record.number) == ("same", 1)
    fresh = history.record_or_reuse(intent(), fresh=True)
    assert (fresh.kind, fresh.record.number) == ("new", 2)
    assert history.record_or_reuse(intent("another key")).kind == "new"


def test_unknown_run_is_submitted_again_only_with_retry_unknown(history, intent):
    first = add(history, intent(), Status.UNKNOWN, reason="the connection broke")
    held = history.record_or_reuse(intent(), fresh=True)
    assert (held.kind, held.record.token, held.record.reason) == ("held", first.token, "the connection broke")
    assert history.record_or_reuse(intent(), retry="unknown").kind == "new"


def test_statuses_only_move_forward(history, intent):
    record = history.record_or_reuse(intent()).record
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
def test_history_follows_the_table_of_transitions(history, intent, status):
    for event in StatusEvent:
        record = history.record_or_reuse(intent(f"{status} {event}")).record
        bring(history, record.token, status)
        after = history.apply(record.token, event)
        assert (None if after is None else after.status) is next_status(status, event)
        assert history.get(record.token).status is (next_status(status, event) or status)


def test_reason_is_dropped_with_its_status(history, intent):
    record = add(history, intent(), Status.UNKNOWN, reason="the answer was lost")
    assert record.reason == "the answer was lost"
    found = history.apply(record.token, StatusEvent.ACCEPTED, service_run_id="12")
    assert (found.reason, found.finished_at) == (None, None)


def test_images_are_recorded_with_the_success(history, intent):
    owed = (ImageRecord(0, "9", 0), ImageRecord(1, None, 0))
    record = add(history, intent(), Status.RUNNING, Status.SUCCESS, images=owed)
    assert record.images == owed
    assert not record.is_settled
    kept = ImageRecord(0, "9", 0, "kept", "2026-01/x_0.png", "ab", 12, 3, 4, "PNG")
    record = history.set_images(record.token, kept)
    gone = ImageRecord(1, None, 0, "missing", error="cut \udc80 short")
    record = history.set_images(record.token, gone)
    assert record.images[0] == kept
    assert record.images[1].error == r"cut \udc80 short"
    assert record.is_settled


def test_image_on_disk_is_not_given_up_after_a_failure_of_another_process(history, intent, home):
    record = add(history, intent(), Status.RUNNING, Status.SUCCESS, images=(ImageRecord(0, "9", 0),))
    kept = ImageRecord(0, "9", 0, "kept", "2026-01/x_0.png", "ab", 12, 3, 4, "PNG")
    history.set_images(record.token, kept)
    file = home / "images" / "2026-01" / "x_0.png"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"there")
    missing = ImageRecord(0, "9", 0, "missing", error="connection broke")
    assert history.set_images(record.token, missing).images == (kept,)
    file.unlink()
    assert history.set_images(record.token, missing).images == (missing,)


def test_images_are_written_together(history, intent):
    owed = [ImageRecord(index, "9", index) for index in range(3)]
    record = add(history, intent(), Status.SUCCESS, images=owed)
    missing = [ImageRecord(index, "9", index, "missing") for index in (0, 2)]
    assert history.set_images(record.token, *missing).images == (missing[0], owed[1], missing[1])


def test_image_of_an_unknown_run_is_an_error(history):
    with pytest.raises(HistoryError, match="no such run"):
        history.set_images("none", ImageRecord(0, "9", 0))


def test_unique_prefix_of_a_service_id_finds_the_run(history, intent):
    for key, service_id in (("a", "abc-1"), ("b", "abc-12"), ("c", "xyz_%")):
        add(history, intent(key), Status.WAITING, service_run_id=service_id)
    assert history.by_service_id("x").number == 3
    assert history.by_service_id("abc-1").number == 1  # a whole id, although another id begins with it
    assert history.by_service_id("abc-12").number == 2
    assert history.by_service_id("%") is None
    assert history.by_service_id("ABC") is None
    assert history.by_service_id("") is None
    with pytest.raises(RefError, match=r"r2 \(abc-12\), r1 \(abc-1\)"):
        history.by_service_id("ab")


def test_a_name_refers_to_the_newest_run_with_it(history, intent):
    history.record_or_reuse(intent("a", name="best"))
    history.record_or_reuse(intent("b"))
    assert history.by_name("best").number == 1
    assert history.record_or_reuse(intent("b", name="best")).record.name == "best"
    assert history.by_name("best").number == 2
    history.record_or_reuse(intent("a", name="best"))
    assert history.by_name("best").number == 1
    history.record_or_reuse(intent("a", name="other"))
    assert history.by_name("best").number == 1
    assert history.by_name("missing") is None


def test_earlier_run_that_is_used_gets_the_name_of_the_request(history, intent):
    record = add(history, intent(), Status.SUCCESS)
    claim = history.record_or_reuse(intent(name="mine"))
    assert (claim.kind, claim.record.name) == ("same", "mine")
    assert history.by_name("mine").token == record.token


def test_held_run_keeps_its_name(history, intent):
    add(history, intent(), Status.UNKNOWN)
    assert history.record_or_reuse(intent(name="mine")).kind == "held"
    assert history.by_name("mine") is None


@pytest.mark.parametrize("name", ["last", "r1", "s12", "1a", "a b", "", "for", "a-b", "last~1"])
def test_an_invalid_name_is_rejected(history, intent, name):
    with pytest.raises(RefError, match="can't be a name"):
        history.record_or_reuse(intent(name=name))
    assert newest(history) is None


def test_last_counts_back_without_some_tokens(history, intent):
    tokens = [history.record_or_reuse(intent(str(n))).record.token for n in range(4)]
    assert history.last(back=1) == tokens[2]
    assert history.last(without=tokens[2:]) == tokens[1]
    assert history.last(back=4) is None


def test_equal_graphs_are_stored_once(history, intent, home):
    graph = {"3": {"class_type": "KSampler", "inputs": {"text": "☃"}}}
    one = history.record_or_reuse(intent("a", graph=graph)).record
    two = history.record_or_reuse(intent("b", graph=dict(graph))).record
    none = history.record_or_reuse(intent("c")).record
    assert history.graph(one.token) == graph == history.graph(two.token)
    assert history.graph(none.token) is None
    with history._store.read() as connection:
        assert connection.execute("SELECT count(*) FROM graphs").fetchone()[0] == 1


def test_submit_of_a_dead_owner_is_unknown_in_the_next_claim(history, intent, home):
    gone = ProcessLock(home / "locks")
    record = history.record_or_reuse(intent(owner=gone.name)).record
    assert history.record_or_reuse(intent()).kind == "joined"
    gone.release()
    claim = history.record_or_reuse(intent())
    assert (claim.kind, claim.record.token) == ("held", record.token)
    assert (claim.record.status, claim.record.reason) == (Status.UNKNOWN, RESPONSE_LOST)
    assert [found.number for found in history.search("ended before")] == [1]


def test_orphans_are_the_unsettled_runs_of_dead_owners(history, intent, home):
    gone = ProcessLock(home / "locks")
    live = add(history, intent("a", owner=gone.name), Status.RUNNING, service_run_id="1")
    owed = add(history, intent("b", owner=gone.name), Status.WAITING, Status.SUCCESS, images=(ImageRecord(0, "9", 0),))
    done = add(history, intent("c", owner=gone.name), Status.SUCCESS)
    sent = add(history, intent("d", owner=gone.name))
    elsewhere = add(history, intent("e", owner=gone.name, identity="cloud"), Status.WAITING, service_run_id="2")
    mine = add(history, intent("f"), Status.RUNNING)
    assert history.orphans() == []
    gone.release()
    assert [record.token for record in history.orphans("sandbox")] == [live.token, owed.token]
    assert elsewhere.token in {record.token for record in history.orphans()}
    assert history.get(sent.token).status is Status.UNKNOWN
    assert history.get(done.token).status is Status.SUCCESS
    assert mine.token not in {record.token for record in history.orphans()}


def test_run_of_a_dead_owner_is_adopted_once(history, intent, home, owner):
    gone, other = ProcessLock(home / "locks"), ProcessLock(home / "locks")
    record = add(history, intent(owner=gone.name), Status.RUNNING)
    assert history.adopt(record.token, owner.name) is None
    gone.release()
    assert history.adopt(record.token, owner.name).owner == owner.name
    assert history.adopt(record.token, other.name) is None
    assert history.adopt(record.token, owner.name).owner == owner.name
    assert history.adopt("none", owner.name) is None
    other.release()


def test_adopted_submit_is_unknown(history, intent, home, owner):
    gone = ProcessLock(home / "locks")
    record = history.record_or_reuse(intent(owner=gone.name)).record
    gone.release()
    taken = history.adopt(record.token, owner.name)
    assert (taken.status, taken.owner) == (Status.UNKNOWN, owner.name)


def test_threads_share_one_history(home, history, intent):
    """One thread gets `new` for the shared key; every other key gets a new number."""
    kinds, errors = [], []
    start = threading.Barrier(12)

    def work(n):
        try:
            start.wait()
            kinds.append(history.record_or_reuse(intent("shared")).kind)
            for m in range(20):
                record = history.record_or_reuse(intent(f"{n}-{m}")).record
                history.apply(record.token, StatusEvent.ACCEPTED, service_run_id=f"id{n}-{m}")
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


def test_interrupt_within_a_write_leaves_no_lock(history, intent, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("comflowy_nb.database.runs.put_name", interrupt)
        with pytest.raises(KeyboardInterrupt):
            history.record_or_reuse(intent(name="best"))
    assert newest(history) is None
    assert history.record_or_reuse(intent()).kind == "new"


def test_numbers_are_never_reused(home, history, intent):
    record = history.record_or_reuse(intent()).record
    with history._store.write() as connection:
        connection.execute("DELETE FROM runs WHERE number = ?", (record.number,))
    assert history.record_or_reuse(intent()).record.number == 2


def test_closed_history_is_an_error(home):
    opened = History.open(home)
    opened.close()
    with pytest.raises(HistoryError, match="closed"):
        newest(opened)
