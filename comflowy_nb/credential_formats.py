"""The formats of credentials: keys and tokens of many services, names of secret values, private keys.

`services/http/error_text.py` masks credentials in errors, and `scanning/patterns.py` finds them in files. A service may
quote the beginning of a token only, and a word masked by mistake costs little, so errors are searched for `start`. A
false positive of the scanner blocks a commit, so files are searched for `whole`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TokenFormat:
    """The format of one kind of key or token, as issuers document it.

    Attributes
    ----------
    kind
        The kind of token, as text for the user. Two formats may have the same kind.
    whole
        Pattern of a whole token.
    start
        Pattern of a token that may be cut off. It matches every whole token too, except a ComfyUI account key of
        exactly 40 digits.
    """

    kind: str
    whole: str
    start: str


def _token(kind: str, prefix: str, chars: str, length: str, start_length: int) -> TokenFormat:
    """Return the format of tokens with a prefix, which is a pattern, and characters of one class after it."""
    return TokenFormat(kind, f"{prefix}[{chars}]{{{length}}}", f"{prefix}[{chars}]{{{start_length},}}")


_HEX, _WORD = "0-9a-f", "A-Za-z0-9"
_FAL_KEY = rf"[{_HEX}]{{8}}(?:-[{_HEX}]{{4}}){{3}}-[{_HEX}]{{12}}:[{_HEX}]{{32}}"

TOKENS = (
    _token("Replicate token", "r8_", _WORD, "30,", 20),
    TokenFormat("fal key", _FAL_KEY, _FAL_KEY),
    _token("Hugging Face token", "(?:hf|api_org)_", _WORD, "30,", 20),
    _token("OpenAI, Stability or similar key", "sk-", f"{_WORD}_-", "20,", 16),
    _token("ComfyUI account key", "comfyui-", _HEX, "40,", 41),  # 40 may be the hash of a commit of ComfyUI
    _token("Runpod key", "rpa_", _WORD, "30,", 30),
    _token("Groq key", "gsk_", _WORD, "40,", 30),
    _token("GitHub token", "gh[pousr]_", f"{_WORD}_", "36,", 20),
    _token("GitHub token", "github_pat_", f"{_WORD}_", "22,", 20),
    _token("GitLab token", "glpat-", f"{_WORD}_-", "20,", 16),
    _token("AWS access key", "(?:AKIA|ASIA)", "A-Z0-9", "16", 16),
    _token("Alibaba or Tencent access key", "LTAI", _WORD, "12,26", 12),
    _token("Alibaba or Tencent access key", "AKID", _WORD, "32", 16),
    _token("Google key", "AIza", f"{_WORD}_-", "35", 30),
    _token("Google access token", r"ya29\.(?:[a-z]\.)?", f"{_WORD}_-", "30,", 16),
    _token("Slack token", "xox[a-z]-", f"{_WORD}-", "10,", 10),
    _token("Slack token", "xapp-[0-9]-", f"{_WORD}-", "18,", 18),
    # a file may contain keys of the test mode, and keys that web pages publish
    TokenFormat("Stripe key", rf"[rs]k_live_[{_WORD}]{{20,}}", rf"[prs]k_(?:live|test)_[{_WORD}]{{10,}}"),
    _token("PyPI token", "pypi-AgEI", f"{_WORD}_-", "50,", 16),
    _token("npm token", "npm_", _WORD, "36", 30),
    TokenFormat(
        "JSON web token",
        rf"eyJ[{_WORD}_-]{{8,}}\.eyJ[{_WORD}_-]{{8,}}\.[{_WORD}_-]{{10,}}",
        rf"eyJ[{_WORD}_-]{{6,}}\.[{_WORD}_-]{{6,}}(?:\.[{_WORD}_-]*)*",
    ),
)

# Names of secret values, in any case; a pattern.
CREDENTIAL_NAMES = (
    "api_?-?key|api_?-?token|access_?-?(?:key|token)|auth_?-?token|client_?-?secret|secret_?-?key|refresh_?-?token"
    r"|account_?-?key|\bx-key|\bapi_key_comfy_org|\bfal_key|\bhf_token"
)
AUTH_SCHEMES = "bearer|basic|key|token"  # of the header `Authorization`, in any case; a pattern

PRIVATE_KEY_BEGIN = r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----"
PRIVATE_KEY_END = PRIVATE_KEY_BEGIN.replace("BEGIN", "END")
