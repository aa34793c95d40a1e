"""Summaries of sweeps: the numbers of cells by status, counted in SQL, so that not every cell is read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from comflowy_nb.database.queries.search import matching_tokens
from comflowy_nb.database.rows import find_sweeps, json_list
from comflowy_nb.status import Status

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping, Sequence

    from comflowy_nb.database.records import SweepRecord


_LIVE = ", ".join(f"'{status}'" for status in Status if status.is_live)
_FAILED = (Status.FAILED, Status.REJECTED)


@dataclass(frozen=True, slots=True)
class SweepSummary:
    """A sweep with the number of its cells by status.

    Attributes
    ----------
    record
        The sweep.
    counts
        Status -> number of cells; only statuses that occur.
    missing
        Number of cells without a run.
    seconds
        Time from the first submit of the sweep to the last end of its runs; None if no run that it submitted has ended.
    owners
        The owners of the live runs of its cells.
    submitters
        The owners that are submitting its cells, including owners that died meanwhile.
    """

    record: SweepRecord
    counts: Mapping[Status, int]
    missing: int
    seconds: float | None
    owners: frozenset[str]
    submitters: frozenset[str]

    @property
    def done(self) -> int:
        """Number of cells with a success."""
        return self.counts.get(Status.SUCCESS, 0)

    @property
    def failed(self) -> int:
        """Number of cells that failed or were rejected."""
        return sum(self.counts.get(status, 0) for status in _FAILED)

    @property
    def live(self) -> int:
        """Number of cells with a live run."""
        return sum(count for status, count in self.counts.items() if status.is_live)


def find_summaries(connection: sqlite3.Connection, tokens: Sequence[str]) -> list[SweepSummary]:
    """Return the summaries of sweeps, newest first."""
    records = find_sweeps(
        connection, "WHERE token IN (SELECT value FROM json_each(?)) ORDER BY number DESC", json_list(tokens)
    )
    return _summarise(connection, records)


def search_summaries(
    connection: sqlite3.Connection,
    text: str | None = None,
    *,
    where: str | None = None,
    since: float | None = None,
    limit: int | None = 20,
) -> list[SweepSummary]:
    """Return the sweeps that match, newest first.

    Parameters
    ----------
    text
        Words, each of which must occur in the reference, the name, the workflow, an axis or a value.
    where
        Only sweeps with a cell whose run fulfils this condition; see `search.Filters`.
    since
        Only sweeps that were recorded at or after this time, in UTC seconds since 1970.
    """
    words = (text or "").casefold().split()
    chosen = None if where is None else json_list(matching_tokens(connection, where))
    rows = connection.execute(
        "SELECT token, number, name, workflow, workflow_id, service, spec FROM sweeps "
        "WHERE (:since IS NULL OR created_at >= :since) AND (:chosen IS NULL OR token IN (SELECT sweep FROM cells "
        "WHERE run IN (SELECT value FROM json_each(:chosen)))) ORDER BY number DESC",
        {"since": since, "chosen": chosen},
    )
    tokens: list[str] = []
    for row in rows:
        if limit is not None and len(tokens) >= limit:
            break
        if not words or all(word in _searched_text(row) for word in words):
            tokens.append(row["token"])
    return find_summaries(connection, tokens)


def unfinished_summaries(connection: sqlite3.Connection, *, since: float, limit: int) -> list[SweepSummary]:
    """Return the sweeps with cells that are live or were not submitted, newest first."""
    records = find_sweeps(
        connection,
        "WHERE created_at >= ? AND imported IS NULL "  # noqa: S608 - not user input
        "AND EXISTS (SELECT 1 FROM cells LEFT JOIN runs ON runs.token = cells.run "
        f"WHERE cells.sweep = sweeps.token AND (cells.run IS NULL OR runs.status IN ({_LIVE}))) "
        "ORDER BY number DESC LIMIT ?",
        since,
        limit,
    )
    return _summarise(connection, records)


def _summarise(connection: sqlite3.Connection, records: Sequence[SweepRecord]) -> list[SweepSummary]:
    """Return the summaries of these sweeps, with three SQL statements."""
    tokens = json_list(record.token for record in records)
    counts: dict[str, dict[Status, int]] = {record.token: {} for record in records}
    owners: dict[str, set[str]] = {record.token: set() for record in records}
    for row in connection.execute(
        "SELECT cells.sweep, runs.status, runs.owner, count(*) AS count FROM cells JOIN runs ON runs.token = cells.run "
        "WHERE cells.sweep IN (SELECT value FROM json_each(?)) GROUP BY cells.sweep, runs.status, runs.owner",
        (tokens,),
    ):
        status, by_status = Status(row["status"]), counts[row["sweep"]]
        by_status[status] = by_status.get(status, 0) + row["count"]
        if status.is_live:
            owners[row["sweep"]].add(row["owner"])
    durations = connection.execute(
        "SELECT cells.sweep, max(runs.finished_at) - min(runs.created_at) FROM cells "
        "JOIN runs ON runs.token = cells.run AND runs.sweep = cells.sweep "
        "WHERE cells.sweep IN (SELECT value FROM json_each(?)) GROUP BY cells.sweep",
        (tokens,),
    )
    seconds = dict(durations.fetchall())
    submitters: dict[str, set[str]] = {}
    for row in connection.execute(
        "SELECT sweep, owner FROM senders WHERE sweep IN (SELECT value FROM json_each(?))", (tokens,)
    ):
        submitters.setdefault(row["sweep"], set()).add(row["owner"])
    return [
        SweepSummary(
            record,
            counts[record.token],
            record.count - sum(counts[record.token].values()),
            seconds.get(record.token),
            frozenset(owners[record.token]),
            frozenset(submitters.get(record.token, ())),
        )
        for record in records
    ]


def _searched_text(row: sqlite3.Row) -> str:
    """Return the text of a sweep that a search compares with its words."""
    parts = [f"s{row['number']}", row["name"], row["workflow"], row["workflow_id"], row["service"]]
    parts += _scalars(json.loads(row["spec"]))
    return "\n".join(filter(None, parts)).casefold()


def _scalars(value: Any) -> Iterator[str]:
    """Yield the ids of fields and the values in the stored spec of a sweep, as texts."""
    if isinstance(value, dict):
        yield from (key for key in value if "::" in key)
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _scalars(item)
    elif value is not None:
        yield value if isinstance(value, str) else json.dumps(value)
