"""`connect`, `login`, `logout`, and bare `%comflowy`: the connection and what is running."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from IPython.core.error import UsageError

from comflowy_nb.errors import ComflowyError, ServiceError, SettingsError
from comflowy_nb.notebook.commands.runs import as_table
from comflowy_nb.notebook.display.html import join, paragraph, table
from comflowy_nb.notebook.display.status import day, plain_line
from comflowy_nb.services.credentials import forget_key, store_key
from comflowy_nb.services.targets import is_loopback, origin_of
from comflowy_nb.settings import cloud_url, default_target
from comflowy_nb.workflow.finder import SERVER_LAST
from comflowy_nb.workflow.syntax.expansion import expand_text

if TYPE_CHECKING:
    from comflowy_nb.client import Client
    from comflowy_nb.notebook.commands.table import Request
    from comflowy_nb.notebook.session import Session
    from comflowy_nb.tracking.run import Run

__all__ = ["connect", "login", "logout", "overview"]

_WAYS = (
    "%comflowy connect sandbox         a server on this machine: no key, no GPU, no network",
    "%comflowy connect cloud           Comflowy, with your API key",
    "%comflowy connect comfyui         a ComfyUI server on this machine",
    "%comflowy connect NAME=https://   another server",
)
_LISTED = 6


def connect(session: Session, request: Request) -> None:
    """Connect, say to what, what can be run there, and what finished meanwhile."""
    typed = [*request.words, *request.fields]
    if len(typed) != 1:
        raise UsageError(
            f"connect to one target: %comflowy {request.command.usage}: sandbox, cloud, comfyui or an address"
        )
    target = expand_text(typed[0].text, request.namespace)
    client = session.connect(target, name_address=target == typed[0].text)
    moved = [f"{client.label} stood for another target before; from now on it is this one"] if client.is_moved else []
    session.say(paragraph(*_greeting(client), *moved, *_news(client)))


def login(session: Session, request: Request) -> None:
    """Ask for the key of the connected service, else of the cloud; store it in the keyring if there is one."""
    del request
    client = session.client
    if client is not None and client.service.kind != "comflowy":
        what = "the sandbox" if client.service.kind == "sandbox" else "a ComfyUI server"
        raise SettingsError(f"{what} needs no key")
    origin = client.service.origin if client is not None else origin_of(cloud_url())
    label = client.label if client is not None else "cloud"
    key = session.ask_key(label)
    if key is None:
        raise SettingsError("a key was not typed; in a notebook that can't ask, set COMFLOWY_API_KEY")
    if client is not None:
        session.connect(session.target, key=key)  # rejects a wrong key before it is stored
    kept = store_key(origin, key)
    where = "in the keyring" if kept else "for this kernel; with a keyring (pip install keyring) it is kept longer"
    then = f"connected to {label}" if client is not None else "%comflowy connect cloud uses it"
    session.say(paragraph(f"the key for {label} is kept {where} - {then}"))


def logout(session: Session, request: Request) -> None:
    """Forget the key of the connected service, else of the cloud, and disconnect."""
    del request
    client = session.client
    label = client.label if client is not None else "cloud"
    origin = client.service.origin if client is not None else origin_of(cloud_url())
    forgot = forget_key(origin)
    session.disconnect()
    what = f"the key for {label} is forgotten" if forgot else f"no key for {label} was kept"
    session.say(paragraph(f"{what}; nothing is connected now"))


def overview(session: Session, request: Request) -> None:
    """Show the connection, the runs in progress, recent runs, and the next commands."""
    del request
    client = session.client
    parts = []
    if client is None:
        target = default_target()
        first = (
            f"nothing is connected yet; the first run connects to {_short(target)}"
            if target
            else "nothing is connected"
        )
        parts.append(paragraph(first, *(() if target else _WAYS)))
    else:
        parts.append(paragraph(*_greeting(client), *_news(client)))
        live = client.live()
        if live:
            parts.append(paragraph("running:", *(plain_line(run) for run in live[:_LISTED])))
    recent = session.library.runs(limit=_LISTED)
    if recent:
        parts.append(table(as_table(recent)))
    session.say(join(*parts, paragraph(*_next(session, recent))))


def _greeting(client: Client) -> list[str]:
    names: list[str] = []
    with suppress(ServiceError):  # the list is optional
        names = [known.name for known in client.finder.known() if known.runs_here]
    if client.service.on_loopback or client.service.runs_graphs:
        for name in names[:_LISTED]:
            with suppress(ComflowyError):
                client.workflow(name)  # loads the fields for completion
    listed = ", ".join(names[:_LISTED]) + (" ..." if len(names) > _LISTED else "")
    if client.service.runs_graphs:
        listed += f", {SERVER_LAST}" if listed else SERVER_LAST
    return [f"connected to {client.label}" + (f" - workflows: {listed}" if listed else "")]


def _news(client: Client) -> list[str]:
    """Return a line about the runs of earlier kernels that have finished."""
    done = client.news()
    if not done:
        return []
    refs = " ".join(run.ref for run in done[:12])
    when = {day(run.record.created_at) for run in done}
    since = f" from {when.pop()}" if len(when) == 1 else ""
    count = f"{len(done)} run{'s' * (len(done) != 1)}"
    return [f"{count}{since} finished: %comflowy show {refs}"]


def _next(session: Session, recent: list[Run]) -> list[str]:
    if session.client is None and default_target() is None:
        return ["next: %comflowy connect sandbox"]
    lines = ["next: %comflowy run default", "%comflowy help"]
    if recent:
        lines.insert(1, f"%comflowy show {recent[0].ref}")
    return ["   ".join(lines)]


def _short(target: str) -> str:
    """Return a target without its address: outputs name services, never their addresses."""
    name, sign, rest = target.partition("=")
    if sign and "/" not in name:
        return name
    if "://" not in target:
        return target
    try:
        return "a server on this machine" if is_loopback(origin_of(rest or target)) else "the server of COMFLOWY_TARGET"
    except SettingsError:
        return "COMFLOWY_TARGET"
