"""`comflowy-nb sweep FILE.yaml`: run the sweep of a file, with the same history as a notebook."""

from __future__ import annotations

import contextlib
import getpass
import os
import sys
import textwrap
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from comflowy_nb.client import connect
from comflowy_nb.errors import ComflowyError, ImageError, RefError, SettingsError
from comflowy_nb.images.save_target import check_sweep_target, kind_of_target
from comflowy_nb.settings import Secret, default_target
from comflowy_nb.status import Status
from comflowy_nb.sweeps.captions import choose_axes
from comflowy_nb.sweeps.sweep import held_text
from comflowy_nb.sweeps.table import NOT_SENT
from comflowy_nb.workflow.axes.yaml_file import read_sweep_file

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from comflowy_nb.client import Client
    from comflowy_nb.sweeps.sweep import Sweep, SweepCell
    from comflowy_nb.tracking.run import Run
    from comflowy_nb.workflow.axes.yaml_file import SweepFile

__all__ = ["INTERRUPTED", "main"]

INTERRUPTED = 130  # what a shell expects of a command ended by Ctrl-C
UPDATE_S = 0.25  # between updates of the terminal
MAX_LABEL_CHARS = 32

_NOT_SUBMITTED = frozenset({"done", "left alone", "unknown", "lost"})  # in the plan of a cell that is not submitted
_BAD = frozenset({Status.FAILED, Status.REJECTED, Status.CANCELLED, Status.UNKNOWN, Status.LOST})


def main(args: argparse.Namespace) -> int:
    """Run the sweep of a file.

    Returns
    -------
    0 if every cell succeeded, 1 if one did not or the sweep was stopped, 130 after an interrupt.

    Raises
    ------
    ComflowyError
        If the file, the target or an option is wrong; nothing was submitted.
    """
    swept = read_sweep_file(args.file)
    if args.out is not None:
        check_sweep_target(args.out.expanduser())
    options = dict(swept.options)
    if args.name is not None:
        options["name"] = args.name
    if not args.connect and default_target() is None:
        raise SettingsError("connect to what? --connect sandbox (no key needed), cloud or NAME=URL; or COMFLOWY_TARGET")
    with connect(
        args.connect, name_address=args.connect is not None, ask_key=_ask_key if sys.stdin.isatty() else None
    ) as client:
        sweep, interrupted = _sweep(client, swept, options)
        files, why = _save(sweep, args.out)
        is_zip = args.out is not None and kind_of_target(args.out.expanduser()) == "zip"
        _print_table(sweep, [] if is_zip else files)
        done = sweep.status_counts().get(Status.SUCCESS, 0)
        print(f"{sweep.ref}: {done} of {len(sweep.cells)} succeeded" + (f"; {sweep.stopped}" if sweep.stopped else ""))
        held = held_text(sweep, option="retry: unknown in the file")
        if held is not None:
            _print_error(held)
        if args.out is not None and why is None:
            print(f"saved: {files[0]}" if is_zip else f"saved in {args.out}: {len(files)} files")
        if interrupted:
            _print_error(f"interrupted; the same command goes on with what is left of {sweep.ref}")
            return INTERRUPTED
        if why is not None:
            raise ComflowyError(why)
        return 0 if done == len(sweep.cells) else 1


def _sweep(client: Client, swept: SweepFile, options: dict[str, Any]) -> tuple[Sweep, bool]:
    """Run the sweep; return it, and True if it was interrupted."""
    planned_sweeps: list[Sweep] = []

    def on_plan(planned: Sweep) -> None:
        _print_plan(planned)
        planned_sweeps.append(planned)

    try:
        sweep = client.sweep(swept.workflow, swept.settings, wait=False, on_plan=on_plan, **options)
        return sweep, not _watch(client, sweep)
    except KeyboardInterrupt:
        if not planned_sweeps or planned_sweeps[0].record is None:
            raise  # nothing was submitted
        sweep = planned_sweeps[0]
        with _Progress(sweep) as progress, contextlib.suppress(RefError):  # it was not submitting yet
            _stop(client, sweep, progress)
        return sweep, True


def _print_plan(planned: Sweep) -> None:
    choose_axes(planned.axes, planned.layout)  # reports an unknown axis before anything is submitted
    assert planned.plan is not None
    print(planned.plan.text, flush=True)


def _ask_key(label: str) -> Secret | None:
    try:
        typed = getpass.getpass(f"API key for {label} (not shown): ").strip()
    except EOFError:
        return None
    return Secret(typed) if typed else None


def _print_error(text: str) -> None:
    print(f"comflowy-nb sweep: {text}", file=sys.stderr, flush=True)


# -- while it runs ----------------------------------------------------------------------------------------------------


def _watch(client: Client, sweep: Sweep) -> bool:
    """Show the sweep until it is settled; return False after an interrupt."""
    with _Progress(sweep) as progress:
        try:
            while not sweep.wait_change(UPDATE_S):
                progress.update()
        except KeyboardInterrupt:
            progress.say("interrupted: no more is submitted; interrupt again to stop waiting")
            _stop(client, sweep, progress)
            return False
        finally:
            progress.update()
    return True


def _stop(client: Client, sweep: Sweep, progress: _Progress) -> None:
    """Stop submitting and cancel, as in a notebook; a second interrupt stops waiting."""
    try:
        sweep.cancel()
        can_cancel = client.service.can_cancel
        # Always wait for submits in progress: their outcome would be unknown otherwise.
        while sweep.is_sending or any(can_cancel or run.status is Status.SUBMITTING for run in _own(client, sweep)):
            sweep.wait_change(UPDATE_S)
            progress.update()
        left = len(_own(client, sweep))
        if left:
            progress.say(f"{client.label} can't cancel: {left} go on there")
    except KeyboardInterrupt:
        progress.say("stopped waiting; what runs goes on")


def _own(client: Client, sweep: Sweep) -> list[Run]:
    """Return the runs in progress of the sweep that this process follows."""
    followed = {run.token for run in client.live()}
    runs = [cell.run for cell in sweep.cells if cell.run is not None and cell.run.token in followed]
    return [run for run in runs if run.status.is_live]


class _Progress:
    """A bar on a terminal; elsewhere a line for each cell that ends."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        # a submitted cell may have ended already, and is still reported
        self._ended = {cell.number for cell in sweep.cells if _has_ended(cell) and cell.planned in _NOT_SUBMITTED}
        self._on_terminal = sys.stderr.isatty()
        self._trouble: str | None = None
        self._bar: Any = tqdm(
            total=len(sweep.cells),
            initial=len(self._ended),
            desc=sweep.ref,
            unit="cell",
            dynamic_ncols=True,
            disable=not self._on_terminal,
            file=sys.stderr,
        )

    def update(self) -> None:
        """Print the changes since the last update."""
        new = [cell for cell in self._sweep.cells if cell.number not in self._ended and _has_ended(cell)]
        self._ended.update(cell.number for cell in new)
        for cell in new:
            if cell.status in _BAD or not self._on_terminal:
                self.say(_line(cell))
        if self._on_terminal:
            self._bar.update(len(new))
            counts = self._sweep.status_counts()
            words = [f"{count} {word}" for word, count in counts.items() if word not in {Status.SUCCESS, NOT_SENT}]
            self._bar.set_postfix_str(", ".join(words), refresh=True)
        trouble = next((cell.run.warning for cell in self._sweep.cells if cell.run and cell.run.warning), None)
        if trouble is not None and trouble != self._trouble:
            self.say(trouble)
        self._trouble = trouble

    def say(self, text: str) -> None:
        if self._on_terminal:
            tqdm.write(text, file=sys.stderr)
        else:
            print(text, file=sys.stderr, flush=True)

    def __enter__(self) -> _Progress:  # noqa: PYI034 - final
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()


def _has_ended(cell: SweepCell) -> bool:
    return cell.run is not None and cell.run.record.is_settled


def _line(cell: SweepCell) -> str:
    labels = " ".join(f"{name}={textwrap.shorten(label, MAX_LABEL_CHARS)}" for name, label in cell.labels.items())
    error = f": {cell.error}" if cell.status in _BAD and cell.error else ""
    return f"{cell.ref} {labels} {cell.status}{error}"


# -- at the end -------------------------------------------------------------------------------------------------------


def _save(sweep: Sweep, folder: Path | None) -> tuple[list[Path], str | None]:
    """Return the files written into the folder, if one was named, and the reason if that failed."""
    if folder is None:
        return [], None
    try:
        return sweep.save(folder), None
    except ImageError as error:
        return [], str(error)


def _print_table(sweep: Sweep, files: Sequence[Path]) -> None:
    """Print cell, labels, status, seconds, run, and the image file: its copy, else the original."""
    saved = _copies(sweep, files)
    names = [axis.name for axis in sweep.axes.axes]
    rows = [["cell", *names, "status", "seconds", "run", "file"]]
    for cell in sweep.cells:
        seconds = None if cell.run is None else cell.run.record.seconds
        rows.append(
            [
                cell.ref,
                *(textwrap.shorten(cell.labels.get(name, ""), MAX_LABEL_CHARS, placeholder="...") for name in names),
                NOT_SENT if cell.status is None else str(cell.status),
                "" if seconds is None else f"{seconds:.1f}",
                "" if cell.run is None else cell.run.ref,
                saved.get(cell.number) or _image(cell) or cell.error or "",
            ]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        line = "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True))
        print(line.rstrip())


def _copies(sweep: Sweep, files: Sequence[Path]) -> dict[int, str]:
    """Return number of a cell -> its first copy. `files` is in the order of the cells and their images."""
    found: dict[int, str] = {}
    left = iter(files)
    for cell in sweep.cells if files else ():
        for index, _ in enumerate(cell.images):
            path = next(left)
            if index == 0:
                found[cell.number] = os.fspath(path)
    return found


def _image(cell: SweepCell) -> str | None:
    for image in cell.images:
        try:
            return os.fspath(image.path)
        except ImageError:
            continue
    return None
