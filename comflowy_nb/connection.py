"""Connection: one service, and the parts that submit and track its runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from comflowy_nb.database.process_locks import check_not_forked
from comflowy_nb.services.comflowy.webhooks import Receiver
from comflowy_nb.sweeps.planner import SweepPlanner
from comflowy_nb.tracking.registry import RunRegistry
from comflowy_nb.tracking.submit import Submitter
from comflowy_nb.tracking.tracker import Tracker
from comflowy_nb.workflow.finder import Finder
from comflowy_nb.workflow.images import input_of_run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from comflowy_nb.database.process_locks import ProcessLock
    from comflowy_nb.database.records import ImageRecord
    from comflowy_nb.library import Library
    from comflowy_nb.services.base import Service
    from comflowy_nb.settings import Settings
    from comflowy_nb.tracking.run import Run
    from comflowy_nb.workflow.images import InputImage

__all__ = ["Connection"]

IDLE_S = 1.0  # between checks whether the runs of an unreferenced client are settled


class Connection:
    """The tracker, registry, submitter and planner of one client; the `Follower` of its runs.

    Nothing here refers to the client: an unreferenced client is collected, and `close_when_idle` closes its connection.

    Parameters
    ----------
    owner
        The client's lock, which `close` releases.
    """

    def __init__(self, service: Service, library: Library, owner: ProcessLock, *, settings: Settings) -> None:
        self.service = service
        self._library = library
        self._owner = owner
        self._process = os.getpid()
        self.tracker = Tracker(service, library.history, images=library.folder, settings=settings)
        wants_webhooks = settings.webhooks == "on" or settings.callback_url
        if not service.runs_graphs and (wants_webhooks or (settings.webhooks == "auto" and service.on_loopback)):
            self.tracker.receiver = Receiver(self.tracker.handle_event, public_url=settings.callback_url)
        service.listen(self.tracker.handle_event)
        self.registry = RunRegistry(
            self.tracker,
            # the sandbox of a home folder is the same service at any port
            origin="sandbox" if service.kind == "sandbox" else service.origin,
            origins=service.origins,
            owner=owner.name,
            owners=library.locks,
            follower=self,
        )
        self.submitter = Submitter(self.tracker, self.registry, owner=owner.name, inputs=library.inputs)
        self.planner = SweepPlanner(
            library, self.tracker, self.registry, self.submitter, owner=owner.name, settings=settings
        )
        ask = self.tracker.scheduler.run
        self.finder = Finder(
            home=library.home,
            identity=service.identity,
            label=service.label,
            runs_graphs=service.runs_graphs,
            published=self._published,
            described=lambda workflow_id: ask(lambda: service.fields(workflow_id)),
            graph_fields=lambda graph: ask(lambda: service.graph_fields(graph)),
            maker_of=library.maker_of,
            last_graph=lambda: ask(service.last_graph),
        )

    def input_of_run(self, ref: str) -> InputImage:
        """Return an image of an earlier run as an input of a new one; the first one if the reference names a run."""
        found = self._library.find(ref)
        image = found.image if found.image is not None else found.run.images[0]
        return input_of_run(image)

    def check_not_forked(self) -> None:
        """Raise a ComflowyError in a forked child: this connection's threads, locks and sockets are its parent's."""
        check_not_forked(self._process, f"the connection to {self.service.label}")

    def close(self) -> None:
        """Stop tracking, and release the lock, so that other processes may adopt the live runs.

        In a forked child this does nothing: the threads and sockets are its parent's.
        """
        if self._process != os.getpid():
            return
        self.planner.close()
        self.tracker.close()
        if self.tracker.receiver is not None:
            self.tracker.receiver.close()
        self.service.close()
        self._owner.release()

    def close_when_idle(self) -> None:
        """Close as soon as every run and sweep is settled. May be called by a finalizer, on any thread."""
        if self._process == os.getpid():
            self.tracker.scheduler.every(IDLE_S, self._is_in_use)

    def _is_in_use(self) -> bool:
        if not self.tracker.closed and self.registry.is_idle and self.planner.is_idle:
            self.close()
        return not self.tracker.closed

    # -- Follower ----------------------------------------------------------------------------------------------

    def cancel(self, run: Run) -> None:
        self.check_not_forked()
        self.registry.cancel(run)

    def save(self, run: Run, folder: Path) -> list[Path]:
        return self._library.save(run, folder)

    def image_path(self, image: ImageRecord) -> Path:
        return self._library.image_path(image)

    def _published(self) -> Mapping[str, str] | None:
        listed = self.tracker.scheduler.run(self.service.workflows)
        return None if listed is None else {workflow.id: workflow.name for workflow in listed}
