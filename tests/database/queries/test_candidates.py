"""A search by params reads the index of values, and finds the same runs as a comparison of every run."""

from __future__ import annotations

from decimal import Decimal

import pytest
from history_fixtures import each_connection
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from comflowy_nb.database.queries.field_filters import AnyOf, Interval, is_equal, read_wanted
from comflowy_nb.database.scores import Score
from comflowy_nb.database.value_index import value_hash
from comflowy_nb.status import StatusEvent

NUMBERS = (0, 1, 7, -0.0, 7.0, 0.1, 2**53 + 1, float(2**53), 2**64 - 1, 2.0**64, 1e23, 10**400, float("inf"))
TEXTS = (
    "7",
    "7.0",
    " 7 ",
    "1_0",
    "10",
    "true",
    "TRUE",
    "None",
    "null",
    "[1, 2]",
    "[1,2]",
    "low",
    "Ärger",
    "s",
    "",
)
OTHERS = (True, False, None, [1, 2], [1.0, True], {"a": None}, "\ud800", "NaN", "sNaN9", "1e999999", "a,b", "{")
SAMPLES = st.sampled_from([*NUMBERS, *TEXTS, *OTHERS])
VALUES = SAMPLES | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3)
FIELDS = ("3::cfg", "4::cfg", "12:3::cfg", "3::seed", "cfg", "5::", "6::text")
NAMES = (*FIELDS, "seed", "text", "sharp", "rating", "note", "nothing")


def alternatives():
    return st.lists(SAMPLES, min_size=1, max_size=3).map(lambda options: AnyOf("a,b", tuple(options)))


def scan(wanted):
    """Return the same condition with an interval, which the index does not know, so that every run is compared."""
    nothing = Interval(Decimal(1), Decimal(0))
    return {
        name: AnyOf(value.whole, (nothing, *value.options))
        if isinstance(value, AnyOf)
        else AnyOf(..., (nothing, value))
        for name, value in wanted.items()
    }


@given(stored=VALUES, wanted=VALUES)
@example(stored=float(2**53), wanted=2**53)
@example(stored=0, wanted="-0.0")
@example(stored="TRUE", wanted=True)
@example(stored=10**400, wanted=f"{10**400}.0")
def test_values_that_are_equal_have_the_same_hash(stored, wanted):
    try:
        is_same = is_equal(stored, wanted)
    except ArithmeticError:  # a signalling NaN can't be compared
        return
    if is_same and not isinstance(stored, list | dict | None) and not isinstance(wanted, list | dict | None):
        assert value_hash("cfg", stored) == value_hash("cfg", wanted)


@pytest.fixture
def mixed_history(library, history, run_request, make_sweep, axis):
    """Fill a history with runs of two graphs, with defaults, labels of sweeps and scores, and values of all types."""
    graphs = [None, *({"3": {"class_type": "K", "inputs": {"cfg": cfg, "seed": 1}}} for cfg in (7.0, "low"))]
    defaults = [None, {"3::cfg": 7, "6::text": "Ärger"}, {"4::cfg": True}]
    values = [*NUMBERS, *TEXTS, *OTHERS]
    for number, value in enumerate(values):
        params = {FIELDS[number % len(FIELDS)]: value, FIELDS[number * 3 % 5]: values[number * 7 % len(values)]}
        workflow = {"graph": graphs[number % 3], "defaults": defaults[number // 3 % 3]}
        run = history.record_or_reuse(run_request(str(number), params=params, **workflow)).record
        if number % 4 == 0:
            history.apply(run.token, StatusEvent.SEEN_FAILED)
    make_sweep(axis("cfg", field="3::cfg", low=3, high=7.0), axis("seed", field="3::seed", **{"7": 1, "cfg": 2}))
    sweep = make_sweep(axis("text", field="6::text", low="7", other="low"), key="other")
    history.scores.put("sharp", {(sweep.cells[0].run.token, 0): Score(7.0)})
    history.ratings.change([(sweep.cells[1].run.token, 0)], 4)
    return history


def found_and_expected(history, wanted):
    """Return the runs that a search finds, and those that a comparison of every run finds."""
    try:
        return [[run.number for run in history.search(params=params, limit=None)] for params in (wanted, scan(wanted))]
    except ArithmeticError:  # a signalling NaN can't be compared
        return [], []


def test_the_index_finds_each_value_of_each_field(mixed_history):
    counts = []
    for name in NAMES:
        for value in (*NUMBERS, *TEXTS, *OTHERS):
            found, expected = found_and_expected(mixed_history, {name: value})
            assert found == expected, (name, value)
            counts.append(len(found))
    assert 0 in counts
    assert max(counts) > 5


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(wanted=st.dictionaries(st.sampled_from(NAMES), SAMPLES | alternatives(), min_size=1, max_size=3))
def test_the_index_finds_the_runs_that_a_comparison_of_every_run_finds(mixed_history, wanted):
    found, expected = found_and_expected(mixed_history, wanted)
    assert found == expected


@pytest.mark.parametrize(
    ("params", "limit"),
    [
        ({"seed": 150}, 20),
        ({"seed": "150.0", "steps": 20}, 20),
        ({"seed": read_wanted("150,151,152")}, 20),
        ({"steps": 20}, 3),
    ],
)
def test_a_search_by_params_reads_only_the_runs_that_may_match(history, run_request, params, limit):
    for number in range(300):
        history.record_or_reuse(run_request(str(number), params={"3::seed": number, "3::steps": 20}))
    hundreds = []

    def count_steps(connection):
        connection.set_progress_handler(lambda: hundreds.append(1), 100)  # after every 100 steps of SQLite

    with each_connection(history, count_steps):
        found = history.search(params=params, limit=limit)
    assert found
    assert len(hundreds) < 40, "a scan of every row takes more"


def test_a_deleted_run_leaves_nothing_in_the_index(history, run_request):
    graph = {"3": {"class_type": "K", "inputs": {"cfg": 7.0}}}
    for key in ("a", "b"):
        run = history.record_or_reuse(run_request(key, params={"3::seed": key}, graph=graph)).record
        history.apply(run.token, StatusEvent.SEEN_FAILED)
    history.cleanup.delete({run.token: None}, ())
    assert history.search(params={"seed": "b"}) == []
    assert [run.key for run in history.search(params={"cfg": 7})] == ["a"]
    history.cleanup.delete({history.by_number(1).token: None}, ())
    with history._store.read() as connection:
        for table in ("run_values", "workflow_values"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 0
