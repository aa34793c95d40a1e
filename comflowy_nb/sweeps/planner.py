"""Plans and enters the sweeps of one client."""

from __future__ import annotations

import hashlib
import threading
import time
import uuid
import weakref
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from comflowy_nb.database.records import SweepRequest
from comflowy_nb.errors import HistoryError
from comflowy_nb.scheduler import Scheduler
from comflowy_nb.sweeps.plan import check_count, make_plan, planned_word
from comflowy_nb.sweeps.sender import SweepSender
from comflowy_nb.sweeps.sweep import Sweep
from comflowy_nb.sweeps.watcher import SweepWatcher
from comflowy_nb.workflow.axes.expand import even_order, expand
from comflowy_nb.workflow.axes.types import axes_to_json
from comflowy_nb.workflow.canonical import canonical_json
from comflowy_nb.workflow.values import generate_seed, narrowest_field

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from comflowy_nb.database.deduplication import Decision, Kind, Retry
    from comflowy_nb.database.records import CellRecord, RunRecord
    from comflowy_nb.library import Library
    from comflowy_nb.settings import Settings
    from comflowy_nb.tracking.registry import RunRegistry
    from comflowy_nb.tracking.submit import Submitter
    from comflowy_nb.tracking.tracker import Tracker
    from comflowy_nb.workflow.axes.types import Axes, Cell
    from comflowy_nb.workflow.workflow import Workflow

__all__ = ["Draft", "SweepPlanner"]

EACH = " each"  # behind a workflow's key: what one of its runs adds to the time of a sweep


@dataclass(frozen=True, slots=True)
class Draft:
    """A sweep that is laid out and planned, and not entered: nothing is written or sent.

    `drawn` are seeds drawn now, `found` says by request key what stands for it, `takes_up` that a fresh sweep is
    taken up which did not reach its end.
    """

    sweep: Sweep
    intent: SweepRequest
    drawn: Mapping[str, int]
    found: Mapping[str, Decision | None]
    takes_up: bool = False


class SweepPlanner:
    """Of one client; `owner` is the name of its lock file."""

    def __init__(
        self,
        library: Library,
        tracker: Tracker,
        registry: RunRegistry,
        submitter: Submitter,
        *,
        owner: str,
        settings: Settings,
    ) -> None:
        self._library = library
        self._tracker = tracker
        self._registry = registry
        self._submitter = submitter
        self._owner = owner
        self._settings = settings
        self._lock = threading.Lock()
        self._sweeps: weakref.WeakSet[Sweep] = weakref.WeakSet()  # entered or watched
        self._judging = Scheduler("comflowy-sweeps", workers=1)  # of its own: a pause of the service is not for it

    def close(self) -> None:
        self._judging.close()

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
        """Lay a sweep out and say what it would do.

        Seeds are those drawn before, but for a fresh sweep that is begun; one that did not reach its end is taken up.

        Parameters
        ----------
        remember
            Whether seeds drawn now are remembered at once: of two kernels that draw for one sweep the first decides.
        """
        service, history = self._tracker.service, self._library.history
        key = hashlib.sha256(
            canonical_json([service.identity, workflow.content, axes_to_json(axes)]).encode("utf-8", "surrogatepass")
        ).hexdigest()
        known = history.sweeps.same(service.identity, key, fresh=fresh)
        drawn: dict[str, int] = {}

        def seed_of(draw_key: str, fields: tuple[str, ...]) -> int:
            before = None if fresh and known is None else history.seeds.get(draw_key)
            if before is not None:
                return before
            if draw_key in drawn:
                return drawn[draw_key]
            drawn[draw_key] = generate_seed(narrowest_field(workflow, fields))
            return drawn[draw_key]

        def lay_out() -> list[Cell]:
            return expand(axes, workflow_content=workflow.content, identity=service.identity, seed_of=seed_of)

        cells = lay_out()
        if remember and not fresh and drawn and history.seeds.settle(drawn) != drawn:
            cells = lay_out()
        if fresh and known is not None:
            cells = _with_seeds(cells, history.sweeps.cells(known.token), axes)
        keyed = [(cell, self._submitter.key(workflow, cell.params)) for cell in cells]
        intent = SweepRequest(
            token=str(uuid.uuid4()),
            identity=service.identity,
            origin=self._registry.origin,
            service=service.label,
            workflow=workflow.name,
            workflow_id=workflow.id,
            key=key,
            spec={**axes_to_json(axes), "layout": dict(layout)},
            fresh=fresh,
            name=name,
        )
        sweep = Sweep(axes, keyed, workflow=workflow.name, service=service.label, layout=layout, library=self._library)
        taken_up = known.token if fresh and known is not None else None
        keys = [request for _, request in keyed]
        resubmit_lost = service.resubmits_lost
        found = history.sweeps.peek(keys, fresh=fresh, retry=retry, sweep=taken_up, resubmit_lost=resubmit_lost)
        claims = [found[request] for request in keys]
        planned: list[tuple[Kind, RunRecord | None]] = [
            ("new", None) if claim is None else (claim.kind, claim.record) for claim in claims
        ]
        for cell, (kind, record) in zip(sweep.cells, planned, strict=True):
            cell.planned = planned_word(kind, record)
        sweep.plan = make_plan(
            planned,
            now=datetime.now().astimezone(),
            seconds_each=self._seconds_each(workflow),
            cost_per_run=self._settings.cost_per_run,
        )
        return Draft(sweep, intent, drawn, found, takes_up=taken_up is not None)

    def enter(
        self,
        draft: Draft,
        workflow: Workflow,
        *,
        retry: Retry,
        max_runs: int | None,
        stop_after: int,
        window: int | None = None,
    ) -> Sweep:
        """Write the sweep and send what is to be sent, while there is room.

        Raises
        ------
        SettingsError
            If it is more than may be sent.
        WorkflowError, ServiceError
            If an image can't be handed over. Nothing was sent then.
        HistoryError
            If it can't be written. Nothing was sent then.
        """
        sweep, intent, service = draft.sweep, draft.intent, self._tracker.service
        assert sweep.plan is not None
        check_count(sweep.plan, max_runs=max_runs, costs_money=service.costs_money, label=service.label)
        standing = {
            cell: claim for cell in sweep.cells if (claim := draft.found[cell.key]) is not None and claim.kind != "new"
        }
        # All of them first: one that the service does not take must not be found out when half the cells are paid for.
        self._submitter.upload_inputs(cell.params for cell in sweep.cells if cell not in standing)
        sweeps = self._library.history.sweeps
        rows = [(cell.number, cell.at, cell.params, cell.key) for cell in sweep.cells]
        sweep.record = sweeps.enter(intent, rows, seeds=draft.drawn if intent.fresh else None)
        if intent.fresh and not draft.takes_up and sweep.record.token != intent.token:
            ref = sweep.record.ref
            raise HistoryError(
                f"another kernel began this fresh sweep just now ({ref}); run the cell again to share it"
            )
        sweeps.set_cells(sweep.record.token, {cell.number: claim.record.token for cell, claim in standing.items()})
        sizes = sweep.axes.shape
        order = [sweep.cells[index] for index in even_order(sizes)] if sizes else list(sweep.cells)
        sending = SweepSender(
            sweep,
            workflow,
            [cell for cell in order if cell not in standing],
            submitter=self._submitter,
            history=self._library.history,
            tracker=self._tracker,
            judging=self._judging,
            owner=self._owner,
            fresh=intent.fresh,
            retry=retry,
            stop_after=stop_after,
            window=window,
        )
        for cell, claim in standing.items():
            run = self._registry.run(claim.record)
            sending.attach(cell, run, is_ours=False)
            self._registry.refresh(run)
        with self._lock:
            self._sweeps.add(sweep)
        sending.begin()
        self._time(sweep, workflow)
        return sweep

    def watch(self, sweep: Sweep) -> None:
        """See what another kernel sends for a sweep of the history, for as long as it does."""
        with self._lock:
            self._sweeps.add(sweep)
        tracker, history = self._tracker, self._library.history
        SweepWatcher(
            sweep, history=history, registry=self._registry, scheduler=tracker.scheduler, owner=self._owner
        ).begin()

    def _seconds_each(self, workflow: Workflow) -> float | None:
        """What a run adds to the time of a sweep: learned from sweeps, else a run's own time is the upper bound."""
        key = workflow.id or workflow.name
        known = self._library.history.times.of(self._tracker.service.identity, key + EACH)
        return sorted(known)[len(known) // 2] if known else self._tracker.durations.rule_of(key).usual_s

    def _time(self, sweep: Sweep, workflow: Workflow) -> None:
        """Learn what each run added, at the end of a sweep that sent enough to tell."""
        assert sweep.plan is not None
        sent, began_s = sweep.plan.to_send, time.monotonic()
        if sent < 4:
            return
        key = (workflow.id or workflow.name) + EACH

        def learn(each_s: float) -> None:
            self._tracker.durations.keep(key, each_s)

        def note_end() -> None:
            if sweep.stopped is None:
                each_s = (time.monotonic() - began_s) / sent
                self._judging.execute(lambda: learn(each_s))

        sweep.once(lambda: sweep.is_settled, note_end)


def _with_seeds(cells: Sequence[Cell], rows: Sequence[CellRecord], axes: Axes) -> list[Cell]:
    """The cells with the seeds that were drawn for them when the sweep was begun."""
    drawn = {name for wish in axes.seeds for name in wish.fields}
    drawn |= {name for axis in axes.axes if axis.kind == "seeds" for name in axis.fields}
    stored = {row.number: row.params for row in rows}
    return [
        replace(
            cell,
            params=cell.params | {name: value for name, value in stored.get(cell.number, {}).items() if name in drawn},
        )
        for cell in cells
    ]
