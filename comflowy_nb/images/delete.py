"""Delete runs and sweeps: their rows in one transaction, then their files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from comflowy_nb.images.disk_usage import Usage, size_text
from comflowy_nb.images.removal import files_of_runs, finish_removals, size_of
from comflowy_nb.services.targets import is_loopback
from comflowy_nb.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from comflowy_nb.database.cleanup import RunsToDelete
    from comflowy_nb.database.records import RunRecord, SweepRecord
    from comflowy_nb.database.runs import History


@dataclass(frozen=True, slots=True)
class Deleted:
    """The runs and sweeps that a delete has removed, or would remove; returned by `Client.delete`, `history.delete`.

    Parameters
    ----------
    runs, sweeps : tuple of str
        The references of the runs and sweeps, such as `r41` and `s3`.
    files : Usage
        Number and size of the files of these runs.
    kept : mapping of str to str
        Reference of each run that is not deleted -> the reason.
    repeats : int
        Number of requests that the history will no longer recognise, so that they would be submitted again.
    costs_money : bool
        Whether a service of these requests costs money.
    tokens : tuple of str
        Tokens of the runs and sweeps.
    is_done : bool
        Whether they were deleted. False with `dry_run`.

    Examples
    --------
    >>> unwanted = client.run("default", {"width": 64, "height": 64, "seed": 31})
    >>> client.delete(unwanted).runs == (unwanted.ref,)
    True
    """

    runs: tuple[str, ...]
    sweeps: tuple[str, ...]
    files: Usage
    kept: Mapping[str, str]
    repeats: int
    costs_money: bool
    tokens: tuple[str, ...]
    is_done: bool

    def __repr__(self) -> str:
        verb = "deleted" if self.is_done else "to delete"
        refs = ", ".join([*self.sweeps, *self.runs]) or "nothing"
        return f"<Deleted {refs} {verb}, {size_text(self.files.size_bytes)}>"


def delete(
    history: History,
    images: Path,
    runs: Mapping[str, str | None],
    sweeps: Sequence[SweepRecord],
    *,
    dry_run: bool = False,
    confirm: Callable[[Deleted], bool] | None = None,
) -> Deleted:
    """Delete runs, given as for `Cleanup.delete`, and sweeps; see `history.delete`."""
    tokens = [sweep.token for sweep in sweeps]
    found = history.cleanup.runs_to_delete(runs, tokens)
    sizes: dict[str, list[int]] = {run.token: [] for run in found.runs}
    for run, path in files_of_runs(images, sizes):
        sizes[run].append(size_of(path))
    planned = _summary(found, sweeps, sizes, is_done=False)
    is_empty = not planned.runs and not planned.sweeps
    if dry_run or is_empty or (confirm is not None and not confirm(planned)):
        return planned
    done = history.cleanup.delete(runs, tokens, only=set(sizes))
    finish_removals(history.cleanup, images)
    return _summary(done, sweeps, sizes, is_done=True)


def _summary(
    found: RunsToDelete, sweeps: Sequence[SweepRecord], sizes: Mapping[str, Sequence[int]], *, is_done: bool
) -> Deleted:
    runs = found.runs
    of_runs = [size_bytes for run in runs for size_bytes in sizes[run.token]]
    own = [run for run in runs if run.status is Status.SUCCESS and run.imported is None]
    repeated = [run for run in own if run.key not in found.reusable_keys]
    return Deleted(
        tuple(run.ref for run in runs),
        tuple(sweep.ref for sweep in sweeps),
        Usage(len(of_runs), sum(of_runs)),
        found.kept,
        len({run.key for run in repeated}),
        any(map(_costs_money, repeated)),
        tuple(record.token for record in (*runs, *sweeps)),
        is_done,
    )


def _costs_money(run: RunRecord) -> bool:
    """Return True if submitting the run again may cost money: it has a workflow id of a remote service."""
    return run.origin != "sandbox" and not is_loopback(run.origin) and run.workflow_id is not None
