"""The HTTP routes of a ComfyUI server: send one request each, decode the response or raise a ServiceError."""

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

MAX_RESPONSE_BYTES = 64 * 1024 * 1024  # the queue repeats every graph

T = TypeVar("T")


class Routes:
    """The routes of one server. Every method but `submit` raises a ServiceError without a usable response.

    Parameters
    ----------
    address
        Scheme, host and port, and optionally a path prefix.
    label
        The server's name in messages.
    headers
        Sent with every request; their values are masked in messages.
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
        """Submit a graph once; a Failure does not prove that the server did not accept it."""
        return self._http.exchange("POST", "/prompt", body=body)

    def queue(self) -> QueueState:
        return self._get("/queue", read_queue, what="queue")

    def entry(self, prompt_id: str) -> dict[str, Any] | None:
        """Return the history entry of a run, or None."""
        path = f"/history/{quote(prompt_id, safe='')}"
        return self._get(path, lambda body: read_entry(body, prompt_id), what="history")

    def newest(self) -> dict[str, Any]:
        """Return the newest entry of the history, by prompt id."""
        return self._get("/history", read_object, what="history", query={"max_items": "1"})

    def delete(self, prompt_id: str) -> None:
        """Remove a pending run from the queue."""
        self._post("/queue", {"delete": [prompt_id]}, "queue")

    def interrupt(self, prompt_id: str) -> None:
        """Interrupt a run if it is running."""
        self._post("/interrupt", {"prompt_id": prompt_id}, "interrupt")

    def node_type(self, class_type: str) -> Mapping[str, Any] | None:
        """Return the description of a node class, or None if the server lacks it."""
        found = self._get(f"/object_info/{quote(class_type, safe='')}", read_object, what="node type")
        one = found.get(class_type)
        return one if isinstance(one, dict) else None

    def upload(self, name: str, content: bytes) -> str:
        """Upload an input image; return the name that the server chose."""
        answer = self._http.exchange("POST", "/upload/image", files={"image": (name, content)})
        if isinstance(answer, Response) and answer.status == 413:
            raise ServiceError(f"{self._label} refused {name}: it is larger than it takes")
        return self._read(answer, wire.read_name, "upload")

    # -- requests -----------------------------------------------------------------------------------------------

    def _get(self, path: str, read: Callable[[bytes], T | wire.SchemaError], *, what: str, **options: Any) -> T:
        return self._read(self._http.exchange("GET", path, max_bytes=MAX_RESPONSE_BYTES, **options), read, what)

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
