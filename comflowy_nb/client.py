"""Client: one service, the history and the tracker. What the magic and a script both use."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from comflowy_nb.connection import Connection
from comflowy_nb.database.process_locks import ProcessLock
from comflowy_nb.images.save_target import check_sweep_target, kind_of_target
from comflowy_nb.library import Found, open_library
from comflowy_nb.scheduler import DeferredInterrupt, run_uninterrupted
from comflowy_nb.services.connect import open_service
from comflowy_nb.settings import settings
from comflowy_nb.status import Status
from comflowy_nb.sweeps.sweep import raise_for_failures
from comflowy_nb.tracking.outcome_errors import error_for_status
from comflowy_nb.workflow.axes.read import read_axes
from comflowy_nb.workflow.axes.seeds import count_axes
from comflowy_nb.workflow.axes.types import Axes
from comflowy_nb.workflow.values import resolve, settings_from_mapping

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self

    from comflowy_nb.database.deduplication import Decision, Retry
    from comflowy_nb.database.records import SweepRecord
    from comflowy_nb.library import Library
    from comflowy_nb.services.base import Service
    from comflowy_nb.settings import Secret
    from comflowy_nb.sweeps.planner import Draft
    from comflowy_nb.sweeps.sweep import Sweep
    from comflowy_nb.tracking.run import Run
    from comflowy_nb.workflow.finder import Finder
    from comflowy_nb.workflow.graph import Made
    from comflowy_nb.workflow.images import InputImage
    from comflowy_nb.workflow.syntax.lists import Setting
    from comflowy_nb.workflow.values import Resolved
    from comflowy_nb.workflow.workflow import Workflow

__all__ = ["Client", "Submitted", "connect"]

T = TypeVar("T")
How = Literal["new", "same", "joined", "held", "ended"]


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of a request.

    `how` is `new` (it is sent), `same` (a success that was there), `joined` (it runs already) or `ended` (it failed
    before and was not to be tried again). What is held is raised as RunHeld instead.
    """

    run: Run
    how: How
    drawn: Mapping[str, int]  # field id -> seed drawn for it


def connect(
    target: str | None = None,
    *,
    key: str | Secret | None = None,
    name: str | None = None,
    ask_key: Callable[[str], Secret | None] | None = None,
    name_address: bool = False,
) -> Client:
    """Connect to a service.

    Parameters
    ----------
    target
        `sandbox`, `cloud` or an address, with an optional `NAME=` before it, or a name given so before; None takes
        `COMFLOWY_TARGET`.
    key
        The API key for this service alone; else it is looked for in the usual places: the sandbox's own file,
        `COMFLOWY_API_KEY`, the keyring.
    name
        The service's identity for the history; the same as `NAME=` in the target.
    ask_key
        Asked for a key, with the service's label, where none was found; None where nobody can answer.
    name_address
        Name the server's address in errors. By default they do not, because a saved notebook keeps them.

    Raises
    ------
    SettingsError
        If the target or the name is none.
    AuthError
        If there is no key, or the service refuses it.
    ServiceError
        If the service can't be reached, or is none that can be used.
    """
    library = open_library()
    owner = ProcessLock(library.locks)  # held first: the sandbox ends when nobody holds one
    try:
        service, is_moved = open_service(
            target, key=key, name=name, ask_key=ask_key, home=library.home, name_address=name_address
        )
        return Client(service, library, owner, is_moved=is_moved)
    except BaseException:
        owner.release()
        raise


class Client:
    """One connected service.

    Use `connect` to make one. `run` submits and waits, `submit` returns as soon as the intent is written. `is_moved`
    says that its name stood for another target before. A client that is referenced nowhere any more is closed once its
    runs and sweeps are settled.
    """

    def __init__(self, service: Service, library: Library, owner: ProcessLock, *, is_moved: bool = False) -> None:
        self.service = service
        self.library = library
        self.is_moved = is_moved
        self._opened = Connection(service, library, owner, settings=settings)
        weakref.finalize(self, self._opened.close_when_idle).atexit = False
        self._taken_up = self._connection.registry.adopt_orphans()

    # -- what it is connected to --------------------------------------------------------------------------------

    @property
    def label(self) -> str:
        return self.service.label

    @property
    def identity(self) -> str:
        return self.service.identity

    @property
    def finder(self) -> Finder:
        """The workflows that can be named here."""
        return self._connection.finder

    def workflow(self, ref: str) -> Workflow:
        """The workflow a person names: a file, an image, the editor's address, a name, or the service's own id.

        Raises
        ------
        WorkflowError
            If there is none, or it can't run here.
        ServiceError
            If the service had to be asked and gave no usable answer.
        """
        return self._connection.finder.find(ref)

    def usual_seconds(self, workflow: Workflow) -> float | None:
        """How long a run of this workflow usually takes here, in seconds; None while nothing is known."""
        return self._connection.tracker.pace(workflow.id or workflow.name).usual_s

    # -- running ------------------------------------------------------------------------------------------------

    def run(
        self,
        ref: str | Workflow,
        params: Mapping[str, Any] | None = None,
        *,
        wait: bool = True,
        fresh: bool = False,
        retry: Retry = "failed",
        name: str | None = None,
        timeout: float | None = None,
        save: str | Path | None = None,
    ) -> Run:
        """Run a workflow, or take the success that is there for exactly this request.

        Parameters
        ----------
        params
            Field -> value; a field is `3::cfg`, a name that only one field has, or an alias.
        wait
            Whether to return only when the images are on disk.
        fresh
            Send it although there is a success.
        retry
            What an earlier end permits: `failed`, `unknown`, `all` or `none`.
        name
            A name for the history, as `--as` gives.
        timeout
            Longest wait in seconds.
        save
            A folder for copies of the images, `NAME.zip`, or for one image `NAME.png`.

        Raises
        ------
        WorkflowError, FieldError
            Before anything is sent.
        ComflowyError
            In a process that was forked from the one that connected, before anything is sent.
        RunFailed, RunCancelled, RunHeld, RunTimeout
            With the run as `.run`.
        """
        if save is not None:
            kind_of_target(Path(save).expanduser())
        run = self.submit(ref, params or {}, fresh=fresh, retry=retry, name=name).run
        if wait:
            run.wait(timeout)
            error = error_for_status(run)
            if error is not None:
                raise error
            if save is not None:
                run.save(save)
        return run

    def submit(
        self,
        workflow: str | Workflow,
        params: Sequence[Setting] | Mapping[str, Any],
        *,
        namespace: Mapping[str, Any] | None = None,
        fresh: bool = False,
        retry: Retry = "failed",
        name: str | None = None,
        base: Made | None = None,
    ) -> Submitted:
        """Write the intent and send it, unless the same request is there already. Returns at once.

        Parameters
        ----------
        base
            What an earlier run or an image was made of: its params are sent where none are given.

        Raises
        ------
        WorkflowError, FieldError, HistoryError
            Before anything is sent.
        RunHeld
            If an earlier submit of the same request may have been taken.
        Interrupted
            If an interrupt came meanwhile, with the `Submitted` as `.result`: a run that was sent is being cancelled.
        """
        if isinstance(workflow, str):
            workflow = self.workflow(workflow)
        resolved = self.resolve(workflow, params, namespace=namespace)
        values = {**(self.recall(workflow, base.params) if base else {}), **resolved.params}
        set_params = tuple(dict.fromkeys((*(base.set_params if base else ()), *resolved.set_params)))
        intent = self._connection.submitter.intent(workflow, values, set_params=set_params, name=name)

        def enter() -> tuple[Decision, Run]:
            claim, run = self._connection.submitter.enter(intent, fresh=fresh, retry=retry)
            self.library.touch(run)
            return claim, run

        try:
            claim, run = run_uninterrupted(enter)
        except DeferredInterrupt as interrupt:
            claim, run = interrupt.result
            if claim.kind == "new":
                self.cancel(run)
            raise DeferredInterrupt(Submitted(run, claim.kind, resolved.generated_seeds)) from None
        if claim.kind == "held":
            error = error_for_status(run)
            assert error is not None
            raise error
        return Submitted(run, claim.kind, resolved.generated_seeds)

    def resolve(
        self,
        workflow: Workflow,
        params: Sequence[Setting] | Mapping[str, Any],
        *,
        namespace: Mapping[str, Any] | None = None,
    ) -> Resolved:
        """What would be sent for these: every value read and checked by its field, seeds drawn.

        Raises
        ------
        FieldError
            For everything that is wrong at once.
        """
        given = settings_from_mapping(params) if isinstance(params, Mapping) else params
        return resolve(workflow, given, namespace=namespace, open_run=self.open_image)

    def recall(self, workflow: Workflow, params: Mapping[str, Any]) -> dict[str, Any]:
        """The params of an earlier run as they were given: images in the place of what the service called them."""
        return self._connection.submitter.recall(workflow, params)

    def open_image(self, ref: str) -> InputImage:
        """The image of an earlier run, as an input of a new one.

        Raises
        ------
        RefError, ImageError
            If there is none, or it is not on disk.
        """
        return self._connection.input_of_run(ref)

    def sweep(
        self,
        ref: str | Workflow,
        axes: Axes | Sequence[Setting] | Mapping[str, Any],
        *,
        wait: bool = True,
        fresh: bool = False,
        retry: Retry = "failed",
        name: str | None = None,
        max_runs: int | None = None,
        stop_after: int = 3,
        window: int | None = None,
        x: str | None = None,
        y: str | None = None,
        z: str | None = None,
        strict: bool = False,
        timeout: float | None = None,
        save: str | Path | None = None,
        namespace: Mapping[str, Any] | None = None,
        base: Made | None = None,
        on_plan: Callable[[Sweep], None] | None = None,
    ) -> Sweep:
        """Run a workflow for every combination of the axes' values; what succeeded before is not sent again.

        Parameters
        ----------
        axes
            Field -> values: a list, a range, an array, `{label: value}`, a preset, a seed word; all else is fixed.
        max_runs
            Permits so many runs to be sent. More than 64 on a service that costs money need it.
        stop_after
            Failures in a row, while nothing has succeeded, that end it; 0 goes on.
        window
            Runs in flight at once while it sends; None lets that grow while it brings more.
        x, y, z
            Axes for the columns, rows and pages of the grid; in the order typed where not named.
        strict
            Whether a cell that did not succeed raises.
        on_plan
            Called with the laid-out sweep before anything is sent; what it raises keeps everything from being sent.

        Raises
        ------
        WorkflowError, FieldError, SettingsError, HistoryError
            Before anything is sent.
        RunFailed, RunTimeout
            With the sweep as `.run`.
        Interrupted
            If an interrupt came before anything was waited for, with the sweep as `.result`: it is being cancelled.
        """
        if save is not None:
            check_sweep_target(Path(save).expanduser())
        workflow = self.workflow(ref) if isinstance(ref, str) else ref
        layout = {"x": x, "y": y, "z": z}
        draft = self._draft(
            workflow, axes, layout, fresh=fresh, retry=retry, name=name, namespace=namespace, base=base, remember=True
        )
        if on_plan is not None:
            on_plan(draft.sweep)

        def enter() -> Sweep:
            sweep = self._connection.planner.enter(
                draft, workflow, retry=retry, max_runs=max_runs, stop_after=stop_after, window=window
            )
            assert sweep.record is not None
            self.library.touch(sweep.record)
            return sweep

        try:
            sweep = run_uninterrupted(enter)
        except DeferredInterrupt as interrupt:
            interrupt.result.cancel()
            raise
        if wait:
            sweep.wait(timeout)
            if save is not None:
                sweep.save(save)
            if strict:
                raise_for_failures(sweep)
        return sweep

    def plan_sweep(
        self,
        ref: str | Workflow,
        axes: Axes | Sequence[Setting] | Mapping[str, Any],
        *,
        fresh: bool = False,
        retry: Retry = "failed",
        x: str | None = None,
        y: str | None = None,
        z: str | None = None,
        namespace: Mapping[str, Any] | None = None,
        base: Made | None = None,
    ) -> Sweep:
        """The sweep as `sweep` would enter it, laid out and planned; nothing is written or sent."""
        workflow = self.workflow(ref) if isinstance(ref, str) else ref
        layout = {"x": x, "y": y, "z": z}
        return self._draft(workflow, axes, layout, fresh=fresh, retry=retry, namespace=namespace, base=base).sweep

    def reopen(self, record: SweepRecord) -> Sweep:
        """A sweep of the history with its runs, the live ones followed, and those that another kernel sends for it.

        Nothing is sent.
        """
        sweep = self.library.sweep(record, self._connection.registry.run)
        for cell in sweep.cells:
            if cell.run is not None and self._connection.registry.is_here(cell.run.record):
                self._connection.registry.refresh(cell.run)
        self._connection.planner.watch(sweep)
        return sweep

    def axes(
        self,
        workflow: Workflow,
        given: Sequence[Setting],
        *,
        count: int | None = None,
        namespace: Mapping[str, Any] | None = None,
        base: Mapping[str, Any] | None = None,
    ) -> Axes:
        """What a sweep of these settings varies; with `count` those of a run, so many times with a seed of its own.

        Raises
        ------
        FieldError
            For everything that is wrong at once.
        """
        open_run = self._connection.input_of_run
        if count is not None:
            return count_axes(workflow, given, count, namespace=namespace, open_run=open_run)
        return read_axes(workflow, given, namespace=namespace, open_run=open_run, base=base)

    def cancel(self, run: Run) -> None:
        """Ask the service for an end of the run. `run.status` becomes `cancelled` once the service confirmed it."""
        self._connection.registry.cancel(run)

    def resume(self, *refs: str) -> list[Run]:
        """Follow runs again: the named ones, else all of this service that nobody follows or that are lost.

        Raises
        ------
        RefError
            If a reference names no run, or one of another service.
        """
        if not refs:
            return self._connection.registry.resume_all()
        runs = [self._connection.registry.run(self.library.find(ref).run.record) for ref in refs]
        for run in runs:
            self._connection.registry.check_place(run)
        for run in runs:
            self._connection.registry.resume(run)
        return runs

    def refresh(self, run: Run) -> bool:
        """Bring a run up to date: watch one that another kernel follows, fetch images that are not on disk.

        Returns
        -------
        Whether images were wanting and are fetched now, through a fresh check.
        """
        return self._connection.registry.refresh(run)

    # -- looking ------------------------------------------------------------------------------------------------

    def runs(self, text: str | None = None, **filters: Any) -> list[Run]:
        """Earlier runs, newest first; the filters are those of `Library.runs`."""
        return [self._connection.registry.run(run.record) for run in self.library.runs(text, **filters)]

    def find(self, ref: str) -> Found:
        """What a reference names, with the live run where this client follows it."""
        found = self.library.find(ref)
        if found.sweep is not None:
            return found
        run = self._connection.registry.run(found.run.record)
        if found.image is None:
            return Found(run)
        index = found.image.record.index
        return Found(run, next(image for image in run.images if image.record.index == index))

    def live(self) -> list[Run]:
        """The runs this client follows now."""
        return self._connection.tracker.live()

    def news(self) -> list[Run]:
        """The runs of earlier kernels that this client took up and that have ended since; each is told once."""
        ended = [run for run in self._taken_up if run.record.is_settled and run.status is not Status.UNKNOWN]
        self._taken_up = [run for run in self._taken_up if run not in ended]
        return ended

    def close(self) -> None:
        """Stop following and listening. Runs go on at the service; the next client takes them up."""
        self._opened.close()

    # -- within -------------------------------------------------------------------------------------------------

    @property
    def _connection(self) -> Connection:
        self._opened.check_not_forked()
        return self._opened

    def _draft(
        self,
        workflow: Workflow,
        axes: Axes | Sequence[Setting] | Mapping[str, Any],
        layout: Mapping[str, str | None],
        *,
        fresh: bool,
        retry: Retry,
        namespace: Mapping[str, Any] | None,
        base: Made | None,
        name: str | None = None,
        remember: bool = False,
    ) -> Draft:
        if not isinstance(axes, Axes):
            given = settings_from_mapping(axes) if isinstance(axes, Mapping) else axes
            axes = self.axes(workflow, given, namespace=namespace, base=base.params if base is not None else None)
        if base is not None:
            axes = axes.on(self.recall(workflow, base.params), base.set_params)
        return self._connection.planner.draft(
            workflow, axes, layout=layout, fresh=fresh, retry=retry, name=name, remember=remember
        )

    def __repr__(self) -> str:
        return f"<Client {self.label}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
