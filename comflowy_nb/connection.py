"""Connection: one service, with the objects that find workflows, submit runs and track them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from comflowy_nb.database.process_locks import check_not_forked, is_alive_in
from comflowy_nb.errors import FieldError, RefError, WorkflowError
from comflowy_nb.held_runs import check_retry
from comflowy_nb.recipe import find_metadata
from comflowy_nb.services.comflowy.client_webhooks import Webhooks
from comflowy_nb.services.workflow_finder import Finder
from comflowy_nb.status import Status
from comflowy_nb.sweeps.around import SweepAround, find_center, settings_around, write_sweep_line, write_values
from comflowy_nb.sweeps.planner import SweepPlanner
from comflowy_nb.tracking.registry import RunRegistry
from comflowy_nb.tracking.run import Run
from comflowy_nb.tracking.submit import Submitter
from comflowy_nb.tracking.tracker import Tracker
from comflowy_nb.workflow.axes.read import count_axes, read_axes
from comflowy_nb.workflow.axes.selection import check_options
from comflowy_nb.workflow.axes.table_file import is_table
from comflowy_nb.workflow.axes.types import Axes
from comflowy_nb.workflow.graph import Graph
from comflowy_nb.workflow.image_metadata import RunMetadata
from comflowy_nb.workflow.images import input_of_run
from comflowy_nb.workflow.syntax.json_values import shown
from comflowy_nb.workflow.values import is_settings, resolve, settings_from_mapping

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    import pandas as pd

    from comflowy_nb.database.process_locks import ProcessLock
    from comflowy_nb.database.records import RunRecord, SweepRecord
    from comflowy_nb.library import Library
    from comflowy_nb.services.base import Service
    from comflowy_nb.status import Retry
    from comflowy_nb.sweeps.cell import SweepCell
    from comflowy_nb.sweeps.planner import Draft
    from comflowy_nb.sweeps.sweep import Sweep
    from comflowy_nb.workflow.axes.selection import CellOptions
    from comflowy_nb.workflow.images import InputImage
    from comflowy_nb.workflow.syntax.lists import Setting
    from comflowy_nb.workflow.values import ResolvedParams
    from comflowy_nb.workflow.workflow import Workflow

    SweepValues: TypeAlias = Axes | Mapping[str, Any] | Sequence[Setting] | Sequence[Mapping[str, Any]] | pd.DataFrame


IDLE_S = 1.0  # between checks whether the runs of an unreferenced client are settled
_CONFIRM_S = 15.0  # maximum wait for the confirmation of a cancel; most services confirm it at once
_INTERRUPT_CHECK_S = 0.25
_MAX_LISTED_REFS = 6  # then ` ...` follows


class Connection:
    """The finder, tracker, registry, submitter and planner of one client.

    It has no reference to the client, so that an unreferenced client is garbage-collected; then `close_when_idle`
    closes its connection.

    Parameters
    ----------
    owner
        The client's lock, which `close` releases.
    webhooks
        The public URL for webhooks; by default the setting `callback_url`.
    """

    def __init__(self, service: Service, library: Library, owner: ProcessLock, webhooks: str | None = None) -> None:
        self.service = service
        self._library = library
        self._owner = owner
        self._process = os.getpid()
        self.tracker = Tracker(service, library.history, images=library.folder)
        if not service.runs_graphs:
            hooks = Webhooks(service, self.tracker.handle_event, library.home, owner=owner.name, url=webhooks)
            hooks.files.remove_stale(partial(is_alive_in, (library.locks, hooks.files.folder)))
            self.tracker.webhooks = hooks
        service.listen(self.tracker.handle_event)
        self.registry = RunRegistry(self.tracker, owner=owner.name, owners=library.locks, images_folder=library.folder)
        self.submitter = Submitter(self.tracker, self.registry, lock_name=owner.name, inputs=library.inputs)
        self.planner = SweepPlanner(library, self.tracker, self.registry, self.submitter, owner=owner.name)
        metadata = partial(find_metadata, library=library)
        self.finder = Finder(library.home, service, self.tracker.scheduler, metadata)
        if service.runs_graphs:
            library.convert = self.finder.convert
        self._adopted: list[Run] = []

    # -- interrupts -----------------------------------------------------------------------------------------------

    def cancel_interrupted(self, waited: Run | Sweep) -> str:
        """Cancel the runs that a blocking call waited for, if the service can. Return one line about the result.

        Wait for the confirmation up to 15 s, or until a second interrupt. Runs that another living process owns
        continue.
        """
        sweep = None if isinstance(waited, Run) else waited

        def live() -> list[Run]:
            runs = [waited] if isinstance(waited, Run) else waited.runs
            return [run for run in runs if run.status.is_live]

        try:
            if sweep is not None:
                sweep.cancel()
            elif self.service.can_cancel:
                for run in self._own(live()):
                    self.registry.cancel(run)
            end_s = time.monotonic() + _CONFIRM_S
            while time.monotonic() < end_s and (
                (sweep is not None and sweep.is_submitting) or (self.service.can_cancel and self._own(live()))
            ):
                waited.wait_change(_INTERRUPT_CHECK_S)
        except KeyboardInterrupt:
            pass  # the text names the continuing runs
        return _interrupt_text(waited, self._continuing(live()))

    def _own(self, runs: Sequence[Run]) -> list[Run]:
        tracked = {run.token for run in self.tracker.live()}
        return [run for run in runs if run.token in tracked]

    def _continuing(self, runs: Sequence[Run]) -> str | None:
        """Return which runs continue after an interrupt, and why; None if none does."""
        if not runs:
            return None
        refs = ", ".join(run.ref for run in runs[:_MAX_LISTED_REFS]) + (" ..." if len(runs) > _MAX_LISTED_REFS else "")
        verb = "continues" if len(runs) == 1 else "continue"
        if not self.service.can_cancel:
            return f"{self.service.label} can't cancel: {refs} {verb}"
        if self._own(runs):
            return f"the cancel of {refs} is not confirmed yet"
        return f"{refs} {verb} in another process"

    # -- reading requests -----------------------------------------------------------------------------------------

    def resolve(
        self,
        workflow: Workflow,
        params: Sequence[Setting] | Mapping[str, Any],
        *,
        namespace: Mapping[str, Any] | None = None,
    ) -> ResolvedParams:
        """Return the values to submit for `params`; see `values.resolve`."""
        if not is_settings(params):
            raise FieldError(
                f"invalid params {shown(params)}: use values by the name of a field, as in "
                'client.run("default", {"steps": 20, "seed": 1})'
            )
        values = settings_from_mapping(params) if isinstance(params, Mapping) else params
        return resolve(workflow, values, namespace=namespace, open_run=self.input_of_run)

    def add_base(self, workflow: Workflow, resolved: ResolvedParams, base: RunMetadata | None) -> ResolvedParams:
        """Add the params of an earlier run or an image for the fields that `resolved` does not set."""
        if base is None:
            return resolved
        params = {**self.submitter.restore_input_images(workflow, base.params), **resolved.params}
        return replace(
            resolved, params=params, set_params=tuple(dict.fromkeys((*base.set_params, *resolved.set_params)))
        )

    def axes(
        self,
        workflow: Workflow,
        values: Sequence[Setting],
        *,
        count: int | None = None,
        namespace: Mapping[str, Any] | None = None,
        base: Mapping[str, Any] | None = None,
        options: CellOptions | None = None,
    ) -> Axes:
        """Read the axes of a sweep. With `count`, read the axes of `run --count`."""
        open_run = self.input_of_run
        if count is not None:
            return count_axes(workflow, values, count, namespace=namespace, open_run=open_run)
        return read_axes(workflow, values, namespace=namespace, open_run=open_run, base=base, options=options)

    def draft(
        self,
        workflow: Workflow,
        axes: SweepValues | None,
        *,
        namespace: Mapping[str, Any] | None,
        base: RunMetadata | None,
        cells: CellOptions | None = None,
        **options: Any,
    ) -> Draft:
        """Read the axes, based on the params of `base`, and plan the sweep; see `SweepPlanner.draft` for `options`."""
        check_options(cells or {})
        check_retry(options.get("retry", "failed"))
        if not isinstance(axes, Axes):
            if is_table(axes):
                axes, cells = None, {**(cells or {}), "table": axes}
            if axes is None or isinstance(axes, Mapping):
                values = settings_from_mapping(axes or {})
            elif is_settings(axes):
                values = list(axes)
            else:
                raise FieldError(
                    f"invalid axes {shown(axes)}: use values by the name of a field, or a table, as in "
                    'client.sweep("default", {"cfg": [4, 7], "seed": 1})'
                )
            params = base.params if base is not None else None
            axes = self.axes(workflow, values, namespace=namespace, base=params, options=cells)
        if base is not None:
            axes = self.on_base(axes, workflow, base)
        varied = {field_id for axis in axes.axes for field_id in axis.fields}
        workflow.check_choices({**axes.fixed, **dict.fromkeys(varied)})
        return self.planner.draft(workflow, axes, **options)

    def draft_cells(self, sweep: Sweep, cells: Sequence[SweepCell], *, retry: Retry) -> Draft:
        """Plan the submit of the cells of a recorded sweep that were never submitted, or that failed.

        Raises
        ------
        RefError
            If the sweep was submitted to another service, loaded from a file, or is being submitted.
        WorkflowError
            If its workflow has changed or is not known any more.
        """
        record = sweep.record
        if record is None:
            raise RefError("a planned sweep has no cells to submit again: submit it with %comflowy sweep")
        if record.imported is not None:
            raise RefError(
                f"{sweep.ref} was loaded from {record.imported}; %comflowy sweep --from {sweep.ref} runs it here"
            )
        if record.identity != self.service.identity:
            label = self.service.label
            raise RefError(f"{sweep.ref} was submitted to {record.service}, not to {label}; connect to it first")
        problem: WorkflowError | None = None
        for find in self._workflows_of(sweep, record):
            try:
                return self.planner.draft_cells(sweep, find(), cells, retry=retry)
            except WorkflowError as error:
                problem = problem or error
        assert problem is not None
        raise problem

    def _workflows_of(self, sweep: Sweep, record: SweepRecord) -> list[Callable[[], Workflow]]:
        """Return functions that find a recorded sweep's workflow: by the graph of its runs, else by name or id."""
        tokens = [run.token for run in sweep.runs] if self.service.runs_graphs else []
        graph = next(filter(None, map(self._library.history.graph, tokens)), None)
        if graph is not None:
            return [partial(self.finder.from_graph, record.workflow, Graph(graph))]
        names = dict.fromkeys(filter(None, (record.workflow, record.workflow_id)))
        return [partial(self.finder.find, name) for name in names]

    def on_base(self, axes: Axes, workflow: Workflow, base: RunMetadata) -> Axes:
        """Return axes with the params of a run for the fields that they do not set."""
        return axes.based_on(self.submitter.restore_input_images(workflow, base.params), base.set_params)

    def around(
        self,
        what: object,
        values: Sequence[Setting],
        *,
        names: Sequence[str] = (),
        workflow: Workflow | None = None,
        typed: str = "",
        namespace: Mapping[str, Any] | None = None,
        options: CellOptions | None = None,
    ) -> SweepAround:
        """Return the sweep around a cell or a run; see `settings_around`.

        Parameters
        ----------
        what
            A reference, a cell, a run or an image.
        values
            More settings, which replace narrowed axes.
        names
            Names of the fields to vary.
        workflow
            The workflow of the sweep. By default the workflow of the run.
        typed
            `values` as words of a line.
        """
        center = find_center(self._library, what)
        record = center.run.record
        if workflow is None:
            named = self.workflow_of(record)
            workflow = self.finder.find(named) if isinstance(named, str) else named
        base = RunMetadata(record.workflow, record.workflow_id, dict(record.params), record.set_params)
        explicit = {field_id for setting in values for field_id in _fields_of(workflow, setting.key)}
        narrowed, fixed = settings_around(center, workflow, names=names, explicit=explicit)
        params = dict(record.params)
        axes = self.axes(workflow, [*narrowed, *values], namespace=namespace, base=params, options=options)
        notes = list(axes.notes)
        if not options:
            has_graph = self.service.runs_graphs and self._library.history.graph(record.token) is not None
            is_named = not has_graph and record.workflow in self.finder.names()
            whole = self.on_base(axes, workflow, base)
            line = write_sweep_line(record.workflow, workflow, whole) if is_named else None
            from_run = " ".join(filter(None, ("%comflowy sweep --from", record.ref, write_values(narrowed), typed)))
            notes[:0] = [line or from_run] if line or typed or not values else []
        notes += [f"stays as in {center.ref}: {', '.join(fixed)}"] if fixed else []
        return SweepAround(workflow, replace(axes, notes=tuple(notes)), base, center)

    def workflow_of(self, record: RunRecord) -> str | Workflow:
        """Return the workflow of a run: its graph, or its name or id if it has none or this service knows the name."""
        graph = self._library.history.graph(record.token)
        if graph is None or (not self.service.runs_graphs and record.workflow in self.finder.names()):
            return self.name_here(record)
        return self.finder.from_graph(record.workflow, Graph(graph))

    def name_here(self, record: RunRecord | SweepRecord) -> str:
        """Return the name of a workflow in the catalogue, else its id if the service is the same, else its name."""
        own_id = record.workflow_id if record.identity == self.service.identity else None
        return own_id if own_id and record.workflow not in self.finder.names() else record.workflow

    def input_of_run(self, ref: str) -> InputImage:
        """Return an image of an earlier run as an input image. A reference to a run means its first image."""
        target = self._library.find(ref)
        image = target.image if target.image is not None else target.run.images[0]
        return input_of_run(image)

    # -- earlier runs and sweeps ----------------------------------------------------------------------------------

    def usual_seconds(self, workflow: Workflow) -> float | None:
        """Return the median duration of the last runs of a workflow, in seconds; None if no run is known."""
        return self.tracker.durations.rule_of(workflow.id or workflow.name).usual_s

    def adopt_orphans(self) -> None:
        """Adopt the orphaned runs of this service; see `RunRegistry.adopt_orphans`."""
        self._adopted = self.registry.adopt_orphans()

    def take_ended_orphans(self) -> list[Run]:
        """Return the adopted runs that have ended since the last call."""
        ended = [run for run in self._adopted if run.record.is_settled and run.status is not Status.UNKNOWN]
        self._adopted = [run for run in self._adopted if run not in ended]
        return ended

    def reopen(self, record: SweepRecord) -> Sweep:
        """Return a sweep of the history with its runs, and track the live ones. Nothing is submitted."""
        sweep = self._library.sweep(record, self.registry.run)
        for run in sweep.runs:
            if self.registry.is_here(run.record):
                self.registry.refresh(run)
        self.planner.watch(sweep)
        return sweep

    # -- closing --------------------------------------------------------------------------------------------------

    def check_not_forked(self) -> None:
        """Raise a ComflowyError in a forked child: the threads, locks and sockets belong to its parent."""
        check_not_forked(self._process, f"the connection to {self.service.label}")

    def close(self) -> None:
        """Stop tracking, and release the lock, so that other processes may adopt the live runs.

        Does nothing in a forked child: the threads and sockets belong to its parent.
        """
        if self._process != os.getpid():
            return
        if self._library.convert == self.finder.convert:
            self._library.convert = None
        self.planner.close()
        self.tracker.close()
        self.service.close()
        self._owner.release()

    def close_when_idle(self) -> None:
        """Close when every run and sweep is settled. A finalizer may call this on any thread."""
        if self._process == os.getpid():
            self.tracker.scheduler.every(IDLE_S, self._is_in_use)

    def _is_in_use(self) -> bool:
        if not self.tracker.closed and self.registry.is_idle and self.planner.is_idle:
            self.close()
        return not self.tracker.closed


def _interrupt_text(waited: Run | Sweep, continuing: str | None) -> str:
    """Return the message of an interrupted call: finished runs, continuing runs and the next command."""
    if isinstance(waited, Run):
        if continuing is None:
            again = "; the same call runs it again" if waited.status is Status.CANCELLED else ""
            return f"{waited.ref}: {waited.status}{again}"
        return f"{continuing}; client.find({waited.ref!r}).run.wait() waits for it"
    done = waited.status_counts().get(Status.SUCCESS, 0)
    parts = [f"{waited.ref}: {done} of {len(waited.cells)} cells done", *([continuing] if continuing else [])]
    return f"{'; '.join(parts)}; the same call continues it"


def _fields_of(workflow: Workflow, key: str) -> tuple[str, ...]:
    """Return the ids of the fields that a key names; none for a preset, or an error that is reported later."""
    with suppress(FieldError):
        return workflow.find(key)
    return ()
