"""Parse the bodies of webhooks: `ON_RESULT_PAYLOAD` and `ON_PROGRESS_EVENT_PAYLOAD` of the API page."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from comflowy_nb.services.comflowy.schema import STATUSES, as_run_id
from comflowy_nb.services.http.error_text import json_object, number, one_line, read_problem, text_or_id
from comflowy_nb.services.http.responses import mask_secrets
from comflowy_nb.services.types import MESSAGE, Event, Progress

if TYPE_CHECKING:
    from comflowy_nb.settings import Secret


KINDS = (*STATUSES, MESSAGE)
_TEXT_KEYS = ("message", "text", "msg", "detail")
_MAX_JSON_CHARS = 2000  # of a payload without a text, before it is shortened to one line


def read_body(content: bytes, hide: tuple[Secret, ...] = ()) -> dict[str, Any] | None:
    """Decode the JSON object of an event, with secrets masked in all texts. Return None for anything else."""
    body = json_object(content)
    if body is None or not hide:
        return body
    # Mask before texts are shortened, and without escapes, which could hide a secret.
    return json_object(mask_secrets(json.dumps(body, ensure_ascii=False), hide) or "")


def read_event(token: str, body: dict[str, Any]) -> Event:
    """Return the event of the run with our `token`. Undocumented content is ignored."""
    kind = body.get("type")
    kind = kind if isinstance(kind, str) and kind in KINDS else None
    status = STATUSES.get(kind) if kind is not None else None
    payload = body.get("payload")
    text = ""
    if kind == MESSAGE:
        text = _text(payload)
    elif kind == "failed":
        text = str(read_problem(body["error"])) if body.get("error") else ""
    return Event(
        token,
        status,
        as_run_id(body.get("run_id")),
        _progress(payload),
        kind=kind,
        text=text or None,
    )


def _text(payload: object) -> str:
    """Return a message as one line: a text, the text in an object, else the JSON."""
    if isinstance(payload, str):
        return one_line(payload)
    if isinstance(payload, dict):
        for key in _TEXT_KEYS:
            if (text := text_or_id(payload.get(key))) is not None:
                return text
    if payload is None or payload in ({}, []):
        return ""
    return one_line(json.dumps(payload, ensure_ascii=False)[:_MAX_JSON_CHARS])


def _progress(payload: object) -> Progress | None:
    if not isinstance(payload, dict):
        return None
    inner = payload.get("data")
    fields = {**inner, **payload} if isinstance(inner, dict) else payload
    progress = Progress(
        node=text_or_id(fields.get("node")),
        title=text_or_id(fields.get("title")),
        value=number(fields.get("value")),
        max=number(fields.get("max")),
        nodes_done=_count(fields.get("nodes_done")),
        nodes_total=_count(fields.get("nodes_total")),
    )
    return None if progress == Progress() else progress


def _count(value: object) -> int | None:
    count = number(value)
    return int(count) if count is not None and count.is_integer() else None
