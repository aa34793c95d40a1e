"""What became of a submit: taken, surely not taken, or nobody can tell.

Being wrong costs a person money twice or a run they paid for, so only what proves that the run was not taken counts
as rejected, and everything that is not listed here is unknown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from comflowy_nb.errors import AuthError, NotFoundError, RateLimitError, ServiceError
from comflowy_nb.services.base import Accepted, Rejected, Unknown
from comflowy_nb.services.comflowy import schema as wire
from comflowy_nb.services.http.error_text import read_message
from comflowy_nb.services.http.responses import MAX_PAUSE_S, Failure, FailureKind, error_of, error_of_status, masked

if TYPE_CHECKING:
    from comflowy_nb.services.base import Outcome
    from comflowy_nb.services.http.responses import Response
    from comflowy_nb.settings import Secret

__all__ = ["outcome_of_refusal", "read_outcome"]

# a server that answers so has not begun to work on the request; 408, 5xx and the rest may come after it has
_NOT_TAKEN = frozenset({400, 401, 402, 403, 404, 422, 429})


def read_outcome(answer: Response | Failure, label: str, *, hide: tuple[Secret, ...] = ()) -> Outcome:
    """The outcome of one POST of a run.

    Parameters
    ----------
    label
        What the service is called.
    hide
        Secrets to take out of the service's own words.
    """
    if isinstance(answer, Failure):
        if answer.kind is FailureKind.LOST:
            return Unknown(f"{label} gave no answer: {answer.text}")
        return Rejected(error_of(answer, label), again=answer.kind is FailureKind.NOT_SENT)
    if answer.is_ok:
        return _taken_or_not(answer, label, hide)
    if answer.status not in _NOT_TAKEN:
        return Unknown(f"{label} answered with status {answer.status}")
    if answer.status in {400, 422}:
        words = masked(read_message(answer.body), hide)
        return Rejected(ServiceError(f"{label} refused it: {words or f'status {answer.status}'}"))
    return outcome_of_refusal(error_of_status(answer, label, "workflow", hide=hide))


def _taken_or_not(answer: Response, label: str, hide: tuple[Secret, ...]) -> Outcome:
    """A 2xx: whatever else is odd about it, a run id means that the run was taken."""
    run_id = wire.read_run_id(answer.body)
    if run_id is not None:
        return Accepted(run_id)
    if answer.body_error:
        return Unknown(f"{label}'s answer was cut off: {answer.body_error}")
    words = masked(wire.refusal(answer.body), hide)
    if words is not None:
        return Rejected(ServiceError(f"{label} refused it: {words}"))
    return Unknown(f"{label} answered without a run id")


def outcome_of_refusal(error: ServiceError) -> Rejected:
    """The outcome for an error that proves by itself that no run was taken."""
    if isinstance(error, RateLimitError):
        return Rejected(error, again=error.retry_after_s is None or error.retry_after_s < MAX_PAUSE_S)
    if isinstance(error, AuthError):
        return Rejected(error, stops=True)
    if isinstance(error, NotFoundError) or type(error) is ServiceError:
        return Rejected(error)
    return Rejected(error, again=True)
