"""The routes of a ComfyUI server, each asked once: an answer is read, anything else is an error in plain words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from comflowy_nb.errors import AnswerError, ServiceError
from comflowy_nb.services.comflowy import schema as wire
from comflowy_nb.services.comfyui.responses import QueueState, read_entry, read_object, read_queue
from comflowy_nb.services.http.client import Http
from comflowy_nb.services.http.responses import Failure, Response, error_of, error_of_proxy, error_of_status, masked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from comflowy_nb.settings import Secret

__all__ = ["Routes"]

MAX_ANSWER_BYTES = 64 * 1024 * 1024  # the queue repeats every graph, and the node types are many

T = TypeVar("T")


class Routes:
    """Of one server. Every method but `submit` raises a ServiceError where there was no usable answer.

    Parameters
    ----------
    address
        Scheme, host and port, and the path before the routes where there is one.
    label
        What the server is called in a message.
    headers
        Sent with every request; no message repeats their values.
    """

    def __init__(self, address: str, label: str, headers: Mapping[str, Secret] | None) -> None:
        self._label = label
        self._secrets = tuple((headers or {}).values())
        self._http = Http(address, headers)

    def close(self) -> None:
        self._http.close()

    def description(self) -> dict[str, Any]:
        return self._get("/system_stats", read_object, what="description")

    def submit(self, body: Mapping[str, Any]) -> Response | Failure:
        """Send a graph. What became of it is for the caller to tell: it may have been taken without an answer."""
        return self._http.exchange("POST", "/prompt", body=body)

    def queue(self) -> QueueState:
        return self._get("/queue", read_queue, what="queue")

    def entry(self, prompt_id: str) -> dict[str, Any] | None:
        """What the history has of a run; None where it has nothing, or not yet."""
        path = f"/history/{quote(prompt_id, safe='')}"
        return self._get(path, lambda body: read_entry(body, prompt_id), what="history")

    def newest(self) -> dict[str, Any]:
        """The newest entry of the history, by its prompt id."""
        return self._get("/history", read_object, what="history", query={"max_items": "1"})

    def delete(self, prompt_id: str) -> None:
        """Take a run out of the queue; one that is not waiting there is left alone."""
        self._post("/queue", {"delete": [prompt_id]}, "queue")

    def interrupt(self, prompt_id: str) -> None:
        """Interrupt a run, if it is the one that runs."""
        self._post("/interrupt", {"prompt_id": prompt_id}, "interrupt")

    def node_type(self, class_type: str) -> Mapping[str, Any] | None:
        """What the server says of a class of nodes; None where it has none of that name."""
        found = self._get(f"/object_info/{quote(class_type, safe='')}", read_object, what="node type")
        one = found.get(class_type)
        return one if isinstance(one, dict) else None

    def upload(self, name: str, content: bytes) -> str:
        """Hand over an input image; what the server calls it."""
        answer = self._http.exchange("POST", "/upload/image", files={"image": (name, content)})
        if isinstance(answer, Response) and answer.status == 413:
            raise ServiceError(f"{self._label} refused {name}: it is larger than it takes")
        return self._read(answer, wire.read_name, "upload")

    # -- within -------------------------------------------------------------------------------------------------

    def _get(self, path: str, read: Callable[[bytes], T | wire.SchemaError], *, what: str, **options: Any) -> T:
        return self._read(self._http.exchange("GET", path, max_bytes=MAX_ANSWER_BYTES, **options), read, what)

    def _post(self, path: str, body: Mapping[str, Any], what: str) -> None:
        self._read(self._http.exchange("POST", path, body=body), bytes, what)

    def _read(self, answer: Response | Failure, read: Callable[[bytes], T | wire.SchemaError], what: str) -> T:
        if isinstance(answer, Failure):
            raise error_of(answer, self._label)
        if not answer.is_ok:
            refused = error_of_proxy(answer.status, self._label)
            raise refused or error_of_status(answer, self._label, what, hide=self._secrets)
        found = wire.SchemaError(answer.body_error) if answer.body_error else read(answer.body)
        if isinstance(found, wire.SchemaError):
            raise AnswerError(f"{self._label} gave no usable answer: {masked(found.text, self._secrets)}")
        return found
