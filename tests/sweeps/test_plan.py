from datetime import UTC, datetime

import pytest

from comflowy_nb.errors import SettingsError
from comflowy_nb.status import Status
from comflowy_nb.sweeps.plan import check_count, make_plan
from comflowy_nb.tracking.run import RunRecord

NOW = datetime(2026, 10, 14, 12, tzinfo=UTC).astimezone()


def record(status, day=12, service="cloud"):
    at = datetime(2026, 10, day, 11, tzinfo=UTC).timestamp()
    return RunRecord(
        token="t", number=1, identity="i", origin="o", service=service, workflow="w", workflow_id="w", params={},
        key="k", status=status, created_at=at, owner="", finished_at=at,
    )  # fmt: skip


def plan(found, **options):
    return make_plan(found, total=len(found), now=NOW, **{"seconds": None, "cost_per_run": None, **options})


def test_the_plan_is_one_line():
    decisions = [
        *[("same", record(Status.SUCCESS))] * 31,
        ("joined", record(Status.RUNNING)),
        ("held", record(Status.UNKNOWN)),
        *[("new", record(Status.FAILED))] * 2,
        *[("new", record(Status.CANCELLED))] * 3,
        *[("new", None)] * 10,
    ]
    text = plan(decisions, seconds=15 * 25.0).text
    assert text == (
        "48 cells: 31 done (12 Oct, cloud), 1 running, 1 unknown (skipped), 2 failed (tried again), "
        "3 cancelled (tried again), 10 new, about 6 min"
    )


def test_plan_counts_lost_unknown_and_failed_cells_separately():
    decisions = [
        *[("held", record(Status.UNKNOWN))] * 2,
        ("held", record(Status.LOST)),
        *[("new", record(Status.LOST))] * 3,
        ("new", record(Status.UNKNOWN)),
        ("new", record(Status.REJECTED)),
        ("new", record(Status.FAILED)),
    ]
    assert plan(decisions).text == (
        "9 cells: 2 unknown (skipped), 1 lost (skipped), 2 failed (tried again), 1 unknown (tried again), "
        "3 lost (tried again)"
    )
    assert plan(decisions).to_submit == 6


def test_plan_omits_counts_of_zero():
    assert plan([("new", None)]).text == "1 cell: 1 new"
    assert (
        plan([("same", record(Status.SUCCESS, 14, "sandbox"))], seconds=9.0).text == "1 cell: 1 done (today, sandbox)"
    )


def test_the_plan_shows_the_cost_of_the_runs_to_submit():
    assert plan([("new", None)] * 10 + [("same", None)], cost_per_run=0.05).text.endswith("10 new, cost about 0.5")


def test_done_runs_of_several_services_show_only_the_day():
    decisions = [("same", record(Status.SUCCESS, 10, "a")), ("same", record(Status.SUCCESS, 11, "b"))]
    assert "2 done (11 Oct)" in plan(decisions).text


def test_many_runs_that_cost_money_require_max_runs():
    many = plan([("new", None)] * 65)
    with pytest.raises(SettingsError, match="max_runs=65"):
        check_count(many, max_runs=None, costs_money=True, label="cloud")
    check_count(many, max_runs=65, costs_money=True, label="cloud")
    check_count(many, max_runs=None, costs_money=False, label="sandbox")
    check_count(plan([("new", None)] * 64), max_runs=None, costs_money=True, label="cloud")


def test_sweep_within_max_runs_is_not_truncated():
    with pytest.raises(SettingsError, match="permits 10"):
        check_count(plan([("new", None)] * 11), max_runs=10, costs_money=False, label="sandbox")


def test_done_cells_are_not_counted_as_submitted():
    check_count(plan([("same", record(Status.SUCCESS))] * 500), max_runs=1, costs_money=True, label="cloud")
