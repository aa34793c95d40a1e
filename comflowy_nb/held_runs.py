"""Decide by its earlier runs whether a request is submitted, held or answered by one of them; texts about held runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comflowy_nb.errors import SettingsError, counted, option
from comflowy_nb.status import Status

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from comflowy_nb.status import DecisionKind, Retry


HELD_TEXTS = {
    Status.UNKNOWN: "it is not known whether the service accepted this run",
    Status.LOST: "the service no longer has it",
}


def check_retry(retry: object) -> None:
    """Raise a SettingsError unless `retry` is one of its four values."""
    if retry not in {"failed", "unknown", "all", "none"}:
        raise SettingsError(f"invalid retry {retry!r}: use failed, unknown, all or none")


def decide_submit(
    earlier: Sequence[Status],
    *,
    fresh: bool = False,
    retry: Retry = "failed",
    resubmit_lost: bool = False,
    own: Collection[int] = (),
) -> tuple[DecisionKind, int | None]:
    """Decide whether a request is submitted, from the statuses of the earlier runs with the same request key.

    This is the only rule that permits a second submit of the same request. A run that the service may have accepted
    is held: it is submitted again only if the user requests it.

    Parameters
    ----------
    earlier : sequence of Status
        Statuses of the earlier runs, newest first.
    fresh : bool, default False
        Ignore earlier successes. This alone does not submit a live or held run again.
    retry : {"failed", "unknown", "all", "none"}, default "failed"
        The statuses to submit again: `failed` (failed, rejected and cancelled), `unknown` (unknown and lost), both or
        none.
    resubmit_lost : bool, default False
        Submit a lost run again, unless `retry` is `none`. For a service that is free and does not execute the run.
    own : collection of int
        Indices of the successes that are reused in spite of `fresh`: the runs of the continued fresh sweep.

    Returns
    -------
    kind : {"new", "same", "joined", "held", "ended"}
        `new`: submit. `joined`: an earlier run is live. `same`: an earlier run succeeded. `held`: the newest run may
        have been accepted. `ended`: the newest run failed, and `retry` does not permit another submit.
    index : int or None
        Index of the earlier run to use for the request; None for `new`.
    """
    for index, status in enumerate(earlier):
        if status.is_live:
            return "joined", index
    for index, status in enumerate(earlier):
        if status is Status.SUCCESS and (not fresh or index in own):
            return "same", index
    if not earlier or earlier[0] is Status.SUCCESS:
        return "new", None
    if earlier[0].is_held:
        is_resubmitted = resubmit_lost and earlier[0] is Status.LOST and retry != "none"
        return ("new", None) if is_resubmitted or retry in {"unknown", "all"} else ("held", 0)
    return ("new", None) if retry in {"failed", "all"} else ("ended", 0)


# -- texts for the user -----------------------------------------------------------------------------------------------


def held_error_text(
    ref: str, status: Status, *, service: str | None, reason: str | None, is_submitted_again: bool
) -> str:
    """Return the text of the RunHeld error of an unknown or a lost run."""
    if status is Status.UNKNOWN:
        return (
            f"{ref}: it is not known whether {service} accepted this run ({reason}), "
            f"so nothing is submitted again; {option('retry', 'unknown')} submits it again"
        )
    hint = submit_again_hint(is_submitted_again=is_submitted_again)
    return f"{ref} is lost: {reason}; {hint}, %comflowy resume {ref} checks it again"


def submit_again_hint(*, is_submitted_again: bool) -> str:
    """Return how a held run is submitted again; `is_submitted_again`: the same request does it."""
    if is_submitted_again:
        return "the same request submits it again"
    return f"nothing is submitted again automatically; {option('retry', 'unknown')} submits it again"


def held_cells_text(count: int, *, submitted_again: int) -> str | None:
    """Return the warning about the held cells of a sweep, some of which the same sweep submits again; None without."""
    parts = []
    if count > submitted_again:
        skipped = counted(count - submitted_again, "cell")
        parts.append(f"{skipped} without a known result skipped: {option('retry', 'unknown')} submits them again")
    if submitted_again:
        parts.append(f"{counted(submitted_again, 'cell')} lost: run the sweep again to submit them again")
    return "; ".join(parts) or None
