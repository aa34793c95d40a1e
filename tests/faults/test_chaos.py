"""Processes race the same requests against a service that fails at random, and are killed at random.

`make chaos RUNS=20000` does the same for hours.
"""

from __future__ import annotations

import os
import random

import pytest
from chaos import Race
from chaotic_api import ChaoticApi

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here"),
]

RUNS = 600
SECONDS = 45.0  # until the last batch begins


def test_no_run_is_submitted_twice_or_lost_when_requests_fail_and_processes_are_killed(tmp_path, capsys):
    seed = os.environ.get("CHAOS_SEED") or str(random.SystemRandom().randrange(1_000_000))
    with ChaoticApi(seed) as api:
        report = Race(tmp_path / "home", api, seed).run(RUNS, seconds=SECONDS)
    with capsys.disabled():
        print(f"\n{report}")
    assert report.problems == [], f"CHAOS_SEED={seed} repeats the faults"
    assert report.kills > 0
    assert report.accepted > 0
    assert {"success", "unknown", "rejected", "failed"} <= set(report.statuses)
    assert report.images > 0
