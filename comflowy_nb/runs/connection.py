"""Connection: one service, and all that sends and follows runs there."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from comflowy_nb.runs.entrance import Entrance
from comflowy_nb.runs.roster import Roster
from comflowy_nb.runs.sweeper import Sweeper
from comflowy_nb.runs.tracker import Tracker
from comflowy_nb.runs.uploads import Uploads
from comflowy_nb.services.webhooks import Receiver
from comflowy_nb.workflow.finding import Finder
from comflowy_nb.workflow.pictures import picture_of_run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from comflowy_nb.runs.library import Library
    from comflowy_nb.runs.owners import Owner
    from comflowy_nb.runs.run import Follower
    from comflowy_nb.services.base import Event, Service
    from comflowy_nb.settings import Settings
    from comflowy_nb.workflow.fields import Field
    from comflowy_nb.workflow.graph import Graph
    from comflowy_nb.workflow.pictures import PictureInput

__all__ = ["Connection"]

MOMENT_S = 1.0  # for so long what a service said of a graph is not asked for again


class Connection:
    """What acts for one client.

    Parameters
    ----------
    owner
        The client's lock, let go by `close`.
    follower
        Who acts for the runs it makes: the client.
    """

    def __init__(
        self, service: Service, library: Library, owner: Owner, *, follower: Follower, settings: Settings
    ) -> None:
        self.service = service
        self._library = library
        self._owner = owner
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
            pictures=library.folder,
            settings=settings,
            callback_urls=self._receiver.urls if self._receiver else None,
        )
        service.listen(self._hear)
        # The sandbox of a home folder is one place, whatever port it has today.
        origin = "sandbox" if service.kind == "sandbox" else service.origin
        self.roster = Roster(
            library, self.tracker, origin=origin, origins=service.origins, owner=owner.name, follower=follower
        )
        uploads = Uploads(self.tracker, library.inputs)
        self.entrance = Entrance(library, self.tracker, self.roster, uploads, owner=owner.name)
        self.sweeper = Sweeper(library, self.tracker, self.roster, self.entrance, owner=owner.name, settings=settings)
        self.finder = Finder(
            home=library.home,
            identity=service.identity,
            label=service.label,
            runs_graphs=service.runs_graphs,
            published=self._published,
            described=self._described,
            graph_fields=self._graph_fields,
            maker_of=library.maker_of,
            last_graph=lambda: self.tracker.wait_for(service.last_graph),
        )

    def picture_of_run(self, ref: str) -> PictureInput:
        """The picture of an earlier run as an input of a new one: its first, unless the reference says which."""
        found = self._library.find(ref)
        image = found.image if found.image is not None else found.run.images[0]
        return picture_of_run(image)

    def close(self) -> None:
        """Stop following and listening; whatever was followed may be taken up by another."""
        self.tracker.close()
        if self._receiver is not None:
            self._receiver.close()
        self.service.close()
        self._owner.release()

    def _hear(self, event: Event) -> None:
        self.tracker.hear(event)

    def _published(self) -> Mapping[str, str] | None:
        listed = self.tracker.wait_for(self.service.workflows)
        return None if listed is None else {workflow.id: workflow.name for workflow in listed}

    def _described(self, workflow_id: str) -> Mapping[str, Field] | None:
        return self.tracker.wait_for(lambda: self.service.fields(workflow_id))

    def _graph_fields(self, graph: Graph) -> Mapping[str, Field]:
        now_s = time.monotonic()
        if (
            self._newest_fields is not None
            and self._newest_fields[0] is graph
            and now_s - self._newest_fields[1] < MOMENT_S
        ):
            return self._newest_fields[2]  # run after run of the same file
        fields = self.tracker.wait_for(lambda: self.service.graph_fields(graph))
        self._newest_fields = (graph, now_s, fields)
        return fields
