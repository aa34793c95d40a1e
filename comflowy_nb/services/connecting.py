"""From a target a person typed to a service that answered and took the key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comflowy_nb.errors import ServiceError, SettingsError
from comflowy_nb.services.comflowy import Comflowy
from comflowy_nb.services.keys import check_key_transport, find_key
from comflowy_nb.services.local_sandbox import find_sandbox, start_sandbox
from comflowy_nb.services.targets import is_loopback, origin_of, parse_target, recognise
from comflowy_nb.settings import Secret, cloud_url, default_target

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from comflowy_nb.services.base import Service
    from comflowy_nb.services.local_sandbox import SandboxAddress

__all__ = ["NOTHING_CONNECTED", "open_service"]

NOTHING_CONNECTED = (
    "nothing is connected: %comflowy connect sandbox (no key needed), %comflowy connect cloud, "
    "or %comflowy connect NAME=https://... for another server"
)


def open_service(
    target: str | None,
    *,
    key: str | Secret | None,
    name: str | None,
    ask_key: Callable[[str], Secret | None] | None,
    home: Path,
) -> Service:
    """The service a target names, once it has answered and taken the key.

    Parameters
    ----------
    target
        As typed; None takes `COMFLOWY_TARGET`.
    key
        Given for this service alone.
    name
        The service's identity; else `NAME=` of the target, else `sandbox`, else the origin.
    ask_key
        Asked with the service's label where no key was found.

    Raises
    ------
    SettingsError, AuthError, ServiceError
        With what to type next.
    """
    text = target or default_target()
    if text is None:
        raise SettingsError(NOTHING_CONNECTED)
    wanted = parse_target(text)
    name = name or wanted.name
    if wanted.word == "sandbox":
        return _sandbox(start_sandbox(home), name)
    origin = origin_of(cloud_url() if wanted.word == "cloud" else str(wanted.url))
    local = find_sandbox(home) if is_loopback(origin) else None
    if local is not None and origin_of(local.url) == origin:
        return _sandbox(local, name)
    check_key_transport(origin)
    if wanted.word != "cloud" and recognise(origin) != "comflowy":
        raise ServiceError("a ComfyUI server answers there; this version speaks to Comflowy and to the sandbox")
    # A saved notebook names services, never their addresses.
    label = name or ("cloud" if wanted.word == "cloud" else "local" if is_loopback(origin) else "comflowy")
    ask = None if ask_key is None else lambda _origin: ask_key(label)
    secret = find_key(origin, given=Secret(key) if isinstance(key, str) else key, sandbox_key=None, ask=ask)
    service = Comflowy(origin, key=secret, identity=name or origin, label=label)
    try:
        service.greet()
    except BaseException:
        service.close()
        raise
    return service


def _sandbox(address: SandboxAddress, name: str | None) -> Service:
    word = name or "sandbox"
    service = Comflowy(address.url, key=address.key, identity=word, label=word, kind="sandbox")
    service.greet()
    return service
