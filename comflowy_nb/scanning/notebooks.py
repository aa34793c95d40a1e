"""Find secrets in the parts of a notebook, and blank the outputs that contain them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from comflowy_nb.scanning.content import decode_base64, secrets_in_bytes, secrets_in_text
from comflowy_nb.scanning.patterns import find_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from comflowy_nb.scanning.patterns import Match


_MIME_TYPE = re.compile(r"[a-z]{1,20}/[\w.+-]{1,60}")
REMOVED = "(output removed by comflowy-nb scan --fix: it contained a secret)"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a notebook that contains a secret.

    Attributes
    ----------
    where
        The part, for the user: `cell 3, output 1 (text/html)`.
    match
        The secret.
    cell
        Index of the cell, from 0; None for the notebook itself.
    output
        Index of the output in its cell, from 0; None for other parts.
    is_widget_state
        Whether the part is the saved state of the widgets.
    """

    where: str
    match: Match
    cell: int | None = None
    output: int | None = None
    is_widget_state: bool = False

    @property
    def can_blank(self) -> bool:
        """Whether `blank` removes the part. Sources, metadata and attachments are not removed."""
        return self.output is not None or self.is_widget_state


def parse_notebook(text: str) -> dict[str, Any] | None:
    """Return the JSON of a notebook (format 4); None if the text is something else."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    is_notebook = isinstance(content, dict) and isinstance(content.get("cells"), list)
    return content if is_notebook and all(isinstance(cell, dict) for cell in content["cells"]) else None


def find_in_notebook(notebook: dict[str, Any]) -> Iterator[Part]:
    """Yield the parts of a notebook that contain secrets, in the order of the cells.

    Parameters
    ----------
    notebook : dict
        The result of `parse_notebook`.

    Yields
    ------
    Part
        One for each kind of secret in each part.
    """
    for index, cell in enumerate(notebook["cells"]):
        name = f"cell {index + 1}"
        for match in secrets_in_text(_joined(cell.get("source"))):
            yield Part(f"{name}{_line(match)}", match, index)
        for position, output in enumerate(_as_list(cell.get("outputs"))):
            for kind, match in _secrets_in_output(output):
                yield Part(f"{name}, output {position + 1} ({kind})", match, index, position)
        for match in _secrets_in_value(cell.get("attachments")):
            yield Part(f"{name}, attachment", match, index)
        searched = {"source", "attachments"} | ({"outputs"} if isinstance(cell.get("outputs"), list) else set())
        rest = {key: value for key, value in cell.items() if key not in searched}
        for match in _secrets_in_value(rest):
            yield Part(f"{name}, metadata", match, index)
    metadata = notebook.get("metadata")
    widgets = metadata.get("widgets") if isinstance(metadata, dict) else None
    for match in _secrets_in_value(widgets):
        yield Part("widget state", match, is_widget_state=True)
    rest = {key: value for key, value in notebook.items() if key not in {"cells", "metadata"}}
    others = {key: value for key, value in metadata.items() if key != "widgets"} if isinstance(metadata, dict) else {}
    for match in _secrets_in_value([others, rest]):
        yield Part("notebook metadata", match)


def blank(notebook: dict[str, Any], parts: list[Part]) -> None:
    """Replace outputs with a secret by a note. If the widget state has a secret, remove the state of all widgets.

    Parameters
    ----------
    notebook : dict
        The notebook, which is changed in place.
    parts : list of Part
        Results of `find_in_notebook`. Parts that can't be blanked are ignored.
    """
    for cell, output in {(part.cell, part.output) for part in parts if part.output is not None}:
        if cell is not None:
            note = {"output_type": "stream", "name": "stdout", "text": [f"{REMOVED}\n"]}
            notebook["cells"][cell]["outputs"][output] = note
    if any(part.is_widget_state for part in parts):
        del notebook["metadata"]["widgets"]  # models refer to each other, so that one can't be removed alone


def format_notebook(notebook: dict[str, Any], original: str) -> str:
    """Format a notebook file as Jupyter does, with the line ends of the original file."""
    text = json.dumps(notebook, indent=1, ensure_ascii=False)
    if any("\ud800" <= char <= "\udfff" for char in text):  # a lone surrogate can't be encoded
        text = json.dumps(notebook, indent=1)
    return text + ("\n" if original.endswith("\n") else "")


def _secrets_in_output(output: Any) -> Iterator[tuple[str, Match]]:
    """Yield each secret of an output with the name of its part, such as `text/html`."""
    if not isinstance(output, dict):  # not valid, but a file may have it
        yield from (("data", match) for match in _secrets_in_value(output))
        return
    data = output.get("data")
    for mime, value in data.items() if isinstance(data, dict) else ():
        name = mime if _MIME_TYPE.fullmatch(mime) and not find_secrets(mime) else "data"
        is_text = isinstance(value, str) or (isinstance(value, list) and all(isinstance(line, str) for line in value))
        for match in _secrets_in_value({mime: _joined(value) if is_text else value}):
            yield name, match
    for match in secrets_in_text(_joined(output.get("text"))):
        yield "stream", match
    traceback = "\n".join(line for line in _as_list(output.get("traceback")) if isinstance(line, str))
    for match in secrets_in_text("\n".join([_joined(output.get("ename")), _joined(output.get("evalue")), traceback])):
        yield "traceback", match
    rest = {key: value for key, value in output.items() if key not in {"data", "text", "traceback", "evalue", "ename"}}
    if not isinstance(data, dict):
        rest["data"] = data
    for match in _secrets_in_value(rest):
        yield "metadata", match


def _secrets_in_value(value: Any) -> list[Match]:
    """Return the secrets in a JSON value, each kind once."""
    found = {match.kind: match for text in _matches_in_texts(value) for match in text}
    return list(found.values())


def _matches_in_texts(value: Any, name: str = "") -> Iterator[list[Match]]:
    """Yield the secrets of each text of a JSON value. A text is also searched together with its key."""
    if isinstance(value, dict):
        if value.get("encoding") == "base64" and isinstance(value.get("data"), str):  # a buffer of a widget
            yield secrets_in_bytes(decode_base64(value["data"]) or b"")
        for key, item in value.items():
            if not isinstance(item, str):
                yield find_secrets(key)
            yield from _matches_in_texts(item, key)
    elif isinstance(value, list):
        if value and all(isinstance(line, str) for line in value):
            yield secrets_in_text("".join(value))
        for item in value:
            yield from _matches_in_texts(item, name)
    elif isinstance(value, str):
        yield secrets_in_text(value)
        # A longer value is not a token, so that the name before it is searched alone.
        yield find_secrets(f'"{name}": "{value}"') if len(value) <= 4096 else find_secrets(name)


def _joined(value: Any) -> str:
    """Return a text that a notebook stores as one string or as a list of lines."""
    if isinstance(value, list):
        return "".join(line for line in value if isinstance(line, str))
    return value if isinstance(value, str) else ""


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _line(match: Match) -> str:
    return "" if match.line is None else f", line {match.line}"
