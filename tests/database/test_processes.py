"""Several processes that use one history, some of them killed."""

from __future__ import annotations

import time

import pytest
from history_fixtures import newest

from comflowy_nb.database.deduplication import RESPONSE_LOST
from comflowy_nb.database.runs import History
from comflowy_nb.status import Status

pytestmark = pytest.mark.slow


def finish(process, text=""):
    output, _ = process.communicate(text, timeout=90)
    return output.split()


def test_one_of_several_processes_with_the_same_request_submits_it(home, start):
    code = """
say("ready")
sys.stdin.readline()
kinds = [history.record_or_reuse(run_request(f"key{n}")).kind for n in range(40)]
say(*kinds)
sys.stdin.readline()
"""
    processes = [start(code) for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    kinds = [process.stdout.readline().split() for process in processes]
    for kinds_of_one_key in zip(*kinds, strict=True):
        assert sorted(kinds_of_one_key) == ["joined", "joined", "new"]
    for process in processes:
        assert finish(process, "end\n") == []


def test_concurrent_writes_of_two_processes_are_all_kept(home, start):
    code = """
say("ready")
sys.stdin.readline()
for n in range(100):
    token = history.record_or_reuse(run_request(f"{os.getpid()}-{n}")).record.token
    assert history.apply(token, StatusEvent.ACCEPTED, service_run_id=token)
    assert history.apply(token, StatusEvent.SEEN_SUCCESS, images=[ImageRecord(0, "9", 0)], sample_s=1.0)
    history.set_images(token, ImageRecord(0, "9", 0, "missing"))
say("done")
"""
    processes = [start(code) for _ in range(2)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [finish(process) for process in processes] == [["done"], ["done"]]
    history = History.open(home)
    records = history.search(limit=None)
    assert [record.number for record in records] == list(range(200, 0, -1))
    assert all(record.status is Status.SUCCESS and len(record.images) == 1 for record in records)
    history.close()


def test_nothing_is_recorded_after_a_kill_before_the_record(home, start, run_request):
    finish(start("die()"))
    history = History.open(home)
    assert newest(history) is None
    assert history.record_or_reuse(run_request("k")).kind == "new"
    history.close()


@pytest.mark.parametrize("fresh", [False, True])
def test_run_is_unknown_and_held_after_a_kill_before_the_response(home, start, run_request, fresh):
    finish(start('history.record_or_reuse(run_request("k")); die()'))
    history = History.open(home)
    decision = history.record_or_reuse(run_request("k"), fresh=fresh)
    assert decision.kind == "held"
    assert (decision.record.number, decision.record.status, decision.record.reason) == (
        1,
        Status.UNKNOWN,
        RESPONSE_LOST,
    )
    assert history.orphans() == []
    history.close()


def test_nothing_is_recorded_after_a_kill_within_the_transaction(home, start, run_request):
    code = """
from comflowy_nb.database import runs as module
real = module.insert_run
module.insert_run = lambda *args: (real(*args), die())
history.record_or_reuse(run_request("k"))
"""
    finish(start(code))
    history = History.open(home)
    assert history.warnings == ()
    assert newest(history) is None
    assert history.record_or_reuse(run_request("k")).kind == "new"
    history.close()


def test_run_is_adopted_after_a_kill_after_the_response(home, start, process_lock):
    code = """
token = history.record_or_reuse(run_request("k")).record.token
history.apply(token, StatusEvent.ACCEPTED, service_run_id="77")
die()
"""
    finish(start(code))
    history = History.open(home)
    (orphan,) = history.orphans("sandbox")
    assert (orphan.status, orphan.service_run_id) == (Status.WAITING, "77")
    assert history.adopt(orphan.token, process_lock.name).owner == process_lock.name
    assert history.orphans("sandbox") == []
    history.close()


def test_run_is_orphaned_after_a_kill_before_its_end_is_recorded(home, start):
    code = """
token = history.record_or_reuse(run_request("k")).record.token
history.apply(token, StatusEvent.SEEN_RUNNING, service_run_id="77")
die()
"""
    finish(start(code))
    history = History.open(home)
    assert [record.status for record in history.orphans()] == [Status.RUNNING]
    history.close()


def test_run_is_orphaned_after_a_kill_before_the_downloads(home, start):
    code = """
token = history.record_or_reuse(run_request("k")).record.token
history.apply(token, StatusEvent.SEEN_SUCCESS, service_run_id="77", images=[ImageRecord(0, "9", 0)])
die()
"""
    finish(start(code))
    history = History.open(home)
    (orphan,) = history.orphans()
    assert (orphan.status, orphan.images[0].state) == (Status.SUCCESS, "expected")
    history.close()


def test_living_process_keeps_its_runs(home, start, run_request, process_lock):
    process = start('token = history.record_or_reuse(run_request("k")).record.token; say(token); sys.stdin.read()')
    token = process.stdout.readline().strip()
    history = History.open(home)
    began_s = time.monotonic()
    assert history.record_or_reuse(run_request("k")).kind == "joined"
    assert time.monotonic() - began_s < 8, "it waited for a lock"
    assert history.adopt(token, process_lock.name) is None
    assert history.orphans() == []
    assert history.get(token).status is Status.SUBMITTING
    history.close()


def test_one_of_several_processes_adopts_a_run(home, start):
    code = """
token = history.record_or_reuse(run_request("k")).record.token
history.apply(token, StatusEvent.ACCEPTED, service_run_id="1")
die()
"""
    finish(start(code))
    code = """
token = history.recent(1)[0].token
say("ready")
sys.stdin.readline()
say("adopted" if history.adopt(token, process_lock.name) else "left")
sys.stdin.readline()
"""
    processes = [start(code) for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert sorted(process.stdout.readline().strip() for process in processes) == ["adopted", "left", "left"]
    for process in processes:
        finish(process, "end\n")
