"""The same request again: what is to be done with a request whose key the history may know. Pure rules."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from comflowy_nb.status import Status

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from comflowy_nb.database.records import RunRecord

__all__ = ["ANSWER_LOST", "Decision", "Kind", "Retry", "RunRequest", "decide"]

ANSWER_LOST = "the kernel that sent it ended before the answer came"

Kind = Literal["new", "same", "joined", "held", "ended"]
Retry = Literal["failed", "unknown", "all", "none"]


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A run that somebody wants, before anything is sent."""

    token: str  # our uuid4
    identity: str
    origin: str = field(repr=False)
    service: str
    workflow: str
    workflow_id: str | None
    params: Mapping[str, Any]
    key: str
    owner: str
    set_params: Sequence[str] = ()
    name: str | None = None
    graph: Mapping[str, Any] | None = None
    cell: tuple[str, int] | None = None  # token of the sweep and number of the cell that the run is to stand for


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of an intent: `new` is ours to send, every other kind is an earlier run that stands for it."""

    kind: Kind
    record: RunRecord


def decide(
    statuses: Sequence[Status],
    *,
    fresh: bool,
    retry: Retry,
    ours: Collection[int] = (),
    resubmit_lost: bool = False,
) -> tuple[Kind, int | None]:
    """What to do, and which of the earlier runs stands for the request.

    Parameters
    ----------
    statuses
        Of the earlier runs with the request's key, newest first.
    fresh
        Whether earlier successes count for nothing. What is live or held is never sent again by it.
    retry
        Which ends are tried again: `failed` means failed, rejected and cancelled; `unknown` means unknown and lost.
    ours
        Indices of the successes that count all the same: those of the fresh sweep that is taken up.
    resubmit_lost
        Whether a lost run is submitted again without being asked for, unless `retry` is `none`.

    Returns
    -------
    The kind, and the index into `statuses`, None for a new run.
    """
    for index, status in enumerate(statuses):
        if status.is_live:
            return "joined", index
    for index, status in enumerate(statuses):
        if status is Status.SUCCESS and (not fresh or index in ours):
            return "same", index
    if not statuses or statuses[0] is Status.SUCCESS:
        return "new", None
    if statuses[0].is_held:
        is_resubmitted = resubmit_lost and statuses[0] is Status.LOST and retry != "none"
        return ("new", None) if is_resubmitted or retry in {"unknown", "all"} else ("held", 0)
    return ("new", None) if retry in {"failed", "all"} else ("ended", 0)
