"""Find keys and tokens of Comflowy, of other image services and of common services in a text.

`credential_formats` has the formats. detect-secrets 1.5 was tried on the notebooks and docs of this repository: it had
34 findings, all false (33 in base64 images), and took 8 s of CPU time, and 0.5 s to import. It does not know signed
URLs or the tokens of Replicate, fal and Hugging Face, searches line by line, so that it misses escaped text, text with
colour codes and the metadata of images, and needs PyYAML. One idea is taken from it: a token with a fixed prefix is
recognised without measuring its entropy.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from comflowy_nb.credential_formats import AUTH_SCHEMES, CREDENTIAL_NAMES, PRIVATE_KEY_BEGIN, TOKENS
from comflowy_nb.settings import key_from_env

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Match:
    """One kind of secret in a text, without the secret.

    Attributes
    ----------
    kind
        The kind of secret, as text for the user.
    line
        Number of the line, from 1; None if the secret is only in the text without its escapes.
    """

    kind: str
    line: int | None


SERVICE_KEY = "Comflowy key"
_GENERIC = "key or token"  # not reported on a line that has a secret of a known format
OWN_KEY = "the key in COMFLOWY_API_KEY"
_MIN_OWN_KEY_CHARS = 8  # a shorter key may be part of a word

_TOKEN = re.compile(  # a token does not begin or end within a word
    r"(?<![A-Za-z0-9_])(?:"
    + "|".join(f"(?P<t{index}>{token.whole})" for index, token in enumerate(TOKENS))
    + r")(?![A-Za-z0-9_])"
)
_TOKEN_KINDS = {f"t{index}": token.kind for index, token in enumerate(TOKENS)}

# Kind -> pattern for secrets without a format, which are found by the text before them. One group matches the secret.
_QUOTE = r"""["'`]"""
_ASSIGN = rf"{_QUOTE}?\]?\s*(?::|=>?|,)\s*[bfru]?{_QUOTE}"  # name = "...", "name": "...", environ["name"] = "..."
_CONTEXTS = {
    kind: re.compile(pattern)
    for kind, pattern in {
        SERVICE_KEY: (
            rf"COMFLOWY_API_KEY{_ASSIGN}(?P<quoted>[^\"'`\s]{{6,}}){_QUOTE}"
            rf"|COMFLOWY_API_KEY{_QUOTE}?\]?[ \t]*[=:][ \t]*(?P<bare>[^\"'`\s,;<>&]{{6,}})"
            r"|(?:%env|setx|setenv|set -\w+)[ \t]+COMFLOWY_API_KEY[ \t]+(?P<bare2>[^\"'`\s<>&]{6,})"
            rf"|\bconnect\((?:[^()]|\([^()]{{0,999}}\)){{0,999}}?\bkey\s*=\s*(?:[\w.]*Secret\()?[bfru]?{_QUOTE}"
            rf"(?P<key>[^\"'`\s]{{6,}}){_QUOTE}"
            r"|[?&]ppt=(?P<parameter>[A-Za-z0-9._~+/%-]{6,})"
        ),
        "authorization header": (
            rf"(?i)(?:\bauthorization\b\W{{0,6}}(?:{AUTH_SCHEMES})|\bbearer)\s+"
            r"(?P<secret>[A-Za-z0-9._~+/=:-]{16,})"
        ),
        "password in a URL": (
            r"\b[a-zA-Z][a-zA-Z0-9+.-]{1,20}://[^\s/:@\"'<>]{0,80}:(?P<secret>[^\s/:@\"'<>]{3,200})@[\w.\[-]"
        ),
        "signed URL": (
            r"(?i)[?&;](?:x-(?:amz|goog|oss|cos|obs)-(?:signature|security-token)|signature|sig)="
            r"(?P<secret>[A-Za-z0-9%+/=_~.-]{16,})"
        ),
        "Slack webhook": r"https://hooks\.slack\.com/(?P<secret>services/T\w+/B\w+/\w{12,})",
        "private key": rf"{PRIVATE_KEY_BEGIN}(?P<secret>\s+[A-Za-z0-9+/=:,\s-]{{40,}})",
        _GENERIC: (
            rf"(?i)(?:{CREDENTIAL_NAMES}){_ASSIGN}(?P<secret>[A-Za-z0-9+/=_.~:-]{{20,}}){_QUOTE}"
            r"|(?-i:(?:API_KEY|API_TOKEN|ACCESS_TOKEN|SECRET_ACCESS_KEY|\bFAL_KEY|\bHF_TOKEN))[ \t]?=[ \t]?"
            r"(?P<bare>[A-Za-z0-9+/=_.~:-]{20,})"
        ),
    }.items()
}
_NEEDS_LETTERS_AND_DIGITS = {  # unlike words with hyphens, paths and names of variables
    "Alibaba or Tencent access key",
    "OpenAI, Stability or similar key",
    "authorization header",
    _GENERIC,
    "signed URL",
}

_PLACEHOLDER = re.compile(
    r"(?i)your|example|placeholder|change_?-?me|dummy|xxxx|\*\*\*|\.\.\.|…|[<>{}$]|redacted|removed|(?<!\w)env\b|environ"
    r"|getpass|%s|^COMFLOWY_[A-Z_]+$"  # the last: the next name in a list of environment variables
)
_COMMON_PASSWORDS = {"password", "passwd", "pass", "pwd", "pw", "secret", "token", "key", "api_key", "apikey", "port"}
_NAME = re.compile(r"[A-Za-z_.-]+(?:\(.*)?")  # a variable, an attribute, a call or words

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_TAG = re.compile(r"</?(?:span|b|i|em|strong|mark)\b[^<>]{0,300}>")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))")
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t"}


def find_secrets(text: str) -> list[Match]:
    """Return the kinds of secrets in a text, with their lines.

    Variants of the text without colour codes, HTML tags, HTML entities, JSON escapes and URL escapes are searched too.

    Parameters
    ----------
    text : str
        Any text. Remove base64 first, because searching it is slow.

    Returns
    -------
    list of Match
        Empty if there is no secret.

    Examples
    --------
    >>> find_secrets("token = 'r8_" + "a1B2c3D4" * 5 + "'")
    [Match(kind='Replicate token', line=1)]
    """
    found = dict.fromkeys(Match(kind, text.count("\n", 0, position) + 1) for kind, position in _search(text))
    kinds = {match.kind for match in found}
    hidden = (kind for variant in _variants(text) for kind, _ in _search(variant))
    found |= dict.fromkeys(Match(kind, None) for kind in hidden if kind not in kinds)
    specific = {match.line for match in found if match.kind != _GENERIC}
    return [match for match in found if match.kind != _GENERIC or match.line not in specific]


def is_placeholder(secret: str) -> bool:
    """Return whether a text only marks the position of a secret: `YOUR_KEY`, `...`, `<key>`.

    Parameters
    ----------
    secret : str
        A text at the position of a secret.

    Returns
    -------
    bool
        True also for texts of fewer than four different characters.

    Examples
    --------
    >>> is_placeholder("YOUR_API_KEY"), is_placeholder("8f14e45fceea167a")
    (True, False)
    """
    return bool(_PLACEHOLDER.search(secret)) or len(set(secret)) < 4 or secret.casefold() in _COMMON_PASSWORDS


def _search(text: str) -> Iterator[tuple[str, int]]:
    """Yield the kind and position of each secret, except examples."""
    for match in _TOKEN.finditer(text):
        kind = _TOKEN_KINDS[str(match.lastgroup)]
        if _is_secret(kind, match[0]):
            yield kind, match.start()
    for kind, pattern in _CONTEXTS.items():
        for match in pattern.finditer(text):
            group, secret = next(item for item in match.groupdict().items() if item[1] is not None)
            if _is_secret(kind, secret) and not (group.startswith("bare") and _NAME.fullmatch(secret)):
                yield kind, match.end()
    key = key_from_env()
    if key is not None and len(key.reveal()) >= _MIN_OWN_KEY_CHARS and (start := text.find(key.reveal())) >= 0:
        yield OWN_KEY, start


def _is_secret(kind: str, text: str) -> bool:
    if is_placeholder(text):
        return False
    if kind in _NEEDS_LETTERS_AND_DIGITS:
        return bool(re.search(r"[0-9]", text) and re.search(r"[A-Za-z]", text)) and len(set(text)) >= 8
    return True


def _variants(text: str) -> Iterator[str]:
    """Yield the text without the escapes that can hide or split a secret."""
    if "\x1b[" in text:
        text = _ANSI.sub("", text)
        yield text
    if ("&" in text and ";" in text) or "</span>" in text:
        text = _TAG.sub("", html.unescape(html.unescape(text)))  # twice: a text of HTML within a page
        yield text
    for _ in range(2):  # JSON in a text of JSON
        if "\\" not in text:
            break
        text = _ESCAPE.sub(_unescape, text)
        yield text
    if "%3" in text or "%2" in text:
        yield unquote(text, errors="replace")


def _unescape(match: re.Match[str]) -> str:
    code = match[1] or match[2]
    if code:
        return chr(int(code, 16))
    return _CONTROLS.get(match[3], match[3])
