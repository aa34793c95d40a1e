"""Decode the response bodies of the Comflowy API v0, strictly if a mistake may cost money or a result.

A decoder raises SchemaError. Its text never quotes values of the response, because they contain tokens and signed URLs.
"""

from __future__ import annotations

import itertools
import math
import re
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec

from comflowy_nb.errors import FieldError, ServiceError
from comflowy_nb.services.http.error_text import json_object, read_message
from comflowy_nb.services.http.responses import (
    Failure,
    SchemaError,
    error_of_status,
    mask_secrets,
    outcome_of_failure,
    rejection_of,
)
from comflowy_nb.services.types import Accepted, Output, Rejected, Unknown, limit_outputs, node_order
from comflowy_nb.settings import Secret
from comflowy_nb.status import Status
from comflowy_nb.workflow.fields import Field
from comflowy_nb.workflow.object_info import read_field

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from comflowy_nb.services.http.responses import Response
    from comflowy_nb.services.types import Outcome


T = TypeVar("T")

STATUSES = {
    str(status): status for status in (Status.WAITING, Status.PENDING, Status.RUNNING, Status.SUCCESS, Status.FAILED)
}


class CheckData(msgspec.Struct):
    """`data` of a response to `check`. Only `status` must be valid, because only it changes the status of a run."""

    status: str
    error: Any = None
    output_images: Any = None
    full_outputs: Any = None

    def __repr__(self) -> str:
        return f"<CheckData {self.status!r}>"  # without URLs


class _Success(msgspec.Struct):
    success: bool


class _Data(msgspec.Struct, Generic[T]):
    data: T


class _Token(msgspec.Struct):
    access_token: str


class _Workflow(msgspec.Struct):
    id: str
    name: str | None = None


class _Node(msgspec.Struct):
    title: str | None = None
    class_type: str | None = None


class _Fields(msgspec.Struct):
    fields: dict[str, Any]
    nodes: dict[str, _Node] | None = None


class _Uploaded(msgspec.Struct):
    name: str
    subfolder: str = ""


# Created at import, on one thread: msgspec describes a type at its first use, and a second thread that decodes the type
# meanwhile crashes the process.
_SUCCESS = msgspec.json.Decoder(_Success)
_TOKEN = msgspec.json.Decoder(_Token)
_CHECK = msgspec.json.Decoder(_Data[CheckData])
_WORKFLOWS = msgspec.json.Decoder(_Data[list[_Workflow]])
_FIELDS = msgspec.json.Decoder(_Data[_Fields])
_UPLOADED = msgspec.json.Decoder(_Uploaded)


def _decode(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    if not body.strip():
        raise SchemaError("the body is empty")
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise SchemaError(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise SchemaError("the body is a web page" if body.lstrip()[:1] == b"<" else "the body is not JSON") from None


def _decode_success(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Decode a response of the form `{success: true, data}`."""
    if not _decode(body, _SUCCESS).success:
        raise SchemaError(read_message(body) or "it reports success: false without a reason", is_rejection=True)
    return _decode(body, decoder)


def read_token(body: bytes) -> Secret:
    """Return the token: from the top level, as documented, or from `data`, as in other responses."""
    rejection = _rejection(body)
    if rejection is not None:
        raise SchemaError(rejection, is_rejection=True)
    response = json_object(body) or {}
    texts = (part.get("access_token") for part in (response, response.get("data")) if isinstance(part, dict))
    text = next((text for text in texts if isinstance(text, str)), None)
    token = Secret((_decode(body, _TOKEN).access_token if text is None else text).strip())
    if not token.is_token():
        raise SchemaError("the access_token is not one word of ASCII - at `$.access_token`")
    return token


def read_check(body: bytes) -> CheckData:
    return _decode_success(body, _CHECK).data


def read_run_id(body: bytes) -> str | None:
    """Return the run id in the response to a submit. An id means that the service has accepted the run."""
    response = json_object(body) or {}
    data = response.get("data")
    for part in (data, response, data[0] if isinstance(data, list) and data else None):
        if isinstance(part, dict) and (run_id := as_run_id(part.get("run_id"))):
            return run_id
    return None


def as_run_id(value: object) -> str | None:
    """Return a run id as text; None for a value that can't be a run id."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        value = int(value) if value.is_integer() else value
    text = str(value)
    return text if text.strip() else None


def _rejection(body: bytes) -> str | None:
    """Return the reason in a response with `success: false`; None for any other response."""
    return read_message(body) if (json_object(body) or {}).get("success") is False else None


def read_confirmed(body: bytes) -> bool:
    """Return whether a response to `cancel` confirms it."""
    if not _decode(body, _SUCCESS).success:
        return False
    data = (json_object(body) or {}).get("data")
    return not (isinstance(data, dict) and data.get("cancelled") is False)


def read_published(body: bytes) -> dict[str, str]:
    """Return the listed workflows as id -> name."""
    return {workflow.id: workflow.name or workflow.id for workflow in _decode_success(body, _WORKFLOWS).data}


def read_described(body: bytes) -> dict[str, Field]:
    """Return the fields of a workflow by id. A field with an invalid description accepts any value."""
    data = _decode_success(body, _FIELDS).data
    fields = {}
    for field_id, spec in data.fields.items():
        node = (data.nodes or {}).get(field_id.split("::", 1)[0], _Node())
        try:
            fields[field_id] = read_field(field_id, spec, node_title=node.title, class_type=node.class_type)
        except FieldError:
            fields[field_id] = Field(field_id, node_title=node.title, class_type=node.class_type)
    return fields


def read_name(body: bytes) -> str:
    """Return the value that selects an uploaded image."""
    uploaded = _decode(body, _UPLOADED)
    if not uploaded.name:
        raise SchemaError("the name is empty - at `$.name`")
    return f"{uploaded.subfolder}/{uploaded.name}" if uploaded.subfolder else uploaded.name


# -- outcomes of a submit ---------------------------------------------------------------------------------------

# With these statuses a server has not begun to process the request; 408, 5xx and the rest may come later.
_REJECTED = frozenset({400, 401, 402, 403, 404, 422, 429})


def read_outcome(response: Response | Failure, label: str, *, hide: tuple[Secret, ...] = ()) -> Outcome:
    """Return the outcome of one POST of a run.

    An outcome is Rejected only if the response proves that the service did not accept the run; all other responses are
    Unknown. A wrong outcome would make the user pay twice, or lose a run that was paid for.

    Parameters
    ----------
    response : Response or Failure
        The result of the request.
    label : str
        The service's name in errors.
    hide : tuple of Secret
        Secrets to mask in the service's message.
    """
    if isinstance(response, Failure):
        return outcome_of_failure(response, label)
    if response.is_ok:
        return _success_outcome(response, label, hide)
    message = mask_secrets(read_message(response.body), hide)
    if response.status not in _REJECTED:
        return Unknown(f"{label} answered with status {response.status}{f': {message}' if message else ''}")
    if response.status in {400, 422}:
        return Rejected(ServiceError(f"{label} rejected it: {message or f'status {response.status}'}"))
    return rejection_of(error_of_status(response, label, "workflow with this id", hide=hide))


def _success_outcome(response: Response, label: str, hide: tuple[Secret, ...]) -> Outcome:
    """Return the outcome of a 2xx response. A run id means Accepted, even if the rest of the body is invalid."""
    run_id = read_run_id(response.body)
    if run_id is not None:
        return Accepted(run_id)
    if response.body_error:
        return Unknown(f"{label}'s response is incomplete: {response.body_error}")
    message = mask_secrets(_rejection(response.body), hide)
    if message is not None:
        return Rejected(ServiceError(f"{label} rejected it: {message}"))
    return Unknown(f"{label}'s response has no run id")


# -- outputs of a run -------------------------------------------------------------------------------------------

# Query parameters with which storage services sign URLs; they differ each time the same image is named.
_SIGNING = re.compile(
    r"(?i)x-(amz|goog|oss|cos|obs)-.+|signature|sig|expires|policy|key-pair-id|awsaccesskeyid|googleaccessid"
    r"|ossaccesskeyid|security-token|token|se|sp|sv|sr|st|skoid|sktid|skt|ske|sks|skv"
)


def read_outputs(output_images: Any, full_outputs: Any) -> tuple[tuple[Output, ...], str | None]:
    """Return every image of a run once, in the same order at every check, and a warning about unusual lists.

    The images of `output_images` come first, in their order, then the images that only `full_outputs` contains, by
    node. The node of an image is read from `full_outputs`.
    """
    problems: list[str] = []
    nodes: dict[str, tuple[str, int, str]] = {}  # image -> its first node, position within it, URL
    for node, position, url in _by_node(full_outputs, problems):
        nodes.setdefault(_without_signature(url), (node, position, url))
    listed = _unique(_urls(output_images, "output_images", problems))
    urls = listed | {image: url for image, (_, _, url) in nodes.items() if image not in listed}
    without_node = itertools.count()
    outputs = []
    for index, (image, url) in enumerate(urls.items()):
        producer, position, _ = nodes.get(image) or (None, next(without_node), url)
        outputs.append(Output(index, producer, position, url))
    limited, warning = limit_outputs(outputs)
    return limited, "; ".join(dict.fromkeys((*filter(None, [warning]), *problems))) or None


def _by_node(full_outputs: Any, problems: list[str]) -> Iterator[tuple[str, int, str]]:
    """Yield the node, the position within the node and the URL of each image."""
    if full_outputs is None:
        return
    if not isinstance(full_outputs, dict):
        problems.append("full_outputs is not an object")
        return
    for node in sorted(full_outputs, key=node_order):
        entry = full_outputs[node]
        source = f"full_outputs of node {node[:40]}"
        if entry is not None and not isinstance(entry, dict | list):
            problems.append(f"{source} is not an object")
            continue
        images = entry.get("images") if isinstance(entry, dict) else entry
        for position, url in enumerate(_unique(_urls(images, source, problems)).values()):
            yield node, position, url


def _unique(urls: Iterable[str]) -> dict[str, str]:
    """Return a mapping from the identity of each image to its first URL."""
    unique: dict[str, str] = {}
    for url in urls:
        unique.setdefault(_without_signature(url), url)
    return unique


def _urls(images: Any, source: str, problems: list[str]) -> Iterator[str]:
    if images is None:
        return
    if not isinstance(images, list):
        problems.append(f"{source} is not a list")
        images = [images] if isinstance(images, str | dict) else []
    missing = 0
    for image in images:
        url = image.get("url") if isinstance(image, dict) else image
        if isinstance(url, str) and url.strip():
            yield url.strip()
        else:
            missing += 1
    if missing:
        is_one = missing == 1
        problems.append(
            f"{missing} of {len(images)} entries of {source} {'is not a URL' if is_one else 'are not URLs'}"
        )


def _without_signature(url: str) -> str:
    """Return a URL without its signature. The result identifies the image."""
    try:
        parts = urlsplit(url)
        query = [(name, value) for name, value in parse_qsl(parts.query, True) if not _SIGNING.fullmatch(name)]
        return parts._replace(query=urlencode(query), fragment="").geturl()
    except ValueError:
        return url
