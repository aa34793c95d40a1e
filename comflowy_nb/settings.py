"""Settings, checked on assignment; the environment variables; `Secret`.

`settings` holds the values. `%config Comflowy` shows and sets the same names in a notebook.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from comflowy_nb.errors import SettingsError, nearest_tip

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


CLOUD_URL = "https://app.comflowy.com"


class Secret:
    """A text that no repr, traceback, log or pickle shows; only `reveal` returns it.

    A traceback under `%xmode Verbose` prints the values of local names, so keys and signed URLs are held in this class.

    Parameters
    ----------
    text : str
        The secret text.

    Examples
    --------
    >>> key = Secret("sk-123")
    >>> key
    <Secret ***>
    >>> key.reveal()
    'sk-123'
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the secret text.

        Returns
        -------
        str
            The text. Pass it only to the code that needs it, because it is no longer protected.
        """
        return self._text

    def is_token(self) -> bool:
        """Return whether the text has the form of API keys and access tokens.

        Returns
        -------
        bool
            True for printable ASCII without spaces.
        """
        return bool(self._text) and self._text.isascii() and self._text.isprintable() and " " not in self._text

    def __repr__(self) -> str:
        return "<Secret ***>"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret can't be pickled or copied")


@dataclass(frozen=True, slots=True)
class Option:
    """The definition of one setting.

    Parameters
    ----------
    name : str
        The name of the setting.
    default : object
        The value until the user sets another one.
    check : callable
        Returns the valid form of a value, or raises SettingsError with the accepted values (`must be a number`).
    help : str
        One sentence for `%config Comflowy`.
    is_secret : bool
        Whether errors must not contain the value.
    """

    name: str
    default: Any
    check: Callable[[Any], Any]
    help: str
    is_secret: bool = False


def _number(low: float, high: float, *, whole: bool = False) -> Callable[[Any], Any]:
    types, form = (int, "d") if whole else ((int, float), "g")

    def check(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, types) or not low <= value <= high:
            raise SettingsError(
                f"must be {'a whole number' if whole else 'a number'} from {low:{form}} to {high:{form}}"
            )
        return value

    return check


def _choice(*options: str) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if value not in options:
            raise SettingsError(f"must be one of {', '.join(options)}")
        return value

    return check


def _optional(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else check(value)


def _url(value: Any) -> Any:
    parts = urlsplit(value) if isinstance(value, str) else None
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise SettingsError("must be an http or https address")
    return str(value).rstrip("/")


def _callback_url(value: Any) -> Any:
    checked = _url(value)
    parts = urlsplit(checked)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise SettingsError("must be an address such as https://hub.example.org/user/ann, without a password, ? and #")
    return checked


def _not(value: object) -> str:
    """Return `, not VALUE` for the end of an error, or nothing if the value may contain a secret."""
    has_secret = isinstance(value, str) and not {"@", "?", "#"}.isdisjoint(value)
    return "" if has_secret else f", not {value!r}"


_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def _headers(value: Any) -> Mapping[str, Mapping[str, Secret]]:
    """Check the setting `headers`: origin -> header name -> header value."""
    problem = SettingsError("must be {'https://host': {'Header-Name': 'its value'}}")
    if not isinstance(value, dict):
        raise problem
    checked: dict[str, Mapping[str, Secret]] = {}
    for origin, headers in value.items():
        is_origin = isinstance(origin, str) and urlsplit(origin).scheme in {"http", "https"}
        if not is_origin or not isinstance(headers, dict):
            raise problem
        secrets = {name: text if isinstance(text, Secret) else Secret(str(text)) for name, text in headers.items()}
        if not all(_HEADER_NAME.fullmatch(str(name)) and _is_line(text.reveal()) for name, text in secrets.items()):
            raise problem
        checked[origin.rstrip("/")] = secrets
    return checked


def _is_line(text: str) -> bool:
    return text.isprintable() and text.isascii() and bool(text.strip())


_MIB = 1024 * 1024

OPTIONS: Mapping[str, Option] = {
    option.name: option
    for option in (
        Option("webhooks", "auto", _choice("auto", "on", "off"), "Webhook receiver; auto is on for loopback services."),
        Option("headers", {}, _headers, "Headers for a ComfyUI server behind a proxy, by its origin.", is_secret=True),
        Option(
            "callback_url",
            None,
            _optional(_callback_url),
            "Public URL of the Jupyter server, or of a tunnel to the webhook receiver.",
        ),
        Option(
            "callback_port",
            None,
            _optional(_number(1, 65535, whole=True)),
            "Port of the webhook receiver on loopback, for a tunnel; None is any free port.",
        ),
        Option("connect_timeout_s", 5.0, _number(0.05, 120), "Timeout of a connection, in seconds."),
        Option("read_timeout_s", 30.0, _number(0.05, 600), "Timeout of one read from a connection, in seconds."),
        Option("answer_deadline_s", 60.0, _number(0.1, 3600), "Maximum time for one whole response, in seconds."),
        Option("image_deadline_s", 300.0, _number(0.1, 7200), "Maximum time for one whole image, in seconds."),
        Option("retry_base_s", 0.5, _number(0.001, 60), "Maximum pause before the first retry of a read, in seconds."),
        Option("retry_max_s", 8.0, _number(0.001, 600), "Maximum pause before any retry of a read, in seconds."),
        Option("retries", 4, _number(0, 100, whole=True), "Retries of a read, or of a submit that was not accepted."),
        Option(
            "lost_gap_s", 10.0, _number(0.01, 3600), "Pause between the three 404s that make a run lost, in seconds."
        ),
        Option("stall_s", 60.0, _number(0.1, 86400), "Time until a run that has not started is reported, in seconds."),
        Option("cost_per_run", None, _optional(_number(0, 1e6)), "Cost of a run, for the plan of a sweep."),
        Option("workers", 4, _number(1, 32, whole=True), "HTTP worker threads of a client."),
        Option("window", 8, _number(1, 1000, whole=True), "Concurrency limit at the start: runs in flight."),
        Option("image_max_bytes", 64 * _MIB, _number(1024, 4096 * _MIB, whole=True), "Largest image file, in bytes."),
        Option("image_max_px", 64_000_000, _number(1, 1_000_000_000, whole=True), "Largest image, width x height."),
        Option("grid_width_px", 1200, _number(200, 4000, whole=True), "Largest width of a grid, in pixels."),
        Option(
            "theme", "auto", _choice("auto", "light", "dark"), "Colours of grids; auto follows matplotlib's rcParams."
        ),
        Option("jpeg_quality", 85, _number(1, 95, whole=True), "JPEG quality of thumbnails and grids."),
    )
}


class Settings:
    """The settings as attributes; `OPTIONS` lists their names, defaults and accepted values.

    Raises
    ------
    SettingsError
        If an unknown name or an invalid value is assigned. The old value is kept.

    Examples
    --------
    >>> settings = Settings()
    >>> settings.workers = 8
    >>> settings.workers
    8
    >>> settings.workers = 100
    Traceback (most recent call last):
    ...
    comflowy_nb.errors.SettingsError: workers must be a whole number from 1 to 32, not 100
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Set all settings to their defaults."""
        for option in OPTIONS.values():
            object.__setattr__(self, option.name, option.default)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"unknown setting {name!r}: use one of {', '.join(OPTIONS)}")

    def __setattr__(self, name: str, value: object) -> None:
        option = OPTIONS.get(name)
        if option is None:
            tip = nearest_tip(name, OPTIONS) or f": use one of {', '.join(OPTIONS)}"
            raise SettingsError(f"unknown setting {name!r}{tip}")
        try:
            checked = option.check(value)
        except SettingsError as error:
            problem = f"{name} {error}" if option.is_secret else f"{name} {error}{_not(value)}"
        else:
            object.__setattr__(self, name, checked)
            return
        del value  # Verbose tracebacks show locals
        raise SettingsError(problem)

    def __repr__(self) -> str:
        return "Settings(" + ", ".join(f"{name}={getattr(self, name)!r}" for name in OPTIONS) + ")"


settings = Settings()


# -- environment variables --------------------------------------------------------------------------------------


def expand_home(path: str | os.PathLike[str]) -> Path:
    """Return a path with `~` and `~user` expanded. `~name` of an unknown user is kept, as in a shell.

    `Path.expanduser` raises a RuntimeError for it, but `~draft.png` is a valid name of a file.

    Raises
    ------
    SettingsError
        If the path contains a NUL character, which no file system accepts.
    """
    if "\0" in os.fspath(path):
        raise SettingsError(f"invalid path {os.fspath(path)!r}: it contains a NUL character")
    return Path(os.path.expanduser(path))  # noqa: PTH111 - see above


def home() -> Path:
    """Return the folder of history, images and catalogue: `COMFLOWY_HOME`, else the platform's user data folder."""
    folder = os.environ.get("COMFLOWY_HOME")
    if folder:
        return expand_home(folder)
    from platformdirs import user_data_path  # noqa: PLC0415 - not needed where COMFLOWY_HOME is set

    return user_data_path("comflowy")


def cloud_url() -> str:
    """Return the URL of the hosted service: `COMFLOWY_URL`, else https://app.comflowy.com.

    Raises
    ------
    SettingsError
        If `COMFLOWY_URL` is not an http or https address.
    """
    url = os.environ.get("COMFLOWY_URL") or CLOUD_URL
    try:
        return str(_url(url))
    except SettingsError:
        shown = "" if "@" in url else f" {url!r}"  # without a password
        raise SettingsError(f"invalid COMFLOWY_URL{shown}: use an http or https address such as {CLOUD_URL}") from None


def callback_url() -> str | None:
    """Return the public URL for webhooks: the setting `callback_url`, else `COMFLOWY_CALLBACK_URL`, else None.

    Raises
    ------
    SettingsError
        If `COMFLOWY_CALLBACK_URL` is invalid.
    """
    url = os.environ.get("COMFLOWY_CALLBACK_URL", "").strip()
    if settings.callback_url is not None:
        return str(settings.callback_url)
    return check_callback_url(url, "COMFLOWY_CALLBACK_URL") if url else None


def check_callback_url(url: object, name: str) -> str:
    """Return the valid form of a public URL for webhooks.

    Raises
    ------
    SettingsError
        If it is invalid. The message begins with `name`, and contains no password or token.
    """
    try:
        return str(_callback_url(url))
    except SettingsError as error:
        problem = f"{name} {error}{_not(url)}"
    raise SettingsError(problem)


def key_from_env() -> Secret | None:
    """Return the key in `COMFLOWY_API_KEY`, which may be sent only to the origin of `cloud_url()`."""
    text = os.environ.get("COMFLOWY_API_KEY", "").strip()
    return Secret(text) if text else None


def headers_for(address: str) -> Mapping[str, Secret]:
    """Return the headers for an address or its origin: from `settings.headers`, else from `COMFLOWY_HEADERS`.

    Raises
    ------
    SettingsError
        If `COMFLOWY_HEADERS` is not JSON of this form, or a secret would be sent to another machine without https.
    """
    parts = urlsplit(address)
    by_origin = {**_headers_from_env(), **settings.headers}
    headers: Mapping[str, Secret] = by_origin.get(address) or by_origin.get(f"{parts.scheme}://{parts.netloc}") or {}
    if headers and parts.scheme != "https" and parts.hostname not in {"localhost", "127.0.0.1", "::1"}:
        raise SettingsError("the headers in the settings are not sent over plain http to another machine; use https")
    return headers


def _headers_from_env() -> Mapping[str, Mapping[str, Secret]]:
    try:
        return _headers(json.loads(os.environ.get("COMFLOWY_HEADERS", "").strip() or "{}"))
    except (ValueError, SettingsError):
        pass  # the error is raised below, without this one, which quotes the secret
    raise SettingsError('COMFLOWY_HEADERS must be JSON: {"https://host": {"Header-Name": "its value"}}')


def default_target() -> str | None:
    """Return the target in `COMFLOWY_TARGET`, to connect to automatically (CI, papermill)."""
    return os.environ.get("COMFLOWY_TARGET", "").strip() or None
