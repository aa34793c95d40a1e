"""Where things are, what the limits are, and how a secret is held.

One object, `settings`, checked on assignment, so that a typo fails where it is made. `%config Comflowy` shows and
sets the same names in a notebook.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from comflowy_nb.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "OPTIONS",
    "Option",
    "Secret",
    "Settings",
    "cloud_url",
    "default_target",
    "headers_for",
    "home",
    "key_from_env",
    "settings",
]

CLOUD_URL = "https://app.comflowy.com"


class Secret:
    """A text that shows itself only where it is asked for by `reveal`.

    A traceback under `%xmode Verbose` prints the values of local names: a masked repr keeps a key out of it.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "<Secret ***>"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not written anywhere")


@dataclass(frozen=True, slots=True)
class Option:
    """One setting: its name, its default, what it may be, and a sentence about it."""

    name: str
    default: Any
    check: Callable[[Any], Any]
    help: str


def _number(low: float, high: float, *, whole: bool = False) -> Callable[[Any], Any]:
    kind = "a whole number" if whole else "a number"

    def check(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not low <= value <= high:
            raise SettingsError(f"must be {kind} from {low:g} to {high:g}")
        return value

    return check


def _choice(*words: str) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if value not in words:
            raise SettingsError(f"must be one of {', '.join(words)}")
        return value

    return check


def _optional(inner: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else inner(value)


def _https(value: Any) -> Any:
    parts = urlsplit(value) if isinstance(value, str) else None
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise SettingsError("must be an http or https address")
    return str(value).rstrip("/")


def _headers(value: Any) -> Mapping[str, Mapping[str, Secret]]:
    """Origin -> name of a header -> its value, kept as a secret."""
    if not isinstance(value, dict) or not all(isinstance(one, dict) for one in value.values()):
        raise _HeadersError
    checked: dict[str, Mapping[str, Secret]] = {}
    for origin, given in value.items():
        if not isinstance(origin, str) or urlsplit(origin).scheme not in {"http", "https"}:
            raise _HeadersError
        own = {name: text if isinstance(text, Secret) else Secret(str(text)) for name, text in given.items()}
        if not all(_HEADER.fullmatch(str(name)) and _is_line(text.reveal()) for name, text in own.items()):
            raise _HeadersError
        checked[origin.rstrip("/")] = own
    return checked


class _HeadersError(SettingsError):
    """What is no mapping of headers; the value is a secret, so it is not repeated."""

    def __init__(self) -> None:
        super().__init__("must be {'https://host': {'Header-Name': 'its value'}}")


def _is_line(text: str) -> bool:
    return text.isprintable() and text.isascii() and bool(text.strip())


_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_MIB = 1024 * 1024

OPTIONS: Mapping[str, Option] = {
    option.name: option
    for option in (
        Option("webhooks", "auto", _choice("auto", "on", "off"), "Receiver of callbacks: auto is on for loopback."),
        Option("headers", {}, _headers, "Headers for one's own ComfyUI server behind a proxy, by its origin."),
        Option("callback_url", None, _optional(_https), "Public address that reaches the receiver."),
        Option("connect_timeout_s", 5.0, _number(0.05, 120), "Longest wait for a connection, in seconds."),
        Option("read_timeout_s", 30.0, _number(0.05, 600), "Longest silence within an answer, in seconds."),
        Option("answer_deadline_s", 60.0, _number(0.1, 3600), "Longest time for one whole answer, in seconds."),
        Option("image_deadline_s", 300.0, _number(0.1, 7200), "Longest time for one whole image, in seconds."),
        Option("retry_base_s", 0.5, _number(0.001, 60), "First pause before a read is tried again, in seconds."),
        Option("retry_max_s", 8.0, _number(0.001, 600), "Longest pause before a read is tried again, in seconds."),
        Option("retries", 4, _number(0, 100, whole=True), "How often a submit that was not taken is sent again."),
        Option("lost_gap_s", 10.0, _number(0.01, 3600), "Pause between the three 404s that make a run lost."),
        Option("stall_s", 60.0, _number(0.1, 86400), "A run not started after so many seconds is remarked on."),
        Option("cost_per_run", None, _optional(_number(0, 1e6)), "What a run costs, for the plan of a sweep."),
        Option("workers", 4, _number(1, 32, whole=True), "Threads that speak HTTP for a client."),
        Option("window", 8, _number(1, 1000, whole=True), "Runs in flight at once; more wait their turn."),
        Option("image_max_bytes", 64 * _MIB, _number(1024, 4096 * _MIB, whole=True), "Largest image file, in bytes."),
        Option("image_max_px", 64_000_000, _number(1, 1_000_000_000, whole=True), "Largest image, width x height."),
        Option("grid_width_px", 1200, _number(200, 4000, whole=True), "Widest grid, in pixels."),
        Option("jpeg_quality", 85, _number(1, 95, whole=True), "JPEG quality of thumbnails and grids."),
    )
}


class Settings:
    """The settings by name; every assignment is checked.

    Raises
    ------
    SettingsError
        If a name is unknown or a value is not one it may have.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        for option in OPTIONS.values():
            object.__setattr__(self, option.name, option.default)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"there is no setting {name!r}; the settings are {', '.join(OPTIONS)}")

    def __setattr__(self, name: str, value: object) -> None:
        if name not in OPTIONS:
            raise SettingsError(f"there is no setting {name!r}; the settings are {', '.join(OPTIONS)}")
        try:
            checked = OPTIONS[name].check(value)
        except _HeadersError as error:
            problem, value = f"{name} {error}", None  # Verbose tracebacks show locals
        except SettingsError as error:
            problem = f"{name} {error}, not {value!r}"
        else:
            problem = ""
        if problem:
            raise SettingsError(problem)
        object.__setattr__(self, name, checked)

    def __repr__(self) -> str:
        return "Settings(" + ", ".join(f"{name}={getattr(self, name)!r}" for name in OPTIONS) + ")"


settings = Settings()


def home() -> Path:
    """The folder of history, images and catalogue: `COMFLOWY_HOME`, else the platform's user data folder."""
    named = os.environ.get("COMFLOWY_HOME")
    if named:
        return Path(named).expanduser()
    from platformdirs import user_data_path  # noqa: PLC0415 - not needed where COMFLOWY_HOME is set

    return user_data_path("comflowy")


def cloud_url() -> str:
    """The hosted service: `COMFLOWY_URL`, else https://app.comflowy.com.

    Raises
    ------
    SettingsError
        If `COMFLOWY_URL` is no http or https address.
    """
    url = os.environ.get("COMFLOWY_URL") or CLOUD_URL
    try:
        return str(_https(url))
    except SettingsError:
        raise SettingsError("COMFLOWY_URL must be an http or https address") from None


def key_from_env() -> Secret | None:
    """The key in `COMFLOWY_API_KEY`; it belongs to the origin of `cloud_url()` alone."""
    text = os.environ.get("COMFLOWY_API_KEY", "").strip()
    return Secret(text) if text else None


def headers_for(address: str) -> Mapping[str, Secret]:
    """The headers that `settings.headers`, else `COMFLOWY_HEADERS`, has for an address or for its origin.

    Raises
    ------
    SettingsError
        If `COMFLOWY_HEADERS` is no JSON of that form, or a secret would go over plain http to another machine.
    """
    parts = urlsplit(address)
    text = os.environ.get("COMFLOWY_HEADERS", "").strip()
    found = dict(settings.headers)
    if text:
        try:
            found = {**_headers(json.loads(text)), **found}
        except (ValueError, SettingsError):
            problem: str | None = 'COMFLOWY_HEADERS must be JSON: {"https://host": {"Header-Name": "its value"}}'
        else:
            problem = None
        if problem:
            del text
            raise SettingsError(problem)
    own: Mapping[str, Secret] = found.get(address) or found.get(f"{parts.scheme}://{parts.netloc}") or {}
    if own and parts.scheme != "https" and parts.hostname not in {"localhost", "127.0.0.1", "::1"}:
        raise SettingsError("the headers in the settings are not sent over plain http to another machine; use https")
    return own


def default_target() -> str | None:
    """The target in `COMFLOWY_TARGET`, connected to without being asked (CI, papermill)."""
    return os.environ.get("COMFLOWY_TARGET", "").strip() or None
