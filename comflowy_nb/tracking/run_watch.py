"""Watching one run that another kernel follows: it is read from the history, and taken over if that kernel ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comflowy_nb.database.process_locks import is_alive

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from comflowy_nb.database.runs import History
    from comflowy_nb.scheduler import Scheduler
    from comflowy_nb.tracking.run import Run

__all__ = ["RunWatch"]

WATCH_S = 0.3  # how often it is read
OWNER_S = 2.0  # how often that kernel is looked for


class RunWatch:
    """From `begin` until the run is settled or taken over.

    Parameters
    ----------
    owner, owners
        Name of the client's own lock file, and the folder of all of them.
    adopt
        Follows the run once it is ours; None where it is another service's, and can't be.
    """

    def __init__(
        self,
        run: Run,
        history: History,
        scheduler: Scheduler,
        *,
        owner: str,
        owners: Path,
        adopt: Callable[[Run], None] | None,
    ) -> None:
        self.run = run
        self._history = history
        self._scheduler = scheduler
        self._owner = owner
        self._owners = owners
        self._adopt = adopt
        self._looked_s = float("-inf")

    def begin(self, on_end: Callable[[], None]) -> None:
        """Read the run every `WATCH_S` seconds; call `on_end` after the last time."""

        def read() -> bool:
            goes_on = self._read()
            if not goes_on:
                on_end()
            return goes_on

        self._scheduler.every(WATCH_S, read)

    def _read(self) -> bool:
        """Read the run. Return whether to go on watching."""
        run, now_s = self.run, self._scheduler.clock()
        with run.guard:
            record = self._history.get(run.token)
            if record is not None and record != run.record:
                run.update(record)
            if run.record.is_settled:
                return False
            if run.record.owner != self._owner and now_s - self._looked_s >= OWNER_S:
                self._looked_s = now_s
                if not is_alive(self._owners, run.record.owner):
                    self._try_to_adopt()
            if run.record.owner != self._owner or self._adopt is None:
                return True
            self._adopt(run)
            return False

    def _try_to_adopt(self) -> None:
        run = self.run
        if self._adopt is None:
            run.report(trouble=f"the kernel that followed it has ended; connect to {run.record.service} to go on")
            return
        taken = self._history.adopt(run.token, self._owner)
        if taken is not None:
            run.update(taken)
