"""The command `webhooks`: show whether webhooks are on, and test whether events reach this kernel."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from comflowy_nb.database.process_locks import is_alive
from comflowy_nb.errors import SettingsError
from comflowy_nb.layout.value_text import time_text
from comflowy_nb.notebook.display.html import join, paragraph
from comflowy_nb.services.comflowy.webhook_handler import PATH
from comflowy_nb.services.comflowy.webhook_round_trip import try_round_trip
from comflowy_nb.services.http.responses import Failure, FailureKind
from comflowy_nb.settings import callback_url, default_target, settings

if TYPE_CHECKING:
    from comflowy_nb.client import Client
    from comflowy_nb.notebook.magic_line.request import Request
    from comflowy_nb.notebook.session import Session
    from comflowy_nb.services.comflowy.client_webhooks import Webhooks
    from comflowy_nb.services.comflowy.webhook_round_trip import RoundTrip
    from comflowy_nb.services.comflowy.webhooks import Receiver


ENABLE = "jupyter server extension enable comflowy_nb"
_LOGIN_STATUSES = frozenset({301, 302, 303, 307, 308, 401, 403})
_NO_BACKEND_STATUSES = frozenset({502, 503, 504})


def webhooks(session: Session, request: Request) -> None:
    """Show the webhooks of the connected service, and test whether events reach this kernel."""
    del request
    client = session.client
    if client is None:
        session.say(paragraph(*_without_connection()))
        return
    hooks = client.connection.tracker.webhooks
    if hooks is None:
        session.say(paragraph(f"{client.label} reports progress through its own socket, and needs no webhooks"))
        return
    receiver = hooks.receiver()
    if receiver is None:
        session.say(paragraph(*_why_off(client, hooks, _target(session))))
        return
    lines = [*_state(client, hooks, receiver), f"events of runs: {_counts(receiver)}"]
    trip = try_round_trip(receiver)
    advice = _advice(trip, hooks, receiver, _target(session))
    parts = [paragraph(*lines, f"test: {_result(trip)}")]
    session.say(join(*parts, paragraph("what to do:", *advice)) if advice else parts[0])


def tested_line(client: Client) -> list[str]:
    """Return a line with the result of a test, for a new connection with a public address; else nothing."""
    hooks = client.connection.tracker.webhooks
    receiver = hooks.receiver() if hooks is not None else None
    if hooks is None or (receiver is None and hooks.problem is None):
        return []
    if receiver is None:
        return [f"webhooks: off - {hooks.problem}"]
    if receiver.public_url is None:
        return []
    trip = try_round_trip(receiver)
    tip = "" if trip.via is not None else "; runs are polled: %comflowy webhooks says what to do"
    return [f"webhooks: {_result(trip)}{tip}"]


# -- the state --------------------------------------------------------------------------------------------------


def _without_connection() -> list[str]:
    try:
        url = callback_url()
    except SettingsError as error:
        return [str(error)]
    lines = ["no service is connected; webhooks belong to a connection"]
    if url is not None:
        lines.append(f"its events will come through {_address(url)}: %comflowy connect cloud")
    else:
        lines.append("%comflowy connect cloud --webhooks https://...   with the public address of this Jupyter server")
    return lines


def _why_off(client: Client, hooks: Webhooks, target: str) -> list[str]:
    if settings.webhooks == "off":
        return ["webhooks: off, by a setting: %config Comflowy.webhooks = 'auto'"]
    if hooks.problem is not None:
        return [f"webhooks: off - {hooks.problem}", "runs are polled"]
    return [
        f"webhooks: off, so runs are polled: {client.label} can't reach this kernel without a public address",
        "Give the address of this Jupyter server, with its prefix, as the service can reach it:",
        f"  %comflowy connect {target} --webhooks https://hub.example.org/user/ann",
        "and enable the server extension once, in a terminal; then restart the Jupyter server:",
        f"  {ENABLE}",
        "Or give the address of a tunnel to this kernel: %comflowy help webhooks",
    ]


def _state(client: Client, hooks: Webhooks, receiver: Receiver) -> list[str]:
    if receiver.public_url is None:
        lines = [f"webhooks: on, on this machine: {client.label} calls this kernel directly"]
        if client.service.kind == "sandbox" and callback_url() is not None:
            lines.append("the public address is not used: the sandbox calls this machine only")
        return lines
    lines = [f"webhooks: on, through {_address(receiver.public_url)}"]
    if urlsplit(receiver.public_url).scheme == "http" and not client.service.on_loopback:
        lines.append("this address is not https, so others on the way can read the events")
    lines.append(f"receiver: listens at port {receiver.port} of this machine")
    prefixes = _prefixes(hooks)
    enabled = f"enabled at the Jupyter server with the prefix {' and '.join(prefixes)}" if prefixes else "not enabled"
    return [*lines, f"server extension: {enabled}"]


def _target(session: Session) -> str:
    """Return the target as typed in `connect`; `URL` for an address, because outputs contain no addresses."""
    text = session.target or default_target() or "cloud"
    name, sign, _ = text.partition("=")
    if sign and "/" not in name:
        return name
    return "URL" if "://" in text else text


def _address(url: str) -> str:
    """Return the address of webhooks, with the secret of a run masked."""
    return f"{url.rstrip('/')}/{PATH}/***"


def _prefixes(hooks: Webhooks) -> list[str]:
    """Return the prefixes of the running Jupyter servers with the extension and this home folder."""
    notes = hooks.files.servers(partial(is_alive, hooks.files.folder))
    return sorted({note.base_url for note in notes})


def _counts(receiver: Receiver) -> str:
    """Return the number of events, by kind, and the age of the newest."""
    total = sum(receiver.counts.values())
    if not total or receiver.newest_s is None:
        return "none yet"
    kinds = ", ".join(f"{count} {kind}" for kind, count in receiver.counts.items())
    return f"{total} ({kinds}), the newest {time_text(time.monotonic() - receiver.newest_s)} ago"


# -- the test -----------------------------------------------------------------------------------------------------


def _result(trip: RoundTrip) -> str:
    """Return the result of a test as one line."""
    seconds = f"{trip.seconds:.2f} s"
    if trip.via is not None:
        way = "through the server extension" if trip.via == "server extension" else "directly"
        return f"an event arrived {way} in {seconds}"
    if trip.response is None:
        return f"no event arrived, and nothing answered within {trip.seconds:.0f} s"
    if isinstance(trip.response, Failure):
        return f"no event arrived: {trip.response.text}"
    return f"no event arrived: the address answered with status {trip.response.status} after {seconds}"


def _advice(trip: RoundTrip, hooks: Webhooks, receiver: Receiver, target: str) -> list[str]:
    """Return what to do after a failed test; nothing if the event arrived."""
    if trip.via is not None or receiver.public_url is None:
        return []
    if trip.response is None or isinstance(trip.response, Failure):
        return _advice_without_response(trip.response)
    if trip.response.status == 429:
        return ["There were too many requests: try again in a few seconds"]
    tunnel = f"A tunnel of your own must lead to port {receiver.port} of this machine, or to the Jupyter server"
    if trip.response.status in _NO_BACKEND_STATUSES:
        behind = "The proxy or tunnel answers, but can't reach what is behind it: does the Jupyter server run there?"
        return [behind, tunnel]
    prefixes = _prefixes(hooks)
    if not prefixes:
        return [
            "The server extension is not enabled. In a terminal, in the environment of the Jupyter server:",
            f"  {ENABLE}",
            "then restart the Jupyter server. It must run as the same user, with the same COMFLOWY_HOME",
            tunnel,
        ]
    base = urlsplit(receiver.public_url)
    path = base.path.rstrip("/") + "/"
    if path not in prefixes and not any(path.endswith(prefix) for prefix in prefixes if prefix != "/"):
        fixed = f"{base.scheme}://{base.netloc}{prefixes[0].rstrip('/')}"
        setting = f"%config Comflowy.callback_url = '{fixed}'"
        again = f"%comflowy connect {target} --webhooks {fixed}"
        wrong = f"The prefix is wrong: the Jupyter server has {' and '.join(prefixes)}, the address ends in {path}"
        if "/" in prefixes:
            wrong += ". Leave that out, unless a proxy removes it"
        return [wrong, f"  {setting if hooks.url is None else again}", tunnel]
    if trip.response.status in _LOGIN_STATUSES:
        allow = f"Let POST requests through without a login, for this path only: {path}{PATH}/"
        return ["A login page answers instead of the Jupyter server.", allow]
    if trip.response.status == 404:
        unchanged = f"It must pass {path}{PATH}/... on unchanged, to the Jupyter server of this kernel"
        return ["The address leads to another server, or the proxy changes the path.", unchanged, tunnel]
    return ["Another server answers at this address. Check the address, and where the proxy or tunnel leads", tunnel]


def _advice_without_response(failure: Failure | None) -> list[str]:
    if failure is not None and failure.kind is FailureKind.UNTRUSTED:
        return [
            "A service would reject this certificate too, unless only this machine does not know its authority.",
            "Use one of a public authority. REQUESTS_CA_BUNDLE names a file with the certificates of another one",
        ]
    if failure is not None and failure.refused:
        return ["Nothing listens at the address: start the proxy or the tunnel, and check the port"]
    if failure is not None and failure.kind is FailureKind.NOT_SENT:
        return ["Check the address, and whether this machine can reach it"]
    if failure is not None and "encrypted" in failure.text:
        return ["TLS failed: check whether the address is http or https"]
    return [
        "Check that the proxy or tunnel runs and leads to this machine, and that a firewall lets requests through.",
        "Some networks can't reach their own public address from inside: then only a run shows whether events arrive",
    ]
