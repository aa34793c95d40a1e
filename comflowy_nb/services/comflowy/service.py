"""The Comflowy open API v0, and the routes that the sandbox adds to it."""

from __future__ import annotations

import copy
import json
import threading
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from comflowy_nb.errors import AnswerError, AuthError, FieldError, NotFoundError, ServiceError
from comflowy_nb.services.base import Problem, Rejected, Snapshot
from comflowy_nb.services.comflowy import schema as wire
from comflowy_nb.services.comflowy.outputs import read_outputs
from comflowy_nb.services.credentials import Tokens
from comflowy_nb.services.http.client import Http, retried
from comflowy_nb.services.http.downloads import Images
from comflowy_nb.services.http.error_text import read_problem
from comflowy_nb.services.http.origins import is_loopback
from comflowy_nb.services.http.responses import (
    Failure,
    Response,
    error_of,
    error_of_status,
    masked,
    rejection_of,
)
from comflowy_nb.status import Status
from comflowy_nb.workflow.field_spec import read_field
from comflowy_nb.workflow.fields import Field

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from comflowy_nb.services.base import Event, ImageStream, Outcome, Output, Published, Submission
    from comflowy_nb.settings import Secret
    from comflowy_nb.workflow.graph import Graph

__all__ = ["Comflowy"]

_API = "/api/open/v0"
_MAX_CHECK_BYTES = 32 * 1024 * 1024  # a result lists the URL of every output, most of them signed
_STATUSES = {
    str(status): status for status in (Status.WAITING, Status.PENDING, Status.RUNNING, Status.SUCCESS, Status.FAILED)
}

T = TypeVar("T")


class Comflowy:
    """A service that speaks the Comflowy API: the hosted one, another, or the sandbox.

    Parameters
    ----------
    origin
        Scheme, host and port, as returned by `origins.origin_of`.
    key
        The API key; sent to `auth/token` only.
    identity, label
        The service's key in the deduplication of requests, and its name in messages.
    kind
        `sandbox` has more routes: cancel, upload, workflows, fields. Another service is asked for the last two, and
        an unexpected response counts as none.
    """

    def __init__(self, origin: str, *, key: Secret, identity: str, label: str, kind: str = "comflowy") -> None:
        self.origin = origin
        self.identity = identity
        self.label = label
        self.kind = kind
        self._key = key
        self._http = Http(origin)
        self._images = Images(origin, label)
        self._tokens = Tokens(self._fetch_token_retrying)
        self._closing = threading.Event()
        self._cancelled: set[str] = set()  # run ids whose cancel the service confirmed

    def __repr__(self) -> str:
        return f"<Comflowy {self.label!r}>"

    @property
    def costs_money(self) -> bool:
        return self.kind != "sandbox" and not self.on_loopback

    @property
    def can_cancel(self) -> bool:
        return self.kind == "sandbox"

    @property
    def can_upload(self) -> bool:
        return self.kind == "sandbox"

    @property
    def runs_graphs(self) -> bool:
        return False

    @property
    def on_loopback(self) -> bool:
        return is_loopback(self.origin)

    @property
    def origins(self) -> frozenset[str]:
        return frozenset({self.origin})

    starts_with: int | None = None
    queue_in_memory = False

    @property
    def resubmits_lost(self) -> bool:
        return self.kind == "sandbox"

    def listen(self, hear: Callable[[Event], None]) -> None:
        """Do nothing: notifications go to `callback_urls`."""

    def run_id_of(self, token: str) -> None:
        """Return None: the service assigns run ids."""

    def close(self) -> None:
        self._closing.set()
        self._http.close()
        self._images.close()

    # -- the token ----------------------------------------------------------------------------------------------

    def greet(self) -> None:
        """Fetch a token, which checks that the service responds and accepts the key."""
        self._tokens.get()

    def _fetch_token_retrying(self) -> Secret:
        return retried(self._fetch_token, self._closing)

    def _fetch_token(self) -> Secret:
        answer = self._http.exchange("GET", f"{_API}/auth/token", query={"ppt": self._key})
        if isinstance(answer, Failure):
            raise error_of(answer, self.label)
        if not answer.is_ok:
            if answer.status == 404:
                raise ServiceError(f"{self.label} has no Comflowy API at its address; is the address right?")
            raise self._error_of_status(answer, "key")
        token = _body_error(answer) or wire.read_token(answer.body)
        if isinstance(token, wire.SchemaError):
            text = masked(token.text, (self._key,))
            if token.is_refusal:
                raise AuthError(f"{self.label} refused the key: {text}; %comflowy login asks for another")
            raise AnswerError(f"{self.label} gave no token: {text}")
        return token

    def _with_token(self, send: Callable[[Secret], Response | Failure]) -> Response | Failure:
        """Send a request with the token, and after a 401 once more with a new token.

        Raises
        ------
        ServiceError
            If no token can be fetched.
        """
        token = self._tokens.get()
        answer = send(token)
        if isinstance(answer, Response) and answer.status == 401:
            answer = send(self._tokens.renew(token))
        return answer

    def _ask(
        self, method: str, path: str, read: Callable[[bytes], T | wire.SchemaError], *, what: str, **options: Any
    ) -> T:
        """Read once, with at most one renewal of the token.

        Raises
        ------
        ServiceError
            If there was no usable response.
        """
        return self._read(self._answer(method, path, **options), read, what=what)

    def _answer(self, method: str, path: str, **options: Any) -> Response:
        answer = self._with_token(lambda token: self._http.exchange(method, path, token=token, **options))
        if isinstance(answer, Failure):
            raise error_of(answer, self.label)
        return answer

    def _read(self, answer: Response, read: Callable[[bytes], T | wire.SchemaError], *, what: str) -> T:
        if not answer.is_ok:
            raise self._error_of_status(answer, what)
        found = _body_error(answer) or read(answer.body)
        if isinstance(found, wire.SchemaError):
            raise AnswerError(f"{self.label} gave no usable answer: {masked(found.text, self._secrets)}")
        return found

    @property
    def _secrets(self) -> tuple[Secret, ...]:
        token = self._tokens.current
        return (self._key,) if token is None else (self._key, token)

    def _error_of_status(self, answer: Response, what: str) -> ServiceError:
        return error_of_status(answer, self.label, what, hide=self._secrets)

    # -- one run ------------------------------------------------------------------------------------------------

    def submit(self, submission: Submission) -> Outcome:
        """Submit one run once: the outcome is accepted, rejected or unknown.

        The request is repeated once after a 401, which proves that it was not accepted, and never otherwise.
        """
        if submission.workflow_id is None:
            text = f"{self.label} runs workflows by their id, and this one has none there"
            return Rejected(ServiceError(text))
        try:
            json.dumps(submission.params, allow_nan=False)
        except (TypeError, ValueError) as error:
            return Rejected(ServiceError(f"the params can't be sent: {error}"))
        try:
            answer = self._with_token(lambda token: self._post_run(submission, token))
        except ServiceError as error:
            # there is no token, at first or after the 401, so the run was not accepted
            return rejection_of(copy.copy(error))
        return wire.read_outcome(answer, self.label, hide=self._secrets)

    def _post_run(self, submission: Submission, token: Secret) -> Response | Failure:
        return self._http.exchange(
            "POST",
            f"{_API}/run",
            token=token,
            body={
                "workflow_id": submission.workflow_id,
                "params": dict(submission.params),
                "callback_urls": dict(submission.callback_urls),
            },
            fresh=True,  # the server may close a kept connection while the request is under way
        )

    def check(self, run_id: str) -> Snapshot:
        """Request the status of a run, once.

        Raises
        ------
        NotFoundError
            If the service knows no such run.
        ServiceError
            If there was no usable response; the run keeps its status.
        """
        path, query = f"{_API}/check", {"id": run_id}
        found = self._ask("POST", path, wire.read_check, what="run", query=query, max_bytes=_MAX_CHECK_BYTES)
        service_status = (masked(found.status, self._secrets) or "")[:100]
        status = _STATUSES.get(service_status, Status.RUNNING)
        remark = None if service_status in _STATUSES else f"{self.label} calls its state {service_status[:40]!r}"
        problem: Problem | None = None
        outputs: tuple[Output, ...] = ()
        if status is Status.FAILED:
            if run_id in self._cancelled and isinstance(found.error, str) and found.error.strip() == "cancelled":
                return Snapshot(Status.CANCELLED, service_status)
            problem = self._problem(found.error)
        elif status is Status.SUCCESS:
            outputs, remark = read_outputs(found.output_images, found.full_outputs)
            if not outputs:
                remark = "; ".join(filter(None, (f"{self.label} named no image", remark)))
        return Snapshot(status, service_status, problem=problem, outputs=outputs, remark=remark)

    def _problem(self, error: object) -> Problem:
        problem = read_problem(error)
        return Problem(masked(problem.message, self._secrets) or "", problem.node, problem.node_type, problem.field)

    def cancel(self, run_id: str) -> bool:
        """Cancel a run; return True if the service confirmed it.

        Raises
        ------
        ServiceError
            If there was no usable response.
        """
        if not self.can_cancel:
            return False
        answer = self._answer("POST", f"{_API}/cancel", query={"id": run_id})
        if answer.status == 409:  # it has ended already
            return False
        confirmed = self._read(answer, wire.read_confirmed, what="run")
        if confirmed:
            self._cancelled.add(run_id)
        return confirmed

    def forget(self, run_id: str) -> None:
        self._cancelled.discard(run_id)

    def open_image(self, output: Output) -> AbstractContextManager[ImageStream]:
        """Open one output image as a context manager."""
        return self._images.open(output.url)

    # -- routes of the sandbox ----------------------------------------------------------------------------------

    def upload(self, name: str, content: bytes) -> str | None:
        """Upload an input image; return None if the service accepts no uploads and needs a URL."""
        if not self.can_upload:
            return None
        files = {"image": (name, content)}
        return self._ask_retrying("POST", "/upload/image", wire.read_name, what="upload", files=files)

    def workflows(self) -> Sequence[Published] | None:
        return self._published("workflows", wire.read_published)

    def fields(self, workflow_id: str) -> Mapping[str, Field] | None:
        described = self._published(f"workflows/{quote(workflow_id, safe='')}", wire.read_described)
        if described is None:
            return None
        found = {}
        for field_id, spec, title, class_type in described:
            try:
                found[field_id] = read_field(field_id, spec, node_title=title, class_type=class_type)
            except FieldError:  # an invalid description: the field accepts any value
                found[field_id] = Field(field_id, node_title=title, class_type=class_type)
        return found

    def graph_fields(self, graph: Graph) -> Mapping[str, Field]:
        """Return the fields of the graph itself: the service does not describe nodes."""
        return graph.fields()

    def last_graph(self) -> None:
        """Return None: the service does not list what it ran."""

    def _published(self, path: str, read: Callable[[bytes], T | wire.SchemaError]) -> T | None:
        """Read a list or description of workflows, or return None if the service has none.

        Only the sandbox documents these routes. Elsewhere a web page, a 401 or a 500 means that there is none, and must
        not prevent a run.
        """
        if self.kind != "sandbox":
            return retried(lambda: self._found(self._answer("GET", f"{_API}/{path}"), read), self._closing)
        try:
            return self._ask_retrying("GET", f"{_API}/{path}", read, what="workflow")
        except NotFoundError:
            return None

    def _found(self, answer: Response, read: Callable[[bytes], T | wire.SchemaError]) -> T | None:
        if answer.status == 429:
            raise self._error_of_status(answer, "workflow")
        found = read(answer.body) if answer.is_ok and not answer.body_error else None
        return None if isinstance(found, wire.SchemaError) else found

    def _ask_retrying(self, method: str, path: str, read: Callable[[bytes], T | wire.SchemaError], **options: Any) -> T:
        return retried(lambda: self._ask(method, path, read, **options), self._closing)


def _body_error(answer: Response) -> wire.SchemaError | None:
    return wire.SchemaError(answer.body_error) if answer.body_error else None
