"""API keys (lookup, storage, transport) and the access tokens fetched with them.

A key belongs to one origin. It is never an argument of a magic: notebooks save cells, and IPython keeps their input.
"""

from __future__ import annotations

import copy
import threading
import time
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import AuthError, ServiceError
from comflowy_nb.services.http.origins import is_loopback, origin_of
from comflowy_nb.settings import Secret, cloud_url, key_from_env

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Tokens", "check_key_transport", "find_key", "forget_key", "store_key", "stored_key"]

_SERVICE = "comflowy_nb"
_session: dict[str, Secret] = {}  # origin -> key, without a keyring
_session_lock = threading.Lock()


def find_key(
    origin: str,
    *,
    explicit: Secret | None = None,
    sandbox_key: Secret | None = None,
    ask: Callable[[str], Secret | None] | None = None,
) -> Secret:
    """Return the key for an origin.

    The order: the Python argument, the sandbox's file, `COMFLOWY_API_KEY` for the origin of `COMFLOWY_URL` only, the
    key stored by `login`, and finally a prompt.

    Parameters
    ----------
    explicit
        The Python argument.
    ask
        Prompt for the key of an origin; None without a terminal or notebook.

    Raises
    ------
    AuthError
        If there is none, with the ways to set one, or it is not a valid key.
    """
    for key in (explicit, sandbox_key):
        if key is not None:
            return _checked(key)
    from_env = key_from_env()
    is_cloud = origin_of(cloud_url()) == origin
    if from_env is not None and is_cloud:
        return _checked(from_env)
    key = stored_key(origin)
    if key is None and ask is not None:
        key = ask(origin)
    if key is not None:
        return _checked(key)
    ways = ["%comflowy login", "connect(url, key=...) in Python"]
    if is_cloud:
        ways.insert(0, "set COMFLOWY_API_KEY")
    unused = "; COMFLOWY_API_KEY goes only to the address in COMFLOWY_URL" if from_env is not None else ""
    raise AuthError(f"no API key for this service: {', or '.join(ways)}{unused}")


def _checked(key: Secret) -> Secret:
    """Return the key without surrounding white space, which copying may add."""
    stripped = Secret(key.reveal().strip())
    if not stripped.reveal():
        raise AuthError("the API key is empty; copy it from the settings of the Comflowy home page")
    if not _is_word(stripped):
        raise AuthError("that is no API key: a key is one word of plain letters, digits and signs")
    return stripped


def _is_word(key: Secret) -> bool:
    text = key.reveal()
    return text.isascii() and text.isprintable() and " " not in text


def check_key_transport(origin: str) -> None:
    """Refuse to send a key where others can read it.

    Raises
    ------
    AuthError
        If the origin is plain http and not this machine.
    """
    if not origin.startswith("https://") and not is_loopback(origin):
        raise AuthError("the API key is not sent over plain http, where anybody on the way can read it; use https")


def stored_key(origin: str) -> Secret | None:
    """Return the key that `store_key` stored for the origin."""
    with _session_lock:
        kept = _session.get(origin)
    if kept is not None:
        return kept
    ring = _keyring()
    text = ring.read(origin) if ring is not None else None
    return Secret(text) if text else None


def store_key(origin: str, key: Secret) -> bool:
    """Store a key for an origin.

    Returns
    -------
    True if the keyring has it, False if only this session does.

    Raises
    ------
    AuthError
        If it is not a valid key.
    """
    key = _checked(key)
    ring = _keyring()
    # read back: the null backend accepts every key and stores none
    kept = ring is not None and ring.write(origin, key) and ring.read(origin) == key.reveal()
    with _session_lock:
        if kept:
            _session.pop(origin, None)
        else:
            _session[origin] = key
    return kept


def forget_key(origin: str) -> bool:
    """Delete the key of an origin from this session and the keyring; return whether there was one."""
    with _session_lock:
        was_kept = _session.pop(origin, None) is not None
    ring = _keyring()
    return bool(ring is not None and ring.delete(origin)) or was_kept


class _Ring:
    """The keyring; any call may fail: it is locked, the user cancels, or there is no backend."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def read(self, origin: str) -> str | None:
        try:
            text = self._module.get_password(_SERVICE, origin)
        except Exception:  # noqa: BLE001 - backends raise errors of their own; without one there is no key
            return None
        return text if isinstance(text, str) else None

    def write(self, origin: str, key: Secret) -> bool:
        try:
            self._module.set_password(_SERVICE, origin, key.reveal())
        except Exception:  # noqa: BLE001 - as above
            return False
        return True

    def delete(self, origin: str) -> bool:
        had = self.read(origin) is not None
        try:
            self._module.delete_password(_SERVICE, origin)
        except Exception:  # noqa: BLE001 - as above: there was nothing to delete
            return False
        return had


def _keyring() -> _Ring | None:
    try:
        import keyring  # noqa: PLC0415 - an optional package
    except ImportError:
        return None
    return _Ring(keyring)


# -- access tokens ----------------------------------------------------------------------------------------------

REMEMBERED_S = 3.0  # a failure to fetch a token is shared with all callers within this time


class Tokens:
    """The access token of one service, in memory only: fetched once for all threads, and again after a 401.

    Parameters
    ----------
    fetch
        Fetch a token from the service; may raise ServiceError.
    """

    def __init__(self, fetch: Callable[[], Secret], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._current: Secret | None = None
        self._failure: ServiceError | None = None
        self._failed_until = 0.0

    @property
    def current(self) -> Secret | None:
        return self._current

    def get(self) -> Secret:
        """Return the token; wait if another thread is fetching it.

        Raises
        ------
        ServiceError
            If it can't be fetched, or could not in the last `REMEMBERED_S` seconds.
        """
        return self._current or self._renewed(None)

    def renew(self, refused: Secret) -> Secret:
        """Return a token other than the refused one; only one of several threads fetches it.

        Raises
        ------
        ServiceError
            As `get`.
        """
        return self._renewed(refused)

    def _renewed(self, refused: Secret | None) -> Secret:
        with self._lock:
            if self._current is not None and self._current != refused:
                return self._current
            failure = self._failure if self._clock() < self._failed_until else None
            if failure is None:
                self._current = None
                try:
                    self._current = self._fetch()
                except ServiceError as error:
                    failure = self._failure = copy.copy(error)  # without the traceback
                    self._failed_until = self._clock() + REMEMBERED_S
                else:
                    self._failure = None
                    return self._current
        raise copy.copy(failure)
