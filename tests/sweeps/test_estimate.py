"""The estimate of a plan, from earlier runs of the workflow."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from comflowy_nb.database.records import RunRecord
from comflowy_nb.status import Status
from comflowy_nb.sweeps.estimate import estimate_s
from comflowy_nb.workflow.fields import Field, FieldType
from comflowy_nb.workflow.workflow import Workflow

WORKFLOW = Workflow(
    "default",
    fields={
        "3::steps": Field("3::steps", FieldType.INT, default=20),
        "5::width": Field("5::width", FieldType.INT, default=512),
        "5::height": Field("5::height", FieldType.INT, default=512),
    },
)
_numbers = itertools.count(1)


def run(start, end, owner="a", queued_s=0.0, **params):
    """Return a success that was executed from one time to another."""
    return RunRecord(
        token="t", number=next(_numbers), identity="i", origin="o", service="s", workflow="default",
        workflow_id="default", params={f"{'3' if name == 'steps' else '5'}::{name}": value for name, value in
        params.items()}, key="k", status=Status.SUCCESS, created_at=start - queued_s, started_at=start, finished_at=end,
        owner=owner,
    )  # fmt: skip


def one_after_another(count, seconds, places=1, **params):
    """Return the runs of a service that executes several at once. Each waits in the queue until a slot is free."""
    runs = [run(-100.0, -70.0, **params)]  # the first of the connection, which loads the model
    for number in range(count):
        start = number // places * seconds
        runs.append(run(start, start + seconds, queued_s=start, **params))
    return runs[::-1]


def estimate(earlier, *new):
    return estimate_s(earlier, WORKFLOW, new)


def test_nothing_is_known_without_earlier_runs():
    assert estimate([], {}) is None
    assert estimate([run(0, 30)], {}) is None, "the first run of a connection loads the model"
    assert estimate(one_after_another(4, 2.0)) is None, "nothing to submit"


def test_tiny_runs_give_no_estimate_of_large_ones():
    """After two runs of 64 x 64 with 2 steps, a plan of 600 runs at the defaults said about 8.5 h."""
    earlier = one_after_another(2, 0.6, width=64, height=64, steps=2)
    assert estimate(earlier, *[{}] * 600) is None
    assert estimate(earlier, {"5::width": 128, "5::height": 128, "3::steps": 4}) == pytest.approx(2.5, abs=0.3)


@pytest.mark.parametrize(("places", "cells", "expected_s"), [(1, 10, 20.0), (2, 10, 10.0), (4, 10, 6.0), (4, 3, 2.0)])
def test_the_wait_in_the_queue_and_the_cold_start_are_left_out(places, cells, expected_s):
    """A plan said about 2 min, and the sweep took 7.3 s: the queue and the cold start counted for every cell."""
    earlier = one_after_another(8, 2.0, places)
    assert estimate(earlier, *[{}] * cells) == pytest.approx(expected_s)


def test_a_run_whose_end_was_found_the_next_day_does_not_change_the_estimate():
    earlier = [run(100, 90_000), *one_after_another(8, 2.0)]
    assert estimate(earlier, {}, {}) == pytest.approx(4.0)


def test_the_first_run_of_each_connection_is_left_out():
    earlier = [run(50, 80, owner="c"), run(20, 45, owner="b"), *one_after_another(3, 2.0)]
    assert estimate(earlier, {}) == pytest.approx(2.0)


def test_the_time_grows_with_the_steps():
    """A sweep of 20 steps was estimated by runs of 5 steps: 15 s, and it took 30 s."""
    earlier = one_after_another(6, 2.0, steps=5)
    assert estimate(earlier, {"3::steps": 10}) == pytest.approx(4.0, rel=0.2)
    assert estimate(earlier, {}) == pytest.approx(8.0, rel=0.3), "20 steps are the default"


def test_steps_and_pixels_are_learned_from_runs_of_several_sizes():
    def seconds(steps, side):
        return 0.1 * steps**0.8 * (side / 512) ** 1.2

    earlier, at = [], 0.0
    for steps, side in [(5, 512), (20, 512), (20, 1024), (40, 256)]:
        for _ in range(4):
            earlier.append(run(at, at + seconds(steps, side), steps=steps, width=side, height=side))
            at += 10
    for steps, side in [(10, 768), (30, 512), (20, 512)]:
        params = {"3::steps": steps, "5::width": side, "5::height": side}
        assert estimate(earlier[::-1], params) == pytest.approx(seconds(steps, side), rel=0.15)


def test_runs_without_a_known_start_count_from_the_submit_together():
    """A service whose `running` is rarely seen: the time in the queue and the number in flight cancel out."""
    earlier = [run(0, 30)]
    earlier += [replace(run(0, 2.0 * number), started_at=None) for number in range(1, 9)]  # submitted at once
    assert estimate(earlier[::-1], *[{}] * 8) == pytest.approx(16.0, rel=0.5)


def test_values_that_are_not_sizes_are_ignored():
    """A workflow whose fields are not described accepts any value, such as a number above the largest float."""
    earlier = one_after_another(4, 2.0)
    odd = {"3::steps": 10**400, "5::width": float("inf"), "5::height": "tall", "9::batch_size": -1}
    assert estimate_s(earlier, Workflow("default"), [odd, {}]) == pytest.approx(4.0)
