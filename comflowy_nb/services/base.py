"""The protocol of a service: submit, check and cancel runs, and read their images.

A service does HTTP and WebSocket I/O only: the history holds the state of runs. The tracker's threads call its methods
concurrently. To add a service, implement the protocol in a folder beside `comfyui/`, name its target in `targets.py`
and detect it in `connect.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from comflowy_nb.services.types import Event, ImageStream, Outcome, Output, Snapshot, Submission
    from comflowy_nb.settings import Secret
    from comflowy_nb.workflow.fields import Field
    from comflowy_nb.workflow.graph import Graph


class Service(Protocol):
    """A service that runs workflows: Comflowy, the sandbox, a ComfyUI server or several of them.

    Every method may be called from any thread and may do I/O. A service without workflow ids, lists or notifications
    inherits the methods that return None.

    Attributes
    ----------
    kind : str
        `sandbox`, `comflowy` or `comfyui`.
    identity : str
        The key of the service in the deduplication of requests: its name, `sandbox`, or the origin.
    origin : str
        Scheme, host and port; for ComfyUI also the base path. It is never shown in an output.
    origins : frozenset of str
        The origins of all servers of the service.
    label : str
        The short name in messages: the name that the user gave, `sandbox`, `cloud` and so on.
    on_loopback : bool
        Whether all its servers are on this machine.
    costs_money : bool
        Whether a run may cost money.
    can_cancel : bool
        Whether the service can cancel runs.
    can_upload : bool
        Whether it accepts uploads of images; otherwise an image is passed as an https URL.
    runs_graphs : bool
        Whether it runs graphs; otherwise it runs workflows by id.
    queue_in_memory : bool
        Whether accepted runs end with the server process. Then no run exists while connections are refused.
    resubmits_lost : bool
        Whether the same request submits a lost run again, because runs are free and the service does not execute it.

    Examples
    --------
    >>> client.service.kind, client.service.costs_money
    ('sandbox', False)
    >>> client.service.check(run.record.service_run_id).status
    <Status.SUCCESS: 'success'>
    """

    kind: str
    identity: str
    origin: str
    origins: frozenset[str]
    label: str
    on_loopback: bool
    costs_money: bool
    can_cancel: bool
    can_upload: bool
    runs_graphs: bool
    queue_in_memory: bool
    resubmits_lost: bool

    @property
    def starts_with(self) -> int | None:
        """The initial concurrency limit of a service that executes one run at a time, or None."""

    def listen(self, on_event: Callable[[Event], None]) -> None:
        """Start to receive the service's notifications.

        Parameters
        ----------
        on_event : callable
            Called with each notification, on a thread of the service. Its exceptions are ignored.
        """

    def run_id_of(self, token: str) -> str | None:  # noqa: ARG002 - the default of the protocol
        """Return the service's id of a run whose submit had no response.

        Parameters
        ----------
        token : str
            Our uuid4 for the run.

        Returns
        -------
        str or None
            The id; None if the service assigns ids itself, so that the run can't be looked up.
        """
        return None

    def check_access(self) -> None:
        """Check that the service responds and accepts the key.

        Raises
        ------
        ServiceError
            If the service does not respond, or rejects the key.
        """

    def submit(self, submission: Submission) -> Outcome:
        """Submit one run, and never repeat a request that the service may have accepted.

        Parameters
        ----------
        submission : Submission
            The request.

        Returns
        -------
        Accepted, Rejected or Unknown
            Network and service errors are outcomes, never exceptions.
        """

    def check(self, run_id: str) -> Snapshot:
        """Request the status of a run, once.

        Parameters
        ----------
        run_id : str
            The service's id of the run.

        Returns
        -------
        Snapshot
            The status; for an ended run also its outputs or its problem.

        Raises
        ------
        NotFoundError
            If the service does not know the run.
        ServiceError
            If there was no usable response; the run keeps its status.
        """

    def cancel(self, run_id: str) -> bool:
        """Cancel a run.

        Parameters
        ----------
        run_id : str
            The service's id of the run.

        Returns
        -------
        bool
            True if the service confirmed that the run was or will be cancelled.

        Raises
        ------
        ServiceError
            If there was no usable response.
        """

    def forget(self, run_id: str) -> None:
        """Delete the data of a run that is no longer checked.

        Parameters
        ----------
        run_id : str
            The service's id of the run.
        """

    def open_image(self, output: Output) -> AbstractContextManager[ImageStream]:
        """Open one output for reading.

        Parameters
        ----------
        output : Output
            An output of a recent snapshot.

        Returns
        -------
        context manager of ImageStream
            Entering it opens the connection, leaving it closes the connection.

        Raises
        ------
        ServiceError
            If the URL is not allowed (the error names the host), or does not return an image.
        """

    def upload(self, name: str, content: bytes) -> str | None:
        """Upload an input image.

        Parameters
        ----------
        name : str
            The file name; the service may choose another.
        content : bytes
            The image file.

        Returns
        -------
        str or None
            The value to submit for the image, or None if the service accepts no uploads.

        Raises
        ------
        ServiceError
            If the service rejected it or there was no usable response.
        """

    def workflows(self) -> Mapping[str, str] | None:
        """Return the workflows of the service as id -> name, or None if the service does not list workflows.

        Raises
        ------
        ServiceError
            If there was no usable response.
        """
        return None

    def fields(self, workflow_id: str) -> Mapping[str, Field] | None:  # noqa: ARG002 - as above
        """Return the fields of a workflow.

        Parameters
        ----------
        workflow_id : str
            The service's id of the workflow.

        Returns
        -------
        mapping of str to Field, or None
            Field id -> field; None if the service does not describe the workflow.

        Raises
        ------
        ServiceError
            If there was no usable response.
        """
        return None

    def graph_fields(self, graph: Graph) -> Mapping[str, Field]:
        """Return the fields of a graph, with the types and choices of the service's nodes.

        Parameters
        ----------
        graph : Graph
            A graph in API format.

        Returns
        -------
        mapping of str to Field
            Field id -> field, in the order of the graph.

        Raises
        ------
        ServiceError
            If there was no usable response.
        """

    def node_types(self, classes: Sequence[str]) -> Mapping[str, Mapping[str, Any] | None]:  # noqa: ARG002 - as above
        """Return the descriptions of node classes, which are required to convert workflows of ComfyUI's editor.

        Parameters
        ----------
        classes : sequence of str
            Names of node classes.

        Returns
        -------
        mapping of str to mapping or None
            Node class -> its entry in `/object_info`; None if the service does not have the class. Empty if the service
            does not run graphs.

        Raises
        ------
        ServiceError
            If there was no usable response.
        """
        return {}

    def last_graph(self) -> Graph | None:
        """Return the last graph that the service ran, or None if it is unknown.

        Raises
        ------
        ServiceError
            If there was no usable response.
        """
        return None

    def secrets(self) -> tuple[Secret, ...]:
        """Return the secrets to mask in texts of the service.

        Returns
        -------
        tuple of Secret
            The key and the access token; empty for a service without them.
        """
        return ()

    def close(self) -> None:
        """Close the connections; later calls fail."""
