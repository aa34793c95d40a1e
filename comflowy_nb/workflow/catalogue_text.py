"""Change one entry in the text of a `comflowy.yaml`, and keep all other content, including comments."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from ruamel.yaml.comments import CommentedMap, CommentedSeq

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ruamel.yaml import YAML


def changed_text(yaml: YAML, root: Any, text: str, name: str, changes: Mapping[str, Any] | None) -> str:
    """Return the text of a file with one workflow changed, created or removed.

    Parameters
    ----------
    yaml, root
        The parser that keeps comments, and the value that it has parsed from the text.
    changes
        Property -> new value. A mapping is merged into the existing one; empty values change nothing. None removes the
        workflow.
    """
    yaml.width = 4096
    buffer = io.StringIO()
    if not isinstance(root, CommentedMap):  # the file is empty, or has only comments, which the parser drops
        root = CommentedMap()
        buffer.write(text if not text or text.endswith("\n") else f"{text}\n")
    workflows = _mapping_under(root, "workflows")
    if changes is None and not workflows.fa.flow_style():  # block style: the entry has separate lines
        return _without(text, workflows, name)
    if changes is None:
        for key in [key for key in workflows if str(key) == name]:
            del workflows[key]
    else:
        entry = _mapping_under(workflows, name)
        for part, value in changes.items():
            if isinstance(value, dict) and value:
                _mapping_under(entry, part).update(value)
            elif value:
                entry[part] = value
    yaml.dump(root, buffer)
    return buffer.getvalue()


def flow_style(value: Any) -> Any:
    """Return a copy of a value that YAML writes on one line."""
    if not isinstance(value, (dict, list, tuple)):
        return value
    node: Any
    if isinstance(value, dict):
        node = CommentedMap({key: flow_style(item) for key, item in value.items()})
    else:
        node = CommentedSeq([flow_style(item) for item in value])
    node.fa.set_flow_style()
    return node


def _without(text: str, workflows: CommentedMap, name: str) -> str:
    """Return the text of a file without one workflow. The comments before and after the entry are kept.

    The lines are removed from the text, because ruamel.yaml would also remove the comment above the next entry.
    """
    lines = text.split("\n")
    for key in reversed([key for key in workflows if str(key) == name]):  # a name that is a number is text here
        start, column = workflows.lc.key(key)
        end = start + 1
        while end < len(lines) and (not lines[end].strip() or len(lines[end]) - len(lines[end].lstrip()) > column):
            end += 1
        while not lines[end - 1].strip():
            end -= 1
        del lines[start:end]
    return "\n".join(lines)


def _mapping_under(node: CommentedMap, key: str) -> CommentedMap:
    """Return the mapping under a key. Create it if there is none."""
    if not isinstance(node.get(key), CommentedMap):
        node[key] = CommentedMap()
    return node[key]  # type: ignore[no-any-return]  # a CommentedMap
