"""Several ComfyUI servers as one service: submit each run to the reachable server with the fewest active runs."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, TypeVar

from comflowy_nb.errors import NotFoundError, ServiceError, UnreachableError, WorkflowError
from comflowy_nb.services.base import Accepted, Place, Rejected, Unknown
from comflowy_nb.settings import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from comflowy_nb.services.base import (
        Event,
        ImageStream,
        Outcome,
        Output,
        Published,
        Service,
        Snapshot,
        Submission,
    )
    from comflowy_nb.workflow.fields import Field
    from comflowy_nb.workflow.graph import Graph

__all__ = ["ComfyUICluster"]

T = TypeVar("T")

RETRY_UNREACHABLE_S = 5.0  # before a server that could not be reached is preferred again


class _Server:
    """One of the servers, and its active runs."""

    def __init__(self, service: Service, number: int) -> None:
        self.service = service
        self.number = number
        self.active: set[str] = set()
        self.is_unreachable = False
        self.failed_s = float("-inf")

    def mark_unreachable(self) -> None:
        self.failed_s = time.monotonic()
        self.is_unreachable = True

    def mark_reachable(self) -> None:
        self.is_unreachable = False


class ComfyUICluster:
    """ComfyUI servers under one name.

    A run is checked at the server that accepted it. Prompt ids are ours, so a run of unknown server is found by its id.

    Parameters
    ----------
    servers
        Of one kind, with the same identity.
    """

    kind = "comfyui"
    costs_money = False
    can_cancel = True
    can_upload = True
    runs_graphs = True
    queue_in_memory = True
    resubmits_lost = True

    def __init__(self, servers: Sequence[Service], *, identity: str, label: str) -> None:
        self.identity = identity
        self.label = label
        self._servers = [_Server(service, number) for number, service in enumerate(servers)]
        self._at: dict[str, _Server] = {}  # run id -> the server that has it
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<ComfyUICluster {self.label!r}: {len(self._servers)}>"

    @property
    def origin(self) -> str:
        return self._servers[0].service.origin

    @property
    def origins(self) -> frozenset[str]:
        return frozenset(server.service.origin for server in self._servers)

    @property
    def on_loopback(self) -> bool:
        return all(server.service.on_loopback for server in self._servers)

    @property
    def starts_with(self) -> int | None:
        """The sum over all servers; an unreachable one counts its active runs only."""
        with self._lock:
            counts = [
                len(server.active) if server.is_unreachable else server.service.starts_with or settings.window
                for server in self._servers
            ]
        return max(sum(counts), self._servers[0].service.starts_with or settings.window)

    def listen(self, hear: Callable[[Event], None]) -> None:
        for server in self._servers:
            server.service.listen(hear)

    def close(self) -> None:
        for server in self._servers:
            server.service.close()

    def greet(self) -> None:
        """Check all servers; ignore unreachable ones.

        Raises
        ------
        ServiceError
            If no server responds.
        """
        errors = []
        for server in self._servers:
            try:
                server.service.greet()
            except ServiceError as error:
                server.mark_unreachable()
                errors.append(error)
        if len(errors) == len(self._servers):
            raise errors[0]

    # -- one run ------------------------------------------------------------------------------------------------

    def submit(self, submission: Submission) -> Outcome:
        """Submit to the server with the fewest active runs, and to the next one only if nothing was sent."""
        tried: set[int] = set()
        outcome: Outcome = Rejected(UnreachableError(f"can't reach any server of {self.label}"), again=True)
        while (server := self._reserve(submission.token, tried)) is not None:
            tried.add(server.number)
            outcome = server.service.submit(submission)
            if isinstance(outcome, Accepted):
                server.mark_reachable()
                with self._lock:
                    server.active = (server.active - {submission.token}) | {outcome.run_id}
                    self._at[outcome.run_id] = server
                return Accepted(outcome.run_id, outcome.remark, Place(server.service.origin, server.service.label))
            with self._lock:
                server.active.discard(submission.token)
                if isinstance(outcome, Unknown):
                    self._at[submission.token] = server
            if not (isinstance(outcome, Rejected) and isinstance(outcome.error, UnreachableError)):
                return outcome
            server.mark_unreachable()
        return outcome

    def _reserve(self, token: str, tried: set[int]) -> _Server | None:
        """Return the server for the next run, recently unreachable servers last, and count the run there."""
        with self._lock:
            free = [server for server in self._servers if server.number not in tried]
            if not free:
                return None
            now_s = time.monotonic()
            best = min(
                free,
                key=lambda server: (
                    server.is_unreachable and now_s - server.failed_s < RETRY_UNREACHABLE_S,
                    len(server.active),
                    server.number,
                ),
            )
            best.active.add(token)
            return best

    def run_id_of(self, token: str) -> str | None:
        return token

    def check(self, run_id: str) -> Snapshot:
        """Check a run at its server, or at all servers if that is unknown.

        Raises
        ------
        NotFoundError
            If none has it.
        ServiceError
            If there was no usable response.
        """
        server = self._at.get(run_id)
        if server is None:
            return self._check_all(run_id)
        try:
            snapshot = server.service.check(run_id)
        except UnreachableError:
            server.mark_unreachable()
            raise
        except NotFoundError:
            server.mark_reachable()
            self._count(run_id, server, is_live=False)
            raise
        server.mark_reachable()
        self._count(run_id, server, is_live=snapshot.status.is_live)
        return snapshot

    def _check_all(self, run_id: str) -> Snapshot:
        last_error: ServiceError | None = None
        for server in self._servers:
            try:
                snapshot = server.service.check(run_id)
            except NotFoundError:
                continue
            except ServiceError as error:
                # a server that refuses connections has lost its runs; one that does not respond may still execute it
                if last_error is None or _refused(last_error):
                    last_error = error
                continue
            if snapshot.status.is_live:
                with self._lock:
                    self._at[run_id] = server
                    server.active.add(run_id)
            return snapshot
        raise last_error or NotFoundError(f"no server of {self.label} has it")

    def _count(self, run_id: str, server: _Server, *, is_live: bool) -> None:
        """Add or remove a run from the active runs of a server."""
        with self._lock:
            (server.active.add if is_live else server.active.discard)(run_id)

    def forget(self, run_id: str) -> None:
        with self._lock:
            server = self._at.pop(run_id, None)
        if server is not None:
            self._count(run_id, server, is_live=False)
            server.service.forget(run_id)

    def cancel(self, run_id: str) -> bool:
        server = self._at.get(run_id)
        if server is None:
            self._check_all(run_id)
            server = self._at[run_id]
        return server.service.cancel(run_id)

    # -- images and fields ------------------------------------------------------------------------------------

    def open_image(self, output: Output) -> AbstractContextManager[ImageStream]:
        """Open one output at the server in its URL."""
        for server in self._servers:
            if output.url.startswith(f"{server.service.origin}/"):
                return server.service.open_image(output)
        return self._servers[0].service.open_image(output)

    def upload(self, name: str, content: bytes) -> str | None:
        """Upload an image to every reachable server: which one will run it is not known yet.

        Raises
        ------
        ServiceError
            If a reachable server rejects it, or no server is reachable.
        WorkflowError
            If servers store it under different names, because one of them has another image of that name.
        """
        names: set[str | None] = set()
        last_error: ServiceError | None = None
        for server in self._servers:
            try:
                names.add(server.service.upload(name, content))
            except UnreachableError as error:
                server.mark_unreachable()
                last_error = error
        if len(names) > 1:
            raise WorkflowError(f"the servers of {self.label} hold different images named {name}; rename the file")
        if not names:
            assert last_error is not None
            raise last_error
        return names.pop()

    def workflows(self) -> Sequence[Published] | None:
        return None

    def fields(self, workflow_id: str) -> Mapping[str, Field] | None:
        """Return the fields of the first server: there are no workflow ids."""
        return self._servers[0].service.fields(workflow_id)

    def graph_fields(self, graph: Graph) -> Mapping[str, Field]:
        return self._first(lambda service: service.graph_fields(graph))

    def last_graph(self) -> Graph | None:
        return self._first(lambda service: service.last_graph())

    def _first(self, read: Callable[[Service], T]) -> T:
        """Return the result of the first reachable server."""
        last_error: ServiceError | None = None
        for server in sorted(self._servers, key=lambda one: one.is_unreachable):
            try:
                return read(server.service)
            except UnreachableError as error:
                server.mark_unreachable()
                last_error = error
        assert last_error is not None
        raise last_error


def _refused(error: ServiceError) -> bool:
    return isinstance(error, UnreachableError) and error.refused
