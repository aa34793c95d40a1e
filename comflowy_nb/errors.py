"""Everything that can go wrong, in words for the person who typed the line.

ComflowyError
|-- SettingsError           no key, a malformed address, a wrong option or setting
|-- LineError               the words typed can't be read: a quote, a brace, a body
|-- WorkflowError           no such workflow, or it can't run here
|   `-- FieldError          unknown field, or values outside its range; names them all
|-- RefError                a reference (r41, last, NAME, r41[0]) that names nothing
|-- HistoryError            the history file is newer, damaged or can't be written
|-- ImageError            an image that is truncated, too large or no image
|-- ServiceError            the service refused or could not be reached
|   |-- AuthError           the key or token was refused
|   |-- NotFoundError       the service knows no such thing
|   |-- RateLimitError      .retry_after_s
|   |-- ServerError         the service failed (5xx)
|   |-- UnreachableError    no connection: nothing was sent; .refused
|   `-- AnswerError         an answer that made no sense
`-- RunError                .run is the run it happened to
    |-- RunFailed           the service ran it and it failed
    |   `-- RunRejected     the service refused to take it
    |-- RunCancelled        it was cancelled
    |-- RunHeld             we can't tell whether the service took it: nothing is sent again by itself
    `-- RunTimeout          not done within the time given; it goes on
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "AnswerError",
    "AuthError",
    "ComflowyError",
    "FieldError",
    "HistoryError",
    "ImageError",
    "LineError",
    "NotFoundError",
    "RateLimitError",
    "RefError",
    "RunCancelled",
    "RunError",
    "RunFailed",
    "RunHeld",
    "RunRejected",
    "RunTimeout",
    "ServerError",
    "ServiceError",
    "SettingsError",
    "UnreachableError",
    "WorkflowError",
]


class ComflowyError(Exception):
    """Whatever comflowy_nb raises on purpose. Its text says what happened, why, and what to type next."""


class SettingsError(ComflowyError):
    """No key, a malformed address, a wrong option or setting."""


class LineError(ComflowyError):
    """The words typed can't be read."""


class WorkflowError(ComflowyError):
    """No such workflow, or one that can't run here."""


class FieldError(WorkflowError):
    """Unknown fields, or values outside their range.

    Parameters
    ----------
    problems
        One plain sentence for each thing wrong, so that all of them are mended at once.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class RefError(ComflowyError):
    """A reference that names no run and no image."""


class HistoryError(ComflowyError):
    """The history can't be read or written."""


class ImageError(ComflowyError):
    """An image that can't be used: truncated, too large, or no image at all."""


class ServiceError(ComflowyError):
    """The service refused, or could not be reached."""


class AuthError(ServiceError):
    """The key or the token was refused."""


class NotFoundError(ServiceError):
    """The service knows no such thing."""


class RateLimitError(ServiceError):
    """The service asks for a pause.

    Parameters
    ----------
    retry_after_s
        The pause the service asked for, in seconds; None if it named none.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ServerError(ServiceError):
    """The service itself failed (5xx)."""


class UnreachableError(ServiceError):
    """No connection was made, so nothing was sent.

    Parameters
    ----------
    refused
        Whether the server's own host refused the connection: no process listens at the address. A time-out, an unknown
        name and a proxy that refuses do not show that.
    """

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


class AnswerError(ServiceError):
    """The service answered something that makes no sense."""


class RunError(ComflowyError):
    """Something about one run, which it carries as `.run` (a `comflowy_nb.Run`; the errors know nothing above them)."""

    def __init__(self, message: str, run: Any) -> None:
        super().__init__(message)
        self.run = run


class RunFailed(RunError):
    """The run failed."""


class RunRejected(RunFailed):
    """The service refused to take the run."""


class RunCancelled(RunError):
    """The run was cancelled."""


class RunHeld(RunError):
    """Nobody can tell whether the service took it, so nothing is sent again by itself."""


class RunTimeout(RunError):
    """The run was not done within the time given. It goes on."""
