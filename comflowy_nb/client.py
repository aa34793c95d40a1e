"""Client: one connected service, the history and the tracker. The magics and scripts use the same class."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from comflowy_nb.connection import Connection
from comflowy_nb.database.process_locks import ProcessLock
from comflowy_nb.errors import FieldError, RefError, SettingsError, WorkflowError, option
from comflowy_nb.held_runs import check_retry
from comflowy_nb.images.save_target import check_before_submit, check_sweep_target, target_path
from comflowy_nb.library import Found, open_library
from comflowy_nb.scheduler import DeferredInterrupt, run_uninterrupted
from comflowy_nb.services.connect import open_service
from comflowy_nb.settings import check_callback_url
from comflowy_nb.sweeps.cell import raise_for_failures
from comflowy_nb.sweeps.plan import check_limits
from comflowy_nb.tracking.run import Run
from comflowy_nb.tracking.run_errors import error_for_status
from comflowy_nb.tracking.submit import Submitted
from comflowy_nb.tracking.waitable import check_timeout
from comflowy_nb.workflow.syntax.json_values import shown
from comflowy_nb.workflow.values import settings_from_mapping
from comflowy_nb.workflow.workflow import Workflow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta
    from pathlib import Path
    from typing import Self, Unpack

    from comflowy_nb.connection import SweepValues
    from comflowy_nb.database.deduplication import Decision
    from comflowy_nb.images.delete import Deleted
    from comflowy_nb.images.disk_usage import DiskUsage
    from comflowy_nb.images.prune import Pruned
    from comflowy_nb.library import Library
    from comflowy_nb.services.base import Service
    from comflowy_nb.settings import Secret
    from comflowy_nb.status import Retry, Status
    from comflowy_nb.sweeps.sweep import Sweep, SweepCell
    from comflowy_nb.tracking.run_images import RunImage
    from comflowy_nb.workflow.axes.selection import CellOptions
    from comflowy_nb.workflow.image_metadata import RunMetadata
    from comflowy_nb.workflow.syntax.lists import Setting


def connect(
    target: str | None = None,
    *,
    key: str | Secret | None = None,
    name: str | None = None,
    ask_key: Callable[[str], Secret | None] | None = None,
    name_address: bool = False,
    webhooks: str | None = None,
) -> Client:
    """Connect to a service.

    Parameters
    ----------
    target : str, optional
        `sandbox`, `cloud`, `comfyui`, a URL, or a name from an earlier connect, optionally preceded by `NAME=`. By
        default the value of the environment variable `COMFLOWY_TARGET`.
    key : str or Secret, optional
        The API key for this service. By default it is read from the file of the sandbox, from `COMFLOWY_API_KEY` or
        from the keyring.
    name : str, optional
        The name of the service in the history, as `NAME=` in the target.
    ask_key : callable, optional
        Called with the name of the service if no key is found; returns a key or None.
    name_address : bool, default False
        Whether errors contain the address of the server. Saved notebooks keep error texts.
    webhooks : str, optional
        The public address through which the service can reach this kernel: of a Jupyter server with the server
        extension, or of a tunnel. By default the setting `callback_url`, else `COMFLOWY_CALLBACK_URL`.

    Returns
    -------
    Client
        The connected client. Close it with `close` or a `with` statement.

    Raises
    ------
    SettingsError
        If the target, the name or the address for webhooks is invalid, or the service has no webhooks.
    AuthError
        If a key is missing, or the service rejects it.
    ServiceError
        If the service can't be reached, or is not a supported service.

    Examples
    --------
    >>> with comflowy_nb.connect("sandbox") as client:
    ...     run = client.run("default", {"width": 64, "height": 64, "seed": 1})
    >>> run.status
    <Status.SUCCESS: 'success'>
    """
    if webhooks is not None:
        webhooks = check_callback_url(webhooks, option("webhooks"))
    library = open_library()
    owner = ProcessLock(library.locks)  # acquired first, because the sandbox ends when no process holds a lock
    try:
        service, is_moved = open_service(
            target, key=key, name=name, ask_key=ask_key, home=library.home, name_address=name_address
        )
        if webhooks is not None:
            _check_has_webhooks(service)
        return Client(service, library, owner, is_moved=is_moved, webhooks=webhooks)
    except BaseException:
        owner.release()
        raise


def _check_has_webhooks(service: Service) -> None:
    """Close a service without webhooks, and raise a SettingsError."""
    if service.runs_graphs:
        service.close()
        raise SettingsError(
            f"{service.label} reports progress through its own socket, not through webhooks: leave out "
            f"{option('webhooks')}"
        )


class Client:
    """A connection to one service. `connect` returns a client.

    A client without references is closed when its runs and sweeps are settled.

    Parameters
    ----------
    service : Service
        The service.
    library : Library
        The history and the images of the home folder.
    owner : ProcessLock
        The lock that shows other processes that this client is alive.
    is_moved : bool, default False
        Whether the name of the service named another target before.
    webhooks : str, optional
        The public address for webhooks; see `connect`.

    Examples
    --------
    >>> client
    <Client sandbox>
    >>> client.run("default", {"width": 64, "height": 64, "seed": 2}).status
    <Status.SUCCESS: 'success'>
    """

    def __init__(
        self,
        service: Service,
        library: Library,
        owner: ProcessLock,
        *,
        is_moved: bool = False,
        webhooks: str | None = None,
    ) -> None:
        self.service = service
        self.library = library
        self.is_moved = is_moved
        self._connection = Connection(service, library, owner, webhooks)
        weakref.finalize(self, self._connection.close_when_idle).atexit = False
        self._connection.adopt_orphans()

    @property
    def label(self) -> str:
        """Name of the service for users, such as `sandbox`."""
        return self.service.label

    @property
    def identity(self) -> str:
        """Identity of the service in the history. Requests are deduplicated among runs with the same identity."""
        return self.service.identity

    @property
    def connection(self) -> Connection:
        """The tracker, registry, submitter and planner behind this client, for the notebook.

        Raises
        ------
        ComflowyError
            If this process was forked from the process that connected.
        """
        self._connection.check_not_forked()
        return self._connection

    def workflow(self, ref: str) -> Workflow:
        """Return a workflow.

        Parameters
        ----------
        ref : str
            A `.json` file, an image file, `server:last`, the editor's URL, a name in the catalogue, or the service's
            own name or id.

        Returns
        -------
        Workflow
            The workflow with its fields.

        Raises
        ------
        WorkflowError
            If the workflow does not exist, or the service can't run it.
        ServiceError
            If a request to the service is required and fails.

        Examples
        --------
        >>> client.workflow("default").fields["3::cfg"].default
        8
        """
        if not isinstance(ref, str):
            raise WorkflowError(f'invalid workflow {shown(ref)}: use a name, file or id, as in client.run("default")')
        return self.connection.finder.find(ref)

    def _resolve(self, workflow: str | Workflow) -> Workflow:
        return workflow if isinstance(workflow, Workflow) else self.workflow(workflow)

    # -- submitting -----------------------------------------------------------------------------------------------

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
        """Run a workflow, or return the earlier success of exactly this request.

        An interrupt during the wait cancels the run, if the service can cancel and no other living process owns it.
        With `wait=False`, and in `Run.wait`, an interrupt only stops waiting.

        Parameters
        ----------
        ref : str or Workflow
            The workflow; see `workflow`.
        params : mapping of str to object, optional
            Values by field: a field id (`3::cfg`), a name that only one field has, or an alias.
        wait : bool, default True
            Whether to return only when the images are on disk.
        fresh : bool, default False
            Whether to submit the request although there is an earlier success.
        retry : {"failed", "unknown", "all", "none"}
            Which earlier results are submitted again.
        name : str, optional
            A name for the run in the history, as `--as` sets.
        timeout : float, optional
            Maximum time to wait, in seconds. By default there is no limit.
        save : str or pathlib.Path, optional
            A folder for copies, an archive `NAME.zip`, or for one image `NAME.png`; as for `comflowy_nb.save`.

        Returns
        -------
        Run
            The run, a success if `wait` is true.

        Raises
        ------
        WorkflowError, FieldError
            If the workflow or a value is invalid. Nothing is submitted.
        ComflowyError
            If this process was forked from the process that connected. Nothing is submitted.
        RunFailed, RunCancelled, RunHeld, RunTimeout
            If the run did not succeed, or is not settled after `timeout`. The run is `.run` of the error.
        KeyboardInterrupt
            After an interrupt. The text names the cancelled runs, and how to find runs that continue.

        Examples
        --------
        >>> run = client.run("default", {"width": 64, "height": 64, "steps": 2, "seed": 3})
        >>> run.images[0].pil().size
        (64, 64)
        """
        check_timeout(timeout)
        if save is not None:
            check_before_submit(target_path(save))
        run: Run | None = None
        try:
            run = self.submit(ref, {} if params is None else params, fresh=fresh, retry=retry, name=name).run
            if wait:
                run.wait(timeout)
        except KeyboardInterrupt as interrupt:
            if isinstance(interrupt, DeferredInterrupt):
                run = interrupt.result.run
            if wait and run is not None:
                interrupt.args = (self.connection.cancel_interrupted(run),)
            raise
        if wait:
            error = error_for_status(run)
            if error is not None:
                raise error
            if save is not None:
                from comflowy_nb.sharing.save import save_run_to  # noqa: PLC0415 - loads Pillow

                save_run_to(self.library, run, target_path(save))
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
        base: RunMetadata | None = None,
    ) -> Submitted:
        """Record a request and submit it, unless an earlier run can be reused. Return at once.

        Parameters
        ----------
        workflow : str or Workflow
            The workflow; see `workflow`.
        params : mapping of str to object, or sequence of Setting
            Values by field, as for `run`; or the settings of a magic.
        namespace : mapping of str to object, optional
            Python variables for the `{name}` of settings.
        fresh, retry, name : optional
            As for `run`.
        base : RunMetadata, optional
            The metadata of an earlier run or an image. Its params apply to the fields that `params` does not set.

        Returns
        -------
        Submitted
            The run, and whether it is new.

        Raises
        ------
        WorkflowError, FieldError, HistoryError
            If the workflow or a value is invalid, or the history can't be used. Nothing is submitted.
        SettingsError
            If `retry` is invalid. Nothing is submitted.
        RunHeld
            If the service may have accepted an earlier submit of the same request.
        DeferredInterrupt
            If an interrupt arrived meanwhile. `.result` is the Submitted; a new run is being cancelled.

        Examples
        --------
        >>> submitted = client.submit("default", {"width": 64, "height": 64, "seed": 4})
        >>> submitted.run.wait(timeout=60).status
        <Status.SUCCESS: 'success'>
        """
        check_retry(retry)
        workflow = self._resolve(workflow)
        connection = self.connection
        resolved = connection.add_base(workflow, connection.resolve(workflow, params, namespace=namespace), base)
        workflow.check_choices(resolved.params)
        submitter = connection.submitter
        request = submitter.build_request(workflow, resolved.params, set_params=resolved.set_params, name=name)

        def submit() -> tuple[Decision, Run]:
            decision, run = submitter.submit(request, fresh=fresh, retry=retry)
            self.library.set_newest(run)
            return decision, run

        try:
            decision, run = run_uninterrupted(submit)
        except DeferredInterrupt as interrupt:
            decision, run = interrupt.result
            if decision.kind == "new":
                self.cancel(run)
            raise DeferredInterrupt(Submitted(run, decision.kind, resolved.generated_seeds)) from None
        if decision.kind == "held":
            error = error_for_status(run)
            assert error is not None
            raise error
        return Submitted(run, decision.kind, resolved.generated_seeds)

    def sweep(
        self,
        ref: str | Workflow | None = None,
        axes: SweepValues | None = None,
        *,
        around: str | SweepCell | Run | RunImage | None = None,
        fields: Sequence[str] = (),
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
        base: RunMetadata | None = None,
        on_plan: Callable[[Sweep], None] | None = None,
        **cells: Unpack[CellOptions],
    ) -> Sweep:
        """Run a workflow for every combination of values. Earlier successes are not submitted again.

        An interrupt during the wait stops the submits, and cancels the runs of this client if the service can.
        The same call continues the sweep. With `wait=False`, and in `Sweep.wait`, an interrupt only stops waiting.

        Parameters
        ----------
        ref : str or Workflow, optional
            The workflow; see `workflow`. Leave it out with `around`.
        axes : mapping of str to object, pandas.DataFrame, list of mappings, Axes, or sequence of Setting, optional
            Values by field: a list, a range, an array, `{label: value}`, a preset or a seed word is an axis; any other
            value applies to all cells. A DataFrame or a list of mappings is a table; see `table` of `CellOptions`.
        around : str, SweepCell, Run or RunImage, optional
            A cell of a sweep, whose numbers are varied again: three values for each axis, at half the distance to the
            neighbours of the cell; or a run, whose `fields` are varied. All other values are those of the cell, and
            `axes` may set more. The image of the cell is not submitted again. `sweep.axes.notes` has the same sweep as
            a line, and the axes that stay fixed with the reason.
        fields : sequence of str, default ()
            With `around`: the names of the fields to vary. By default all axes of the sweep that are numbers, except
            seeds.
        wait : bool, default True
            Whether to return only when the sweep is settled.
        fresh, retry, name : optional
            As for `run`.
        max_runs : int, optional
            Maximum number of submits. It is required for more than 64 submits on a service that costs money, and for
            more than 500 on any service.
        stop_after : int, default 3
            Number of failures in a row, before any success, after which the sweep stops; 0 never stops it.
        window : int, optional
            Fixed concurrency limit. By default the limit adapts to the throughput.
        x, y, z : str, optional
            Axes for the columns, rows and separate grids. By default they follow the order of `axes`.
        strict : bool, default False
            Whether to raise if a cell did not succeed.
        timeout : float, optional
            As for `run`.
        save : str or pathlib.Path, optional
            A folder for copies and a contact sheet, an archive `NAME.zip`, a page or a figure; as for `Sweep.save`.
        namespace, base : optional
            As for `submit`.
        on_plan : callable, optional
            Called with the planned sweep before anything is submitted. If it raises, nothing is submitted.
        **cells : optional
            `table`, `info`, `empty`, `lines`, `zipped`, `where`, `sample` and `sample_seed`; see
            `comflowy_nb.workflow.axes.selection.CellOptions`.

        Returns
        -------
        Sweep
            The sweep.

        Raises
        ------
        WorkflowError, FieldError, SettingsError, HistoryError
            If the workflow, a value or an option is invalid, or the history can't be used. Nothing is submitted.
        RunFailed, RunTimeout
            If a cell of a strict sweep did not succeed, or the sweep is not settled after `timeout`. The sweep is
            `.run` of the error.
        DeferredInterrupt
            If an interrupt arrived before the wait. The sweep is `.result` of the exception, and is being cancelled.
        KeyboardInterrupt
            After an interrupt during the wait. The text names the finished and the continuing runs.

        Examples
        --------
        >>> sweep = client.sweep("default", {"cfg": [4, 7], "width": 64, "height": 64, "seed": 5})
        >>> [cell.run.status.value for cell in sweep.cells]
        ['success', 'success']
        >>> [cell.params["3::cfg"] for cell in client.sweep(around=sweep[0])]
        [2.5, 4.0, 5.5]
        """
        check_timeout(timeout)
        check_limits(max_runs=max_runs, stop_after=stop_after, window=window)
        if save is not None:
            check_before_submit(target_path(save))
            check_sweep_target(target_path(save))
        workflow, axes, base = self._start_sweep(
            ref, axes, around=around, fields=fields, base=base, namespace=namespace, options=cells
        )
        draft = self.connection.draft(
            workflow,
            axes,
            namespace=namespace,
            base=base,
            layout={"x": x, "y": y, "z": z},
            fresh=fresh,
            retry=retry,
            name=name,
            remember=True,
            cells=cells,
        )
        if on_plan is not None:
            on_plan(draft.sweep)

        def start() -> Sweep:
            sweep = self.connection.planner.start(draft, max_runs=max_runs, stop_after=stop_after, window=window)
            assert sweep.record is not None
            self.library.set_newest(sweep.record)
            return sweep

        try:
            sweep = run_uninterrupted(start)
        except DeferredInterrupt as interrupt:
            interrupt.result.cancel()
            if wait:
                interrupt.args = (self.connection.cancel_interrupted(interrupt.result),)
            raise
        if wait:
            try:
                sweep.wait(timeout)
            except KeyboardInterrupt as interrupt:
                interrupt.args = (self.connection.cancel_interrupted(sweep),)
                raise
            if save is not None:
                sweep.save(save)
            if strict:
                raise_for_failures(sweep)
        return sweep

    def _start_sweep(
        self,
        ref: str | Workflow | None,
        axes: SweepValues | None,
        *,
        around: object,
        fields: Sequence[str],
        base: RunMetadata | None,
        **options: Any,
    ) -> tuple[Workflow, SweepValues | None, RunMetadata | None]:
        """Return the workflow, the values and the base of a sweep. With `around`, derive them from a cell or a run."""
        if around is None:
            if ref is None:
                raise WorkflowError('a sweep needs a workflow: client.sweep("default", {"cfg": [4, 7]})')
            if fields:
                raise FieldError("fields needs around: client.sweep(around='r41', fields=['cfg'])")
            return self._resolve(ref), axes, base
        if ref is not None or base is not None:
            raise WorkflowError("the run or cell of around has a workflow and values: leave out the workflow and base")
        if not isinstance(axes, Mapping | None) or isinstance(fields, str):
            raise FieldError(
                "with around, axes are values by field and fields are names: fields=['cfg'], axes={'seed': 1}"
            )
        found = self.connection.around(around, settings_from_mapping(axes or {}), names=fields, **options)
        return found.workflow, found.axes, found.base

    def plan_sweep(
        self,
        ref: str | Workflow | None = None,
        axes: SweepValues | None = None,
        *,
        around: str | SweepCell | Run | RunImage | None = None,
        fields: Sequence[str] = (),
        fresh: bool = False,
        retry: Retry = "failed",
        x: str | None = None,
        y: str | None = None,
        z: str | None = None,
        namespace: Mapping[str, Any] | None = None,
        base: RunMetadata | None = None,
        **cells: Unpack[CellOptions],
    ) -> Sweep:
        """Return the sweep that `sweep` would submit. Nothing is recorded or submitted.

        Parameters
        ----------
        ref : str or Workflow, optional
            The workflow; see `workflow`. Leave it out with `around`.
        axes : mapping of str to object, pandas.DataFrame, list of mappings, Axes, or sequence of Setting, optional
            As for `sweep`.
        around, fields, fresh, retry, x, y, z, namespace, base, **cells : optional
            As for `sweep`.

        Returns
        -------
        Sweep
            The sweep with its `plan`.

        Raises
        ------
        WorkflowError, FieldError
            If the workflow or a value is invalid.

        Examples
        --------
        >>> client.plan_sweep("default", {"cfg": [4, 7, 9], "seed": 6}).plan.to_submit
        3
        """
        workflow, axes, base = self._start_sweep(
            ref, axes, around=around, fields=fields, base=base, namespace=namespace, options=cells
        )
        layout = {"x": x, "y": y, "z": z}
        return self.connection.draft(
            workflow, axes, namespace=namespace, base=base, cells=cells, layout=layout, fresh=fresh, retry=retry
        ).sweep

    # -- earlier runs and sweeps ----------------------------------------------------------------------------------

    def runs(
        self,
        text: str | None = None,
        *,
        where: str | None = None,
        since: float | None = None,
        status: Status | str | None = None,
        workflow: str | None = None,
        limit: int | None = 20,
        **params: Any,
    ) -> list[Run]:
        """Return earlier runs, newest first.

        Parameters
        ----------
        text, where, since, status, workflow, limit : optional
            As for `history.runs`.
        **params : Any
            As for `history.runs`.

        Returns
        -------
        list of Run
            The runs of all services. The runs of this service are updated while they are live.

        Raises
        ------
        SettingsError
            If a filter is invalid.

        Examples
        --------
        >>> [run.params["3::cfg"] for run in client.runs(status="success", cfg=7, limit=1)]
        [7.0]
        >>> [run.params["3::cfg"] for run in client.runs(where="6 < cfg <= 7", limit=1)]
        [7.0]
        """
        found = self.library.runs(
            text, params=params, where=where, since=since, status=status, workflow=workflow, limit=limit
        )
        return [self.connection.registry.run(run.record) for run in found]

    def find(self, ref: str) -> Found:
        """Find the run, the image or the sweep of a reference.

        Parameters
        ----------
        ref : str
            `r41`, `s3`, `s3.12`, a name, an id of the service, `last`, or one of these with `[0]`.

        Returns
        -------
        Found
            The run, with the image if the reference names one; or the record of a sweep.

        Raises
        ------
        RefError
            If there is no such run, image or sweep.

        Examples
        --------
        >>> client.find("cat[0]").image.ref == run.images[0].ref
        True
        """
        found = self.library.find(ref)
        if found.sweep is not None:
            return found
        run = self.connection.registry.run(found.run.record)
        if found.image is None:
            return Found(run)
        index = found.image.record.index
        return Found(run, next(image for image in run.images if image.record.index == index))

    def disk(self) -> DiskUsage:
        """Return the disk usage of the home folder, as `history.disk`.

        Returns
        -------
        DiskUsage
            Number and size of the files.

        Raises
        ------
        HistoryError
            As `history.disk`.

        Examples
        --------
        >>> usage = client.disk()
        >>> usage.parts["thumbnails"].files, usage.parts["originals"].files
        (..., ...)
        """
        return self.library.disk()

    def prune(
        self,
        older: float | timedelta,
        *,
        all: bool = False,  # noqa: A002 - the name of the option
        dry_run: bool = False,
        confirm: Callable[[Pruned], bool] | None = None,
    ) -> Pruned:
        """Remove the original images of earlier runs, as `history.prune`, and update the runs of this client.

        Parameters
        ----------
        older, all, dry_run, confirm : optional
            As for `history.prune`.

        Returns
        -------
        Pruned
            The originals that were removed; with `dry_run`, those that would be removed.

        Raises
        ------
        SettingsError, HistoryError
            As `history.prune`.

        Examples
        --------
        >>> old = client.run("default", {"width": 64, "height": 64, "seed": 32})
        >>> client.prune(0, dry_run=True).images.files > 0
        True
        >>> client.prune(0).is_done
        True
        >>> old.images[0].is_pruned, old.images[0].thumbnail(256).exists()
        (True, True)
        """
        registry = self.connection.registry
        pruned = self.library.prune(older, all=all, dry_run=dry_run, confirm=confirm)
        if pruned.is_done:
            registry.reload(pruned.runs)
        return pruned

    def delete(
        self, *refs: str | Run | Sweep, dry_run: bool = False, confirm: Callable[[Deleted], bool] | None = None
    ) -> Deleted:
        """Delete runs and sweeps, as `history.delete`, and update the runs of this client.

        Parameters
        ----------
        *refs : str, Run or Sweep
            Runs, cells of sweeps, and sweeps, or their references.
        dry_run, confirm : optional
            As for `history.delete`.

        Returns
        -------
        Deleted
            The runs and sweeps that were deleted; with `dry_run`, those that would be deleted.

        Raises
        ------
        RefError, HistoryError
            As `history.delete`.

        Examples
        --------
        >>> unwanted = client.run("default", {"width": 64, "height": 64, "seed": 33})
        >>> client.delete(unwanted, dry_run=True)
        <Deleted r... to delete, ...>
        >>> client.delete(unwanted)
        <Deleted r... deleted, ...>
        """
        registry = self.connection.registry
        deleted = self.library.delete(*refs, dry_run=dry_run, confirm=confirm)
        if deleted.is_done:
            registry.reload(deleted.tokens)
        return deleted

    def live(self) -> list[Run]:
        """Return the runs that this client tracks and that are not settled.

        Returns
        -------
        list of Run
            The runs, without joined runs of other processes.

        Examples
        --------
        >>> client.live()
        []
        """
        return self.connection.tracker.live()

    def cancel(self, run: Run) -> None:
        """Ask the service to cancel a run; see `Run.cancel`.

        Parameters
        ----------
        run : Run
            A run of this service.

        Raises
        ------
        RefError
            If the run was submitted to another service.

        Examples
        --------
        >>> run = client.run("default", {"width": 64, "height": 64, "seed": 16}, wait=False)
        >>> client.cancel(run)
        >>> run.wait(timeout=60).status.is_final
        True
        """
        if not isinstance(run, Run):
            raise RefError(f"cancel needs a run, not {shown(run)}: client.cancel(client.find({shown(run)}).run)")
        self.connection.registry.cancel(run)

    def resume(self, *refs: str) -> list[Run]:
        """Track runs again.

        Parameters
        ----------
        *refs : str
            References of runs. By default all orphaned and lost runs of this service.

        Returns
        -------
        list of Run
            The runs that are tracked again.

        Raises
        ------
        RefError
            If a reference names no run, or a run of another service.

        Examples
        --------
        >>> client.resume()
        []
        """
        registry = self.connection.registry
        if not refs:
            return registry.resume_all()
        runs = [registry.run(self.library.find(ref).run.record) for ref in refs]
        for run in runs:
            registry.check_origin(run)
        for run in runs:
            registry.resume(run)
        return runs

    def close(self) -> None:
        """Stop tracking, and close all connections. Accepted runs continue, and the next client adopts them.

        Examples
        --------
        >>> other = comflowy_nb.connect("sandbox")
        >>> run = other.run("default", {"width": 64, "height": 64, "seed": 17})
        >>> other.close()
        >>> run.images[0].path.exists()
        True
        """
        self._connection.close()

    def __repr__(self) -> str:
        return f"<Client {self.label}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
