"""Sweeps in the history: their record, cells and runs, plans, names, references, generated seeds."""

from __future__ import annotations

import threading
import time
import uuid

import pytest
from history_fixtures import advance_to, each_connection, fill_disk, newest

from comflowy_nb.database.deduplication import RESPONSE_LOST
from comflowy_nb.database.process_locks import ProcessLock
from comflowy_nb.database.records import ImageRecord
from comflowy_nb.database.runs import History
from comflowy_nb.errors import HistoryError, RefError
from comflowy_nb.status import Status, StatusEvent
from comflowy_nb.workflow.images import InputImage


@pytest.fixture
def sweeps(history):
    return history.sweeps


@pytest.fixture
def enter(sweeps, sweep_request, cells):
    """Return a function: `enter(3, fresh=True)` records a sweep of three cells with the keys k1 to k3."""
    return lambda count, **changes: sweeps.record_or_update(sweep_request(**changes), cells(count))


@pytest.fixture
def make_run(history, run_request):
    """Return a function: `make_run("k1", Status.SUCCESS, ...)` records a run with that key and status."""

    def make(key, status, **changes):
        record = history.record_or_reuse(run_request(key, **changes), fresh=True).record
        return advance_to(history, record.token, status)

    return make


def kinds(decisions):
    return [None if decision is None else decision.kind for decision in decisions.values()]


def seeds_of(history, keys):
    return {key: seed for key in keys if (seed := history.seeds.get(key)) is not None}


def linked(sweeps, sweep):
    return {cell.number: cell.run.number for cell in sweeps.cells(sweep.token) if cell.run is not None}


# -- record ----------------------------------------------------------------------------------------------------


def test_sweep_is_recorded_before_the_submits(sweeps, sweep_request, cells):
    before = time.time()
    request = sweep_request(spec={"axes": ["day ☃ \ud800"], "layout": {"x": "cfg", "y": None}})
    sweep = sweeps.record_or_update(request, cells(3))
    assert (sweep.token, sweep.number, sweep.ref, sweep.count) == (request.token, 1, "s1", 3)
    assert sweep.spec == request.spec
    assert (sweep.identity, sweep.service, sweep.workflow, sweep.workflow_id) == ("sandbox",) * 2 + ("default",) * 2
    assert (sweep.fresh, sweep.ended_at, sweep.name) == (False, None, None)
    assert before <= sweep.created_at <= time.time()
    assert "127.0.0.1" not in repr(sweep)
    recorded = sweeps.cells(sweep.token)
    assert [(cell.number, cell.at, dict(cell.params), cell.key) for cell in recorded] == cells(3)
    assert [cell.run for cell in recorded] == [None] * 3


def test_identical_sweep_has_the_same_number(sweeps, sweep_request, cells):
    first = sweeps.record_or_update(sweep_request(), cells(3))
    assert sweeps.record_or_update(sweep_request(), cells(3)) == first
    assert sweeps.record_or_update(sweep_request("another"), cells(3)).number == 2
    assert sweeps.record_or_update(sweep_request(identity="cloud"), cells(3)).number == 3
    sweeps.end(first.token)
    assert sweeps.get(first.token).ended_at is not None
    assert sweeps.record_or_update(sweep_request(), cells(3)).number == 1
    assert [sweep.number for sweep in sweeps.recent()] == [3, 2, 1]
    assert [sweep.number for sweep in sweeps.recent(limit=1)] == [3]
    assert newest(sweeps).number == 3


def test_fresh_sweep_is_continued_until_it_has_ended(sweeps, sweep_request, cells):
    sweeps.record_or_update(sweep_request(), cells(3))
    fresh = sweeps.record_or_update(sweep_request(fresh=True), cells(3))
    assert (fresh.number, fresh.fresh) == (2, True)
    assert sweeps.record_or_update(sweep_request(fresh=True), cells(3)) == fresh
    assert sweeps.record_or_update(sweep_request(), cells(3)) == fresh
    sweeps.end(fresh.token)
    ended = sweeps.get(fresh.token)
    sweeps.end(fresh.token)
    assert sweeps.get(fresh.token) == ended
    assert sweeps.record_or_update(sweep_request(fresh=True), cells(3)).number == 3
    assert sweeps.record_or_update(sweep_request(), cells(3)).number == 3


def test_continued_fresh_sweep_keeps_its_cells_and_seeds(sweeps, history, sweep_request, cells):
    """A fresh sweep generates its seeds at its start; other seeds would make other requests."""
    fresh = sweeps.record_or_update(sweep_request(fresh=True), cells(2, "drawn"), seeds={"a": 1})
    again = sweeps.record_or_update(sweep_request(fresh=True), cells(2, "drawn-again"), seeds={"a": 2, "b": 3})
    assert again == fresh
    assert [cell.key for cell in sweeps.cells(fresh.token)] == ["drawn1", "drawn2"]
    assert seeds_of(history, "ab") == {"a": 1}


def test_same_returns_the_sweep_that_enter_would_reuse(sweeps, sweep_request, cells):
    assert sweeps.find_same("sandbox", "sk", fresh=False) is None
    first = sweeps.record_or_update(sweep_request(), cells(1))
    assert sweeps.find_same("sandbox", "sk", fresh=False) == first
    assert sweeps.find_same("cloud", "sk", fresh=False) is None
    assert sweeps.find_same("sandbox", "sk", fresh=True) is None
    fresh = sweeps.record_or_update(sweep_request(fresh=True), cells(1))
    assert sweeps.find_same("sandbox", "sk", fresh=True) == fresh
    sweeps.end(fresh.token)
    assert sweeps.find_same("sandbox", "sk", fresh=True) is None


def test_entering_a_sweep_again_updates_its_spec_and_order(sweeps, sweep_request, cells, run_request, history):
    """A sweep with its values in another order is the same sweep, and its cells keep their runs."""
    first = sweeps.record_or_update(sweep_request(spec={"layout": {"x": "cfg"}}), cells(3))
    record = history.record_or_reuse(run_request("k1", cell=(first.token, 1))).record
    reversed_cells = [(number, at, *cells(3)[3 - number][2:]) for number, at, _, _ in cells(3)]
    again = sweeps.record_or_update(sweep_request(spec={"layout": {"x": "seed"}}), reversed_cells)
    assert (again.number, again.spec) == (1, {"layout": {"x": "seed"}})
    assert [cell.key for cell in sweeps.cells(first.token)] == ["k3", "k2", "k1"]
    assert linked(sweeps, first) == {3: record.number}


def test_image_in_the_params_is_stored_by_its_content(sweeps, sweep_request):
    image = InputImage("photo.png", "ab" * 32, bytes)
    sweep = sweeps.record_or_update(sweep_request(), [(1, (0,), {"10::image": image, "3::seed": 2**64 - 1}, "k")])
    (cell,) = sweeps.cells(sweep.token)
    assert cell.params == {"10::image": {"image": "photo.png", "sha256": "ab" * 32}, "3::seed": 2**64 - 1}


# -- cells --------------------------------------------------------------------------------------------------------


def test_record_or_reuse_for_a_cell_links_the_run(history, enter, run_request, make_run):
    earlier = make_run("k2", Status.SUCCESS)
    unknown = make_run("k3", Status.UNKNOWN)
    sweep = enter(4)
    decisions = [history.record_or_reuse(run_request(f"k{n}", cell=(sweep.token, n))) for n in (1, 2, 3)]
    assert [decision.kind for decision in decisions] == ["new", "same", "held"]
    assert linked(history.sweeps, sweep) == {1: 3, 2: earlier.number, 3: unknown.number}
    changed = history.apply(
        decisions[0].record.token, StatusEvent.SEEN_SUCCESS, images=[ImageRecord(0, "9", 0, "missing")]
    )
    assert history.sweeps.cells(sweep.token)[0].run == changed == history.sweeps.cell(sweep.token, 1).run
    assert history.sweeps.cell(sweep.token, 4).run is None
    assert history.sweeps.cell(sweep.token, 5) is None


def test_cell_that_is_submitted_again_has_its_newest_run(sweeps, history, sweep_request, cells, run_request):
    sweep = sweeps.record_or_update(sweep_request(), cells(1))
    first = history.record_or_reuse(run_request("k1", cell=(sweep.token, 1))).record
    history.apply(first.token, StatusEvent.SEEN_FAILED)
    second = history.record_or_reuse(run_request("k1", cell=(sweep.token, 1))).record
    assert second.number != first.number
    assert sweeps.cell(sweep.token, 1).run == second


def test_runs_of_several_cells_are_set_in_one_call(sweeps, sweep_request, cells, make_run):
    runs = {n: make_run(f"k{n}", Status.SUCCESS) for n in (1, 3)}
    sweep = sweeps.record_or_update(sweep_request(), cells(3))
    sweeps.set_cells(sweep.token, {n: run.token for n, run in runs.items()})
    assert linked(sweeps, sweep) == {1: 1, 3: 2}
    sweeps.set_cells(sweep.token, {3: runs[1].token})
    assert linked(sweeps, sweep) == {1: 1, 3: 1}


@pytest.mark.parametrize(("token", "number"), [("missing", 1), (None, 9)])
def test_unknown_cell_is_an_error_and_nothing_is_recorded(history, enter, run_request, token, number):
    sweep = enter(2)
    with pytest.raises(HistoryError, match="no such cell"):
        history.record_or_reuse(run_request("k1", cell=(token or sweep.token, number)))
    assert newest(history) is None
    with pytest.raises(HistoryError, match="no such cell"):
        history.sweeps.set_cells(sweep.token, {1: "run", 9: "run"})
    assert linked(history.sweeps, sweep) == {}


def test_a_fresh_sweep_submits_no_cell_twice(history, enter, run_request, make_run):
    """A continued fresh sweep reuses only successes of its cells, because `--fresh` ignores earlier ones."""
    old = make_run("k1", Status.SUCCESS)
    make_run("k2", Status.SUCCESS)
    sweep = enter(2, fresh=True)
    first = history.record_or_reuse(run_request("k1", cell=(sweep.token, 1)), fresh=True)
    assert (first.kind, first.record.number) == ("new", 3)
    history.apply(first.record.token, StatusEvent.SEEN_SUCCESS)
    assert first.record.number != old.number

    sweep = enter(2, fresh=True)  # continued after a killed kernel
    assert kinds(history.sweeps.peek(["k1", "k2"], fresh=True, sweep=sweep.token)) == ["same", "new"]
    assert kinds(history.sweeps.peek(["k1", "k2"], fresh=True)) == ["new", "new"]
    again = history.record_or_reuse(run_request("k1", cell=(sweep.token, 1)), fresh=True)
    assert (again.kind, again.record.number) == ("same", 3)
    assert history.record_or_reuse(run_request("k2", cell=(sweep.token, 2)), fresh=True).kind == "new"
    assert history.record_or_reuse(run_request("k1"), fresh=True).kind == "new"  # not for a cell of the sweep


def test_fresh_sweep_does_not_reuse_an_older_success_that_its_cell_shows(history, enter, run_request, make_run):
    old = make_run("k1", Status.SUCCESS)
    sweep = enter(1, fresh=True)
    history.sweeps.set_cells(sweep.token, {1: old.token})
    assert history.record_or_reuse(run_request("k1", cell=(sweep.token, 1)), fresh=True).kind == "new"


# -- plans --------------------------------------------------------------------------------------------------------


def test_peek_decides_like_record_or_reuse_and_writes_nothing(history, sweeps, make_run, run_request, process_lock):
    statuses = {status: make_run(f"{status}", status) for status in Status}
    keys = [*map(str, Status), "never"]
    for fresh in (False, True):
        for retry in ("failed", "unknown", "all", "none"):
            decisions = sweeps.peek(keys, fresh=fresh, retry=retry)
            assert list(decisions) == keys
            assert decisions["never"] is None
            for status, record in statuses.items():
                assert decisions[str(status)].record == record
    assert newest(history).number == len(statuses)
    for fresh in (False, True):
        for retry in ("none", "failed", "unknown", "all"):
            for status in Status:
                decisions = sweeps.peek([str(status)], fresh=fresh, retry=retry)[str(status)]
                assert (
                    history.record_or_reuse(run_request(str(status)), fresh=fresh, retry=retry).kind == decisions.kind
                )


def test_peek_counts_the_submit_of_a_dead_kernel_as_unknown(history, sweeps, run_request, home):
    dead = ProcessLock(home / "locks")
    record = history.record_or_reuse(run_request("k", owner=dead.name)).record
    assert sweeps.peek(["k"])["k"].kind == "joined"
    dead.release()
    decision = sweeps.peek(["k"])["k"]
    assert (decision.kind, decision.record.status, decision.record.reason) == ("held", Status.UNKNOWN, RESPONSE_LOST)
    assert sweeps.peek(["k"], retry="unknown")["k"].kind == "new"
    assert history.get(record.token).status is Status.SUBMITTING


def test_peek_returns_the_run_that_the_decision_is_based_on(sweeps, make_run):
    success = make_run("k", Status.SUCCESS)
    failed = make_run("k", Status.FAILED)
    assert sweeps.peek(["k"])["k"].record == success
    again = sweeps.peek(["k"], fresh=True)["k"]
    assert (again.kind, again.record) == ("new", failed)


def test_peek_returns_a_repeated_key_once(sweeps, make_run):
    make_run("k", Status.SUCCESS)
    assert kinds(sweeps.peek(["k", "other", "k"])) == ["same", None]
    assert sweeps.peek([]) == {}


# -- names and references -----------------------------------------------------------------------------------------


def test_runs_and_sweeps_share_their_names(history, sweeps, sweep_request, cells, run_request):
    run = history.record_or_reuse(run_request("a", name="best")).record
    sweep = sweeps.record_or_update(sweep_request(name="best"), cells(1))
    assert sweep.name == "best"
    assert (history.by_name("best"), sweeps.by_name("best")) == (None, sweep)
    history.record_or_reuse(run_request("a", name="best"))
    assert (history.by_name("best").token, sweeps.by_name("best")) == (run.token, None)
    assert sweeps.record_or_update(sweep_request(name="best"), cells(1)).number == 1
    assert (history.by_name("best"), sweeps.by_name("best").number) == (None, 1)
    assert sweeps.record_or_update(sweep_request(name="other"), cells(1)).name == "other"
    assert sweeps.by_name("best").name == "other"  # the earlier name is still valid
    assert sweeps.by_name("missing") is None


def test_an_invalid_name_is_rejected_before_anything_is_recorded(sweeps, sweep_request, cells):
    for name in ("s3", "last", "two words"):
        with pytest.raises(RefError, match="can't be a name"):
            sweeps.record_or_update(sweep_request(name=name), cells(1))
    assert newest(sweeps) is None


def test_sweeps_are_found_by_token_and_number(sweeps, sweep_request, cells):
    sweep = sweeps.record_or_update(sweep_request(), cells(1))
    assert sweeps.get(sweep.token) == sweeps.by_number(1) == sweep
    assert sweeps.get("missing") is None
    assert sweeps.by_number(2) is None
    assert sweeps.by_number(2**70) is None
    assert sweeps.cells("missing") == []
    assert sweeps.cell("missing", 1) is None


@pytest.fixture
def sweep_in_history(library, sweep_request, cells, run_request):
    """Create single runs r1 and r4, and sweep s1 `bottles` of three cells, with r2 and r3 for the first two."""
    history = library.history
    history.record_or_reuse(run_request("alone"))
    sweep = history.sweeps.record_or_update(sweep_request(name="bottles"), cells(3))
    for n in (1, 2):
        record = history.record_or_reuse(run_request(f"k{n}", cell=(sweep.token, n))).record
    history.apply(record.token, StatusEvent.SEEN_SUCCESS, images=[ImageRecord(0, "9", 0), ImageRecord(1, "12:3", 0)])
    history.record_or_reuse(run_request("later"))
    return sweep


@pytest.mark.parametrize("ref", ["s1", "bottles"])
def test_sweep_is_found_by_reference(library, sweep_in_history, ref):
    result = library.find(ref)
    assert (result.sweep, result.image) == (sweep_in_history, None)
    with pytest.raises(RefError, match=r"^s1 is a sweep of 3 cells; a run of it is s1\.1$"):
        _ = result.run


def test_run_of_a_cell_and_its_images_are_found(library, sweep_in_history):
    assert library.find("s1.1").run.number == 2
    assert library.find("s1.1").sweep is None
    assert library.find("s1.2[1]").image.node == "12:3"
    assert library.find("s1.2:12:3[0]").image.record.index == 1


@pytest.mark.parametrize("name", ["bottles", "last~1"])
def test_cell_is_found_by_the_name_of_its_sweep(library, sweep_in_history, name):
    """`compare ck.1 ck.2` of the sweep `ck` failed: `ck.1` was parsed as a service's id."""
    assert library.find(f"{name}.1").run.number == 2
    assert library.find(f"{name}.2[1]").image.node == "12:3"
    assert library.find(f"{name}.2:12:3[0]").image.record.index == 1
    with pytest.raises(RefError, match=r"^s1 is a sweep of 3 cells, so there is no s1\.4$"):
        library.find(f"{name}.4")


def test_run_has_no_cells(library, run_request):
    library.history.record_or_reuse(run_request("k", name="boat"))
    for ref in ("boat.1", "last.1"):
        with pytest.raises(RefError, match="is the run r1, and only a sweep has cells"):
            library.find(ref)


def test_id_that_resembles_a_cell_reference_is_found(library, run_request):
    record = library.history.record_or_reuse(run_request("k")).record
    library.history.apply(record.token, StatusEvent.ACCEPTED, service_run_id="job.7")
    assert library.find("job.7").run.number == 1


@pytest.mark.parametrize(
    ("ref", "text"),
    [
        ("s2", "there is no sweep s2"),
        ("s99999999999999999999", "no run s9999"),
        ("s2.1", "there is no sweep s2"),
        ("s1.0", r"s1 is a sweep of 3 cells, so there is no s1\.0"),
        ("s1.4", r"s1 is a sweep of 3 cells, so there is no s1\.4"),
        ("s1.3", r"s1\.3 has no run: it was not submitted"),
        ("s1[0]", r"s1 is a sweep of 3 cells; the first image of one is s1\.1\[0\]"),
        ("bottles[0]", r"the first image of one is s1\.1\[0\]"),
        ("s1.2[7]", r"r3 has 2 images, so there is no r3\[7\]"),
    ],
)
def test_a_reference_to_a_missing_cell_is_an_error(library, sweep_in_history, ref, text):
    with pytest.raises(RefError, match=text):
        library.find(ref)


def test_last_is_a_run_or_a_sweep_and_never_a_cell(library, sweep_in_history):
    """After a restart, `last` is the newest one of the history."""
    assert [
        library.find(f"last~{count}").what.ref if count else library.find("last").run.ref for count in range(3)
    ] == [
        "r4",
        "s1",
        "r1",
    ]
    with pytest.raises(RefError, match="no run last"):
        library.find("last~3")


def test_last_prefers_the_newest_run_or_sweep_of_this_kernel(library, sweep_in_history):
    library.set_newest(library.find("r1").run)
    library.set_newest(sweep_in_history)
    assert [library.find(f"last~{count}").what.ref for count in range(3)] == ["s1", "r1", "r4"]
    library.set_newest(library.find("r1").run)
    assert [library.find(f"last~{count}").what.ref for count in range(3)] == ["r1", "s1", "r4"]


def test_run_reused_by_a_sweep_still_counts_for_last(library, sweep_in_history, run_request):
    history = library.history
    history.record_or_reuse(run_request("later", cell=(sweep_in_history.token, 3)))
    assert library.find("s1.3").run.number == 4
    assert library.find("last").run.number == 4


# -- seeds --------------------------------------------------------------------------------------------------------


def test_generated_seeds_are_stored_once(history):
    seeds = history.seeds
    assert seeds.get("a") is None
    assert seeds.store_missing({"a": 1, "b": 2**53 - 1}) == {"a": 1, "b": 2**53 - 1}
    assert seeds.store_missing({"a": 9, "c": 3}) == {"a": 1, "c": 3}
    assert seeds_of(history, "abcd") == {"a": 1, "b": 2**53 - 1, "c": 3}
    assert seeds.store_missing({}) == {}


def test_new_fresh_sweep_replaces_seeds(history, sweeps, sweep_request, cells):
    history.seeds.store_missing({"a": 1, "b": 1})
    sweeps.record_or_update(sweep_request(fresh=True), cells(1), seeds={"a": 2})
    assert seeds_of(history, "ab") == {"a": 2, "b": 1}


def test_threads_that_generate_seeds_at_the_same_time_use_the_same_seeds(history):
    seeds_by_thread = []
    start = threading.Barrier(4)

    def generate(n):
        start.wait(60)
        seeds_by_thread.append(history.seeds.store_missing({f"key{k}": n * 10_000 + k for k in range(200)}))

    threads = [threading.Thread(target=generate, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(seeds_by_thread) == 4
    assert all(seeds == seeds_by_thread[0] for seeds in seeds_by_thread)


# -- a large sweep -----------------------------------------------------------------------------------------------


def test_1000_cells_are_read_with_few_sql_statements(history, sweeps, sweep_request, run_request):
    text = "beautiful scenery nature glass bottle landscape, purple galaxy bottle, " * 5
    cells = [
        (n, (n // 40, n % 40), {"3::cfg": n / 2, "6::text": text, "3::seed": n}, f"key{n}") for n in range(1, 1001)
    ]

    sweep = sweeps.record_or_update(sweep_request(), cells)
    assert sweeps.record_or_update(sweep_request(), cells) == sweep
    with history._store.write() as connection:  # faster than 1,000 calls of record_or_reuse
        for number, _, _, key in cells:
            connection.execute(
                "INSERT INTO runs (token, identity, origin, service, workflow, params, set_params, key, status, owner, "
                "created_at, finished_at) VALUES (?, 'sandbox', 'o', 's', 'w', ?, '[]', ?, 'success', 'o', 1, 2)",
                (f"t{number}", f'{{"3::seed": {number}, "6::text": "{text}"}}', key),
            )
    sweeps.set_cells(sweep.token, {number: f"t{number}" for number, *_ in cells})
    statements = []
    with each_connection(history, lambda connection: connection.set_trace_callback(statements.append)):
        recorded = sweeps.cells(sweep.token)
        assert len(statements) <= 5  # two of the transaction, cells, runs, images
        statements.clear()
        decisions = sweeps.peek([key for *_, key in cells])
        assert len(statements) <= 7  # also the owners of the runs being submitted, which are probed first
    assert [cell.run.token for cell in recorded] == [f"t{n}" for n in range(1, 1001)]
    assert set(kinds(decisions)) == {"same"}


# -- several processes --------------------------------------------------------------------------------------------

ENTER = """
from comflowy_nb.database.records import SweepRequest

def sweep_request(key, **changes):
    return SweepRequest(token=str(uuid.uuid4()), identity="sandbox", origin="o", service="sandbox", workflow="w",
                       workflow_id="w", key=key, spec={}, **changes)

cells = [(n, (n - 1,), {"3::seed": n}, f"k{n}") for n in range(1, 301)]
"""


def write_line(processes, text="go\n"):
    for process in processes:
        process.stdin.write(text)
        process.stdin.flush()


@pytest.mark.parametrize("fresh", [False, True])
def test_kernels_that_enter_a_sweep_at_the_same_time_share_it(home, start, fresh):
    code = (
        ENTER
        + f"""
say("ready")
sys.stdin.readline()
for n in range(20):
    want = sweep_request(f"sweep{{n}}", fresh={fresh})
    sweep = history.sweeps.record_or_update(want, cells)
    say(sweep.number, sweep.token, sweep.token == want.token)
sys.stdin.readline()
"""
    )
    processes = [start(code) for _ in range(3)]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 3
    write_line(processes)
    outputs = [[process.stdout.readline().split() for _ in range(20)] for process in processes]
    for outputs_of_one_key in zip(*outputs, strict=True):
        assert len({(number, token) for number, token, _ in outputs_of_one_key}) == 1
        assert sorted(is_new for *_, is_new in outputs_of_one_key) == ["False", "False", "True"]
    write_line(processes)
    history = History.open(home)
    assert [sweep.count for sweep in history.sweeps.recent(limit=None)] == [300] * 20
    history.close()


def test_kernels_share_the_cells_of_a_sweep(home, start):
    code = (
        ENTER
        + """
say("ready")
sys.stdin.readline()
sweep = history.sweeps.record_or_update(sweep_request("same"), cells[:60])
from dataclasses import replace
requests = [replace(run_request(key), cell=(sweep.token, number)) for number, _, _, key in cells[:60]]
kinds = [history.record_or_reuse(request).kind for request in requests]
say(*kinds)
sys.stdin.readline()
"""
    )
    processes = [start(code) for _ in range(2)]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 2
    write_line(processes)
    outputs = [process.stdout.readline().split() for process in processes]
    for kinds_of_one_key in zip(*outputs, strict=True):
        assert sorted(kinds_of_one_key) == ["joined", "new"]
    history = History.open(home)
    assert len({cell.run.token for cell in history.sweeps.cells(newest(history.sweeps).token)}) == 60
    history.close()
    write_line(processes)


def test_nothing_is_recorded_after_a_kill_while_a_sweep_is_entered(home, start, sweep_request):
    """A sweep is recorded completely or not at all; otherwise some cells would never be submitted."""
    code = (
        ENTER
        + """
from comflowy_nb.database import sweeps as sweeps_store
real = sweeps_store.put_cells
sweeps_store.put_cells = lambda *args: (real(*args), die())
history.sweeps.record_or_update(sweep_request("k"), cells, seeds={"a": 1})
"""
    )
    process = start(code)
    process.communicate(timeout=60)
    assert process.returncode == -9
    history = History.open(home)
    assert history.warnings == ()
    assert newest(history.sweeps) is None
    assert history.seeds.get("a") is None
    sweep = history.sweeps.record_or_update(sweep_request("k"), [(1, (0,), {}, "k1")])
    assert (sweep.number, sweep.count) == (1, 1)
    history.close()


def test_all_cells_are_recorded_after_a_kill_when_the_sweep_was_entered(home, start):
    process = start(ENTER + 'history.sweeps.record_or_update(sweep_request("k", fresh=True), cells); die()')
    process.communicate(timeout=60)
    history = History.open(home)
    sweep = history.sweeps.find_same("sandbox", "k", fresh=True)
    assert [cell.number for cell in history.sweeps.cells(sweep.token)] == list(range(1, 301))
    history.close()


def test_cells_keep_their_runs_after_a_kill_during_a_fresh_sweep(home, start, run_request):
    """The link to the cell is recorded in the same transaction as the run."""
    code = (
        ENTER
        + """
from dataclasses import replace
sweep = history.sweeps.record_or_update(sweep_request("k", fresh=True), cells[:3])
token = history.record_or_reuse(replace(run_request("k1"), cell=(sweep.token, 1)), fresh=True).record.token
history.apply(token, StatusEvent.SEEN_RUNNING, service_run_id="77")
history.apply(token, StatusEvent.SEEN_SUCCESS)
from comflowy_nb.database import runs as module
module.link_cell = lambda *args: die()
history.record_or_reuse(replace(run_request("k2"), cell=(sweep.token, 2)), fresh=True)
"""
    )
    start(code).communicate(timeout=60)
    history = History.open(home)
    sweep = history.sweeps.find_same("sandbox", "k", fresh=True)
    assert [cell.run and cell.run.service_run_id for cell in history.sweeps.cells(sweep.token)] == ["77", None, None]
    assert newest(history).number == 1
    decisions = history.sweeps.peek(["k1", "k2", "k3"], fresh=True, sweep=sweep.token)
    assert kinds(decisions) == ["same", None, None]
    assert history.record_or_reuse(run_request("k1", cell=(sweep.token, 1)), fresh=True).kind == "same"
    history.close()


def test_full_disk_is_an_error_and_leaves_no_partial_sweep(history, sweeps, sweep_request, cells):
    large = [(n, at, {"6::text": "x" * 500}, key) for n, at, _, key in cells(500)]
    with each_connection(history, fill_disk), pytest.raises(HistoryError, match="the disk is full"):
        sweeps.record_or_update(sweep_request(), large)
    assert newest(sweeps) is None


def test_sweep_keeps_the_token_of_the_first_request(sweeps, sweep_request, cells):
    request = sweep_request(token=str(uuid.uuid4()))
    assert sweeps.record_or_update(request, cells(1)).token == request.token
    assert sweeps.record_or_update(sweep_request(), cells(1)).token == request.token
