"""Whether a request is submitted, joins or reuses an earlier run, or is held."""

from __future__ import annotations

from itertools import product

import pytest

from comflowy_nb.held_runs import decide_submit
from comflowy_nb.status import Status

NEW, SAME, JOINED, HELD, ENDED = "new", "same", "joined", "held", "ended"
RETRIES = ("failed", "unknown", "all", "none")


def statuses(text):
    return [Status(name) for name in text.split()]


# newest first | fresh | what each of --retry failed, unknown, all, none gives
TABLE = [
    ("", False, (NEW, NEW, NEW, NEW)),
    ("", True, (NEW, NEW, NEW, NEW)),
    ("success", False, (SAME, SAME, SAME, SAME)),
    ("success", True, (NEW, NEW, NEW, NEW)),
    ("failed success", False, (SAME, SAME, SAME, SAME)),
    ("unknown success", False, (SAME, SAME, SAME, SAME)),
    ("unknown success", True, (HELD, NEW, NEW, HELD)),
    ("success unknown", True, (NEW, NEW, NEW, NEW)),
    ("failed success", True, (NEW, ENDED, NEW, ENDED)),
    ("unknown", False, (HELD, NEW, NEW, HELD)),
    ("unknown", True, (HELD, NEW, NEW, HELD)),
    ("lost", False, (HELD, NEW, NEW, HELD)),
    ("lost", True, (HELD, NEW, NEW, HELD)),
    ("failed", False, (NEW, ENDED, NEW, ENDED)),
    ("rejected", False, (NEW, ENDED, NEW, ENDED)),
    ("cancelled", True, (NEW, ENDED, NEW, ENDED)),
    ("failed unknown", False, (NEW, ENDED, NEW, ENDED)),
    ("submitting", False, (JOINED,) * 4),
    ("waiting", True, (JOINED,) * 4),
    ("pending unknown", False, (JOINED,) * 4),
    ("running success", False, (JOINED,) * 4),
    ("unknown running", True, (JOINED,) * 4),
]


@pytest.mark.parametrize(("earlier", "fresh", "kinds"), TABLE)
def test_status_of_the_earlier_run_decides_about_an_identical_request(earlier, fresh, kinds):
    for retry, kind in zip(RETRIES, kinds, strict=True):
        assert decide_submit(statuses(earlier), fresh=fresh, retry=retry)[0] == kind, retry


def test_lost_run_is_submitted_again_on_a_free_service_except_with_retry_none():
    for fresh in (False, True):
        for retry, kind in zip(RETRIES, (NEW, NEW, NEW, HELD), strict=True):
            assert decide_submit(statuses("lost"), fresh=fresh, retry=retry, resubmit_lost=True)[0] == kind
    assert decide_submit(statuses("unknown lost"), fresh=False, retry="failed", resubmit_lost=True) == (HELD, 0)
    assert decide_submit(statuses("lost success"), fresh=False, retry="failed", resubmit_lost=True) == (SAME, 1)


def test_decision_contains_the_earlier_run_that_is_reused():
    assert decide_submit(statuses("failed success success"), fresh=False, retry="failed") == (SAME, 1)
    assert decide_submit(statuses("failed running"), fresh=True, retry="all") == (JOINED, 1)
    assert decide_submit(statuses("unknown failed"), fresh=False, retry="failed") == (HELD, 0)
    assert decide_submit(statuses("failed"), fresh=False, retry="none") == (ENDED, 0)


def test_live_run_is_never_submitted_again():
    for first, second, retry in product(Status, Status, RETRIES):
        kind, _ = decide_submit([first, second], fresh=True, retry=retry)
        if first.is_live or second.is_live:
            assert kind == JOINED, (first, second, retry)
        elif first.is_held and retry in {"failed", "none"}:
            assert kind == HELD, (first, second, retry)
