"""Several ComfyUI servers as one service: a run goes to the one with the fewest under way, and on when one dies."""

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

AWAY_S = 5.0  # a server that could not be reached is tried again after so long


class _Server:
    """One of the servers, and what is under way there."""

    def __init__(self, service: Service, number: int) -> None:
        self.service = service
        self.number = number
        self.under_way: set[str] = set()
        self.is_away = False
        self.failed_s = float("-inf")

    def failed(self) -> None:
        self.failed_s = time.monotonic()
        self.is_away = True

    def answered(self) -> None:
        self.is_away = False


class ComfyUICluster:
    """Servers that a person gave one name.

    Each is asked about its own runs; a run's id is of our making, so it is found wherever it is.

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
        self._at: dict[str, _Server] = {}  # run id -> where it is
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
        """The sum of what each may have; of one that is away only the runs that are followed there still."""
        with self._lock:
            counts = [
                len(server.under_way) if server.is_away else server.service.starts_with or settings.window
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
        """Greet all of them; one that is away is left for later.

        Raises
        ------
        ServiceError
            If none of them answers.
        """
        errors = []
        for server in self._servers:
            try:
                server.service.greet()
            except ServiceError as error:
                server.failed()
                errors.append(error)
        if len(errors) == len(self._servers):
            raise errors[0]

    # -- one run ------------------------------------------------------------------------------------------------

    def submit(self, submission: Submission) -> Outcome:
        """Send it to the server with the fewest runs under way; to the next where nothing was sent at all."""
        tried: set[int] = set()
        outcome: Outcome = Rejected(UnreachableError(f"can't reach any server of {self.label}"), again=True)
        while (server := self._reserve(submission.token, tried)) is not None:
            tried.add(server.number)
            outcome = server.service.submit(submission)
            if isinstance(outcome, Accepted):
                server.answered()
                with self._lock:
                    server.under_way = (server.under_way - {submission.token}) | {outcome.run_id}
                    self._at[outcome.run_id] = server
                return Accepted(outcome.run_id, outcome.remark, Place(server.service.origin, server.service.label))
            with self._lock:
                server.under_way.discard(submission.token)
                if isinstance(outcome, Unknown):
                    self._at[submission.token] = server
            if not (isinstance(outcome, Rejected) and isinstance(outcome.error, UnreachableError)):
                return outcome
            server.failed()
        return outcome

    def _reserve(self, token: str, tried: set[int]) -> _Server | None:
        """The server that is to take the next run: those that were away a moment ago come last."""
        with self._lock:
            free = [server for server in self._servers if server.number not in tried]
            if not free:
                return None
            now_s = time.monotonic()
            best = min(
                free,
                key=lambda server: (
                    server.is_away and now_s - server.failed_s < AWAY_S,
                    len(server.under_way),
                    server.number,
                ),
            )
            best.under_way.add(token)
            return best

    def run_id_of(self, token: str) -> str | None:
        return token

    def check(self, run_id: str) -> Snapshot:
        """Ask the server that took it; where nobody knows which, all of them.

        Raises
        ------
        NotFoundError
            If none has it.
        ServiceError
            If there was no usable answer.
        """
        server = self._at.get(run_id)
        if server is None:
            return self._check_all(run_id)
        try:
            snapshot = server.service.check(run_id)
        except UnreachableError:
            server.failed()
            raise
        except NotFoundError:
            server.answered()
            self._count(run_id, server, is_live=False)
            raise
        server.answered()
        self._count(run_id, server, is_live=snapshot.status.is_live)
        return snapshot

    def _check_all(self, run_id: str) -> Snapshot:
        trouble: ServiceError | None = None
        for server in self._servers:
            try:
                snapshot = server.service.check(run_id)
            except NotFoundError:
                continue
            except ServiceError as error:
                # one that refuses has lost the run, if it had it; one that does not answer may still execute it
                if trouble is None or _refused(trouble):
                    trouble = error
                continue
            if snapshot.status.is_live:
                with self._lock:
                    self._at[run_id] = server
                    server.under_way.add(run_id)
            return snapshot
        raise trouble or NotFoundError(f"no server of {self.label} has it")

    def _count(self, run_id: str, server: _Server, *, is_live: bool) -> None:
        """Count a run among those under way at a server, or no longer."""
        with self._lock:
            (server.under_way.add if is_live else server.under_way.discard)(run_id)

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

    # -- images, and what can be run --------------------------------------------------------------------------

    def open_image(self, output: Output) -> AbstractContextManager[ImageStream]:
        """Open one output where it is: its address names the server."""
        for server in self._servers:
            if output.url.startswith(f"{server.service.origin}/"):
                return server.service.open_image(output)
        return self._servers[0].service.open_image(output)

    def upload(self, name: str, content: bytes) -> str | None:
        """Hand an image to every server that is there: nobody knows yet which will run it.

        Raises
        ------
        ServiceError
            If one that is there refuses it, or none is.
        WorkflowError
            If two would call it differently, as they do where another image has that name at one of them.
        """
        names: set[str | None] = set()
        trouble: ServiceError | None = None
        for server in self._servers:
            try:
                names.add(server.service.upload(name, content))
            except UnreachableError as error:
                server.failed()
                trouble = error
        if len(names) > 1:
            raise WorkflowError(f"the servers of {self.label} hold different images named {name}; rename the file")
        if not names:
            assert trouble is not None
            raise trouble
        return names.pop()

    def workflows(self) -> Sequence[Published] | None:
        return None

    def fields(self, workflow_id: str) -> Mapping[str, Field] | None:
        """As each of them: there are no ids."""
        return self._servers[0].service.fields(workflow_id)

    def graph_fields(self, graph: Graph) -> Mapping[str, Field]:
        return self._first(lambda service: service.graph_fields(graph))

    def last_graph(self) -> Graph | None:
        return self._first(lambda service: service.last_graph())

    def _first(self, ask: Callable[[Service], T]) -> T:
        """What the first server that is there says."""
        trouble: ServiceError | None = None
        for server in sorted(self._servers, key=lambda one: one.is_away):
            try:
                return ask(server.service)
            except UnreachableError as error:
                server.failed()
                trouble = error
        assert trouble is not None
        raise trouble


def _refused(error: ServiceError) -> bool:
    return isinstance(error, UnreachableError) and error.refused
