"""Parse the responses of a ComfyUI server: the queue, the history, the outputs of a run, refused graphs. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from comflowy_nb.services.base import Output, Problem, Snapshot
from comflowy_nb.services.comflowy.outputs import by_number, limited
from comflowy_nb.services.comflowy.schema import SchemaError
from comflowy_nb.services.http.error_text import read_message, read_problem, without_credentials
from comflowy_nb.status import Status
from comflowy_nb.workflow.fields import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    SocketImages = Mapping[str, Sequence[bytes]]  # node id -> images

__all__ = [
    "SOCKET_ONLY",
    "QueueState",
    "dangling_links",
    "node_errors_text",
    "read_entry",
    "read_object",
    "read_outputs",
    "read_queue",
    "read_refusal",
    "snapshot_of",
]

_ENDING = re.compile(r"[a-z0-9]{1,8}")
_STILL = frozenset({"png", "jpg", "jpeg", "webp"})
SOCKET_ONLY = "SaveImageWebsocket"  # its images go through the socket, and the server keeps none


@dataclass(frozen=True, slots=True)
class QueueState:
    """Prompt ids of running prompts, and of pending ones in the order of execution."""

    running: tuple[str, ...]
    pending: tuple[str, ...]

    def __contains__(self, prompt_id: str) -> bool:
        return prompt_id in self.running or prompt_id in self.pending

    def ahead(self, prompt_id: str) -> int:
        """Return the number of runs before a pending one."""
        return len(self.running) + self.pending.index(prompt_id)


def read_queue(body: bytes) -> QueueState | SchemaError:
    """Parse `GET /queue`; pending items come in heap order and are sorted by their numbers."""
    found = read_object(body)
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
    """Return the entry of a run in a response of `GET /history/...`, or None."""
    found = read_object(body)
    if isinstance(found, SchemaError):
        return found
    entry = found.get(prompt_id)
    if entry is None:
        return None
    if not isinstance(entry, dict) or not isinstance(entry.get("status"), dict):
        return SchemaError("wrong answer: the history does not say how it ended")
    return entry


def read_object(body: bytes) -> dict[str, Any] | SchemaError:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        kind = "a web page" if body.lstrip()[:1] == b"<" else "no JSON"
        return SchemaError(f"the answer is {kind}" if body.strip() else "the answer is empty")
    return found if isinstance(found, dict) else SchemaError("wrong answer: it is no object")


def snapshot_of(
    entry: Mapping[str, Any],
    address: str,
    titles: Mapping[str, str],
    socket_images: SocketImages | None = None,
) -> Snapshot:
    """Return how a run ended, from its history entry.

    An interrupt and an error have the same `status_str`: the last message distinguishes them. A prompt of which only
    some outputs were valid is a success.

    Parameters
    ----------
    address
        The server's, for the URLs of the outputs.
    titles
        Node id -> title of the node.
    socket_images
        Node id -> its images that came through the socket.
    """
    status = entry["status"]
    name, last = _last_message(status.get("messages"))
    status_str = status.get("status_str") if isinstance(status.get("status_str"), str) else "ended"
    # a failed run may have outputs too
    outputs, more = limited(list(read_outputs(entry.get("outputs"), address, socket_images)))
    remark = "; ".join(more) or None
    if name == "execution_interrupted":
        return Snapshot(Status.CANCELLED, "interrupted", outputs=outputs, remark=remark)
    if name == "execution_error" or status_str == "error":
        problem = read_problem(last) if last else Problem("the server gave no reason")
        title = titles.get(problem.node or "")
        problem = Problem(problem.message, problem.node, title or problem.node_type)
        return Snapshot(Status.FAILED, "error", problem=problem, outputs=outputs, remark=remark)
    return Snapshot(Status.SUCCESS, status_str, outputs=outputs, remark=remark if outputs else _no_outputs(entry))


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


def read_outputs(outputs: object, address: str, socket_images: SocketImages | None = None) -> Iterator[Output]:
    """Yield the outputs of all nodes: still images by node, then other files and texts; skip anything else."""
    through_socket = (
        Output(0, node, number, "", content=content)
        for node, images in (socket_images or {}).items()
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
    """Return URL, file ending and text of one output."""
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


# -- refused graphs ---------------------------------------------------------------------------------------------

_MAX_ERRORS = 5  # errors listed; the others are counted
_MAX_CHOICES = 5  # choices listed
_MAX_VALUE_CHARS = 80
_NO_CLASS = re.compile(r"because node (.+) does not exist|Node '(.+)' not found")
_NODE_ID = re.compile(r"#([^']+)'?")
_DETAILS = re.compile(r"not in (\[.*\])$", re.DOTALL)


def read_refusal(body: bytes, titles: Mapping[str, str], options_of: Callable[[str, str], tuple[str, ...]]) -> str:
    """Return one line from the body of a 400: node, field, value and nearest choice of each error.

    Parameters
    ----------
    titles
        Node id -> title of the node.
    options_of
        Node class and input name -> the choices: the response omits long lists.
    """
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        return read_message(body) or "it gave no reason"
    errors = found.get("node_errors")
    words = node_errors_text(errors, titles, options_of)
    if words:
        return words
    error = found.get("error")
    kind = error.get("type") if isinstance(error, dict) else None
    if kind == "prompt_outputs_failed_validation":
        return "the nodes of its graph go round in a circle"
    missing = _missing_class(error, titles) if isinstance(error, dict) else None
    if missing is not None:
        return missing
    if kind == "prompt_no_outputs":
        return "its graph has no node that saves or shows anything (SaveImage, PreviewImage)"
    return read_message(body) or "it gave no reason"


def dangling_links(graph: Mapping[str, Any], titles: Mapping[str, str]) -> list[str]:
    """Return a message for each link of a graph to a node that it does not have."""
    return [
        f"node {node} ({titles.get(node, node)}), {name}: a link in it leads to no node: there is no {str(value[0])!r}"
        for node, one in graph.items()
        for name, value in one.get("inputs", {}).items()
        if isinstance(value, list) and len(value) == 2 and isinstance(value[1], int) and str(value[0]) not in graph
    ]


def _missing_class(error: Mapping[str, Any], titles: Mapping[str, str]) -> str | None:
    """Return a message about the node whose class the server lacks, or None."""
    found = _NO_CLASS.search(_text(error.get("message")))
    if error.get("type") not in {"invalid_prompt", "missing_node_type"} or found is None:
        return None
    extra = error.get("extra_info")
    node = extra.get("node_id") if isinstance(extra, dict) else None
    in_details = _NODE_ID.search(_text(error.get("details")))
    node = str(node) if node is not None else in_details[1] if in_details else None
    class_type = next(one for one in found.groups() if one)
    where = "" if node is None else f"node {node} ({titles.get(node, class_type)}): "
    return f"{where}node {class_type} does not exist there; install the custom nodes that bring it"


def node_errors_text(
    errors: object, titles: Mapping[str, str], options_of: Callable[[str, str], tuple[str, ...]]
) -> str | None:
    """Return `node_errors` as text, each as `node 3 (KSampler), cfg: 1000 is above 100`; None if there are none."""
    if not isinstance(errors, dict):
        return None
    lines = []
    for node, entry in errors.items():
        listed = entry.get("errors") if isinstance(entry, dict) else None
        found = [error for error in listed if isinstance(error, dict)] if isinstance(listed, list) else []
        lines += [_line(str(node), entry, error, titles, options_of) for error in found]
    if not lines:
        return None
    more = f"; and {len(lines) - _MAX_ERRORS} more" if len(lines) > _MAX_ERRORS else ""
    return "; ".join(lines[:_MAX_ERRORS]) + more


def _line(
    node: str,
    entry: Mapping[str, Any],
    error: Mapping[str, Any],
    titles: Mapping[str, str],
    options_of: Callable[[str, str], tuple[str, ...]],
) -> str:
    class_type = str(entry.get("class_type") or "")
    title = titles.get(node) or class_type
    extra = error.get("extra_info")
    extra = extra if isinstance(extra, dict) else {}
    # an error of an upstream node names the input that leads there, not an input of that node
    name = extra.get("input_name") if error.get("type") != "exception_during_inner_validation" else None
    where = f"node {node}" + (f" ({title})" if title else "") + (f", {name}" if isinstance(name, str) else "")
    return f"{where}: {_why(error, extra, class_type, options_of)}"


def _why(
    error: Mapping[str, Any],
    extra: Mapping[str, Any],
    class_type: str,
    options_of: Callable[[str, str], tuple[str, ...]],
) -> str:
    value = _shown(extra.get("received_value"))
    config = extra.get("input_config")
    limits = config[1] if isinstance(config, list) and len(config) > 1 and isinstance(config[1], dict) else {}
    match error.get("type"):
        case "value_not_in_list":
            return _not_listed(extra, config, error, options_of(class_type, str(extra.get("input_name"))))
        case "value_smaller_than_min":
            return f"{value} is below {limits.get('min')}, the smallest it may be"
        case "value_bigger_than_max":
            return f"{value} is above {limits.get('max')}, the largest it may be"
        case "required_input_missing":
            return "it needs a value or a link, and has neither"
        case "invalid_input_type":
            kind = config[0] if isinstance(config, list) and config and isinstance(config[0], str) else "what it takes"
            return f"{value} is no {kind}"
        case "return_type_mismatch":
            wanted = config[0] if isinstance(config, list) and config else "another kind"
            return f"it takes {wanted}, and the node linked to it gives {extra.get('received_type')}"
        case "exception_during_validation" | "exception_during_inner_validation":
            kind = str(extra.get("exception_type") or "").rpartition(".")[2]  # its traceback names files of the server
            if kind in {"KeyError", "IndexError", ""}:
                return "a link in it leads to no node, or to an output that the node has not"
            return f"the server could not check it ({_text(kind)})"
        case "custom_validation_failed":
            words = _text(error.get("details")).partition(" - ")[2] or _text(error.get("details"))
            return words or "the node does not take it"
        case _:
            message, details = _text(error.get("message")), _text(error.get("details"))
            return f"{message}: {details}" if message and details else message or details or "the node does not take it"


def _not_listed(extra: Mapping[str, Any], config: object, error: Mapping[str, Any], known: tuple[str, ...]) -> str:
    value = extra.get("received_value")
    options = [str(option) for option in _choices(config) or known or _in_details(error)]
    shown_value = _shown(value)
    if not options:
        return f"{shown_value} can't be chosen: the server offers no choices here"
    near = nearest(str(value), options)
    listed = ", ".join(options[:_MAX_CHOICES]) + (", ..." if len(options) > _MAX_CHOICES else "")
    hint = f"; nearest: {', '.join(near)}" if near else ""
    return f"{shown_value} is not one of {listed}{hint}"


def _choices(config: object) -> list[Any]:
    if not isinstance(config, list) or not config:
        return []
    if isinstance(config[0], list):
        return config[0]
    options = config[1].get("options") if len(config) > 1 and isinstance(config[1], dict) else None
    return options if isinstance(options, list) else []


def _in_details(error: Mapping[str, Any]) -> list[str]:
    found = _DETAILS.search(_text(error.get("details")))
    return re.findall(r"'([^']*)'", found[1]) if found else []


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _MAX_VALUE_CHARS else text[: _MAX_VALUE_CHARS - 1] + "…"


def _text(value: object) -> str:
    text = value if isinstance(value, str) else ""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text[:20_000]).split())
    return without_credentials(line)[:400]
