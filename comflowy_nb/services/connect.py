"""Open the service of a target that the user typed, and detect the kind of the service at a URL."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from comflowy_nb.errors import AnswerError, SettingsError, UnreachableError
from comflowy_nb.services.comflowy.sandbox_process import find_sandbox, start_sandbox
from comflowy_nb.services.comflowy.service import Comflowy
from comflowy_nb.services.comfyui.multi_server import ComfyUICluster
from comflowy_nb.services.comfyui.service import ComfyUI
from comflowy_nb.services.credentials import check_key_transport, find_key
from comflowy_nb.services.http.client import Http
from comflowy_nb.services.http.error_text import json_object
from comflowy_nb.services.http.responses import BROKEN, Failure, FailureKind, error_of, error_of_proxy
from comflowy_nb.services.targets import is_loopback, origin_of, parse_target, read_names, remember_name
from comflowy_nb.settings import Secret, cloud_url, default_target, headers_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from comflowy_nb.services.base import Service
    from comflowy_nb.services.comflowy.sandbox_process import SandboxAddress
    from comflowy_nb.services.http.responses import Response
    from comflowy_nb.services.targets import Target


NOTHING_CONNECTED = (
    "no service is connected. Type %comflowy connect sandbox (no key needed), %comflowy connect cloud, "
    "%comflowy connect comfyui, or %comflowy connect NAME=https://... for another server (in scripts: COMFLOWY_TARGET)"
)


def open_service(
    target: str | None,
    *,
    key: str | Secret | None,
    name: str | None,
    ask_key: Callable[[str], Secret | None] | None,
    home: Path,
    name_address: bool = False,
) -> tuple[Service, bool]:
    """Open the service of a target, and check its response and the key.

    Parameters
    ----------
    target : str or None
        The target that the user typed. None uses `COMFLOWY_TARGET`.
    key : str, Secret or None
        The key of this service.
    name : str or None
        The identity of the service. By default `NAME=` of the target, else `sandbox`, else the origin.
    ask_key : callable or None
        Called with the label of the service to prompt for a key.
    home : Path
        The folder of the sandbox and of the stored names.
    name_address : bool
        Whether errors contain the address of the server. A notebook permits this only if its cell contains the address.

    Returns
    -------
    service : Service
        The service.
    is_moved : bool
        Whether the name had another target before.

    Raises
    ------
    SettingsError, AuthError, ServiceError
        The text contains the next command to type.
    """
    if target is not None and not isinstance(target, str):
        raise SettingsError(f'a target is text, not {target!r}: connect("sandbox"), "cloud", "comfyui" or a URL')
    text = target or default_target()
    if text is None:
        raise SettingsError(NOTHING_CONNECTED)
    parsed = parse_target(text, read_names(home))
    name = name or parsed.name

    def get_key(origin: str, label: str) -> Secret:
        ask = None if ask_key is None else lambda _origin: ask_key(label)
        return find_key(origin, explicit=Secret(key) if isinstance(key, str) else key, ask=ask)

    service = _open(parsed, name, home, get_key, name_address=name_address)
    previous = None
    if name is not None:
        with suppress(OSError):  # a full disk does not prevent the connection
            previous = remember_name(home, name, parsed.text)
    return service, previous not in {None, parsed.text}


def _open(
    target: Target, name: str | None, home: Path, get_key: Callable[[str, str], Secret], *, name_address: bool
) -> Service:
    if target.keyword == "sandbox":
        return _sandbox(start_sandbox(home), name)
    if target.keyword == "comfyui" or len(target.addresses) > 1:
        return _comfyui(target.addresses, name)
    is_cloud = target.keyword == "cloud"
    origin = origin_of(cloud_url() if is_cloud else target.addresses[0])
    sandbox = find_sandbox(home) if is_loopback(origin) else None
    if sandbox is not None and origin_of(sandbox.url) == origin:
        return _sandbox(sandbox, name)
    shown = origin if name_address else "the server"
    if target.addresses and _must_be_comfyui(target.addresses[0], shown):
        return _comfyui(target.addresses, name)
    check_key_transport(origin, shown)
    if not is_cloud and detect_kind(origin, shown) == "comfyui":
        return _comfyui((origin,), name)
    # A saved notebook contains names of services, never their addresses.
    label = name or ("cloud" if is_cloud else "local" if is_loopback(origin) else "comflowy")
    return _check_access(Comflowy(origin, key=get_key(origin, label), identity=name or origin, label=label))


def _sandbox(address: SandboxAddress, name: str | None) -> Service:
    label = name or "sandbox"
    return _check_access(Comflowy(address.url, key=address.key, identity=label, label=label, kind="sandbox"))


def _comfyui(addresses: tuple[str, ...], name: str | None) -> Service:
    """Open the ComfyUI servers at these addresses. At least one must respond."""
    label = name or "comfyui"
    identity = name or addresses[0]
    if len(addresses) == 1:
        return _check_access(ComfyUI(addresses[0], identity=identity, label=label, headers=headers_for(addresses[0])))
    servers = [
        ComfyUI(address, identity=identity, label=f"{label}/{number}", headers=headers_for(address))
        for number, address in enumerate(addresses, start=1)
    ]
    return _check_access(ComfyUICluster(servers, identity=identity, label=label))


def _check_access(service: Service) -> Service:
    """Check the response and the key of a service, and return the service. Close it after an error."""
    try:
        service.check_access()
    except BaseException:
        service.close()
        raise
    return service


# -- detection --------------------------------------------------------------------------------------------------

# Proxies and other servers answer with these statuses in JSON too; the API's own responses contain `success`.
_AMBIGUOUS_STATUSES = frozenset({401, 403, 404})


def detect_kind(origin: str, label: str = "the server") -> str:
    """Detect the kind of the service at an origin, without sending credentials.

    Parameters
    ----------
    origin : str
        Scheme, host and port.
    label : str
        The server's name in errors.

    Returns
    -------
    str
        `comflowy` or `comfyui`.

    Raises
    ------
    ServiceError
        If the server does not respond, or is neither of these.
    """
    response = _get(origin, "/api/open/v0/auth/token")
    if isinstance(response, Failure):
        if response.text.startswith(BROKEN):
            return "comflowy"
        raise error_of(response, label)
    data = json_object(response.body)
    is_api = data is not None and (response.status not in _AMBIGUOUS_STATUSES or "success" in data)
    # A service that fails without a key is judged by its response to a request with a key.
    if is_api or response.status in {400, 422} or response.status >= 500:
        return "comflowy"
    if _is_comfyui(_get(origin, "/system_stats")):
        return "comfyui"
    if response.status in {401, 403}:  # a Comflowy service that asks for a key
        return "comflowy"
    if response.body_error:
        raise AnswerError(f"{label}'s response is incomplete: {response.body_error}; try again")
    if 300 <= response.status < 400:
        raise AnswerError(f"{label} redirects to another address; redirects are not followed. Connect to that address")
    body = response.body.strip()
    content = "an empty response" if not body else "a web page" if body.startswith(b"<") else "something else"
    raise AnswerError(
        f"{label} is not a Comflowy service: it responded with {content} (status {response.status}); check the address"
    )


def _must_be_comfyui(address: str, label: str) -> bool:
    """Return True if a ComfyUI server responds at an address that no Comflowy service can have.

    Only ComfyUI has addresses with a path, with configured headers, or with plain http to another machine, to which a
    key is never sent.
    """
    origin = origin_of(address)
    headers = headers_for(address)
    is_plain = origin.startswith("http://") and not is_loopback(origin)
    if not (headers or is_plain or address != origin):
        return False
    stats = _get(address, "/system_stats", headers)
    if isinstance(stats, Failure) and stats.kind is FailureKind.NOT_SENT:
        hint = "; plain http is only for ComfyUI servers, all other services need https" if is_plain else ""
        raise UnreachableError(f"{error_of(stats, label)}{hint}")
    return _is_comfyui(stats)


def _get(address: str, path: str, headers: Mapping[str, Secret] | None = None) -> Response | Failure:
    http = Http(address, headers)
    try:
        return http.exchange("GET", path)
    finally:
        http.close()


def _is_comfyui(response: Response | Failure) -> bool:
    if isinstance(response, Failure):
        return False
    proxy_error = error_of_proxy(response.status, "the server")
    if proxy_error is not None:
        raise proxy_error
    stats = json_object(response.body) or {}
    return response.is_ok and isinstance(stats.get("system"), dict)
