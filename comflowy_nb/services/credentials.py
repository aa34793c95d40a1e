"""API keys (lookup, storage, transport) and the access tokens fetched with them.

A key belongs to one origin. It is never an argument of a magic, because notebooks and IPython's history store cells.
"""

from __future__ import annotations

import copy
import getpass
import threading
import time
from typing import TYPE_CHECKING

from comflowy_nb.errors import AuthError, ServiceError
from comflowy_nb.services.targets import is_loopback, origin_of
from comflowy_nb.settings import CLOUD_URL, Secret, cloud_url, key_from_env

if TYPE_CHECKING:
    from collections.abc import Callable


_KEY_PAGE = f"in the settings on the home page of {CLOUD_URL}"
WHERE_THE_KEY_IS = f"Your personal API key is {_KEY_PAGE}"
_KEYRING_SERVICE = "comflowy_nb"
_session_keys: dict[str, Secret] = {}  # origin -> key that the keyring could not store


def ask_key(label: str, note: str = "") -> Secret | None:
    """Ask for a key without echo. Return None if the user can't answer or types nothing."""
    where = f" ({_KEY_PAGE})" if label == "cloud" else ""
    try:
        text = getpass.getpass(f"API key for {label}{where}{note}: ").strip()
    except (EOFError, NotImplementedError):
        return None
    return Secret(text) if text else None


def find_key(
    origin: str, *, explicit: Secret | None = None, ask: Callable[[str], Secret | None] | None = None
) -> Secret:
    """Return the key for an origin.

    The sources, in this order, are the Python argument, `COMFLOWY_API_KEY` (only for the origin of `COMFLOWY_URL`), the
    key stored by `login`, and a prompt.

    Parameters
    ----------
    origin : str
        Scheme, host and port.
    explicit : Secret, optional
        The Python argument.
    ask : callable, optional
        Called with the origin to prompt for a key. None if the user can't answer.

    Raises
    ------
    AuthError
        If there is no key, or the key is not valid. The text says how to set a key.
    """
    if explicit is not None:
        return _check_key(explicit)
    from_env = key_from_env()
    is_cloud = origin_of(cloud_url()) == origin
    key = from_env if is_cloud and from_env is not None else stored_key(origin)
    if key is None and ask is not None:
        key = ask(origin)
    if key is not None:
        return _check_key(key)
    if is_cloud:
        raise AuthError(
            f"no API key for this service. {WHERE_THE_KEY_IS}: type %comflowy login and paste it, or set the "
            "environment variable COMFLOWY_API_KEY (in Python: connect('cloud', key=...))"
        )
    unused = "; COMFLOWY_API_KEY is sent only to the address in COMFLOWY_URL" if from_env is not None else ""
    raise AuthError(
        f"no API key for this service: type %comflowy login and paste it, or connect(url, key=...) in Python{unused}"
    )


def _check_key(key: Secret) -> Secret:
    """Return the key without surrounding white space, which can be copied by mistake."""
    stripped = Secret(key.reveal().strip())
    if not stripped.reveal():
        raise AuthError(f"the API key is empty. {WHERE_THE_KEY_IS}")
    if not stripped.is_token():
        raise AuthError("invalid API key: a key is one word of ASCII letters, digits and punctuation")
    return stripped


def check_key_transport(origin: str, label: str = "this server") -> None:
    """Check that a key would be sent to an origin by https, or only within this machine.

    Raises
    ------
    AuthError
        If the origin is plain http on another machine.
    """
    if not origin.startswith("https://") and not is_loopback(origin):
        reason = "because plain http is not encrypted: use its https address"
        raise AuthError(f"the API key is not sent to {label}, {reason}")


def stored_key(origin: str) -> Secret | None:
    """Return the key that `store_key` stored for an origin."""
    key = _session_keys.get(origin)
    if key is None and (text := _call_keyring("get_password", origin)):
        key = Secret(text)
    return key


def store_key(origin: str, key: Secret) -> bool:
    """Store a key for an origin.

    Returns
    -------
    bool
        True if the key is in the keyring, False if it is only in the memory of this process.

    Raises
    ------
    AuthError
        If the key is not valid.
    """
    key = _check_key(key)
    _call_keyring("set_password", origin, key)
    # Read the key back, because the null backend accepts keys and does not store them.
    if _call_keyring("get_password", origin) == key.reveal():
        _session_keys.pop(origin, None)
        return True
    _session_keys[origin] = key
    return False


def forget_key(origin: str) -> bool:
    """Delete the key of an origin from this process and the keyring. Return whether there was one."""
    was_in_session = _session_keys.pop(origin, None) is not None
    was_in_keyring = _call_keyring("get_password", origin) is not None
    _call_keyring("delete_password", origin)
    return was_in_session or (was_in_keyring and _call_keyring("get_password", origin) is None)


def _call_keyring(function: str, origin: str, key: Secret | None = None) -> str | None:
    """Call a function of the keyring. Return None if the keyring is not installed, is locked, or has no backend."""
    try:
        import keyring  # noqa: PLC0415 - an optional package

        text = getattr(keyring, function)(_KEYRING_SERVICE, origin, *(() if key is None else (key.reveal(),)))
    except Exception:  # noqa: BLE001 - every backend raises its own errors
        return None
    return text if isinstance(text, str) else None


# -- access tokens ----------------------------------------------------------------------------------------------

FAILURE_SHARED_S = 3.0  # a failure to fetch a token is raised for all callers within this time


class Tokens:
    """The access token of one service, in memory only. It is fetched once for all threads, and again after a 401.

    Parameters
    ----------
    fetch : callable
        Fetches a token from the service; may raise ServiceError.
    clock : callable
        Returns the monotonic time in seconds.
    """

    def __init__(self, fetch: Callable[[], Secret], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._failure: ServiceError | None = None
        self._failed_until_s = 0.0
        self.current: Secret | None = None

    def get(self, *, rejected: Secret | None = None) -> Secret:
        """Return a token other than `rejected`; wait if another thread is fetching it.

        Raises
        ------
        ServiceError
            If the token can't be fetched, or a fetch failed in the last `FAILURE_SHARED_S` seconds.
        """
        with self._lock:
            if self.current is not None and self.current != rejected:
                return self.current
            if self._failure is None or self._clock() >= self._failed_until_s:
                self.current = None
                try:
                    self.current = self._fetch()
                except ServiceError as error:
                    self._failure = copy.copy(error)  # without the traceback
                    self._failed_until_s = self._clock() + FAILURE_SHARED_S
                else:
                    return self.current
            failure = self._failure
        raise copy.copy(failure)
