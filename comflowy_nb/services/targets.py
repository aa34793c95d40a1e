"""Connect targets, `[NAME=]sandbox | cloud | comfyui | URL[,URL ...]`: parse them, and store their names.

`connect NAME=TARGET` stores the name in the home folder, in a file that only the user can read. `connect NAME` then
works in later kernels, and notebooks do not contain the URL. This module has no heavy imports, because it is imported
when the extension is loaded.
"""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from filelock import FileLock

from comflowy_nb.errors import SettingsError, nearest_tip
from comflowy_nb.workflow.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


COMFYUI_URL = "http://127.0.0.1:8188"  # the default address of ComfyUI
ACCEPTED_TARGETS = "sandbox, cloud, comfyui, or an address such as https://app.comflowy.com"
TARGET_KEYWORDS = ("sandbox", "cloud", "comfyui")
_NAME = re.compile(r"[^\W\d][\w-]*")
_HOST_WITHOUT_SCHEME = re.compile(r"(localhost|[\w.-]+\.\w[\w-]*|\d+(\.\d+){3})(:\d+)?")
_INVALID_IN_URL = re.compile(r"""[\s\\<>"'{}|^`]""")
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Target:
    """The parsed argument of `connect`.

    Attributes
    ----------
    name
        The name before `=`; None without one.
    keyword
        `sandbox`, `cloud`, `comfyui`, or `url` for the addresses of servers.
    addresses
        The URLs of the servers with their path prefix, without a query; empty for `sandbox` and `cloud`.
    """

    name: str | None
    keyword: str
    addresses: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The target without the name."""
        return ",".join(self.addresses) if self.keyword == "url" else self.keyword


def parse_target(text: str, names: Mapping[str, str] | None = None) -> Target:
    """Parse a target or a stored name.

    Parameters
    ----------
    text : str
        The text that the user typed.
    names : mapping of str to str, optional
        Name -> target, as `read_names` returns them.

    Raises
    ------
    SettingsError
        If the target is not valid. The text lists the valid forms, and never contains a password of the URL.
    """
    name, rest = _split_name(text.strip())
    names = names or {}
    if rest == "comfyui":
        return Target(name, rest, (COMFYUI_URL,))
    if rest in TARGET_KEYWORDS:
        return Target(name, rest)
    if name is None and rest in names:
        return parse_target(f"{rest}={names[rest]}")
    if not rest.strip(" ,"):
        raise SettingsError(f"connect needs a target: use {ACCEPTED_TARGETS}")
    if rest.lower() in TARGET_KEYWORDS:
        raise SettingsError(f"unknown target {rest!r}. Did you mean {rest.lower()}?")
    # A single word that is not localhost is more probably a mistyped name than a host.
    if names and _NAME.fullmatch(rest) and not is_loopback(f"http://{rest}"):
        known = ", ".join(sorted(names))
        tip = nearest_tip(rest, [*TARGET_KEYWORDS, *names])
        raise SettingsError(
            f"unknown target {rest!r}{tip or '.'} Use {ACCEPTED_TARGETS}, or a name you defined: {known}"
        )
    if "," in rest and name is None:
        raise SettingsError("several servers need a name: %comflowy connect NAME=URL,URL")
    addresses = tuple(_address_of(part) for part in rest.split(",") if part.strip())
    if len(set(addresses)) != len(addresses):
        raise SettingsError(f"{rest} contains a server twice: name each server once")
    return Target(name, "url", addresses)


def _split_name(text: str) -> tuple[str | None, str]:
    """Split `NAME=TARGET`. The `=` may also be part of a URL, as in `http://host/?key=value`."""
    before, sign, after = text.partition("=")
    if not sign or "/" in before or "?" in before:
        return None, text
    name = before.strip()
    if not _NAME.fullmatch(name):
        raise SettingsError(f"invalid name {_shorten(name)!r}: use letters, digits, _ and -, beginning with a letter")
    if name.lower() in TARGET_KEYWORDS:  # a name identifies a service in the history
        raise SettingsError(f"{name!r} is a keyword and can't be a name; use another, as in studio=URL")
    return name, after.strip()


# -- addresses --------------------------------------------------------------------------------------------------


def origin_of(url: str) -> str:
    """Return scheme, host and port of a URL, without the default port of the scheme.

    Raises
    ------
    SettingsError
        If the text is not an http or https URL, or contains a user name or password.
    """
    text = url.strip()
    shown = _shorten(text)
    if "@" in text.split("//", 1)[-1].split("/", 1)[0]:  # user:password@host
        raise SettingsError("invalid address: remove the user name or password from it; %comflowy login asks for a key")
    if "://" not in text:
        host = re.split(r"[/?#]", text, maxsplit=1)[0]
        if not _HOST_WITHOUT_SCHEME.fullmatch(host):
            tip = nearest_tip(shown, TARGET_KEYWORDS)
            raise SettingsError(f"unknown target {shown!r}{tip or '.'} Use {ACCEPTED_TARGETS}")
        scheme = "http" if is_loopback(f"http://{host}") else "https"
        raise SettingsError(f"{shown!r} has no scheme: type {scheme}://{host}")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        reason = "its port is not a number from 0 to 65535" if "port" in str(error).lower() else str(error)
        raise SettingsError(f"{shown!r} is not a valid address: {reason}") from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise SettingsError(f"{shown!r} is not an http or https address such as https://app.comflowy.com")
    if not host:
        raise SettingsError(f"{shown!r} has no host: use an address such as https://app.comflowy.com")
    for character in text:
        if _INVALID_IN_URL.match(character) or not character.isprintable():
            raise SettingsError(f"{shown!r} is not a valid address: remove the character {character!r}")
    suffix = "" if port in {None, _DEFAULT_PORTS[parts.scheme]} else f":{port}"
    return f"{parts.scheme}://" + (f"[{host}]" if ":" in host else host) + suffix


def _address_of(url: str) -> str:
    """Return the origin of a URL with its path prefix, without query and fragment."""
    return origin_of(url) + urlsplit(url.strip()).path.rstrip("/")


def _shorten(text: str) -> str:
    return text if len(text) <= 80 else text[:79] + "…"


def is_loopback(url: str) -> bool:
    """Return whether the host of a URL is localhost, ::1 or in 127.0.0.0/8."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# -- stored names -----------------------------------------------------------------------------------------------

_FILE = "servers.json"
_LOCK_TIMEOUT_S = 10.0


def read_names(home: Path) -> Mapping[str, str]:
    """Return the stored names as name -> target. An unreadable file counts as empty."""
    try:
        data = json.loads((home / _FILE).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    pairs = data.items() if isinstance(data, dict) else ()
    return {name: target for name, target in pairs if isinstance(target, str)}


def remember_name(home: Path, name: str, target: str) -> str | None:
    """Store the target of a name. Return the previous target; None for a new name.

    Raises
    ------
    OSError
        If the home folder can't be written to, or another process locks the file for too long.
    """
    home.mkdir(parents=True, exist_ok=True)
    with FileLock(home / f"{_FILE}.lock", timeout=_LOCK_TIMEOUT_S):
        names = read_names(home)
        if names.get(name) != target:
            with atomic_write(home / _FILE, mode=0o600) as part:
                part.write_text(json.dumps({**names, name: target}, ensure_ascii=False, indent=2), "utf-8")
    return names.get(name)
