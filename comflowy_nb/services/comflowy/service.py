"""The Comflowy open API v0, as its page documents it, and the few routes that the sandbox adds to it."""

from __future__ import annotations

import copy
import json
import threading
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from comflowy_nb.errors import AnswerError, AuthError, FieldError, NotFoundError, ServiceError
from comflowy_nb.services.base import Problem, Rejected, Snapshot
from comflowy_nb.services.comflowy import schema as wire
from comflowy_nb.services.comflowy.outcomes import outcome_of_refusal, read_outcome
from comflowy_nb.services.comflowy.outputs import read_outputs
from comflowy_nb.services.comflowy.token import Tokens
from comflowy_nb.services.http.client import Http, retried
from comflowy_nb.services.http.downloads import Images
from comflowy_nb.services.http.error_text import read_problem
from comflowy_nb.services.http.origins import is_loopback
from comflowy_nb.services.http.responses import (
    Answer,
    Failure,
    error_of,
    error_of_status,
    masked,
)
from comflowy_nb.status import Status
from comflowy_nb.workflow.fields import Field, read_field

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from comflowy_nb.services.base import Event, ImageStream, Outcome, Output, Published, Submission
    from comflowy_nb.settings import Secret
    from comflowy_nb.workflow.graph import Graph

__all__ = ["Comflowy"]

_API = "/api/open/v0"
_MAX_CHECK_BYTES = 32 * 1024 * 1024  # a result lists the address of every output, and most of them are signed
_WORDS = {
    str(status): status for status in (Status.WAITING, Status.PENDING, Status.RUNNING, Status.SUCCESS, Status.FAILED)
}

T = TypeVar("T")


class Comflowy:
    """A service that speaks the Comflowy API: the hosted one, another, or the sandbox.

    Parameters
    ----------
    origin
        Scheme, host and port, as `origins.origin_of` gives them.
    key
        The API key; it goes to `auth/token` alone.
    identity, label
        What the same-request rule and a person call it.
    kind
        `sandbox` has more routes: cancel, upload, workflows, fields. Elsewhere the last two are asked for, and any
        answer but the right one says that there are none.
    """

    def __init__(self, origin: str, *, key: Secret, identity: str, label: str, kind: str = "comflowy") -> None:
        self.origin = origin
        self.identity = identity
        self.label = label
        self.kind = kind
        self._key = key
        self._http = Http(origin)
        self._images = Images(origin, label)
        self._tokens = Tokens(self._fetch_token_patiently)
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
        """Nothing: what it says by itself goes to `callback_urls`."""

    def run_id_of(self, token: str) -> None:
        """None: the service gives its ids itself."""

    def close(self) -> None:
        self._closing.set()
        self._http.close()
        self._images.close()

    # -- the token ----------------------------------------------------------------------------------------------

    def greet(self) -> None:
        """Get a token: it shows that the service is there and takes the key."""
        self._tokens.get()

    def _fetch_token_patiently(self) -> Secret:
        return retried(self._fetch_token, self._closing)

    def _fetch_token(self) -> Secret:
        answer = self._http.exchange("GET", f"{_API}/auth/token", query={"ppt": self._key})
        if isinstance(answer, Failure):
            raise error_of(answer, self.label)
        if not answer.is_ok:
            if answer.status == 404:
                raise ServiceError(f"{self.label} has no Comflowy API at its address; is the address right?")
            raise self._error_of_status(answer, "key")
        token = _flaw_of(answer) or wire.read_token(answer.body)
        if isinstance(token, wire.SchemaError):
            text = masked(token.text, (self._key,))
            if token.said_no:
                raise AuthError(f"{self.label} refused the key: {text}; %comflowy login asks for another")
            raise AnswerError(f"{self.label} gave no token: {text}")
        return token

    def _with_token(self, send: Callable[[Secret], Answer | Failure]) -> Answer | Failure:
        """Send with the token, and once more with a new one if it was refused.

        Raises
        ------
        ServiceError
            If there is no token to be had.
        """
        token = self._tokens.get()
        answer = send(token)
        if isinstance(answer, Answer) and answer.status == 401:
            answer = send(self._tokens.renew(token))
        return answer

    def _ask(
        self, method: str, path: str, read: Callable[[bytes], T | wire.SchemaError], *, what: str, **options: Any
    ) -> T:
        """One read: one attempt, but for a token renewed once.

        Raises
        ------
        ServiceError
            If there was no usable answer; its kind says which try may help.
        """
        return self._read(self._answer(method, path, **options), read, what=what)

    def _answer(self, method: str, path: str, **options: Any) -> Answer:
        answer = self._with_token(lambda token: self._http.exchange(method, path, token=token, **options))
        if isinstance(answer, Failure):
            raise error_of(answer, self.label)
        return answer

    def _read(self, answer: Answer, read: Callable[[bytes], T | wire.SchemaError], *, what: str) -> T:
        if not answer.is_ok:
            raise self._error_of_status(answer, what)
        found = _flaw_of(answer) or read(answer.body)
        if isinstance(found, wire.SchemaError):
            raise AnswerError(f"{self.label} gave no usable answer: {masked(found.text, self._secrets)}")
        return found

    @property
    def _secrets(self) -> tuple[Secret, ...]:
        token = self._tokens.current
        return (self._key,) if token is None else (self._key, token)

    def _error_of_status(self, answer: Answer, what: str) -> ServiceError:
        return error_of_status(answer, self.label, what, hide=self._secrets)

    # -- one run ------------------------------------------------------------------------------------------------

    def submit(self, submission: Submission) -> Outcome:
        """Send one run once: accepted, surely not taken, or unknown.

        The request is made anew only after a 401, which says that it was not taken, and then once.
        """
        if submission.workflow_id is None:
            words = f"{self.label} runs workflows by their id, and this one has none there"
            return Rejected(ServiceError(words))
        try:
            json.dumps(submission.params, allow_nan=False)
        except (TypeError, ValueError) as error:
            return Rejected(ServiceError(f"the params can't be sent: {error}"))
        try:
            answer = self._with_token(lambda token: self._post_run(submission, token))
        except ServiceError as error:
            # no token, so nothing was sent: at first, or again after the 401
            return outcome_of_refusal(copy.copy(error))
        return read_outcome(answer, self.label, hide=self._secrets)

    def _post_run(self, submission: Submission, token: Secret) -> Answer | Failure:
        return self._http.exchange(
            "POST",
            f"{_API}/run",
            token=token,
            body={
                "workflow_id": submission.workflow_id,
                "params": dict(submission.params),
                "callback_urls": dict(submission.callback_urls),
            },
            fresh=True,  # a kept connection may be closed under the request, and nobody could tell
        )

    def check(self, run_id: str) -> Snapshot:
        """Ask for a run's state, once.

        Raises
        ------
        NotFoundError
            If the service knows no such run.
        ServiceError
            If there was no usable answer: the run's state stays what it was.
        """
        path, query = f"{_API}/check", {"id": run_id}
        found = self._ask("POST", path, wire.read_check, what="run", query=query, max_bytes=_MAX_CHECK_BYTES)
        word = (masked(found.status, self._secrets) or "")[:100]
        status = _WORDS.get(word, Status.RUNNING)
        remark = None if word in _WORDS else f"{self.label} calls its state {word[:40]!r}"
        problem: Problem | None = None
        outputs: tuple[Output, ...] = ()
        if status is Status.FAILED:
            if run_id in self._cancelled and isinstance(found.error, str) and found.error.strip() == "cancelled":
                return Snapshot(Status.CANCELLED, word)
            problem = self._problem(found.error)
        elif status is Status.SUCCESS:
            outputs, remark = read_outputs(found.output_images, found.full_outputs)
            if not outputs:
                remark = "; ".join(filter(None, (f"{self.label} named no image", remark)))
        return Snapshot(status, word, problem=problem, outputs=outputs, remark=remark)

    def _problem(self, error: object) -> Problem:
        problem = read_problem(error)
        return Problem(masked(problem.message, self._secrets) or "", problem.node, problem.node_type, problem.field)

    def cancel(self, run_id: str) -> bool:
        """Ask for an end of the run; True once the service confirmed it.

        Raises
        ------
        ServiceError
            If there was no usable answer.
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
        """Open one output image inside `with`."""
        return self._images.open(output.url)

    # -- what the sandbox adds ----------------------------------------------------------------------------------

    def upload(self, name: str, content: bytes) -> str | None:
        """Hand over an input image; None where the service takes none and a URL must be given instead."""
        if not self.can_upload:
            return None
        files = {"image": (name, content)}
        return self._patiently("POST", "/upload/image", wire.read_name, what="upload", files=files)

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
            except FieldError:  # one odd description; the field takes any value
                found[field_id] = Field(field_id, node_title=title, class_type=class_type)
        return found

    def graph_fields(self, graph: Graph) -> Mapping[str, Field]:
        """As the graph itself tells: the service describes no nodes."""
        return graph.fields()

    def last_graph(self) -> None:
        """None: the service does not tell what it ran."""

    def _published(self, path: str, read: Callable[[bytes], T | wire.SchemaError]) -> T | None:
        """What a service publishes of its own accord; None where it does not.

        Elsewhere than on the sandbox the route is not documented: a web page, a 401 or a 500 there describes no
        workflow, and must not keep anybody from running one.
        """
        if self.kind != "sandbox":
            return retried(lambda: self._found(self._answer("GET", f"{_API}/{path}"), read), self._closing)
        try:
            return self._patiently("GET", f"{_API}/{path}", read, what="workflow")
        except NotFoundError:
            return None

    def _found(self, answer: Answer, read: Callable[[bytes], T | wire.SchemaError]) -> T | None:
        if answer.status == 429:
            raise self._error_of_status(answer, "workflow")
        found = read(answer.body) if answer.is_ok and not answer.flaw else None
        return None if isinstance(found, wire.SchemaError) else found

    def _patiently(self, method: str, path: str, read: Callable[[bytes], T | wire.SchemaError], **options: Any) -> T:
        return retried(lambda: self._ask(method, path, read, **options), self._closing)


def _flaw_of(answer: Answer) -> wire.SchemaError | None:
    return wire.SchemaError(answer.flaw) if answer.flaw else None
