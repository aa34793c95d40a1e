"""The Comflowy open API v0, and the routes that the sandbox adds to it."""

from __future__ import annotations

import copy
import json
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from comflowy_nb.errors import AnswerError, AuthError, NotFoundError, ServiceError
from comflowy_nb.services.base import Service
from comflowy_nb.services.comflowy import schema
from comflowy_nb.services.credentials import Tokens
from comflowy_nb.services.http.client import Http, retry_read
from comflowy_nb.services.http.downloads import Images
from comflowy_nb.services.http.error_text import read_problem
from comflowy_nb.services.http.responses import (
    Failure,
    Response,
    SchemaError,
    decode_response,
    error_of,
    error_of_status,
    mask_secrets,
    rejection_of,
)
from comflowy_nb.services.targets import is_loopback
from comflowy_nb.services.types import Rejected, Snapshot
from comflowy_nb.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from comflowy_nb.services.types import Event, ImageStream, Outcome, Output, Submission
    from comflowy_nb.settings import Secret
    from comflowy_nb.workflow.fields import Field
    from comflowy_nb.workflow.graph import Graph


_API = "/api/open/v0"
_RUN = "run with this id"
_MAX_CHECK_BYTES = 32 * 1024 * 1024  # a result lists the URL of every output, most of them signed

T = TypeVar("T")


class Comflowy(Service):
    """A service with the Comflowy API: the hosted service, the sandbox, or another server.

    Parameters
    ----------
    origin : str
        Scheme, host and port, as returned by `origin_of`.
    key : Secret
        The API key; sent to `auth/token` only.
    identity, label : str
        The service's key in the deduplication of requests, and its name in messages.
    kind : str
        `sandbox` has more routes: cancel, upload, workflows, fields. `workflows` and `fields` are requested from
        other services too, and an unexpected response is ignored.
    """

    runs_graphs = False
    starts_with: int | None = None
    queue_in_memory = False

    def __init__(self, origin: str, *, key: Secret, identity: str, label: str, kind: str = "comflowy") -> None:
        is_sandbox = kind == "sandbox"
        self.origin = origin
        self.origins = frozenset({origin})
        self.identity = identity
        self.label = label
        self.kind = kind
        self.on_loopback = is_loopback(origin)
        self.costs_money = not is_sandbox and not self.on_loopback
        self.can_cancel = self.can_upload = self.resubmits_lost = is_sandbox
        self._key = key
        self._http = Http(origin)
        self._images = Images(origin, label)
        self._tokens = Tokens(lambda: retry_read(self._fetch_token, self._closing))
        self._closing = threading.Event()
        self._cancelled: set[str] = set()  # run ids whose cancel the service confirmed

    def __repr__(self) -> str:
        return f"<Comflowy {self.label!r}>"

    def listen(self, on_event: Callable[[Event], None]) -> None:
        """Do nothing: notifications go to `callback_urls`."""

    def close(self) -> None:
        self._closing.set()
        self._http.close()
        self._images.close()

    # -- requests -----------------------------------------------------------------------------------------------

    def check_access(self) -> None:
        """Fetch a token, which checks that the service responds and accepts the key."""
        self._tokens.get()

    def _fetch_token(self) -> Secret:
        response = self._http.exchange("GET", f"{_API}/auth/token", query={"ppt": self._key})
        if isinstance(response, Failure):
            raise error_of(response, self.label)
        if response.status == 404:
            raise ServiceError(f"the address of {self.label} has no Comflowy API; {self._address_tip}")
        if not response.is_ok:
            raise error_of_status(response, self.label, "key", hide=self.secrets())
        problem, is_rejection = response.body_error, False
        if problem is None:
            try:
                return schema.read_token(response.body)
            except SchemaError as error:
                problem, is_rejection = mask_secrets(str(error), self.secrets()), error.is_rejection
        if is_rejection:
            raise AuthError(f"{self.label} rejected the key: {problem}; %comflowy login asks for another")
        raise AnswerError(f"{self.label} returned no access token: {problem}; {self._address_tip}")

    @property
    def _address_tip(self) -> str:
        return "check COMFLOWY_URL" if self.label == "cloud" else "check the address"

    def _with_token(self, send: Callable[[Secret], Response | Failure]) -> Response | Failure:
        """Send a request with the token. After a 401, send it once more with a new token.

        Raises
        ------
        ServiceError
            If no token can be fetched.
        """
        token = self._tokens.get()
        response = send(token)
        if isinstance(response, Response) and response.status == 401:
            response = send(self._tokens.get(rejected=token))
        return response

    def _request(self, method: str, path: str, **options: Any) -> Response | Failure:
        return self._with_token(lambda token: self._http.exchange(method, path, token=token, **options))

    def _decode(self, response: Response | Failure, decode: Callable[[bytes], T], requested: str) -> T:
        return decode_response(response, decode, self.label, requested, hide=self.secrets())

    def secrets(self) -> tuple[Secret, ...]:
        token = self._tokens.current
        return (self._key,) if token is None else (self._key, token)

    # -- one run ------------------------------------------------------------------------------------------------

    def submit(self, submission: Submission) -> Outcome:
        """Submit one run. The outcome is Accepted, Rejected or Unknown.

        The request is repeated only after a 401, once, because a 401 proves that the run was not accepted.
        """
        if submission.workflow_id is None:
            return Rejected(ServiceError(f"{self.label} runs workflows only by id, and this workflow has no id for it"))
        try:
            json.dumps(submission.params, allow_nan=False)
        except (TypeError, ValueError) as error:
            return Rejected(ServiceError(f"the params can't be submitted: {error}"))
        try:
            response = self._with_token(lambda token: self._post_run(submission, token))
        except ServiceError as error:
            # There is no token, at first or after the 401, so the run was not accepted.
            return rejection_of(copy.copy(error))
        return schema.read_outcome(response, self.label, hide=self.secrets())

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
            fresh=True,  # the server may close a kept connection while the request is in flight
        )

    def check(self, run_id: str) -> Snapshot:
        response = self._request("POST", f"{_API}/check", query={"id": run_id}, max_bytes=_MAX_CHECK_BYTES)
        data = self._decode(response, schema.read_check, _RUN)
        service_status = (mask_secrets(data.status, self.secrets()) or "")[:100]
        status = schema.STATUSES.get(service_status, Status.RUNNING)  # a run with an unknown status is polled further
        if status is Status.FAILED:
            # The sandbox reports a cancelled run as failed with this error.
            if run_id in self._cancelled and isinstance(data.error, str) and data.error.strip() == "cancelled":
                return Snapshot(Status.CANCELLED, service_status)
            problem = read_problem(data.error)
            problem = replace(problem, message=mask_secrets(problem.message, self.secrets()) or "")
            return Snapshot(status, service_status, problem=problem)
        if status is Status.SUCCESS:
            outputs, warning = schema.read_outputs(data.output_images, data.full_outputs)
            if not outputs:
                warning = "; ".join(filter(None, (f"{self.label} listed no image", warning)))
            return Snapshot(status, service_status, outputs=outputs, warning=warning)
        text = f"{self.label} reported an unknown status: {service_status[:40]!r}"
        return Snapshot(status, service_status, warning=None if service_status in schema.STATUSES else text)

    def cancel(self, run_id: str) -> bool:
        if not self.can_cancel:
            return False
        response = self._request("POST", f"{_API}/cancel", query={"id": run_id})
        if isinstance(response, Response) and response.status == 409:  # the run has already ended
            return False
        is_confirmed = self._decode(response, schema.read_confirmed, _RUN)
        if is_confirmed:
            self._cancelled.add(run_id)
        return is_confirmed

    def forget(self, run_id: str) -> None:
        self._cancelled.discard(run_id)

    def open_image(self, output: Output) -> AbstractContextManager[ImageStream]:
        return self._images.open(output.url)

    # -- routes of the sandbox ----------------------------------------------------------------------------------

    def upload(self, name: str, content: bytes) -> str | None:
        """Upload an input image. Return None if the service accepts no uploads, only URLs."""
        if not self.can_upload:
            return None

        def upload() -> str:
            response = self._request("POST", "/upload/image", files={"image": (name, content)})
            return self._decode(response, schema.read_name, "route for uploads")

        return retry_read(upload, self._closing)

    def workflows(self) -> Mapping[str, str] | None:
        return self._request_optional("workflows", schema.read_published)

    def fields(self, workflow_id: str) -> Mapping[str, Field] | None:
        return self._request_optional(f"workflows/{quote(workflow_id, safe='')}", schema.read_described)

    def graph_fields(self, graph: Graph) -> Mapping[str, Field]:
        """Return the fields of the graph itself, because the service does not describe nodes."""
        return graph.fields()

    def _request_optional(self, path: str, decode: Callable[[bytes], T]) -> T | None:
        """Request a list or a description of workflows; return None if the service does not have this route.

        Only the sandbox documents these routes. Another service may respond with a web page, a 401 or a 500, which must
        not prevent a run.
        """

        def read() -> T | None:
            response = self._request("GET", f"{_API}/{path}")
            # A 429 is decoded below: it raises a RateLimitError, and the request is repeated.
            if isinstance(response, Response) and self.kind != "sandbox" and response.status != 429:
                try:
                    return decode(response.body) if response.is_ok and not response.body_error else None
                except SchemaError:
                    return None
            return self._decode(response, decode, "workflow with this id")

        try:
            return retry_read(read, self._closing)
        except NotFoundError:
            return None
