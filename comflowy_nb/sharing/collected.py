"""Sweeps and runs for a saved page, figure or animation, without the parts that the user leaves out."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from comflowy_nb.archive.redaction import collect_without
from comflowy_nb.database.ratings import Rating
from comflowy_nb.database.scores import Score
from comflowy_nb.images.inputs import stored_input
from comflowy_nb.sweeps.stored_sweep import stored_cells
from comflowy_nb.sweeps.sweep import Sweep
from comflowy_nb.tracking.run import Run
from comflowy_nb.workflow.axes.types import axes_from_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from comflowy_nb.archive.manifest import Manifest, RunEntry, SweepEntry
    from comflowy_nb.database.records import ImageRecord, RunRecord, SweepRecord
    from comflowy_nb.database.runs import History


class SavedContent:
    """The sweeps and runs that a saved page, figure or animation shows.

    Attributes
    ----------
    collected
        The collected records, without the parts that are left out.
    sweeps, runs
        The sweeps, and the runs that the user named.
    all_runs
        These runs, and the runs of the cells.
    """

    def __init__(
        self,
        history: History,
        home: Path,
        runs: Sequence[tuple[RunRecord, ImageRecord | None]],
        sweeps: Sequence[SweepRecord],
        parts: frozenset[str] = frozenset(),
    ) -> None:
        self.collected = collect_without(history, home, runs, sweeps, parts)
        self._images, self._inputs = home / "images", home / "inputs"
        manifest = self.collected.manifest
        self._reviews = _Reviews(manifest)
        by_token = {entry.token: self._run(entry) for entry in manifest.runs}
        self.all_runs = list(by_token.values())
        self.runs = [by_token[record.token] for record, _ in runs if record.token in by_token]
        self.sweeps = [self._sweep(entry, by_token) for entry in manifest.sweeps]

    def _run(self, entry: RunEntry) -> Run:
        record = self.collected.runs[entry.token]
        errors = {image.index: image.error for image in entry.outputs}
        outputs = [replace(image, error=errors[image.index]) for image in record.outputs if image.index in errors]
        shown = replace(
            record,
            identity="",
            origin="",
            key="",
            name=entry.name,
            service=entry.service,
            service_run_id=None,
            workflow=entry.workflow,
            workflow_id=entry.workflow_id,
            params=entry.params,
            set_params=tuple(entry.set_params),
            problem=None,
            reason=entry.error,
            warning=None,
        ).with_outputs(outputs)
        return Run(shown, self._images, history=self._reviews)  # type: ignore[arg-type]  # the part of History that Run uses

    def _sweep(self, entry: SweepEntry, runs: dict[str, Run]) -> Sweep:
        record = self.collected.sweeps[entry.token]
        spec = msgspec.to_builtins(entry.spec)
        axes = axes_from_json(spec, partial(stored_input, self._inputs))
        sweep = Sweep(
            axes,
            [(cell, "") for cell in stored_cells(axes, entry.cells)],
            workflow=entry.workflow,
            service=entry.service,
            layout=entry.spec.layout,  # type: ignore[arg-type]  # its keys are x, y and z
            images_folder=self._images,
            record=replace(
                record,
                identity="",
                origin="",
                key="",
                name=entry.name,
                service=entry.service,
                workflow=entry.workflow,
                workflow_id=entry.workflow_id,
                spec=spec,
            ),
        )
        for shown, cell in zip(sweep.cells, entry.cells, strict=True):
            if cell.run is not None:
                sweep.attach(shown, runs[cell.run])
        return sweep


class _Reviews:
    """The collected ratings and scores, with the interface of a history: `ratings.of_runs`, `scores.of_runs`."""

    def __init__(self, manifest: Manifest) -> None:
        outputs = {(run.token, image.index): image for run in manifest.runs for image in run.outputs}
        self.ratings = _OfRuns({
            key: [
                Rating(rating.rating, rating.rejected, rating.note or "", rating.source, rating.rated_at)
                for rating in image.ratings
            ]
            for key, image in outputs.items()
        })  # fmt: skip
        self.scores = _OfRuns({
            key: {score.name: Score(score.value, score.error) for score in image.scores}
            for key, image in outputs.items()
        })  # fmt: skip


class _OfRuns:
    def __init__(self, values: Mapping[tuple[str, int], Any]) -> None:
        self._values = values

    def of_runs(self, runs: Iterable[str]) -> dict[tuple[str, int], Any]:
        return {key: value for key, value in self._values.items() if key[0] in runs}
