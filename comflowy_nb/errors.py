"""The exceptions of this package.

Their tree::

    ComflowyError
    |-- SettingsError           no key, a malformed address, an invalid option or setting
    |-- LineError               text that can't be parsed: a quote, a brace, a body
    |-- WorkflowError           an unknown workflow, or one that can't run on this service
    |   `-- FieldError          unknown fields and invalid values, all at once
    |-- RefError                a reference (r41, last, NAME, r41[0]) that leads to no run and no image
    |-- HistoryError            the history file is newer, damaged or not writable
    |-- ImageError              an image that is truncated, too large or not an image
    |-- ServiceError            the service rejected a request or could not be reached
    |   |-- AuthError           the key or token was rejected
    |   |-- NotFoundError       the service does not know the run, workflow or image
    |   |-- RateLimitError      the service asks for a pause; .retry_after_s
    |   |-- ServerError         the service failed (5xx)
    |   |-- UnreachableError    no connection was made, so nothing was sent; .refused
    |   `-- AnswerError         a response that can't be used
    `-- RunError                .run is the run
        |-- RunFailed           the run failed
        |   `-- RunRejected     the service did not accept the run
        |-- RunCancelled        the run was cancelled
        |-- RunHeld             the service may have accepted the run: it is not submitted again automatically
        `-- RunTimeout          the run is not settled after the timeout; it continues

The text of each error says what happened, why, and what to type next. Only `UsageError` of IPython (wrong usage of a
command) is outside this tree.
"""

from __future__ import annotations

import difflib
import re
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

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
    """Base class of all errors that comflowy_nb raises on purpose.

    Examples
    --------
    >>> try:
    ...     raise RefError("r99 is not a run")
    ... except ComflowyError as error:
    ...     print(error)
    r99 is not a run
    """


class SettingsError(ComflowyError):
    """A missing key, a malformed address, or an invalid option or setting."""


class LineError(ComflowyError):
    """Text of a line or a body that can't be parsed."""


class WorkflowError(ComflowyError):
    """An unknown workflow, or one that can't run on the connected service."""


class FieldError(WorkflowError):
    """Unknown fields and invalid values; all problems are reported at once.

    Parameters
    ----------
    *problems : str
        One plain sentence per problem. The text of the error has one line for each.

    Attributes
    ----------
    problems : tuple of str
        The problems.

    Examples
    --------
    >>> FieldError("default has no field 'cgf'", "steps: 0 is below 1").problems
    ("default has no field 'cgf'", 'steps: 0 is below 1')
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class RefError(ComflowyError):
    """A reference for which there is no run, sweep or image."""


class HistoryError(ComflowyError):
    """The history can't be read or written."""


class ImageError(ComflowyError):
    """An image that can't be used: truncated, too large, or not an image."""


class ServiceError(ComflowyError):
    """The service rejected a request, or could not be reached."""


class AuthError(ServiceError):
    """The service rejected the key or the token."""


class NotFoundError(ServiceError):
    """The service does not know the requested run, workflow or image."""


class RateLimitError(ServiceError):
    """The service asks for a pause (429, or 503 with Retry-After).

    Parameters
    ----------
    message : str
        The text of the error.
    retry_after_s : float, optional
        The requested pause in seconds, from 0; None if the service named none.

    Attributes
    ----------
    retry_after_s : float or None
        The requested pause in seconds.

    Examples
    --------
    >>> RateLimitError("cloud asks for a pause of 5 s", retry_after_s=5.0).retry_after_s
    5.0
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
    message : str
        The text of the error.
    refused : bool
        Whether the server's own host refused the connection: no process listens at the address. A timeout, an unknown
        name and a proxy that refuses do not show that.

    Attributes
    ----------
    refused : bool
        Whether the server's own host refused the connection.

    Examples
    --------
    >>> UnreachableError("can't reach home: connection refused", refused=True).refused
    True
    """

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


class AnswerError(ServiceError):
    """The response of the service is missing, incomplete or not in the documented form."""


class RunError(ComflowyError):
    """An error of one run, which is on the exception.

    Parameters
    ----------
    message : str
        The text of the error.
    run : comflowy_nb.Run
        The run.

    Attributes
    ----------
    run : comflowy_nb.Run
        The run.

    Examples
    --------
    >>> try:
    ...     client.run("default", {"width": 64, "height": 64, "seed": 15}, timeout=0)
    ... except RunError as error:
    ...     print(type(error).__name__, error.run.params["3::seed"])
    RunTimeout 15
    """

    def __init__(self, message: str, run: Any) -> None:  # a `Run`; this module imports nothing of a higher layer
        super().__init__(message)
        self.run = run


class RunFailed(RunError):
    """The service executed the run, and it failed."""


class RunRejected(RunFailed):
    """The service certainly did not accept the run."""


class RunCancelled(RunError):
    """The run was cancelled."""


class RunHeld(RunError):
    """The service may have accepted the run, so only `retry="unknown"` submits it again."""


class RunTimeout(RunError):
    """The run was not settled after the timeout. The run continues."""


# -- texts of errors -----------------------------------------------------------------------------------------------

_FILE_SUFFIX = re.compile(r"\.[a-z]\w{1,11}$")
_spelling: ContextVar[Literal["python", "magic", "file"]] = ContextVar("spelling", default="python")
_MIN_SIMILARITY = 0.65  # of a suggestion, from 0 to 1, as difflib measures it
_WORDS = {"zipped": "zip", "name": "as"}  # parameters whose option has another name


@contextmanager
def spelled(where: Literal["python", "magic", "file"]) -> Iterator[None]:
    """Spell the options in error texts as in a Python call (the default), on the line of a magic, or in a sweep file.

    The spelling applies to texts that this thread makes in the block.
    """
    token = _spelling.set(where)
    try:
        yield
    finally:
        _spelling.reset(token)


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: `1 run` or `2 runs`."""
    return f"{count} {noun}{'s' * (count != 1)}"


def option(name: str, value: Any = None) -> str:
    """Return an option as the user types it: `max_runs=30`, `--max-runs 30`, or `max_runs: 30 in the file`.

    Parameters
    ----------
    name
        The parameter in Python.
    value
        Its value; None names the option alone, as `max_runs=`, `--max-runs` or `max_runs in the file`.
    """
    match _spelling.get():
        case "python":
            return f"{name}={'' if value is None else repr(value)}"
        case "file":
            text = "zip" if name == "zipped" else name
            return f"{text if value is None else f'{text}: {_in_file(value)}'} in the file"
        case "magic":
            word = f"--{_WORDS.get(name, name).replace('_', '-')}"
            return word if value is None or value is True else f"{word} {_on_line(value)}"


def typed(magic: str, python: str) -> str:
    """Return the spelling for a magic, or the one for Python and sweep files."""
    return magic if _spelling.get() == "magic" else python


def _in_file(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_in_file, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _on_line(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(_on_line, value))
    return repr(value) if isinstance(value, str) and re.search(r"\s", value) else str(value)


def nearest(word: str, words: Iterable[str], n: int = 3) -> list[str]:
    """Return at most `n` words that are similar to a word or begin with it, without regard to case.

    A suffix that two names of files share does not make them similar.
    """
    lower = word.lower()
    suffix = _FILE_SUFFIX.search(lower)
    stem = lower.removesuffix(suffix[0]) if suffix else lower
    known: dict[str, str] = {}
    for known_word in words:
        known.setdefault(known_word.lower().removesuffix(suffix[0]) if suffix else known_word.lower(), known_word)
    begins = [other for other in known if len(stem) > 1 and other.startswith(stem)]
    similar = difflib.get_close_matches(stem, known, n, _MIN_SIMILARITY)
    return [known[match] for match in dict.fromkeys([*similar, *begins])][:n]


def did_you_mean(near: Iterable[str]) -> str:
    """Return `. Did you mean a, b or c?`, to append to an error; empty without suggestions."""
    words = list(near)
    if not words:
        return ""
    listed = f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]
    return f". Did you mean {listed}?"


def write_problem(error: OSError, folder: Path) -> str:
    """Return why a folder can't be written to: it or a parent folder is a file, or the text of the error."""
    file = next((path for path in (folder, *folder.parents) if path.is_file()), None)
    return error.strerror or type(error).__name__ if file is None else f"{file.name} is a file, not a folder"


def nearest_tip(word: str, words: Iterable[str]) -> str:
    """Return `. Did you mean a?`, to append to an error; empty if no word is similar."""
    return did_you_mean(nearest(word, words))
