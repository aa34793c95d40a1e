"""Origins (scheme, host and port), and which addresses are loopback or public. Imports nothing heavy."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from comflowy_nb.errors import SettingsError

__all__ = ["WAYS", "address_of", "is_loopback", "is_public", "origin_of", "shortened"]

WAYS = "sandbox, cloud, comfyui, or an address such as https://app.comflowy.com"
_INVALID = re.compile(r"""[\s\\<>"'{}|^`]""")
_PORTS = {"http": 80, "https": 443}


def origin_of(url: str) -> str:
    """Return scheme, host and port of a URL, without the scheme's default port.

    Raises
    ------
    SettingsError
        If it is not an http or https URL, or holds a user name or password.
    """
    text = url.strip()
    if "@" in text.split("//", 1)[-1].split("/", 1)[0]:
        raise SettingsError("an address with a user name or password in it is not used; %comflowy login asks for a key")
    if "://" not in text:
        raise SettingsError(_no_scheme(text))
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        reason = "its port is not a number from 0 to 65535" if "ort" in str(error) else str(error)
        problem: str | None = f"{shortened(text)!r} is not a valid address: {reason}"
    else:
        problem = _problem(text, parts.scheme, host)
    if problem:
        raise SettingsError(problem)
    assert host is not None
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + ("" if port in {None, _PORTS[parts.scheme]} else f":{port}")


def address_of(url: str) -> str:
    """Return a URL without query and fragment: the origin, and the path before the server's routes if there is one.

    Raises
    ------
    SettingsError
        As `origin_of`.
    """
    return origin_of(url) + urlsplit(url.strip()).path.rstrip("/")


def _problem(text: str, scheme: str, host: str | None) -> str | None:
    if scheme not in _PORTS:
        return f"{shortened(text)!r} is not an http or https address"
    if not host:
        return f"{shortened(text)!r} names no host; an address looks like https://app.comflowy.com"
    if _INVALID.search(text) or not text.isprintable():
        return f"{shortened(text)!r} is not a valid address: it contains an invalid character"
    return None


def _no_scheme(text: str) -> str:
    host = re.split(r"[/?#]", text, maxsplit=1)[0]
    if re.fullmatch(r"(localhost|[\w.-]+\.\w[\w-]*|\d+(\.\d+){3})(:\d+)?", host):
        scheme = "http" if is_loopback(f"http://{host}") else "https"
        return f"{shortened(text)!r} lacks its scheme; write {scheme}://{host}"
    return f"{shortened(text)!r} is nothing to connect to; what works is {WAYS}"


def shortened(text: str) -> str:
    """Return what the user typed, cut to one line."""
    return text if len(text) <= 80 else text[:79] + "…"


def is_loopback(origin: str) -> bool:
    """Return whether the host of an origin is localhost, in 127.0.0.0/8 or ::1."""
    try:
        host = urlsplit(origin).hostname or ""
    except ValueError:
        return False
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Return whether an IP address belongs to the public internet, also where IPv6 embeds an IPv4 address."""
    try:
        ip = ipaddress.ip_address(address.split("%", maxsplit=1)[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped or ip in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
        embedded = ip.sixtofour or (ip.teredo and ip.teredo[1])
        if embedded and not is_public(str(embedded)):
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified or ip.is_loopback)
