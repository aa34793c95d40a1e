from __future__ import annotations

import time

import pytest
from history_fixtures import each_connection

from comflowy_nb.database.queries.field_filters import is_equal
from comflowy_nb.errors import SettingsError
from comflowy_nb.services.types import Problem
from comflowy_nb.status import Status, StatusEvent


@pytest.fixture
def history_of_three_runs(history, run_request):
    """Create r1, a galaxy (success), r2, a galaxy (failed), and r3, a vase of another workflow (live)."""
    first = history.record_or_reuse(
        run_request("a", params={"3::cfg": 7, "3::seed": 2**64 - 1, "6::text": "Purple GALAXY Ärger"})
    ).record
    history.apply(first.token, StatusEvent.ACCEPTED, service_run_id="svc-77")
    history.apply(first.token, StatusEvent.SEEN_SUCCESS)
    second = history.record_or_reuse(
        run_request("b", params={"3::cfg": 7.5, "3::seed": 2**64 - 2, "6::text": "red galaxy"})
    ).record
    history.apply(second.token, StatusEvent.SEEN_FAILED, problem=Problem("Value not in list", "4", "CheckpointLoader"))
    params = {"3::cfg": 7, "12:3::text": "vase", "5::on": True}
    history.record_or_reuse(run_request("c", workflow="portrait", workflow_id="w9", params=params, name="favourite"))
    return history


def numbers(records):
    return [record.number for record in records]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, [3, 2, 1]),
        ("", [3, 2, 1]),
        ("galaxy", [2, 1]),
        ("galaxy purple", [1]),
        ("ärger", [1]),
        ("PORTRAIT", [3]),
        ("favour", [3]),
        ("not in list", [2]),
        ("CheckpointLoader", [2]),
        ("svc-77", [1]),
        ("r2", [2]),
        ("w9", [3]),
        ("18446744073709551615", [1]),
        ("100%", []),
        ("zebra", []),
    ],
)
def test_text_is_found_in_every_searched_column(history_of_three_runs, text, expected):
    assert numbers(history_of_three_runs.search(text)) == expected


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"cfg": 7}, [3, 1]),
        ({"cfg": "7.0"}, [3, 1]),
        ({"3::cfg": "7.5"}, [2]),
        ({"4::cfg": 7}, []),
        ({"seed": 2**64 - 1}, [1]),
        ({"seed": str(2**64 - 2)}, [2]),
        ({"text": "red galaxy"}, [2]),
        ({"text": "galaxy"}, []),
        ({"12:3::text": "vase"}, [3]),
        ({"on": "true"}, [3]),
        ({"on": True}, [3]),
        ({"cfg": 7, "on": "TRUE"}, [3]),
        ({"cfg": "seven"}, []),
        ({"nothing": 1}, []),
    ],
)
def test_params_are_compared_by_type(history_of_three_runs, params, expected):
    assert numbers(history_of_three_runs.search(params=params)) == expected


def test_runs_are_filtered_by_status_workflow_time_and_limit(history_of_three_runs):
    assert numbers(history_of_three_runs.search(status="failed")) == [2]
    assert numbers(history_of_three_runs.search(status=Status.SUCCESS)) == [1]
    assert (
        numbers(history_of_three_runs.search(workflow="portrait"))
        == numbers(history_of_three_runs.search(workflow="w9"))
        == [3]
    )
    assert numbers(history_of_three_runs.search(limit=2)) == [3, 2]
    assert numbers(history_of_three_runs.search(limit=None)) == [3, 2, 1]
    assert numbers(history_of_three_runs.search(limit=0)) == []
    assert numbers(history_of_three_runs.search(params={"cfg": 7}, limit=1)) == [3]
    assert numbers(history_of_three_runs.search(since=history_of_three_runs.by_number(2).created_at)) == [3, 2]
    assert history_of_three_runs.search(since=time.time() + 1) == []
    assert numbers(history_of_three_runs.search("galaxy", params={"cfg": 7}, status="success", workflow="default")) == [
        1
    ]


def test_unknown_status_is_an_error_that_lists_the_statuses(history_of_three_runs):
    with pytest.raises(SettingsError, match="submitting, waiting"):
        history_of_three_runs.search(status="finished")


@pytest.mark.parametrize(
    ("stored", "typed", "equal"),
    [
        (1, True, False),
        (True, 1, False),
        (True, "True", True),
        ("7", 7, True),
        ("7", "7.0", False),
        (0.1, "0.1", True),
        (1e3, "1000", True),
        (5, "five", False),
        (None, "null", True),
        ([1, 2], "[1, 2]", True),
        ([1, 2], "no json", False),
    ],
)
def test_stored_and_typed_values_are_compared_by_type_and_value(stored, typed, equal):
    assert is_equal(stored, typed) is equal


@pytest.mark.slow
def test_last_50_runs_are_found_without_a_full_scan(history, run_request):
    with history._store.write() as connection:
        history_intent = run_request()
        rows = [
            (f"t{n}", "i", "o", "s", "w", '{"3::cfg":7,"6::text":"glass bottle"}', "[]", f"k{n}", "success", "x", n)
            for n in range(10_000)
        ]
        connection.executemany(
            "INSERT INTO runs (token, identity, origin, service, workflow, params, set_params, key, status, owner, "
            "created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
    thousands = []

    def count_steps(connection):
        connection.set_progress_handler(lambda: thousands.append(1), 1000)  # after every 1,000 steps of SQLite

    with each_connection(history, count_steps):
        assert len(history.search(limit=50)) == 50
        assert history.record_or_reuse(history_intent).record.number == 10_001
    assert len(thousands) < 20, "a scan of every row takes more"


def test_a_search_reads_each_graph_once_and_compares_its_values(history, run_request):
    graph = {"3": {"class_type": "KSampler", "inputs": {"cfg": 8, "steps": 20, "model": ["4", 0]}}}
    graph |= {"4": {"class_type": "Loader", "inputs": {"ckpt_name": "a"}}}
    for number in range(6):
        params = {"3::seed": number} | ({"3::cfg": 5.0} if number % 2 else {})
        history.record_or_reuse(run_request(key=str(number), params=params, workflow_id=None, graph=graph))
    history.record_or_reuse(run_request(key="id", params={"3::seed": 6}, defaults={"3::cfg": 8, "9::name": "b"}))
    statements = []
    with each_connection(history, lambda connection: connection.set_trace_callback(statements.append)):
        assert [run.params["3::seed"] for run in history.search(params={"cfg": 8})] == [6, 4, 2, 0]
    assert len([sql for sql in statements if "FROM graphs" in sql]) == 1
    assert [run.params["3::seed"] for run in history.search(where="cfg < 8 and steps = 20")] == [5, 3, 1]
    assert {"steps", "name", "4::ckpt_name"} <= history.field_names()
    assert "model" not in history.field_names()
    assert history.known_values("cfg") == [8, 5.0]
