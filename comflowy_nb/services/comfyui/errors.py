"""Why a ComfyUI server does not run a graph, in words for the person who wrote it. Pure."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from comflowy_nb.services.http.error_text import read_message, without_credentials
from comflowy_nb.workflow.fields import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["dangling_links", "read_refusal", "words_of_nodes"]


_MOST = 5  # errors named; the others are counted
_LISTED = 5  # choices named
_LONGEST = 80  # characters of a value
_NO_CLASS = re.compile(r"because node (.+) does not exist|Node '(.+)' not found")
_NODE_ID = re.compile(r"#([^']+)'?")
_DETAILS = re.compile(r"not in (\[.*\])$", re.DOTALL)


def read_refusal(body: bytes, titles: Mapping[str, str], options_of: Callable[[str, str], tuple[str, ...]]) -> str:
    """One line from the body of a 400: node, field, value and nearest choice of everything that is wrong.

    Parameters
    ----------
    titles
        Node id -> what a person calls the node.
    options_of
        Class of a node and name of an input -> the choices there: a long list is not in the answer.
    """
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        return read_message(body) or "it gave no reason"
    errors = found.get("node_errors")
    words = words_of_nodes(errors, titles, options_of)
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
    """What is wrong with the links of a graph: those that lead to a node it does not have, by input and target."""
    return [
        f"node {node} ({titles.get(node, node)}), {name}: a link in it leads to no node: there is no {str(value[0])!r}"
        for node, one in graph.items()
        for name, value in one.get("inputs", {}).items()
        if isinstance(value, list) and len(value) == 2 and isinstance(value[1], int) and str(value[0]) not in graph
    ]


def _missing_class(error: Mapping[str, Any], titles: Mapping[str, str]) -> str | None:
    """The node whose class the server does not have; None if it refused something else."""
    found = _NO_CLASS.search(_text(error.get("message")))
    if error.get("type") not in {"invalid_prompt", "missing_node_type"} or found is None:
        return None
    extra = error.get("extra_info")
    node = extra.get("node_id") if isinstance(extra, dict) else None
    told = _NODE_ID.search(_text(error.get("details")))
    node = str(node) if node is not None else told[1] if told else None
    class_type = next(one for one in found.groups() if one)
    where = "" if node is None else f"node {node} ({titles.get(node, class_type)}): "
    return f"{where}node {class_type} does not exist there; install the custom nodes that bring it"


def words_of_nodes(
    errors: object, titles: Mapping[str, str], options_of: Callable[[str, str], tuple[str, ...]]
) -> str | None:
    """What `node_errors` says, each error as `node 3 (KSampler), cfg: 1000 is above 100`; None where it is empty."""
    if not isinstance(errors, dict):
        return None
    lines = []
    for node, entry in errors.items():
        listed = entry.get("errors") if isinstance(entry, dict) else None
        found = [error for error in listed if isinstance(error, dict)] if isinstance(listed, list) else []
        lines += [_line(str(node), entry, error, titles, options_of) for error in found]
    if not lines:
        return None
    more = f"; and {len(lines) - _MOST} more" if len(lines) > _MOST else ""
    return "; ".join(lines[:_MOST]) + more


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
    # an error of a node further on names the input that leads there, not one of the node's own
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
    said_value = _shown(value)
    if not options:
        return f"{said_value} can't be chosen: the server offers no choices here"
    near = nearest(str(value), options)
    listed = ", ".join(options[:_LISTED]) + (", ..." if len(options) > _LISTED else "")
    tip = f"; nearest: {', '.join(near)}" if near else ""
    return f"{said_value} is not one of {listed}{tip}"


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
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _text(value: object) -> str:
    text = value if isinstance(value, str) else ""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text[:20_000]).split())
    return without_credentials(line)[:400]
