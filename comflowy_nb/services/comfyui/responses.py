"""What a ComfyUI server's answers say: the queue, the history, the outputs of a run. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from comflowy_nb.services.base import Output, Problem, Snapshot
from comflowy_nb.services.comflowy.outputs import by_number, limited
from comflowy_nb.services.comflowy.schema import SchemaError
from comflowy_nb.services.http.error_text import read_problem
from comflowy_nb.status import Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["SOCKET_ONLY", "QueueState", "read_entry", "read_outputs", "read_queue", "snapshot_of"]

_ENDING = re.compile(r"[a-z0-9]{1,8}")
_STILL = frozenset({"png", "jpg", "jpeg", "webp"})
SOCKET_ONLY = "SaveImageWebsocket"  # its images go through the socket, and the server keeps none


@dataclass(frozen=True, slots=True)
class QueueState:
    """Prompt ids: those that run, and those that wait in the order in which they will run."""

    running: tuple[str, ...]
    pending: tuple[str, ...]

    def __contains__(self, prompt_id: str) -> bool:
        return prompt_id in self.running or prompt_id in self.pending

    def ahead(self, prompt_id: str) -> int:
        """How many runs come before a waiting one."""
        return len(self.running) + self.pending.index(prompt_id)


def read_queue(body: bytes) -> QueueState | SchemaError:
    """The answer of `GET /queue`. Pending items come in heap order; their numbers say which is next."""
    found = _object(body)
    if isinstance(found, SchemaError):
        return found
    lists = found.get("queue_running"), found.get("queue_pending")
    if not all(isinstance(each, list) for each in lists):
        return SchemaError("wrong answer: it lists no queue")
    running, pending = ([item for item in each if _is_item(item)] for each in lists)  # type: ignore[union-attr]
    pending.sort(key=lambda item: item[0])
    return QueueState(tuple(item[1] for item in running), tuple(item[1] for item in pending))


def _is_item(item: object) -> bool:
    return isinstance(item, list) and len(item) >= 2 and isinstance(item[0], (int, float)) and isinstance(item[1], str)


def read_entry(body: bytes, prompt_id: str) -> dict[str, Any] | SchemaError | None:
    """The entry of a run in an answer of `GET /history/...`; None where it is not there."""
    found = _object(body)
    if isinstance(found, SchemaError):
        return found
    entry = found.get(prompt_id)
    if entry is None:
        return None
    if not isinstance(entry, dict) or not isinstance(entry.get("status"), dict):
        return SchemaError("wrong answer: the history does not say how it ended")
    return entry


def _object(body: bytes) -> dict[str, Any] | SchemaError:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        kind = "a web page" if body.lstrip()[:1] == b"<" else "no JSON"
        return SchemaError(f"the answer is {kind}" if body.strip() else "the answer is empty")
    return found if isinstance(found, dict) else SchemaError("wrong answer: it is no object")


def snapshot_of(
    entry: Mapping[str, Any], address: str, titles: Mapping[str, str], told: Mapping[str, Sequence[bytes]] | None = None
) -> Snapshot:
    """How a run ended, by its entry in the history.

    An interrupt and an error have the same `status_str`: the last message tells them apart. A prompt of which only
    some outputs were valid is a success.

    Parameters
    ----------
    address
        Of the server: the outputs are read there.
    titles
        Node id -> what a person calls the node.
    told
        Node id -> its images that came through the socket.
    """
    status = entry["status"]
    name, last = _last_message(status.get("messages"))
    word = status.get("status_str") if isinstance(status.get("status_str"), str) else "ended"
    # of a run that broke off, what it had made
    outputs, more = limited(list(read_outputs(entry.get("outputs"), address, told)))
    remark = "; ".join(more) or None
    if name == "execution_interrupted":
        return Snapshot(Status.CANCELLED, "interrupted", outputs=outputs, remark=remark)
    if name == "execution_error" or word == "error":
        problem = read_problem(last) if last else Problem("the server gave no reason")
        title = titles.get(problem.node or "")
        problem = Problem(problem.message, problem.node, title or problem.node_type)
        return Snapshot(Status.FAILED, "error", problem=problem, outputs=outputs, remark=remark)
    return Snapshot(Status.SUCCESS, word, outputs=outputs, remark=remark if outputs else _no_outputs(entry))


def _last_message(messages: object) -> tuple[str | None, dict[str, Any]]:
    for message in reversed(messages if isinstance(messages, list) else []):
        if isinstance(message, list) and len(message) == 2 and isinstance(message[1], dict):
            return str(message[0]), message[1]
    return None, {}


def _no_outputs(entry: Mapping[str, Any]) -> str:
    prompt = entry.get("prompt")
    graph = prompt[2] if isinstance(prompt, list) and len(prompt) > 2 and isinstance(prompt[2], dict) else {}
    if any(isinstance(node, dict) and node.get("class_type") == SOCKET_ONLY for node in graph.values()):
        return f"no image of {SOCKET_ONLY} came through the socket, and the server keeps none: SaveImage is surer"
    return "it made no image"


def read_outputs(outputs: object, address: str, told: Mapping[str, Sequence[bytes]] | None = None) -> Iterator[Output]:
    """Everything the nodes put out: still images by node, then other files and texts; what is neither is left out."""
    through_socket = (
        Output(0, node, number, "", content=content)
        for node, images in (told or {}).items()
        for number, content in enumerate(images)
    )
    found = [*_by_node(outputs, address), *through_socket]
    found.sort(key=lambda output: (output.ending is not None, by_number(output.node or "")))
    yield from (replace(output, index=index) for index, output in enumerate(found))


def _by_node(outputs: object, address: str) -> Iterator[Output]:
    if not isinstance(outputs, dict):
        return
    for node in sorted(outputs, key=by_number):
        entry = outputs[node]
        position = 0
        for key, listed in entry.items() if isinstance(entry, dict) else ():
            moving = _animated(entry) if key == "images" else False
            for item in listed if isinstance(listed, list) else ():
                made = _output(item, key, address, moving=moving)
                if made is not None:
                    url, ending, text = made
                    yield Output(0, node, position, url, ending, text)
                    position += 1


def _animated(entry: Mapping[str, Any]) -> bool:
    flag = entry.get("animated")
    return isinstance(flag, list) and any(flag)


def _output(item: object, key: str, address: str, *, moving: bool) -> tuple[str, str | None, str | None] | None:
    """Address, ending and text of one output."""
    if isinstance(item, str) and item.strip() and key in {"text", "string", "texts"}:
        return "", "txt", item
    if not isinstance(item, dict) or not isinstance(item.get("filename"), str):
        return None
    query = {
        "filename": item["filename"],
        "subfolder": item.get("subfolder") or "",
        "type": item.get("type") or "output",
    }
    stem, _, ending = item["filename"].lower().rpartition(".")
    if not stem or not _ENDING.fullmatch(ending):
        ending = "bin"
    is_still = ending in _STILL and not moving
    return f"{address}/view?{urlencode(query)}", None if is_still else ending, None
