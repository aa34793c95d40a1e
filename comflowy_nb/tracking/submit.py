"""Submit a request: compute its key, upload input images, record it, and return the new or reused run."""

from __future__ import annotations

import contextlib
import threading
import uuid
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from comflowy_nb.database.records import RunRequest, run_metadata
from comflowy_nb.errors import HistoryError, NotFoundError, UnreachableError, WorkflowError
from comflowy_nb.images.inputs import store_input, stored_input
from comflowy_nb.services.http.client import retry_read
from comflowy_nb.services.types import Submission
from comflowy_nb.status import Status, StatusEvent
from comflowy_nb.workflow.graph import Graph
from comflowy_nb.workflow.images import InputImage
from comflowy_nb.workflow.workflow import request_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from comflowy_nb.database.deduplication import Decision
    from comflowy_nb.database.records import RunRecord
    from comflowy_nb.status import DecisionKind, Retry
    from comflowy_nb.tracking.registry import RunRegistry
    from comflowy_nb.tracking.run import Run
    from comflowy_nb.tracking.tracker import Tracker
    from comflowy_nb.workflow.workflow import Workflow


@dataclass(frozen=True, slots=True)
class Submitted:
    """The result of `Client.submit`.

    Parameters
    ----------
    run : Run
        The new or reused run.
    outcome : {"new", "same", "joined", "ended"}
        `new`: submitted now. `same`: an earlier success is reused. `joined`: the run is already live. `ended`: the run
        failed before, and `retry` did not permit another submit. A held run raises RunHeld instead.
    generated_seeds : mapping of str to int
        The seeds that were generated, by field id.

    Examples
    --------
    >>> submitted = client.submit("default", {"cfg": 7, "width": 64, "height": 64, "seed": 50})
    >>> submitted.outcome
    'new'
    >>> client.submit("default", {"cfg": 7, "width": 64, "height": 64, "seed": 50}).run is submitted.run
    True
    """

    run: Run
    outcome: DecisionKind
    generated_seeds: Mapping[str, int]


class Submitter:
    """Submits the requests of one client.

    Parameters
    ----------
    lock_name
        Name of the client's lock file.
    inputs
        Folder for copies of uploaded images, so that a later kernel can continue a sweep without the user's files.
    """

    def __init__(self, tracker: Tracker, registry: RunRegistry, *, lock_name: str, inputs: Path) -> None:
        self._tracker = tracker
        self._registry = registry
        self._owner = lock_name
        self._inputs = inputs
        self._uploads: dict[str, str] = {}  # sha256 of a content -> its name on the service

    # -- input images ---------------------------------------------------------------------------------------------

    def upload_inputs(self, cells: Iterable[Mapping[str, Any]]) -> None:
        """Upload the images among the params of several runs, before any of the runs is submitted.

        Raises
        ------
        WorkflowError, ServiceError
            If an image can't be uploaded. Nothing was submitted.
        """
        params = [item for values in cells for item in values.items()]
        images = {value.content_sha256: (value, field) for field, value in params if isinstance(value, InputImage)}
        for image, field in images.values():
            self._upload(image, field)

    def restore_input_images(
        self, workflow: Workflow | None, params: Mapping[str, Any], *, identity: str | None = None
    ) -> dict[str, Any]:
        """Return the params of an earlier run, with its input images in place of their names on the service.

        The request key then equals the earlier one, because it contains the content of images, not their names.

        Parameters
        ----------
        identity
            That of the service which gave the names, by default this one.
        """
        history = self._tracker.history
        identity = self._tracker.service.identity if identity is None else identity
        restored = dict(params)
        for key, value in params.items():
            field = workflow.fields.get(key) if workflow is not None else None
            if not isinstance(value, str) or (field is not None and not field.type.takes_images):
                continue
            content_sha256 = history.inputs.find(identity, value)
            content = None if content_sha256 is None else stored_input(self._inputs, content_sha256)
            if content_sha256 is not None and content is not None:
                restored[key] = InputImage(value, content_sha256, partial(bytes, content))
        return restored

    def _upload(self, image: InputImage, field: str) -> str:
        """Upload an image, unless it was uploaded before, and store a copy. Return its name on the service."""
        service = self._tracker.service
        name = self._uploads.get(image.content_sha256)
        if name is not None:
            return name
        name = self._tracker.scheduler.run(lambda: service.upload(image.name, image.load()))
        if name is None:
            raise WorkflowError(f"{service.label} accepts no uploads: give {field} the https address of an image")
        self._uploads[image.content_sha256] = name
        with contextlib.suppress(OSError, HistoryError):  # the stored copy is optional
            store_input(self._inputs, image)
            self._tracker.history.inputs.store_name(service.identity, name, image.content_sha256)
        return name

    # -- requests -------------------------------------------------------------------------------------------------

    def key(self, workflow: Workflow, values: Mapping[str, Any]) -> str:
        """Return the request key. Identical requests have the same key; it contains the content of images."""
        return request_key(self._tracker.service.identity, workflow.content, values)

    def build_request(
        self,
        workflow: Workflow,
        values: Mapping[str, Any],
        *,
        set_params: Sequence[str],
        name: str | None = None,
        cell: tuple[str, int] | None = None,
    ) -> RunRequest:
        """Upload the input images, and return the request.

        `cell` is the token of the sweep and the number of the cell.

        Raises
        ------
        WorkflowError, ServiceError
            If an image can't be uploaded. Nothing was submitted then.
        """
        service = self._tracker.service
        params = {
            field_id: self._upload(value, field_id) if isinstance(value, InputImage) else value
            for field_id, value in values.items()
        }
        # The graph without the params, so that the history stores one graph for all cells of a sweep.
        graph = dict(workflow.graph.nodes) if workflow.id is None and workflow.graph is not None else None
        own = {key: field.default for key, field in workflow.fields.items() if field.default is not None}
        return RunRequest(
            token=str(uuid.uuid4()),
            identity=service.identity,
            origin=self._registry.origin,
            service=service.label,
            workflow=workflow.name,
            workflow_id=workflow.id,
            params=params,
            key=self.key(workflow, values),
            owner=self._owner,
            set_params=tuple(set_params),
            name=name,
            cell=cell,
            graph=graph,
            defaults=own if graph is None else None,
        )

    def submit(self, request: RunRequest, *, fresh: bool, retry: Retry) -> tuple[Decision, Run]:
        """Record a request in the history and submit it, or return an earlier run with the same request key.

        Raises
        ------
        HistoryError
            If the request can't be recorded. Nothing was submitted then.
        ServiceError
            If a lost run of this request can't be checked. Nothing was submitted then.
        ComflowyError
            If no thread can be started to submit the run. It becomes `rejected`; nothing was submitted.
        """
        self._tracker.check_open()
        service = self._tracker.service
        record = partial(
            self._tracker.history.record_or_reuse, request, fresh=fresh, retry=retry, costs_money=service.costs_money
        )
        decision = record()
        is_lost = decision.kind == "held" and decision.record.status is Status.LOST
        if is_lost and service.resubmits_lost and retry != "none":
            self._track_if_still_there(decision.record)
            decision = record(resubmit_lost=True)
        run = self._registry.run(decision.record)
        if decision.kind == "new":
            try:
                self._start(run, request)
            except BaseException as error:
                self._tracker.reject(run, f"it was not submitted: {error}")
                raise
        elif decision.kind == "joined":
            self._registry.watch(run)
        elif decision.kind == "same":
            self._registry.refresh(run)
        return decision, run

    def _start(self, run: Run, request: RunRequest) -> None:
        submission = Submission(
            token=run.token,
            workflow_id=request.workflow_id,
            params=request.params,
            graph=None if request.graph is None else Graph(request.graph).apply(request.params),
            metadata=run_metadata(run.record),
        )
        self._tracker.submit(run, submission)

    def _track_if_still_there(self, record: RunRecord) -> None:
        """Track a lost run again if the service still has it, for example after a tunnel was closed.

        Otherwise the service does not execute the run, so it may be submitted again. A refused connection means that
        the server process has ended, together with its queue.
        """
        service = self._tracker.service
        run_id = record.service_run_id or service.run_id_of(record.token)
        if run_id is None or not self._registry.is_here(record):
            return

        def has_it() -> bool:
            try:
                service.check(run_id)
            except NotFoundError:
                return False
            except UnreachableError as error:
                if error.refused and service.queue_in_memory:
                    return False
                raise
            return True

        never_set = threading.Event()  # nothing stops this check
        if retry_read(has_it, never_set):
            tracked_record = self._tracker.history.apply(record.token, StatusEvent.FOUND, service_run_id=run_id)
            if tracked_record is not None:
                self._tracker.track(self._registry.run(tracked_record))
