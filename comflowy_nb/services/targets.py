"""Parse connect targets, `[NAME=]sandbox | cloud | comfyui | URL[,URL ...]`, and detect the kind of a service."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from comflowy_nb.errors import AnswerError, SettingsError
from comflowy_nb.services.http.origins import WAYS, address_of, is_loopback, origin_of, shortened

if TYPE_CHECKING:
    from collections.abc import Mapping

    from comflowy_nb.services.http.responses import Failure, Response
    from comflowy_nb.settings import Secret

__all__ = ["COMFYUI_URL", "Target", "is_comfyui", "is_loopback", "origin_of", "parse_target", "recognise"]

_NAME = re.compile(r"[^\W\d][\w-]*")
_WORDS = ("sandbox", "cloud", "comfyui")
_GUARDED = frozenset({401, 403, 404})
COMFYUI_URL = "http://127.0.0.1:8188"  # the default address of ComfyUI
_RESERVED = frozenset({"sandbox", "cloud", "comfyui"})  # not allowed as names, which identify services


@dataclass(frozen=True, slots=True)
class Target:
    """The argument of `connect`: an optional name, a keyword or `url`, and the origin of the URL.

    `addresses` are the URLs of the servers, with the path prefix of a proxy; several servers may share a name.
    """

    name: str | None
    word: str
    url: str | None = None
    addresses: tuple[str, ...] = field(default=(), compare=False)

    @property
    def text(self) -> str:
        """The target without the name, query and password."""
        return ",".join(self.addresses) if self.word == "url" else self.word


def parse_target(text: str, names: Mapping[str, str] | None = None) -> Target:
    """Parse `[NAME=]sandbox | cloud | comfyui | URL[,URL ...]`, or a known name.

    Parameters
    ----------
    names
        Name -> target of known names.

    Raises
    ------
    SettingsError
        If it is not a valid target, with the valid forms; a password in a URL is never repeated.
    """
    name, rest = _split_name(text.strip())
    if name is None and rest not in _WORDS and rest in (names or {}):
        return parse_target(f"{rest}={(names or {})[rest]}")
    if rest == "comfyui":
        return Target(name, rest, addresses=(COMFYUI_URL,))
    if rest in _WORDS:
        return Target(name, rest)
    if not rest:
        raise SettingsError(f"connect to what? {WAYS}")
    if rest.lower() in _WORDS:
        raise SettingsError(f"{rest} is written {rest.lower()}")
    if names and _NAME.fullmatch(rest) and not is_loopback(f"http://{rest}"):
        known = ", ".join(sorted(names))
        raise SettingsError(f"{rest!r} is nothing to connect to; what works is {WAYS}, or a name given before: {known}")
    if "," in rest and name is None:
        raise SettingsError("several servers share a name: write NAME=URL,URL")
    addresses = tuple(address_of(part) for part in rest.split(",") if part.strip()) if "," in rest else ()
    if len(set(addresses)) != len(addresses):
        raise SettingsError("the same server is named twice; each once is enough")
    return Target(name, "url", origin_of(rest.split(",")[0]), addresses or (address_of(rest),))


def _split_name(text: str) -> tuple[str | None, str]:
    before, sign, after = text.partition("=")
    if not sign or "/" in before or "?" in before:
        return None, text
    name = before.strip()
    if not _NAME.fullmatch(name):
        raise SettingsError(f"{shortened(name)!r} can't be a name: letters, digits, _ and -, a letter first")
    if name.lower() in _RESERVED:
        raise SettingsError(f"{name!r} stands for itself and can't be a name; take another, as in studio=URL")
    return name, after.strip()


def is_comfyui(address: str, headers: Mapping[str, Secret] | None = None, label: str = "the server") -> bool:
    """Return whether a ComfyUI server responds at an address.

    Raises
    ------
    UnreachableError
        If nothing responds there.
    AuthError
        If a proxy rejects the request.
    """
    from comflowy_nb.services.http.client import Http  # noqa: PLC0415 - as above
    from comflowy_nb.services.http.responses import Failure, FailureKind, error_of  # noqa: PLC0415 - requests is heavy

    http = Http(address, headers)
    try:
        answer = http.exchange("GET", "/system_stats")
    finally:
        http.close()
    if isinstance(answer, Failure) and answer.kind is FailureKind.NOT_SENT:
        raise error_of(answer, label)
    return _is_comfyui(answer)


def _is_comfyui(answer: Response | Failure) -> bool:
    from comflowy_nb.services.http.responses import Failure, error_of_proxy  # noqa: PLC0415 - as above

    if isinstance(answer, Failure):
        return False
    refused = error_of_proxy(answer.status, "the server")
    if refused is not None:
        raise refused
    if not answer.is_ok:
        return False
    found = _json(answer.body)
    return isinstance(found, dict) and isinstance(found.get("system"), dict)


def recognise(origin: str, label: str = "the server") -> str:
    """Detect the kind of the service at an origin, without sending any credential.

    Parameters
    ----------
    label
        The server's name in errors.

    Returns
    -------
    `comflowy` or `comfyui`.

    Raises
    ------
    ServiceError
        If nothing responds there, or it is neither.
    """
    from comflowy_nb.services.http.client import Http  # noqa: PLC0415 - as above
    from comflowy_nb.services.http.responses import BROKE, Failure, error_of  # noqa: PLC0415 - requests is heavy

    http = Http(origin)
    try:
        answer = http.exchange("GET", "/api/open/v0/auth/token")
        if isinstance(answer, Failure):
            if answer.text.startswith(BROKE):
                return "comflowy"
            raise error_of(answer, label)
        found = _json(answer.body)
        # many servers and proxies answer 401, 403 and 404 in JSON; the API's own answers say `success`
        if isinstance(found, dict) and answer.status < 500 and (answer.status not in _GUARDED or "success" in found):
            return "comflowy"
        # A service that fails without a key is judged by its response to a request with a key.
        if answer.status in {400, 422} or answer.status >= 500:
            return "comflowy"
        stats = http.exchange("GET", "/system_stats")
    finally:
        http.close()
    if _is_comfyui(stats):
        return "comfyui"
    if answer.status in {401, 403}:  # a Comflowy service that asks for a key
        return "comflowy"
    if answer.body_error:
        raise AnswerError(f"{label}'s answer can't be used: {answer.body_error}")
    if 300 <= answer.status < 400:
        raise AnswerError(f"{label} points elsewhere, which is not followed; connect to the address it shows")
    if not answer.body.strip():
        raise AnswerError(f"{label} answers with nothing (status {answer.status}): no Comflowy service")
    kind = "a web page" if answer.body.lstrip()[:1] == b"<" else "something else"
    raise AnswerError(
        f"{label} answers with {kind} (status {answer.status}): no Comflowy service; is the address right?"
    )


def _json(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
