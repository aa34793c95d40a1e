"""Write the cell that reproduces a run: `%%comflowy run WORKFLOW` and a line for each field."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import ComflowyError
from comflowy_nb.workflow.fields import FieldType
from comflowy_nb.workflow.images import InputImage
from comflowy_nb.workflow.syntax.body import read_body
from comflowy_nb.workflow.values import resolve
from comflowy_nb.workflow.workflow import Workflow

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["write_cell"]

_RUN_IMAGE = re.compile(r"r\d+(?::.+)?\[\d+\]")
_PLAIN_WORD = re.compile(r"""[^\s"'{}#=;?]+""")


def write_cell(workflow: Workflow, params: Mapping[str, Any], *, command: str = "run") -> str:
    """Return a cell that sends these params to this workflow when it is executed, whatever they hold.

    Each field has a line, if every line is read as the very value; else the body is the API's own payload, for a text
    with line breaks and blanks at its ends, say.

    Parameters
    ----------
    params
        Field id -> value as sent. An image that was not handed over yet stands as `run:` or `file:` and where it is
        from; of one that was chosen in a browser only the name is known.
    """
    head = f"%%comflowy {command} {_word(workflow.name)}"
    values = {key: _image_word(one) if isinstance(one, InputImage) else one for key, one in params.items()}
    if not values:
        return head
    bodies = ["\n".join(line for key, value in values.items() for line in _lines(key, value))]
    bodies += [json.dumps(_doubled(values), ensure_ascii=is_ascii, indent=2) for is_ascii in (False, True)]
    body = next((body for body in bodies if _means(body, workflow, values)), bodies[-1])
    return f"{head}\n{body}"


def _image_word(image: InputImage) -> str:
    kind = "run" if _RUN_IMAGE.fullmatch(image.source) else "file"
    return f"{kind}:{image.source or image.name}"


def _lines(key: str, value: Any) -> list[str]:
    if not isinstance(value, str):
        return [f"{key}: {json.dumps(value)}"]
    text = _doubled(value)
    if "\n" in text:
        return [f"{key}: |", *(f"  {line}" for line in text.split("\n"))]
    if text != text.strip() or not text or text[0] in "\"'|>":
        quote = '"' if '"' not in text else "'"
        return [f"{key}: {quote}{text}{quote}"]
    return [f"{key}: {text}"]


def _doubled(value: Any) -> Any:
    """Return a value with `{name}` written as `{{name}}`, which is not expanded."""
    if isinstance(value, str):
        return re.sub(r"\{([^\W\d]\w*)\}", r"{{\1}}", value)
    if isinstance(value, dict):
        return {key: _doubled(item) for key, item in value.items()}
    return [_doubled(item) for item in value] if isinstance(value, list) else value


def _means(body: str, workflow: Workflow, values: Mapping[str, Any]) -> bool:
    """Return whether the body is read as these values, in a kernel without any variable."""
    # An image's word is compared as a text: its file need not be here.
    fields = {key: one for key, one in workflow.fields.items() if one.type is not FieldType.IMAGEUPLOAD}
    described = Workflow(workflow.name, workflow.id, fields=fields, is_partial=True)
    try:
        read = resolve(described, read_body(body).settings, namespace={}).params
    except ComflowyError:
        return False
    return set(read) == set(values) and all(_same(read[key], values[key]) for key in values)


def _same(one: Any, other: Any) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _word(name: str) -> str:
    if _PLAIN_WORD.fullmatch(name):
        return name
    return f'"{name}"' if '"' not in name else f"'{name}'"
