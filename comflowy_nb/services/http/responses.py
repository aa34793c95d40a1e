"""What came of an exchange: an answer or a failure, and the error of ours that says so to a person."""

from __future__ import annotations

import email.utils
import math
import ssl
import time
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

import requests
from urllib3.exceptions import (
    ConnectTimeoutError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
)

from comflowy_nb.errors import (
    AnswerError,
    AuthError,
    NotFoundError,
    RateLimitError,
    ServerError,
    ServiceError,
    UnreachableError,
)
from comflowy_nb.services.http.error_text import said
from comflowy_nb.services.http.transport import NotPublicError
from comflowy_nb.settings import settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from comflowy_nb.services.http.deadlines import Limit
    from comflowy_nb.settings import Secret

__all__ = [
    "MAX_PAUSE_S",
    "Answer",
    "Failure",
    "Trouble",
    "error_of",
    "error_of_proxy",
    "error_of_status",
    "explain",
    "masked",
    "rate_limit",
    "read_pause",
]

MAX_PAUSE_S = 120.0  # a `retry_after_s` of this stands for any longer one: it is given up, and that is said


BROKE = "the connection broke"  # so begins the text of a failure that was neither silence nor TLS


class Trouble(StrEnum):
    """Why there is no answer; all but `LOST` prove that the request was never read."""

    NOT_SENT = "not sent"  # no connection was made
    UNTRUSTED = "untrusted"  # the certificate is not one to trust
    NOT_PUBLIC = "not public"  # the address is not one that may be asked
    LOST = "lost"  # it may have been read


@dataclass(frozen=True, slots=True)
class Failure:
    """No answer. `text` says why in a few words, without names and addresses.

    `refused` says that the server's own host refused the connection: no process listens there.
    """

    trouble: Trouble
    text: str
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: its head at least. `flaw` says why the body is not all there."""

    status: int
    headers: Mapping[str, str] = field(repr=False)  # names in lower case
    body: bytes = field(repr=False, default=b"")
    flaw: str | None = None

    @property
    def is_ok(self) -> bool:
        return 200 <= self.status < 300


def explain(error: BaseException, limit: Limit | None = None) -> Failure:
    """What an exception of the network says about the request.

    Its class alone does not tell: ConnectionError and ProxyError come before and after the request was read, and so
    does SSLError. Only an inner error of connecting, or of the certificate, proves that nothing was sent.
    """
    chain = list(_inner(error))
    proof = next((found for inner in chain if (found := _proof(inner)) is not None), None)
    if proof is not None and any(isinstance(inner, ProxyError) for inner in chain):
        proof = replace(proof, refused=False)  # the proxy refused it, which says nothing of the server
    return proof or Failure(Trouble.LOST, _how_lost(error, chain, limit))


def _proof(inner: BaseException) -> Failure | None:
    """What an inner error proves, if it proves that nothing was sent."""
    if isinstance(inner, NotPublicError):
        return Failure(Trouble.NOT_PUBLIC, "its address is not a public one")
    if isinstance(inner, ssl.SSLCertVerificationError):
        return Failure(Trouble.UNTRUSTED, f"its certificate is not trusted ({inner.verify_message or 'refused'})")
    if isinstance(inner, NameResolutionError):
        return Failure(Trouble.NOT_SENT, "its name is not known: no network, or a mistyped address")
    if isinstance(inner, NewConnectionError):
        refused = isinstance(inner.__cause__, ConnectionRefusedError)
        words = "it refused the connection" if refused else "no connection could be made"
        return Failure(Trouble.NOT_SENT, words, refused=refused)
    if isinstance(inner, ConnectTimeoutError):
        return Failure(Trouble.NOT_SENT, f"no connection within {settings.connect_timeout_s:g} s")
    return None


def _how_lost(error: BaseException, chain: list[BaseException], limit: Limit | None) -> str:
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema | UnicodeError):
        return "the address can't be asked"
    if limit is not None and limit.spent:
        return limit.spent
    if any(isinstance(inner, TimeoutError | requests.Timeout | ReadTimeoutError) for inner in chain):
        return "it fell silent for too long"
    if any(isinstance(inner, ssl.SSLError) for inner in chain):
        return "the encrypted connection failed"
    return f"{BROKE} ({type(error).__name__})"


def _inner(error: BaseException, depth: int = 0) -> Iterator[BaseException]:
    """An exception and those it was made of; `__context__` is left out, it may be of another request."""
    yield error
    if depth < 8:
        for part in (*error.args, getattr(error, "reason", None), getattr(error, "original_error", None)):
            if isinstance(part, BaseException) and part is not error:
                yield from _inner(part, depth + 1)


def error_of(failure: Failure, label: str) -> ServiceError:
    """The error for a read that got no answer."""
    if failure.trouble is Trouble.NOT_SENT:
        return UnreachableError(f"can't reach {label}: {failure.text}", refused=failure.refused)
    if failure.trouble is Trouble.LOST:
        return AnswerError(f"no usable answer from {label}: {failure.text}")
    return ServiceError(f"{label} can't be used: {failure.text}")


def error_of_status(answer: Answer, label: str, what: str, *, hide: tuple[Secret, ...] = ()) -> ServiceError:
    """The error for an answer whose status is not 2xx.

    Parameters
    ----------
    what
        What was asked for, as in "the service knows no such `what`".
    hide
        Secrets to take out of the service's own words.
    """
    status = answer.status
    words = masked(said(answer.body), hide)
    told = f": {words}" if words else ""
    if status == 401:
        return AuthError(f"{label} refused the key{told}; %comflowy login asks for another")
    if status == 402:
        return AuthError(f"{label} asks for payment (402){told}")
    if status == 403:
        return AuthError(f"{label} does not allow it (403){told}")
    if status == 404:
        return NotFoundError(f"{label} knows no such {what}{told}")
    pause_s = read_pause(answer.headers)
    if status == 429 or (status == 503 and pause_s is not None):
        return rate_limit(label, pause_s, told)
    if 300 <= status < 400:
        return AnswerError(f"{label} points elsewhere (status {status}), which is not followed; is the address right?")
    if status >= 500 or status == 408:
        return ServerError(f"{label} failed with status {status}{told}")
    return AnswerError(f"{label} answered with status {status}{told}")


def error_of_proxy(status: int, label: str) -> AuthError | None:
    """The error for an answer of a proxy before a ComfyUI server, which itself asks nobody who they are."""
    if status not in {401, 403}:
        return None
    return AuthError(f"{label} answers {status}: the headers in COMFLOWY_HEADERS for its origin are missing or refused")


def rate_limit(label: str, pause_s: float | None, told: str = "") -> RateLimitError:
    """The error for an answer that asks for a pause, capped at `MAX_PAUSE_S`."""
    if pause_s is None:
        return RateLimitError(f"{label} asks to slow down{told}")
    if pause_s >= MAX_PAUSE_S:
        words = f"{label} asks for a pause of {_duration(pause_s)}, too long to wait for; try again later{told}"
        return RateLimitError(words, retry_after_s=MAX_PAUSE_S)
    return RateLimitError(f"{label} asks for a pause of {_duration(pause_s)}{told}", retry_after_s=pause_s)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def read_pause(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by a Retry-After header: seconds, also fractions, or a date; None where it says nothing."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            at = email.utils.parsedate_to_datetime(text)
            seconds = at.timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def masked(text: str | None, hide: tuple[Secret, ...]) -> str | None:
    """A service's words without the secrets it may have quoted."""
    if text is not None:
        for secret in hide:
            shown = secret.reveal()
            if shown:
                for form in {shown, quote(shown), quote_plus(shown), quote(shown, safe="")}:
                    text = text.replace(form, "***")
    return text
