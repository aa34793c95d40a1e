"""Estimate the time of runs that are not submitted yet, from earlier runs of the same workflow. Pure."""

from __future__ import annotations

import heapq
import math
from statistics import mean, median
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from comflowy_nb.database.records import RunRecord
    from comflowy_nb.workflow.workflow import Workflow


MAX_TIMED_RUNS = 100  # the newest successful runs of a workflow are read
_OUTLIER_FACTOR = 3.0  # relative to the median of the runs of equal size
_MIN_S = 0.02  # a shorter execution can't be measured
# The time of a run grows with steps ** 0.85 and pixels ** 0.6 until runs of other sizes show the exponents. They are
# below 1 because each run has a fixed cost, and because small images leave a GPU partly idle.
_PRIOR = (0.85, 0.6)
_PRIOR_WEIGHT = 0.3
_MAX_EXPONENT = 2.0
_MAX_FACTOR = 20.0  # runs that are estimated to take longer than this multiple of any earlier run have no estimate
_MAX_VALUE = 1e9  # limit of steps and sizes, because undescribed fields may have any value


class Size(NamedTuple):
    """Size of a run, which determines its time: total steps of the samplers, and pixels of the batch."""

    steps: float
    pixels: float


def estimate_s(earlier: Sequence[RunRecord], workflow: Workflow, new: Iterable[Mapping[str, Any]]) -> float | None:
    """Estimate the time of a sweep that submits these runs, in seconds. Return None without similar earlier runs.

    The time of a run is the median execution time of the earlier runs of its size, or of the most similar size. The
    runs are distributed over as many slots as the number of runs that the service executed at once.

    Parameters
    ----------
    earlier
        Successful runs of the workflow. Ignored are the first run of each connection, which loads models, and runs that
        took more than three times the median time of their size.
    workflow
        The workflow, for the default values of steps and sizes.
    new
        The params of each run to submit.
    """
    by_size: dict[Size, list[RunRecord]] = {}
    for record in _without_first(earlier):
        by_size.setdefault(_size(record.params, workflow), []).append(record)
    usual = {
        size: max(_MIN_S, median(record.seconds or 0.0 for record in records)) for size, records in by_size.items()
    }
    if not usual:
        return None
    times = _times((_size(params, workflow) for params in new), usual)
    if not times:
        return None
    kept = [
        record
        for size, records in by_size.items()
        for record in records
        if (record.seconds or 0.0) <= _OUTLIER_FACTOR * usual[size]
    ]
    concurrency = _concurrency(kept)
    ends = [0.0] * round(concurrency)  # the times at which the slots become free
    for seconds in times:
        heapq.heapreplace(ends, ends[0] + seconds)
    return max(ends) * len(ends) / concurrency


def _without_first(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Return the runs without the first one of each client."""
    first: dict[str, int] = {}
    for record in records:
        first[record.owner] = min(record.number, first.get(record.owner, record.number))
    return [record for record in records if record.number != first[record.owner] and record.seconds is not None]


def _size(params: Mapping[str, Any], workflow: Workflow) -> Size:
    """Return the size of a run: the sum of all steps, and the largest width, height and batch size."""
    values = {key: field.default for key, field in workflow.fields.items()} | dict(params)
    numbers: dict[str, list[float]] = {}
    for key, value in values.items():
        if isinstance(value, int | float) and 0 < value < _MAX_VALUE:
            numbers.setdefault(key.rpartition("::")[2], []).append(float(value))
    pixels = math.prod(max(numbers.get(name, [1.0])) for name in ("width", "height", "batch_size"))
    return Size(sum(numbers.get("steps", [1.0])), pixels)


def _times(sizes: Iterable[Size], usual: Mapping[Size, float]) -> list[float]:
    """Return the seconds of a run for each size, scaled from the most similar known size.

    The list is empty if a run is so much larger than all earlier runs that the scaled time means nothing.
    """
    exponents = _exponents(usual)
    known = dict(usual)
    times = []
    for size in sizes:
        if size not in known:  # a sweep has many runs of few sizes
            nearest = min(usual, key=lambda other: sum(map(abs, _log_ratios(size, other))))
            ratios = zip(exponents, _log_ratios(size, nearest), strict=True)
            factor = math.exp(sum(exponent * log_ratio for exponent, log_ratio in ratios))
            if factor > _MAX_FACTOR:
                return []
            known[size] = usual[nearest] * factor
        times.append(known[size])
    return times


def _exponents(usual: Mapping[Size, float]) -> tuple[float, float]:
    """Return the exponents of steps and pixels: least squares of the logarithms, with a prior (ridge regression).

    The normal equations of `log_s = a * log_steps + b * log_pixels`, around the mean, are solved by Cramer's rule.
    """
    middle = Size(*(math.exp(mean(map(math.log, values))) for values in zip(*usual, strict=True)))
    middle_log_s = mean(map(math.log, usual.values()))
    steps_steps = pixels_pixels = _PRIOR_WEIGHT  # sums of products
    steps_pixels = 0.0
    steps_time, pixels_time = (_PRIOR_WEIGHT * exponent for exponent in _PRIOR)
    for size, seconds in usual.items():
        steps, pixels = _log_ratios(size, middle)
        time = math.log(seconds) - middle_log_s
        steps_steps += steps * steps
        steps_pixels += steps * pixels
        pixels_pixels += pixels * pixels
        steps_time += steps * time
        pixels_time += pixels * time
    determinant = steps_steps * pixels_pixels - steps_pixels * steps_pixels  # positive, because of the prior
    solved = (
        (steps_time * pixels_pixels - pixels_time * steps_pixels) / determinant,
        (pixels_time * steps_steps - steps_time * steps_pixels) / determinant,
    )
    steps, pixels = (min(_MAX_EXPONENT, max(0.0, exponent)) for exponent in solved)
    return steps, pixels


def _log_ratios(size: Size, other: Size) -> tuple[float, float]:
    return math.log(size.steps / other.steps), math.log(size.pixels / other.pixels)


def _concurrency(records: Iterable[RunRecord]) -> float:
    """Return the mean number of simultaneous runs in the longest series of overlapping executions."""
    spans = sorted(
        (record.finished_at - record.seconds, record.finished_at)
        for record in records
        if record.finished_at and record.seconds
    )
    best, best_count = 1.0, 0
    series: list[tuple[float, float]] = []
    end_at = -math.inf
    for start, end in [*spans, (math.inf, math.inf)]:
        if start > end_at:
            if len(series) > best_count and end_at > series[0][0]:
                best = sum(to - since for since, to in series) / (end_at - series[0][0])
                best_count = len(series)
            series, end_at = [], -math.inf
        series.append((start, end))
        end_at = max(end_at, end)
    return max(1.0, best)
