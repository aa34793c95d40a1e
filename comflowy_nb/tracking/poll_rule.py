"""When to ask about a run: decisions only, no clock and no socket.

A run is asked about when runs of its workflow usually end, then in steps that widen. The time a check found it done
is only an upper bound of the time it took: an estimate learned from detection times contains its own lateness and
grows without end. So a run found at its first check counts as 0.9 of its age, which shrinks the estimate until checks
begin to miss again (FACTOR x 0.9 must stay below 1).

An age is the time a check is sent minus the time the answer to the submit arrived, on a monotonic clock.
"""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["SAMPLES", "SCOUTS", "PollRule", "live_wait_s"]

FACTOR = 1.05
FIRST_HIT = 0.9
SAMPLES = 24
SCOUTS = 3  # runs that are checked while nothing is known of a workflow; the others wait for the first end
LIVE_RUNS = 8  # with at most so many live runs each is also asked often enough to look live


class PollRule:
    """What is known of how long runs of one workflow take.

    Parameters
    ----------
    samples
        Seconds of earlier runs, oldest first; the last 24 count.
    """

    def __init__(self, samples: Iterable[float] = ()) -> None:
        self._samples: deque[float] = deque(samples, maxlen=SAMPLES)

    @property
    def estimate_s(self) -> float | None:
        """When to ask first, in seconds after the submit's answer; None while nothing is known."""
        return FACTOR * median(self._samples) if self._samples else None

    @property
    def usual_s(self) -> float | None:
        """How long a run usually takes, in seconds, for a person."""
        return median(self._samples) if self._samples else None

    def add(self, *, done_age_s: float, missed_age_s: float | None) -> float:
        """Learn from a run found done at one age and not done at an earlier one (None: there was no earlier check).

        Returns
        -------
        The sample, in seconds, so that it can be kept.
        """
        sample = FIRST_HIT * done_age_s if missed_age_s is None else (missed_age_s + done_age_s) / 2
        self._samples.append(sample)
        return sample

    def first_wait_s(self) -> float:
        """Seconds from the submit's answer to the first check."""
        estimate = self.estimate_s
        return 0.1 if estimate is None else estimate

    def next_wait_s(self, *, misses: int, age_s: float) -> float:
        """Seconds from the answer of a check that missed to the next check; `misses` counts from 1."""
        estimate = self.estimate_s
        if estimate is None:
            return min(2.0, max(0.03, 0.25 * age_s))
        return min(2.0, max(0.02, 0.12 * estimate * 1.4 ** min(misses - 1, 40)))


def live_wait_s(age_s: float, *, live_runs: int) -> float | None:
    """Seconds to the next check that keeps a status live, or None where too many runs are live for that."""
    return min(2.0, max(0.3, 0.25 * age_s)) if live_runs <= LIVE_RUNS else None
