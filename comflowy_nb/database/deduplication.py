"""Look up the earlier runs of a request key, and decide whether to reuse one; see `held_runs`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict, Unpack

from comflowy_nb.database.process_locks import dead_owners
from comflowy_nb.database.records import RunRecord, apply
from comflowy_nb.database.rows import find_owners, find_runs, json_list
from comflowy_nb.held_runs import decide_submit
from comflowy_nb.status import DecisionKind, Retry, Status, StatusEvent

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Sequence

    from comflowy_nb.database.connection import Store


RESPONSE_LOST = "the kernel that submitted it ended before the response arrived"


class RetryOptions(TypedDict, total=False):
    """Which earlier results of a request to submit again; see `decide_submit`."""

    fresh: bool
    retry: Retry
    resubmit_lost: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision about a request: `new` is submitted; every other kind uses the earlier run `record`."""

    kind: DecisionKind
    record: RunRecord


def dead_submitters(store: Store) -> set[str]:
    """Return the dead owners that have runs with the status `submitting`."""
    return dead_owners(store.locks, find_owners(store, f"status = '{Status.SUBMITTING}' AND imported IS NULL"))


def look_up(
    connection: sqlite3.Connection,
    keys: Sequence[str],
    *,
    sweep: str | None = None,
    dead: Collection[str] = (),
    **options: Unpack[RetryOptions],
) -> dict[str, Decision | None]:
    """Decide about each request key, without writing to the history.

    Parameters
    ----------
    sweep
        Token of the fresh sweep that is continued: only its own successes are reused.
    dead
        Dead owners. Runs that they were submitting count as unknown.

    Returns
    -------
    dict
        Key -> decision. The decision `new` contains the newest earlier run with the key; it is None if there is none.
    """
    earlier: dict[str, list[RunRecord]] = {}
    clause = "WHERE key IN (SELECT value FROM json_each(?)) AND imported IS NULL ORDER BY number DESC"
    for run in find_runs(connection, clause, json_list(keys)):
        held = apply(run, StatusEvent.OWNER_DIED, reason=RESPONSE_LOST) if run.owner in dead else None
        earlier.setdefault(run.key, []).append(held or run)
    own_tokens = _runs_of(connection, sweep, keys) if options.get("fresh") and sweep is not None else set()
    decisions: dict[str, Decision | None] = dict.fromkeys(keys)
    for key, runs in earlier.items():
        own = {index for index, run in enumerate(runs) if run.token in own_tokens}
        kind, index = decide_submit([run.status for run in runs], own=own, **options)
        decisions[key] = Decision(kind, runs[index or 0])
    return decisions


def _runs_of(connection: sqlite3.Connection, sweep: str, keys: Sequence[str]) -> set[str]:
    """Return the tokens of a sweep's runs with these keys that ended after the sweep was recorded."""
    rows = connection.execute(
        "SELECT runs.token FROM sweeps JOIN cells ON cells.sweep = sweeps.token JOIN runs ON runs.token = cells.run "
        "WHERE sweeps.token = ? AND cells.key IN (SELECT value FROM json_each(?)) "
        "AND runs.finished_at >= sweeps.created_at AND runs.imported IS NULL",
        (sweep, json_list(keys)),
    )
    return {row["token"] for row in rows}
