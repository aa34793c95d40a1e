"""The commands `cancel` and `resume`, for runs that are not done."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from comflowy_nb.countdown import Countdown
from comflowy_nb.database.references import parse_ref
from comflowy_nb.errors import RefError
from comflowy_nb.notebook.commands.search import unfinished, unfinished_lines
from comflowy_nb.notebook.commands.show import show_all
from comflowy_nb.notebook.display.html import paragraph
from comflowy_nb.notebook.display.live import UPDATE_S
from comflowy_nb.notebook.display.run_status_text import plain_run_line
from comflowy_nb.notebook.display.sweep_list import submit_command
from comflowy_nb.notebook.display.sweep_status_text import plain_sweep_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comflowy_nb.client import Client
    from comflowy_nb.library import Found
    from comflowy_nb.notebook.display.show import RunList
    from comflowy_nb.notebook.magic_line.request import Request
    from comflowy_nb.notebook.session import Session
    from comflowy_nb.sweeps.sweep import Sweep
    from comflowy_nb.tracking.run import Run


_CONFIRM_S = 15.0  # most services confirm a cancel at once
_CHECK_S = 15.0  # most services answer the check of a held run at once


def cancel(session: Session, request: Request) -> None:
    """Cancel runs that are not done, if the service can."""
    client = session.connected()
    found: list[Found] = []
    for word in request.words:
        ref = request.ref(word)
        if isinstance(ref, str) and parse_ref(ref).run == "last" and parse_ref(ref).back >= len(client.library.recent):
            raise RefError(f"this kernel has no run {ref!r}: name the run, as in %comflowy cancel r41")
        found.append(session.find(ref))
    # All references are found before anything is cancelled.
    lines = [
        _cancel_run(client, item.run) if item.sweep is None else _cancel_sweep(client, session.sweep(item.sweep))
        for item in found
    ]
    session.say(paragraph(*lines))


def _cancel_run(client: Client, run: Run) -> str:
    """Cancel a run. Return a line about the result."""
    if not run.status.is_live:
        return f"{run.ref} is not running: {run.status}"
    if not client.service.can_cancel:
        return f"{client.label} can't cancel: {run.ref} continues"
    client.cancel(run)
    end_s = time.monotonic() + _CONFIRM_S
    while not run.wait_change(UPDATE_S) and time.monotonic() < end_s:
        pass
    return plain_run_line(run) if not run.status.is_live else f"{run.ref}: cancel requested, not confirmed yet"


def _cancel_sweep(client: Client, sweep: Sweep) -> str:
    """Stop submitting a sweep, and cancel its runs. Return a line about the result."""

    def live() -> list[Run]:
        return [run for run in sweep.runs if run.status.is_live]

    if sweep.is_settled and not live():
        return f"{sweep.ref} is not running: {plain_sweep_line(sweep)}"
    if sweep.is_submitting:
        sweep.cancel()
    can_cancel, cancelled = client.service.can_cancel, set[str]()
    end_s = time.monotonic() + _CONFIRM_S
    # Another kernel may submit some more before it sees the request.
    while (sweep.is_submitting or (can_cancel and not sweep.is_settled)) and time.monotonic() < end_s:
        for run in live():
            if can_cancel and run.token not in cancelled:
                cancelled.add(run.token)
                client.cancel(run)
        sweep.wait_change(UPDATE_S)
    if sweep.is_submitting:
        return f"{sweep.ref}: the kernel that submits it was asked to stop and has not confirmed it yet"
    if not can_cancel:
        count = len(live())
        runs = f"1 run of {sweep.ref} continues" if count == 1 else f"{count} runs of {sweep.ref} continue"
        return f"{client.label} can't cancel: {runs}, and no more are submitted"
    return plain_sweep_line(sweep)


def resume(session: Session, request: Request) -> Run | Sweep | RunList:
    """Continue to track the given runs, or all orphaned runs of this service, and show them.

    Held runs are shown after their check.
    """
    client = session.connected()
    refs: list[str] = []
    sweeps: list[Sweep] = []
    for ref in map(request.ref, request.words):
        record = session.find(ref).sweep
        if record is None:
            refs.append(ref if isinstance(ref, str) else ref.ref)
            continue
        sweep = session.sweep(record)
        sweeps.append(sweep)
        refs += [cell.ref for cell in sweep.cells if cell.status is not None and not cell.status.is_final]
    resumed = client.resume(*refs) if refs or not sweeps else []
    countdown = Countdown(_CHECK_S)
    for run in resumed:
        client.connection.tracker.wait_checked(run, countdown.left_s())
    if not refs and not sweeps:
        session.say(paragraph(*_resumed_lines(session, client, resumed)))
    elif lines := [line for sweep in sweeps if (line := _missing_line(sweep))]:
        session.say(paragraph(*lines))
    if not refs:
        records = client.library.history.sweeps.of_runs([run.token for run in resumed])
        sweeps += [session.sweep(record) for record in {record.token: record for record in records.values()}.values()]
    in_sweeps = {cell.run.token for sweep in sweeps for cell in sweep.cells if cell.run is not None}
    return show_all(session, sweeps, [run for run in resumed if run.token not in in_sweeps])


def _resumed_lines(session: Session, client: Client, resumed: Sequence[Run]) -> list[str]:
    """Return lines about the resumed runs and the sweeps that are not finished."""
    live = client.live()
    tracked = f"{len(live)} run{' is' if len(live) == 1 else 's are'} tracked"
    first = "all runs are done or tracked already" if not resumed else f"{len(resumed)} resumed"
    return [f"{first}; {tracked}" if live else first, *unfinished_lines(session, unfinished(session))]


def _missing_line(sweep: Sweep) -> str | None:
    """Return a line with the command that submits the cells without a run; None if there are none to submit."""
    missing = sum(cell.status is None for cell in sweep.cells)
    if not missing or sweep.is_submitting or sweep.record is None:
        return None
    title = " ".join(filter(None, (sweep.ref, sweep.name)))
    cells = f"{missing} of {len(sweep.cells)} cells {'was' if missing == 1 else 'were'} not submitted"
    them = "it" if missing == 1 else "them"
    return f"{title}: {cells}. To submit {them}, run its cell again or {submit_command(sweep.record)}"
