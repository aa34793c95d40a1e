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
    """Return a cell that submits exactly these params to this workflow when it is executed.

    The body has a line for each field if it is read back as the same values, else it is a payload (for a text with line
    breaks and white space at its ends, for example).

    Parameters
    ----------
    params
        Field id -> value as submitted. An image that is not uploaded yet is written as `run:REF` or `file:PATH`; of an
        image chosen in a browser only the name is known.
    command
        The command of the cell.
    """
    head = f"%%comflowy {command} {_word(workflow.name)}"
    values = {key: _image_text(one) if isinstance(one, InputImage) else one for key, one in params.items()}
    if not values:
        return head
    bodies = ["\n".join(line for key, value in values.items() for line in _lines(key, value))]
    bodies += [json.dumps(_escape_names(values), ensure_ascii=is_ascii, indent=2) for is_ascii in (False, True)]
    body = next((body for body in bodies if _reads_as(body, workflow, values)), bodies[-1])
    return f"{head}\n{body}"


def _image_text(image: InputImage) -> str:
    kind = "run" if _RUN_IMAGE.fullmatch(image.source) else "file"
    return f"{kind}:{image.source or image.name}"


def _lines(key: str, value: Any) -> list[str]:
    if not isinstance(value, str):
        return [f"{key}: {json.dumps(value)}"]
    text = _escape_names(value)
    if "\n" in text:
        return [f"{key}: |", *(f"  {line}" for line in text.split("\n"))]
    if text != text.strip() or not text or text[0] in "\"'|>":
        quote = '"' if '"' not in text else "'"
        return [f"{key}: {quote}{text}{quote}"]
    return [f"{key}: {text}"]


def _escape_names(value: Any) -> Any:
    """Replace `{name}` by `{{name}}`, the literal that is not expanded."""
    if isinstance(value, str):
        return re.sub(r"\{([^\W\d]\w*)\}", r"{{\1}}", value)
    if isinstance(value, dict):
        return {key: _escape_names(item) for key, item in value.items()}
    return [_escape_names(item) for item in value] if isinstance(value, list) else value


def _reads_as(body: str, workflow: Workflow, values: Mapping[str, Any]) -> bool:
    """Return True if the body is read as these values without any variables."""
    # images are compared as texts, because their files may be missing
    fields = {key: one for key, one in workflow.fields.items() if one.type is not FieldType.IMAGEUPLOAD}
    described = Workflow(workflow.name, workflow.id, fields=fields, is_partial=True)
    try:
        read = resolve(described, read_body(body).settings, namespace={}).params
    except ComflowyError:
        return False
    return set(read) == set(values) and all(
        read[key] == value and isinstance(read[key], bool) == isinstance(value, bool) for key, value in values.items()
    )


def _word(name: str) -> str:
    if _PLAIN_WORD.fullmatch(name):
        return name
    return f'"{name}"' if '"' not in name else f"'{name}'"
