"""Each kind of secret is found in a text, also within escapes. Words that resemble secrets are not reported."""

from __future__ import annotations

import html
import json
from urllib.parse import quote

import pytest
from scanning_canaries import CANARIES, TOKEN, TOKEN_KIND, word

from comflowy_nb.scanning.content import secrets_in_bytes, secrets_in_text
from comflowy_nb.scanning.patterns import OWN_KEY, Match, find_secrets


@pytest.mark.parametrize("name", CANARIES)
def test_each_format_is_found_and_not_repeated(name):
    kind, text, secret = CANARIES[name]
    found = find_secrets(f"first line\n{text} # more")
    assert kind in {match.kind for match in found}
    assert secret not in repr(found)


@pytest.mark.parametrize("name", CANARIES)
def test_each_format_is_found_in_json_html_and_json_in_json(name):
    kind, text, _ = CANARIES[name]
    for escaped in (
        json.dumps({"a": text}),
        json.dumps(json.dumps(f"\n{text}")),
        f"<p>{html.escape(text)}</p>",
        f"<td>{html.escape(html.escape(text))}</td>",
    ):
        assert kind in {match.kind for match in secrets_in_text(escaped)}, escaped


def test_a_match_has_the_line_of_each_place():
    assert find_secrets(f"a\n{TOKEN}\n\n{TOKEN}") == [Match(TOKEN_KIND, 2), Match(TOKEN_KIND, 4)]


def test_a_token_within_colour_codes_tags_and_urls_is_found():
    half = len(TOKEN) // 2
    for text in (
        f"\x1b[32m{TOKEN[:half]}\x1b[0m{TOKEN[half:]}",
        f'<span class="s">{TOKEN[:half]}</span><span class="s">{TOKEN[half:]}</span>',
        f"https://a.example/?next=https%3A%2F%2Fb.example%2F%3Ftoken%3D{TOKEN}",
        quote(f"https://a.example/i.png?X-Amz-Signature={word(64)}", safe=""),
    ):
        assert find_secrets(text)


def test_a_token_after_base64_is_found_on_its_line():
    """A word after lines of base64 could be taken for another line of base64."""
    image = "iVBORw0KGgo" + "A" * 65
    assert secrets_in_text(f"{image}\n{image}\n{TOKEN}\n") == [Match(TOKEN_KIND, 3)]
    assert secrets_in_text(f"data:image/png;base64,{image} {TOKEN}") == [Match(TOKEN_KIND, 1)]


def test_lines_of_base64_are_not_tokens():
    """A saved image was reported as an access key: its base64 was in lines, and one had the prefix of such a key."""
    line = "A" * 20 + "/LTAI5tAbCdEfGh1JkLmN" + "/" + "B" * 34
    assert secrets_in_text(f"iVBORw0KGgo{'A' * 65}\n{line}\n{line}\n") == []
    assert secrets_in_text(f"iVBORw0KGgo{'A' * 65}\n{line}\n{TOKEN}\n") == [Match(TOKEN_KIND, 3)]


def test_text_within_a_binary_content_is_found():
    """Binary contents were searched byte for byte, in 46 s for 28 MB."""
    noise = bytes(range(256)) * 40
    for text in (TOKEN, f'{{"key": "caf\u00e9 {TOKEN}"}}', f'connect("\u00e9", key="{word(24)}")'):
        assert secrets_in_bytes(noise + b"\0" + text.encode() + noise)
    assert secrets_in_bytes("caf\u00e9".encode("latin-1") * 40 + TOKEN.encode("latin-1").rjust(60)) != []


def test_the_key_in_the_environment_is_found_in_any_format(monkeypatch):
    monkeypatch.setenv("COMFLOWY_API_KEY", "kanarienvogel.gelb")
    assert find_secrets("see kanarienvogel.gelb here") == [Match(OWN_KEY, 1)]
    assert find_secrets(r"see kanarienvogel\u002egelb here") == [Match(OWN_KEY, None)]


@pytest.mark.parametrize(
    "text",
    [
        '("COMFLOWY_API_KEY", "COMFLOWY_TARGET")',
        'connect(url, key="YOUR_API_KEY")',
        "connect(url, key=key)",
        "connect(url, key=...)",
        'connect(url, key=os.environ.get("MY_KEY_1", ""))',
        'connect(url, key=Path("folder/key.txt").read_text())',
        'db.connect(host).sort(key="created_at")',
        "COMFLOWY_API_KEY=...",
        'os.environ["COMFLOWY_API_KEY"] = getpass.getpass()',
        'os.environ.get("COMFLOWY_API_KEY", "").strip()',
        "COMFLOWY_API_KEY: ${{ secrets.COMFLOWY_API_KEY }}",
        "export COMFLOWY_API_KEY=$(cat key.txt)",
        "the environment variable COMFLOWY_API_KEY, if it is set",
        "Authorization: Bearer ${ACCESS_TOKEN}",
        "Authorization: Bearer YOUR_ACCESS_TOKEN_HERE",
        "a bearer of uncharacteristically long words",
        "from sk-learn-contrib-and-other-packages import x",
        "AKIAIOSFODNN7EXAMPLE",
        "https://user:password@host.example",
        "http://127.0.0.1:8188/view?filename=a@b.png",
        "hf_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "api_key = os.environ['SOME_SERVICE_API_KEY_NAME_1']",
        "sha256 = '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08'",
        "request_key: '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08'",
        "-----BEGIN " + "PRIVATE KEY-----\n...\n",
    ],
)
def test_placeholders_variables_and_hashes_are_not_found(text):
    assert not find_secrets(text)


def test_a_long_text_without_secrets_takes_a_short_time():
    """A pattern with nested repetition would take minutes."""
    for text in ("connect(" * 20_000, "connect(a" + " (b)" * 50_000, "key=" * 50_000, "eyJ" * 50_000, "a:" * 50_000):
        assert not secrets_in_text(text)
