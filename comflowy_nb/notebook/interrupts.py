"""Wait for a run or a sweep in its cell. An interrupt cancels it, and is raised again with a text of one line.

In Python code, `Connection.cancel_interrupted` does the same for `Client.run` and `Client.sweep`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from comflowy_nb.errors import ComflowyError
from comflowy_nb.notebook.display.live import UPDATE_S, wait_drawing
from comflowy_nb.notebook.display.views import RunView, SweepView
from comflowy_nb.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from comflowy_nb.client import Client
    from comflowy_nb.notebook.magic_line.request import Request
    from comflowy_nb.notebook.session import Session


def wait_in_cell(session: Session, client: Client, request: Request, show: Callable[[], RunView | SweepView]) -> bool:
    """Show a run or a sweep in this cell and wait until it is settled.

    Parameters
    ----------
    show
        Creates the view. It is called again only if an interrupt arrives before it has returned.

    Returns
    -------
    False with `--background`, because the cell then does not wait.

    Raises
    ------
    KeyboardInterrupt
        After an interrupt. The text says what was cancelled.
    RunTimeout
        After the time in `--timeout`. The output is updated until the run is settled.
    """
    options, view = request.options, None
    try:
        view = show()
        if "as" in options:
            session.shell.push({options["as"]: view.value})
        if options.get("background") and session.can_answer:
            if "save" in options:
                view.note(f"--save is not done in the background: %comflowy save {view.ref} DIR")
            session.updater.add(view)
            return False
        wait_drawing([view], options.get("timeout"))
    except KeyboardInterrupt:
        raise cancel_view(session, client, view or show()) from None
    except ComflowyError:  # a timeout
        session.updater.add(view or show())
        raise
    return True


def cancel_view(session: Session, client: Client, view: RunView | SweepView) -> KeyboardInterrupt:
    """Cancel the run or sweep of a view, if the service can, and return the KeyboardInterrupt to raise.

    A second interrupt ends the wait for the confirmation.
    """
    try:
        if isinstance(view, SweepView):
            _cancel_sweep(client, view)
        else:
            _cancel_run(client, view)
    except KeyboardInterrupt:
        view.note("stopped waiting; it continues")
    if view.is_settled:
        view.finish()
    else:
        session.updater.add(view)
    if isinstance(view, SweepView):
        done = view.sweep.status_counts().get(Status.SUCCESS, 0)
        return KeyboardInterrupt(f"{view.ref}: {done} of {len(view.sweep.cells)} done. Run the cell again to continue.")
    status = view.run.status
    return KeyboardInterrupt(f"{view.ref} continues" if status.is_live else f"{view.ref}: {status}")


def _cancel_run(client: Client, view: RunView) -> None:
    """Cancel the run and wait for the confirmation. If the service can't cancel, return a text that says so."""
    run = view.run
    if not run.status.is_live:
        return
    if not client.service.can_cancel:
        view.note(f"{client.label} can't cancel: it continues")
    elif run not in client.live():
        view.note("another kernel's run: it continues")
    else:
        view.note("cancelling")
        client.cancel(run)  # waits for a submit that is in progress
        wait_drawing([view])
        view.clear_note()


def _cancel_sweep(client: Client, view: SweepView) -> None:
    """Stop submitting, cancel the runs of this kernel, and wait for the confirmations."""
    sweep, can_cancel = view.sweep, client.service.can_cancel
    sweep.cancel()
    if can_cancel:
        view.note("cancelling")
    while sweep.is_submitting:  # submits that were in progress
        sweep.wait_change(UPDATE_S)
    own = {run.token for run in client.live()}
    running = [run for run in sweep.runs if run.status.is_live]
    if can_cancel:
        while any(run.status.is_live and run.token in own for run in running):
            sweep.wait_change(UPDATE_S)
            view.draw()
        view.clear_note()
    elif running:
        view.note(f"{client.label} can't cancel: {'1 goes' if len(running) == 1 else f'{len(running)} go'} on")
    while not sweep.is_settled and all(run.record.is_settled for run in sweep.runs):
        sweep.wait_change(UPDATE_S)  # until the end of the sweep is recorded
