"""Submits a request: its key, its uploads, its record in the history, and the run that is new or reused."""

from __future__ import annotations

import threading
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

from comflowy_nb.database.records import RunRequest, made_by
from comflowy_nb.errors import NotFoundError, UnreachableError
from comflowy_nb.services.base import Submission
from comflowy_nb.services.http.client import retried
from comflowy_nb.status import Status, StatusEvent
from comflowy_nb.tracking.registry import workflow_key
from comflowy_nb.workflow.fields import FieldType
from comflowy_nb.workflow.graph import Graph
from comflowy_nb.workflow.images import InputImage
from comflowy_nb.workflow.workflow import request_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from comflowy_nb.database.deduplication import Decision, Retry
    from comflowy_nb.database.records import RunRecord
    from comflowy_nb.tracking.registry import RunRegistry
    from comflowy_nb.tracking.run import Run
    from comflowy_nb.tracking.tracker import Tracker
    from comflowy_nb.tracking.uploads import Uploads
    from comflowy_nb.workflow.workflow import Workflow

__all__ = ["Submitter"]

_IMAGES = {FieldType.IMAGEUPLOAD, FieldType.UNKNOWN}


class Submitter:
    """The submits of one client. `owner` is the name of its lock file."""

    def __init__(self, tracker: Tracker, registry: RunRegistry, uploads: Uploads, *, owner: str) -> None:
        self._tracker = tracker
        self._registry = registry
        self._uploads = uploads
        self._owner = owner

    def key(self, workflow: Workflow, values: Mapping[str, Any]) -> str:
        """Return the request key, by which an identical request is recognised: images count by their content."""
        return request_key(self._tracker.service.identity, workflow.content, values)

    def upload_inputs(self, cells: Iterable[Mapping[str, Any]]) -> None:
        """Upload the images among the params of several runs.

        Raises
        ------
        WorkflowError, ServiceError
            If one can't be uploaded.
        """
        self._uploads.upload_all(cells)

    def recall(self, workflow: Workflow, params: Mapping[str, Any]) -> dict[str, Any]:
        """The params of an earlier run, with the images it was given in the place of what the service called them.

        So the same request is known again: images count by their content, whatever the service calls them today.
        """
        identity, history = self._tracker.service.identity, self._tracker.history
        found = dict(params)
        for key, value in params.items():
            one = workflow.fields.get(key)
            if not isinstance(value, str) or (one is not None and one.type not in _IMAGES):
                continue
            content_sha256 = history.inputs.find(identity, value)
            content = None if content_sha256 is None else self._uploads.kept(content_sha256)
            if content_sha256 is not None and content is not None:
                found[key] = InputImage(value, content_sha256, partial(bytes, content))
        return found

    def intent(
        self,
        workflow: Workflow,
        values: Mapping[str, Any],
        *,
        set_params: Sequence[str],
        name: str | None = None,
        cell: tuple[str, int] | None = None,
    ) -> RunRequest:
        """Return a request as it will be submitted; upload its input images now.

        `cell` is the token of a sweep and the number of the cell that the run is for.

        Raises
        ------
        WorkflowError, ServiceError
            If an image can't be uploaded. Nothing was submitted then.
        """
        service = self._tracker.service
        params = self._uploads.replace(values)
        # as it was before the params, so that all cells of a sweep share one in the history
        graph = dict(workflow.graph.nodes) if workflow.id is None and workflow.graph is not None else None
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
        )

    def enter(self, intent: RunRequest, *, fresh: bool, retry: Retry) -> tuple[Decision, Run]:
        """Write the intent and hand the run to the tracker, or find the run that stands for it.

        Raises
        ------
        HistoryError
            If the intent can't be written. Nothing was sent then.
        ServiceError
            If a lost run of this request can't be asked about. Nothing was sent then.
        ComflowyError
            If the run can't be handed over. It is `rejected` then, and was not sent.
        """
        self._tracker.check_open()
        service = self._tracker.service
        claim_it = partial(
            self._tracker.history.claim, intent, fresh=fresh, retry=retry, costs_money=service.costs_money
        )
        claim = claim_it()
        if claim.kind == "held" and claim.record.status is Status.LOST and service.resubmits_lost and retry != "none":
            self._find_again(claim.record)
            claim = claim_it(resubmit_lost=True)
        run = self._registry.run(claim.record)
        if claim.kind == "new":
            try:
                self._hand_over(run, intent)
            except BaseException as error:
                self._tracker.reject(run, f"it was not submitted: {error}")
                raise
        elif claim.kind == "joined":
            self._registry.watch(run)
        elif claim.kind == "same":
            self._registry.refresh(run)
        return claim, run

    def _hand_over(self, run: Run, intent: RunRequest) -> None:
        submission = Submission(
            token=run.token,
            workflow_id=intent.workflow_id,
            params=intent.params,
            graph=None if intent.graph is None else Graph(intent.graph).apply(intent.params),
            made_by=made_by(run.record),
        )
        self._tracker.submit(run, submission, workflow_key(run.record))

    def _find_again(self, record: RunRecord) -> None:
        """Follow a lost run if the service has it after all, as when a tunnel to it was closed for a while.

        Then it is joined; what is not found there is not executed any more, and may be submitted again. A server that
        refuses the connection has no queue.
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

        if retried(has_it, threading.Event()):
            found = self._tracker.history.apply(record.token, StatusEvent.FOUND, service_run_id=run_id)
            if found is not None:
                run = self._registry.run(found)
                self._tracker.follow(run, workflow_key(found))
