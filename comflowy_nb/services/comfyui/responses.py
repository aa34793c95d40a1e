"""Parse the responses of a ComfyUI server: queue, history, outputs and rejected graphs. Pure."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from comflowy_nb.errors import nearest_tip
from comflowy_nb.services.http.error_text import (
    extra_info,
    json_object,
    missing_image,
    one_line,
    read_message,
    read_problem,
    validation_errors,
)
from comflowy_nb.services.http.responses import SchemaError
from comflowy_nb.services.types import Output, Problem, Snapshot, limit_outputs, node_order
from comflowy_nb.status import Status
from comflowy_nb.workflow.graph import link_target
from comflowy_nb.workflow.syntax.json_values import listed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    SocketImages = Mapping[str, Sequence[bytes]]  # node id -> images


_FILE_ENDING = re.compile(r"[a-z0-9]{1,8}")
_STILL_IMAGES = frozenset({"png", "jpg", "jpeg", "webp"})
SOCKET_ONLY = "SaveImageWebsocket"  # its images go through the socket, and the server keeps none


@dataclass(frozen=True, slots=True)
class QueueState:
    """Ids of the running prompts, and of the pending prompts in execution order."""

    running: tuple[str, ...]
    pending: tuple[str, ...]

    def __contains__(self, prompt_id: str) -> bool:
        return prompt_id in self.running or prompt_id in self.pending

    def ahead(self, prompt_id: str) -> int:
        """Return the number of runs before a pending run."""
        return len(self.running) + self.pending.index(prompt_id)


def read_queue(body: bytes) -> QueueState:
    """Parse `GET /queue`. The response has the pending items in heap order; they are sorted by number."""
    queue = read_object(body)
    running, pending = (_queue_items(queue.get(name)) for name in ("queue_running", "queue_pending"))
    pending.sort(key=lambda item: item[0])
    return QueueState(tuple(item[1] for item in running), tuple(item[1] for item in pending))


def _queue_items(items: object) -> list[Any]:
    if not isinstance(items, list):
        raise SchemaError("the body lists no queue")
    return [
        item
        for item in items
        if isinstance(item, list) and len(item) >= 2 and isinstance(item[0], int | float) and isinstance(item[1], str)
    ]


def read_entry(body: bytes, prompt_id: str) -> dict[str, Any] | None:
    """Return the entry of a run in a response of `GET /history/...`, or None."""
    entry = read_object(body).get(prompt_id)
    if entry is None:
        return None
    if not isinstance(entry, dict) or not isinstance(entry.get("status"), dict):
        raise SchemaError("the history entry has no status")
    return entry


def read_object(body: bytes) -> dict[str, Any]:
    """Decode a JSON object."""
    data = json_object(body)
    if data is None:
        kind = "a web page" if body.lstrip()[:1] == b"<" else "not a JSON object" if body.strip() else "empty"
        raise SchemaError(f"the body is {kind}")
    return data


# -- ended runs -------------------------------------------------------------------------------------------------


def snapshot_of(
    entry: Mapping[str, Any],
    address: str,
    titles: Mapping[str, str],
    socket_images: SocketImages | None = None,
) -> Snapshot:
    """Return the final status of a run, from its history entry.

    An interrupt and an error have the same `status_str`; the last message distinguishes them. A prompt with valid and
    invalid outputs is a success.

    Parameters
    ----------
    entry : mapping
        The history entry.
    address : str
        The address of the server, for the URLs of the outputs.
    titles : mapping of str to str
        Node id -> title of the node.
    socket_images : mapping, optional
        Node id -> its images that were received through the socket.
    """
    status = entry["status"]
    name, last = _last_message(status.get("messages"))
    status_str = status.get("status_str") if isinstance(status.get("status_str"), str) else "ended"
    # A failed run may have outputs too.
    outputs, warning = limit_outputs(list(read_outputs(entry.get("outputs"), address, socket_images)))
    times = _execution_times(status.get("messages"))
    if name == "execution_interrupted":
        return Snapshot(Status.CANCELLED, "interrupted", outputs=outputs, warning=warning, times=times)
    if name == "execution_error" or status_str == "error":
        problem = read_problem(last) if last else Problem("the server gave no reason")
        title = titles.get(problem.node or "")
        problem = Problem(problem.message, problem.node, title or problem.node_type)
        return Snapshot(Status.FAILED, "error", problem=problem, outputs=outputs, warning=warning, times=times)
    warning = warning if outputs else _no_outputs(entry)
    return Snapshot(Status.SUCCESS, status_str, outputs=outputs, warning=warning, times=times)


def _last_message(messages: object) -> tuple[str | None, dict[str, Any]]:
    for message in reversed(messages if isinstance(messages, list) else []):
        if isinstance(message, list) and len(message) == 2 and isinstance(message[1], dict):
            return str(message[0]), message[1]
    return None, {}


def _execution_times(messages: object) -> tuple[float, float] | None:
    """Return when the execution began and ended, in seconds since 1970; None if a message is missing."""
    times = {}
    for message in messages if isinstance(messages, list) else []:
        match message:
            case [str() as name, {"timestamp": int() | float() as milliseconds}] if math.isfinite(milliseconds):
                times[name] = milliseconds / 1000
    start_s, end_s = times.get("execution_start"), times.get(_last_message(messages)[0] or "")
    return (start_s, end_s) if start_s is not None and end_s is not None and start_s <= end_s else None


def _no_outputs(entry: Mapping[str, Any]) -> str:
    prompt = entry.get("prompt")
    graph = prompt[2] if isinstance(prompt, list) and len(prompt) > 2 and isinstance(prompt[2], dict) else {}
    if any(isinstance(node, dict) and node.get("class_type") == SOCKET_ONLY for node in graph.values()):
        return (
            f"no image of {SOCKET_ONLY} was received through the socket; use SaveImage, whose images the server stores"
        )
    return "the run made no image"


def read_outputs(outputs: object, address: str, socket_images: SocketImages | None = None) -> Iterator[Output]:
    """Yield the outputs of all nodes: still images by node, then other files and texts. Other entries are skipped."""
    through_socket = (
        Output(0, node, position, "", content=content)
        for node, images in (socket_images or {}).items()
        for position, content in enumerate(images)
    )
    all_outputs = [*_by_node(outputs, address), *through_socket]
    all_outputs.sort(key=lambda output: (output.ending is not None, node_order(output.node or "")))
    yield from (replace(output, index=index) for index, output in enumerate(all_outputs))


def _by_node(outputs: object, address: str) -> Iterator[Output]:
    if not isinstance(outputs, dict):
        return
    for node in sorted(outputs, key=node_order):
        entry = outputs[node] if isinstance(outputs[node], dict) else {}
        animated = entry.get("animated")
        is_animated = isinstance(animated, list) and any(animated)
        position = 0
        for key, items in entry.items():
            for item in items if isinstance(items, list) else ():
                output = _output(item, key, address, node, is_animated=is_animated and key == "images")
                if output is not None:
                    yield replace(output, node_index=position)
                    position += 1


def _output(item: object, key: str, address: str, node: str, *, is_animated: bool) -> Output | None:
    if isinstance(item, str) and item.strip() and key in {"text", "string", "texts"}:
        return Output(0, node, 0, "", "txt", item)
    if not isinstance(item, dict) or not isinstance(item.get("filename"), str):
        return None
    name = item["filename"]
    query = {"filename": name, "subfolder": item.get("subfolder") or "", "type": item.get("type") or "output"}
    stem, _, ending = name.lower().rpartition(".")
    if not stem or not _FILE_ENDING.fullmatch(ending):
        ending = "bin"
    is_still = ending in _STILL_IMAGES and not is_animated
    return Output(0, node, 0, f"{address}/view?{urlencode(query)}", None if is_still else ending)


# -- rejected graphs --------------------------------------------------------------------------------------------

MAX_LISTED_ERRORS = 5  # more errors are counted
MAX_LISTED_CHOICES = 5
MAX_VALUE_CHARS = 80
_MISSING_CLASS = re.compile(r"because node (.+) does not exist|Node '(.+)' not found")
_NODE_ID = re.compile(r"#([^']+)'?")
_CHOICES = re.compile(r"not in (\[.*\])$", re.DOTALL)


def read_rejection(body: bytes, titles: Mapping[str, str], options_of: Callable[[str, str], tuple[str, ...]]) -> str:
    """Parse the body of a 400: return one line with node, field, value and nearest choice of each error.

    Parameters
    ----------
    body : bytes
        The response.
    titles : mapping of str to str
        Node id -> title of the node.
    options_of : callable
        Called with node class and input name; returns the choices. The response leaves out long lists.
    """
    data = json_object(body) or {}
    text = node_errors_text(data.get("node_errors"), titles, options_of)
    if text:
        return text
    error = data.get("error")
    error = error if isinstance(error, dict) else {}
    if error.get("type") == "prompt_outputs_failed_validation":
        return "the nodes of the graph form a cycle"
    missing = _missing_class(error, titles)
    if missing is not None:
        return missing
    if error.get("type") == "prompt_no_outputs":
        return "the graph has no node that saves or shows anything (SaveImage, PreviewImage)"
    return read_message(body) or "the server gave no reason"


def dangling_links(graph: Mapping[str, Any], titles: Mapping[str, str]) -> list[str]:
    """Return a message for each link of a graph to a node that does not exist."""
    return [
        f"node {node} ({titles.get(node, node)}), {name}: it is linked to node {target!r}, which does not exist"
        for node, entry in graph.items()
        for name, value in entry.get("inputs", {}).items()
        if (target := link_target(value)) is not None and target not in graph
    ]


def _missing_class(error: Mapping[str, Any], titles: Mapping[str, str]) -> str | None:
    """Return a message about a node whose class the server does not have, or None."""
    match = _MISSING_CLASS.search(one_line(error.get("message")))
    if error.get("type") not in {"invalid_prompt", "missing_node_type"} or match is None:
        return None
    node = extra_info(error).get("node_id")
    in_details = _NODE_ID.search(one_line(error.get("details")))
    if node is None and in_details:
        node = in_details[1]
    class_type = match[1] or match[2]
    where = "" if node is None else f"node {node} ({titles.get(str(node), class_type)}): "
    return f"{where}the server has no node class {class_type}; install the custom nodes that contain it"


def node_errors_text(
    errors: object, titles: Mapping[str, str], options_of: Callable[[str, str], tuple[str, ...]]
) -> str | None:
    """Return `node_errors` as text, such as `node 3 (KSampler), cfg: 1000 is above 100`; None if there are none."""
    lines = []
    for node, entry, error in validation_errors(errors):
        class_type = str(entry.get("class_type") or "")
        title = titles.get(node) or class_type
        # An error of an upstream node contains the input that leads to it, not an input of the node itself.
        is_inner = error.get("type") == "exception_during_inner_validation"
        name = None if is_inner else extra_info(error).get("input_name")
        where = f"node {node}" + (f" ({title})" if title else "") + (f", {name}" if isinstance(name, str) else "")
        lines.append(f"{where}: {_reason(error, class_type, options_of)}")
    if not lines:
        return None
    more = f"; and {len(lines) - MAX_LISTED_ERRORS} more" if len(lines) > MAX_LISTED_ERRORS else ""
    return "; ".join(lines[:MAX_LISTED_ERRORS]) + more


def _reason(error: Mapping[str, Any], class_type: str, options_of: Callable[[str, str], tuple[str, ...]]) -> str:
    extra = extra_info(error)
    value = _shorten(extra.get("received_value"))
    config = extra.get("input_config")
    config = config if isinstance(config, list) and config else [None]
    limits = config[1] if len(config) > 1 and isinstance(config[1], dict) else {}
    message, details = one_line(error.get("message")), one_line(error.get("details"))
    match error.get("type"):
        case "value_not_in_list":
            listed = config[0] if isinstance(config[0], list) else limits.get("options")
            options = listed if isinstance(listed, list) else []
            return _not_listed(
                extra.get("received_value"),
                [*map(str, options)]
                or options_of(class_type, str(extra.get("input_name")))
                or _quoted_choices(details),
            )
        case "value_smaller_than_min":
            return f"{value} is below {limits.get('min')}, the minimum"
        case "value_bigger_than_max":
            return f"{value} is above {limits.get('max')}, the maximum"
        case "required_input_missing":
            return "it needs a value or a link, and has neither"
        case "invalid_input_type":
            return f"{value} is not {f'of type {config[0]}' if isinstance(config[0], str) else 'a valid value'}"
        case "return_type_mismatch":
            return f"it takes {config[0] or 'another type'}, and the linked node returns {extra.get('received_type')}"
        case "exception_during_validation" | "exception_during_inner_validation":
            kind = str(extra.get("exception_type") or "").rpartition(".")[2]  # its traceback names files of the server
            if kind in {"KeyError", "IndexError", ""}:
                return "a link in it leads to a node or an output that does not exist"
            return f"the server could not check it ({one_line(kind)})"
        case "custom_validation_failed":
            return missing_image(details) or details.partition(" - ")[2] or details or "the node does not accept it"
        case _:
            return ": ".join(filter(None, (message, details))) or "the node does not accept it"


def _not_listed(value: object, options: Sequence[str]) -> str:
    if not options:
        return f"{_shorten(value)} can't be chosen: the server has no choices for this field"
    tip = nearest_tip(str(value), options)
    return f"{_shorten(value)} is not one of {listed(options, MAX_LISTED_CHOICES)}{tip}"


def _quoted_choices(details: str) -> list[str]:
    match = _CHOICES.search(details)
    return re.findall(r"'([^']*)'", match[1]) if match else []


def _shorten(value: object) -> str:
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= MAX_VALUE_CHARS else text[: MAX_VALUE_CHARS - 1] + "…"
