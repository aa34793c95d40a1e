"""The ledger of one live run: every change is written to the history first and then told to the run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import HistoryError

if TYPE_CHECKING:
    from comflowy_nb.database.runs import History
    from comflowy_nb.services.base import Status
    from comflowy_nb.tracking.run import Run

__all__ = ["PendingWrites"]


class PendingWrites:
    """What the history could not take is told all the same, kept, and written with the next change."""

    def __init__(self, run: Run, history: History) -> None:
        self._run = run
        self._history = history
        self._unwritten: dict[str, Any] = {}

    @property
    def owes(self) -> bool:
        """Whether there is a change that the history has not taken yet."""
        return bool(self._unwritten)

    def put(self, status: Status, **changes: Any) -> bool:
        """Write a change; those that are None are none. Whether the history has it."""
        run, history = self._run, self._history
        owed = dict(self._unwritten)
        if "images" in owed:  # some may have been downloaded since
            owed["images"] = run.record.outputs
        changes = {**owed, **{name: value for name, value in changes.items() if value is not None}}
        try:
            record = history.move(run.token, status, **changes)
            if record is None:  # another kernel moved it, or it stood there already
                record = history.get(run.token)
        except HistoryError as error:
            self._unwritten = changes
            told = {name: value for name, value in changes.items() if name != "images"}
            outputs = changes.get("images", run.record.outputs)
            run.update(replace(run.record, status=status, **told).with_outputs(outputs))
            run.report(trouble=f"the history can't be written: {error}")
            return False
        self._unwritten = {}
        if record is not None:
            run.update(record)
        return True
