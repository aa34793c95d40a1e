"""Use several ComfyUI servers as one service: submit to the reachable server with the fewest active runs."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from comflowy_nb.errors import NotFoundError, ServiceError, UnreachableError, WorkflowError
from comflowy_nb.services.comfyui.service import GraphService
from comflowy_nb.services.types import Accepted, Rejected, Unknown
from comflowy_nb.settings import settings
from comflowy_nb.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from comflowy_nb.services.base import Service
    from comflowy_nb.services.types import Event, ImageStream, Outcome, Output, Snapshot, Submission
    from comflowy_nb.workflow.fields import Field
    from comflowy_nb.workflow.graph import Graph


T = TypeVar("T")

RETRY_UNREACHABLE_S = 5.0  # time before a server that was unreachable is preferred again


@dataclass(slots=True, eq=False)
class _Member:
    """One server, and its active runs."""

    service: Service
    active: set[str] = field(default_factory=set)
    unreachable_since_s: float | None = None  # None: reachable

    @property
    def is_unreachable(self) -> bool:
        return self.unreachable_since_s is not None

    def mark_unreachable(self) -> None:
        self.unreachable_since_s = time.monotonic()

    @property
    def limit(self) -> int:
        return self.service.starts_with or settings.window


class ComfyUICluster(GraphService):
    """ComfyUI servers under one name.

    A run is checked at the server that accepted it. If that is unknown, all servers are asked for its prompt id, which
    this package generates.

    Parameters
    ----------
    servers : sequence of Service
        The servers, with the same kind and identity.
    identity, label : str
        The key in the deduplication of requests, and the name in messages.
    """

    def __init__(self, servers: Sequence[Service], *, identity: str, label: str) -> None:
        self.identity = identity
        self.label = label
        self.origin = servers[0].origin
        self.origins = frozenset(server.origin for server in servers)
        self.on_loopback = all(server.on_loopback for server in servers)
        self._members = [_Member(server) for server in servers]
        self._at: dict[str, _Member] = {}  # run id -> the server that has it
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<ComfyUICluster {self.label!r}: {len(self._members)}>"

    @property
    def starts_with(self) -> int | None:
        """The sum of the servers' limits. For an unreachable server, only its active runs count."""
        with self._lock:
            total = sum(len(member.active) if member.is_unreachable else member.limit for member in self._members)
        return max(total, self._members[0].limit)

    def listen(self, on_event: Callable[[Event], None]) -> None:
        for member in self._members:
            member.service.listen(on_event)

    def close(self) -> None:
        for member in self._members:
            member.service.close()

    def check_access(self) -> None:
        """Check all servers; ignore unreachable ones.

        Raises
        ------
        ServiceError
            If no server responds.
        """
        errors = []
        for member in self._members:
            try:
                member.service.check_access()
            except ServiceError as error:
                member.mark_unreachable()
                errors.append(error)
        if len(errors) == len(self._members):
            raise errors[0]

    # -- one run ------------------------------------------------------------------------------------------------

    def submit(self, submission: Submission) -> Outcome:
        """Submit to the server with the fewest active runs. Try the next server only if nothing was sent."""
        untried = list(self._members)
        while True:
            member = self._reserve(submission.token, untried)
            untried.remove(member)
            outcome = member.service.submit(submission)
            if isinstance(outcome, Accepted):
                member.unreachable_since_s = None
                with self._lock:
                    member.active = (member.active - {submission.token}) | {outcome.run_id}
                    self._at[outcome.run_id] = member
                return replace(outcome, origin=member.service.origin, label=member.service.label)
            with self._lock:
                member.active.discard(submission.token)
                if isinstance(outcome, Unknown):
                    self._at[submission.token] = member
            if not (isinstance(outcome, Rejected) and isinstance(outcome.error, UnreachableError)):
                return outcome
            member.mark_unreachable()
            if not untried:
                return outcome

    def _reserve(self, token: str, untried: Sequence[_Member]) -> _Member:
        """Choose the server for the next run, and count the run there. Recently unreachable servers come last."""
        with self._lock:
            retried_since_s = time.monotonic() - RETRY_UNREACHABLE_S

            def cost(member: _Member) -> tuple[bool, int]:
                return (member.unreachable_since_s or -math.inf) > retried_since_s, len(member.active)

            best = min(untried, key=cost)
            best.active.add(token)
            return best

    def check(self, run_id: str) -> Snapshot:
        """Check a run at its server, or at all servers if its server is unknown."""
        member = self._at.get(run_id)
        if member is None:
            return self._check_all(run_id)
        try:
            snapshot = member.service.check(run_id)
        except UnreachableError:
            member.mark_unreachable()
            raise
        except NotFoundError:
            member.unreachable_since_s = None
            self._count(run_id, member, is_live=False)
            raise
        member.unreachable_since_s = None
        self._count(run_id, member, is_live=snapshot.status.is_live)
        return snapshot

    def _check_all(self, run_id: str) -> Snapshot:
        last_error: ServiceError | None = None
        for member in self._members:
            try:
                snapshot = member.service.check(run_id)
            except NotFoundError:
                continue
            except ServiceError as error:
                # A server that refuses connections has lost its runs; one that does not respond may still execute it.
                if last_error is None or (isinstance(last_error, UnreachableError) and last_error.refused):
                    last_error = error
                continue
            if snapshot.status.is_live:
                self._at[run_id] = member
                self._count(run_id, member, is_live=True)
            return snapshot
        raise last_error or NotFoundError(f"no server of {self.label} has it")

    def _count(self, run_id: str, member: _Member, *, is_live: bool) -> None:
        """Add a run to the active runs of a server, or remove it."""
        with self._lock:
            (member.active.add if is_live else member.active.discard)(run_id)

    def forget(self, run_id: str) -> None:
        member = self._at.pop(run_id, None)
        if member is not None:
            self._count(run_id, member, is_live=False)
            member.service.forget(run_id)

    def cancel(self, run_id: str) -> bool:
        if run_id not in self._at:
            status = self._check_all(run_id).status
            if not status.is_live:
                return status is Status.CANCELLED
        return self._at[run_id].service.cancel(run_id)

    # -- images and fields --------------------------------------------------------------------------------------

    def open_image(self, output: Output) -> AbstractContextManager[ImageStream]:
        """Open one output at the server in its URL."""
        for member in self._members:
            if output.url.startswith(f"{member.service.origin}/"):
                return member.service.open_image(output)
        return self._members[0].service.open_image(output)

    def upload(self, name: str, content: bytes) -> str | None:
        """Upload an image to every reachable server, because any of them may execute the run.

        Raises
        ------
        ServiceError
            If a reachable server rejects it, or no server is reachable.
        WorkflowError
            If servers store it under different names, because one of them has another image of that name.
        """
        names: set[str | None] = set()
        last_error: ServiceError | None = None
        for member in self._members:
            try:
                names.add(member.service.upload(name, content))
            except UnreachableError as error:
                member.mark_unreachable()
                last_error = error
        if len(names) > 1:
            raise WorkflowError(f"the servers of {self.label} hold different images named {name}; rename the file")
        if not names:
            assert last_error is not None
            raise last_error
        return names.pop()

    def graph_fields(self, graph: Graph) -> Mapping[str, Field]:
        return self._first(lambda service: service.graph_fields(graph))

    def node_types(self, classes: Sequence[str]) -> Mapping[str, Mapping[str, Any] | None]:
        return self._first(lambda service: service.node_types(classes))

    def last_graph(self) -> Graph | None:
        return self._first(lambda service: service.last_graph())

    def _first(self, read: Callable[[Service], T]) -> T:
        """Return the result of the first reachable server."""
        last_error: ServiceError | None = None
        for member in sorted(self._members, key=lambda member: member.is_unreachable):
            try:
                return read(member.service)
            except UnreachableError as error:
                member.mark_unreachable()
                last_error = error
        assert last_error is not None
        raise last_error
