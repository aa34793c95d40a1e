"""Plan the sweeps of one client, record them, and start to submit them."""

from __future__ import annotations

import threading
import uuid
import weakref
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from comflowy_nb.database.records import SweepRequest
from comflowy_nb.errors import FieldError, HistoryError, RefError, WorkflowError, option
from comflowy_nb.scheduler import Scheduler
from comflowy_nb.settings import settings
from comflowy_nb.sweeps.estimate import MAX_TIMED_RUNS, estimate_s
from comflowy_nb.sweeps.plan import check_count, make_plan, planned_text
from comflowy_nb.sweeps.sender import SweepSender, SweepWatcher
from comflowy_nb.sweeps.sweep import Sweep
from comflowy_nb.workflow.axes.expand import even_order, expand
from comflowy_nb.workflow.axes.names import cell_filter
from comflowy_nb.workflow.axes.types import axes_to_json
from comflowy_nb.workflow.values import generate_seed, narrowest_field
from comflowy_nb.workflow.workflow import sha256_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from comflowy_nb.database.deduplication import Decision
    from comflowy_nb.database.records import CellRecord, RunRecord, SweepRecord
    from comflowy_nb.library import Library
    from comflowy_nb.status import DecisionKind, Retry
    from comflowy_nb.sweeps.cell import SweepCell
    from comflowy_nb.sweeps.plan import SweepPlan
    from comflowy_nb.tracking.registry import RunRegistry
    from comflowy_nb.tracking.submit import Submitter
    from comflowy_nb.tracking.tracker import Tracker
    from comflowy_nb.workflow.axes.types import Axes, Cell
    from comflowy_nb.workflow.workflow import Workflow


@dataclass(frozen=True, slots=True)
class Draft:
    """A planned sweep, before it is recorded and submitted.

    Attributes
    ----------
    generated
        Seeds that were generated now, by their key in the history.
    cells
        The cells that the plan is about: all of a new sweep, some of a recorded one.
    decisions
        Request key -> decision about the request.
    continues
        Whether this continues a fresh sweep that did not reach its end.
    """

    sweep: Sweep
    workflow: Workflow
    request: SweepRequest
    retry: Retry
    generated: Mapping[str, int]
    cells: Sequence[SweepCell]
    decisions: Mapping[str, Decision | None]
    plan: SweepPlan
    continues: bool = False


class SweepPlanner:
    """Plans and submits the sweeps of one client. `owner` is the name of the client's lock file."""

    def __init__(
        self,
        library: Library,
        tracker: Tracker,
        registry: RunRegistry,
        submitter: Submitter,
        *,
        owner: str,
    ) -> None:
        self._library = library
        self._tracker = tracker
        self._registry = registry
        self._submitter = submitter
        self._owner = owner
        self._lock = threading.Lock()
        self._sweeps: weakref.WeakSet[Sweep] = weakref.WeakSet()  # submitted or watched
        self._scheduler = Scheduler("comflowy-sweeps", workers=1)  # not paused with the tracker's

    def close(self) -> None:
        """Stop the scheduler."""
        self._scheduler.close()

    @property
    def is_idle(self) -> bool:
        """Whether every sweep that is still referenced is settled."""
        with self._lock:
            sweeps = list(self._sweeps)
        return all(sweep.is_settled for sweep in sweeps)

    def draft(
        self,
        workflow: Workflow,
        axes: Axes,
        *,
        layout: Mapping[str, str | None],
        fresh: bool = False,
        retry: Retry = "failed",
        name: str | None = None,
        remember: bool = False,
    ) -> Draft:
        """Plan a sweep.

        The sweep reuses the seeds that were generated for the same sweep before. A fresh sweep gets new seeds, unless
        the last fresh sweep did not reach its end; then it continues that sweep.

        Parameters
        ----------
        remember
            Whether to record newly generated seeds immediately. If two processes generate seeds for the same sweep,
            both use those that were recorded first.
        """
        service, history = self._tracker.service, self._library.history
        spec = axes_to_json(axes)
        key = sha256_of([service.identity, workflow.content, spec])
        known = history.sweeps.find_same(service.identity, key, fresh=fresh)
        continued = known.token if fresh and known is not None else None
        generated: dict[str, int] = {}

        def seed_of(seed_key: str, fields: tuple[str, ...]) -> int:
            before = None if fresh and continued is None else history.seeds.get(seed_key)
            if before is not None:
                return before
            if seed_key not in generated:
                generated[seed_key] = generate_seed(narrowest_field(workflow, fields))
            return generated[seed_key]

        keeps = cell_filter(axes, workflow)

        def make_cells() -> list[Cell]:
            return expand(
                axes, workflow_content=workflow.content, identity=service.identity, seed_of=seed_of, keeps=keeps
            )

        cells = make_cells()
        _check_cells(cells, axes)
        if remember and not fresh and generated and history.seeds.store_missing(generated) != generated:
            cells = make_cells()
        if continued is not None:
            cells = _with_seeds(cells, history.sweeps.cells(continued), axes)
        keys = [self._submitter.key(workflow, cell.params) for cell in cells]
        request = SweepRequest(
            token=str(uuid.uuid4()),
            identity=service.identity,
            origin=self._registry.origin,
            service=service.label,
            workflow=workflow.name,
            workflow_id=workflow.id,
            key=key,
            spec={**spec, "layout": dict(layout)},
            fresh=fresh,
            name=name,
        )
        sweep = Sweep(
            axes,
            list(zip(cells, keys, strict=True)),
            workflow=workflow.name,
            service=service.label,
            layout=layout,
            images_folder=self._library.folder,
        )
        decisions = history.sweeps.peek(
            keys, fresh=fresh, retry=retry, sweep=continued, resubmit_lost=service.resubmits_lost
        )
        sweep.plan = self._plan(sweep.cells, decisions, workflow)
        return Draft(
            sweep, workflow, request, retry, generated, sweep.cells, decisions, sweep.plan,
            continues=continued is not None,
        )  # fmt: skip

    def draft_cells(self, sweep: Sweep, workflow: Workflow, cells: Sequence[SweepCell], *, retry: Retry) -> Draft:
        """Plan the submit of some cells of a recorded sweep. Their params and requests are the recorded ones.

        Raises
        ------
        RefError
            If the sweep is being submitted.
        WorkflowError
            If this is not the workflow that the sweep was recorded with.
        """
        record = sweep.record
        assert record is not None
        history = self._library.history
        if sweep.is_submitting or history.senders.live_owners(record.token, except_for=self._owner):
            raise RefError(f"{sweep.ref} is being submitted; wait until that has ended")
        if any(self._submitter.key(workflow, cell.params) != cell.key for cell in cells):
            raise WorkflowError(
                f"the workflow {record.workflow} has changed since {sweep.ref} was submitted, so nothing is submitted; "
                f"%comflowy sweep --from {sweep.ref} runs it with the new workflow"
            )
        continued = record.token if record.fresh else None
        keys = [cell.key for cell in cells]
        decisions = history.sweeps.peek(keys, fresh=record.fresh, retry=retry, sweep=continued)
        plan = self._plan(cells, decisions, workflow)
        return Draft(sweep, workflow, record, retry, {}, tuple(cells), decisions, plan)

    def _plan(
        self, cells: Sequence[SweepCell], decisions: Mapping[str, Decision | None], workflow: Workflow
    ) -> SweepPlan:
        """Plan the cells, and set `planned` of each cell. New cells with the same request share one run."""
        planned: list[tuple[DecisionKind, RunRecord | None]] = []
        new: dict[str, SweepCell] = {}  # the cells to submit, by request key
        for cell in cells:
            decision = decisions[cell.key]
            kind: DecisionKind = "new" if decision is None else decision.kind
            record = None if decision is None else decision.record
            if cell.key in new:
                cell.planned = "equal to another cell"
                continue
            planned.append((kind, record))
            cell.planned = planned_text(kind, record)
            if kind == "new":
                new[cell.key] = cell
        key = workflow.id or workflow.name
        earlier = self._library.history.successes_of(self._tracker.service.identity, key, limit=MAX_TIMED_RUNS)
        return make_plan(
            planned,
            total=len(cells),
            now=datetime.now().astimezone(),
            seconds=estimate_s(earlier, workflow, (cell.params for cell in new.values())),
            cost_per_run=settings.cost_per_run,
        )

    def start(self, draft: Draft, *, max_runs: int | None, stop_after: int, window: int | None) -> Sweep:
        """Record the sweep, unless it is recorded, and submit its new cells while the concurrency limit permits.

        `SweepSender` describes `stop_after` and `window`.

        Raises
        ------
        SettingsError
            If the sweep has more new cells than permitted.
        WorkflowError, ServiceError
            If an input image can't be uploaded. Nothing was submitted.
        HistoryError
            If the sweep can't be recorded. Nothing was submitted.
        """
        sweep, service = draft.sweep, self._tracker.service
        check_count(draft.plan, max_runs=max_runs, costs_money=service.costs_money, label=service.label)
        reused = {
            cell: decision.record
            for cell in draft.cells
            if (decision := draft.decisions[cell.key]) is not None and decision.kind != "new"
        }
        # All images before the first run: an image that is rejected must not be found when half the cells are paid for.
        self._submitter.upload_inputs(cell.params for cell in draft.cells if cell not in reused)
        if sweep.record is None:
            sweep.record = self._record(draft)
        sweep.stopped = None
        tokens = {cell.number: record.token for cell, record in reused.items()}
        self._library.history.sweeps.set_cells(sweep.record.token, tokens)
        order = [draft.cells[index] for index in even_order([cell.at for cell in draft.cells])]
        sender = SweepSender(
            draft,
            [cell for cell in order if cell not in reused],
            tracker=self._tracker,
            submitter=self._submitter,
            scheduler=self._scheduler,
            owner=self._owner,
            stop_after=stop_after,
            window=window,
        )
        for cell, record in reused.items():
            run = self._registry.run(record)
            sender.attach(cell, run, is_ours=False)
            self._registry.refresh(run)
        with self._lock:
            self._sweeps.add(sweep)
        sender.begin()
        return sweep

    def _record(self, draft: Draft) -> SweepRecord:
        """Record the sweep of a draft; see `start`."""
        request = draft.request
        rows = [(cell.number, cell.at, cell.params, cell.key) for cell in draft.cells]
        record = self._library.history.sweeps.record_or_update(
            request, rows, seeds=draft.generated if request.fresh else None
        )
        if request.fresh and not draft.continues and record.token != request.token:
            raise HistoryError(
                f"another kernel began this fresh sweep just now ({record.ref}); run the cell again to share it"
            )
        return record

    def watch(self, sweep: Sweep) -> None:
        """Update a sweep of the history while another process submits it."""
        with self._lock:
            self._sweeps.add(sweep)
        SweepWatcher(sweep, tracker=self._tracker, registry=self._registry, owner=self._owner).begin()


def _check_cells(cells: Sequence[Cell], axes: Axes) -> None:
    """Raise a FieldError if there are no cells, or if the number of pinned seeds differs from the number of cells."""
    if not cells:
        where = option("where", axes.where)
        raise FieldError(f"{where} keeps none of {axes.count:,} combinations; nothing submitted")
    for name, seeds in axes.pinned.items():
        if len(seeds) != len(cells):
            raise FieldError(
                f"pinned has {len(seeds)} seeds for {name}, but the sweep has {len(cells)} cells: write one seed "
                "for each cell, or remove pinned"
            )


def _with_seeds(cells: Sequence[Cell], rows: Sequence[CellRecord], axes: Axes) -> list[Cell]:
    """Return the cells with the stored seeds, which were generated when the sweep was recorded."""
    names = {name for seeds in axes.seeds for name in seeds.fields}
    names |= {name for axis in axes.axes if axis.kind == "seeds" for name in axis.fields}
    stored = {row.number: {name: value for name, value in row.params.items() if name in names} for row in rows}
    return [replace(cell, params={**cell.params, **stored.get(cell.number, {})}) for cell in cells]
