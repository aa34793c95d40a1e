"""Connection: one service, and all that sends and follows runs there."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from comflowy_nb.database.process_locks import check_not_forked
from comflowy_nb.services.comflowy.webhooks import Receiver
from comflowy_nb.sweeps.planner import SweepPlanner
from comflowy_nb.tracking.registry import RunRegistry
from comflowy_nb.tracking.submit import Submitter
from comflowy_nb.tracking.tracker import Tracker
from comflowy_nb.tracking.uploads import Uploads
from comflowy_nb.workflow.finder import Finder
from comflowy_nb.workflow.images import input_of_run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from comflowy_nb.database.process_locks import ProcessLock
    from comflowy_nb.database.records import ImageRecord
    from comflowy_nb.library import Library
    from comflowy_nb.services.base import Event, Service
    from comflowy_nb.settings import Settings
    from comflowy_nb.tracking.run import Run
    from comflowy_nb.workflow.fields import Field
    from comflowy_nb.workflow.graph import Graph
    from comflowy_nb.workflow.images import InputImage

__all__ = ["Connection"]

IDLE_S = 1.0  # how often the connection of a collected client looks whether its runs are settled
MOMENT_S = 1.0  # for so long what a service said of a graph is not asked for again


class Connection:
    """What acts for one client and for its runs (`run.Follower`).

    Nothing here refers to the client: a client that is referred to nowhere else is collected, and `close_when_idle`
    ends its connection.

    Parameters
    ----------
    owner
        The client's lock, let go by `close`.
    """

    def __init__(self, service: Service, library: Library, owner: ProcessLock, *, settings: Settings) -> None:
        self.service = service
        self._library = library
        self._owner = owner
        self._process = os.getpid()
        self._receiver: Receiver | None = None
        self._newest_fields: tuple[Graph, float, Mapping[str, Field]] | None = None  # asked about last, and when
        wants_calls = settings.webhooks == "on" or settings.callback_url
        if not service.runs_graphs and (wants_calls or (settings.webhooks == "auto" and service.on_loopback)):
            self._receiver = Receiver(self._hear, public_url=settings.callback_url)
        self.tracker = Tracker(
            service,
            library.history,
            owner=owner.name,
            owners=library.locks,
            images=library.folder,
            settings=settings,
            receiver=self._receiver,
        )
        service.listen(self._hear)
        # The sandbox of a home folder is one place, whatever port it has today.
        origin = "sandbox" if service.kind == "sandbox" else service.origin
        self.registry = RunRegistry(
            self.tracker, origin=origin, origins=service.origins, owner=owner.name, follower=self
        )
        uploads = Uploads(self.tracker, library.inputs)
        self.submitter = Submitter(self.tracker, self.registry, uploads, owner=owner.name)
        self.planner = SweepPlanner(
            library, self.tracker, self.registry, self.submitter, owner=owner.name, settings=settings
        )
        self.finder = Finder(
            home=library.home,
            identity=service.identity,
            label=service.label,
            runs_graphs=service.runs_graphs,
            published=self._published,
            described=self._described,
            graph_fields=self._graph_fields,
            maker_of=library.maker_of,
            last_graph=lambda: self.tracker.scheduler.run(service.last_graph),
        )

    def input_of_run(self, ref: str) -> InputImage:
        """The image of an earlier run as an input of a new one: its first, unless the reference says which."""
        found = self._library.find(ref)
        image = found.image if found.image is not None else found.run.images[0]
        return input_of_run(image)

    def check_not_forked(self) -> None:
        """Raise a ComflowyError in a forked child: this connection's threads, locks and sockets are its parent's."""
        check_not_forked(self._process, f"the connection to {self.service.label}")

    def close(self) -> None:
        """Stop following and listening; whatever was followed may be taken up by another.

        A forked child has nothing to close: what it closed would be its parent's.
        """
        if self._process != os.getpid():
            return
        self.planner.close()
        self.tracker.close()
        if self._receiver is not None:
            self._receiver.close()
        self.service.close()
        self._owner.release()

    def close_when_idle(self) -> None:
        """Close as soon as every run and sweep is settled. May be called by a finalizer, on any thread."""
        if self._process == os.getpid():  # a forked child closes nothing of its parent's
            self.tracker.scheduler.every(IDLE_S, self._is_in_use)

    def _is_in_use(self) -> bool:
        if not self.tracker.closed and self.registry.is_idle and self.planner.is_idle:
            self.close()
        return not self.tracker.closed

    # -- for the runs -------------------------------------------------------------------------------------------

    def cancel(self, run: Run) -> None:
        self.check_not_forked()
        self.registry.cancel(run)

    def save(self, run: Run, folder: Path) -> list[Path]:
        return self._library.save(run, folder)

    def image_path(self, image: ImageRecord) -> Path:
        return self._library.image_path(image)

    # -- inside -------------------------------------------------------------------------------------------------

    def _hear(self, event: Event) -> None:
        self.tracker.hear(event)

    def _published(self) -> Mapping[str, str] | None:
        listed = self.tracker.scheduler.run(self.service.workflows)
        return None if listed is None else {workflow.id: workflow.name for workflow in listed}

    def _described(self, workflow_id: str) -> Mapping[str, Field] | None:
        return self.tracker.scheduler.run(lambda: self.service.fields(workflow_id))

    def _graph_fields(self, graph: Graph) -> Mapping[str, Field]:
        now_s = time.monotonic()
        if (
            self._newest_fields is not None
            and self._newest_fields[0] is graph
            and now_s - self._newest_fields[1] < MOMENT_S
        ):
            return self._newest_fields[2]  # run after run of the same file
        fields = self.tracker.scheduler.run(lambda: self.service.graph_fields(graph))
        self._newest_fields = (graph, now_s, fields)
        return fields
