"""Deduplication: what happens to a request whose key the history may know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack

from comflowy_nb.database import records
from comflowy_nb.database.rows import json_list, read_runs
from comflowy_nb.status import Status, StatusEvent, next_status

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Sequence

    from comflowy_nb.database.records import RunRecord

__all__ = ["RESPONSE_LOST", "Decision", "Kind", "Retry", "RetryOptions", "decide", "look_up"]

RESPONSE_LOST = "the kernel that submitted it ended before the response arrived"

Kind = Literal["new", "same", "joined", "held", "ended"]
Retry = Literal["failed", "unknown", "all", "none"]


class RetryOptions(TypedDict, total=False):
    """Which earlier results of a request to submit again.

    `fresh` ignores earlier successes; by itself it never submits again what is live or held. `retry` (`failed` unless
    set) is `failed` (failed, rejected and cancelled), `unknown` (unknown and lost), `all` or `none`. `resubmit_lost`
    submits a lost run again, unless `retry` is `none`.
    """

    fresh: bool
    retry: Retry
    resubmit_lost: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens to a request: `new` is submitted, every other kind uses the earlier run `record`."""

    kind: Kind
    record: RunRecord


def decide(
    statuses: Sequence[Status],
    *,
    fresh: bool = False,
    retry: Retry = "failed",
    resubmit_lost: bool = False,
    own: Collection[int] = (),
) -> tuple[Kind, int | None]:
    """Return the kind, and the index of the earlier run that is used; None for a new run.

    Parameters
    ----------
    statuses
        Of the earlier runs with the key of the request, newest first.
    fresh, retry, resubmit_lost
        See `RetryOptions`.
    own
        Indices of the successes that count in spite of `fresh`: those of the fresh sweep that is continued.
    """
    for index, status in enumerate(statuses):
        if status.is_live:
            return "joined", index
    for index, status in enumerate(statuses):
        if status is Status.SUCCESS and (not fresh or index in own):
            return "same", index
    if not statuses or statuses[0] is Status.SUCCESS:
        return "new", None
    if statuses[0].is_held:
        is_resubmitted = resubmit_lost and statuses[0] is Status.LOST and retry != "none"
        return ("new", None) if is_resubmitted or retry in {"unknown", "all"} else ("held", 0)
    return ("new", None) if retry in {"failed", "all"} else ("ended", 0)


def look_up(
    connection: sqlite3.Connection,
    keys: Sequence[str],
    *,
    sweep: str | None = None,
    dead: Collection[str] = (),
    **options: Unpack[RetryOptions],
) -> dict[str, Decision | None]:
    """Return the decision about each key, without writing anything.

    Parameters
    ----------
    sweep
        Token of the fresh sweep that is continued: its own successes count.
    dead
        Dead owners. Runs that they were submitting count as unknown.

    Returns
    -------
    dict
        The decision by key. That of a new run has the newest earlier run with the key, and is None if there is none.
    """
    found: dict[str, list[sqlite3.Row]] = {}
    sql = "SELECT * FROM runs WHERE key IN (SELECT value FROM json_each(?)) ORDER BY number DESC"
    for row in connection.execute(sql, (json_list(keys),)):
        found.setdefault(row["key"], []).append(row)
    own_tokens = _runs_of(connection, sweep, keys) if options.get("fresh") and sweep is not None else set()
    chosen: dict[str, tuple[Kind, sqlite3.Row]] = {}
    for key, rows in found.items():
        own = {index for index, row in enumerate(rows) if row["token"] in own_tokens}
        kind, index = decide([_status(row, dead) for row in rows], own=own, **options)
        chosen[key] = kind, rows[index or 0]
    decisions: dict[str, Decision | None] = dict.fromkeys(keys)
    for record, (key, (kind, _)) in zip(
        read_runs(connection, [row for _, row in chosen.values()]), chosen.items(), strict=True
    ):
        is_dead = record.owner in dead
        held = records.apply(record, StatusEvent.OWNER_DIED, reason=RESPONSE_LOST) if is_dead else None
        decisions[key] = Decision(kind, held or record)
    return decisions


def _status(row: sqlite3.Row, dead: Collection[str]) -> Status:
    """Return the status of a run as it will be once the death of its owner is recorded."""
    status = Status(row["status"])
    held = next_status(status, StatusEvent.OWNER_DIED) if row["owner"] in dead else None
    return held or status


def _runs_of(connection: sqlite3.Connection, sweep: str, keys: Sequence[str]) -> set[str]:
    """Return the tokens of the runs shown for a sweep's cells of these keys that ended after the sweep was recorded."""
    rows = connection.execute(
        "SELECT runs.token FROM sweeps JOIN cells ON cells.sweep = sweeps.token JOIN runs ON runs.token = cells.run "
        "WHERE sweeps.token = ? AND cells.key IN (SELECT value FROM json_each(?)) "
        "AND runs.finished_at >= sweeps.created_at",
        (sweep, json_list(keys)),
    )
    return {row["token"] for row in rows}
