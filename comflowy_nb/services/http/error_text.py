"""Read untrusted values of a service, and extract a one-line message from an error (JSON, HTML or text)."""

from __future__ import annotations

import html
import json
import re
import sys
from typing import TYPE_CHECKING, Any

from comflowy_nb.credential_formats import AUTH_SCHEMES, CREDENTIAL_NAMES, PRIVATE_KEY_BEGIN, PRIVATE_KEY_END, TOKENS
from comflowy_nb.services.types import WEBHOOK_PATH, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping


MAX_CHARS = 400  # maximum length of a message
_TEXT_KEYS = ("message", "error", "error_message", "exception_message", "msg", "detail", "details", "reason", "title")
_QUERY = re.compile(r"(?i)(https?://[^\s?#\"'<>]+)\?[^\s\"'<>]+")  # URLs may be signed
# Credentials that a service may quote
_CREDENTIALS = re.compile(
    rf"(?<![\w-])(?:{'|'.join(token.start for token in TOKENS)})"
    r"|(?<=://)[^\s/?#@]*:[^\s/?#@]+(?=@)"  # user:password@host
    rf"|{PRIVATE_KEY_BEGIN}.*?(?:{PRIVATE_KEY_END}|$)"
)
_ASSIGN = r"""["']?\s?[:=]\s?["']?"""  # name=..., "name": "..."
# `Bearer ...`, `api_key=...`: the value, if it contains a digit, so that `token: missing` is kept
_NAMED_CREDENTIALS = re.compile(
    rf"""(?ix)
    ( \b bearer \s+ | \b basic \s+ (?= [a-z0-9+/=]{{12}} )
    | authorization {_ASSIGN} (?: {AUTH_SCHEMES} ) \s
    | (?: {CREDENTIAL_NAMES} | token | secret | password | passwd | signature | credential | authorization )
      {_ASSIGN} (?: (?: bearer | basic ) \s )?
    )
    (?= [^\s"',;]* [0-9] ) [^\s"',;]{{8,}}
    """
)
# The address of a webhook, whose last part is a secret; it may be quoted in a URL.
_WEBHOOK = re.compile(rf"(?i)({WEBHOOK_PATH.replace('/', '(?:/|%2f)')}(?:/|%2f))[\w%.~-]+")
_HIDDEN_TAGS = re.compile(r"(?is)<!--.*?(?:-->|$)|<(script|style|noscript|template|svg)\b.*?(?:</\1\s*>|$)")
_HEADINGS = re.compile(r"(?is)<(title|h1)\b[^<>]*>(.*?)(?:</\1\s*>|$)")
_TAG = re.compile(r"<[^<>]*>")
_MISSING_IMAGE = re.compile(r"(\w+) - Invalid image file: (.+)")
_PAGE = re.compile(r"(?is)^\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype|html|head|body)\b")

# An escape of a surrogate, which may be half of a pair, or an encoded one.
_SURROGATE_TEXT = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")
_SURROGATE_BYTES = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")


def json_object(text: str | bytes) -> dict[str, Any] | None:
    """Decode a JSON object; return None for anything else.

    A half of a surrogate pair becomes `?`, because neither a URL nor the history can contain one. Python sends them in
    file names that are not UTF-8.
    """
    try:
        value = json.loads(text)
        if (_SURROGATE_TEXT.search(text) if isinstance(text, str) else _SURROGATE_BYTES.search(text)) is not None:
            value = json.loads(json.dumps(value, ensure_ascii=False).encode(errors="replace"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def read_problem(error: object) -> Problem:
    """Parse the error of a failed run.

    Parameters
    ----------
    error : object
        A text, which may be JSON or an HTML page, or a decoded JSON value.

    Returns
    -------
    Problem
        The message, and node and field for errors of ComfyUI: the body of a 400 (`error`, `node_errors`), or an
        `execution_error`.
    """
    value = _unwrap(error)
    return _comfyui_problem(value) or Problem(_find_message(value) or "the service gave no reason")


def read_message(body: bytes) -> str | None:
    """Return the message in the body of an error response, or None."""
    value = _unwrap(body[:100_000].decode("utf-8", "replace"))  # limits the time for a large body
    problem = _comfyui_problem(value)
    if problem is not None:
        return str(problem)
    data = value.get("data") if isinstance(value, dict) else None
    return _find_message(value) or (_find_message(data) if isinstance(data, dict) else None)


def one_line(value: object) -> str:
    """Return one line of printable text of at most 400 characters. A traceback is reduced to its last line.

    Query strings of URLs, which may be signed, credentials in a known format, and the secrets of webhooks are masked.
    """
    if not isinstance(value, str):
        return ""
    text = value[:20_000]  # limits the time of the patterns below
    if "Traceback (most recent call last)" in text:
        text = next((line for line in reversed(text.splitlines()) if line.strip()), text)
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    text = mask_webhooks(_CREDENTIALS.sub("***", _QUERY.sub(r"\1?…", text)))
    return _truncate(_NAMED_CREDENTIALS.sub(r"\1***", text))


def mask_webhooks(text: str) -> str:
    """Mask the secrets in the addresses of webhooks, which a service may repeat."""
    return _WEBHOOK.sub(r"\1***", text)


def _truncate(text: str) -> str:
    return text if len(text) <= MAX_CHARS else text[: MAX_CHARS - 1].rstrip() + "…"


def _unwrap(value: object) -> object:
    """Decode JSON in a text, up to three layers, and reduce an HTML page to its headings."""
    for _ in range(3):
        if not isinstance(value, str) or value.strip()[:1] not in {"{", "[", '"'}:
            break
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            break
    if isinstance(value, str) and _PAGE.match(value):
        return _page_text(value)
    return value


def _comfyui_problem(value: object) -> Problem | None:
    return (_execution_error(value) or _validation_error(value)) if isinstance(value, dict) else None


def _execution_error(value: dict[str, Any]) -> Problem | None:
    """Parse ComfyUI's `execution_error`."""
    if "exception_message" not in value and "node_type" not in value:
        return None
    message = one_line(value.get("exception_message")) or one_line(value.get("exception_type"))
    return Problem(message or "the node failed", _name(value.get("node_id")), _name(value.get("node_type")))


def validation_errors(node_errors: object) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Return (node id, node entry, error) for each error in ComfyUI's `node_errors`."""
    entries = node_errors.items() if isinstance(node_errors, dict) else ()
    listed = ((str(node), entry, entry.get("errors")) for node, entry in entries if isinstance(entry, dict))
    return [
        (node, entry, error)
        for node, entry, errors in listed
        for error in (errors if isinstance(errors, list) else ())
        if isinstance(error, dict)
    ]


def _validation_error(value: dict[str, Any]) -> Problem | None:
    """Parse ComfyUI's validation errors: the first error of the first node, and the number of other errors."""
    errors = validation_errors(value.get("node_errors"))
    if errors:
        node, entry, error = errors[0]
        name = _name(extra_info(error).get("input_name"))
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        field = f"{node}::{name}" if name else None
        return Problem(_join(error) + more, node, _name(entry.get("class_type")), field)
    general = value.get("error")
    if isinstance(general, dict) and "message" in general:
        extra = extra_info(general)
        return Problem(_join(general), _name(extra.get("node_id")), _name(extra.get("class_type")))
    return None


def extra_info(error: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the `extra_info` of a validation error; empty if it is missing."""
    extra = error.get("extra_info")
    return extra if isinstance(extra, dict) else {}


def missing_image(details: str) -> str | None:
    """Return the problem if a custom validation did not find an image file; None for other problems."""
    match = _MISSING_IMAGE.match(details)
    if match is None:
        return None
    field, name = match.groups()
    if name.startswith(("https://", "http://")):
        return f"this node reads files on the server, not addresses. Download the image, then use {field}=file:NAME.png"
    return f"{name} is not on the server. To upload your file: {field}=file:{name}"


def _join(error: dict[str, Any]) -> str:
    message, details = one_line(error.get("message")), one_line(error.get("details"))
    if (problem := missing_image(details)) is not None:
        return problem
    if message and details and details not in message:
        return _truncate(f"{message}: {details}")
    return message or details or one_line(error.get("type")) or "the service gave no reason"


def _find_message(value: object, depth: int = 0) -> str | None:
    """Find the message in a JSON value of unknown shape."""
    if isinstance(value, str):
        return one_line(value) or None
    if depth > 3:
        return None
    if isinstance(value, dict):
        for key in _TEXT_KEYS:
            if key in value and (message := _find_message(value[key], depth + 1)):
                return message
        if isinstance(value.get("errors"), list | dict):
            return _find_message(value["errors"], depth + 1)
        return None
    if isinstance(value, list):
        return _truncate("; ".join(filter(None, (_find_message(item, depth + 1) for item in value[:3])))) or None
    return None


def _name(value: object) -> str | None:
    text = text_or_id(value)
    return text[:80] if text is not None else None


def text_or_id(value: object) -> str | None:
    """Return a text or a whole number as one line of text; None for any other value and for an empty text."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return one_line(str(value)) or None


def number(value: object) -> float | None:
    """Return a finite number of at least 0 as a float; None for any other value."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= sys.float_info.max:
        return None
    return float(value)


def _page_text(page: str) -> str:
    """Return the title and headings of an HTML page, else its first three texts."""
    page = _HIDDEN_TAGS.sub(" ", page[:50_000])
    headings = [heading for _, heading in _HEADINGS.findall(page)]
    texts = (" ".join(html.unescape(text).split()) for part in headings or [page] for text in _TAG.split(part))
    lines = list(dict.fromkeys(filter(None, texts)))
    return "a web page" + (f" saying “{one_line(' - '.join(lines if headings else lines[:3]))}”" if lines else "")
