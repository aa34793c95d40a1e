"""Unfinished sweeps, also those of a killed kernel, are listed with the command that continues them."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from comflowy_nb.notebook.magics import current_session

SCRIPT = """
from comflowy_nb import connect
client = connect("sandbox")
# cells 2 to 4 take seconds
axes = {f"c{n}": {"3::cfg": n, "3::steps": 500 if n in (2, 3, 4) else 2} for n in range(1, 13)}
axes = {"length": axes, "3::seed": 987321, "5::width": 64, "5::height": 64}
swept = client.sweep("default", axes, wait=False, name="longsweep2", window=4)
def count(status):
    return sum(cell.status == status for cell in swept.cells)
while not (count("success") and count("running")):
    swept.wait_change(0.1)
print("started", flush=True)
swept.wait()
"""


def text(cell):
    assert cell.error is None, cell.error
    return "\n".join(data["text/plain"] for data in cell.last if "text/plain" in data)


@pytest.fixture
def killed(shell, cell, handles, home):
    """Return a home folder in which a kernel was killed during a sweep of 12 cells."""
    with subprocess.Popen([sys.executable, "-c", SCRIPT], env={**os.environ}, stdout=subprocess.PIPE, text=True) as one:
        started = one.stdout.readline()
        one.kill()
    assert started == "started\n"
    return cell


# The kernel can be killed in the middle of several submits.
COUNTS = r"s1 longsweep2: (\d+) of 12 done,(?: (\d+) unknown,)? (\d+) running, (\d+) not submitted"


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_sweep_of_a_killed_kernel_is_named_and_continued(killed):
    """The sweep was never named, and `resume` said that there was nothing to do while its runs were tracked."""
    before = text(killed("%comflowy"))
    assert re.search(rf"{COUNTS}; connect to sandbox, then run its cell again or %comflowy resume s1", before)
    assert re.search(COUNTS, text(killed("%comflowy connect sandbox")))
    overview = text(killed("%comflowy"))
    counts = re.search(rf"{COUNTS}; run its cell again or %comflowy resume s1", overview)
    unknown, left = int(counts[2] or 0), int(counts[4])
    assert int(counts[1]) + unknown + int(counts[3]) + left == 12
    assert "running:" not in overview, "the runs of the sweep are named by its line"
    resumed = text(killed("%comflowy resume"))
    assert re.search(r"\d runs? (is|are) tracked", resumed)
    assert re.search(COUNTS, resumed)
    shown = killed("%comflowy resume longsweep2")
    cells = f"{left} of 12 cells were not submitted. To submit them, run its cell again or %comflowy sweep --from s1"
    assert cells in text(shown)
    assert shown.value.status_counts()["success"] == 12 - left - unknown
    done = rf"s1 longsweep2: {12 - left - unknown} of 12 done,( \d+ unknown,)? {left} not submitted"
    assert re.search(rf"{done}; run its cell again or %comflowy sweep --from s1", text(killed("%comflowy")))
    assert re.search(
        rf"{12 - left - unknown} of 12 done,( \d+ unknown,)? {left} not submitted", text(killed("%comflowy sweeps"))
    )
    continued = killed("%comflowy sweep --from s1")
    assert continued.value.ref == "s1"
    assert continued.value.status_counts()["success"] == 12 - unknown
    assert "not submitted" not in text(killed("%comflowy"))


def test_a_sweep_of_this_kernel_needs_no_advice(connected):
    axes = {"cfg": [1, 2, 3], "steps": 1501, "seed": 5, "width": 64, "height": 64}
    swept = current_session().connected().sweep("default", axes, wait=False, name="mine")
    line = next(line for line in text(connected("%comflowy")).splitlines() if line.startswith(f"{swept.ref} mine: "))
    assert "0 of 3 done" in line
    assert ";" not in line
    swept.cancel()
    swept.wait(60)


def test_sweeps_of_an_empty_history(cell, handles):
    assert text(cell("%comflowy sweeps")) == "no sweeps yet: %comflowy sweep default cfg=4..8"
    assert "not submitted" not in text(cell("%comflowy"))


def test_an_unfinished_sweep_of_another_service_asks_to_connect_first(cell, handles, library, sweep_request, cells):
    library.history.sweeps.record_or_update(sweep_request(name="far", identity="studio", service="studio"), cells(2))
    line = (
        "s1 far: 0 of 2 done, 2 not submitted; connect to studio, then run its cell again or %comflowy sweep --from s1"
    )
    assert line in text(cell("%comflowy"))
    assert "far" not in text(cell("%comflowy connect sandbox"))
    assert line in text(cell("%comflowy"))


def test_more_than_four_unfinished_sweeps_are_in_the_list_of_all(cell, handles, library, sweep_request, cells):
    for number in range(6):
        library.history.sweeps.record_or_update(sweep_request(f"k{number}"), cells(2, f"k{number}"))
    shown = text(cell("%comflowy"))
    assert shown.count("0 of 2 done, 2 not submitted; ") == 4
    assert "more are not finished: %comflowy sweeps lists them" in shown
    assert text(cell("%comflowy sweeps")).count("0 of 2 done") == 6
