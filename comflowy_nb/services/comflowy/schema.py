"""The shapes of the Comflowy API v0, read strictly where a wrong answer must not pass for a right one.

A decoder says what was wrong with an answer; it never repeats what stood in it, because answers hold tokens and
signed addresses.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from comflowy_nb.errors import ServiceError
from comflowy_nb.services.base import Accepted, Published, Rejected, Unknown
from comflowy_nb.services.http.error_text import read_message
from comflowy_nb.services.http.responses import Failure, FailureKind, error_of, error_of_status, masked, rejection_of
from comflowy_nb.settings import Secret

if TYPE_CHECKING:
    from comflowy_nb.services.base import Outcome
    from comflowy_nb.services.http.responses import Response

__all__ = [
    "CheckData",
    "SchemaError",
    "read_check",
    "read_confirmed",
    "read_described",
    "read_name",
    "read_outcome",
    "read_published",
    "read_run_id",
    "read_token",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SchemaError:
    """What was wrong with an answer, in words; the service's own may repeat a secret, so they are not in the repr."""

    text: str = field(repr=False)
    is_refusal: bool = False  # the service answered `success: false`


class CheckData(msgspec.Struct):
    """`data` of an answer to `check`. Only `status` must be right: it alone moves a run."""

    status: str
    error: Any = None
    output_images: Any = None
    full_outputs: Any = None

    def __repr__(self) -> str:
        return f"<CheckData {self.status!r}>"  # no addresses


class _Success(msgspec.Struct):
    success: bool


class _Check(msgspec.Struct):
    data: CheckData


class _Token(msgspec.Struct):
    access_token: str


class _Confirmed(msgspec.Struct):
    data: Any = None


class _Workflow(msgspec.Struct):
    id: str
    name: str | None = None


class _Workflows(msgspec.Struct):
    data: list[_Workflow]


class _Node(msgspec.Struct):
    title: str | None = None
    class_type: str | None = None


class _Fields(msgspec.Struct):
    fields: dict[str, Any]
    nodes: dict[str, _Node] | None = None


class _Described(msgspec.Struct):
    data: _Fields


class _Uploaded(msgspec.Struct):
    name: str
    subfolder: str = ""


def _decode(body: bytes, shape: type[T]) -> T | SchemaError:
    if not body.strip():
        return SchemaError("the answer is empty")
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as error:
        return SchemaError(f"wrong answer: {error}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        kind = "a web page" if body.lstrip()[:1] == b"<" else "no JSON"
        return SchemaError(f"the answer is {kind}")


def _decode_success(body: bytes, shape: type[T]) -> T | SchemaError:
    """An answer of the form `{success: true, data}`."""
    success = _decode(body, _Success)
    if isinstance(success, SchemaError):
        return success
    if not success.success:
        return SchemaError(read_message(body) or "it says success: false and no more", is_refusal=True)
    return _decode(body, shape)


def read_token(body: bytes) -> Secret | SchemaError:
    """The token, whether at the top as documented or under `data` as in the other answers."""
    refused = _refusal(body)
    if refused is not None:
        return SchemaError(refused, is_refusal=True)
    answer = _decode(body, _Token)
    if isinstance(answer, SchemaError):
        inner = _parse(body)
        data = inner.get("data") if isinstance(inner, dict) else None
        token = data.get("access_token") if isinstance(data, dict) else None
        if not isinstance(token, str):
            return answer
        answer = _Token(token)
    token = answer.access_token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        return SchemaError("wrong answer: the access_token is no token - at `$.access_token`")
    return Secret(token)


def read_check(body: bytes) -> CheckData | SchemaError:
    answer = _decode_success(body, _Check)
    return answer if isinstance(answer, SchemaError) else answer.data


def read_run_id(body: bytes) -> str | None:
    """The run id in the answer to a submit, text or number, whatever else is odd about it: the run was taken."""
    answer = _parse(body)
    if not isinstance(answer, dict):
        return None
    data = answer.get("data")
    for place in (data, answer, data[0] if isinstance(data, list) and data else None):
        if isinstance(place, dict) and (run_id := _run_id(place.get("run_id"))):
            return run_id
    return None


def _run_id(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        value = int(value) if value.is_integer() else value
    text = str(value)
    return text if text.strip() else None


def _refusal(body: bytes) -> str | None:
    """The words of an answer that says `success: false` and why; None for any other."""
    answer = _parse(body)
    if not isinstance(answer, dict) or answer.get("success") is not False:
        return None
    return read_message(body)


def read_confirmed(body: bytes) -> bool | SchemaError:
    """Whether an answer to `cancel` confirms it."""
    answer = _decode_success(body, _Confirmed)
    if isinstance(answer, SchemaError):
        return False if answer.is_refusal else answer
    return not (isinstance(answer.data, dict) and answer.data.get("cancelled") is False)


def read_published(body: bytes) -> list[Published] | SchemaError:
    answer = _decode_success(body, _Workflows)
    if isinstance(answer, SchemaError):
        return answer
    return [Published(workflow.id, workflow.name or workflow.id) for workflow in answer.data]


def read_described(body: bytes) -> list[tuple[str, Any, str | None, str | None]] | SchemaError:
    """Field id, description, title of its node, class of its node."""
    answer = _decode_success(body, _Described)
    if isinstance(answer, SchemaError):
        return answer
    nodes = answer.data.nodes or {}
    described = []
    for field_id, spec in answer.data.fields.items():
        node = nodes.get(field_id.split("::", 1)[0], _Node())
        described.append((field_id, spec, node.title, node.class_type))
    return described


def read_name(body: bytes) -> str | SchemaError:
    """The name under which an uploaded image can be used as a value."""
    answer = _decode(body, _Uploaded)
    if isinstance(answer, SchemaError):
        return answer
    if not answer.name:
        return SchemaError("wrong answer: the name is empty - at `$.name`")
    return f"{answer.subfolder}/{answer.name}" if answer.subfolder else answer.name


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


# -- outcomes of a submit ---------------------------------------------------------------------------------------

# With these statuses a server has not begun to process the request; 408, 5xx and the rest may come later.
_REJECTED = frozenset({400, 401, 402, 403, 404, 422, 429})


def read_outcome(response: Response | Failure, label: str, *, hide: tuple[Secret, ...] = ()) -> Outcome:
    """Return the outcome of one POST of a run.

    Only proof that the service did not accept the run counts as rejected; everything not listed here is unknown. A
    wrong answer costs the user a second payment, or a run that was paid for.

    Parameters
    ----------
    label
        The service's name in messages.
    hide
        Secrets to mask in the service's message.
    """
    if isinstance(response, Failure):
        if response.kind is FailureKind.LOST:
            return Unknown(f"{label} gave no answer: {response.text}")
        return Rejected(error_of(response, label), again=response.kind is FailureKind.NOT_SENT)
    if response.is_ok:
        return _success_outcome(response, label, hide)
    if response.status not in _REJECTED:
        return Unknown(f"{label} answered with status {response.status}")
    if response.status in {400, 422}:
        message = masked(read_message(response.body), hide)
        return Rejected(ServiceError(f"{label} refused it: {message or f'status {response.status}'}"))
    return rejection_of(error_of_status(response, label, "workflow", hide=hide))


def _success_outcome(response: Response, label: str, hide: tuple[Secret, ...]) -> Outcome:
    """Return the outcome of a 2xx response: with a run id the service has accepted the run, whatever else is wrong."""
    run_id = read_run_id(response.body)
    if run_id is not None:
        return Accepted(run_id)
    if response.body_error:
        return Unknown(f"{label}'s answer was cut off: {response.body_error}")
    message = masked(_refusal(response.body), hide)
    if message is not None:
        return Rejected(ServiceError(f"{label} refused it: {message}"))
    return Unknown(f"{label} answered without a run id")
