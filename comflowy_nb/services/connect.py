"""Open the service of a target that the user typed."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from comflowy_nb.errors import SettingsError, UnreachableError
from comflowy_nb.services.comflowy.sandbox_process import find_sandbox, start_sandbox
from comflowy_nb.services.comflowy.service import Comflowy
from comflowy_nb.services.comfyui.multi_server import ComfyUICluster
from comflowy_nb.services.comfyui.service import ComfyUI
from comflowy_nb.services.credentials import check_key_transport, find_key
from comflowy_nb.services.server_names import read_names, remember_name
from comflowy_nb.services.targets import is_comfyui, is_loopback, origin_of, parse_target, recognise
from comflowy_nb.settings import Secret, cloud_url, default_target, headers_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from comflowy_nb.services.base import Service
    from comflowy_nb.services.comflowy.sandbox_process import SandboxAddress
    from comflowy_nb.services.targets import Target

__all__ = ["NOTHING_CONNECTED", "open_service"]

NOTHING_CONNECTED = (
    "nothing is connected: %comflowy connect sandbox (no key needed), %comflowy connect cloud, "
    "%comflowy connect comfyui, or %comflowy connect NAME=https://... for another server"
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
    """Return the service of a target after checking response and key, and whether its name had another target before.

    Parameters
    ----------
    target
        As typed, or a known name; None takes `COMFLOWY_TARGET`.
    key
        The key of this service.
    name
        The service's identity; else `NAME=` of the target, else `sandbox`, else the origin.
    ask_key
        Prompt for a key, with the service's label.
    name_address
        Name the server's address in errors. A notebook does so only for an address that its cell contains anyway.

    Raises
    ------
    SettingsError, AuthError, ServiceError
        With the next command to type.
    """
    text = target or default_target()
    if text is None:
        raise SettingsError(NOTHING_CONNECTED)
    wanted = parse_target(text, read_names(home))
    name = name or wanted.name
    service = _open(wanted, key=key, name=name, ask_key=ask_key, home=home, name_address=name_address)
    before = None
    if name is not None:
        with suppress(OSError):  # a home folder on a full disk: it is connected all the same
            before = remember_name(home, name, wanted.text)
    return service, before not in {None, wanted.text}


def _open(
    wanted: Target,
    *,
    key: str | Secret | None,
    name: str | None,
    ask_key: Callable[[str], Secret | None] | None,
    home: Path,
    name_address: bool,
) -> Service:
    if wanted.word == "sandbox":
        return _sandbox(start_sandbox(home), name)
    if wanted.word == "comfyui" or len(wanted.addresses) > 1:
        return _comfyui(wanted.addresses, name)
    origin = origin_of(cloud_url() if wanted.word == "cloud" else str(wanted.url))
    local = find_sandbox(home) if is_loopback(origin) else None
    if local is not None and origin_of(local.url) == origin:
        return _sandbox(local, name)
    shown = origin if name_address else "the server"
    if wanted.addresses and _is_comfyui(wanted.addresses[0], shown):
        return _comfyui(wanted.addresses, name)
    check_key_transport(origin)
    if wanted.word != "cloud" and recognise(origin, shown) == "comfyui":
        return _comfyui((origin,), name)
    # A saved notebook names services, never their addresses.
    label = name or ("cloud" if wanted.word == "cloud" else "local" if is_loopback(origin) else "comflowy")
    ask = None if ask_key is None else lambda _origin: ask_key(label)
    secret = find_key(origin, explicit=Secret(key) if isinstance(key, str) else key, sandbox_key=None, ask=ask)
    service = Comflowy(origin, key=secret, identity=name or origin, label=label)
    try:
        service.greet()
    except BaseException:
        service.close()
        raise
    return service


def _is_comfyui(address: str, label: str) -> bool:
    """Return whether a ComfyUI server responds at an address that can't be a Comflowy service.

    That is an address with a path, one with configured headers, and plain http to another machine, where no key is
    sent.
    """
    origin = origin_of(address)
    headers = headers_for(address)
    is_open = origin.startswith("http://") and not is_loopback(origin)
    if not (headers or is_open or address != origin):
        return False
    try:
        return is_comfyui(address, headers, label)
    except UnreachableError as error:
        hint = "; only a ComfyUI server is reached by plain http, all else by https" if is_open else ""
        raise UnreachableError(f"{error}{hint}") from None


def _comfyui(addresses: tuple[str, ...], name: str | None) -> Service:
    """Open the ComfyUI servers at these addresses; of several, at least one must respond."""
    label = name or "comfyui"
    identity = name or addresses[0]
    servers = [
        ComfyUI(
            address,
            identity=identity,
            label=label if len(addresses) == 1 else f"{label}/{number}",
            headers=headers_for(address),
        )
        for number, address in enumerate(addresses, start=1)
    ]
    service: Service = servers[0] if len(servers) == 1 else ComfyUICluster(servers, identity=identity, label=label)
    try:
        service.greet()
    except BaseException:
        service.close()
        raise
    return service


def _sandbox(address: SandboxAddress, name: str | None) -> Service:
    label = name or "sandbox"
    service = Comflowy(address.url, key=address.key, identity=label, label=label, kind="sandbox")
    service.greet()
    return service
