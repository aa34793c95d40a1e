"""`comflowy-nb sweep FILE.yaml`: run the sweep of a file, with the same history as a notebook."""

from __future__ import annotations

import contextlib
import os
import sys
import textwrap
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from comflowy_nb.client import connect
from comflowy_nb.errors import ImageError, RefError, SettingsError
from comflowy_nb.images.save_target import check_before_submit, check_sweep_target, kind_of_target
from comflowy_nb.layout.text import aligned
from comflowy_nb.layout.value_text import time_text
from comflowy_nb.services.credentials import ask_key
from comflowy_nb.settings import default_target, expand_home
from comflowy_nb.status import Status
from comflowy_nb.sweeps.cell import NOT_SUBMITTED, held_text
from comflowy_nb.sweeps.headings import choose_axes, explain_labels
from comflowy_nb.workflow.axes.yaml_file import read_sweep_file

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from comflowy_nb.client import Client
    from comflowy_nb.sweeps.sweep import Sweep, SweepCell
    from comflowy_nb.tracking.run import Run
    from comflowy_nb.workflow.axes.yaml_file import SweepFile


UPDATE_S = 0.25  # between updates of the terminal
MAX_LABEL_CHARS = 32


def main(args: argparse.Namespace) -> int:
    """Run the sweep of a file.

    Returns
    -------
    int
        0 if every cell succeeded; 1 if a cell did not succeed or the sweep was stopped.

    Raises
    ------
    ComflowyError
        If the file, the target or an option is wrong (nothing was submitted), or the copies can't be written.
    KeyboardInterrupt
        After an interrupt. If the sweep was recorded, the text says how to continue.
    """
    file = read_sweep_file(args.file)
    if args.out is not None:
        check_before_submit(expand_home(args.out))
        check_sweep_target(expand_home(args.out))
    if args.name is not None:
        file.options["name"] = args.name
    if not args.connect and default_target() is None:
        raise SettingsError(
            "no target: use --connect sandbox (no key needed), --connect cloud or --connect NAME=URL, "
            "or set COMFLOWY_TARGET"
        )
    ask = partial(ask_key, note=", not shown") if sys.stdin.isatty() else None
    with connect(args.connect, name_address=args.connect is not None, ask_key=ask) as client:
        sweep, is_interrupted = _run(client, file)
        files, error = _save(sweep, args.out)
        is_file = args.out is not None and kind_of_target(expand_home(args.out)) != "folder"
        _print_table(sweep, [] if is_file else files)
        done = sweep.status_counts().get(Status.SUCCESS, 0)
        print(f"{sweep.ref}: {done} of {len(sweep.cells)} succeeded" + (f"; {sweep.stopped}" if sweep.stopped else ""))
        held = held_text(sweep)
        if held is not None:
            print(f"comflowy-nb sweep: {held}", file=sys.stderr, flush=True)
        if files:
            print(f"saved: {files[0]}" if is_file else f"saved in {args.out}: {len(files)} files")
        if is_interrupted:
            raise KeyboardInterrupt(f"interrupted; run the same command again to continue {sweep.ref}")
        if error is not None:
            raise error
        return 0 if done == len(sweep.cells) else 1


def _run(client: Client, file: SweepFile) -> tuple[Sweep, bool]:
    """Run the sweep until it is settled. Return the sweep, and whether an interrupt stopped it."""
    planned: list[Sweep] = []

    def print_plan(sweep: Sweep) -> None:
        choose_axes(sweep.axes, sweep.layout)  # reports an unknown axis before anything is submitted
        assert sweep.plan is not None
        print(*(*file.warnings, sweep.plan.text, *sweep.axes.notes), sep="\n", flush=True)
        planned.append(sweep)

    progress, is_interrupted, started_at = None, False, time.time()
    try:
        workflow = client.workflow(file.workflow)
        for line in workflow.conversion:
            print(line, flush=True)
        settings = file.settings or None  # an empty list is a table without rows
        sweep = client.sweep(workflow, settings, wait=False, on_plan=print_plan, **file.options, **file.cells)
        progress = _Progress(sweep, started_at)
        while not sweep.wait_change(UPDATE_S):
            progress.update()
    except KeyboardInterrupt:
        if not planned or planned[0].record is None:
            raise  # nothing was submitted
        sweep, is_interrupted = planned[0], True
        progress = progress or _Progress(sweep, started_at)
        progress.say("interrupted: no more cells are submitted; interrupt again to stop waiting")
        _stop(client, sweep, progress)
    progress.update()
    progress.close()
    return sweep, is_interrupted


def _stop(client: Client, sweep: Sweep, progress: _Progress) -> None:
    """Stop submitting and cancel, as in a notebook; a second interrupt stops waiting."""

    def live_runs() -> list[Run]:
        own = {run.token for run in client.live()}
        return [run for run in sweep.runs if run.token in own and run.status.is_live]

    try:
        with contextlib.suppress(RefError):  # the sweep is not being submitted yet
            sweep.cancel()
        can_cancel = client.service.can_cancel
        # Always wait for submits in progress: their outcome would be unknown otherwise.
        while sweep.is_submitting or any(can_cancel or run.status is Status.SUBMITTING for run in live_runs()):
            sweep.wait_change(UPDATE_S)
            progress.update()
        count = len(live_runs())
        if count:
            progress.say(f"{client.label} can't cancel: {count} run{'s continue' if count > 1 else ' continues'}")
    except KeyboardInterrupt:
        progress.say("stopped waiting; the submitted runs continue")


class _Progress:
    """Show the progress: a bar on a terminal, else a line for each cell that ends.

    Runs that were settled before `started_at` are counted but get no line.
    """

    def __init__(self, sweep: Sweep, started_at: float) -> None:
        self._sweep = sweep
        self._ended = {
            cell.number
            for cell in sweep.cells
            if _has_ended(cell) and cell.run is not None and cell.run.record.created_at < started_at
        }
        self._warning: str | None = None
        self._bar: Any = tqdm(
            total=len(sweep.cells),
            initial=len(self._ended),
            desc=sweep.ref,
            unit="cell",
            dynamic_ncols=True,
            disable=not sys.stderr.isatty(),  # then only `say` prints
            file=sys.stderr,
        )

    def update(self) -> None:
        """Print the changes since the last update."""
        new = [cell for cell in self._sweep.cells if cell.number not in self._ended and _has_ended(cell)]
        self._ended.update(cell.number for cell in new)
        for cell in new:
            is_success = cell.status is Status.SUCCESS
            if not is_success or self._bar.disable:
                labels = " ".join(f"{name}={_shorten(text)}" for name, text in cell.axis_texts.items())
                error = f": {cell.error}" if cell.error and not is_success else ""
                self.say(f"{cell.ref} {labels} {cell.status}{error}")
        self._bar.update(len(new))
        counts = self._sweep.status_counts()
        texts = [
            f"{count} {status}" for status, count in counts.items() if status not in {Status.SUCCESS, NOT_SUBMITTED}
        ]
        self._bar.set_postfix_str(", ".join(texts))
        warning = next((cell.run.warning for cell in self._sweep.cells if cell.run and cell.run.warning), None)
        if warning is not None and warning != self._warning:
            self.say(warning)
        self._warning = warning

    def say(self, text: str) -> None:
        self._bar.write(text, file=sys.stderr)

    def close(self) -> None:
        self._bar.close()


def _has_ended(cell: SweepCell) -> bool:
    return cell.run is not None and cell.run.record.is_settled


def _shorten(label: str) -> str:
    return textwrap.shorten(label, MAX_LABEL_CHARS, placeholder="...")


def _save(sweep: Sweep, target: Path | None) -> tuple[list[Path], ImageError | None]:
    """Save the sweep if there is a target. Return the written files, and the error if it failed."""
    try:
        return ([] if target is None else sweep.save(target)), None
    except ImageError as error:
        return [], error


def _print_table(sweep: Sweep, files: Sequence[Path]) -> None:
    """Print cell, labels, status, execution time, run, and the first image: its copy in `files`, else the original."""
    names = [axis.name for axis in sweep.axes.axes]
    rows = [["cell", *names, "status", "took", "run", "file"]]
    copies = iter(files)  # in the order of the cells and their images
    for cell in sweep.cells:
        own = [next(copies) for _ in cell.images] if files else []
        path = own[0] if own else cell.first_image
        seconds = None if cell.run is None else cell.run.record.seconds
        rows.append(
            [
                cell.ref,
                *map(_shorten, cell.axis_texts.values()),
                cell.status_text,
                "" if seconds is None else time_text(seconds),
                "" if cell.run is None else cell.run.ref,
                (cell.error or "") if path is None else os.fspath(path),
            ]
        )
    print(aligned(rows))
    for line in explain_labels(sweep):
        print(line)
