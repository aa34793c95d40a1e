"""Extract a one-line message from a service's error: JSON of several shapes, HTML, or text."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

from comflowy_nb.services.base import Problem

__all__ = ["read_message", "read_problem", "without_credentials"]

MAX_CHARS = 400  # of a message; a server's traceback does not help the user
_TEXT_KEYS = ("message", "error", "error_message", "exception_message", "msg", "detail", "details", "reason", "title")
_QUERY = re.compile(r"(?i)(https?://[^\s?#\"'<>]+)\?[^\s\"'<>]+")  # URLs may be signed
# Credentials that a service may quote, by the formats their issuers document.
_CREDENTIALS = re.compile(
    r"""(?x)
    (?<![\w-]) (?:
      sk- [\w-]{16,} | [spr]k_(?:live|test)_ \w{10,}                        # OpenAI, Anthropic, Stripe
    | gh[pousr]_ \w{20,} | github_pat_ \w{20,} | glpat- [\w-]{16,}           # GitHub, GitLab
    | hf_ \w{20,} | r8_ \w{20,} | xox[a-z]- [\w-]{10,}                      # Hugging Face, Replicate, Slack
    | (?:AKIA|ASIA) [0-9A-Z]{16} | AIza [\w-]{30,} | ya29\. [\w.-]{16,}      # AWS, Google
    | LTAI \w{12,} | AKID \w{16,}                                           # Alibaba, Tencent
    | eyJ [\w-]{6,} \. [\w-]{6,} (?: \. [\w-]* )*                           # JSON Web Token
    )
    | (?<= ://) [^\s/?\#@]* : [^\s/?\#@]+ (?= @)                             # user:password@host
    | -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----.*?(?: -----END\ [A-Z ]*PRIVATE\ KEY----- | $)
    """
)
# `Bearer ...`, `api_key=...`: the value, if it holds a digit, so that `token: missing` stays
_NAMED_CREDENTIALS = re.compile(
    r"""(?ix)
    ( \b bearer \s+ | \b basic \s+ (?= [a-z0-9+/=]{12} )
    | (?: token | secret | password | passwd | signature | credential | authorization | api[_-]?key | access[_-]?key )
      ["']? \s? [:=] \s? ["']? (?: bearer \s | basic \s )?
    )
    (?= [^\s"',;]* [0-9] ) [^\s"',;]{8,}
    """
)
_PAGE = re.compile(r"(?is)^\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype|html|head|body)\b")


def read_problem(error: object) -> Problem:
    """Parse the error of a failed run.

    Parameters
    ----------
    error
        A text, which may be JSON or an HTML page, or a decoded JSON value.

    Returns
    -------
    The message, and node and field for errors of ComfyUI: the body of a 400 (`error`, `node_errors`), or an
    `execution_error`.
    """
    value = _unwrap(error)
    if isinstance(value, dict):
        problem = _execution_error(value) or _validation_error(value)
        if problem is not None:
            return problem
    return Problem(_find_message(value) or "the service gave no reason")


def read_message(body: bytes) -> str | None:
    """Return the message in the body of an error response, or None."""
    text = body[:100_000].decode("utf-8", "replace")
    value = _unwrap(text)
    if isinstance(value, dict):
        problem = _execution_error(value) or _validation_error(value)
        if problem is not None:
            return str(problem)
        if isinstance(value.get("data"), dict):
            return _find_message(value) or _find_message(value["data"])
    return _find_message(value)


def _unwrap(answer: object) -> object:
    """Decode JSON in a text, up to three layers, and reduce an HTML page to its text."""
    for _ in range(3):
        if isinstance(answer, bytes):
            answer = answer.decode("utf-8", "replace")
        if not isinstance(answer, str):
            break
        text = answer.strip()
        if text[:1] not in {"{", "[", '"'}:
            break
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError):
            break
    if isinstance(answer, str) and _PAGE.match(answer):
        return _page_text(answer)
    return answer


def _execution_error(value: dict[str, Any]) -> Problem | None:
    """Parse ComfyUI's `execution_error`."""
    if "exception_message" not in value and "node_type" not in value:
        return None
    message = _line(value.get("exception_message")) or _line(value.get("exception_type"))
    return Problem(
        message or "the node failed", node=_name(value.get("node_id")), node_type=_name(value.get("node_type"))
    )


def _errors_of(entry: Any) -> list[dict[str, Any]]:
    errors = entry.get("errors") if isinstance(entry, dict) else None
    return [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []


def _validation_error(value: dict[str, Any]) -> Problem | None:
    """Parse ComfyUI's validation errors: the first error of the first node, and the number of others."""
    nodes = value.get("node_errors")
    if isinstance(nodes, dict):
        listed = {node: (entry, _errors_of(entry)) for node, entry in nodes.items()}
        count = sum(len(errors) for _, errors in listed.values()) - 1
        more = f" (and {count} more)" if count > 0 else ""
        for node, (entry, errors) in listed.items():
            if not errors:
                continue
            extra = errors[0].get("extra_info")
            name = _name(extra.get("input_name")) if isinstance(extra, dict) else None
            return Problem(
                _joined(errors[0]) + more,
                node=str(node),
                node_type=_name(entry.get("class_type")),
                field=f"{node}::{name}" if name else None,
            )
    error = value.get("error")
    if isinstance(error, dict) and "message" in error:
        extra = error.get("extra_info")
        node = _name(extra.get("node_id")) if isinstance(extra, dict) else None
        kind = _name(extra.get("class_type")) if isinstance(extra, dict) else None
        return Problem(_joined(error), node=node, node_type=kind)
    return None


def _joined(error: dict[str, Any]) -> str:
    message, details = _line(error.get("message")), _line(error.get("details"))
    if message and details and details not in message:
        return _truncate(f"{message}: {details}")
    return message or details or _line(error.get("type")) or "the service gave no reason"


def _find_message(value: object, depth: int = 0) -> str | None:
    """Find the message in a JSON value of unknown shape."""
    if isinstance(value, str):
        return _line(value) or None
    if depth > 3:
        return None
    if isinstance(value, dict):
        for key in _TEXT_KEYS:
            if key in value and (found := _find_message(value[key], depth + 1)):
                return found
        if isinstance(value.get("errors"), list | dict):
            return _find_message(value["errors"], depth + 1)
        return None
    if isinstance(value, list):
        found_all = [found for item in value[:3] if (found := _find_message(item, depth + 1))]
        return _truncate("; ".join(found_all)) or None
    return None


def _line(value: object) -> str:
    """Return one line of printable text; of a traceback its last line."""
    if not isinstance(value, str):
        return ""
    text = value[:20_000]
    if "Traceback (most recent call last)" in text:
        lines = [line for line in text.splitlines() if line.strip()]
        text = lines[-1] if lines else text
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return _truncate(without_credentials(line))


def without_credentials(text: str) -> str:
    """Mask query strings of addresses, and credentials in a known format, in a service's text."""
    return _NAMED_CREDENTIALS.sub(r"\1***", _CREDENTIALS.sub("***", _QUERY.sub(r"\1?…", text)))


def _truncate(text: str) -> str:
    return text if len(text) <= MAX_CHARS else text[: MAX_CHARS - 1].rstrip() + "…"


def _name(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return _line(str(value))[:80] or None


class _Texts(HTMLParser):
    """Collect the visible texts of a page."""

    _hidden = frozenset({"script", "style", "noscript", "template", "svg"})

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.heads: list[str] = []
        self._within: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - the signature
        if tag in self._hidden or tag in {"title", "h1"}:
            self._within.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._within:
            while self._within and self._within.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        text = " ".join(data.split())
        if not text or any(tag in self._hidden for tag in self._within):
            return
        (self.heads if self._within else self.texts).append(text)


def _page_text(page: str) -> str:
    reader = _Texts()
    reader.feed(page[:50_000])
    reader.close()
    headings = list(dict.fromkeys(reader.heads)) or reader.texts[:3]
    return "a web page" + (f" saying “{_line(' - '.join(headings))}”" if headings else "")
