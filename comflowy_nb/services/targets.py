"""What a person connects to: `[NAME=]sandbox | cloud | URL`, and what answers there."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from comflowy_nb.errors import AnswerError, SettingsError
from comflowy_nb.services.origins import WAYS, is_loopback, origin_of, shortened

__all__ = ["Target", "is_loopback", "origin_of", "parse_target", "recognise"]

_NAME = re.compile(r"[^\W\d][\w-]*")
_WORDS = ("sandbox", "cloud")
_RESERVED = frozenset({"sandbox", "cloud", "comfyui"})  # a name is the identity of a service: these have owners


@dataclass(frozen=True, slots=True)
class Target:
    """What was typed after `connect`: the name given, `sandbox`, `cloud` or `url`, and for the last the origin."""

    name: str | None
    word: str
    url: str | None = None


def parse_target(text: str) -> Target:
    """Read `[NAME=]sandbox | cloud | URL`.

    Raises
    ------
    SettingsError
        If it is none of them; the text says what it should have been. A password in an address is never repeated.
    """
    name, rest = _split_name(text.strip())
    if rest in _WORDS:
        return Target(name, rest)
    if not rest:
        raise SettingsError(f"connect to what? {WAYS}")
    if rest.lower() == "comfyui":
        raise SettingsError("a ComfyUI server can't be used yet; what works today is " + WAYS)
    if rest.lower() in _WORDS:
        raise SettingsError(f"{rest} is written {rest.lower()}")
    if "," in rest:
        raise SettingsError("several servers at once can't be used yet; give one address")
    return Target(name, "url", origin_of(rest))


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


def recognise(origin: str) -> str:
    """Which kind of service answers at an origin, found out without sending any credential.

    Returns
    -------
    `comflowy` or `comfyui`.

    Raises
    ------
    ServiceError
        If nothing answers there, or nothing we know: one plain sentence.
    """
    from comflowy_nb.services.answers import BROKE, Failure, error_of  # noqa: PLC0415 - requests is heavy
    from comflowy_nb.services.http import Http  # noqa: PLC0415 - as above

    http = Http(origin)
    try:
        answer = http.exchange("GET", "/api/open/v0/auth/token")
        if isinstance(answer, Failure):
            if answer.text.startswith(BROKE):
                return "comflowy"
            raise error_of(answer, "the server")
        found = _json(answer.body)
        # many servers answer 404 in JSON; the API's own answers say `success`
        if isinstance(found, dict) and answer.status < 500 and (answer.status != 404 or "success" in found):
            return "comflowy"
        # A service that stumbles over a request for a token without a key is judged by its answer to one with a key.
        if answer.status in {400, 401, 403, 422} or answer.status >= 500:
            return "comflowy"
        stats = http.exchange("GET", "/system_stats")
    finally:
        http.close()
    if not isinstance(stats, Failure) and stats.is_ok:
        found = _json(stats.body)
        if isinstance(found, dict) and isinstance(found.get("system"), dict):
            return "comfyui"
    if answer.flaw:
        raise AnswerError(f"the server's answer can't be used: {answer.flaw}")
    if 300 <= answer.status < 400:
        raise AnswerError("the server points elsewhere, which is not followed; connect to the address it shows")
    if not answer.body.strip():
        raise AnswerError(f"the server answers with nothing (status {answer.status}): no Comflowy service")
    kind = "a web page" if answer.body.lstrip()[:1] == b"<" else "something else"
    raise AnswerError(
        f"the server answers with {kind} (status {answer.status}): no Comflowy service; is the address right?"
    )


def _json(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
