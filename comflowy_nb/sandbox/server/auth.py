"""The API key, access tokens, and the proof that this is the sandbox of a key."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["TOKEN_LIFE_S", "ApiKeyCheck", "new_key"]

TOKEN_LIFE_S = 600.0
_TOKENS_MAX = 1000


def new_key() -> str:
    return secrets.token_urlsafe(32)


def _same(one: str, other: str) -> bool:
    # compare_digest accepts only ASCII texts, so compare bytes.
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass"))


class ApiKeyCheck:
    """Issue access tokens for the key, and check them."""

    def __init__(self, key: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._key = key
        self._clock = clock
        self._ends: dict[str, float] = {}  # token -> its expiry, oldest first

    def token_for(self, key: str) -> str | None:
        """Return a new access token, or None if the key is wrong."""
        if not _same(key, self._key):
            return None
        now = self._clock()
        self._ends = {token: end for token, end in self._ends.items() if end > now}
        while len(self._ends) >= _TOKENS_MAX:
            del self._ends[next(iter(self._ends))]
        token = secrets.token_urlsafe(32)
        self._ends[token] = now + TOKEN_LIFE_S
        return token

    def admits(self, authorization: str | None) -> bool:
        """Return whether an `Authorization` header has a valid token."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            return False
        end = self._ends.get(token.strip())
        return end is not None and end > self._clock()

    def prove(self, nonce: str) -> str:
        """Return the HMAC of a nonce: it shows a client that this server has the key, which is not sent."""
        content = f"comflowy_nb sandbox {nonce}".encode("utf-8", "surrogatepass")
        return hmac.new(self._key.encode(), content, hashlib.sha256).hexdigest()
