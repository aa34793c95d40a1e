"""The results of HTTP requests, `Response` and `Failure`, and the errors that are raised for them."""

from __future__ import annotations

import email.utils
import math
import ssl
import time
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar
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
from comflowy_nb.services.http.error_text import mask_webhooks, read_message
from comflowy_nb.services.http.transport import NotPublicError
from comflowy_nb.services.types import Rejected, Unknown
from comflowy_nb.settings import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from comflowy_nb.services.http.transport import Deadline
    from comflowy_nb.settings import Secret


MAX_PAUSE_S = 120.0  # a longer Retry-After is capped at this value, and there is no retry
BROKEN = "the connection broke"  # the beginning of `Failure.text` if neither a timeout nor TLS was the cause

T = TypeVar("T")


class FailureKind(StrEnum):
    """Why there is no response; all but `RESPONSE_LOST` prove that the server has not read the request."""

    NOT_SENT = "not sent"  # no connection was made
    UNTRUSTED = "untrusted"  # the certificate is not trusted
    NOT_PUBLIC = "not public"  # the address is not public
    RESPONSE_LOST = "response lost"  # the server may have read the request


@dataclass(frozen=True, slots=True)
class Failure:
    """A request without a response.

    `text` is the reason, without host and URL. `refused` means that the server's host refused the connection, so that
    no process listens at the address.
    """

    kind: FailureKind
    text: str
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Response:
    """Status, headers and body of a response; `body_error` says why the body is incomplete."""

    status: int
    headers: Mapping[str, str] = field(repr=False)  # names in lower case
    body: bytes = field(repr=False, default=b"")
    body_error: str | None = None

    @property
    def is_ok(self) -> bool:
        return 200 <= self.status < 300


class SchemaError(Exception):
    """The body of a response is not as documented. Used only inside `services`, because its text may quote a secret."""

    def __init__(self, text: str, *, is_rejection: bool = False) -> None:
        super().__init__(text)
        self.is_rejection = is_rejection  # the service responded with `success: false`


def decode_response(
    response: Response | Failure,
    decode: Callable[[bytes], T],
    label: str,
    requested: str,
    *,
    hide: tuple[Secret, ...] = (),
) -> T:
    """Return the decoded body of a response with status 2xx.

    Parameters
    ----------
    response : Response or Failure
        The result of the request.
    decode : callable
        Decodes the body, or raises SchemaError.
    label : str
        The service's name in errors.
    requested : str
        Name of the requested resource in errors, such as `run with this id`.
    hide : tuple of Secret
        Secrets to mask in the service's own text.

    Raises
    ------
    ServiceError
        If there is no response, its status is not 2xx, or its body is incomplete or not as documented.
    """
    if isinstance(response, Failure):
        raise error_of(response, label)
    if not response.is_ok:
        raise error_of_status(response, label, requested, hide=hide)
    problem = response.body_error
    if problem is None:
        try:
            return decode(response.body)
        except SchemaError as error:
            problem = mask_secrets(str(error), hide)
    raise AnswerError(f"invalid response from {label}: {problem}")


# -- failures ---------------------------------------------------------------------------------------------------


def classify(error: BaseException, deadline: Deadline) -> Failure:
    """Convert an exception of requests to a Failure. Its kind says whether the server may have read the request.

    The exception class is not sufficient, because requests raises ConnectionError, ProxyError and SSLError both before
    and after the server has read the request. Only a wrapped connection or certificate error proves that nothing was
    sent.
    """
    chain = list(_inner(error))
    proof = next((failure for inner in chain if (failure := _proof(inner)) is not None), None)
    if proof is not None and any(isinstance(inner, ProxyError) for inner in chain):
        proof = replace(proof, refused=False)  # a connection that the proxy refused proves nothing about the server
    return proof or Failure(FailureKind.RESPONSE_LOST, _reason(error, chain, deadline))


def _proof(inner: BaseException) -> Failure | None:
    """Return a Failure if an inner exception proves that nothing was sent, else None."""
    if isinstance(inner, NotPublicError):
        return Failure(FailureKind.NOT_PUBLIC, "its address is not public")
    if isinstance(inner, ssl.SSLCertVerificationError):
        return Failure(
            FailureKind.UNTRUSTED, f"its certificate is not trusted ({inner.verify_message or 'verification failed'})"
        )
    if isinstance(inner, NameResolutionError):
        return Failure(FailureKind.NOT_SENT, "its name is not known: no network, or a mistyped address")
    if isinstance(inner, NewConnectionError):
        refused = isinstance(inner.__cause__, ConnectionRefusedError)
        text = "connection refused; is the server running?" if refused else "no connection could be made"
        return Failure(FailureKind.NOT_SENT, text, refused=refused)
    if isinstance(inner, ConnectTimeoutError):
        return Failure(FailureKind.NOT_SENT, f"no connection within {settings.connect_timeout_s:g} s")
    return None


def _reason(error: BaseException, chain: list[BaseException], deadline: Deadline) -> str:
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema | UnicodeError):
        return "its address is invalid"
    if deadline.expired:
        return deadline.expired
    if any(isinstance(inner, TimeoutError | requests.Timeout | ReadTimeoutError) for inner in chain):
        return f"read timeout after {settings.read_timeout_s:g} s"
    if any(isinstance(inner, ssl.SSLError) for inner in chain):
        return "the encrypted connection failed"
    return f"{BROKEN} ({type(error).__name__})"


def _inner(error: BaseException, depth: int = 0) -> Iterator[BaseException]:
    """Yield an exception and the exceptions that it wraps, without `__context__`, which may be of another request."""
    yield error
    if depth < 8:  # wrapped exceptions may form a cycle
        for part in (*error.args, getattr(error, "reason", None), getattr(error, "original_error", None)):
            if isinstance(part, BaseException) and part is not error:
                yield from _inner(part, depth + 1)


# -- errors -----------------------------------------------------------------------------------------------------


def error_of(failure: Failure, label: str) -> ServiceError:
    """Return the error for a request without a response."""
    if failure.kind is FailureKind.NOT_SENT:
        return UnreachableError(f"can't reach {label}: {failure.text}", refused=failure.refused)
    if failure.kind is FailureKind.RESPONSE_LOST:
        return AnswerError(f"{label} did not respond: {failure.text}")
    return ServiceError(f"can't use {label}: {failure.text}")


def error_of_status(response: Response, label: str, requested: str, *, hide: tuple[Secret, ...] = ()) -> ServiceError:
    """Return the error for a response whose status is not 2xx. See `decode_response` for the parameters."""
    status = response.status
    message = mask_secrets(read_message(response.body), hide)
    detail = f": {message}" if message else ""
    pause_s = read_retry_after(response.headers.get("retry-after"), response.headers.get("date"))
    if status == 429 or (status == 503 and pause_s is not None):
        return rate_limit_error(label, pause_s, detail)
    if status == 401:
        return AuthError(f"{label} rejected the key{detail}; %comflowy login asks for another")
    if status == 402:
        return AuthError(f"{label} requires payment (402){detail}")
    if status == 403:
        return AuthError(f"{label} does not allow the request (403){detail}")
    if status == 404:
        is_redundant = message is not None and ("no such" in message or "not found" in message.lower())
        return NotFoundError(f"{label} has no {requested}{'' if is_redundant else detail}")
    if 300 <= status < 400:
        return AnswerError(
            f"{label} redirects to another address (status {status}); redirects are not followed. "
            "Connect to that address"
        )
    if status >= 500 or status == 408:
        return ServerError(f"{label} failed with status {status}{detail}")
    return AnswerError(f"{label} answered with status {status}{detail}")


def error_of_proxy(status: int, label: str) -> AuthError | None:
    """Return the error for a 401 or 403 of a proxy. A ComfyUI server itself has no authentication."""
    if status not in {401, 403}:
        return None
    return AuthError(f"{label} answers {status}: the headers in COMFLOWY_HEADERS for its origin are missing or invalid")


def rate_limit_error(label: str, pause_s: float | None, detail: str = "") -> RateLimitError:
    """Return the error for a response with Retry-After or status 429. The pause is capped at `MAX_PAUSE_S`."""
    if pause_s is None:
        return RateLimitError(f"{label} asks for fewer requests{detail}")
    text = f"{label} asks for a pause of {_duration(pause_s)}"
    if pause_s >= MAX_PAUSE_S:
        return RateLimitError(f"{text}, too long to wait for; try again later{detail}", retry_after_s=MAX_PAUSE_S)
    return RateLimitError(f"{text}{detail}", retry_after_s=pause_s)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def read_retry_after(header: str | None, date: str | None = None) -> float | None:
    """Return the seconds of a Retry-After header (a number or a date), or None if it is missing or invalid.

    A date is compared with the header `Date` of the same response, because the clock of this machine may be wrong.
    """
    try:
        seconds = float(header or "")
    except ValueError:
        until_s, sent_s = _read_date(header), _read_date(date)
        if until_s is None:
            return None
        seconds = until_s - (time.time() if sent_s is None else sent_s)
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _read_date(header: str | None) -> float | None:
    """Return the date of a header in seconds since 1970, or None if it is missing or invalid."""
    try:
        return email.utils.parsedate_to_datetime((header or "").strip()).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def mask_secrets(text: str | None, hide: tuple[Secret, ...]) -> str | None:
    """Mask secrets that the message of a service may contain. A truncated message may end within one."""
    if text is None:
        return None
    for secret in hide:
        plain = secret.reveal()
        for form in {plain, quote(plain), quote_plus(plain), quote(plain, safe="")} - {""}:
            text = text.replace(form, "***")
            cut = next((size for size in range(len(form) - 1, 3, -1) if text.endswith(f"{form[:size]}…")), 0)
            text = f"{text[: -cut - 1]}***…" if cut else text
    return mask_webhooks(text)


def outcome_of_failure(failure: Failure, label: str) -> Rejected | Unknown:
    """Return the outcome of a submit without a response."""
    if failure.kind is FailureKind.RESPONSE_LOST:
        return Unknown(f"{label} did not respond: {failure.text}")
    return Rejected(error_of(failure, label), may_retry=failure.kind is FailureKind.NOT_SENT)


def rejection_of(error: ServiceError) -> Rejected:
    """Return the outcome of a submit after an error that proves that the service did not accept the run."""
    if isinstance(error, RateLimitError):
        return Rejected(error, may_retry=error.retry_after_s is None or error.retry_after_s < MAX_PAUSE_S)
    if isinstance(error, AuthError):
        return Rejected(error, rejects_all=True)
    if isinstance(error, NotFoundError) or type(error) is ServiceError:
        return Rejected(error)
    return Rejected(error, may_retry=True)
