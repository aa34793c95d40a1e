"""One cell of a sweep, the warning about held cells, and the error of a strict sweep."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import ImageError, RefError, RunFailed, counted
from comflowy_nb.held_runs import held_cells_text
from comflowy_nb.status import Status
from comflowy_nb.workflow.images import InputImage, input_of, is_image

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from comflowy_nb.sweeps.sweep import Sweep
    from comflowy_nb.tracking.run import Images, Run, RunImage
    from comflowy_nb.workflow.axes.types import Axis, Cell


NOT_SUBMITTED = "not submitted"  # shown instead of a status before the cell is submitted


class SweepCell:
    """One combination of values of a sweep.

    Attributes
    ----------
    number
        Number of the cell, from 1.
    at
        Index of the value on each axis, from 0.
    labels
        Axis name -> label of the value.
    info
        Column name -> text, for the columns of a table that are not fields (`--info`).
    params
        Values of all fields that are set, by field id.
    run
        The run of the cell; None before it is submitted.
    planned
        The decision of the plan about the cell, such as `done` or `new`; None without a plan.
    """

    __slots__ = ("at", "info", "key", "labels", "number", "params", "planned", "run", "sweep")

    def __init__(self, sweep: Sweep, cell: Cell, key: str) -> None:
        self.sweep = sweep
        self.number = cell.number
        self.at = cell.at
        self.labels: Mapping[str, str] = cell.labels
        self.info: Mapping[str, str] = cell.info
        self.params: Mapping[str, Any] = cell.params
        self.key = key
        self.planned: str | None = None
        self.run: Run | None = None

    @property
    def ref(self) -> str:
        """Reference of the cell: `s1.7`."""
        return f"{self.sweep.ref}.{self.number}"

    @property
    def axis_texts(self) -> dict[str, str]:
        """Axis name -> text of the value: its label, or the seed that was generated for it."""
        pairs = zip(self.sweep.axes.axes, self.at, strict=True)
        return {axis.name: " + ".join(self._text(part, index) for part in axis.simple) for axis, index in pairs}

    @property
    def text(self) -> str:
        """The values on all axes in one line: `row=day, cfg=5`."""
        return ", ".join(f"{name}={text}" for name, text in self.axis_texts.items())

    def _text(self, axis: Axis, index: int) -> str:
        label = axis.values[index].label
        return label if axis.kind != "seeds" else seed_text(axis, self.params) or f"random {label}"

    @property
    def status(self) -> Status | None:
        """Status of the run; None before the cell is submitted."""
        return None if self.run is None else self.run.status

    @property
    def status_text(self) -> str:
        """Status of the run, or `not submitted`."""
        return NOT_SUBMITTED if self.run is None else str(self.run.status)

    @property
    def error(self) -> str | None:
        """Error of the run in one line, or None."""
        return None if self.run is None else self.run.error

    @property
    def images(self) -> Images | Sequence[Any]:
        """Images of the run; empty before the cell is submitted."""
        return () if self.run is None else self.run.images

    @property
    def named_images(self) -> list[tuple[str, RunImage]]:
        """The images, each with its reference: `s1.7`, or `s1.7[1]` if there are several."""
        images = list(self.images)
        return [(self.ref if len(images) == 1 else f"{self.ref}[{at}]", image) for at, image in enumerate(images)]

    @property
    def rating(self) -> int | None:
        """The best rating of its images that are not rejected, 1 to 5; None if none is rated. Read at each use."""
        return None if self.run is None else self.run.rating

    @property
    def first_image(self) -> Path | None:
        """Path of the first image on disk; None if there is none."""
        return first_path(self.images)

    def has(self, name: str) -> bool:
        """Return whether `name` is an axis or a field of the cell."""
        return name in self.labels or name in self.info or any(_is_named(key, name) for key in self.params)

    def matches(self, name: str, value: Any) -> bool:
        """Return whether the cell has this label on the axis `name`, or this value in the field `name`."""
        if any(label == str(value) for axis, label in self.labels.items() if _is_named(axis, name)):
            return True
        if name in self.info and self.info[name] == str(value):
            return True
        if is_image(value):
            value = input_of(value).content_sha256
        params = [param for key, param in self.params.items() if _is_named(key, name)]
        params = [param.content_sha256 if isinstance(param, InputImage) else param for param in params]
        return any(param == value or (isinstance(value, str) and str(param) == value) for param in params)

    def __repr__(self) -> str:
        return f"<SweepCell {self.ref} {self.text} {self.status_text}>"


def seed_text(axis: Axis, params: Mapping[str, Any]) -> str:
    """Return the seed of an axis `random#N` among the params of a cell; empty if it is not among them."""
    return next((str(params[key]) for key in axis.fields if key in params), "")


def _is_named(key: str, name: str) -> bool:
    """Return whether a name, with or without its node id, is the name of this field or axis."""
    return key == name or key.endswith(f"::{name}")


def first_path(images: Iterable[RunImage]) -> Path | None:
    """Return the path of the first of these images that is on disk; None if none is."""
    for image in images:
        with contextlib.suppress(ImageError):
            return image.path
    return None


def no_run_text(ref: str) -> str:
    """Return the error for a cell without a run."""
    why = "it was not submitted, or its run was deleted"
    return f"{ref} has no run: {why}. To submit it, run the sweep again"


def find_cells(sweep: Sweep, key: int | str | slice) -> SweepCell | list[SweepCell]:
    """Return the cell with an index, from 0, or a reference (`s1.7`, `NAME.7`); for a slice, a list of cells.

    Raises
    ------
    RefError
        If there is no such cell.
    """
    cells = sweep.cells
    if isinstance(key, str):
        names = (sweep.ref, sweep.name)
        found = [cell for cell in cells if key.strip() in {f"{name}.{cell.number}" for name in names if name}]
        if found:
            return found[0]
    elif not isinstance(key, bool):
        with contextlib.suppress(IndexError, TypeError):
            return cells[key]
    count = len(cells)
    indices, refs = f"[0] to [{count - 1}]", f'["{sweep.ref}.1"] to ["{sweep.ref}.{count}"]'
    raise RefError(f"{sweep.ref} has {counted(count, 'cell')}, so there is no [{key!r}]: use {indices}, or {refs}")


# -- cells that did not succeed --------------------------------------------------------------------------------------


def held_text(sweep: Sweep) -> str | None:
    """Return the warning about the held cells of a sweep; None if there are none."""
    held = [run for run in sweep.runs if run.status.is_held]
    return held_cells_text(len(held), submitted_again=sum(run.is_submitted_again for run in held))


def raise_for_failures(sweep: Sweep) -> None:
    """Raise RunFailed, with the sweep as `.run`, if a cell did not succeed."""
    unsuccessful = [cell for cell in sweep.cells if cell.status is not Status.SUCCESS]
    if not unsuccessful:
        return
    first = next((f": {text}" for text in sweep.errors.values()), "")
    held = held_text(sweep)
    more = f" ({held})" if held else ""
    raise RunFailed(
        f"{len(unsuccessful)} of {len(sweep.cells)} cells of {sweep.ref} did not succeed{first}{more}", sweep
    )
