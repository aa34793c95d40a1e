"""The commands `connect`, `login` and `logout`, and `%comflowy` without a command."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from IPython.core.error import UsageError

from comflowy_nb.errors import ComflowyError, ServiceError, SettingsError, counted
from comflowy_nb.notebook.commands.cleanup import disk_line
from comflowy_nb.notebook.commands.search import rows_table, unfinished, unfinished_lines
from comflowy_nb.notebook.display.html import join, paragraph
from comflowy_nb.notebook.display.run_status_text import plain_run_line
from comflowy_nb.notebook.display.status_line import day
from comflowy_nb.services.credentials import WHERE_THE_KEY_IS, ask_key, forget_key, store_key
from comflowy_nb.services.targets import is_loopback, origin_of
from comflowy_nb.services.workflow_finder import SERVER_LAST
from comflowy_nb.settings import cloud_url, default_target
from comflowy_nb.workflow.syntax.line import expand_text

if TYPE_CHECKING:
    from comflowy_nb.client import Client
    from comflowy_nb.database.queries.search import RunRow
    from comflowy_nb.notebook.magic_line.request import Request
    from comflowy_nb.notebook.session import Session


_WAYS = (
    "%comflowy connect sandbox          a server on this machine: no key, no GPU",
    "%comflowy connect cloud            Comflowy, with your API key",
    "%comflowy connect comfyui          a ComfyUI server on this machine",
    "%comflowy connect NAME=https://... another server",
)
_LISTED = 6  # workflows or runs
_MAX_LISTED_RUNS = 12  # runs that finished


def connect(session: Session, request: Request) -> None:
    """Connect, and show the service, its workflows, and the runs of earlier kernels that have finished."""
    typed = [*request.words, *request.fields]
    if len(typed) != 1:
        raise UsageError(
            f"connect takes one target, and this line has {len(typed) or 'none'}: %comflowy {request.command.usage}, "
            "where TARGET is sandbox, cloud, comfyui or an address"
        )
    target = expand_text(typed[0].text, request.namespace)
    client = session.connect(target, name_address=target == typed[0].text, **request.arguments("webhooks"))
    moved = [f"{client.label} named another target before; it names this one now"] if client.is_moved else []
    orphaned = unfinished_lines(session, unfinished(session), only_orphaned=True)
    from comflowy_nb.notebook.commands.webhooks import tested_line  # noqa: PLC0415 - loads the HTTP stack

    tested = tested_line(client)
    session.say(paragraph(*_connection_line(client), *moved, *tested, *_finished_orphans(client), *orphaned))


def login(session: Session, request: Request) -> None:
    """Ask for the key of the connected service, or of the cloud, and store it in the keyring if there is one."""
    del request
    client = session.client
    if client is not None and client.service.kind != "comflowy":
        server = "the sandbox" if client.service.kind == "sandbox" else "a ComfyUI server"
        raise SettingsError(f"{server} needs no key; for the cloud: %comflowy connect cloud")
    label, origin = _account(client)
    key = ask_key(label) if session.can_answer else None
    if key is None:
        raise SettingsError(
            f"no key was entered. {WHERE_THE_KEY_IS}. If the notebook can't prompt for it, set the environment "
            "variable COMFLOWY_API_KEY"
        )
    if client is not None:
        session.connect(session.target, key=key, webhooks=session.webhooks)  # raises if the key is invalid
    is_stored = store_key(origin, key)
    where = "in the keyring" if is_stored else "for this kernel only; to keep it longer: pip install keyring"
    then = f"connected to {label}" if client is not None else "%comflowy connect cloud uses it"
    session.say(paragraph(f"the key for {label} is stored {where} - {then}"))


def logout(session: Session, request: Request) -> None:
    """Delete the key of the connected service, or of the cloud, and disconnect."""
    del request
    label, origin = _account(session.client)
    result = f"the stored key for {label} was deleted" if forget_key(origin) else f"there was no stored key for {label}"
    session.disconnect()
    session.say(paragraph(f"{result}; no service is connected"))


def overview(session: Session, request: Request) -> None:
    """Show the connection, sweeps and runs in progress, recent runs, and the next commands."""
    del request
    client = session.client
    target = default_target()
    history = session.library.history
    sweeps = unfinished(session)
    sweep_lines = [paragraph(*lines)] if (lines := unfinished_lines(session, sweeps)) else []
    if client is not None:
        parts = [paragraph(*_connection_line(client), *_finished_orphans(client)), *sweep_lines]
        cells = {token for sweep in sweeps for token in history.sweeps.runs_of(sweep.record.token).values()}
        live = [run for run in client.live() if run.token not in cells]
        if live:
            parts.append(paragraph("running:", *(plain_run_line(run) for run in live[:_LISTED])))
    elif target is not None:
        text = f"no service is connected yet; the first run connects to {_without_address(target)}"
        parts = [*sweep_lines, paragraph(text)]
    else:
        parts = [*sweep_lines, paragraph("no service is connected", *_WAYS)]
    recent = history.search_rows(limit=_LISTED)
    if recent:
        parts.append(rows_table(session, recent))
        parts.append(paragraph(disk_line(session.library)))
    if client is None and target is None:
        following = "next: %comflowy connect sandbox"
    else:
        shown = [f"%comflowy show {_ref_of(session, recent[0])}"] if recent else []
        following = "   ".join([f"next: {_first_command(client)}", *shown, "%comflowy help"])
    session.say(join(*parts, paragraph(following)))


def _ref_of(session: Session, row: RunRow) -> str:
    """Return the sweep reference of a row, else its run reference."""
    sweep = None if row.sweep is None else session.library.history.sweeps.get(row.sweep)
    return row.runs[0].ref if sweep is None else sweep.ref


def _account(client: Client | None) -> tuple[str, str]:
    """Return the label and the origin of the connected service, or of the cloud if none is connected."""
    return (client.label, client.service.origin) if client is not None else ("cloud", origin_of(cloud_url()))


def _connection_line(client: Client) -> list[str]:
    """Return a line with the service and its workflows."""
    names = _names_that_run(client)
    if client.service.on_loopback or client.service.runs_graphs:
        for name in names[:_LISTED]:
            with suppress(ComflowyError):
                client.workflow(name)  # loads the fields for completion
    listed = [*names[:_LISTED], *([SERVER_LAST] if client.service.runs_graphs else [])]
    if len(names) > _LISTED:
        listed[_LISTED - 1] += " ..."
    return [f"connected to {client.label}" + (f" - workflows: {', '.join(listed)}" if listed else "")]


def _names_that_run(client: Client) -> list[str]:
    """Return the names of the workflows that run on the connected service."""
    with suppress(ServiceError):  # the list is optional
        return [known.name for known in client.connection.finder.known() if known.runs_here]
    return []


def _first_command(client: Client | None) -> str:
    """Return the command that runs a workflow, or adds one if the connected service can run none that is known."""
    names = ["default"] if client is None else _names_that_run(client)
    if not names and client is not None and not client.service.runs_graphs:
        return "%comflowy workflow add NAME ID"
    return f"%comflowy run {names[0] if names and 'default' not in names else 'default'}"


def _finished_orphans(client: Client) -> list[str]:
    """Return a line about the runs of earlier kernels that have finished."""
    done = client.connection.take_ended_orphans()
    if not done:
        return []
    sweep_of = client.library.history.sweeps.of_runs([run.token for run in done])
    named = dict.fromkeys(sweep_of[run.token].ref if run.token in sweep_of else run.ref for run in done)
    refs = " ".join(list(named)[:_MAX_LISTED_RUNS])
    days = {day(run.record.created_at) for run in done}
    since = f" from {days.pop()}" if len(days) == 1 else ""
    count = counted(len(done), "run")
    return [f"{count}{since} finished: %comflowy show {refs}"]


def _without_address(target: str) -> str:
    """Return a target without its address, because outputs never contain addresses of servers."""
    name, sign, rest = target.partition("=")
    if sign and "/" not in name:
        return name
    if "://" not in target:
        return target
    try:
        return "a server on this machine" if is_loopback(origin_of(rest or target)) else "the server of COMFLOWY_TARGET"
    except SettingsError:
        return "COMFLOWY_TARGET"
